//! Push from real Nacos servers: it comes, it survives cuts, and it ends where polling ends.

mod support;

use portolan::registry::{
    Kind,
    nacos::{Config, Mode},
};
use std::time::Duration;
use support::{heard::Heard, nacos::Nacos};

/// Longer than any of these tests: what is heard sooner was pushed.
const NEVER: Duration = Duration::from_secs(3600);

fn config(server: &Nacos) -> Config {
    let servers = vec![Config::server(&server.url()).unwrap()];
    Config { mode: Mode::Push, period: Config::MIN_PERIOD, resync: NEVER, ..Config::new(servers) }
}

/// Everything that a reader is to see of a change, with no list but of names.
async fn follow(server: &Nacos) {
    let mut heard = Heard::new(Kind::Nacos(config(server)));
    heard.list().await;
    let weight = |h: &Heard| h.service("orders").and_then(|s| s.endpoints.first().map(|e| e.weight.get()));
    let version = |h: &Heard| {
        let service = h.service("orders")?;
        service.endpoints.first()?.labels.get("version").map(ToString::to_string)
    };
    let enabled = |h: &Heard| h.service("orders").and_then(|s| s.endpoints.first().map(|e| e.enabled));
    server.register("orders", "10.0.0.1:8080", "weight=1.5&metadata={\"version\":\"v1\"}").await;
    heard.until("the instance", |h| weight(h) == Some(1.5) && version(h).as_deref() == Some("v1")).await;
    // The service is new: it is subscribed to now, and lists have come to rest.
    heard.until("two names in a row", |h| h.cost.requests == 1).await;
    heard.round().await;
    let listed = heard.listed;
    server.register("orders", "10.0.0.1:8080", "weight=0.5&metadata={\"version\":\"v1\"}").await;
    let took = heard.until("the weight", |h| weight(h) == Some(0.5)).await;
    println!("{took:?}");
    server.register("orders", "10.0.0.1:8080", "weight=0.5&metadata={\"version\":\"v2\"}").await;
    heard.until("the metadata", |h| version(h).as_deref() == Some("v2")).await;
    server.register("orders", "10.0.0.1:8080", "weight=0.5&enabled=false").await;
    heard.until("it to be disabled", |h| enabled(h) == Some(false)).await;
    server.deregister("orders", "10.0.0.1:8080", "").await;
    heard.until("it to be gone", |h| h.service("orders").is_none_or(|s| s.endpoints.is_empty())).await;
    assert_eq!((heard.failed, heard.listed), (0, listed), "{:?}", heard.errors);
}

#[tokio::test]
async fn nacos_2_is_followed_by_push() {
    let Some(server) = Nacos::start("nacos2").await else { return };
    follow(&server).await;
}

#[tokio::test]
async fn nacos_3_is_followed_by_push() {
    let Some(server) = Nacos::start("nacos3").await else { return };
    follow(&server).await;
}
