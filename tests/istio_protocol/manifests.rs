//! Istio's other kinds, which stand in manifests: each is a list of its own, under the rules that entries are under.

use crate::{
    client::{Change, World, gone},
    istiod::{Istiod, TYPES, V1, entry, node, values, world},
};
use portolan::{
    pb::envoy::service::discovery::v3::DiscoveryResponse,
    resource::{Kind, KindReadiness, Readiness},
    translate::istio::manifest,
};
use std::{collections::BTreeSet, time::Duration};

const GATEWAYS: &str = "networking.istio.io/v1/Gateway";
const RULES: &str = "networking.istio.io/v1/DestinationRule";

/// A gateway named `ns/<name>` on that port, perhaps for one revision.
fn gateway(name: &str, port: u16, revision: &str) -> Change {
    let text = format!(
        "{{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {{name: {name}, labels: {{istio.io/rev: '{revision}'}}}}, \
         spec: {{servers: [{{port: {{number: {port}}}}}]}}}}"
    );
    let (kind, resource) = manifest::read("m", &text, &"ns".into(), 7).unwrap().remove(0);
    (kind, resource.name().clone(), Some(resource.for_revision((!revision.is_empty()).then(|| revision.into()))))
}

/// Services are complete, and the sources of manifests have reported so far. Entries do not wait for those that are only
/// late, as the producer of manifests decides.
fn ready(manifests: Readiness) -> KindReadiness {
    let entries = if manifests == Readiness::Waiting { manifests } else { Readiness::Complete };
    let others = Kind::istio().filter(|kind| *kind != Kind::ServiceEntry);
    KindReadiness::of(others, manifests).and(Kind::ServiceEntry, entries)
}

fn hears(world: &World, manifests: Readiness, changes: impl IntoIterator<Item = Change>) {
    world.replace(|before| before.next(ready(manifests), changes));
}

/// One that serves manifests, of which so much was heard, and two entries of services.
async fn of(reading: Readiness, changes: impl IntoIterator<Item = Change>) -> World {
    let world = world(&[("ns/a", "1"), ("ns/b", "1")]).await;
    hears(&world, reading, changes);
    world
}

async fn asking(world: &World, type_url: &str, revision: Option<&str>) -> Istiod {
    Istiod::with(world.address, node(Some("api"), revision), vec![type_url.into()]).await
}

fn count(answer: &DiscoveryResponse) -> (&str, usize) {
    (&answer.type_url, answer.resources.len())
}

#[tokio::test]
async fn without_manifests_other_types_are_answered_empty_at_once_and_never_again() {
    let world = World::with(|_| {}, Readiness::Waiting, vec![entry("ns/a", "1")]).await;
    let mut istiod = Istiod::connect(world.address).await;
    let answers = istiod.listen(Duration::from_millis(300)).await;
    assert_eq!((answers.len(), istiod.waits_for()), (TYPES.len() - 1, vec![V1]));
    assert!(answers.iter().all(|answer| answer.resources.is_empty()));
}

#[tokio::test]
async fn each_type_waits_until_manifests_were_heard_and_is_then_whole() {
    let world = of(Readiness::Waiting, [gateway("a", 1, "")]).await;
    let mut istiod = Istiod::connect(world.address).await;
    let answered = istiod.listen(Duration::from_millis(300)).await;
    assert_eq!(answered.iter().map(count).collect::<Vec<_>>(), [("core/v1alpha1/MeshConfig", 0)], "all others wait");
    hears(&world, Readiness::Complete, [gateway("b", 1, "")]);
    let mut counts = BTreeSet::new();
    while !istiod.is_synced() {
        let answer = istiod.next().await;
        counts.insert((answer.type_url.clone(), answer.resources.len()));
    }
    let full: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).map(|(url, count)| (&**url, *count)).collect();
    assert_eq!(full, [(GATEWAYS, 2), (V1, 2)]);
    assert_eq!(values(&istiod), [("ns/a", "1"), ("ns/b", "1")]);
}

#[tokio::test]
async fn entries_of_services_wait_for_those_of_manifests_but_not_for_ever() {
    let world = of(Readiness::Waiting, []).await;
    let mut istiod = Istiod::connect(world.address).await;
    istiod.listen(Duration::from_millis(300)).await;
    assert!(istiod.waits_for().contains(&V1));
    hears(&world, Readiness::Partial, []);
    istiod.until(|store| store.len() == 2).await;
    istiod.listen(Duration::from_millis(300)).await;
    assert_eq!(istiod.waits_for().len(), TYPES.len() - 2, "the other kinds have no other source: they go on waiting");
    hears(&world, Readiness::Complete, [entry("ns/c", "1")]);
    istiod.synced().await;
    istiod.until(|store| store.len() == 3).await;
}

#[tokio::test]
async fn a_kind_is_asked_for_in_any_version_and_answered_in_that() {
    let world = of(Readiness::Complete, [gateway("a", 1, "")]).await;
    let mut bodies = BTreeSet::new();
    for type_url in [GATEWAYS, "networking.istio.io/v1alpha3/Gateway", "networking.istio.io/v1beta1/Gateway"] {
        let answer = asking(&world, type_url, None).await.receive().await;
        assert_eq!(count(&answer), (type_url, 1));
        assert_eq!(answer.resources[0].type_url, "type.googleapis.com/istio.mcp.v1alpha1.Resource");
        bodies.insert(answer.resources[0].value.clone());
    }
    assert_eq!(bodies.len(), 1);
}

#[tokio::test]
async fn a_change_of_one_kind_is_a_list_of_that_kind_alone_and_nothing_else_is_sent() {
    let world = of(Readiness::Complete, [gateway("a", 1, ""), gateway("b", 1, "")]).await;
    let mut istiod = Istiod::connect(world.address).await;
    istiod.synced().await;
    assert_eq!(istiod.listen(Duration::from_millis(200)).await, []);
    world.change([gateway("a", 2, "")]);
    let answers = istiod.listen(Duration::from_millis(400)).await;
    assert_eq!(answers.iter().map(count).collect::<Vec<_>>(), [(GATEWAYS, 2)], "whole, and once");
    world.change([gone(Kind::Gateway, "ns/a"), gone(Kind::Gateway, "ns/b")]);
    let answers = istiod.listen(Duration::from_millis(400)).await;
    assert_eq!(answers.iter().map(count).collect::<Vec<_>>(), [(GATEWAYS, 0)], "an empty list deletes all");
}

#[tokio::test]
async fn each_kind_has_a_pace_of_its_own() {
    let world = of(Readiness::Complete, [gateway("a", 1, "")]).await;
    let mut istiod = Istiod::connect(world.address).await;
    istiod.synced().await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    world.change([gateway("a", 2, "")]);
    let in_flight = istiod.receive().await;
    assert_eq!(count(&in_flight), (GATEWAYS, 1));
    // Neither is acknowledged: the second list of gateways waits, the first one of entries does not.
    world.change([gateway("a", 3, ""), entry("ns/a", "2")]);
    let other = istiod.receive().await;
    assert_eq!(count(&other), (V1, 2));
    istiod.accept(&other).await;
    assert!(tokio::time::timeout(Duration::from_millis(300), istiod.receive()).await.is_err());
    istiod.accept(&in_flight).await;
    assert_eq!(count(&istiod.next().await), (GATEWAYS, 1));
}

#[tokio::test]
async fn a_revision_gets_its_own_and_those_of_all() {
    let world =
        of(Readiness::Complete, [gateway("all", 1, ""), gateway("blue", 1, "blue"), gateway("green", 1, "green")])
            .await;
    for (revision, expected) in [(Some("blue"), 2), (Some("other"), 1), (None, 3)] {
        let answer = asking(&world, GATEWAYS, revision).await.receive().await;
        assert_eq!(count(&answer), (GATEWAYS, expected), "{revision:?}");
    }
    let mut blue = asking(&world, GATEWAYS, Some("blue")).await;
    blue.next().await;
    world.change([gateway("green", 2, "green")]);
    assert_eq!(blue.listen(Duration::from_millis(300)).await, [], "another revision's is not its own");
}

#[tokio::test]
async fn after_a_break_the_same_lists_come_with_the_same_versions() {
    let world = of(Readiness::Complete, [gateway("a", 1, "")]).await;
    let mut versions = BTreeSet::new();
    for _ in 0..3 {
        let mut istiod = asking(&world, GATEWAYS, None).await;
        let answer = istiod.next().await;
        versions.insert((answer.version_info, answer.resources[0].value.clone()));
    }
    assert_eq!(versions.len(), 1);
}

#[tokio::test]
async fn what_each_kind_was_sent_and_took_is_in_the_table_of_clients() {
    let world = of(Readiness::Complete, [gateway("a", 1, "")]).await;
    let mut istiod = Istiod::connect(world.address).await;
    istiod.synced().await;
    let kinds = Kind::istio().count();
    world.eventually(|clients| clients[0].types.iter().filter(|t| t.acknowledged.is_some()).count() == kinds).await;
    let rules = world.clients.list()[0].types.iter().find(|t| t.kind == Kind::DestinationRule).cloned().unwrap();
    assert_eq!((&*rules.type_url, rules.resources), (RULES, 0));
}
