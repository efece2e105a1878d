//! At least a thousand random changes, with cuts and ended sessions between them: every way of noticing leads to the same
//! state, which is that of a model.

use super::{
    config, listed, polling, read,
    support::{
        reading::Reading,
        tcp_proxy::TcpProxy,
        zookeeper::{Writer, ZooKeeper, provider},
    },
};
use portolan::registry::zookeeper::{Config, Layout};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

const CHANGES: usize = 1_000;
/// After so many changes all must agree.
const ROUND: usize = 50;
/// The shortest session that the servers grant.
const SESSION: Duration = Duration::from_secs(1);

/// The instances, by service and address. The number is the weight in Dubbo; in Spring Cloud an even one is up, an odd
/// one down.
type Model = BTreeMap<(String, String), u64>;

/// Numbers that follow from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// From `PORTOLAN_SEED`, or by chance; printed, so that a failure can be had again.
fn seed() -> u64 {
    let given = std::env::var("PORTOLAN_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = given.unwrap_or_else(now);
    eprintln!("PORTOLAN_SEED={seed}");
    seed
}

fn interface(service: &str) -> &str {
    service.split(['/', ':']).find(|part| part.starts_with("com.")).unwrap()
}

/// The node of an instance, with its data; the service is an interface with or without a group.
fn node(layout: Layout, service: &str, address: &str, number: u64) -> (String, String) {
    match layout {
        Layout::Dubbo => {
            let group = service.split_once('/').map_or(String::new(), |(group, _)| format!("&group={group}"));
            let interface = interface(service);
            let url = format!("dubbo://{address}/{interface}?weight={}{group}", number * 100);
            (provider("/dubbo", interface, &url), "192.0.2.1".into())
        }
        Layout::Spring | Layout::Applications => {
            let (host, port) = address.split_once(':').unwrap();
            let status = if number.is_multiple_of(2) { "UP" } else { "DOWN" };
            let payload = format!(r#"{{"metadata":{{"instance_status":"{status}"}}}}"#);
            let data = format!(r#"{{"address":"{host}","port":{port},"payload":{payload}}}"#);
            (format!("/services/{service}/{host}"), data)
        }
    }
}

/// One random change, here and on all servers.
async fn change(layout: Layout, random: &mut Random, model: &mut Model, writers: &[Writer]) {
    let services = ["com.foo.A", "g/com.foo.A", "com.foo.B", "com.foo.C", "h/com.foo.C", "com.foo.D"];
    let service = services[random.below(services.len() as u64) as usize].to_owned();
    let service = if layout == Layout::Spring { interface(&service).to_owned() } else { service };
    let address = format!("192.0.2.{}:20880", 1 + random.below(6));
    let (key, number) = ((service.clone(), address.clone()), 1 + random.below(4));
    let root = if layout == Layout::Dubbo { "/dubbo" } else { "/services" };
    match random.below(100) {
        0 => {
            model.clear();
            delete(writers, root).await;
        }
        1..=4 => {
            model.retain(|(other, _), _| interface(other) != interface(&service));
            delete(writers, &format!("{root}/{}", interface(&service))).await;
        }
        5..=9 if layout == Layout::Dubbo => {
            let path = format!("{root}/{}/consumers/c{number}", interface(&service));
            for writer in writers {
                writer.create(&path, "").await;
            }
        }
        5..=39 => {
            if let Some(old) = model.remove(&key) {
                delete(writers, &node(layout, &service, &address, old).0).await;
            }
        }
        _ => {
            let old = model.insert(key, number);
            let (path, data) = node(layout, &service, &address, number);
            let former = old.map(|old| node(layout, &service, &address, old).0).filter(|former| *former != path);
            for writer in writers {
                writer.create(&path, &data).await;
                writer.set(&path, &data).await;
            }
            if let Some(former) = former {
                delete(writers, &former).await;
            }
        }
    }
}

async fn delete(writers: &[Writer], path: &str) {
    for writer in writers {
        writer.delete(path).await;
    }
}

/// What a model is to look like in lists.
fn expected(layout: Layout, model: &Model) -> BTreeMap<String, Vec<String>> {
    let mut services: BTreeMap<String, BTreeSet<(String, u64)>> = BTreeMap::new();
    for ((service, address), number) in model {
        services.entry(service.clone()).or_default().insert((address.clone(), *number));
    }
    let shown = |(address, number): (String, u64)| match layout {
        Layout::Dubbo => format!("{address} dubbo {number}"),
        Layout::Spring if number.is_multiple_of(2) => format!("{address} - 1"),
        Layout::Spring | Layout::Applications => format!("{address} - 1 off"),
    };
    let root = if layout == Layout::Dubbo { "dubbo" } else { "services" };
    services.into_iter().map(|(s, i)| (format!("{root}/{s}"), i.into_iter().map(shown).collect())).collect()
}

async fn agree(layout: Layout) {
    let (Some(new), Some(old)) = (ZooKeeper::start("zookeeper").await, ZooKeeper::start("zookeeper35").await) else {
        return;
    };
    let mut random = Random(seed());
    let writers = [new.writer().await, old.writer().await];
    let mut readers: Vec<(&str, TcpProxy, Reading)> = Vec::new();
    for (name, server, polls) in [
        ("recursive", &new, false),
        ("polling", &new, true),
        ("one-shot", &old, false),
        ("polling the old", &old, true),
    ] {
        let proxy = TcpProxy::start(server.address()).await;
        let config = Config { session_timeout: SESSION, ..config(proxy.address, layout) };
        let reading = read(if polls { polling(config) } else { config });
        readers.push((name, proxy, reading));
    }
    let mut model = Model::new();
    for round in 0..CHANGES / ROUND {
        for at in 0..ROUND {
            // Each wire by itself: cut for a moment, or for longer than a session lives.
            for (_, proxy, _) in &readers {
                match random.below(40) {
                    0 => proxy.sever(),
                    1..=4 => proxy.heal(),
                    _ => {}
                }
            }
            if round % 5 == 4 && at == ROUND / 2 {
                readers.iter().for_each(|(_, proxy, _)| proxy.sever());
                tokio::time::sleep(SESSION * 2).await;
            }
            change(layout, &mut random, &mut model, &writers).await;
        }
        let expected = expected(layout, &model);
        for (name, proxy, reading) in &mut readers {
            proxy.heal();
            reading
                .until(&format!("{name} after round {round}"), |h| h.errors.is_empty() && listed(h) == expected)
                .await;
        }
    }
    for (name, _, reading) in &readers {
        assert!(reading.failed > 0, "no cut has reached {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_ways_agree_on_dubbo_after_random_changes_and_cuts() {
    agree(Layout::Dubbo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_ways_agree_on_spring_after_random_changes_and_cuts() {
    agree(Layout::Spring).await;
}
