//! Resources and generations against what the protocol says and what a naive model does.

use super::*;
use proptest::prelude::*;
use prost_of_xds_api::Message;
use std::collections::BTreeMap;
use xds_api::pb::envoy::{
    config::endpoint::v3::ClusterLoadAssignment,
    service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse},
};

fn resource(name: &str, body: &[u8]) -> Resource {
    Resource::new(Kind::Endpoint, name.into(), body, None)
}

#[test]
fn an_entry_reads_as_a_delta_resource_and_its_tail_as_a_plain_one() {
    for size in [0, 1, 127, 128, 20_000, 3_000_000] {
        let body = vec![7; size];
        let one = resource("outbound|80||a", &body);
        let delta = DeltaDiscoveryResponse::decode(one.entry(Variant::Delta)).unwrap();
        let sotw = DiscoveryResponse::decode(&*one.shared_entry(Variant::Sotw)).unwrap();
        let [entry] = &delta.resources[..] else { panic!("one resource, not {}", delta.resources.len()) };
        assert_eq!((&*entry.name, &*entry.version), ("outbound|80||a", &*version_text(one.version())));
        assert_eq!(entry.resource.as_ref(), sotw.resources.first());
        assert_eq!(sotw.resources[0].type_url, Kind::Endpoint.type_url());
        assert_eq!((&*sotw.resources[0].value, one.body()), (&*body, &*body));
    }
}

#[test]
fn versions_are_of_the_content_and_read_back() {
    assert_eq!(resource("a", b"x").version(), resource("b", b"x").version());
    assert_ne!(resource("a", b"x").version(), resource("a", b"y").version());
    assert_eq!(version_text(0xab), "00000000000000ab");
    assert_eq!(parse_version(b"00000000000000ab"), Some(0xab));
    for other in [&b"ab"[..], b"", b"+0000000000000ab", b"zzzzzzzzzzzzzzzz", b"\xff\xff"] {
        assert_eq!(parse_version(other), None, "{other:?}");
    }
}

#[test]
fn an_absent_assignment_has_a_name_and_no_endpoints() {
    let absent = Resource::absent(Kind::Endpoint, &"a".into());
    let expected = ClusterLoadAssignment { cluster_name: "a".into(), ..Default::default() };
    assert_eq!(ClusterLoadAssignment::decode(absent.body()).unwrap(), expected);
    assert_eq!(absent, resource("a", &expected.encode_to_vec()));
}

/// The same readiness for each of Envoy's kinds.
fn ready(readiness: Readiness) -> KindReadiness {
    KindReadiness::of(Kind::ENVOY, readiness)
}

#[test]
fn a_view_moves_on_only_when_something_changes() {
    let empty = ViewGeneration::empty();
    assert_eq!((empty.readiness_of(Kind::Cluster), empty.built().number()), (None, 1));
    assert!(empty.next(KindReadiness::default(), []).is_none());
    let put = |body: &[u8]| [(Kind::Endpoint, Name::from("a"), Some(resource("a", body)))];
    let one = empty.next(ready(Readiness::Complete), put(b"1")).unwrap();
    assert!(one.next(ready(Readiness::Complete), put(b"1")).is_none());
    assert!(one.next(ready(Readiness::Complete), [(Kind::Cluster, "a".into(), None)]).is_none());
    let there_and_back = put(b"2").into_iter().chain(put(b"1"));
    assert!(one.next(ready(Readiness::Complete), there_and_back).is_none());
    let two = one.next(ready(Readiness::Complete), put(b"2")).unwrap();
    assert_eq!((two.number(), two.get(Kind::Endpoint).len()), (2, 1));
    assert!(Arc::ptr_eq(two.get(Kind::Cluster), one.get(Kind::Cluster)));
}

#[test]
fn a_kind_is_as_ready_as_the_least_ready_of_its_sources() {
    use Readiness::{Complete, Partial, Waiting};
    let services = KindReadiness::of([Kind::ServiceEntry], Complete);
    let both = services.and(Kind::ServiceEntry, Partial).and(Kind::Gateway, Waiting);
    assert_eq!((both.get(Kind::ServiceEntry), both.get(Kind::Gateway)), (Some(Partial), Some(Waiting)));
    assert_eq!((both.get(Kind::Sidecar), both.get(Kind::Cluster)), (None, None));
    assert_eq!((both.least(Family::Istio), services.least(Family::Istio)), (Waiting, Complete));
}

#[test]
fn a_change_makes_one_block_anew_and_shares_all_others() {
    let names: Vec<String> = (0..5_000).map(|i| format!("service-{i}")).collect();
    let all = names.iter().map(|n| (Name::from(&**n), Some(resource(n, b"1"))));
    let before = Generation::default().next(all).unwrap();
    let after = before.next([("service-77".into(), Some(resource("service-77", b"2")))]).unwrap();
    let places = |g: &Generation| -> Vec<_> {
        g.blocks(Variant::Delta).into_iter().flatten().map(|(b, _)| b.as_ptr()).collect()
    };
    let (before, after) = (places(&before), places(&after));
    assert!((40..160).contains(&before.len()), "{} blocks", before.len());
    assert_eq!(before.len(), after.len());
    assert_eq!(before.iter().zip(&after).filter(|(a, b)| a != b).count(), 1);
}

/// Compares each way to look at a generation with a plain map.
fn check(generation: &Generation, model: &BTreeMap<String, u8>) {
    let made: Vec<Resource> = model.iter().map(|(n, v)| resource(n, &[*v])).collect();
    assert_eq!(generation.iter().map(|r| (**r).clone()).collect::<Vec<_>>(), made);
    let versions: Vec<_> = made.iter().map(|r| (r.name().clone(), r.version())).collect();
    assert_eq!(generation.versions().iter().map(|(n, v)| (n.clone(), *v)).collect::<Vec<_>>(), versions);
    let digest = |f: &dyn Fn(&Resource) -> u64| made.iter().map(f).fold(0u64, u64::wrapping_add);
    assert_eq!(generation.digest(), digest(&|r| version_hash(r.name().as_bytes(), r.version())));
    assert_eq!(generation.names_digest(), digest(&|r| name_hash(r.name().as_bytes())));
    for variant in [Variant::Sotw, Variant::Delta] {
        let whole: Vec<u8> = generation.blocks(variant).into_iter().flatten().flat_map(|(bytes, _)| bytes).collect();
        let entries: Vec<u8> = made.iter().flat_map(|r| r.entry(variant).to_vec()).collect();
        assert_eq!(whole, entries);
    }
}

proptest! {
    #[test]
    fn generations_agree_with_a_plain_map(
        batches in prop::collection::vec(prop::collection::vec((0u16..300, prop::option::of(0u8..3)), 0..60), 1..12)
    ) {
        let (mut generation, mut model) = (Generation::default(), BTreeMap::new());
        for batch in batches {
            let before = (generation.clone(), model.clone());
            let changes = batch.iter().map(|(n, v)| {
                let name = format!("n{n}");
                (Name::from(&*name), v.map(|v| resource(&name, &[v])))
            });
            let next = generation.next(changes);
            for (n, v) in &batch {
                let name = format!("n{n}");
                match v {
                    Some(v) => model.insert(name, *v),
                    None => model.remove(&name),
                };
            }
            prop_assert_eq!(next.is_some(), model != before.1);
            generation = next.unwrap_or(generation);
            check(&generation, &model);
            check(&before.0, &before.1);
            let differing = before.0.versions().diff(generation.versions()).count();
            let keys: std::collections::BTreeSet<_> = model.keys().chain(before.1.keys()).collect();
            prop_assert_eq!(differing, keys.iter().filter(|k| model.get(**k) != before.1.get(**k)).count());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Holds for many resources and for few, after a change of some and of most, and of there and back.
    #[test]
    fn what_differs_is_found_wherever_a_stream_is(
        start in prop_oneof![Just(0u16), 250u16..400],
        batches in prop::collection::vec(prop::collection::vec((0u16..450, prop::option::of(0u8..3)), 0..90), 1..6),
    ) {
        let put = |(n, v): (u16, Option<u8>)| {
            let name = format!("n{n}");
            (Name::from(&*name), v.map(|v| resource(&name, &[v])))
        };
        let first = (0..start).map(|n| (n, Some(0)));
        let mut all = vec![Generation::default()];
        for batch in std::iter::once(first.collect::<Vec<_>>()).chain(batches) {
            all.extend(all.last().unwrap().next(batch.into_iter().map(put)));
        }
        let now = all.last().unwrap();
        for sent in &all {
            let found: Vec<_> = now.changes_since(sent.versions()).map(|(n, r)| (n.clone(), r.cloned())).collect();
            let names: std::collections::BTreeSet<&Name> = sent.versions().keys().chain(now.versions().keys()).collect();
            let differ = names.into_iter().filter(|name| sent.versions().get(*name) != now.versions().get(*name));
            prop_assert_eq!(found, differ.map(|name| (name.clone(), now.get(name).cloned())).collect::<Vec<_>>());
        }
    }
}
