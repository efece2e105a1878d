//! Istiods, and others in their place, that do not do what they should.

use crate::{
    client::{World, sotw_request},
    istiod::*,
};
use portolan::resource::{Kind, Readiness};
use std::time::{Duration, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;

#[tokio::test]
async fn an_istiod_that_never_acknowledges_gets_the_newest_list_after_2_s_and_disturbs_no_other() {
    let world = world(&[("ns/a", "1")]).await;
    let mut mute = Istiod::with(world.address, node(Some("api"), None), vec![V1.into()]).await;
    let mut other = Istiod::connect(world.address).await;
    other.synced().await;
    mute.receive().await;
    let changed = Instant::now();
    for value in ["2", "3"] {
        world.change([entry("ns/a", value)]);
        other.next().await;
        assert_eq!(values(&other), [("ns/a", value)]);
    }
    let list = mute.receive().await;
    assert!(changed.elapsed() >= MS(1_900), "{:?}", changed.elapsed());
    mute.accept(&list).await;
    assert_eq!(values(&mute), [("ns/a", "3")]);
}

#[tokio::test]
async fn an_acknowledgement_of_something_else_is_none() {
    let world = world(&[("ns/a", "1")]).await;
    let mut istiod = Istiod::with(world.address, node(Some("api"), None), vec![V1.into()]).await;
    let list = istiod.receive().await;
    for nonce in ["", "0", "99", "2026-11-20 17:25:59 m=+0.45", "-1", "18446744073709551616"] {
        istiod.acknowledge(&list, nonce).await;
    }
    world.change([entry("ns/a", "2")]);
    assert!(tokio::time::timeout(MS(300), istiod.receive()).await.is_err(), "the first list is still in flight");
    istiod.accept(&list).await;
    istiod.next().await;
    assert_eq!(values(&istiod), [("ns/a", "2")]);
    istiod.acknowledge(&list, &list.nonce).await;
    assert_eq!(istiod.listen(MS(300)).await, [], "nor does an old one make an answer");
}

#[tokio::test]
async fn one_that_leaves_within_an_answer_or_comes_again_and_again_costs_nothing_that_stays() {
    let many: Vec<_> = (0..2_000).map(|i| entry(&format!("ns/service-{i}"), &"x".repeat(1_000))).collect();
    let world = World::of(many).await;
    for read in [false, true] {
        for _ in 0..30 {
            let mut istiod = Istiod::connect(world.address).await;
            if read {
                istiod.receive().await;
            }
        }
    }
    world.eventually(|clients| clients.is_empty()).await;
    let mut istiod = Istiod::connect(world.address).await;
    assert_eq!(istiod.synced().await.store.len(), 2_000);
}

#[tokio::test]
async fn a_stream_without_generator_is_known_by_the_types_it_asks_for() {
    let world = world(&[("ns/a", "1")]).await;
    let mut istiod = Istiod::with(world.address, node(None, None), TYPES.map(String::from).to_vec()).await;
    assert_eq!(values(istiod.synced().await), [("ns/a", "1")]);
    let mut nameless = Istiod::with(world.address, Default::default(), vec![V1.into()]).await;
    nameless.next().await;
    assert_eq!(values(&nameless), [("ns/a", "1")]);
}

#[tokio::test]
async fn an_envoys_stream_is_no_istiods() {
    let world = world(&[("ns/a", "1")]).await;
    let mut envoy = world.sotw().await;
    envoy.ask(Kind::Cluster, &[]).await;
    envoy.next().await.is(Kind::Cluster, &[], &[]);
    envoy.request(first_request(V1, None)).await;
    envoy.silence().await;
}

#[tokio::test]
async fn two_istiods_with_one_node_id_are_two() {
    let world = world(&[("ns/a", "1")]).await;
    let (mut one, mut two) = (Istiod::connect(world.address).await, Istiod::connect(world.address).await);
    one.synced().await;
    two.synced().await;
    world.change([entry("ns/a", "2")]);
    one.until(|store| store["ns/a"].entry.addresses == ["2"]).await;
    drop(one);
    two.until(|store| store["ns/a"].entry.addresses == ["2"]).await;
    world.change([entry("ns/a", "3")]);
    two.until(|store| store["ns/a"].entry.addresses == ["3"]).await;
}

#[tokio::test]
async fn istiods_of_different_releases_are_served_side_by_side() {
    let world = World::with(|_| {}, Readiness::Waiting, vec![entry("ns/a", "1")]).await;
    let mut old = Istiod::with(world.address, node(Some("api"), None), old_types()).await;
    let mut new = Istiod::connect(world.address).await;
    old.listen(MS(200)).await;
    new.listen(MS(200)).await;
    assert_eq!((old.waits_for(), new.waits_for()), (vec![V1ALPHA3], vec![V1]));
    world.become_ready(Readiness::Complete, []);
    assert_eq!(values(old.synced().await), [("ns/a", "1")]);
    assert_eq!(values(new.synced().await), [("ns/a", "1")]);
}

#[tokio::test]
async fn too_many_types_or_too_long_ones_end_the_stream() {
    let world = world(&[("ns/a", "1")]).await;
    let many = (0..65).map(|i| format!("group/v1/Kind{i}")).collect();
    for (types, reason) in [(many, "64 types"), (vec![format!("group/v1/{}", "x".repeat(300))], "at most 256")] {
        let mut istiod = Istiod::with(world.address, node(Some("api"), None), types).await;
        let status = loop {
            match istiod.result().await {
                Ok(answer) => assert!(answer.is_some(), "it ended without a reason"),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().contains(reason), "{}", status.message());
    }
    let mut istiod = Istiod::with(world.address, node(Some("api"), None), vec![String::new()]).await;
    assert_eq!(istiod.result().await.unwrap_err().code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn whatever_else_such_a_stream_asks_for_is_answered_with_nothing() {
    let world = world(&[("ns/a", "1")]).await;
    let mut istiod = Istiod::with(world.address, node(Some("api"), None), vec![V1.into()]).await;
    istiod.next().await;
    for type_url in [Kind::Cluster.type_url(), "my.group/v7/Thing", "no-slash"] {
        istiod.say(first_request(type_url, None)).await;
        let answer = istiod.next().await;
        assert_eq!((&*answer.type_url, answer.resources.len()), (type_url, 0));
    }
    istiod.say(sotw_request(Kind::Cluster, &["a"], "", "5")).await;
    world.eventually(|clients| clients[0].types.len() == 1).await;
    assert_eq!(istiod.listen(MS(200)).await, []);
}
