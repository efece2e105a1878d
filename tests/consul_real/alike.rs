//! What holds of a real Consul and of the stand-in alike, so that what only the stand-in can show means something.

use crate::{
    config, read,
    support::{
        consul::{Consul, Writer},
        fake_consul::FakeConsul,
        reading::Reading,
        tcp_proxy::TcpProxy,
    },
};
use portolan::{
    model::{Health, Service},
    registry::consul::{Config, Rules},
};
use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Random changes in [`follows_random_changes`].
const CHANGES: usize = 1000;
/// After so many of them what was followed is held against a fresh reading.
const STRIDE: usize = 50;

#[tokio::test]
async fn a_real_consul_is_followed() {
    let Some(consul) = Consul::start().await else { return };
    everything_is_followed(&consul.writer).await;
}

#[tokio::test]
async fn the_stand_in_is_followed() {
    let fake = FakeConsul::start().await;
    everything_is_followed(&Writer::new(fake.url())).await;
}

async fn everything_is_followed(to: &Writer) {
    let mut reading = read(config(&to.url));
    reading.list().await;
    assert_eq!(reading.endpoints(), Default::default(), "nothing but Consul itself");
    let rules = Rules { itself: true, ..Rules::default() };
    let itself = |h: &Reading| h.endpoints().into_keys().collect::<Vec<_>>() == ["consul"];
    read(Config { rules, ..config(&to.url) }).until("Consul itself, for who wants it", itself).await;
    let instance = |port: u16, status: &str| {
        json!({
            "Node": "node-1", "Address": "10.0.0.1", "NodeMeta": {"zone": "z1"},
            "Service": {"ID": "web-1", "Service": "web", "Port": port, "Tags": ["v1", "env=prod"], "Meta": {"a": "b"},
                "Weights": {"Passing": 5, "Warning": 2}},
            "Checks": [{"CheckID": "c", "Name": "c", "Status": status, "ServiceID": "web-1"}],
        })
    };
    to.register(instance(8080, "passing")).await;
    reading.until("the instance", |h| h.service("web").is_some()).await;
    let endpoint = &reading.service("web").unwrap().endpoints[0];
    assert_eq!((endpoint.address.to_string(), endpoint.ports[0].number.get()), ("10.0.0.1".into(), 8080));
    assert_eq!((endpoint.weight.get(), endpoint.health), (5.0, Health::Healthy));
    assert_eq!((endpoint.locality.region(), endpoint.locality.zone()), ("dc1", "z1"));
    let labels: Vec<String> = endpoint.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["a=b", "env=prod", "tags=env=prod,v1"]);
    let is = |health: Health, weight: f64, enabled: bool| {
        move |h: &Reading| {
            let of = |s: &Arc<Service>| (s.endpoints[0].health, s.endpoints[0].weight.get(), s.endpoints[0].enabled);
            h.service("web").map(of) == Some((health, weight, enabled))
        }
    };
    to.register(instance(8080, "warning")).await;
    reading.until("a warning", is(Health::Healthy, 2.0, true)).await;
    to.register(instance(8080, "critical")).await;
    reading.until("it to fail", is(Health::Unhealthy, 5.0, true)).await;
    to.register(instance(8080, "passing")).await;
    reading.until("it to pass", is(Health::Healthy, 5.0, true)).await;
    let maintenance = json!({"CheckID": "_node_maintenance", "Name": "m", "Status": "critical"});
    to.register(json!({"Node": "node-1", "Address": "10.0.0.1", "SkipNodeUpdate": true, "Check": maintenance})).await;
    reading.until("the node's maintenance", is(Health::Healthy, 5.0, false)).await;
    to.deregister(json!({"Node": "node-1", "CheckID": "_node_maintenance"})).await;
    reading.until("its end", is(Health::Healthy, 5.0, true)).await;
    let at = |place: &'static str| move |h: &Reading| h.endpoints().get("web").is_some_and(|all| *all == [place]);
    to.register(instance(9090, "passing")).await;
    reading.until("another port", at("10.0.0.1:9090")).await;
    to.register(json!({"Node": "node-1", "Address": "10.0.0.9"})).await;
    reading.until("another address of the node", at("10.0.0.9:9090")).await;
    let external = json!({"Node": "outside", "Address": "db.example.com", "Service": {"Service": "db", "Port": 5432}});
    to.register(external).await;
    reading
        .until("an external one", |h| h.endpoints().get("db").is_some_and(|all| *all == ["db.example.com:5432"]))
        .await;
    for name in ["a b", "ä/ö", "what?"] {
        to.register(json!({"Node": "node-2", "Address": "10.0.0.2", "Service": {"Service": name, "Port": 1}})).await;
        reading.until(name, |h| h.service(name).is_some()).await;
    }
    // A node that is registered by another name is another node: what was on it is gone until it is registered again.
    let id = "0c9a8b6e-1111-4222-8333-444455556666";
    let on =
        |node: &str| json!({"ID": id, "Node": node, "Address": "10.0.0.7", "Service": {"Service": "moved", "Port": 7}});
    to.register(on("before")).await;
    reading.until("what is on a node", |h| h.service("moved").is_some()).await;
    to.register(json!({"ID": id, "Node": "after", "Address": "10.0.0.8"})).await;
    reading.until("it to be gone with the node's name", |h| h.service("moved").is_none()).await;
    to.register(on("after")).await;
    reading.until("it to be there under the new name", |h| h.service("moved").is_some()).await;
    to.deregister(json!({"Node": "after"})).await;
    to.deregister(json!({"Node": "node-1", "ServiceID": "web-1"})).await;
    reading.until("it to be gone", |h| h.service("web").is_none()).await;
    to.deregister(json!({"Node": "node-2"})).await;
    reading.until("a node to be gone", |h| h.endpoints().len() == 1).await;
}

#[tokio::test]
async fn random_changes_in_a_real_consul_end_in_the_same_state() {
    let Some(consul) = Consul::start().await else { return };
    follows_random_changes(&consul.writer, consul.address(), |_| {}).await;
}

#[tokio::test]
async fn random_changes_in_the_stand_in_end_in_the_same_state() {
    let fake = FakeConsul::start().await;
    let trouble = |random: &mut TestRng| match below(random, 4) {
        0 => {
            fake.model().reset_index();
            fake.look();
        }
        _ => fake.wake(),
    };
    follows_random_changes(&Writer::new(fake.url()), fake.address, trouble).await;
}

/// Makes random changes, between which connections are cut and `trouble` happens. What is followed must come to what a
/// fresh reading has.
async fn follows_random_changes(to: &Writer, address: SocketAddr, trouble: impl Fn(&mut TestRng)) {
    let mut random = seeded();
    let proxy = TcpProxy::start(address).await;
    // Nothing is left to the reading of everything from time to time.
    let resync = Duration::from_secs(24 * 3600);
    let mut followed = read(Config { resync, ..config(&proxy.url()) });
    let (started, mut slowest) = (Instant::now(), Duration::ZERO);
    for number in 1..=CHANGES {
        change(to, &mut random).await;
        match below(&mut random, 40) {
            0 => proxy.cut(),
            1 | 2 => trouble(&mut random),
            _ => {}
        }
        if number % STRIDE == 0 {
            let mut fresh = read(config(&to.url));
            fresh.list().await;
            let expected = fresh.lists[""].clone();
            assert!(fresh.unreadable[""].is_empty(), "{:?}", fresh.unreadable);
            let same = |h: &Reading| h.lists.get("") == Some(&expected);
            slowest = slowest.max(followed.until(&format!("the state after {number} changes"), same).await);
        }
    }
    eprintln!("{CHANGES} changes in {:?}; the longest wait for the same state was {slowest:?}", started.elapsed());
}

/// A generator whose seed is printed; the variable `SEED` repeats one.
pub fn seeded() -> TestRng {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64);
    println!("SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// One change of a world of five nodes and six services.
pub async fn change(to: &Writer, random: &mut TestRng) {
    let (node, service) = (1 + below(random, 5), 1 + below(random, 6));
    let (name, id) = (format!("node-{node}"), format!("s{service}-{node}"));
    let mut at = |statuses: &[&str]| statuses[below(random, statuses.len())].to_owned();
    let (action, status) = (
        at(&["put", "put", "put", "check", "check", "away", "away", "node", "gone", "maintain", "unmaintain"]),
        at(&["passing", "warning", "critical"]),
    );
    let address = |random: &mut TestRng| format!("10.0.{}.{node}", below(random, 2));
    match &*action {
        "put" => {
            let mut put = json!({
                "Node": name, "Address": address(random), "SkipNodeUpdate": below(random, 10) < 8,
                "Service": {"ID": id, "Service": format!("s{service}"), "Port": 1 + below(random, 3),
                    "Tags": if below(random, 10) < 3 { json!(["a"]) } else { json!([]) },
                    "Meta": {"k": below(random, 2).to_string()}},
            });
            if below(random, 10) < 4 {
                put["Check"] = check(&id, &status);
            }
            to.register(put).await;
        }
        // One of an instance that is not there is refused by a real one.
        "check" => {
            let mut put = json!({
                "Node": name, "Address": address(random), "SkipNodeUpdate": true,
                "Service": {"ID": id, "Service": format!("s{service}"), "Port": 1},
            });
            put["Check"] = check(&id, &status);
            to.register(put).await;
        }
        "away" => to.deregister(json!({"Node": name, "ServiceID": id})).await,
        "node" => to.register(json!({"Node": name, "Address": address(random), "NodeMeta": {"zone": status}})).await,
        "gone" => to.deregister(json!({"Node": name})).await,
        "maintain" => {
            let check = json!({"CheckID": "_node_maintenance", "Name": "m", "Status": "critical"});
            to.register(json!({"Node": name, "Address": address(random), "SkipNodeUpdate": true, "Check": check}))
                .await;
        }
        _ => to.deregister(json!({"Node": name, "CheckID": "_node_maintenance"})).await,
    }
}

fn check(id: &str, status: &str) -> Value {
    json!({"CheckID": format!("c-{id}"), "Name": "c", "Status": status, "ServiceID": id})
}

/// A number from 0 to below `most`.
pub fn below(random: &mut TestRng, most: usize) -> usize {
    random.next_u32() as usize % most
}
