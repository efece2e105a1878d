//! Metadata that providers have themselves: real ones are asked for it, by Dubbo's own protocol; and whoever else is there
//! costs himself.

use super::{
    calls::registry,
    support::{
        envoy::Envoy,
        landing::{landed, until_hosts, until_instances},
        netns,
        portolan::Portolan,
        programs::{Consumer, Program},
        until,
        zookeeper::{Writer, ZooKeeper},
    },
};
use std::time::Duration;
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(60);
const DUBBO: &str = "outbound|20880||shop.orders.dubbo";

/// An instance that has its metadata itself, to be asked for at that port.
async fn register(writer: &Writer, application: &str, port: u16, asked_at: u16, revision: &str) {
    let (host, id) = (netns::ADDRESS, format!("{}:{port}", netns::ADDRESS));
    let instance = serde_json::json!({
        "name": application, "id": id, "address": host, "port": port, "payload": {
            "@class": "org.apache.dubbo.registry.zookeeper.ZookeeperInstance", "id": id, "name": application,
            "metadata": {
                "dubbo.endpoints": format!("[{{\"port\":{port},\"protocol\":\"dubbo\"}}]"),
                "dubbo.metadata.revision": revision, "dubbo.metadata.storage-type": "local",
                "dubbo.metadata-service.url-params": format!("{{\"port\":\"{asked_at}\",\"protocol\":\"dubbo\"}}"),
            },
        }, "serviceType": "DYNAMIC",
    });
    writer.create(&format!("/services/{application}/{id}"), &instance.to_string()).await;
}

async fn until_told(portolan: &Portolan, application: &str, why: &str) {
    until(why, LIMIT, async || {
        let told = portolan.get(&format!("/api/v1/services?reason=entry_invalid&q={application}")).await.1;
        if told.contains(why) { Ok(()) } else { Err(told) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_say_themselves_what_the_registry_does_not_have() {
    let name = "asked::providers_say_themselves_what_the_registry_does_not_have";
    if !netns::inside(name, &["envoy", "zookeeper", "dubbo3"]).await {
        return;
    }
    let zookeeper = ZooKeeper::start("zookeeper").await.expect("it was prepared");
    let server = zookeeper.address();
    let portolan = Portolan::start(&format!(
        "registries:\n- name: dubbo\n  zookeeper:\n    servers: ['{server}']\n    period: 1s\n    \
         dubbo: {{ applications: {{ ask_providers: true }} }}\n  publish: {{ hold: 0s }}\n"
    ))
    .await;
    portolan.ready().await;
    let envoy = Envoy::start(&Envoy::tcp(DUBBO), portolan.xds).await.expect("it was prepared");
    let registry = registry(&zookeeper);
    let provider = async |words: &[&str]| {
        Program::dubbo_provider(3, &[&[&*registry, "mode=instance", "metadata=local"], words].concat()).await
    };
    let first = provider(&["reply=first", "weight=50"]).await;
    until_hosts("a provider to be asked", &envoy, DUBBO, &[(first.port, 50)]).await;
    // Another revision of the same application, and a second instance of one that is known.
    let (second, third, triple) = tokio::join!(
        provider(&["reply=second", "services=orders,payments"]),
        provider(&["reply=third", "weight=50"]),
        provider(&["application=triple", "protocol=tri", "group=t"])
    );
    let all = [(first.port, 50), (second.port, 100), (third.port, 50)];
    until_hosts("three providers of two revisions", &envoy, DUBBO, &all).await;
    // A provider of Triple alone is asked by Triple.
    until_instances(&portolan, "shop.orders.t.dubbo", &[triple.port]).await;
    let mut consumer = Consumer::start(3, envoy.listener.port(), &[]).await;
    let answered = landed(&mut consumer, 5).await;
    assert!(!answered.contains_key("FAILED"), "{answered:?}");
    // Whoever hangs, is somebody else, or does not know the revision provides nothing, and the others do.
    let silent = TcpListener::bind((netns::ADDRESS, 0)).await.unwrap();
    let writer = zookeeper.writer().await;
    register(&writer, "silent", 20_001, silent.local_addr().unwrap().port(), "r").await;
    register(&writer, "stranger", 20_002, first.port, "r").await;
    register(&writer, "shop", 20_003, first.port, "unknown").await;
    register(&writer, "nobody", 20_004, 1, "r").await;
    register(&writer, "web", 20_005, envoy.listener.port(), "r").await;
    until_told(&portolan, "silent", "no answer within 3 s").await;
    until_told(&portolan, "stranger", "asked for its metadata itself").await;
    until_told(&portolan, "shop", "1 of its instances have revision unknown: asked for its metadata itself").await;
    until_told(&portolan, "nobody", "cannot connect").await;
    until_told(&portolan, "web", "asked for its metadata itself").await;
    until_hosts("all of them still", &envoy, DUBBO, &all).await;
    second.stop().await;
    until_hosts("one to leave", &envoy, DUBBO, &[(first.port, 50), (third.port, 50)]).await;
    assert_eq!(envoy.complaints().await, []);
    tokio::join!(first.stop(), third.stop(), triple.stop());
}
