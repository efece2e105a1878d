//! What the server counts of its clients, to the last one.

use crate::client::*;
use portolan::resource::{Kind::*, Readiness};
use std::collections::BTreeMap;
use tokio::net::TcpStream;

/// Waits until exactly this is counted. What clients hold is an estimate, which tests of limits look at.
async fn check(world: &World, expected: &[(&str, u64)]) {
    let expected: BTreeMap<String, u64> = expected.iter().map(|(name, n)| (name.to_string(), *n)).collect();
    let started = std::time::Instant::now();
    loop {
        let mut counted = world.counted();
        counted.remove("xds_memory_bytes");
        if counted == expected {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{counted:#?} is not {expected:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_clients_ask_take_and_refuse_is_counted() {
    let world = World::of(vec![cluster("a", "1"), assignment("a", 1)]).await;
    check(&world, &[]).await;
    let mut sotw = world.sotw().await;
    sotw.ask(Cluster, &[]).await;
    let received = sotw.next().await;
    let mut bytes = received.bytes as u64;
    sotw.ack(&received, &[]).await;
    let mut delta = world.delta().await;
    delta.ask(Endpoint, &["a", "b"], &[]).await;
    // What there is, and what there is not.
    let (first, second) = (delta.next().await, delta.next().await);
    let endpoint_bytes = (first.bytes + second.bytes) as u64;
    delta.ack(&second).await;
    world.change([cluster("a", "2")]);
    let received = sotw.next().await;
    bytes += received.bytes as u64;
    sotw.nack(&received, &[], "no").await;
    let mut unknown = sotw_request(Cluster, &[], "", "");
    unknown.type_url = "type.googleapis.com/nobody.knows.This".into();
    sotw.request(unknown).await;
    check(
        &world,
        &[
            ("xds_connections", 2),
            ("xds_streams{variant=\"sotw\"}", 1),
            ("xds_streams{variant=\"delta\"}", 1),
            ("xds_requests_total{variant=\"sotw\"}", 4),
            ("xds_requests_total{variant=\"delta\"}", 2),
            ("xds_answers_total{kind=\"clusters\"}", 2),
            ("xds_answers_total{kind=\"endpoints\"}", 2),
            ("xds_answers_bytes_total{kind=\"clusters\"}", bytes),
            ("xds_answers_bytes_total{kind=\"endpoints\"}", endpoint_bytes),
            ("xds_acknowledged_total{kind=\"clusters\"}", 1),
            ("xds_acknowledged_total{kind=\"endpoints\"}", 1),
            ("xds_refused_total{kind=\"clusters\"}", 1),
            ("xds_withheld_total{kind=\"clusters\"}", 1),
            ("xds_quarantined_resources{kind=\"clusters\"}", 1),
            ("xds_unknown_types_total", 1),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_ends_and_what_is_refused_is_counted() {
    let set = |o: &mut portolan::xds::Options| (o.max_streams, o.max_connections) = (1, 2);
    let world = World::with(set, Readiness::Complete, vec![]).await;
    let channel = world.channel().await;
    let mut stream = RawStream(Stream::open(channel.clone(), ADS_SOTW).await);
    let _refused = Sotw::try_open(channel.clone(), ADS_SOTW, None).await.err().unwrap();
    stream.send(b"\x0b").await;
    stream.0.end().await;
    drop(stream);
    world.eventually(|list| list.is_empty()).await;
    Delta::open(channel.clone(), ADS_DELTA).await.finish().await;
    let _second = TcpStream::connect(world.address).await.unwrap();
    let _third = TcpStream::connect(world.address).await.unwrap();
    check(
        &world,
        &[
            ("xds_connections", 2),
            ("xds_connections_refused_total", 1),
            ("xds_streams_refused_total", 1),
            ("xds_streams_ended_total{reason=\"refused\"}", 1),
            ("xds_streams_ended_total{reason=\"client\"}", 1),
            ("xds_requests_total{variant=\"sotw\"}", 1),
        ],
    )
    .await;
}
