//! A server whose pushes never end, are huge, are nonsense, or contradict each other.

use super::{config, names, read};
use crate::support::{
    fake_nacos::{FakeNacos, Generation, instance},
    fake_push::{FakePush, Script, notify, payload},
    reading::Reading,
};
use portolan::{
    registry::nacos::{Config, Login, Mode},
    util::secret::Secret,
};
use serde_json::json;
use std::{sync::atomic::Ordering, time::Duration};

/// Longer than any of these tests.
const NEVER: Duration = Duration::from_secs(3600);

async fn with_push(script: Script) -> (FakeNacos, FakePush, Config) {
    let fake = FakeNacos::start(Generation::V2).await;
    for n in 0..3 {
        fake.model().put(&format!("svc-{n}"), vec![instance("10.0.0.1", 80)]);
    }
    let push = FakePush::start(script).await;
    let mut config = Config { mode: Mode::Auto, grpc_port: Some(push.address.port()), resync: NEVER, ..config(&fake) };
    config.connection.timeout = Duration::from_secs(2);
    config.connection.max_body_bytes = 1 << 20;
    (fake, push, config)
}

/// Waits until something holds, while nothing is taken from the reading.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let ask = || async { if holds() { Ok(()) } else { Err(()) } };
    crate::support::until(what, Duration::from_secs(60), ask).await;
}

/// Waits until something was published after a change that only a reading shows.
async fn is_followed(fake: &FakeNacos, reading: &mut Reading, name: &str) {
    fake.model().put(name, vec![instance("10.0.0.9", 80)]);
    reading
        .until("the change", |h| h.endpoints().get(name).is_some_and(|e| e.contains(&"10.0.0.9:80".to_owned())))
        .await;
}

#[tokio::test]
async fn a_flood_of_pushes_is_read_at_a_measured_pace() {
    let (fake, push, config) = with_push(Script::Quiet).await;
    let mut reading = read(config);
    reading.list().await;
    until("subscriptions", || push.seen().subscribed.load(Ordering::SeqCst) >= 3).await;
    fake.model().log.clear();
    let flood = 20_000;
    for n in 0..flood {
        push.push(notify("DEFAULT_GROUP", "svc-0"));
        if n % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    is_followed(&fake, &mut reading, "svc-0").await;
    let asked = fake.model().asked("serviceName=");
    assert!(asked < 400, "{asked} requests for {flood} pushes of one service");
    assert_eq!(reading.failed, 0, "{:?}", reading.errors);
}

#[tokio::test]
async fn a_server_that_floods_and_never_listens_costs_its_connection() {
    let (fake, push, config) = with_push(Script::Flood(notify("DEFAULT_GROUP", "svc-0"))).await;
    let mut reading = read(config);
    reading.list().await;
    // Its stream does not take our answers: a second connection is the proof that the first was given up.
    until("another stream", || push.seen().streams.load(Ordering::SeqCst) >= 2).await;
    is_followed(&fake, &mut reading, "svc-1").await;
    assert_eq!(reading.failed, 0, "{:?}", reading.errors);
}

#[tokio::test]
async fn a_server_that_ends_every_stream_is_asked_less_and_less() {
    for script in [
        Script::Close,
        Script::Once(payload("ConnectResetRequest", "{}")),
        Script::Once(payload("NotifySubscriberRequest", "?")),
    ] {
        let (fake, push, config) = with_push(script.clone()).await;
        let mut reading = read(config);
        let lists = 25;
        reading.until("many lists", |h| h.listed > lists).await;
        let streams = push.seen().streams.load(Ordering::SeqCst);
        assert!((1..=12).contains(&streams), "{script:?}: {streams} streams in {lists} rounds");
        is_followed(&fake, &mut reading, "svc-1").await;
        assert_eq!(reading.failed, 0, "{:?}", reading.errors);
    }
}

#[tokio::test]
async fn a_huge_message_costs_its_connection_alone() {
    let huge = payload("NotifySubscriberRequest", vec![b' '; 2 << 20]);
    let (fake, push, config) = with_push(Script::Once(huge)).await;
    let mut reading = read(config);
    reading.list().await;
    until("another stream", || push.seen().streams.load(Ordering::SeqCst) >= 2).await;
    is_followed(&fake, &mut reading, "svc-1").await;
    assert_eq!((names(&reading).len(), reading.failed), (3, 0), "{:?}", reading.errors);
}

#[tokio::test]
async fn contradictions_take_nothing_away_and_cost_little() {
    let (fake, push, config) = with_push(Script::Quiet).await;
    let mut reading = read(config);
    reading.list().await;
    until("subscriptions", || push.seen().subscribed.load(Ordering::SeqCst) >= 3).await;
    fake.model().log.clear();
    let name = |key: &str, change: &str| {
        payload("NamingFuzzyWatchChangeNotifyRequest", json!({"serviceKey": key, "changedType": change}).to_string())
    };
    for n in 0..2_000 {
        push.push(name("public@@DEFAULT_GROUP@@svc-0", if n % 2 == 0 { "DELETE_SERVICE" } else { "ADD_SERVICE" }));
        push.push(name(&format!("public@@DEFAULT_GROUP@@ghost-{n}"), "ADD_SERVICE"));
        push.push(name(&format!("elsewhere@@g@@ghost-{n}"), "ADD_SERVICE"));
        push.push(notify("DEFAULT_GROUP", &format!("ghost-{n}")));
        if n % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    is_followed(&fake, &mut reading, "svc-2").await;
    assert_eq!(names(&reading), ["svc-0", "svc-1", "svc-2"]);
    let asked = fake.model().log.len();
    assert!(asked < 1_000, "{asked} requests for 8,000 pushes that mean nothing");
    assert_eq!((reading.failed, reading.removed.len()), (0, 0), "{:?}", reading.errors);
}

#[tokio::test]
async fn logins_that_expire_all_the_time_fail_no_request() {
    let fake = FakeNacos::start(Generation::V1).await;
    for n in 0..200 {
        fake.model().put(&format!("svc-{n}"), vec![instance("10.0.0.1", 80)]);
    }
    fake.model().login = Some(("reader".into(), "right".into(), 1));
    let login = Login { username: "reader".into(), password: Secret::new("right") };
    let mut reading = read(Config { login: Some(login), ..config(&fake) });
    reading.list().await;
    for turn in 0..4 {
        let logins = fake.model().asked("/login");
        reading.until("another login", |_| fake.model().asked("/login") > logins).await;
        fake.model().put(&format!("svc-{turn}"), vec![instance("10.0.0.2", 80)]);
    }
    reading.until("all changes", |h| (0..4).all(|n| h.endpoints()[&format!("svc-{n}")] == ["10.0.0.2:80"])).await;
    assert_eq!((reading.failed, reading.endpoints().len()), (0, 200), "{:?}", reading.errors);
    assert_eq!(reading.unreadable.values().flatten().count(), 0);
}
