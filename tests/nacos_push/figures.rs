//! What reading a real Nacos costs and how long it takes, for `benches/README.md`. `tests/long/nacos` runs it.

use crate::support::{
    fake_nacos::{FakeNacos, Generation, instance},
    nacos::Nacos,
    portolan::Portolan,
    reading::Reading,
    tcp_proxy::TcpProxy,
};
use futures_util::{StreamExt, stream};
use portolan::model::Update;
use portolan::registry::{
    Kind,
    nacos::{Config, Mode},
};
use std::time::{Duration, Instant};
use tokio::time::timeout;

const SERVICES: usize = 2000;

fn config(server: &Nacos, mode: Mode) -> Config {
    Config { mode, ..Config::new(vec![Config::server(&server.url()).unwrap()]) }
}

/// Requests and bytes while nothing changes for a minute, with the defaults.
async fn idle(server: &Nacos, mode: Mode) {
    let mut reading = Reading::new(Kind::Nacos(config(server, mode)));
    reading.until("all", |h| h.endpoints().len() >= SERVICES).await;
    // Until everything is subscribed to and the thresholds are known.
    let settle = async {
        loop {
            reading.next().await;
        }
    };
    timeout(Duration::from_secs(110), settle).await.ok();
    let (mut requests, mut bytes) = (0, 0);
    let minute = async {
        loop {
            if let Update::Cost(cost) = reading.next().await {
                requests += cost.requests;
                bytes += cost.bytes;
            }
        }
    };
    timeout(Duration::from_secs(60), minute).await.ok();
    println!("{mode:?}, {SERVICES} idle services, one minute: {requests} requests, {bytes} bytes");
}

/// The time from a push at our door to the update that tells of it.
async fn share(server: &Nacos) {
    let proxy = TcpProxy::start(server.grpc()).await;
    let pushed = Config { grpc_port: Some(proxy.address.port()), ..config(server, Mode::Push) };
    let mut reading = Reading::new(Kind::Nacos(pushed));
    reading.until("all", |h| h.endpoints().len() >= SERVICES).await;
    let weight = |h: &Reading, name: &str| h.service(name).and_then(|s| s.endpoints.first().map(|e| e.weight.get()));
    let mut took = Vec::new();
    for n in 0..30 {
        let name = format!("svc-{}", n * 7);
        let address = server.http().to_string();
        server.register(&name, &address, &format!("ephemeral=false&weight={}", n + 2)).await;
        reading.until("push", |h| weight(h, &name) == Some(f64::from(n + 2))).await;
        took.push(proxy.said_at().unwrap().elapsed());
    }
    took.sort();
    println!("from a push to its telling: median {:.1?}, longest {:.1?}", took[took.len() / 2], took[took.len() - 1]);
}

#[tokio::test]
#[ignore = "takes minutes: run by tests/long/nacos"]
async fn cost_and_share() {
    let Some(server) = Nacos::start("nacos3").await else { return };
    let registered = (0..SERVICES).map(|n| {
        let server = &server;
        // A port that answers: the server checks it, and its health is never news.
        async move { server.register(&format!("svc-{n}"), &server.http().to_string(), "ephemeral=false").await }
    });
    stream::iter(registered).buffer_unordered(16).collect::<Vec<()>>().await;
    share(&server).await;
    tokio::join!(idle(&server, Mode::Auto), idle(&server, Mode::Poll));
}

#[tokio::test]
#[ignore = "a figure, no test: run by tests/long/nacos"]
async fn first_list() {
    let fake = FakeNacos::start(Generation::V3).await;
    let instances: Vec<_> = (0..10).map(|n| instance(&format!("10.0.0.{n}"), 8080)).collect();
    for n in 0..10_000 {
        fake.model().put(&format!("svc-{n:05}"), instances.clone());
    }
    let started = Instant::now();
    let registry = format!("registries:\n- name: nacos\n  nacos: {{ servers: '{}', mode: poll }}\n", fake.url());
    let portolan = Portolan::start(&registry).await;
    portolan.ready().await;
    let took = started.elapsed();
    let status = std::fs::read_to_string(format!("/proc/{}/status", portolan.pid())).unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("memory unknown");
    println!("process start to ready, 10,000 x 10: {took:.1?}; {peak}");
}
