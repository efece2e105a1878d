//! The Eureka registry against real servers, started from `tests/servers`. Without what that needs they print `SKIP` and
//! pass; with `PORTOLAN_REAL_SERVERS=required` they fail.

mod support;

use portolan::{
    model::{Health, Service},
    registry::{
        Kind,
        eureka::{Config, Server},
    },
};
use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use support::{eureka::Eureka, programs::Program, reading::Reading, servers::prepared, tcp_proxy::TcpProxy};
use tokio::time::timeout;

fn config(urls: &[&str]) -> Config {
    let servers = urls.iter().map(|url| Server::parse(url).unwrap()).collect();
    Config { period: Config::MIN_PERIOD, ..Config::new(servers) }
}

fn read(config: Config) -> Reading {
    Reading::new(Kind::Eureka(config))
}

fn health(reading: &Reading, app: &str) -> Vec<(Health, bool)> {
    let service = reading.service(app);
    service.into_iter().flat_map(|service| &service.endpoints).map(|e| (e.health, e.enabled)).collect()
}

#[tokio::test]
async fn everything_that_happens_to_an_instance_is_followed_by_reading_only() {
    let Some(eureka) = Eureka::start().await else { return };
    for delta in [true, false] {
        let recorder = TcpProxy::start(eureka.address()).await;
        let mut reading = read(Config { delta, ..config(&[&recorder.url()]) });
        reading.list().await;
        let changes = json!({"metadata": {"version": "v1", "zone": "z1", "weight": "2"}, "vipAddress": "shop,orders"});
        eureka.register("ORDERS", "10.0.0.1:8080", changes).await;
        reading.until("the instance", |h| h.service("ORDERS").is_some()).await;
        let orders = reading.service("ORDERS").unwrap();
        let endpoint = &orders.endpoints[0];
        assert_eq!((&*endpoint.labels["version"], endpoint.locality.zone(), endpoint.weight.get()), ("v1", "z1", 2.0));
        assert_eq!((&*orders.labels["vip"], &*orders.labels["secure_vip"]), ("orders,shop", "orders"));
        let state = |wanted: Vec<(Health, bool)>| move |h: &Reading| health(h, "ORDERS") == wanted;
        for (status, expected) in [
            ("OUT_OF_SERVICE", (Health::Healthy, false)),
            ("DOWN", (Health::Unhealthy, true)),
            ("UNKNOWN", (Health::Unhealthy, true)),
            ("UP", (Health::Healthy, true)),
        ] {
            eureka.set_status("ORDERS", "10.0.0.1:8080", status).await;
            reading.until(status, state(vec![expected])).await;
        }
        eureka.set_status("ORDERS", "10.0.0.1:8080", "OUT_OF_SERVICE").await;
        reading.until("it to be out of service", state(vec![(Health::Healthy, false)])).await;
        eureka.clear_status("ORDERS", "10.0.0.1:8080").await;
        reading.until("it to be back", state(vec![(Health::Healthy, true)])).await;
        // Nobody renews this one: its lease ends after a second, twice that by the server's reckoning.
        let lease = json!({"leaseInfo": {"renewalIntervalInSecs": 1, "durationInSecs": 1}});
        eureka.register("ORDERS", "10.0.0.2:8080", lease).await;
        reading.until("the second", |h| health(h, "ORDERS").len() == 2).await;
        reading.until("it to be evicted", |h| health(h, "ORDERS").len() == 1).await;
        let secure = json!({"port": {"$": 80, "@enabled": "false"}, "securePort": {"$": 8443, "@enabled": "true"}});
        eureka.register("SAFE", "10.0.0.3:80", secure).await;
        reading.until("the secure one", |h| h.service("SAFE").is_some()).await;
        let safe = &reading.service("SAFE").unwrap().endpoints[0];
        assert_eq!((safe.secure, safe.ports[0].number.get()), (true, 8443));
        eureka.deregister("SAFE", "10.0.0.3:80").await;
        eureka.deregister("ORDERS", "10.0.0.1:8080").await;
        reading.until("all to be gone", |h| h.endpoints().is_empty()).await;
        assert_eq!(reading.removed.len(), if delta { 2 } else { 0 }, "{:?}", reading.removed);
        assert_eq!(reading.failed, 0, "{:?}", reading.errors);
        let requests = recorder.asked();
        let (lists, deltas): (Vec<_>, Vec<_>) =
            requests.iter().partition(|request| *request == "GET /eureka/apps HTTP/1.1");
        assert!(deltas.iter().all(|request| *request == "GET /eureka/apps/delta HTTP/1.1"), "{deltas:?}");
        assert_eq!(deltas.is_empty(), !delta);
        eprintln!("delta {delta}: {} lists, {} deltas", lists.len(), deltas.len());
    }
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_told() {
    let Some(eureka) = Eureka::start_with(&[("EUREKA_AUTH", "on")]).await else { return };
    let with = |user: &str| eureka.url().replace("http://", &format!("http://{user}@"));
    assert_eq!(read(config(&[&with("reader:reads")])).list().await.failed, 0);
    for url in [eureka.url(), with("reader:wr0ng")] {
        let failure = read(config(&[&url])).failure().await;
        assert!(failure.contains("401 Unauthorized") && !failure.contains("wr0ng"), "{failure}");
    }
}

#[tokio::test]
async fn a_stock_server_shows_a_change_after_its_cache() {
    let Some(eureka) = Eureka::start_with(&[("EUREKA_CACHE_MS", "30000"), ("EUREKA_CACHE_LIFE", "180")]).await else {
        return;
    };
    let mut reading = read(config(&[&eureka.url()]));
    reading.list().await;
    reading.round().await;
    let started = Instant::now();
    eureka.register("ORDERS", "10.0.0.1:8080", json!({})).await;
    // What waits for something waits for 30 seconds at most.
    while reading.service("ORDERS").is_none() {
        assert!(started.elapsed() < Duration::from_secs(150), "{:?}", reading.endpoints());
        reading.round().await;
    }
    eprintln!("a stock server showed it after {:.1?}", started.elapsed());
    assert_eq!((reading.failed, reading.removed.len()), (0, 0));
}

#[tokio::test]
async fn a_peer_takes_over_with_the_same_state() {
    let Some([mut first, second]) = Eureka::start_peers().await else { return };
    for n in 1..=9 {
        first.register("ORDERS", &format!("10.0.0.{n}:8080"), json!({})).await;
        // Apart from each other: see `reach`.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    // A server makes its list and its changes apart from each other: changes may have all while the list, which is what a
    // reader begins with, still lacks some. When both lists are whole, nothing may change any more.
    let mut lists = [&first, &second].map(|server| read(Config { delta: false, ..config(&[&server.url()]) }));
    for list in &mut lists {
        list.until("a whole list", |h| health(h, "ORDERS").len() == 9).await;
    }
    let [of_first, of_second] = lists.map(|list| list.service("ORDERS").unwrap().clone());
    assert_eq!(of_first, of_second, "what is replicated is the same");
    let mut reading = read(config(&[&first.url(), &second.url()]));
    reading.list().await;
    let orders = reading.service("ORDERS").unwrap().clone();
    assert_eq!(orders, of_first);
    first.kill().await;
    let (lists, failed) = (reading.listed, reading.failed);
    while reading.listed <= lists + 3 {
        reading.list().await;
        assert!(Arc::ptr_eq(reading.service("ORDERS").unwrap(), &orders), "{:#?}", reading.service("ORDERS"));
    }
    assert_eq!(reading.failed, failed, "{:?}", reading.failures);
    second.set_status("ORDERS", "10.0.0.9:8080", "DOWN").await;
    reading.until("a change", |h| health(h, "ORDERS")[8] == (Health::Unhealthy, true)).await;
    first.restart().await;
    reading.round().await;
    reading.round().await;
    assert_eq!((reading.failed, reading.removed.len(), health(&reading, "ORDERS").len()), (0, 0, 9));
}

#[tokio::test]
async fn a_stock_spring_cloud_application_is_followed() {
    if !prepared(&["spring"]).await {
        return;
    }
    let Some(eureka) = Eureka::start_with(&[("EUREKA_AUTH", "on")]).await else { return };
    let url = eureka.url().replace("http://", "http://reader:reads@");
    let keys = [&format!("registry={url}/eureka/"), "eureka.instance.metadata-map.version=v1"];
    let mut reading = read(config(&[&url]));
    let shop = Program::spring("eureka", &keys).await;
    reading.until("it to be up", |h| health(h, "SHOP") == [(Health::Healthy, true)]).await;
    let service = reading.service("SHOP").unwrap();
    let endpoint = &service.endpoints[0];
    assert_eq!(reading.endpoints()["SHOP"], [format!("127.0.0.1:{}", shop.port)]);
    assert_eq!((&*endpoint.labels["version"], &*service.labels["vip"]), ("v1", "shop"));
    shop.set_status("OUT_OF_SERVICE").await;
    reading.until("it to be out of service", |h| health(h, "SHOP") == [(Health::Healthy, false)]).await;
    shop.set_status("UP").await;
    reading.until("it to be back", |h| health(h, "SHOP") == [(Health::Healthy, true)]).await;
    shop.stop().await;
    reading.until("it to be gone", |h| h.service("SHOP").is_none()).await;
    assert_eq!(reading.failed, 0);
}

/// Application and id of each instance; its address, and the status that an operator has set.
type Model = BTreeMap<(String, String), (String, Option<&'static str>)>;

/// Application, id, address, health, enabled.
type Seen = (String, String, String, Health, bool);

/// The endpoints that a reader is to have.
fn expected(model: &Model) -> Vec<Seen> {
    let show = |((app, id), (ip, status)): (&(String, String), &(String, Option<&str>))| {
        let health = if *status == Some("DOWN") { Health::Unhealthy } else { Health::Healthy };
        (app.clone(), id.clone(), ip.clone(), health, *status != Some("OUT_OF_SERVICE"))
    };
    model.iter().map(show).collect()
}

fn shown(reading: &Reading) -> Vec<Seen> {
    let services = reading.lists.values().flatten();
    let mut all: Vec<_> = services
        .filter(|service| &*service.id.name != "NUDGE")
        .flat_map(|service| service.endpoints.iter().map(move |endpoint| (service, endpoint)))
        .map(|(s, e)| (s.id.name.to_string(), e.labels["id"].to_string(), e.address.to_string(), e.health, e.enabled))
        .collect();
    all.sort();
    all
}

/// Waits until a reader has what it is to have. A server that is asked while something changes may keep the answer that it
/// was making, which lacks that, until the next change (seen once in some hundred changes): then there is one more.
async fn reach(reading: &mut Reading, what: &str, wanted: &[Seen], eureka: &Eureka) -> usize {
    for nudges in 0..10 {
        if timeout(Duration::from_secs(3), reading.until(what, |h| shown(h) == wanted)).await.is_ok() {
            return nudges;
        }
        nudge(eureka).await;
    }
    panic!("{what}: {:#?} instead of {wanted:#?}", shown(reading));
}

/// A change that nobody looks at.
async fn nudge(eureka: &Eureka) {
    eureka.register("NUDGE", "10.9.9.9:80", json!({})).await;
}

#[tokio::test]
async fn changes_and_whole_lists_end_in_the_same_state() {
    const BATCHES: usize = 60;
    const CHANGES: usize = 20;
    let Some(eureka) = Eureka::start().await else { return };
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64);
    println!("SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let recorder = TcpProxy::start(eureka.address()).await;
    let mut by_delta = read(config(&[&recorder.url()]));
    let mut whole = read(Config { delta: false, ..config(&[&eureka.url()]) });
    let (mut model, mut nudges) = (Model::new(), 0);
    nudge(&eureka).await;
    for batch in 0..BATCHES {
        for _ in 0..CHANGES {
            change(&eureka, &mut model, &mut random).await;
        }
        let wanted = expected(&model);
        let what = format!("the state after batch {batch}");
        nudges += reach(&mut by_delta, &what, &wanted, &eureka).await;
        nudges += reach(&mut whole, &what, &wanted, &eureka).await;
        let services = |reading: &Reading| reading.lists[""].iter().map(|s| (**s).clone()).collect::<Vec<Service>>();
        assert_eq!(services(&by_delta), services(&whole), "after batch {batch}");
    }
    // While instances change, a real server gives lists that do not fit their own hash: they are read again without a word.
    assert_eq!((&by_delta.failures, &whole.failures), (&vec![], &vec![]));
    let requests = recorder.asked();
    let lists = requests.iter().filter(|request| *request == "GET /eureka/apps HTTP/1.1").count();
    let changes = BATCHES * CHANGES;
    eprintln!(
        "{changes} changes; {lists} lists among {} requests; {nudges} answers were kept too long",
        requests.len()
    );
    assert!(lists * 4 < BATCHES, "changes were to do, but {lists} lists were read");
}

/// Makes one random change in the server and in the model: a registration, a deregistration or a status.
async fn change(eureka: &Eureka, model: &mut Model, random: &mut TestRng) {
    let mut below = |n: u32| random.next_u32() % n;
    let app = format!("APP-{}", below(8));
    // The server keeps overrides by this alone, for all applications together.
    let id = format!("{app}-{}", below(12));
    let key = (app.clone(), id.clone());
    let known = model.get(&key).cloned();
    match (below(10), known) {
        (0..=3, known) | (_, known @ None) => {
            let ip = format!("10.{}.{}.1", below(250), below(250));
            let instance = json!({"instanceId": id, "hostName": ip, "ipAddr": ip, "metadata": {"id": id}});
            eureka.register(&app, "10.0.0.1:8080", instance).await;
            model.insert(key, (ip, known.and_then(|(_, status)| status)));
        }
        (4..=5, Some(_)) => {
            eureka.deregister(&app, &id).await;
            model.remove(&key);
        }
        (6..=8, Some((ip, _))) => {
            let status = ["OUT_OF_SERVICE", "DOWN", "UP"][below(3) as usize];
            eureka.set_status(&app, &id, status).await;
            model.insert(key, (ip, Some(status)));
        }
        (_, Some((ip, _))) => {
            eureka.clear_status(&app, &id).await;
            model.insert(key, (ip, None));
        }
    }
}
