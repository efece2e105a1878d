//! A server that sends its clients to another.

use super::NEVER;
use crate::support::{nacos::Nacos, reading::Reading, until};
use portolan::registry::{
    Kind,
    nacos::{Config, Mode},
};
use std::time::Duration;

/// Two servers that have the same services, as those of a cluster do. Nothing is listed by itself: what is heard after
/// the move was pushed by the server to which we were sent.
async fn follow_the_word(script: &'static str) {
    let (Some(one), Some(other)) = (Nacos::start(script).await, Nacos::start(script).await) else { return };
    let set = async |weight: u32| {
        for server in [&one, &other] {
            server.register("orders", "10.0.0.1:80", &format!("ephemeral=false&weight={weight}")).await;
        }
    };
    set(1).await;
    let servers = vec![Config::server(&one.url()).unwrap(), Config::server(&other.url()).unwrap()];
    let config = Config { mode: Mode::Push, period: NEVER, resync: NEVER, ..Config::new(servers) };
    let mut reading = Reading::new(Kind::Nacos(config));
    reading.list().await;
    let connected = async |server: &Nacos| {
        until("a connection", Duration::from_secs(60), || async {
            let shown = server.connections().await;
            if shown.contains("Portolan:v") { Ok(()) } else { Err(shown) }
        })
        .await;
    };
    let weight = |h: &Reading| h.service("orders").and_then(|s| s.endpoints.first().map(|e| e.weight.get()));
    connected(&one).await;
    set(2).await;
    reading.until("push", |h| weight(h) == Some(2.0)).await;
    one.send_away(&other).await;
    connected(&other).await;
    assert!(!one.connections().await.contains("Portolan:v"));
    set(3).await;
    reading.until("push from the other", |h| weight(h) == Some(3.0)).await;
    // And back, to be sure that the word counts and not the order of the servers.
    other.send_away(&one).await;
    connected(&one).await;
    set(4).await;
    reading.until("push from the first again", |h| weight(h) == Some(4.0)).await;
    assert_eq!((reading.failed, reading.removed.len()), (0, 0), "{:?}", reading.errors);
}

#[tokio::test]
async fn nacos_2_sends_us_to_another_server() {
    follow_the_word("nacos2").await;
}

#[tokio::test]
async fn nacos_3_sends_us_to_another_server() {
    follow_the_word("nacos3").await;
}
