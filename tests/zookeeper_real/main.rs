//! The ZooKeeper registry against real servers, started from `tests/servers`: 3.9, which has watches for whole trees, and
//! 3.5, which has not. Without what that needs they print `SKIP` and pass; with `PORTOLAN_REAL_SERVERS=required` they
//! fail.

#[path = "../support/mod.rs"]
mod support;

mod applications;
mod asked;
mod bad_input;
mod burst;
mod calls;
mod changes;
mod consumers;
mod faults;
mod fleet;
mod limits;
mod overrides;
mod random;
mod reads_only;
mod rights;
mod spring;
mod tags;
mod tls;

use portolan::{
    model::Protocol,
    registry::{
        Kind,
        zookeeper::{Config, Layout, Mode},
    },
};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use support::reading::Reading;

/// The defaults, but quicker; and what watches do not tell is not made up for within a test.
fn config(server: SocketAddr, layout: Layout) -> Config {
    let servers = vec![Config::server(&server.to_string()).unwrap()];
    let (period, session_timeout) = (Duration::from_millis(300), Duration::from_secs(4));
    let resync = Duration::from_secs(3600);
    Config { period, resync, session_timeout, ..Config::new(servers, layout) }
}

fn read(config: Config) -> Reading {
    Reading::new(Kind::Zookeeper(config))
}

fn polling(config: Config) -> Config {
    Config { mode: Mode::Poll, ..config }
}

/// What is listed: the services' ids without the registry, with their instances as `address:port protocol weight`, and
/// `off` behind those that are disabled.
fn listed(reading: &Reading) -> BTreeMap<String, Vec<String>> {
    let instance = |e: &portolan::model::Endpoint| {
        let port = &e.ports[0];
        let protocol = port.protocol.map_or("-", Protocol::name);
        let off = if e.enabled { "" } else { " off" };
        format!("{}:{} {protocol} {}{off}", e.address, port.number, e.weight.get())
    };
    let services = reading.lists.values().flatten();
    services.map(|s| (s.id.to_string()[2..].to_owned(), s.endpoints.iter().map(instance).collect())).collect()
}

/// Waits until exactly this is listed.
async fn until_listed(reading: &mut Reading, what: &str, expected: &[(&str, &[&str])]) {
    let expected: BTreeMap<String, Vec<String>> = expected
        .iter()
        .map(|(id, instances)| ((*id).to_owned(), instances.iter().map(|i| (*i).to_owned()).collect()))
        .collect();
    reading.until(what, |h| listed(h) == expected).await;
}

/// A provider of `com.foo.Demo`.
fn demo(address: &str, more: &str) -> String {
    format!("dubbo://{address}/com.foo.Demo?application=a&interface=com.foo.Demo&timestamp=1{more}")
}
