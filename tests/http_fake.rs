//! The registry of kind `http` against a server in this process: its forms, what makes a reading cheap, every bad answer.

mod support;

use portolan::{
    model::Service,
    registry::{
        Kind, Limits,
        http::{Config, Form, source},
        transport::{Connection, Login},
    },
    util::secret::Secret,
};
use std::{sync::Arc, time::Duration};
use support::{
    fake_http::FakeHttp,
    fault::{Fault, TIMEOUT},
    reading::Reading,
    until,
};

const ONE: &str = "services: [{ name: web, endpoints: ['10.0.0.1:80'] }, { name: users, endpoints: ['10.0.0.2:80'] }]";

fn config(servers: &[&FakeHttp]) -> Config {
    let urls = servers.iter().map(|s| source(&format!("http://{}/services.yaml", s.address)).unwrap()).collect();
    let connection = Connection { timeout: TIMEOUT, ..Connection::default() };
    Config { period: Duration::from_millis(100), connection, ..Config::new(urls) }
}

fn read(config: Config) -> Reading {
    Reading::new(Kind::Http(config))
}

#[tokio::test]
async fn a_catalogue_is_followed_and_read_only_when_it_is_new() {
    let server = FakeHttp::start(ONE).await;
    server.model().tag = Some("\"1\"".into());
    let mut reading = read(config(&[&server]));
    reading.list().await;
    assert_eq!(reading.endpoints()["web"], ["10.0.0.1:80"]);
    let web = reading.service("web").unwrap().clone();
    reading.list().await;
    assert_eq!(server.model().log[..2], [None, Some("\"1\"".into())]);
    // Another tag with the same content.
    server.model().tag = Some("\"2\"".into());
    reading.list().await;
    reading.list().await;
    server.model().text = ONE.replace("10.0.0.2", "10.0.0.9");
    server.model().tag = Some("\"3\"".into());
    reading.until("the change", |h| h.endpoints()["users"] == ["10.0.0.9:80"]).await;
    assert!(Arc::ptr_eq(reading.service("web").unwrap(), &web), "what does not change is the same value");
    server.model().text = "services: []".into();
    server.model().tag = None;
    reading.until("nothing", |h| h.endpoints().is_empty()).await;
    assert_eq!(reading.failed, 0);
}

#[tokio::test]
async fn a_server_that_always_says_304_has_said_nothing() {
    let server = FakeHttp::start(ONE).await;
    server.model().always_known = true;
    let mut reading = read(config(&[&server]));
    let error = reading.failure().await;
    assert!(error.contains("304") && error.contains("it was not asked"), "{error}");
    server.model().always_known = false;
    server.model().tag = Some("\"1\"".into());
    reading.list().await;
    // From then on it is believed, as long as it says so.
    server.model().always_known = true;
    reading.list().await;
    reading.list().await;
    assert_eq!((reading.endpoints().len(), reading.failed), (2, 1));
}

#[tokio::test]
async fn a_tag_that_always_changes_with_equal_content_changes_nothing() {
    let server = FakeHttp::start(ONE).await;
    server.model().tag = Some("\"0\"".into());
    let mut reading = read(config(&[&server]));
    reading.list().await;
    let before = reading.lists.clone();
    for tag in 1..4 {
        server.model().tag = Some(format!("\"{tag}\""));
        let asked = server.model().log.len();
        let again = async || if server.model().log.len() > asked + 1 { Ok(()) } else { Err("not asked again") };
        until("two more questions", Duration::from_secs(60), again).await;
        reading.list().await;
    }
    let same = |(a, b): (&Arc<Service>, &Arc<Service>)| Arc::ptr_eq(a, b);
    assert!(reading.lists[""].iter().zip(&before[""]).all(same), "equal content is the same value");
    assert_eq!((reading.applied, reading.failed), (0, 0));
}

#[tokio::test]
async fn a_list_comes_in_gzip_where_the_server_gives_that() {
    let text = format!("services: [{}]", (0..500).map(|n| format!("{{ name: s-{n} }}")).collect::<Vec<_>>().join(", "));
    let server = FakeHttp::start(&text).await;
    server.model().gzip = true;
    let mut reading = read(config(&[&server]));
    reading.list().await.round().await;
    assert_eq!((reading.endpoints().len(), reading.failed), (500, 0));
    assert!(reading.cost.bytes < text.len() as u64 / 2, "{:?} of {}", reading.cost, text.len());
}

#[tokio::test]
async fn no_redirect_is_followed_to_another_host() {
    let (server, other) = (FakeHttp::start(ONE).await, FakeHttp::start("services: [{ name: theirs }]").await);
    let config = Config { token: Some(Secret::new("s3cret")), ..config(&[&server]) };
    let mut reading = read(config);
    reading.list().await;
    for status in [301, 302, 303, 307, 308] {
        let there = format!("http://{}/services.yaml", other.address);
        server.model().moved = Some((status, there));
        let error = reading.failure().await;
        assert!(error.contains(&status.to_string()) && error.contains("redirects are not followed"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
        server.model().moved = None;
        reading.list().await;
    }
    assert_eq!((other.model().log.len(), reading.endpoints().len()), (0, 2));
}

#[tokio::test]
async fn the_other_forms_are_read() {
    let server = FakeHttp::start(r#"[{"targets": ["10.0.0.1:80"], "labels": {"job": "web"}}]"#).await;
    let mut reading = read(Config { form: Form::Prometheus { name: "job".into() }, ..config(&[&server]) });
    reading.list().await;
    assert_eq!(reading.endpoints()["web"], ["10.0.0.1:80"]);
    // One instance that cannot be read keeps its last value.
    server.model().text = r#"[{"targets": ["10.0.0.1:99999", "10.0.0.2:80"], "labels": {"job": "web"}}]"#.into();
    reading.until("the second", |h| h.service("web").is_some_and(|web| !web.notes.is_empty())).await;
    server.model().text = r#"[{"targets": [{}], "labels": {"job": "web"}}]"#.into();
    reading.until("it to be unreadable", |h| !h.unreadable[""].is_empty()).await;
    assert_eq!(reading.failed, 0);
}

#[tokio::test]
async fn replicas_stand_in_for_each_other() {
    let (bad, good) = (FakeHttp::start(ONE).await, FakeHttp::start(ONE).await);
    bad.model().faults.push(("/".into(), Fault::Status(503, "")));
    let mut reading = read(config(&[&bad, &good]));
    reading.list().await;
    assert_eq!((reading.endpoints().len(), reading.failed), (2, 0));
    good.model().faults.push(("/".into(), Fault::Text("<html>")));
    let error = reading.failure().await;
    assert!(error.contains("none of the 2 addresses gave a list") && error.contains("<html>"), "{error}");
    bad.model().faults.clear();
    reading.list().await;
    assert_eq!(reading.endpoints().len(), 2);
}

#[tokio::test]
async fn who_we_are_is_said() {
    let server = FakeHttp::start(ONE).await;
    server.model().authorization = Some("Bearer s3cret".into());
    let error = read(config(&[&server])).failure().await;
    assert!(error.contains("401") && error.contains("check `username`"), "{error}");
    let mut reading = read(Config { token: Some(Secret::new("s3cret")), ..config(&[&server]) });
    reading.list().await;
    server.model().authorization = Some("Basic dTpw".into());
    let login = Some(Login { username: "u".into(), password: Secret::new("p") });
    read(Config { login, ..config(&[&server]) }).list().await;
}

#[tokio::test]
async fn bad_answers_are_failures_and_the_last_list_stays() {
    for (fault, expected) in [
        (Fault::Status(500, "down"), "500"),
        (Fault::Status(404, ""), "check the address's path"),
        (Fault::Busy("1"), "raise `period`"),
        (Fault::Redirect, "redirects are not followed"),
        (Fault::Text("<html>"), "no catalogue"),
        (Fault::Text(""), "no catalogue"),
        (Fault::Text("services: 7"), "must be a list"),
        (Fault::Text("services: [{ endpoints: [] }]"), "neither `host` nor `name`"),
        (Fault::Truncated, "broke off"),
        (Fault::Endless, "raise `max_body`"),
        (Fault::GzipBomb, "raise `max_body`"),
        (Fault::Slow, "services.yaml"),
    ] {
        let server = FakeHttp::start(ONE).await;
        let connection = Connection { max_body_bytes: 1 << 20, timeout: fault.timeout(), ..Connection::default() };
        let mut reading = read(Config { connection, ..config(&[&server]) });
        reading.list().await;
        server.model().faults.push(("/".into(), fault.clone()));
        let error = reading.failure().await;
        assert!(error.contains(expected), "{fault:?}: {error}");
        assert_eq!(reading.endpoints().len(), 2, "{fault:?}");
        server.model().faults.clear();
        reading.list().await;
    }
}

#[tokio::test]
async fn one_bad_service_hides_no_other() {
    let server = FakeHttp::start(ONE).await;
    let mut reading = read(config(&[&server]));
    reading.list().await;
    server.model().text = ONE.replace("10.0.0.1:80", "10.0.0.1:99999");
    reading.until("the mistake", |h| !h.unreadable[""].is_empty()).await;
    let (id, why) = &reading.unreadable[""][0];
    assert!(&*id.name == "web" && why.contains("99999"), "{id} {why}");
    assert_eq!(reading.endpoints()["users"], ["10.0.0.2:80"]);
    let limits = Limits { services: 1, ..Limits::default() };
    let error = read(Config { limits, ..config(&[&server]) }).failure().await;
    assert!(error.contains("more than 1 services"), "{error}");
}
