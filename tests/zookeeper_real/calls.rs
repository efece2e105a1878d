//! Real Dubbo providers register themselves, real Dubbo consumers call through a real Envoy: TCP for Dubbo's own protocol,
//! HTTP/2 for Triple. In a network of its own, because Dubbo announces no loopback address. Dubbo leaves its nodes open to
//! all, so that Portolan only reads is seen on the wire.

use super::{
    reads_only::{Seen, assert_only_reading, listen},
    support::{
        envoy::Envoy,
        landing::{hosts, until_hosts},
        netns,
        portolan::Portolan,
        programs::{Consumer, Program},
        servers::free_port,
        tcp_proxy::TcpProxy,
        until,
        zookeeper::ZooKeeper,
    },
};
use std::{collections::BTreeMap, time::Duration};
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(60);
const DUBBO: &str = "outbound|20880||shop.orders.dubbo";
const TRIPLE: &str = "outbound|50051||shop.orders.dubbo";

/// ZooKeeper, a wire to it that notes what is asked, and a Portolan at its end. Drops are followed at once: half of two
/// providers is no disaster.
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

/// The key `registry` of Dubbo's programs, with the server's address.
pub(super) fn registry(zookeeper: &ZooKeeper) -> String {
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

/// The example of the guide: Envoy reads calls, and sends each to the service of its group and version, if its method has a route.
#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_speaks_dubbo_goes_by_interface_group_version_and_method() {
    let name = "calls::an_envoy_that_speaks_dubbo_goes_by_interface_group_version_and_method";
    if !netns::inside(name, &["envoy", "zookeeper", "dubbo2", "dubbo3"]).await {
        return;
    }
    let (zookeeper, _proxy, _seen, portolan) = scene().await;
    let example = Envoy::example("dubbo.yaml");
    let Some(envoy) = Envoy::start(&example, portolan.xds).await else { return };
    let (first, second) = ("outbound|20880||shop.orders.g.1.0.dubbo", "outbound|20880||shop.orders.h.2.0.dubbo");
    let registry = registry(&zookeeper);
    let one = Program::dubbo_provider(3, &[&registry, "group=g", "version=1.0", "reply=first"]).await;
    let two = Program::dubbo_provider(2, &[&registry, "group=h", "version=2.0", "reply=second"]).await;
    until_hosts("the first", &envoy, first, &[(one.port, 100)]).await;
    until_hosts("the second", &envoy, second, &[(two.port, 100)]).await;
    let port = envoy.listener.port();
    for (line, group, version, expected) in
        [(3, "g", "1.0", "first 1"), (2, "h", "2.0", "second 1"), (3, "h", "2.0", "second 1")]
    {
        let (of, version) = (format!("group={group}"), format!("version={version}"));
        let mut consumer = Consumer::start(line, port, &[&of, &version]).await;
        assert_eq!(consumer.answer("1").await, expected, "{line} {group}");
    }
    // Neither the group of the one with the version of the other, nor without both.
    for keys in [&["group=g", "version=2.0"][..], &[]] {
        let mut consumer = Consumer::start(3, port, keys).await;
        let failed = consumer.call("2").await.unwrap_err();
        assert!(failed.contains("RemotingException"), "{keys:?}: {failed}");
    }
    // A method that no route names.
    let Some(other) = Envoy::start(&example.replace("exact: place", "exact: cancel"), portolan.xds).await else {
        return;
    };
    until_hosts("the first once more", &other, first, &[(one.port, 100)]).await;
    let mut consumer = Consumer::start(3, other.listener.port(), &["group=g", "version=1.0"]).await;
    let failed = consumer.call("3").await.unwrap_err();
    assert!(failed.contains("RemotingException"), "{failed}");
    assert_eq!(envoy.complaints().await, []);
}

/// With the address that Istio's clients know it by: where no rule of the machine leads to the sidecar, the address may be the
/// machine's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_reaches_a_service_by_its_virtual_address() {
    let name = "calls::a_consumer_reaches_a_service_by_its_virtual_address";
    if !netns::inside(name, &["envoy", "zookeeper", "dubbo3"]).await {
        return;
    }
    let (zookeeper, _proxy, _seen, portolan) = scene().await;
    let provider = Program::dubbo_provider(3, &[&registry(&zookeeper), "reply=first"]).await;
    let page = until("an address", LIMIT, async || {
        let page = portolan.json("/api/v1/resources/serviceentries?q=orders").await;
        let address = page["resources"][0]["resource"]["spec"]["addresses"][0].as_str().map(ToOwned::to_owned);
        address.ok_or_else(|| page.to_string())
    })
    .await;
    assert!(page.starts_with("241."), "{page}");
    let added = Command::new("ip").args(["address", "add", &format!("{page}/32"), "dev", "lo"]).status().await.unwrap();
    assert!(added.success());
    let example = Envoy::tcp(DUBBO)
        .replace("address: 127.0.0.1, port_value: 10000", &format!("address: {page}, port_value: 20880"));
    let Some(envoy) = Envoy::start_at(&example, portolan.xds, format!("{page}:20880").parse().unwrap()).await else {
        return;
    };
    until_hosts("the provider", &envoy, DUBBO, &[(provider.port, 100)]).await;
    let mut consumer = Consumer::start(3, 20880, &[&format!("host={page}")]).await;
    assert_eq!(consumer.answer("1").await, "first 1");
}
