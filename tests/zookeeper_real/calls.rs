//! Real Dubbo providers register themselves, real Dubbo consumers call through a real Envoy: TCP for Dubbo's own protocol,
//! HTTP/2 for Triple. In a network of its own, because Dubbo announces no loopback address. Dubbo leaves its nodes open to
//! all, so that Portolan only reads is seen on the wire.

use super::{
    reads_only::{Seen, assert_only_reading, listen},
    support::{
        envoy::Envoy,
        netns,
        portolan::Portolan,
        programs::{Consumer, Program},
        servers::free_port,
        tcp_proxy::TcpProxy,
        zookeeper::ZooKeeper,
    },
};
use std::{collections::BTreeMap, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);
const DUBBO: &str = "outbound|20880||shop.orders.dubbo";
const TRIPLE: &str = "outbound|50051||shop.orders.dubbo";

/// What an Envoy has of a cluster: ports with weights.
async fn hosts(envoy: &Envoy, cluster: &str) -> BTreeMap<u64, u64> {
    let hosts = envoy.hosts(cluster).await;
    let host = |host: &serde_json::Value| {
        let address = &host["address"]["socket_address"];
        assert_eq!(address["address"], netns::ADDRESS);
        (address["port_value"].as_u64().unwrap(), host["weight"].as_u64().unwrap())
    };
    hosts.as_array().into_iter().flatten().map(host).collect()
}

async fn until_hosts(what: &str, envoy: &Envoy, cluster: &str, expected: &[(u16, u64)]) {
    let expected: BTreeMap<u64, u64> = expected.iter().map(|(port, weight)| (u64::from(*port), *weight)).collect();
    envoy
        .wait_until(what, LIMIT, async || match hosts(envoy, cluster).await {
            hosts if hosts == expected => Ok(()),
            hosts => Err(format!("{hosts:?}, not {expected:?}")),
        })
        .await;
}

/// ZooKeeper, a wire to it that notes what is asked, and a Portolan at its end. Drops are followed at once: half of two providers is no disaster.
async fn scene() -> (ZooKeeper, TcpProxy, Seen, Portolan) {
    // Dubbo asks for sessions of a minute; they are to end soon after a crash.
    let zookeeper = ZooKeeper::start_with("zookeeper", "maxSessionTimeout=4000").await.expect("it was prepared");
    let (noted, seen) = listen(zookeeper.address()).await;
    let proxy = TcpProxy::start(noted).await;
    let address = proxy.address;
    let portolan = Portolan::start(&format!(
        "registries:\n- name: dubbo\n  zookeeper: {{ servers: ['{address}'], session_timeout: 4s, dubbo: {{}} }}\n  \
         publish: {{ hold: 0s }}\n"
    ))
    .await;
    portolan.ready().await;
    (zookeeper, proxy, seen, portolan)
}

/// Where a provider registers itself.
fn registry(zookeeper: &ZooKeeper) -> String {
    format!("registry=zookeeper://{}", zookeeper.address())
}

#[tokio::test(flavor = "multi_thread")]
async fn dubbo_calls_arrive_through_everything_that_happens_to_providers_and_registry() {
    let name = "calls::dubbo_calls_arrive_through_everything_that_happens_to_providers_and_registry";
    if !netns::inside(name, &["envoy", "zookeeper", "dubbo2", "dubbo3"]).await {
        return;
    }
    let (mut zookeeper, proxy, seen, portolan) = scene().await;
    let Some(envoy) = Envoy::start(&Envoy::tcp(DUBBO), portolan.xds).await else { return };
    let registry = registry(&zookeeper);
    let first = Program::dubbo_provider(2, &[&registry, "weight=50", "reply=first"]).await;
    until_hosts("a provider of 2.7", &envoy, DUBBO, &[(first.port, 50)]).await;
    let mut consumer = Consumer::start(3, envoy.listener.port(), &[]).await;
    assert_eq!(consumer.answer("1").await, "first 1");
    // Scale, with another line of Dubbo.
    let second = Program::dubbo_provider(3, &[&registry, "reply=second"]).await;
    until_hosts("another of 3.2", &envoy, DUBBO, &[(first.port, 50), (second.port, 100)]).await;
    // One that is disabled is never called.
    let disabled = Program::dubbo_provider(2, &[&registry, "parameters=disabled=true", "reply=never"]).await;
    let (first_port, second_port) = (first.port, second.port);
    // A clean stop, and the consumer's connection with it.
    first.stop().await;
    until_hosts("the first to stop", &envoy, DUBBO, &[(second_port, 100)]).await;
    assert_eq!(consumer.answer("2").await, "second 2");
    // The same place with another weight.
    let first = Program::start_on("dubbo2", first_port, &["provider", &registry, "weight=200", "reply=again"]).await;
    until_hosts("another weight", &envoy, DUBBO, &[(first_port, 200), (second_port, 100)]).await;
    disabled.stop().await;
    // A crash: its node stays until its session ends.
    second.kill().await;
    until_hosts("the crash to be noticed", &envoy, DUBBO, &[(first_port, 200)]).await;
    assert_eq!(consumer.answer("3").await, "again 3");
    // ZooKeeper is away: calls go on.
    zookeeper.kill().await;
    assert_eq!(consumer.answer("4").await, "again 4");
    assert_eq!(hosts(&envoy, DUBBO).await.len(), 1);
    zookeeper.restart().await;
    // Changes behind a cut wire.
    proxy.sever();
    let third = Program::dubbo_provider(3, &[&registry, "weight=150", "reply=third"]).await;
    first.stop().await;
    assert_eq!(hosts(&envoy, DUBBO).await, BTreeMap::from([(u64::from(first_port), 200)]));
    proxy.heal();
    until_hosts("the wire to be whole", &envoy, DUBBO, &[(third.port, 150)]).await;
    assert_eq!(consumer.answer("5").await, "third 5");
    // The last one: an empty assignment, and the cluster stays.
    third.stop().await;
    until_hosts("no provider", &envoy, DUBBO, &[]).await;
    assert_eq!(envoy.complaints().await, []);
    assert_only_reading(&seen, "calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn triple_calls_arrive_over_http_2() {
    if !netns::inside("calls::triple_calls_arrive_over_http_2", &["envoy", "zookeeper", "dubbo3"]).await {
        return;
    }
    let (mut zookeeper, _proxy, seen, portolan) = scene().await;
    let Some(envoy) = Envoy::start(&Envoy::http2(TRIPLE), portolan.xds).await else { return };
    let registry = registry(&zookeeper);
    let port = free_port();
    let words = ["provider", &registry, "protocol=tri", "reply=first"];
    let first = Program::start_on("dubbo3", port, &words).await;
    until_hosts("the provider", &envoy, TRIPLE, &[(port, 100)]).await;
    let mut consumer = Consumer::start(3, envoy.listener.port(), &["protocol=tri"]).await;
    assert_eq!(consumer.answer("1").await, "first 1");
    zookeeper.kill().await;
    assert_eq!(consumer.answer("2").await, "first 2");
    zookeeper.restart().await;
    let second = Program::dubbo_provider(3, &[&registry, "protocol=tri", "reply=second"]).await;
    until_hosts("another", &envoy, TRIPLE, &[(port, 100), (second.port, 100)]).await;
    first.stop().await;
    until_hosts("the first to stop", &envoy, TRIPLE, &[(second.port, 100)]).await;
    assert_eq!(consumer.answer("3").await, "second 3");
    assert_eq!(envoy.complaints().await, []);
    assert_only_reading(&seen, "calls");
}
