//! Consumers that register themselves: who calls whom, as it changes, and what cannot be read of it; a real one of Dubbo; and an
//! Envoy that gets what its application needs.

use super::{
    calls::registry,
    reads_only::{assert_only_reading, listen},
    support::{
        callers::{envoy_of, until_calls, until_clusters, value_of},
        local::Local,
        netns,
        programs::{Consumer, Program},
        until,
        zookeeper::{Writer, ZooKeeper, encoded},
    },
};
use serde_json::json;
use std::{net::SocketAddr, time::Duration};
use zookeeper_client::{Acl, AuthId, Permission};

const LIMIT: Duration = Duration::from_secs(60);

fn config(server: SocketAddr, more: &str, rest: &str) -> String {
    format!(
        "registries:\n- name: zk\n  zookeeper: {{ servers: ['{server}'], session_timeout: 4s, period: 300ms, resync: 1h, {more}, \
         dubbo: {{ consumers: true }} }}\n  publish: {{ hold: 0s, linger: 0s }}\n{rest}"
    )
}

/// Creates a consumer's node of an interface, at 192.0.2.20, and returns its path.
async fn consume(writer: &Writer, interface: &str, query: &str) -> String {
    let url = format!("consumer://192.0.2.20/{interface}?{query}");
    let path = format!("/dubbo/{interface}/consumers/{}", encoded(&url));
    writer.create(&path, "").await;
    path
}

#[tokio::test]
async fn who_calls_whom_is_read_as_it_changes() {
    for (script, mode) in [("zookeeper", "watch"), ("zookeeper", "poll"), ("zookeeper35", "watch")] {
        let Some(server) = ZooKeeper::start(script).await else { return };
        let writer = server.writer().await;
        writer.provide("a.A", "dubbo://192.0.2.1:20880/a.A?application=shop&group=g&version=1.0").await;
        writer.provide("a.A", "dubbo://192.0.2.1:20880/a.A?application=shop&group=h&version=1.0").await;
        consume(&writer, "a.A", "application=cart&interface=a.A&group=*&version=1.0&side=consumer").await;
        let gone = consume(&writer, "a.B", "application=cart&interface=a.B").await;
        consume(&writer, "a.A", "interface=a.A&side=consumer").await;
        let (noted, seen) = listen(server.address()).await;
        let portolan = Local::start(&config(noted, &format!("mode: {mode}"), "")).await;
        portolan.ready().await;
        let both = "cart a.A:*:1.0 -> a.a.g.1.0.dubbo a.a.h.1.0.dubbo";
        let told = "a.A: 192.0.2.20 says no application, so nobody knows who needs it";
        until_calls(portolan.admin, "the first", &[both, "cart a.B -> ", told]).await;
        // Of an interface that nobody knew.
        consume(&writer, "a.C", "application=late&interface=a.C").await;
        writer.delete(&gone).await;
        let changed = [both, "cart a.B ->  gone", "late a.C -> ", told];
        until_calls(portolan.admin, "one that comes and one that goes", &changed).await;
        consume(&writer, "a.B", "application=cart&interface=a.B&timestamp=2").await;
        until_calls(portolan.admin, "one that comes back", &[both, "cart a.B -> ", "late a.C -> ", told]).await;
        // What must not be read is as it was.
        let admin = server.writer_as(Some("admin:secret")).await;
        let nobody = [Acl::new(Permission::ALL, AuthId::authed())];
        admin.0.set_acl("/dubbo/a.B/consumers", &nobody[..], None).await.unwrap();
        let other = consume(&admin, "a.B", "application=hidden&interface=a.B").await;
        consume(&writer, "a.C", "application=later&interface=a.C").await;
        let hidden = [both, "cart a.B -> ", "late a.C -> ", "later a.C -> ", told];
        until_calls(portolan.admin, "what cannot be read", &hidden).await;
        admin.delete(&other).await;
        let (_, yaml) = portolan.get("/meshregistry/dubboCallModel?app=cart").await;
        let expected = "cart:\n  application: cart\n  consumeservices:\n    a.A:g:1.0: {}\n    a.A:h:1.0: {}\n    a.B: {}\n  provideservices: {}\n";
        assert_eq!(value_of(&yaml), value_of(expected), "{yaml}");
        let (_, yaml) = portolan.get("/meshregistry/dubboCallModel").await;
        let provides = json!({ "a.A:g:1.0": {}, "a.A:h:1.0": {} });
        assert_eq!(value_of(&yaml)["shop"]["provideservices"], provides, "{yaml}");
        let (_, yaml) = portolan.get("/meshregistry/sidecarDubboCallModel").await;
        assert_eq!(value_of(&yaml).get("shop"), None, "{yaml}");
        assert_only_reading(&seen, "consumers");
    }
}

#[tokio::test]
async fn one_consumer_of_ten_thousand_services_costs_the_others_nothing() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let writer = server.writer().await;
    writer.provide("a.A", "dubbo://192.0.2.1:20880/a.A?application=shop").await;
    consume(&writer, "a.A", "application=cart&interface=a.A").await;
    for number in 0..1_000 {
        let groups: Vec<String> = (0..10).map(|group| format!("g{group}")).collect();
        let query = format!("application=greedy&interface=b.B{number}&group={}", groups.join(","));
        consume(&writer, &format!("b.B{number}"), &query).await;
    }
    let portolan = Local::start(&config(server.address(), "mode: watch", "")).await;
    portolan.ready().await;
    until("both", LIMIT, async || {
        let answer = portolan.json("/api/v1/calls").await;
        let found = answer["applications"].as_array().unwrap().iter();
        let found: Vec<_> = found.map(|a| (a["application"].clone(), a["everything"] == true)).collect();
        if found == [(json!("cart"), false), (json!("greedy"), true)] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    let one = portolan.json("/api/v1/calls?application=cart").await;
    assert_eq!(one["notes"][0]["subject"], "greedy", "{one}");
    assert_eq!(one["applications"][0]["needs"][0]["hosts"], json!(["a.a.dubbo"]));
}

/// Nobody proves to Dubbo where he is: a provider is served where it says that it is, and takes nothing from others.
#[tokio::test]
async fn a_provider_at_anothers_address_is_one_more_instance_that_matchers_keep_out() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let writer = server.writer().await;
    writer.provide("a.A", "dubbo://192.0.2.1:20880/a.A?application=shop&timestamp=1").await;
    writer.provide("a.B", "dubbo://192.0.2.1:20880/a.B?application=thief&timestamp=2").await;
    writer.provide("a.A", "dubbo://198.51.100.9:20880/a.A?application=thief&timestamp=3").await;
    for (rest, expected) in [("", 2), ("  exclude: [{ networks: [198.51.100.0/24] }]\n", 1)] {
        let portolan = Local::start(&config(server.address(), "mode: watch", rest)).await;
        portolan.ready().await;
        let page = portolan.json("/api/v1/services/a.a.dubbo").await;
        assert_eq!(page["instances"].as_array().unwrap().len(), expected, "{page}");
        assert_eq!(portolan.json("/api/v1/services/a.b.dubbo").await["instances"].as_array().unwrap().len(), 1);
    }
}

/// Two Envoys of one scope: one of the application that calls, and one that nobody knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_consumer_is_in_the_call_model_and_its_envoy_gets_what_it_needs() {
    let name = "consumers::a_real_consumer_is_in_the_call_model_and_its_envoy_gets_what_it_needs";
    if !netns::inside(name, &["envoy", "zookeeper", "dubbo3"]).await {
        return;
    }
    let zookeeper = ZooKeeper::start_with("zookeeper", "maxSessionTimeout=4000").await.expect("it was prepared");
    let scopes = "scopes: [{ name: dubbo, calls: { application: cluster } }]\n";
    let portolan = Local::start(&config(zookeeper.address(), "mode: watch", scopes)).await;
    let registry = registry(&zookeeper);
    let keys = [&*registry, "services=orders,payments", "group=g", "version=1.0", "reply=done"];
    let _provider = Program::dubbo_provider(3, &keys).await;
    let words = [&*registry, "application=cart", "group=*", "version=1.0"];
    let mut consumer = Consumer::start(3, 0, &words).await;
    assert_eq!(consumer.answer("1").await, "done 1");
    until_calls(portolan.admin, "the consumer", &["cart shop.Orders:*:1.0 -> shop.orders.g.1.0.dubbo"]).await;
    let leads_to = "outbound|20880||shop.orders.g.1.0.dubbo";
    let (own, other) =
        tokio::join!(envoy_of("cart", leads_to, portolan.xds), envoy_of("nobody", leads_to, portolan.xds));
    let (Some(own), Some(other)) = (own, other) else { return };
    let orders = "outbound|20880||shop.orders.g.1.0.dubbo".to_owned();
    let payments = "outbound|20880||shop.payments.g.1.0.dubbo".to_owned();
    until_clusters(&own, std::slice::from_ref(&orders)).await;
    until_clusters(&other, &[orders.clone(), payments.clone()]).await;
    let clients = portolan.json("/api/v1/clients").await;
    let why: Vec<String> = clients["clients"].as_array().unwrap().iter().map(|c| c["why"].to_string()).collect();
    assert!(why.iter().any(|why| why.contains("what application \\\"nobody\\\" needs is not known")), "{why:?}");
    // Another program of that application needs more: its Envoy has it without being asked again.
    let writer = zookeeper.writer().await;
    consume(&writer, "shop.Payments", "application=cart&interface=shop.Payments&group=g&version=1.0").await;
    until_clusters(&own, &[orders, payments]).await;
    assert_eq!(own.complaints().await, []);
}
