//! Trees as nobody should write them.

use super::{
    config, demo, listed, polling, read,
    support::zookeeper::{ZooKeeper, encoded},
    until_listed,
};
use portolan::registry::zookeeper::{Config, Layout};

#[tokio::test]
async fn what_cannot_be_read_is_told_and_its_neighbours_serve() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let writer = server.writer().await;
    writer.provide("com.foo.Demo", &demo("192.0.2.1:20880", "")).await;
    let folder = "/dubbo/com.foo.Demo/providers";
    let long = "x".repeat(900_000);
    let bad = ["no-url", "%zz", "%FF", "dubbo%3A%2F%2F192.0.2.9%3A0%2Fa", "dubbo%3A%2F%2F192.0.2.9%3A70000%2Fa", &long];
    for name in bad {
        writer.create(&format!("{folder}/{name}"), "").await;
    }
    let parameters: Vec<String> = (0..25).map(|i| format!("&p{i}={}", "y".repeat(1024))).collect();
    writer.provide("com.foo.Demo", &demo("192.0.2.2:20880", &parameters.concat())).await;
    let shown: &[&str] = &["192.0.2.1:20880 dubbo 1", "192.0.2.2:20880 dubbo 1"];
    for polls in [false, true] {
        let config = config(server.address(), Layout::Dubbo);
        let mut reading = read(if polls { polling(config) } else { config });
        until_listed(&mut reading, "the good ones", &[("dubbo/com.foo.Demo", shown)]).await;
        let service = reading.service("com.foo.Demo").unwrap();
        assert_eq!(service.notes.len(), bad.len(), "{:?}", service.notes);
        assert!(service.notes.iter().all(|note| note.subject.len() <= 80 && note.detail.len() < 200));
    }
    // The same for data: a megabyte that is no JSON, and bytes that are no text.
    let spring = |path: &str| format!("/services/orders/{path}");
    writer.create(&spring("good"), r#"{"address":"192.0.2.1","port":80}"#).await;
    writer.create(&spring("large"), &"z".repeat(1_000_000)).await;
    writer.create(&spring("empty"), "").await;
    writer.0.set_data(&spring("empty"), b"\xff\xfe", None).await.unwrap();
    let mut reading = read(config(server.address(), Layout::Spring));
    until_listed(&mut reading, "the good one", &[("services/orders", &["192.0.2.1:80 - 1"])]).await;
    assert_eq!(reading.service("orders").unwrap().notes.len(), 2);
}

#[tokio::test]
async fn a_list_of_children_above_a_mebibyte_is_read() {
    for script in ["zookeeper", "zookeeper35"] {
        let Some(server) = ZooKeeper::start(script).await else { return };
        let writer = server.writer().await;
        let folder = "/dubbo/com.foo.Demo/providers";
        writer.create(folder, "").await;
        let padding = "m".repeat(900);
        let count = 1_500;
        let paths = (0..count).map(|i| {
            let address = format!("192.0.{}.{}:20880", 2 + i / 200, i % 200);
            format!("{folder}/{}", encoded(&demo(&address, &format!("&methods={padding}"))))
        });
        let options = zookeeper_client::CreateMode::Persistent.with_acls(zookeeper_client::Acls::anyone_all());
        for path in paths {
            writer.0.create(&path, b"", &options).await.unwrap();
        }
        let config = config(server.address(), Layout::Dubbo);
        let mut reading = read(Config { period: std::time::Duration::from_secs(10), ..config });
        reading.until("all providers", |h| listed(h).get("dubbo/com.foo.Demo").is_some_and(|i| i.len() == count)).await;
        reading.round().await;
        assert!(reading.cost.bytes > 1 << 20, "{:?}", reading.cost);
        assert_eq!(reading.failed, 0);
    }
}
