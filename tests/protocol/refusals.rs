//! What a client refuses is withheld from it; the rest goes on.

use crate::client::*;
use portolan::{
    pb::envoy::{config::core::v3::Node, service::discovery::v3::DiscoveryRequest},
    resource::Kind::*,
    xds::{Filter, Quarantined},
};
use std::{collections::BTreeMap, time::Duration};

async fn two() -> World {
    World::of(vec![cluster("a", "1"), cluster("b", "1"), assignment("a", 1), assignment("b", 1)]).await
}

/// A stream in state of the world that has acknowledged all clusters.
async fn sotw(world: &World) -> Sotw {
    let mut stream = world.sotw().await;
    stream.ask(Cluster, &[]).await;
    let received = stream.next().await;
    stream.ack(&received, &[]).await;
    stream
}

/// The first request for all clusters, of a node with that id.
fn first(node: &str, version: &str) -> DiscoveryRequest {
    let node = Some(Node { id: node.into(), ..Default::default() });
    DiscoveryRequest { node, ..sotw_request(Cluster, &[], version, "") }
}

/// The first answer to a new stream of a node with that id.
async fn answered(world: &World, node: &str) -> (Sotw, Received) {
    let mut stream = world.sotw().await;
    stream.request(first(node, "")).await;
    let received = stream.next().await;
    (stream, received)
}

/// Waits until the list of refused resources fulfils `is`.
async fn listed(world: &World, what: &str, is: impl Fn(&[Quarantined]) -> bool) {
    let started = std::time::Instant::now();
    loop {
        let list = world.quarantine.list();
        if is(&list) {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{what}: still {list:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_refused_by_name_has_its_former_body_in_state_of_the_world_and_the_rest_goes_on() {
    let world = two().await;
    let mut stream = sotw(&world).await;
    world.change([cluster("a", "2"), cluster("b", "2"), cluster("c", "1")]);
    let received = stream.next().await;
    received.is(Cluster, &[("a", "2"), ("b", "2"), ("c", "1")], &[]);
    stream.nack(&received, &[], "Error adding/updating cluster(s) a: bad, c: worse").await;
    let received = stream.next().await;
    received.is(Cluster, &[("a", "1"), ("b", "2")], &[]);
    stream.ack(&received, &[]).await;
    stream.nothing_more().await;
    let withheld = world.clients.list()[0].types[0].withheld.clone();
    assert_eq!(withheld.keys().map(|name| &**name).collect::<Vec<_>>(), ["a", "c"]);
    world.change([cluster("d", "1")]);
    let received = stream.next().await;
    received.is(Cluster, &[("a", "1"), ("b", "2"), ("d", "1")], &[]);
    stream.ack(&received, &[]).await;
    world.change([cluster("a", "3"), gone(Cluster, "c")]);
    let received = stream.next().await;
    received.is(Cluster, &[("a", "3"), ("b", "2"), ("d", "1")], &[]);
    stream.ack(&received, &[]).await;
    listed(&world, "nothing is withheld", <[_]>::is_empty).await;
    stream.nothing_more().await;
}

#[tokio::test]
async fn what_is_refused_is_not_sent_again_incrementally_and_the_rest_goes_on() {
    let world = two().await;
    let mut stream = world.delta().await;
    stream.ask(Cluster, &[], &[]).await;
    let received = stream.next().await;
    stream.ack(&received).await;
    world.change([cluster("a", "2"), cluster("b", "2"), cluster("c", "1")]);
    let received = stream.next().await;
    stream.nack(&received, "Error adding/updating cluster(s) a: bad").await;
    let received = stream.next().await;
    received.is(Cluster, &[("b", "2"), ("c", "1")], &[]);
    stream.ack(&received).await;
    stream.nothing_more().await;
    // What the client kept goes with the view's.
    world.change([gone(Cluster, "a")]);
    let received = stream.next().await;
    received.is(Cluster, &[], &["a"]);
    stream.ack(&received).await;
    listed(&world, "nothing is withheld", <[_]>::is_empty).await;
}

#[tokio::test]
async fn an_assignment_that_is_refused_leaves_the_former_one() {
    let world = two().await;
    let mut stream = world.sotw().await;
    stream.ask(Endpoint, &["a", "b"]).await;
    let received = stream.next().await;
    stream.ack(&received, &["a", "b"]).await;
    world.change([assignment("a", 2), assignment("b", 2)]);
    let received = stream.next().await;
    stream.nack(&received, &["a", "b"], "malformed IP address in 'a'").await;
    let received = stream.next().await;
    received.is(Endpoint, &[("b", "2")], &[]);
    stream.ack(&received, &["a", "b"]).await;
    stream.nothing_more().await;
}

#[tokio::test]
async fn what_a_client_does_not_name_is_found_by_halves_and_nothing_loops() {
    const COUNT: usize = 100;
    for bad in [0, 41, 99] {
        let names: Vec<String> = (0..COUNT).map(|i| format!("c{i:03}")).collect();
        let all = |value: &str| names.iter().map(|name| cluster(name, value)).collect::<Vec<_>>();
        let world = World::of(all("1")).await;
        let (mut sotw, mut delta) = (sotw(&world).await, world.delta().await);
        delta.ask(Cluster, &[], &[]).await;
        let received = delta.next().await;
        delta.ack(&received).await;
        world.change(all("2").into_iter().chain([cluster("new", "1")]));
        let is_bad = |received: &Received| received.has.get(&names[bad]).is_some_and(|value| value == "2");
        let (mut answers, mut has) = ([0, 0], [BTreeMap::new(), BTreeMap::new()]);
        for round in 0.. {
            let received = sotw.next().await;
            answers[0] += 1;
            match is_bad(&received) {
                true => sotw.nack(&received, &[], "no").await,
                false => sotw.ack(&received, &[]).await,
            }
            has[0].clone_from(&received.has);
            // Another change in the middle of it.
            if round == 3 {
                world.change([cluster("other", "1")]);
            }
            if has[0].len() == COUNT + 2 && has[0].values().filter(|value| *value == "2").count() == COUNT - 1 {
                break;
            }
            assert!(round < 20, "{has:?}");
        }
        let has_all = |has: &BTreeMap<String, String>| ["new", "other"].iter().all(|name| has.contains_key(*name));
        while !has_all(&has[1]) || has[1].values().filter(|value| *value == "2").count() < COUNT - 1 {
            let received = delta.next().await;
            answers[1] += 1;
            match is_bad(&received) {
                true => delta.nack(&received, "no").await,
                false => {
                    delta.ack(&received).await;
                    has[1].extend(received.has);
                }
            }
            assert!(answers[1] < 20, "{has:?}");
        }
        let found = |of: &[Quarantined]| of.len() == 1 && *of[0].item.name == *names[bad] && of[0].streams == 2;
        listed(&world, "who is meant", found).await;
        assert_eq!(has[0][&names[bad]], "1", "what was accepted before stays");
        sotw.nothing_more().await;
        delta.nothing_more().await;
    }
}

#[tokio::test]
async fn what_several_clients_refuse_others_are_spared_until_it_changes() {
    let world = two().await;
    let mut streams = Vec::new();
    for node in ["one", "two", "three"] {
        let (stream, received) = answered(&world, node).await;
        stream.ack(&received, &[]).await;
        streams.push(stream);
    }
    world.change([cluster("a", "2")]);
    for (at, stream) in streams.iter_mut().enumerate() {
        let received = stream.next().await;
        received.is(Cluster, &[("a", "2"), ("b", "1")], &[]);
        stream.nack(&received, &[], "a: no").await;
        listed(&world, "one more", |list| list[..].first().is_some_and(|entry| entry.streams == at + 1)).await;
    }
    assert!(world.quarantine.list()[0].for_all);
    let mut delta = world.delta().await;
    delta.ask(Cluster, &[], &[]).await;
    let received = delta.next().await;
    received.is(Cluster, &[("b", "1")], &[]);
    delta.ack(&received).await;
    world.change([cluster("a", "3")]);
    delta.next().await.is(Cluster, &[("a", "3")], &[]);
    for stream in &mut streams {
        stream.next().await.is(Cluster, &[("a", "3"), ("b", "1")], &[]);
    }
    listed(&world, "nothing is withheld", <[_]>::is_empty).await;
}

#[tokio::test]
async fn who_has_what_others_refuse_keeps_it() {
    let world = two().await;
    let mut taker = sotw(&world).await;
    let mut streams = Vec::new();
    for node in ["one", "two", "three"] {
        let stream = world.sotw().await;
        stream.request(first(node, "")).await;
        streams.push(stream);
    }
    for stream in &mut streams {
        let received = stream.next().await;
        stream.nack(&received, &[], "a: no").await;
        stream.next().await.is(Cluster, &[("b", "1")], &[]);
    }
    listed(&world, "withheld from all", |list| list.iter().any(|entry| entry.for_all)).await;
    world.change([cluster("b", "2")]);
    taker.next().await.is(Cluster, &[("a", "1"), ("b", "2")], &[]);
}

#[tokio::test]
async fn who_comes_back_is_not_tried_again_and_has_the_former_body() {
    let world = two().await;
    let mut stream = sotw(&world).await;
    world.change([cluster("a", "2"), cluster("b", "2")]);
    let received = stream.next().await;
    stream.nack(&received, &[], "a: no").await;
    let received = stream.next().await;
    received.is(Cluster, &[("a", "1"), ("b", "2")], &[]);
    stream.ack(&received, &[]).await;
    stream.nothing_more().await;
    drop(stream);
    listed(&world, "it has left", |list| list.iter().all(|entry| entry.streams == 0)).await;
    // What it has is what it would be sent: nothing comes.
    let mut stream = world.sotw().await;
    stream.request(first("test", &received.version)).await;
    stream.nothing_more().await;
    world.change([cluster("c", "1")]);
    stream.next().await.is(Cluster, &[("a", "1"), ("b", "2"), ("c", "1")], &[]);
    // Of what another client refuses it knows nothing.
    let (_other, received) = answered(&world, "other").await;
    received.is(Cluster, &[("a", "2"), ("b", "2"), ("c", "1")], &[]);
}

#[tokio::test]
async fn what_is_released_is_sent_again_and_withheld_again_if_it_is_refused_again() {
    let world = two().await;
    let (mut stream, mut delta) = (sotw(&world).await, world.delta().await);
    delta.ask(Cluster, &[], &[]).await;
    let received = delta.next().await;
    delta.ack(&received).await;
    world.change([cluster("a", "2")]);
    let received = stream.next().await;
    stream.nack(&received, &[], "a: no").await;
    let received = delta.next().await;
    delta.nack(&received, "a: no").await;
    listed(&world, "both", |list| list.iter().any(|entry| entry.streams == 2)).await;
    let of = |name: &str| Filter { kind: Some(Cluster), name: Some(name.into()) };
    assert_eq!(world.quarantine.release(&of("b")), 0);
    stream.nothing_more().await;
    assert_eq!(world.quarantine.release(&of("a")), 1);
    let received = stream.next().await;
    received.is(Cluster, &[("a", "2"), ("b", "1")], &[]);
    stream.nack(&received, &[], "a: still not").await;
    let received = delta.next().await;
    received.is(Cluster, &[("a", "2")], &[]);
    delta.ack(&received).await;
    listed(&world, "one of them", |list| list.iter().any(|entry| entry.streams == 1)).await;
    assert_eq!(&*world.quarantine.list()[0].message, "a: still not");
    stream.nothing_more().await;
    delta.nothing_more().await;
}

#[tokio::test]
async fn a_client_that_refuses_everything_costs_a_few_turns_and_no_storm() {
    let names: Vec<String> = (0..300).map(|i| format!("c{i:03}")).collect();
    let world = World::of(names.iter().map(|name| cluster(name, "1")).collect()).await;
    let mut delta = world.delta().await;
    delta.ask(Cluster, &[], &[]).await;
    let (mut answers, mut refused) = (1, vec![delta.next().await]);
    while !refused.is_empty() {
        for received in refused.drain(..) {
            delta.nack(&received, "no").await;
        }
        // Behind the refusals, so that what comes of them comes first.
        delta.ask(Listener, &[&format!("fence-{answers}")], &[]).await;
        loop {
            let received = delta.next().await;
            if received.kind == Listener {
                break;
            }
            refused.push(received);
            answers += 1;
        }
        assert!(answers <= 100, "a storm");
    }
    assert!(answers > 20, "it gave up after {answers}");
}

#[tokio::test]
async fn what_all_are_spared_ends_though_all_who_refused_it_went_before_it_changed() {
    let world = two().await;
    let mut streams = Vec::new();
    for node in ["one", "two", "three"] {
        let (mut stream, received) = answered(&world, node).await;
        stream.nack(&received, &[], "a: no").await;
        stream.next().await.is(Cluster, &[("b", "1")], &[]);
        streams.push(stream);
    }
    listed(&world, "all are spared it", |list| matches!(list, [one] if one.for_all)).await;
    drop(streams);
    listed(&world, "they have gone", |list| matches!(list, [one] if one.streams == 0)).await;
    world.change([cluster("a", "2")]);
    let (_stream, received) = answered(&world, "four").await;
    received.is(Cluster, &[("a", "2"), ("b", "1")], &[]);
    listed(&world, "it is served no more", <[_]>::is_empty).await;
}
