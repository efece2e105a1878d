//! What reading a real Consul costs and how long it takes, for `benches/README.md`. `tests/long/consul` runs it.

use crate::{
    config, read,
    support::{
        consul::{Consul, Writer},
        reading::Reading,
        tcp_proxy::TcpProxy,
    },
};
use futures_util::{StreamExt, stream};
use portolan::model::Health;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Longer than the default `resync` of 5 minutes, so that everything is read again once.
const IDLE: Duration = Duration::from_secs(330);

fn instance(n: usize, status: &str) -> Value {
    let (node, name, id) = (n % 100, format!("s-{n}"), format!("s-{n}-1"));
    json!({
        "Node": format!("node-{node}"), "Address": format!("10.0.0.{node}"), "SkipNodeUpdate": true,
        "Service": {"ID": id, "Service": name, "Port": 8080},
        "Check": {"CheckID": format!("c-{n}"), "Name": "c", "Status": status, "ServiceID": id},
    })
}

async fn register(to: &Writer, services: usize) {
    let each = |n: usize| to.register(instance(n, "passing"));
    stream::iter(0..services).map(each).buffer_unordered(16).collect::<Vec<()>>().await;
}

#[tokio::test]
#[ignore = "a figure, no test: run by tests/long/consul"]
async fn first_read_of_5_000_services() {
    let Some(consul) = Consul::start().await else { return };
    register(&consul.writer, 5000).await;
    for _ in 0..3 {
        let proxy = TcpProxy::start(consul.address()).await;
        let started = Instant::now();
        let mut reading = read(config(&proxy.url()));
        reading.list().await;
        let took = started.elapsed();
        assert_eq!((reading.endpoints().len(), reading.failed), (5000, 0));
        let (asked, (_, open)) = (proxy.asked().len(), proxy.open());
        println!("first read of 5,000 services: {took:.2?}, {asked} requests, at most {open} connections");
    }
}

#[tokio::test]
#[ignore = "takes minutes: run by tests/long/consul"]
async fn cost_of_2_000_idle_services() {
    let Some(consul) = Consul::start().await else { return };
    register(&consul.writer, 2000).await;
    let proxy = TcpProxy::start(consul.address()).await;
    let mut reading = read(config(&proxy.url()));
    reading.list().await;
    let (mut before, mut most, started) = (proxy.asked().len(), 0, Instant::now());
    let first = before;
    while started.elapsed() < IDLE {
        let second = async {
            loop {
                reading.next().await;
            }
        };
        timeout(Duration::from_secs(1), second).await.ok();
        let now = proxy.asked().len();
        (most, before) = (most.max(now - before), now);
    }
    let (seconds, (open, most_open)) = (started.elapsed().as_secs_f64(), proxy.open());
    let all = before - first;
    println!(
        "2,000 idle services for {seconds:.0} s: {all} requests, {:.1} in a second, at most {most}; {open} connections, at most {most_open}",
        all as f64 / seconds
    );
    assert_eq!((reading.listed > 0, reading.failed), (true, 0));
}

/// The time from a write that has returned to the update that tells of it.
#[tokio::test]
#[ignore = "a figure, no test: run by tests/long/consul"]
async fn from_a_change_to_its_telling() {
    let Some(consul) = Consul::start().await else { return };
    register(&consul.writer, 2000).await;
    let mut reading = read(config(&consul.url()));
    reading.list().await;
    let health = |h: &Reading, name: &str| h.service(name).map(|service| service.endpoints[0].health);
    let port = |h: &Reading, name: &str| h.service(name).map(|service| service.endpoints[0].ports[0].number.get());
    let (mut by_check, mut by_look) = (Vec::new(), Vec::new());
    for n in 0..50 {
        let name = format!("s-{}", n * 7);
        let started = Instant::now();
        consul.writer.register(instance(n * 7, "critical")).await;
        reading.until("a check that fails", |h| health(h, &name) == Some(Health::Unhealthy)).await;
        by_check.push(started.elapsed());
    }
    for n in 0..10 {
        let name = format!("s-{}", n * 7);
        let mut other = instance(n * 7, "critical");
        other["Service"]["Port"] = 9090.into();
        let started = Instant::now();
        consul.writer.register(other).await;
        reading.until("another port", |h| port(h, &name) == Some(9090)).await;
        by_look.push(started.elapsed());
    }
    for (what, mut took) in [("a check that fails", by_check), ("another port, which no check tells", by_look)] {
        took.sort();
        let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
        println!("{what}, at 2,000 services: told after {median:.1?}, at most {longest:.1?}");
    }
}
