//! Rules for state of the world alone.

use crate::client::*;
use portolan::resource::{Kind::*, Readiness, version_text};

async fn two() -> World {
    World::of(vec![cluster("a", "1"), cluster("b", "1"), assignment("a", 1), assignment("b", 1)]).await
}

#[tokio::test]
async fn s01_no_names_first_means_all_clusters_and_listeners() {
    let world = World::of(vec![cluster("a", "1"), listener("l", "1"), assignment("a", 1), route("r", "1")]).await;
    let mut stream = world.sotw().await;
    for (kind, name) in [(Cluster, "a"), (Listener, "l")] {
        stream.ask(kind, &[]).await;
        stream.next().await.is(kind, &[(name, "1")], &[]);
    }
    let mut stream = world.sotw().await;
    stream.ask(Endpoint, &[]).await;
    stream.ask(Route, &[]).await;
    stream.nothing_more().await;
}

#[tokio::test]
async fn s02_a_star_means_all_and_names_beside_it_change_nothing() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Cluster, &["*", "b"]).await;
    stream.next().await.is(Cluster, &[("a", "1"), ("b", "1")], &[]);
}

#[tokio::test]
async fn s03_an_acknowledgement_is_not_answered_and_needs_no_node() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Cluster, &[]).await;
    let received = stream.next().await;
    let mut ack = sotw_request(Cluster, &[], &received.version, &received.nonce);
    ack.node = None;
    stream.request(ack).await;
    stream.nothing_more().await;
    let node = world.clients.list()[0].node.clone();
    assert_eq!((&*node.id, &*node.cluster), ("test", "edge"));
}

#[tokio::test]
async fn s04_a_name_asked_for_twice_is_answered_once() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Endpoint, &["a", "a"]).await;
    stream.next().await.is(Endpoint, &[("a", "1")], &[]);
}

#[tokio::test]
async fn s05_only_changed_assignments_are_sent() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Endpoint, &["a", "b"]).await;
    let received = stream.next().await;
    stream.ack(&received, &["a", "b"]).await;
    world.change([assignment("b", 2)]);
    stream.next().await.is(Endpoint, &[("b", "2")], &[]);
}

#[tokio::test]
async fn s06_s21_clusters_are_sent_whole_and_what_is_absent_has_gone() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Cluster, &[]).await;
    let received = stream.next().await;
    stream.ack(&received, &[]).await;
    world.change([cluster("b", "2")]);
    let received = stream.next().await;
    received.is(Cluster, &[("a", "1"), ("b", "2")], &[]);
    stream.ack(&received, &[]).await;
    world.change([gone(Cluster, "a")]);
    let received = stream.next().await;
    received.is(Cluster, &[("b", "2")], &[]);
    stream.ack(&received, &[]).await;
    world.change([gone(Cluster, "b")]);
    stream.next().await.is(Cluster, &[], &[]);
}

#[tokio::test]
async fn s07_g2_what_is_refused_is_not_sent_again_but_the_next_change_is() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Cluster, &[]).await;
    let received = stream.next().await;
    stream.nack(&received, &[], "bad cluster a").await;
    stream.next().await.is(Cluster, &[("b", "1")], &[]);
    stream.nothing_more().await;
    let refused = world.clients.list()[0].types[0].refused.clone().unwrap();
    assert_eq!((&*refused.message, refused.version.map(version_text)), ("bad cluster a", Some(received.version)));
    world.change([cluster("a", "2")]);
    stream.next().await.is(Cluster, &[("a", "2"), ("b", "1")], &[]);
}

#[tokio::test]
async fn s08_added_names_are_answered_though_nothing_changed() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Endpoint, &["a"]).await;
    let received = stream.next().await;
    stream.ack(&received, &["a"]).await;
    stream.ask_as(Endpoint, &["a", "b"], &received.version, &received.nonce).await;
    stream.next().await.is(Endpoint, &[("b", "1")], &[]);
}

#[tokio::test]
async fn s09_what_was_dropped_and_is_wanted_again_is_sent_again() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Endpoint, &["a", "b"]).await;
    let received = stream.next().await;
    stream.ack(&received, &["b"]).await;
    stream.ack(&received, &["a", "b"]).await;
    stream.next().await.is(Endpoint, &[("a", "1")], &[]);
}

#[tokio::test]
async fn s10_what_was_dropped_is_not_sent() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Endpoint, &["a", "b"]).await;
    let received = stream.next().await;
    stream.ack(&received, &["b"]).await;
    stream.nothing_more().await;
    world.change([assignment("a", 2)]);
    stream.nothing_more().await;
    world.change([assignment("b", 2)]);
    stream.next().await.is(Endpoint, &[("b", "2")], &[]);
}

#[tokio::test]
async fn s11_a_missing_assignment_is_answered_empty_and_sent_when_it_appears() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Endpoint, &["later"]).await;
    let received = stream.next().await;
    received.is(Endpoint, &[("later", "-")], &[]);
    stream.ack(&received, &["later"]).await;
    world.change([assignment("later", 7)]);
    stream.next().await.is(Endpoint, &[("later", "7")], &[]);
}

#[tokio::test]
async fn s11_an_assignment_that_goes_is_sent_empty() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Endpoint, &["a", "b"]).await;
    let received = stream.next().await;
    stream.ack(&received, &["a", "b"]).await;
    world.change([gone(Endpoint, "a")]);
    stream.next().await.is(Endpoint, &[("a", "-")], &[]);
}

#[tokio::test]
async fn s11_a_missing_assignment_is_answered_only_once_absence_is_certain() {
    let world = World::with(|_| {}, Readiness::Partial, vec![assignment("a", 1)]).await;
    let mut stream = world.sotw().await;
    stream.ask(Endpoint, &["a", "b"]).await;
    let received = stream.next().await;
    received.is(Endpoint, &[("a", "1")], &[]);
    stream.ack(&received, &["a", "b"]).await;
    world.become_ready(Readiness::Complete, []);
    stream.next().await.is(Endpoint, &[("b", "-")], &[]);
}

#[tokio::test]
async fn s12_the_names_of_a_stale_request_count() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Endpoint, &["a"]).await;
    let first = stream.next().await;
    stream.ack(&first, &["a"]).await;
    world.change([assignment("a", 2)]);
    stream.next().await.is(Endpoint, &[("a", "2")], &[]);
    stream.ack(&first, &["a"]).await; // stale, and adds nothing
    stream.nothing_more().await;
    stream.ack(&first, &["a", "b"]).await; // stale, and adds a name
    stream.next().await.is(Endpoint, &[("b", "1")], &[]);
}

#[tokio::test]
async fn s13_no_names_after_some_means_none() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Cluster, &["a"]).await;
    let received = stream.next().await;
    received.is(Cluster, &[("a", "1")], &[]);
    stream.ack(&received, &[]).await;
    stream.nothing_more().await;
    world.change([cluster("a", "2"), cluster("b", "2")]);
    stream.nothing_more().await;
}

#[tokio::test]
async fn s14_changed_cluster_gets_its_assignment_again_without_an_acknowledgement() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Cluster, &[]).await;
    let clusters = stream.next().await;
    stream.ack(&clusters, &[]).await;
    stream.ask(Endpoint, &["a", "b"]).await;
    stream.next().await.is(Endpoint, &[("a", "1"), ("b", "1")], &[]); // not acknowledged
    world.change([cluster("a", "2")]);
    stream.next().await.is(Cluster, &[("a", "2"), ("b", "1")], &[]);
    stream.next().await.is(Endpoint, &[("a", "1")], &[]);
    stream.nothing_more().await;
}

#[tokio::test]
async fn s14_on_a_first_connect_each_assignment_comes_once() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Cluster, &[]).await;
    let clusters = stream.next().await;
    stream.ask(Endpoint, &["a", "b"]).await;
    let endpoints = stream.next().await;
    endpoints.is(Endpoint, &[("a", "1"), ("b", "1")], &[]);
    stream.ack(&clusters, &[]).await;
    stream.ack(&endpoints, &["a", "b"]).await;
    stream.nothing_more().await;
    world.change([cluster("c", "1"), assignment("c", 1)]);
    stream.next().await.is(Cluster, &[("a", "1"), ("b", "1"), ("c", "1")], &[]);
    stream.ack(&endpoints, &["a", "b", "c"]).await;
    stream.next().await.is(Endpoint, &[("c", "1")], &[]);
    stream.nothing_more().await;
}

#[tokio::test]
async fn s15_clusters_and_endpoints_do_not_wait_for_each_other() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Cluster, &[]).await;
    stream.next().await; // not acknowledged
    stream.ask(Endpoint, &["a"]).await;
    let received = stream.next().await;
    stream.ack(&received, &["a"]).await;
    world.change([assignment("a", 2)]);
    stream.next().await.is(Endpoint, &[("a", "2")], &[]);
}

#[tokio::test]
async fn s18_after_a_reconnect_known_clusters_are_skipped_and_endpoints_answered() {
    let world = two().await;
    let version = world.view().get(Cluster).version();
    let mut stream = world.sotw().await;
    stream.ask_as(Cluster, &[], &version, "").await;
    stream.ask_as(Endpoint, &["a"], &world.view().get(Endpoint).version(), "").await;
    stream.next().await.is(Endpoint, &[("a", "1")], &[]);
    world.change([cluster("a", "2")]);
    stream.next().await.is(Cluster, &[("a", "2"), ("b", "1")], &[]);
    let mut stream = world.sotw().await;
    stream.ask_as(Cluster, &[], &version, "").await;
    stream.next().await.is(Cluster, &[("a", "2"), ("b", "1")], &[]);
}

#[tokio::test]
async fn s19_g7_changes_that_come_while_an_answer_is_in_flight_go_together() {
    let world = World::with(|o| o.ack_patience = DEADLINE * 9, Readiness::Complete, vec![cluster("a", "1")]).await;
    let mut stream = world.sotw().await;
    stream.ask(Cluster, &[]).await;
    let received = stream.next().await;
    for value in ["2", "3", "4"] {
        world.change([cluster("a", value)]);
        stream.nothing_more().await;
    }
    stream.ack(&received, &[]).await;
    stream.next().await.is(Cluster, &[("a", "4")], &[]);
    stream.nothing_more().await;
}

#[tokio::test]
async fn s22_a_method_of_one_type_needs_no_type_url() {
    let world = World::of(vec![cluster("a", "1"), assignment("a", 1), listener("l", "1"), route("r", "1")]).await;
    for (path, kind, name) in [
        ("/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters", Cluster, "a"),
        ("/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints", Endpoint, "a"),
        ("/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners", Listener, "l"),
        ("/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes", Route, "r"),
    ] {
        let mut stream = Sotw::open(world.channel().await, path).await;
        let mut request = sotw_request(kind, &[name], "", "");
        request.type_url.clear();
        stream.request(request).await;
        stream.next().await.is(kind, &[(name, "1")], &[]);
    }
}

#[tokio::test]
async fn a_client_that_has_something_waits_until_absence_is_certain() {
    let world = World::with(|_| {}, Readiness::Partial, vec![cluster("a", "1")]).await;
    let mut back = world.sotw().await;
    back.ask_as(Cluster, &[], "0123456789abcdef", "").await;
    back.nothing_more().await;
    let mut new = world.sotw().await;
    new.ask(Cluster, &[]).await;
    new.next().await.is(Cluster, &[("a", "1")], &[]);
    world.become_ready(Readiness::Complete, []);
    back.next().await.is(Cluster, &[("a", "1")], &[]);
}

/// A configuration of routes may lack a host that is not known yet.
#[tokio::test]
async fn a_client_that_has_routes_keeps_them_until_absence_is_certain() {
    let world = World::with(|_| {}, Readiness::Partial, vec![route("r", "1"), listener("l", "1")]).await;
    let mut back = world.sotw().await;
    back.ask_as(Route, &["r"], "0123456789abcdef", "").await;
    back.ask_as(Listener, &[], "0123456789abcdef", "").await;
    let mut new = world.sotw().await;
    new.ask(Route, &["r"]).await;
    new.next().await.is(Route, &[("r", "1")], &[]);
    world.become_ready(Readiness::Complete, [route("r", "2")]);
    back.next().await.is(Listener, &[("l", "1")], &[]);
    back.next().await.is(Route, &[("r", "2")], &[]);
}

#[tokio::test]
async fn a_client_that_has_assignments_is_sent_what_there_is_of_them_for_absence_removes_none() {
    let changes = vec![cluster("a", "1"), assignment("a", 1)];
    let world = World::with(|_| {}, Readiness::Partial, changes).await;
    let mut back = world.sotw().await;
    back.ask_as(Cluster, &[], "0123456789abcdef", "").await;
    back.ask_as(Endpoint, &["a", "late"], "0123456789abcdef", "").await;
    let sent = back.next().await;
    sent.is(Endpoint, &[("a", "1")], &[]);
    back.ack(&sent, &["a", "late"]).await;
    world.change([assignment("a", 2)]);
    let sent = back.next().await;
    sent.is(Endpoint, &[("a", "2")], &[]);
    back.ack(&sent, &["a", "late"]).await;
    back.nothing_more().await;
    world.become_ready(Readiness::Complete, []);
    back.next().await.is(Cluster, &[("a", "1")], &[]);
    back.next().await.is(Endpoint, &[("a", "2")], &[]); // behind its cluster
    back.next().await.is(Endpoint, &[("late", "-")], &[]); // now it is certain that this one is not there
}
