//! More than a registry may have, and answers that are longer than any may be.

use super::{config, demo, listed, read, support::zookeeper::ZooKeeper, until_listed};
use portolan::registry::{
    Limits,
    zookeeper::{Config, Layout},
};
use std::time::Duration;

#[tokio::test]
async fn a_reading_beyond_a_limit_is_a_failure_that_names_its_key() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let writer = server.writer().await;
    for name in ["com.foo.A", "com.foo.B", "com.foo.C"] {
        writer.create(&format!("/dubbo/{name}/providers/x"), "").await;
    }
    let limits = Limits::default();
    for (limits, expected) in [
        (Limits { services: 2, ..limits.clone() }, "more than 2 services; raise `limits.services`"),
        (Limits { bytes: 20, ..limits.clone() }, "more than 20 bytes to read; raise `limits.bytes`"),
        (Limits { time: Duration::ZERO, ..limits }, "raise `limits.time`"),
    ] {
        let mut reading = read(Config { limits, ..config(server.address(), Layout::Dubbo) });
        let failure = reading.failure().await;
        assert!(failure.contains(expected), "{failure}");
        assert_eq!(reading.listed, 0);
    }
}

#[tokio::test]
async fn a_packet_beyond_the_limit_is_a_failure_and_what_was_listed_stays() {
    for script in ["zookeeper", "zookeeper35"] {
        let Some(server) = ZooKeeper::start(script).await else { return };
        let writer = server.writer().await;
        writer.provide("com.foo.Demo", &demo("192.0.2.1:20880", "")).await;
        let max_packet_bytes = 8 << 10;
        let mut reading = read(Config { max_packet_bytes, ..config(server.address(), Layout::Dubbo) });
        let expected: &[(&str, &[&str])] = &[("dubbo/com.foo.Demo", &["192.0.2.1:20880 dubbo 1"])];
        until_listed(&mut reading, "the first", expected).await;
        let before = listed(&reading);
        let long = format!("/dubbo/com.foo.Demo/providers/{}", "x".repeat(10_000));
        writer.create(&long, "").await;
        let why = format!("no more than {max_packet_bytes} are read; raise `max_packet`");
        reading.until("the failure", |h| h.errors.get("").is_some_and(|error| error.contains(&why))).await;
        assert_eq!(listed(&reading), before);
        writer.delete(&long).await;
        writer.provide("com.foo.Demo", &demo("192.0.2.2:20880", "")).await;
        let both: &[(&str, &[&str])] =
            &[("dubbo/com.foo.Demo", &["192.0.2.1:20880 dubbo 1", "192.0.2.2:20880 dubbo 1"])];
        until_listed(&mut reading, "both", both).await;
    }
}
