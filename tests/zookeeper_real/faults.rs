//! Servers and wires that fail: what is known stays, and what has changed meanwhile is there afterwards.

use super::{
    config, demo, listed, read,
    support::{
        reading::Reading,
        tcp_proxy::TcpProxy,
        until,
        zookeeper::{Writer, ZooKeeper},
    },
    until_listed,
};
use portolan::model::Update;
use portolan::registry::zookeeper::{Config, Layout};
use std::time::Duration;

const DEMO: &str = "dubbo/com.foo.Demo";
const FIRST: &str = "192.0.2.1:20880 dubbo 1";
const SECOND: &str = "192.0.2.2:20880 dubbo 1";

async fn provide(writer: &Writer, address: &str) -> String {
    writer.provide("com.foo.Demo", &demo(address, "")).await
}

/// Waits for the failure, during which nothing that was listed may go.
async fn until_lost(reading: &mut Reading, why: &str) {
    let before = listed(reading);
    reading.until("the failure", |h| h.errors.get("").is_some_and(|error| error.contains(why))).await;
    assert_eq!(listed(reading), before);
}

#[tokio::test]
async fn a_killed_server_loses_nothing_and_tells_what_changed_meanwhile() {
    for script in ["zookeeper", "zookeeper35"] {
        let Some(mut server) = ZooKeeper::start(script).await else { return };
        let first = provide(&server.writer().await, "192.0.2.1:20880").await;
        let mut reading = read(config(server.address(), Layout::Dubbo));
        until_listed(&mut reading, "the first", &[(DEMO, &[FIRST])]).await;
        let before = reading.service("com.foo.Demo").unwrap().clone();
        server.kill().await;
        until_lost(&mut reading, "Connection refused").await;
        server.restart().await;
        reading.until("the list", |h| h.errors.is_empty()).await;
        // Nothing has changed: the same value, which costs the catalog a comparison of pointers.
        assert!(std::sync::Arc::ptr_eq(&before, reading.service("com.foo.Demo").unwrap()));
        let lists = reading.listed;
        server.kill().await;
        until_lost(&mut reading, "Connection refused").await;
        server.restart().await;
        let writer = server.writer().await;
        writer.delete(&first).await;
        provide(&writer, "192.0.2.2:20880").await;
        reading.until("a list", |h| h.listed > lists).await;
        until_listed(&mut reading, "the second", &[(DEMO, &[SECOND])]).await;
        // Events come in the new session, too.
        provide(&writer, "192.0.2.1:20880").await;
        until_listed(&mut reading, "both", &[(DEMO, &[FIRST, SECOND])]).await;
    }
}

#[tokio::test]
async fn a_server_that_sleeps_longer_than_the_session_is_noticed_and_read_anew() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let writer = server.writer().await;
    let first = provide(&writer, "192.0.2.1:20880").await;
    let session_timeout = Duration::from_secs(1);
    let mut reading = read(Config { session_timeout, ..config(server.address(), Layout::Dubbo) });
    until_listed(&mut reading, "the first", &[(DEMO, &[FIRST])]).await;
    server.signal("STOP").await;
    until_lost(&mut reading, "is lost").await;
    // So long that every attempt to get another session has failed, too.
    until_lost(&mut reading, "cannot get a session").await;
    server.signal("CONT").await;
    reading.until("the list", |h| h.errors.is_empty()).await;
    writer.delete(&first).await;
    provide(&writer, "192.0.2.2:20880").await;
    until_listed(&mut reading, "the second", &[(DEMO, &[SECOND])]).await;
}

#[tokio::test]
async fn a_session_that_ends_while_nothing_can_connect_is_followed_by_another() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let (writer, proxy) = (server.writer().await, TcpProxy::start(server.address()).await);
    let first = provide(&writer, "192.0.2.1:20880").await;
    let session_timeout = Duration::from_secs(1);
    let mut reading = read(Config { session_timeout, ..config(proxy.address, Layout::Dubbo) });
    until_listed(&mut reading, "the first", &[(DEMO, &[FIRST])]).await;
    proxy.sever();
    until_lost(&mut reading, "").await;
    writer.delete(&first).await;
    provide(&writer, "192.0.2.2:20880").await;
    // The server ends it, and nobody can be told.
    until("the server to end the session", Duration::from_secs(60), async || {
        let dump = server.ask("dump").await;
        let open = dump.lines().filter(|line| line.starts_with("\t0x")).count();
        // The writer's.
        if open == 1 { Ok(()) } else { Err(dump) }
    })
    .await;
    assert_eq!(listed(&reading)[DEMO], [FIRST]);
    proxy.heal();
    until_listed(&mut reading, "the second", &[(DEMO, &[SECOND])]).await;
}

#[tokio::test]
async fn a_flapping_connection_costs_few_sessions_and_ends_in_the_right_state() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let (writer, proxy) = (server.writer().await, TcpProxy::start(server.address()).await);
    let mut reading = read(config(proxy.address, Layout::Dubbo));
    reading.list().await;
    for round in 0..20 {
        provide(&writer, &format!("192.0.2.{round}:20880")).await;
        proxy.sever();
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.heal();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let count = |h: &Reading| listed(h).get(DEMO).map_or(0, Vec::len);
    reading.until("all", |h| h.errors.is_empty() && count(h) == 20).await;
    // Within five seconds of flapping the wait has grown to seconds.
    assert!(reading.failed <= 12, "{} failures", reading.failed);
    provide(&writer, "192.0.2.100:20880").await;
    reading.until("one more", |h| count(h) == 21).await;
}

#[tokio::test]
async fn a_fresh_data_folder_is_an_empty_list_that_the_catalog_may_hold_back() {
    let Some(mut server) = ZooKeeper::start("zookeeper").await else { return };
    provide(&server.writer().await, "192.0.2.1:20880").await;
    let mut reading = read(config(server.address(), Layout::Dubbo));
    until_listed(&mut reading, "the first", &[(DEMO, &[FIRST])]).await;
    server.kill().await;
    until_lost(&mut reading, "Connection refused").await;
    let lists = reading.listed;
    server.restart_empty().await;
    // Told as a list, not as a removal: only of a list can it be seen that the registry has lost its memory.
    let update = loop {
        let update = reading.next().await;
        if matches!(update, Update::Listed { .. } | Update::Removed(..)) {
            break update;
        }
    };
    assert!(matches!(&update, Update::Listed { services, .. } if services.is_empty()), "{update:?}");
    assert_eq!(reading.listed, lists + 1);
    provide(&server.writer().await, "192.0.2.2:20880").await;
    until_listed(&mut reading, "the second", &[(DEMO, &[SECOND])]).await;
}

#[tokio::test]
async fn of_several_servers_any_will_do() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    provide(&server.writer().await, "192.0.2.1:20880").await;
    let mut config = config(server.address(), Layout::Dubbo);
    // Nobody listens there.
    config.servers.extend(["127.0.0.1:9", "[::1]:9"].map(|dead| Config::server(dead).unwrap()));
    let mut reading = read(config);
    until_listed(&mut reading, "the first", &[(DEMO, &[FIRST])]).await;
}
