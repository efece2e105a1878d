//! Rules for both variants: state of the world and incremental.

use crate::client::*;
use portolan::resource::{Kind::*, Readiness, version_text};
use std::{collections::BTreeSet, time::Duration};
use tonic::Code;

async fn two() -> World {
    World::of(vec![cluster("a", "1"), cluster("b", "1"), assignment("a", 1), assignment("b", 1)]).await
}

#[tokio::test]
async fn g1_nonces_are_unique_in_a_stream_and_one_of_another_type_acknowledges_nothing() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Cluster, &[]).await;
    let clusters = stream.next().await;
    stream.ask(Endpoint, &["a"]).await;
    let endpoints = stream.next().await;
    assert_ne!(clusters.nonce, endpoints.nonce);
    stream.ask_as(Endpoint, &["a"], &clusters.version, &clusters.nonce).await;
    stream.nothing_more().await;
    let client = &world.clients.list()[0];
    assert!(client.types.iter().all(|t| t.acknowledged.is_none()), "{client:#?}");
    stream.ack(&endpoints, &["a"]).await;
    stream.nothing_more().await;
    let acknowledged = |c: &portolan::xds::Client| c.types.iter().filter(|t| t.acknowledged.is_some()).count();
    assert_eq!(acknowledged(&world.clients.list()[0]), 1);
}

#[tokio::test]
async fn g3_a_first_message_that_is_an_acknowledgement_or_a_refusal_subscribes() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask_as(Cluster, &[], "foreign", "2026-11-20 17:25:59 m=+0.45").await;
    let received = stream.next().await;
    received.is(Cluster, &[("a", "1"), ("b", "1")], &[]);
    let mut stream = world.sotw().await;
    stream.nack(&received, &[], "refused before").await;
    stream.next().await.is(Cluster, &[("a", "1"), ("b", "1")], &[]);
    let mut stream = world.delta().await;
    stream.nack(&received, "refused before").await;
    stream.next().await.is(Cluster, &[("a", "1"), ("b", "1")], &[]);
}

#[tokio::test]
async fn g4_s16_d19_an_unknown_type_is_not_answered_and_ends_nothing() {
    let world = two().await;
    let mut sotw = world.sotw().await;
    let mut request = sotw_request(Cluster, &[], "", "");
    request.type_url = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret".into();
    sotw.request(request.clone()).await;
    sotw.request(request).await;
    sotw.nothing_more().await;
    let mut delta = world.delta().await;
    let mut request = delta_request(Cluster, &["x"], &[]);
    request.type_url = "unheard of".into();
    delta.request(request).await;
    delta.nothing_more().await;
}

#[tokio::test]
async fn g4_s17_no_type_on_an_aggregated_stream_is_an_invalid_argument() {
    let world = two().await;
    let mut sotw = world.sotw().await;
    let mut request = sotw_request(Cluster, &[], "", "");
    request.type_url.clear();
    sotw.request(request).await;
    let status = sotw.end().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("type_url"), "{status:?}");
    let mut delta = world.delta().await;
    let mut request = delta_request(Cluster, &[], &[]);
    request.type_url.clear();
    delta.request(request).await;
    assert_eq!(delta.end().await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn g6_additions_come_before_what_refers_to_them_and_removals_last() {
    let world = World::of(vec![cluster("old", "1"), assignment("old", 1), listener("l", "1"), route("r", "old")]).await;
    let mut delta = world.delta().await;
    let mut sotw = world.sotw().await;
    for kind in [Cluster, Endpoint, Listener, Route] {
        delta.ask(kind, &["*"], &[]).await;
        let received = delta.next().await;
        delta.ack(&received).await;
        sotw.ask(kind, &["*"]).await;
        let received = sotw.next().await;
        sotw.ack(&received, &["*"]).await;
    }
    let settled = |c: &portolan::xds::Client| c.types.iter().filter(|t| t.acknowledged.is_some()).count() == 4;
    world.eventually(|list| list.iter().all(settled)).await;
    let (new, old) = ([cluster("new", "1"), assignment("new", 1)], [gone(Cluster, "old"), gone(Endpoint, "old")]);
    let refer = [route("r", "new"), listener("l", "2")];
    world.change(new.into_iter().chain(old).chain(refer));
    delta.next().await.is(Cluster, &[("new", "1")], &[]);
    delta.next().await.is(Endpoint, &[("new", "1")], &[]);
    delta.next().await.is(Listener, &[("l", "2")], &[]);
    delta.next().await.is(Route, &[("r", "new")], &[]);
    delta.next().await.is(Cluster, &[], &["old"]);
    delta.next().await.is(Endpoint, &[], &["old"]);
    let mut received = Vec::new();
    for _ in 0..6 {
        let answer = sotw.next().await;
        received.push((answer.kind, answer.has.into_keys().collect::<Vec<_>>().join(" ")));
        sotw.ask_as(answer.kind, &["*"], &answer.version, &answer.nonce).await;
    }
    let named = |kind, names: &str| (kind, names.to_string());
    // What an answer with all clusters lacks would be removed: the old one stays in it until the route was sent.
    let additions = [(Cluster, "new old"), (Endpoint, "new"), (Listener, "l"), (Route, "r")];
    let all = additions.into_iter().chain([(Cluster, "new"), (Endpoint, "old")]);
    assert_eq!(received, all.map(|(kind, names)| named(kind, names)).collect::<Vec<_>>());
    let acknowledged = |t: &portolan::xds::ClientType| {
        t.acknowledged.as_ref().map(|(version, _)| version) == t.sent.as_ref().map(|sent| &sent.version)
    };
    let sotw_only = |c: &&portolan::xds::Client| c.variant == portolan::resource::Variant::Sotw;
    world.eventually(|list| list.iter().filter(sotw_only).all(|c| c.types.iter().all(acknowledged))).await;
    // A removal alone goes behind the change of what referred to it.
    world.change([gone(Cluster, "new"), gone(Endpoint, "new"), route("r", "none")]);
    let mut kinds = Vec::new();
    for _ in 0..3 {
        kinds.push(sotw.next().await.kind);
    }
    assert_eq!(kinds, [Route, Cluster, Endpoint]);
}

#[tokio::test]
async fn g9_s20_the_first_answer_of_a_stream_says_who_we_are() {
    let world = two().await;
    let expected = Some(concat!("portolan/", env!("CARGO_PKG_VERSION")).to_string());
    let mut sotw = world.sotw().await;
    sotw.ask(Cluster, &[]).await;
    assert_eq!(sotw.next().await.identifier, expected);
    let mut delta = world.delta().await;
    delta.ask(Cluster, &[], &[]).await;
    assert_eq!(delta.next().await.identifier, expected);
    delta.ask(Endpoint, &["a"], &[]).await;
    assert_eq!(delta.next().await.identifier, None, "once is enough");
}

#[tokio::test]
async fn g10_versions_are_the_same_on_every_server_with_the_same_content() {
    let other_way = vec![assignment("b", 9), cluster("b", "1"), cluster("a", "1")];
    let (one, two) = (two().await, World::of(other_way).await);
    two.change([assignment("b", 1), assignment("a", 1)]);
    for kind in [Cluster, Endpoint] {
        assert_eq!(one.view().get(kind).version(), two.view().get(kind).version());
        let versions = |world: &World| world.view().get(kind).versions().clone();
        assert_eq!(versions(&one), versions(&two));
    }
}

#[tokio::test]
async fn g11_a_stream_that_ends_leaves_nothing_behind() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Cluster, &[]).await;
    stream.next().await;
    world.eventually(|list| list.len() == 1).await;
    drop(stream);
    world.eventually(|list| list.is_empty()).await;
}

#[tokio::test]
async fn nothing_is_answered_before_the_sources_were_heard() {
    let world = World::with(|_| {}, Readiness::Waiting, vec![]).await;
    let (mut sotw, mut delta) = (world.sotw().await, world.delta().await);
    sotw.ask(Cluster, &[]).await;
    sotw.ask(Endpoint, &["a", "x"]).await;
    delta.resume(Cluster, &[], &[("a", "old"), ("x", "old")]).await;
    delta.ask(Endpoint, &["a", "x"], &[]).await;
    sotw.silence().await;
    delta.silence().await;
    world.become_ready(Readiness::Complete, [cluster("a", "1"), assignment("a", 1)]);
    sotw.next().await.is(Cluster, &[("a", "1")], &[]);
    sotw.next().await.is(Endpoint, &[("a", "1")], &[]);
    sotw.next().await.is(Endpoint, &[("x", "-")], &[]);
    delta.next().await.is(Cluster, &[("a", "1")], &[]);
    delta.next().await.is(Endpoint, &[("a", "1")], &[]);
    let mut removed = vec![delta.next().await.kind, delta.next().await.kind];
    removed.sort();
    assert_eq!(removed, [Cluster, Endpoint]);
}

#[tokio::test]
async fn no_node_is_no_reason_to_refuse() {
    let world = two().await;
    let mut stream = world.sotw().await;
    let mut request = sotw_request(Cluster, &[], "", "");
    request.node = None;
    stream.request(request).await;
    stream.next().await.is(Cluster, &[("a", "1"), ("b", "1")], &[]);
}

#[tokio::test]
async fn the_table_of_clients_says_what_each_has() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Cluster, &[], &[]).await;
    let received = stream.next().await;
    stream.ack(&received).await;
    stream.ask(Endpoint, &["a", "b"], &[]).await;
    let refused = stream.next().await;
    stream.nack(&refused, "bad: a, b").await;
    stream.nothing_more().await;
    let [client] = &world.clients.list()[..] else { panic!() };
    let seen: Vec<_> = client
        .types
        .iter()
        .map(|t| {
            let sent = t.sent.clone().map(|s| version_text(s.version));
            let acknowledged = t.acknowledged.map(|(version, _)| version_text(version));
            let refused = t.refused.clone().map(|r| (r.message, r.version.map(version_text)));
            (t.kind, t.wildcard, t.names.len(), t.resources, sent, acknowledged, refused)
        })
        .take(2)
        .collect();
    let bad = Some(("bad: a, b".to_string(), Some(refused.version.clone())));
    let expected = [
        (Cluster, true, 0, 2, Some(received.version.clone()), Some(received.version), None),
        (Endpoint, false, 2, 2, Some(refused.version), None, bad),
    ];
    assert_eq!(seen, expected);
}

/// Names and assignments that make answers of some size.
fn many(count: usize) -> (Vec<String>, Vec<Change>) {
    let names: Vec<String> = (0..count).map(|i| format!("outbound|80||service-{i}.example")).collect();
    let changes = names.iter().flat_map(|n| [cluster(n, "1"), assignment(n, 1)]).collect();
    (names, changes)
}

#[tokio::test]
async fn m1_answers_are_split_where_the_protocol_allows_it() {
    let (names, changes) = many(500);
    let world = World::with(|o| o.answer_bytes = 8_000, Readiness::Complete, changes).await;
    let subset: Vec<&str> = names.iter().take(400).map(|n| &**n).collect();
    let everything: Vec<&str> = names.iter().map(|n| &**n).collect();
    for wanted in [&subset[..], &everything] {
        let mut sotw = world.sotw().await;
        let mut delta = world.delta().await;
        sotw.ask(Endpoint, wanted).await;
        delta.ask(Endpoint, wanted, &[]).await;
        let mut seen: [BTreeSet<String>; 2] = Default::default();
        let mut last = Vec::new();
        while seen[0].len() < wanted.len() || seen[1].len() < wanted.len() {
            for (i, full) in [seen[0].len() == wanted.len(), seen[1].len() == wanted.len()].into_iter().enumerate() {
                if full {
                    continue;
                }
                let received = if i == 0 { sotw.next().await } else { delta.next().await };
                assert!(received.bytes < 8_300, "an answer of {} bytes", received.bytes);
                seen[i].extend(received.has.keys().cloned());
                last.push(received);
            }
        }
        assert!(last.len() > 10);
        sotw.nothing_more().await;
        delta.nothing_more().await;
    }
    let mut sotw = world.sotw().await;
    sotw.ask(Cluster, &[]).await;
    let received = sotw.next().await;
    assert!(received.bytes > 20_000 && received.has.len() == 500, "clusters cannot be split");
    let mut delta = world.delta().await;
    delta.ask(Cluster, &[], &[]).await;
    assert!(delta.next().await.bytes < 8_300);
}

#[tokio::test]
async fn m2_m3_thousands_of_names_are_asked_for_and_acknowledged() {
    let (names, changes) = many(5_000);
    let world = World::of(changes).await;
    let names: Vec<&str> = names.iter().map(|n| &**n).collect();
    let mut stream = world.sotw().await;
    stream.ask(Endpoint, &names).await;
    let received = stream.next().await;
    assert_eq!(received.has.len(), 5_000);
    for round in 2..12 {
        stream.ask_as(Endpoint, &names, "v", &received.nonce).await;
        world.change([assignment(names[77], round)]);
        stream.next().await.is(Endpoint, &[(names[77], &round.to_string())], &[]);
    }
}

#[tokio::test]
async fn who_may_see_nothing_is_refused_and_learns_no_reason() {
    let world = two().await;
    for (id, code) in [("nobody", Code::PermissionDenied), ("one-too-many", Code::ResourceExhausted)] {
        let mut stream = world.sotw().await;
        let mut request = sotw_request(Cluster, &[], "", "");
        request.node.as_mut().unwrap().id = id.into();
        stream.request(request).await;
        let status = stream.end().await;
        assert_eq!(status.code(), code, "{id}");
        assert!(!status.message().contains("nobody") && !status.message().contains('9'), "{}", status.message());
    }
    let mut allowed = world.sotw().await;
    allowed.ask(Cluster, &[]).await;
    allowed.next().await.is(Cluster, &[("a", "1"), ("b", "1")], &[]);
    world
        .eventually(|list| list.iter().any(|client| client.view.as_ref().is_some_and(|(view, _)| **view == *"fixed")))
        .await;
}

#[tokio::test]
async fn health_follows_readiness() {
    let world = World::with(|_| {}, Readiness::Waiting, vec![]).await;
    let started = std::time::Instant::now();
    while health(&world).await != NOT_SERVING {
        assert!(started.elapsed() < DEADLINE);
    }
    world.become_ready(Readiness::Partial, []);
    while health(&world).await != SERVING {
        assert!(started.elapsed() < DEADLINE);
    }
}

#[tokio::test]
async fn a_shutdown_ends_streams_with_unavailable_and_is_bounded() {
    let world = World::with(|o| o.drain = Duration::from_millis(100), Readiness::Complete, vec![]).await;
    let (mut sotw, mut delta) = (world.sotw().await, world.delta().await);
    sotw.ask(Cluster, &[]).await;
    sotw.next().await.is(Cluster, &[], &[]);
    world.shutdown.cancel();
    assert_eq!(sotw.end().await.code(), Code::Unavailable);
    assert_eq!(delta.end().await.code(), Code::Unavailable);
    tokio::time::timeout(Duration::from_secs(60), world.running).await.expect("it still runs").unwrap();
}

#[tokio::test]
async fn a_drain_ends_connections_one_after_the_other() {
    const CLIENTS: usize = 40;
    let drain = Duration::from_secs(4);
    let world = World::with(|o| o.drain = drain, Readiness::Complete, vec![]).await;
    let mut streams = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = world.sotw().await;
        stream.ask(Cluster, &[]).await;
        stream.next().await;
        streams.push(stream);
    }
    world.shutdown.cancel();
    let mut ends = tokio::task::JoinSet::new();
    for mut stream in streams {
        ends.spawn(async move {
            assert_eq!(stream.end().await.code(), Code::Unavailable);
            std::time::Instant::now()
        });
    }
    let mut at = ends.join_all().await;
    at.sort();
    // That all of them choose one quarter of the time does not happen; a busy machine only makes it longer.
    assert!(at[CLIENTS - 1] - at[0] >= drain / 4, "{:?}", at[CLIENTS - 1] - at[0]);
}

#[tokio::test]
async fn a_connection_of_age_ends_its_streams_with_unavailable() {
    let age = Some(Duration::from_millis(200));
    let world = World::with(|o| o.max_connection_age = age, Readiness::Complete, vec![]).await;
    let mut stream = world.sotw().await;
    stream.ask(Cluster, &[]).await;
    stream.next().await;
    assert_eq!(stream.end().await.code(), Code::Unavailable);
    world.eventually(|list| list.is_empty()).await;
}
