//! Rules for the incremental variant alone.

use crate::client::*;
use portolan::resource::{Kind::*, Readiness, version_text};

async fn two() -> World {
    World::of(vec![cluster("a", "1"), cluster("b", "1"), assignment("a", 1), assignment("b", 1)]).await
}

/// The version that a client has of what is served now.
fn version(world: &World, kind: portolan::resource::Kind, name: &str) -> String {
    version_text(world.view().get(kind).get(name).unwrap().version())
}

#[tokio::test]
async fn d01_d15_no_names_first_means_all_and_stays_when_names_are_added() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Cluster, &[], &[]).await;
    let received = stream.next().await;
    received.is(Cluster, &[("a", "1"), ("b", "1")], &[]);
    stream.ack(&received).await;
    stream.ask(Cluster, &["a"], &[]).await;
    let received = stream.next().await;
    received.is(Cluster, &[("a", "1")], &[]);
    stream.ack(&received).await;
    world.change([cluster("c", "1")]);
    stream.next().await.is(Cluster, &[("c", "1")], &[]);
}

#[tokio::test]
async fn d02_dropping_the_star_keeps_the_names() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Cluster, &["*", "a"], &[]).await;
    let received = stream.next().await;
    received.is(Cluster, &[("a", "1"), ("b", "1")], &[]);
    stream.ack(&received).await;
    stream.ask(Cluster, &[], &["*"]).await;
    stream.nothing_more().await;
    world.change([cluster("b", "2")]);
    stream.nothing_more().await;
    world.change([cluster("a", "2")]);
    stream.next().await.is(Cluster, &[("a", "2")], &[]);
}

#[tokio::test]
async fn d03_d20_nothing_answers_an_acknowledgement_or_equal_content() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Cluster, &[], &[]).await;
    let received = stream.next().await;
    stream.ack(&received).await;
    stream.nothing_more().await;
    assert!(world.view().next(services(Readiness::Complete), [cluster("a", "1")]).is_none());
}

#[tokio::test]
async fn d04_d05_changes_and_removals_and_what_comes_back() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Cluster, &[], &[]).await;
    let received = stream.next().await;
    stream.ack(&received).await;
    world.change([cluster("a", "2")]);
    let received = stream.next().await;
    received.is(Cluster, &[("a", "2")], &[]);
    stream.ack(&received).await;
    world.change([gone(Cluster, "a")]);
    let received = stream.next().await;
    received.is(Cluster, &[], &["a"]);
    stream.ack(&received).await;
    world.change([cluster("a", "2")]);
    stream.next().await.is(Cluster, &[("a", "2")], &[]);
}

#[tokio::test]
async fn d06_d07_a_missing_name_is_told_as_removed_and_sent_when_it_appears() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Endpoint, &["a", "later"], &[]).await;
    stream.next().await.is(Endpoint, &[("a", "1")], &[]);
    let received = stream.next().await;
    received.is(Endpoint, &[], &["later"]);
    stream.ack(&received).await;
    world.change([assignment("later", 1)]);
    stream.next().await.is(Endpoint, &[("later", "1")], &[]);
}

#[tokio::test]
async fn d08_subscribing_again_is_answered_again() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Endpoint, &["a"], &[]).await;
    stream.next().await;
    stream.ask(Endpoint, &["a"], &[]).await;
    stream.next().await.is(Endpoint, &[("a", "1")], &[]);
}

#[tokio::test]
async fn d09_dropping_names_is_not_answered_even_unknown_ones() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Endpoint, &["a"], &[]).await;
    stream.next().await;
    stream.ask(Endpoint, &[], &["a", "phantom"]).await;
    stream.nothing_more().await;
    world.change([assignment("a", 2)]);
    stream.nothing_more().await;
}

#[tokio::test]
async fn d10_a_client_that_comes_back_gets_only_what_differs() {
    let world = two().await;
    let mut stream = world.delta().await;
    let a = version(&world, Cluster, "a");
    stream.resume(Cluster, &[], &[("a", &a), ("b", "old"), ("gone", "1")]).await;
    stream.next().await.is(Cluster, &[("b", "1")], &[]);
    stream.next().await.is(Cluster, &[], &["gone"]);
    stream.nothing_more().await;
}

#[tokio::test]
async fn d11_a_wildcard_client_that_has_all_gets_one_empty_answer() {
    let world = two().await;
    let mut stream = world.delta().await;
    let has = |kind| ["a", "b"].map(|n| (n, version(&world, kind, n)));
    for (kind, names) in [(Cluster, &[][..]), (Endpoint, &["a", "b"][..])] {
        let has = has(kind);
        let has: Vec<_> = has.iter().map(|(n, v)| (*n, &**v)).collect();
        stream.resume(kind, names, &has).await;
    }
    stream.next().await.is(Cluster, &[], &[]);
    stream.nothing_more().await;
}

#[tokio::test]
async fn d12_a_dropped_name_that_the_star_covers_is_told_again() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Cluster, &["*", "a"], &[]).await;
    stream.next().await;
    stream.ask(Cluster, &[], &["a"]).await;
    stream.next().await.is(Cluster, &[("a", "1")], &[]);
}

#[tokio::test]
async fn d13_a_wrong_nonce_voids_no_subscription() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Endpoint, &["a"], &[]).await;
    stream.next().await;
    for (nonce, name) in [("999", "b"), ("no number", "a")] {
        let mut request = delta_request(Endpoint, &[name], &[]);
        request.response_nonce = nonce.into();
        stream.request(request).await;
        stream.next().await.is(Endpoint, &[(name, "1")], &[]);
    }
}

#[tokio::test]
async fn d14_g2_what_is_refused_is_not_sent_again_but_the_next_change_is() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Cluster, &["a"], &[]).await;
    let received = stream.next().await;
    stream.nack(&received, "no").await;
    stream.nothing_more().await;
    world.change([cluster("a", "2")]);
    stream.next().await.is(Cluster, &[("a", "2")], &[]);
}

#[tokio::test]
async fn d16_changed_cluster_gets_its_assignment_again_without_any_request() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Cluster, &[], &[]).await;
    let received = stream.next().await;
    stream.ack(&received).await;
    stream.ask(Endpoint, &["a", "b"], &[]).await;
    stream.next().await; // not acknowledged
    world.change([cluster("a", "2")]);
    stream.next().await.is(Cluster, &[("a", "2")], &[]);
    stream.next().await.is(Endpoint, &[("a", "1")], &[]);
    stream.nothing_more().await;
}

#[tokio::test]
async fn d16_a_cluster_that_changed_while_a_client_was_away_gets_its_assignment() {
    let world = two().await;
    let (b, ea, eb) = (version(&world, Cluster, "b"), version(&world, Endpoint, "a"), version(&world, Endpoint, "b"));
    let mut stream = world.delta().await;
    stream.resume(Cluster, &[], &[("a", "old"), ("b", &b)]).await;
    stream.resume(Endpoint, &["a", "b"], &[("a", &ea), ("b", &eb)]).await;
    stream.next().await.is(Cluster, &[("a", "1")], &[]);
    stream.next().await.is(Endpoint, &[("a", "1")], &[]);
    stream.nothing_more().await;
}

#[tokio::test]
async fn d17_endpoints_do_not_wait_for_the_acknowledgement_of_clusters() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Cluster, &[], &[]).await;
    stream.next().await; // not acknowledged
    stream.ask(Endpoint, &["a"], &[]).await;
    let received = stream.next().await;
    stream.ack(&received).await;
    world.change([assignment("a", 2)]);
    stream.next().await.is(Endpoint, &[("a", "2")], &[]);
}

#[tokio::test]
async fn d18_g8_a_missing_acknowledgement_holds_changes_back_only_for_a_while() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Cluster, &[], &[]).await;
    stream.next().await; // never acknowledged
    world.change([cluster("a", "2")]);
    stream.next().await.is(Cluster, &[("a", "2")], &[]);
}

#[tokio::test]
async fn what_a_client_has_and_we_lack_is_removed_only_once_absence_is_certain() {
    let world = World::with(|_| {}, Readiness::Partial, vec![cluster("a", "1")]).await;
    let mut stream = world.delta().await;
    stream.resume(Cluster, &[], &[("a", "old"), ("b", "old")]).await;
    let received = stream.next().await;
    received.is(Cluster, &[("a", "1")], &[]);
    stream.ack(&received).await;
    world.become_ready(Readiness::Complete, []);
    stream.next().await.is(Cluster, &[], &["b"]);
}

/// A configuration of routes may lack a host that is not known yet.
#[tokio::test]
async fn a_client_that_has_routes_keeps_them_until_absence_is_certain() {
    let world = World::with(|_| {}, Readiness::Partial, vec![route("r", "1"), listener("l", "1")]).await;
    let mut back = world.delta().await;
    back.resume(Route, &["r"], &[("r", "old")]).await;
    back.resume(Listener, &[], &[("l", "old")]).await;
    let mut new = world.delta().await;
    new.ask(Route, &["r"], &[]).await;
    new.next().await.is(Route, &[("r", "1")], &[]);
    world.become_ready(Readiness::Complete, [route("r", "2")]);
    back.next().await.is(Listener, &[("l", "1")], &[]);
    back.next().await.is(Route, &[("r", "2")], &[]);
}

#[tokio::test]
async fn s22_a_method_of_one_type_needs_no_type_url() {
    let world = two().await;
    for (path, kind) in [
        ("/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters", Cluster),
        ("/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints", Endpoint),
    ] {
        let mut stream = Delta::open(world.channel().await, path).await;
        let mut request = delta_request(kind, &["a"], &[]);
        request.type_url.clear();
        stream.request(request).await;
        stream.next().await.is(kind, &[("a", "1")], &[]);
    }
}
