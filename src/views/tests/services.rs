//! The view that has everything.

use super::*;
use crate::resource::KindReadiness;
use prometheus_client::{encoding::text, registry::Registry};
use proptest::{collection::vec, prelude::*, sample::subsequence};

const ENVOY: ViewKey = ViewKey::whole(Dialect::Envoy);

/// Goes on to a catalog. Returns what changes in the whole view, as readable lines.
fn step(fixture: &mut Fixture, catalog: &Catalog) -> Vec<String> {
    let before = fixture.generation(&ENVOY).clone();
    let made = fixture.step(catalog);
    let after = fixture.generation(&ENVOY);
    assert_eq!(made.is_empty(), Arc::ptr_eq(&before, after));
    differences(&before, after)
}

#[test]
fn only_what_differs_changes() {
    let mut fixture = Fixture::whole(by_host());
    assert_eq!(
        step(&mut fixture, &catalog(Readiness::Complete, [service("a", &["x"], 1)])),
        ["+clusters a", "+clusters p.a", "+clusters p.x", "+clusters x", "+endpoints a", "+endpoints p.a"],
    );
    let two = catalog(Readiness::Complete, [service("a", &["x"], 1), service("b", &[], 0)]);
    assert_eq!(step(&mut fixture, &two), ["+clusters b", "+clusters p.b", "+endpoints b", "+endpoints p.b"]);
    assert!(fixture.step(&two).is_empty());

    let more = catalog(Readiness::Complete, [service("a", &["x"], 2), service("b", &[], 0)]);
    assert_eq!(step(&mut fixture, &more), ["+endpoints a"]);

    let noted = PublishedService { protected: true, ..service("b", &[], 0) };
    assert!(fixture.step(&catalog(Readiness::Complete, [service("a", &["x"], 2), noted])).is_empty());

    let left = catalog(Readiness::Complete, [service("b", &[], 0)]);
    assert_eq!(
        step(&mut fixture, &left),
        ["-clusters a", "-clusters p.a", "-clusters p.x", "-clusters x", "-endpoints a", "-endpoints p.a"],
    );
    let generation = fixture.generation(&ENVOY);
    assert_eq!((generation.get(Kind::Cluster).len(), generation.get(Kind::Endpoint).len()), (2, 2));
}

#[test]
fn readiness_follows_the_catalog_even_if_nothing_else_does() {
    let mut fixture = Fixture::whole(by_host());
    assert_eq!(fixture.step(&catalog(Readiness::Waiting, [])), [ENVOY], "the first step always makes one");
    for readiness in [Readiness::Partial, Readiness::Complete, Readiness::Waiting] {
        assert_eq!(fixture.step(&catalog(readiness, [])), [ENVOY]);
        assert_eq!(fixture.generation(&ENVOY).readiness(), KindReadiness::of(Kind::ENVOY, readiness));
        assert!(fixture.step(&catalog(readiness, [])).is_empty());
    }
}

#[test]
fn the_smaller_host_has_a_contested_name_whoever_came_first() {
    let (small, large) = (service("b", &["p.d"], 1), service("d", &[], 1));
    let rejected = |fixture: &Fixture| -> Vec<String> {
        let report = fixture.report(&ENVOY);
        report.rejected.iter().map(|r| format!("{} {}: {}", r.host, r.subject, r.why)).collect()
    };
    let mut fixture = Fixture::whole(by_host());
    fixture.step(&catalog(Readiness::Complete, [large.clone()]));
    let won = step(&mut fixture, &catalog(Readiness::Complete, [small, large.clone()]));
    // `p.d` was a port of `d` with an assignment; now it is another name of `b`, whose assignment it shares.
    let expected =
        ["+clusters b", "+clusters p.b", "+clusters p.d", "+clusters p.p.d", "+endpoints b", "+endpoints p.b"];
    assert_eq!(won, [&expected[..], &["-endpoints p.d"]].concat());
    let why = "the name is b's; let `envoy: cluster_name` or `istio: name` tell them apart, or rename one";
    assert_eq!(rejected(&fixture), [format!("d p.d: {why}")]);

    let back = step(&mut fixture, &catalog(Readiness::Complete, [large]));
    let expected =
        ["-clusters b", "-clusters p.b", "+clusters p.d", "-clusters p.p.d", "-endpoints b", "-endpoints p.b"];
    assert_eq!(back, [&expected[..], &["+endpoints p.d"]].concat());
    assert_eq!(rejected(&fixture), [""; 0]);
}

/// Catalogs of services whose names meet.
pub(super) fn any_catalog() -> impl Strategy<Value = Catalog> {
    let alias = || subsequence(vec!["b", "p.b", "p.c", "x", "y"], 0..3);
    let some = subsequence(vec!["a", "c", "d", "p.d", "p.p.d", "z"], 0..6);
    let sync = prop_oneof![Just(Readiness::Waiting), Just(Readiness::Partial), Just(Readiness::Complete)];
    (sync, some, vec((alias(), 0..3_i64, any::<bool>()), 6)).prop_map(|(sync, hosts, details)| {
        let services = hosts
            .into_iter()
            .zip(details)
            .map(|(host, (aliases, endpoints, dns))| PublishedService { dns, ..service(host, &aliases, endpoints) });
        catalog(sync, services.collect::<Vec<_>>())
    })
}

proptest! {
    #[test]
    fn any_way_to_a_catalog_gives_what_the_catalog_gives_from_scratch(catalogs in vec(any_catalog(), 1..8)) {
        let mut fixture = Fixture::whole(by_host());
        let mut before = catalog(Readiness::Waiting, []);
        for next in catalogs {
            before = shared(&before, next);
            fixture.step(&before);
            let services: Vec<_> = before.services.values().cloned().collect();
            let (expected, rejected) = from_scratch(&services, &by_host());
            prop_assert_eq!(fixture.content(&ENVOY), expected);
            prop_assert_eq!(&fixture.report(&ENVOY).rejected, &rejected);
            prop_assert!(fixture.step(&before).is_empty());
        }
    }
}

pub(super) fn shown(metrics: &Metrics, start: &str) -> Vec<String> {
    let (mut registry, mut out) = (Registry::default(), String::new());
    metrics.register(&mut registry);
    text::encode(&mut out, &registry).unwrap();
    let mut lines: Vec<String> = out.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect();
    lines.sort();
    lines
}
