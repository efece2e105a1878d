//! Changes, one by one, in every way of noticing them.

use super::{
    config, demo, listed, polling, read,
    support::{
        reading::Reading,
        zookeeper::{Writer, ZooKeeper, provider},
    },
    until_listed,
};
use portolan::registry::zookeeper::{Config, Layout};
use std::future::Future;

const DEMO: &str = "dubbo/com.foo.Demo";

/// Runs a scene with recursive watches, with watches that fire once, and polling.
async fn in_every_way<F: Future<Output = ()>>(layout: Layout, scene: impl Fn(Config, Writer, &'static str) -> F) {
    for script in ["zookeeper", "zookeeper35"] {
        let Some(server) = ZooKeeper::start(script).await else { return };
        let config = config(server.address(), layout);
        scene(config.clone(), server.writer().await, script).await;
        if script == "zookeeper" {
            scene(polling(config), server.writer().await, "poll").await;
        }
    }
}

#[tokio::test]
async fn providers_are_followed() {
    in_every_way(Layout::Dubbo, |config, writer, way| async move {
        let mut reading = read(config);
        reading.list().await;
        assert!(listed(&reading).is_empty(), "{way}");
        assert_eq!(reading.scopes, ["/dubbo"], "{way}");
        let first = writer.provide("com.foo.Demo", &demo("192.0.2.10:20880", "&weight=50")).await;
        let shown = "192.0.2.10:20880 dubbo 0.5";
        until_listed(&mut reading, way, &[(DEMO, &[shown])]).await;
        let second = writer.provide("com.foo.Demo", "tri://192.0.2.11:50051/com.foo.Demo").await;
        until_listed(&mut reading, way, &[(DEMO, &[shown, "192.0.2.11:50051 tri 1"])]).await;
        writer.delete(&first).await;
        until_listed(&mut reading, way, &[(DEMO, &["192.0.2.11:50051 tri 1"])]).await;
        let first = writer.provide("com.foo.Demo", &demo("192.0.2.10:20880", "&weight=200&disabled=true")).await;
        let disabled = "192.0.2.10:20880 dubbo 2 off";
        until_listed(&mut reading, way, &[(DEMO, &[disabled, "192.0.2.11:50051 tri 1"])]).await;
        // The last one of the service, while its interface stays.
        writer.delete(&first).await;
        writer.delete(&second).await;
        until_listed(&mut reading, way, &[]).await;
        assert_eq!(reading.failed, 0, "{way}: {:?}", reading.errors);
    })
    .await;
}

#[tokio::test]
async fn interfaces_and_roots_come_and_go_in_any_order() {
    in_every_way(Layout::Dubbo, |config, writer, way| async move {
        let mut reading = read(config);
        reading.list().await;
        let url = demo("192.0.2.10:20880", "");
        // Others write there, too.
        for path in ["metadata/com.foo.Demo/1.0", "mapping/com.foo.Demo", "config/dubbo/x", "com.foo.Idle/consumers/c"]
        {
            writer.create(&format!("/dubbo/{path}"), "").await;
        }
        writer.provide("com.foo.Demo", &url).await;
        writer.provide("com.foo.Demo", &demo("192.0.2.10:20880", "&group=g&version=1.0")).await;
        let shown: &[&str] = &["192.0.2.10:20880 dubbo 1"];
        let both: &[(&str, &[&str])] = &[(DEMO, shown), ("dubbo/g/com.foo.Demo:1.0", shown)];
        until_listed(&mut reading, way, both).await;
        // Dubbo consumers make these nodes first, and providers come later.
        writer.create("/dubbo/com.foo.Idle/providers", "").await;
        writer.create(&provider("/dubbo", "com.foo.Idle", "tri://192.0.2.11:1/com.foo.Idle"), "").await;
        let idle: &[&str] = &["192.0.2.11:1 tri 1"];
        until_listed(&mut reading, way, &[both[0], ("dubbo/com.foo.Idle", idle), both[1]]).await;
        writer.delete("/dubbo/com.foo.Demo").await;
        until_listed(&mut reading, way, &[("dubbo/com.foo.Idle", idle)]).await;
        writer.provide("com.foo.Demo", &url).await;
        until_listed(&mut reading, way, &[both[0], ("dubbo/com.foo.Idle", idle)]).await;
        for _ in 0..2 {
            writer.delete("/dubbo").await;
            until_listed(&mut reading, way, &[]).await;
            writer.provide("com.foo.Demo", &url).await;
            until_listed(&mut reading, way, &[(DEMO, shown)]).await;
        }
        assert_eq!(reading.failed, 0, "{way}: {:?}", reading.errors);
        writer.delete("/dubbo").await;
    })
    .await;
}

/// An instance as Spring Cloud writes it.
fn instance(address: &str, status: &str) -> String {
    format!(
        r#"{{"name":"orders","id":"i","address":"{address}","port":8080,"sslPort":null,"payload":{{"@class":
        "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","id":"orders","name":"orders",
        "metadata":{{"instance_status":"{status}"}}}},"serviceType":"DYNAMIC"}}"#
    )
}

#[tokio::test]
async fn spring_instances_are_followed_also_where_only_their_data_change() {
    in_every_way(Layout::Spring, |config, writer, way| async move {
        let mut reading = read(config);
        reading.list().await;
        writer.create("/services/orders/a", &instance("192.0.2.1", "UP")).await;
        writer.create("/services/orders/b", &instance("192.0.2.2", "UP")).await;
        // A Dubbo 3 application beside it.
        let dubbo = r#"{"address":"192.0.2.10","port":1,"payload":{"metadata":{"dubbo.metadata.revision":"1"}}}"#;
        writer.create("/services/app3/192.0.2.10:1", dubbo).await;
        let [first, second] = ["192.0.2.1:8080 - 1", "192.0.2.2:8080 - 1"];
        until_listed(&mut reading, way, &[("services/orders", &[first, second])]).await;
        for _ in 0..3 {
            writer.set("/services/orders/a", &instance("192.0.2.1", "OUT_OF_SERVICE")).await;
            until_listed(&mut reading, way, &[("services/orders", &["192.0.2.1:8080 - 1 off", second])]).await;
            writer.set("/services/orders/a", &instance("192.0.2.1", "UP")).await;
            until_listed(&mut reading, way, &[("services/orders", &[first, second])]).await;
        }
        writer.delete("/services/orders/a").await;
        until_listed(&mut reading, way, &[("services/orders", &[second])]).await;
        writer.delete("/services/orders").await;
        until_listed(&mut reading, way, &[]).await;
        assert_eq!(reading.failed, 0, "{way}: {:?}", reading.errors);
        writer.delete("/services").await;
    })
    .await;
}

#[tokio::test]
async fn several_roots_below_a_chroot_are_scopes_of_their_own() {
    in_every_way(Layout::Dubbo, |config, writer, way| async move {
        let roots = vec!["/dubbo".into(), "/sofa-rpc".into(), "/later/deep".into()];
        let mut reading = read(Config { chroot: "/prod/eu".into(), roots, ..config });
        reading.until("all lists", |h| h.lists.len() == 3).await;
        assert_eq!(reading.scopes, ["/dubbo", "/sofa-rpc", "/later/deep"], "{way}");
        let bolt = "bolt://192.0.2.3:22000?version=1.0&uniqueId=u";
        writer.create(&provider("/prod/eu/sofa-rpc", "com.foo.Demo", bolt), "").await;
        writer.create(&provider("/prod/eu/dubbo", "com.foo.Demo", &demo("192.0.2.1:1", "")), "").await;
        writer.create(&provider("/prod/eu/later/deep", "com.foo.Demo", &demo("192.0.2.2:1", "")), "").await;
        // None of these is below the chroot.
        writer.create(&provider("/dubbo", "com.foo.Demo", &demo("192.0.2.9:1", "")), "").await;
        let expected: &[(&str, &[&str])] = &[
            (DEMO, &["192.0.2.1:1 dubbo 1"]),
            ("later/deep/com.foo.Demo", &["192.0.2.2:1 dubbo 1"]),
            ("sofa-rpc/u/com.foo.Demo:1.0", &["192.0.2.3:22000 tcp 1"]),
        ];
        until_listed(&mut reading, way, expected).await;
        writer.delete("/prod").await;
        until_listed(&mut reading, way, &[]).await;
        writer.delete("/dubbo").await;
    })
    .await;
}

#[tokio::test]
async fn a_weight_grows_by_itself_where_the_provider_asks_for_it() {
    in_every_way(Layout::Dubbo, |config, writer, way| async move {
        let mut reading = read(config);
        reading.list().await;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let url = format!("dubbo://192.0.2.1:1/com.foo.Demo?timestamp={now}&warmup=10000&weight=100");
        writer.provide("com.foo.Demo", &url).await;
        reading.until("a part of the weight", |h| weight(h).is_some_and(|weight| weight < 1.0)).await;
        reading.until(&format!("{way}: the whole weight"), |h| weight(h) == Some(1.0)).await;
        writer.delete("/dubbo").await;
    })
    .await;
}

fn weight(reading: &Reading) -> Option<f64> {
    Some(reading.service("com.foo.Demo")?.endpoints.first()?.weight.get())
}

#[tokio::test]
async fn an_idle_registry_makes_no_requests_but_pings() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let writer = server.writer().await;
    for interface in 0..50 {
        writer.provide(&format!("com.foo.I{interface}"), &format!("dubbo://192.0.2.1:1/com.foo.I{interface}")).await;
    }
    drop(writer);
    let mut reading = read(config(server.address(), Layout::Dubbo));
    reading.until("the services", |h| listed(h).len() == 50).await;
    reading.round().await;
    // A session, its `sync`, the watch, the names, and two requests for 32 nodes each.
    assert_eq!(reading.cost.requests, 6, "{:?}", reading.cost);
    // The reader's own line: `received` counts its requests, the pings among them.
    let received = async || -> u64 {
        let line = server
            .ask("cons")
            .await
            .lines()
            .find(|line| line.contains("sid=") && !line.contains("lop=NA"))
            .map(str::to_owned);
        let line = line.expect("the reader is connected");
        line.split_once("recved=").unwrap().1.split(',').next().unwrap().parse().unwrap()
    };
    let (before, lists) = (received().await, reading.listed);
    let took = reading.until("ten periods", |h| h.listed >= lists + 10).await;
    let more = received().await - before;
    // A ping each 0.6 s of a session of 4 s; ten periods are three seconds at least.
    let pings = took.as_millis() as u64 / 600 + 2;
    assert!((1..=pings).contains(&more), "{more} requests, {pings} pings at most");
}
