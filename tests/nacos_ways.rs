//! The ways to a Nacos: who names its servers, who we say that we are, which namespaces are meant.

mod support;

use axum::{Router, routing::get};
use portolan::{
    registry::{
        Kind,
        nacos::{AccessKey, Config, Login, Mode, Namespaces},
    },
    util::secret::Secret,
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};
use support::{
    fake_nacos::{FakeNacos, FakeService, Fault, Generation, instance, key},
    heard::Heard,
};
use tokio::net::TcpListener;

fn config(servers: &[&FakeNacos]) -> Config {
    let servers = servers.iter().map(|s| Config::server(&s.url()).unwrap()).collect();
    Config { mode: Mode::Poll, period: Config::MIN_PERIOD, ..Config::new(servers) }
}

fn read(config: Config) -> Heard {
    Heard::new(Kind::Nacos(config))
}

async fn with_orders() -> FakeNacos {
    let fake = FakeNacos::start(Generation::V2).await;
    fake.model().put("orders", vec![instance("10.0.0.1", 8080)]);
    fake
}

/// Answers every question with the text.
async fn address_server(text: Arc<Mutex<String>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(get(move || async move { text.lock().unwrap().clone() }));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

#[tokio::test]
async fn an_address_server_names_the_servers() {
    let fake = with_orders().await;
    let lines = Arc::new(Mutex::new("<html>Sign in</html>".to_owned()));
    let address = format!("http://{}/nacos/serverlist", address_server(lines.clone()).await);
    let named = Config { address_server: Some(address.parse().unwrap()), ..config(&[]) };
    let mut heard = read(named);
    let failure = heard.failure().await;
    assert!(failure.contains("is no list of servers: \"<html>Sign in</html>\""), "{failure}");
    *lines.lock().unwrap() = String::new();
    heard.failure().await;
    *lines.lock().unwrap() = format!("127.0.0.1:1\n\n {} \n", fake.address);
    heard.list().await;
    assert_eq!(heard.endpoints().len(), 1);
}

#[tokio::test]
async fn requests_are_signed_and_errors_do_not_show_it() {
    let fake = with_orders().await;
    let access_key = AccessKey { access_key: "my-key".into(), secret_key: Secret::new("s3cr3t") };
    let mut heard = read(Config { access_key: Some(access_key), ..config(&[&fake]) });
    heard.list().await;
    let log = fake.model().log.clone();
    assert!(log.iter().all(|line| line.contains("ak=my-key&data=") && line.contains("&signature=")), "{log:#?}");
    assert!(log.iter().all(|line| !line.contains("s3cr3t")), "{log:#?}");
    fake.model().faults.push(("/".into(), Fault::Status(403, "")));
    let failure = heard.failure().await;
    assert!(failure.contains("403") && !failure.contains("signature="), "{failure}");
    // What has been signed for one service is what Nacos' own client signs.
    let asked = log.iter().find(|line| line.contains("serviceName=orders")).unwrap();
    let url = reqwest::Url::parse(&format!("http://n{}", asked.trim_start_matches("GET "))).unwrap();
    let sent: HashMap<_, _> = url.query_pairs().into_owned().collect();
    let (millis, service) = sent["data"].split_once("@@").unwrap();
    assert_eq!((millis.len(), service), (13, "DEFAULT_GROUP@@orders"));
    let Some(theirs) = java(&["my-key", "s3cr3t", "DEFAULT_GROUP", "orders"]) else { return };
    let [ak, data, _] = &theirs[theirs.len() - 3..] else { panic!("{theirs:?}") };
    assert_eq!((&**ak, data.split_once("@@").unwrap().1), (&*sent["ak"], service));
    let theirs = java(&["my-key", "s3cr3t", &sent["data"]]).unwrap();
    assert_eq!(theirs.last(), Some(&sent["signature"]));
}

/// What Nacos' own Java client says. `None` where it cannot be had and need not be.
fn java(arguments: &[&str]) -> Option<Vec<String>> {
    let script = format!("{}/tests/servers/nacos-signature", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(script).args(arguments).output().unwrap();
    let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        assert!(std::env::var("PORTOLAN_REAL_SERVERS").as_deref() != Ok("required"), "{why}");
        eprintln!("SKIP: Nacos' Java client cannot be had: {why}");
        return None;
    }
    Some(said.lines().map(str::to_owned).collect())
}

#[tokio::test]
async fn namespaces_are_meant_by_pattern_and_followed_as_they_come_and_go() {
    let fake = with_orders().await;
    let named = |id: &str, name: &str| (id.to_owned(), name.to_owned());
    fake.model().namespaces.extend([named("id-1", "team-a"), named("id-2", "lab")]);
    let namespaces = Namespaces::Named(vec!["team-*".into()]);
    let mut heard = read(Config { namespaces, ..config(&[&fake]) });
    heard.list().await;
    assert_eq!(heard.scopes, ["id-1"]);
    let service = FakeService { instances: vec![instance("10.0.1.1", 80)], ..Default::default() };
    fake.model().services().insert(key("id-3", "g", "late"), service);
    fake.model().namespaces.push(named("id-3", "team-b"));
    heard.until("the namespace that came", |h| h.service("late").is_some()).await;
    assert_eq!(heard.scopes, ["id-1", "id-3"]);
    fake.model().namespaces.retain(|(id, _)| id != "id-1");
    fake.model().services();
    heard.until("the namespace that went", |h| h.scopes == ["id-3"]).await;
    assert_eq!(heard.failed, 0);
}

#[tokio::test]
async fn without_push_the_services_are_polled() {
    let fake = with_orders().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut heard = read(Config { mode: Mode::Auto, grpc_port: Some(closed), ..config(&[&fake]) });
    heard.list().await;
    fake.model().put("late", vec![]);
    heard.until("the change", |h| h.service("late").is_some()).await;
    assert_eq!(heard.failed, 0);
    // Who has asked for push is told that there is none; what is there is served.
    let push = Config { mode: Mode::Push, grpc_port: Some(closed), ..config(&[&fake]) };
    let mut heard = read(Config { resync: Duration::from_secs(1), ..push });
    heard.list().await;
    let failure = heard.failure().await;
    assert!(failure.contains("nothing is pushed") && failure.contains("cannot reach"), "{failure}");
    heard.list().await;
    assert_eq!(heard.endpoints().len(), 2);
}

#[tokio::test]
async fn what_registers_to_call_others_is_no_service() {
    for generation in [Generation::V1, Generation::V2, Generation::V3] {
        let fake = FakeNacos::start(generation).await;
        fake.model().put("providers:com.acme.Pay:1.0:", vec![instance("10.0.0.1", 20880)]);
        fake.model().put("consumers:com.acme.Pay:1.0:", vec![instance("10.0.0.9", 0)]);
        let mut bridged = instance("10.0.0.2", 80);
        bridged["metadata"] = serde_json::json!({"register-resource": "mcp-bridge"});
        fake.model().put("mixed", vec![bridged, instance("10.0.0.3", 80)]);
        let mut heard = read(config(&[&fake]));
        heard.list().await;
        let shown: Vec<(String, Vec<String>)> = heard.endpoints().into_iter().collect();
        let expected = [("mixed", "10.0.0.3:80"), ("providers:com.acme.Pay:1.0:", "10.0.0.1:20880")];
        assert_eq!(
            shown,
            expected.map(|(name, address)| (name.to_owned(), vec![address.to_owned()])),
            "{generation:?}"
        );
    }
}

#[tokio::test]
async fn a_restart_that_forgets_all_tokens_costs_one_login_and_no_service() {
    let fake = with_orders().await;
    fake.model().login = Some(("reader".into(), "right".into(), 18_000));
    let login = Login { username: "reader".into(), password: Secret::new("right") };
    let mut heard = read(Config { login: Some(login), ..config(&[&fake]) });
    heard.list().await;
    fake.model().token = "of-another-key".into();
    heard.failure().await;
    let listed = heard.listed;
    heard.until("a list by another token", |h| h.listed > listed).await;
    assert_eq!(heard.endpoints().len(), 1);
    let logins = fake.model().log.iter().filter(|line| line.starts_with("POST")).count();
    assert!(logins <= 4, "{logins} attempts");
}

#[tokio::test]
async fn a_service_may_have_thousands_of_instances_and_any_name() {
    for generation in [Generation::V1, Generation::V2, Generation::V3] {
        let fake = FakeNacos::start(generation).await;
        let address = |n: u32| std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
        fake.model().put("huge", (0..5000).map(|n| instance(&address(n), 80)).collect());
        let odd = "a&b=c d%2F+ü?#@@x";
        fake.model().put(odd, vec![instance("10.0.0.1", 80)]);
        let mut heard = read(config(&[&fake]));
        heard.list().await;
        let counts: Vec<usize> = heard.endpoints().values().map(Vec::len).collect();
        assert_eq!(counts.iter().max(), Some(&5000), "{generation:?}");
        assert_eq!(counts.len(), 2, "{generation:?}: {:?}", heard.endpoints().keys());
    }
}
