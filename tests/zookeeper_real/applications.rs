//! Dubbo's application level, beside its interfaces: as real providers write it, and as nobody should.

use super::{
    calls::registry,
    config, listed, polling, read,
    reads_only::{assert_only_reading, listen},
    support::{
        envoy::Envoy,
        landing::a_fleet_goes_from_interfaces_to_applications,
        netns,
        portolan::Portolan,
        programs::Program,
        reading::Reading,
        zookeeper::{Writer, ZooKeeper},
    },
    until_listed,
};
use portolan::registry::{
    dubbo::{self, Publish},
    zookeeper::{Applications, Config, Layout},
};
use std::net::SocketAddr;

const TRIPLE: &str = "outbound|50051||shop.orders.dubbo";

fn both_levels(server: SocketAddr, publish: Publish) -> Config {
    let reading = dubbo::Applications { publish, ..Default::default() };
    let applications = Some(Applications { reading, ..Default::default() });
    Config { applications, ..config(server, Layout::Dubbo) }
}

/// An instance of an application, as Dubbo writes it through Curator.
pub(super) fn instance(application: &str, address: &str, revision: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap();
    format!(
        r#"{{"name":"{application}","id":"{address}","address":"{host}","port":{port},"sslPort":null,"payload":{{
        "@class":"org.apache.dubbo.registry.zookeeper.ZookeeperInstance","id":"{address}","name":"{application}",
        "metadata":{{"dubbo.endpoints":"[{{\"port\":{port},\"protocol\":\"dubbo\"}}]","dubbo.metadata.revision":"{revision}",
        "dubbo.metadata.storage-type":"remote","timestamp":"1"}}}},"registrationTimeUTC":1,"serviceType":"DYNAMIC"}}"#
    )
}

/// An application with one instance of revision `r` that provides one interface.
pub(super) async fn register_and_describe(writer: &Writer, application: &str, address: &str, interface: &str) {
    describe(writer, application, "r", "r", interface).await;
    register(writer, application, address, "r").await;
}

async fn register(writer: &Writer, application: &str, address: &str, revision: &str) {
    writer.create(&format!("/services/{application}/{address}"), &instance(application, address, revision)).await;
}

/// Metadata at its place, which says that it is of this revision.
async fn describe(writer: &Writer, application: &str, revision: &str, says: &str, interface: &str) {
    let data = format!(
        r#"{{"app":"{application}","revision":"{says}","services":{{"{interface}:dubbo":{{"name":"{interface}",
        "params":{{"side":"provider"}},"path":"{interface}","port":20880,"protocol":"dubbo"}}}}}}"#
    );
    writer.create(&format!("/dubbo/metadata/{application}/{revision}"), &data).await;
}

/// What is said of metadata that cannot be read.
fn complaints(reading: &Reading) -> String {
    let all = reading.unreadable.get("/services").into_iter().flatten();
    all.map(|(id, why)| format!("{id}: {why}")).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn metadata_that_comes_late_or_lies_costs_what_it_describes() {
    for (script, poll) in [("zookeeper", false), ("zookeeper", true), ("zookeeper35", false)] {
        let Some(server) = ZooKeeper::start(script).await else { return };
        let writer = server.writer().await;
        let config = both_levels(server.address(), Publish::Interfaces);
        let mut reading = read(if poll { polling(config) } else { config });
        // Neither root is there; both are heard of.
        reading.until("two lists", |r| r.lists.len() == 2).await;
        writer.provide("a.A", "dubbo://192.0.2.9:20880/a.A").await;
        register(&writer, "shop", "192.0.2.1:20880", "r1").await;
        // A mapping to ten applications is not looked at: each says itself what it provides.
        writer.create("/dubbo/mapping/a.A", "shop,a1,a2,a3,a4,a5,a6,a7,a8,a9").await;
        // The interface level stands in while nothing is known of the application.
        let by_interface: &[(&str, &[&str])] = &[("dubbo/a.A", &["192.0.2.9:20880 dubbo 1"])];
        reading.until("a complaint", |r| complaints(r).contains("there is no /dubbo/metadata/shop/r1")).await;
        until_listed(&mut reading, "the interface alone", by_interface).await;
        // Late, and then it lies.
        describe(&writer, "shop", "r1", "r7", "a.A").await;
        reading.until("a lie to be noticed", |r| complaints(r).contains("it is of revision \"r7\"")).await;
        assert_eq!(listed(&reading)["dubbo/a.A"], ["192.0.2.9:20880 dubbo 1"]);
        writer.delete("/dubbo/metadata/shop/r1").await;
        describe(&writer, "shop", "r1", "r1", "a.A").await;
        let by_application: &[(&str, &[&str])] = &[("dubbo/a.A", &["192.0.2.1:20880 dubbo 1"])];
        until_listed(&mut reading, "the application", by_application).await;
        reading.until("no complaint", |r| complaints(r).is_empty()).await;
        // Another revision without metadata: its instances provide what they did.
        writer.set("/services/shop/192.0.2.1:20880", &instance("shop", "192.0.2.1:20880", "r2")).await;
        reading.until("a complaint", |r| complaints(r).contains("there is no /dubbo/metadata/shop/r2")).await;
        until_listed(&mut reading, "the application still", by_application).await;
        describe(&writer, "shop", "r2", "r2", "a.B").await;
        let after: &[(&str, &[&str])] =
            &[("dubbo/a.A", &["192.0.2.9:20880 dubbo 1"]), ("dubbo/a.B", &["192.0.2.1:20880 dubbo 1"])];
        until_listed(&mut reading, "what the new revision provides", after).await;
        // The metadata of an application of which there is no instance is nobody's.
        describe(&writer, "ghost", "r1", "r1", "a.C").await;
        register(&writer, "cart", "192.0.2.3:20880", "r1").await;
        describe(&writer, "cart", "r1", "r1", "a.B").await;
        let both: &[&str] = &["192.0.2.1:20880 dubbo 1", "192.0.2.3:20880 dubbo 1"];
        until_listed(
            &mut reading,
            "two applications",
            &[("dubbo/a.A", &["192.0.2.9:20880 dubbo 1"]), ("dubbo/a.B", both)],
        )
        .await;
        writer.delete("/services/shop/192.0.2.1:20880").await;
        writer.delete("/services/cart/192.0.2.3:20880").await;
        until_listed(&mut reading, "no application", by_interface).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_goes_from_interfaces_to_applications_without_a_failed_call() {
    let name = "applications::a_fleet_goes_from_interfaces_to_applications_without_a_failed_call";
    if !netns::inside(name, &["envoy", "zookeeper", "dubbo3"]).await {
        return;
    }
    let zookeeper = ZooKeeper::start_with("zookeeper", "maxSessionTimeout=4000").await.expect("it was prepared");
    let (noted, seen) = listen(zookeeper.address()).await;
    let portolan = Portolan::start(&format!(
        "registries:\n- name: dubbo\n  \
         zookeeper: {{ servers: ['{noted}'], session_timeout: 4s, dubbo: {{ applications: {{ publish: both }} }} }}\n  \
         publish: {{ hold: 0s }}\n"
    ))
    .await;
    portolan.ready().await;
    let Some(envoy) = Envoy::start(&Envoy::http2(TRIPLE), portolan.xds).await else { return };
    let provider = async |mode: &str, reply: &str| {
        let (mode, reply) = (format!("mode={mode}"), format!("reply={reply}"));
        let registry = registry(&zookeeper);
        Program::dubbo_provider(3, &[&registry, "protocol=tri", "metadata=remote", &mode, &reply]).await
    };
    let withdraw = async |second: &Program| {
        zookeeper.writer().await.delete(&format!("/services/shop/{}:{}", netns::ADDRESS, second.port)).await;
    };
    a_fleet_goes_from_interfaces_to_applications(&portolan, &envoy, TRIPLE, provider, withdraw).await;
    assert_only_reading(&seen, "applications");
}

/// Real providers of each mode and each way of storing metadata.
#[tokio::test(flavor = "multi_thread")]
async fn providers_of_every_mode_are_published_as_what_is_wanted() {
    let name = "applications::providers_of_every_mode_are_published_as_what_is_wanted";
    if !netns::inside(name, &["zookeeper", "dubbo3"]).await {
        return;
    }
    let zookeeper = ZooKeeper::start("zookeeper").await.expect("it was prepared");
    let registry = registry(&zookeeper);
    let provider = async |keys: &[&str]| Program::dubbo_provider(3, &[&[&*registry], keys].concat()).await;
    let (old, all, instance, hidden) = tokio::join!(
        provider(&["mode=interface", "application=old", "group=o", "weight=50"]),
        provider(&[
            "mode=all",
            "application=all",
            "group=a",
            "metadata=remote",
            "weight=50",
            "services=orders,payments"
        ]),
        provider(&[
            "mode=instance",
            "application=inst",
            "version=1.0",
            "metadata=remote",
            "weight=200",
            "protocol=tri"
        ]),
        provider(&["mode=all", "application=hidden", "group=h", "metadata=local"]),
    );
    let at = |program: &Program, rest: &str| format!("{}:{} {rest}", netns::ADDRESS, program.port);
    let interfaces = [
        ("dubbo/o/shop.Orders", at(&old, "dubbo 0.5")),
        ("dubbo/a/shop.Orders", at(&all, "dubbo 0.5")),
        ("dubbo/a/shop.Payments", at(&all, "dubbo 0.5")),
        ("dubbo/shop.Orders:1.0", at(&instance, "tri 2")),
        // Its metadata is not in the registry: its interface stands in.
        ("dubbo/h/shop.Orders", at(&hidden, "dubbo 1")),
    ];
    let applications = [
        ("services/all", at(&all, "dubbo 1")),
        ("services/inst", at(&instance, "tri 1")),
        ("services/hidden", at(&hidden, "dubbo 1")),
    ];
    for (publish, expected) in [
        (Publish::Interfaces, interfaces.to_vec()),
        (Publish::Applications, applications.to_vec()),
        (Publish::Both, [&interfaces[..], &applications].concat()),
    ] {
        let mut reading = read(both_levels(zookeeper.address(), publish));
        let expected: Vec<(&str, Vec<&str>)> = expected.iter().map(|(id, place)| (*id, vec![&**place])).collect();
        let expected: Vec<(&str, &[&str])> = expected.iter().map(|(id, places)| (*id, &places[..])).collect();
        until_listed(&mut reading, "the providers", &expected).await;
        let wanted = if publish.has_interfaces() { "r/services/metadata/hidden: 1 of its instances" } else { "" };
        reading.until("what is said of metadata", |r| complaints(r).starts_with(wanted)).await;
    }
    tokio::join!(old.stop(), all.stop(), instance.stop(), hidden.stop());
}
