//! The rules that the stream itself keeps. Those that the entries keep are in `served`.

use crate::{
    client::{ADS_DELTA, Delta, World, delta_request, gone},
    istiod::*,
};
use portolan::{
    pb::google::rpc::Status,
    resource::{Kind, Readiness},
};
use std::{collections::BTreeMap, time::Duration};

const TWO: [(&str, &str); 2] = [("ns/a", "1"), ("ns/b", "1")];

#[tokio::test]
async fn rule_01_it_is_served_in_state_of_the_world_and_incremental_is_refused() {
    let world = world(&TWO).await;
    let mut istiod = Istiod::connect(world.address).await;
    assert_eq!(values(istiod.synced().await), TWO);
    let mut delta = Delta::open(world.channel().await, ADS_DELTA).await;
    let mut request = delta_request(Kind::ServiceEntry, &[], &[]);
    request.node = Some(node(Some("api"), None));
    delta.request(request).await;
    let status = delta.end().await;
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    assert!(status.message().contains("StreamAggregatedResources"), "{}", status.message());
}

#[tokio::test]
async fn rule_02_every_type_is_answered_at_once_with_nothing_if_there_is_nothing() {
    let world = World::with(|_| {}, Readiness::Complete, vec![]).await;
    for types in [TYPES.map(String::from).to_vec(), old_types()] {
        let mut istiod = Istiod::with(world.address, node(Some("api"), None), types.clone()).await;
        istiod.synced().await;
        istiod.listen(Duration::from_millis(300)).await;
        let once: BTreeMap<String, usize> = types.into_iter().map(|t| (t, 1)).collect();
        assert_eq!(istiod.answered, once);
        assert_eq!(values(&istiod), []);
    }
}

#[tokio::test]
async fn rule_03_a_first_request_subscribes_whatever_its_nonce() {
    let world = world(&TWO).await;
    for nonce in ["", "1", "2", "2026-11-20 17:25:59.2492 +0000 UTC m=+0.45"] {
        let mut istiod = Istiod::with(world.address, node(Some("api"), None), vec![]).await;
        for type_url in TYPES {
            let mut request = first_request(type_url, Some(node(Some("api"), None)));
            request.response_nonce = nonce.into();
            istiod.say(request).await;
        }
        for _ in TYPES {
            istiod.next().await;
        }
        assert_eq!((istiod.answered.len(), values(&istiod)), (16, TWO.to_vec()), "nonce {nonce:?}");
    }
}

#[tokio::test]
async fn rule_04_the_type_is_known_in_every_version_and_repeated_as_it_was_asked_for() {
    let world = world(&TWO).await;
    let mut bodies = Vec::new();
    for type_url in [V1, V1ALPHA3, "networking.istio.io/v1beta1/ServiceEntry", "networking.istio.io/v2/ServiceEntry"] {
        let mut istiod = Istiod::with(world.address, node(Some("api"), None), vec![type_url.into()]).await;
        let answer = istiod.receive().await;
        assert_eq!(answer.type_url, type_url);
        bodies.push(answer.resources);
    }
    assert_eq!(bodies[0].len(), 2);
    assert!(bodies.iter().all(|resources| *resources == bodies[0]), "both versions are the same bytes");
}

#[tokio::test]
async fn rule_05_an_entry_is_an_envelope_around_a_body_of_the_old_type() {
    let world = world(&TWO).await;
    for type_url in [V1, V1ALPHA3] {
        let mut istiod = Istiod::with(world.address, node(Some("api"), None), vec![type_url.into()]).await;
        let answer = istiod.receive().await;
        let urls: Vec<&str> = answer.resources.iter().map(|any| &*any.type_url).collect();
        assert_eq!(urls, ["type.googleapis.com/istio.mcp.v1alpha1.Resource"; 2]);
        istiod.accept(&answer).await;
        assert_eq!(values(&istiod), TWO, "the body's type is checked where it is decoded");
    }
}

#[tokio::test]
async fn rule_06_a_list_is_whole_and_none_is_sent_before_all_sources_were_heard() {
    let world = World::with(|_| {}, Readiness::Waiting, vec![entry("ns/a", "1")]).await;
    let mut istiod = Istiod::connect(world.address).await;
    for ready in [None, Some(Readiness::Partial)] {
        if let Some(ready) = ready {
            world.become_ready(ready, [entry("ns/c", "1")]);
        }
        istiod.listen(Duration::from_millis(300)).await;
        assert_eq!(istiod.waits_for(), [V1]);
    }
    world.become_ready(Readiness::Complete, [entry("ns/b", "1")]);
    assert_eq!(values(istiod.synced().await), [("ns/a", "1"), ("ns/b", "1"), ("ns/c", "1")]);
    world.change([gone(Kind::ServiceEntry, "ns/c"), entry("ns/a", "2")]);
    let list = istiod.next().await;
    assert_eq!(list.resources.len(), 2, "what did not change is in the list, too");
    assert_eq!(values(&istiod), [("ns/a", "2"), ("ns/b", "1")]);
}

#[tokio::test]
async fn rule_06_an_istiod_that_holds_entries_keeps_them_while_a_source_is_missing() {
    let whole = world(&TWO).await;
    let mut istiod = Istiod::connect(whole.address).await;
    istiod.synced().await;
    for readiness in [Readiness::Waiting, Readiness::Partial] {
        let restarted = World::with(|_| {}, readiness, vec![entry("ns/a", "2")]).await;
        istiod.reconnect(restarted.address).await;
        istiod.listen(Duration::from_millis(300)).await;
        assert_eq!((istiod.waits_for(), values(&istiod)), (vec![V1], TWO.to_vec()));
        restarted.become_ready(Readiness::Complete, [entry("ns/b", "1")]);
        istiod.synced().await;
        assert_eq!(istiod.writes, ["~ ns/a"]);
        istiod.store.get_mut("ns/a").unwrap().entry.addresses[0] = "1".into();
        istiod.store.get_mut("ns/a").unwrap().version.clear();
    }
}

#[tokio::test]
async fn rule_08_a_refusal_is_noted_and_the_same_list_is_not_sent_again() {
    let world = world(&TWO).await;
    let mut istiod = Istiod::with(world.address, node(Some("api"), None), vec![V1.into()]).await;
    let list = istiod.receive().await;
    let mut refusal = first_request(V1, Some(node(Some("api"), None)));
    refusal.response_nonce = list.nonce.clone();
    refusal.error_detail = Some(Status { code: 3, message: "I do not like it".into() });
    istiod.say(refusal).await;
    world
        .eventually(|clients| {
            let refused = clients[0].types.first().and_then(|t| t.refused.clone());
            refused.is_some_and(|refused| refused.message == "I do not like it")
        })
        .await;
    assert_eq!(istiod.listen(Duration::from_millis(300)).await, []);
    world.change([entry("ns/a", "2")]);
    istiod.next().await;
    assert_eq!(values(&istiod), [("ns/a", "2"), ("ns/b", "1")]);
}

#[tokio::test]
async fn rule_10_after_a_break_the_same_list_comes_and_changes_nothing() {
    let world = world(&TWO).await;
    let mut istiod = Istiod::connect(world.address).await;
    istiod.synced().await;
    let before = istiod.versions();
    for _ in 0..5 {
        istiod.reconnect(world.address).await;
        istiod.synced().await;
        assert_eq!((istiod.versions(), &istiod.writes[..]), (before.clone(), &[][..]));
    }
}

#[tokio::test]
async fn rule_11_one_list_is_in_flight_and_changes_meanwhile_go_together() {
    let world = world(&TWO).await;
    let mut istiod = Istiod::connect(world.address).await;
    istiod.synced().await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    world.change([entry("ns/a", "2")]);
    let list = istiod.receive().await;
    for value in ["3", "4", "5"] {
        world.change([entry("ns/a", value)]);
        assert!(tokio::time::timeout(Duration::from_millis(100), istiod.receive()).await.is_err());
    }
    istiod.accept(&list).await;
    assert_eq!(values(&istiod), [("ns/a", "2"), ("ns/b", "1")]);
    istiod.next().await;
    assert_eq!(values(&istiod), [("ns/a", "5"), ("ns/b", "1")]);
    assert_eq!(istiod.listen(Duration::from_millis(300)).await, []);
}
