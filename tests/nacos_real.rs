//! The Nacos registry against real servers, started from `tests/servers`. Without what that needs they print `SKIP` and
//! pass; with `PORTOLAN_REAL_SERVERS=required` they fail.

mod support;

use portolan::registry::{
    Kind,
    nacos::{Config, Login, Mode, Namespaces},
};
use portolan::util::secret::Secret;
use std::{collections::BTreeMap, time::Duration};
use support::{nacos::Nacos, reading::Reading};

fn config(server: &Nacos) -> Config {
    Config { mode: Mode::Poll, period: Config::MIN_PERIOD, ..Config::new(vec![Config::server(&server.url()).unwrap()]) }
}

fn read(config: Config) -> Reading {
    Reading::new(Kind::Nacos(config))
}

/// Everything that a reader is to see of a change, by one interface.
async fn follow(server: &Nacos, scope: &str) {
    let mut reading = read(config(server));
    reading.list().await;
    assert_eq!(reading.scopes, [scope]);
    let weight = |h: &Reading| h.service("orders").and_then(|s| s.endpoints.first().map(|e| e.weight.get()));
    let version = |h: &Reading| {
        let service = h.service("orders")?;
        service.endpoints.first()?.labels.get("version").map(ToString::to_string)
    };
    let enabled = |h: &Reading| h.service("orders").and_then(|s| s.endpoints.first().map(|e| e.enabled));
    server.register("orders", "10.0.0.1:8080", "weight=1.5&metadata={\"version\":\"v1\"}").await;
    reading.until("the instance", |h| weight(h) == Some(1.5) && version(h).as_deref() == Some("v1")).await;
    server.register("orders", "10.0.0.1:8080", "weight=0.5&metadata={\"version\":\"v1\"}").await;
    reading.until("the weight", |h| weight(h) == Some(0.5)).await;
    server.register("orders", "10.0.0.1:8080", "weight=0.5&metadata={\"version\":\"v2\"}").await;
    reading.until("the metadata", |h| version(h).as_deref() == Some("v2")).await;
    server.register("orders", "10.0.0.1:8080", "weight=0.5&enabled=false").await;
    // The lists of single services leave disabled instances out.
    reading.until("it to be disabled", |h| matches!(enabled(h), None | Some(false))).await;
    server.deregister("orders", "10.0.0.1:8080", "").await;
    reading.until("it to be gone", |h| h.service("orders").is_none_or(|s| s.endpoints.is_empty())).await;
    assert_eq!(reading.failed, 0);
}

/// Namespaces by name, groups, and what a restart without data looks like.
async fn namespaces_groups_and_restart(server: &mut Nacos) {
    server.create_namespace("ns-1", "staging").await;
    server.register("staged", "10.0.1.1:80", "namespaceId=ns-1&groupName=shop").await;
    server.register("kept", "10.0.0.2:80", "").await;
    let names = vec!["staging".into(), "public".into()];
    let mut reading = read(Config { namespaces: Namespaces::Named(names), ..config(server) });
    reading.until("both", |h| h.service("staged").is_some() && h.service("kept").is_some()).await;
    assert_eq!(reading.scopes, ["ns-1", "public"]);
    assert_eq!(reading.service("staged").unwrap().id.to_string(), "r/ns-1/shop/staged");
    let mut public = read(config(server));
    public.list().await;
    server.restart_empty().await;
    public.until("the failure", |h| !h.errors.is_empty()).await;
    public.until("an empty list", |h| h.errors.is_empty() && h.endpoints() == BTreeMap::new()).await;
}

#[tokio::test]
async fn nacos_2_is_followed_in_bulk() {
    let Some(mut server) = Nacos::start("nacos2").await else { return };
    follow(&server, "public").await;
    namespaces_groups_and_restart(&mut server).await;
}

#[tokio::test]
async fn nacos_3_is_followed_in_bulk_without_its_old_interfaces() {
    let Some(mut server) = Nacos::start("nacos3").await else { return };
    follow(&server, "public").await;
    namespaces_groups_and_restart(&mut server).await;
}

#[tokio::test]
async fn nacos_3_with_login_gives_a_plain_reader_all_that_its_administrator_sees() {
    let environment = [("NACOS_AUTH", "on"), ("NACOS_OLD_API", "client"), ("NACOS_TOKEN_SECONDS", "5")];
    let Some(mut server) = Nacos::start_with("nacos3", &environment).await else { return };
    server.create_admin("nacos").await;
    server.register("orders", "10.0.0.1:8080", "weight=2&metadata={\"version\":\"v1\"}&clusterName=hz").await;
    server.register("orders", "10.0.0.2:8080", "enabled=false").await;
    server.create_user("reader", "reads", "public:*:*").await;
    let login = |user: &str, password: &str| {
        let login = Login { username: user.into(), password: Secret::new(password) };
        Config { login: Some(login), ..config(&server) }
    };
    let (mut bulk, mut plain) = (read(login("nacos", "nacos")), read(login("reader", "reads")));
    bulk.until("orders", |h| h.service("orders").is_some()).await;
    plain.until("orders", |h| h.service("orders").is_some()).await;
    // On 3.1.0 the right to read a namespace is enough for its bulk list.
    assert_eq!((&bulk.scopes, &bulk.lists), (&plain.scopes, &plain.lists));
    // Longer than a token lives.
    let lists = bulk.listed;
    bulk.until("many lists", |h| h.listed > lists + 35).await;
    assert_eq!(bulk.failed, 0, "{:?}", bulk.errors);
    let mut wrong = read(login("nacos", "wrong"));
    let failure = wrong.failure().await;
    assert!(failure.contains("cannot log in as nacos"), "{failure}");
}

#[tokio::test]
async fn thresholds_and_true_health_are_read_from_both_generations() {
    for name in ["nacos2", "nacos3"] {
        let Some(server) = Nacos::start(name).await else { return };
        // One that listens, the server itself, and one that does not.
        let own = server.url().trim_start_matches("http://").to_owned();
        server.register("mixed", &own, "ephemeral=false").await;
        server.register("mixed", "127.0.0.1:9", "ephemeral=false").await;
        server.protect("DEFAULT_GROUP", "mixed", 0.6).await;
        let mut reading = read(config(&server));
        let state = |h: &Reading| {
            let service = h.service("mixed")?;
            let healthy = service.endpoints.iter().filter(|e| e.health.serves()).count();
            Some((service.protect_threshold?.get(), healthy, service.protected))
        };
        tokio::time::timeout(Duration::from_secs(60), reading.until(name, |h| state(h) == Some((0.6, 1, false))))
            .await
            .unwrap();
    }
}
