//! Manifests beside services.

use super::{services::any_catalog, *};
use crate::translate::istio;
use proptest::{collection::vec, prelude::*, sample::subsequence};

const ISTIO: ViewKey = ViewKey::whole(Dialect::Istio);

/// What manifests give: entries whose names services have, too, and gateways. Their bytes hold the number.
fn any_snapshot() -> impl Strategy<Value = Arc<Snapshot>> {
    let keys = || {
        let entries = ["a", "c", "p.p.d", "other"].map(|host| (Kind::ServiceEntry, format!("portolan/{host}")));
        entries.into_iter().chain([(Kind::Gateway, "portolan/a".to_owned()), (Kind::Gateway, "x/g".to_owned())])
    };
    let readiness = prop_oneof![Just(None), Just(Some(Readiness::Waiting)), Just(Some(Readiness::Complete))];
    (subsequence(keys().collect::<Vec<_>>(), 0..6), vec(0..2_u8, 6), readiness).prop_map(|(keys, values, readiness)| {
        let resource = |((kind, name), value): ((Kind, String), u8)| {
            let name = Name::from(name);
            let resource = Resource::new(kind, name.clone(), &[0x22, 1, value], None);
            ((kind, name), Arc::new(resource))
        };
        let resources = keys.into_iter().zip(values).map(resource).collect();
        Arc::new(Snapshot { readiness, resources, ..Snapshot::default() })
    })
}

fn fixture() -> Fixture {
    let translator = Istio::new(istio::Options::default(), Metrics::default());
    let mut fixture = Fixture::new(Dialect::Istio, Box::new(translator));
    fixture.add(ISTIO, Selection::default());
    fixture
}

proptest! {
    #[test]
    fn a_view_of_istiods_has_what_services_give_and_what_manifests_add_to_it(
        steps in vec((any_catalog(), any_snapshot(), any::<[bool; 2]>()), 1..10)
    ) {
        let mut fixture = fixture();
        let mut now = catalog(Readiness::Waiting, []);
        for (next, snapshot, [services_change, manifests_change]) in steps {
            if services_change {
                now = shared(&now, next);
            }
            if manifests_change {
                fixture.manifests = snapshot;
            }
            fixture.step(&now);

            let mut alone = self::fixture();
            alone.step(&now);
            let (mut expected, mut conflicts) = (alone.content(&ISTIO), BTreeSet::new());
            for (key, resource) in &fixture.manifests.resources {
                match expected.contains_key(key) {
                    true => drop(conflicts.insert(key.clone())),
                    false => drop(expected.insert(key.clone(), (**resource).clone())),
                }
            }
            prop_assert_eq!(fixture.content(&ISTIO), expected);
            prop_assert_eq!(&fixture.report(&ISTIO).conflicts, &conflicts);
            prop_assert_eq!(&fixture.report(&ISTIO).rejected, &alone.report(&ISTIO).rejected);
            prop_assert!(fixture.step(&now).is_empty());
        }
    }
}
