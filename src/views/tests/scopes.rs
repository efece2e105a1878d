//! Views that select: of services, and of what is in them.

use super::{services::any_catalog, *};
use proptest::{collection::vec, prelude::*, sample::subsequence};

/// Selects some hosts, and of their endpoints only so many.
#[derive(Debug)]
struct Picked {
    hosts: BTreeSet<Hostname>,
    endpoints: usize,
}

impl Picked {
    fn of(hosts: impl IntoIterator<Item = Hostname>, endpoints: usize) -> Arc<Picked> {
        Arc::new(Picked { hosts: hosts.into_iter().collect(), endpoints })
    }
}

impl Select for Picked {
    fn select(&self, service: &Arc<PublishedService>) -> Option<Arc<PublishedService>> {
        let selected = self.hosts.contains(&service.host);
        selected.then(|| match service.endpoints.len() > self.endpoints {
            true => {
                let endpoints = service.endpoints[..self.endpoints].to_vec();
                Arc::new(PublishedService { endpoints, ..(**service).clone() })
            }
            false => service.clone(),
        })
    }
}

fn scope(name: impl ToString) -> ViewKey {
    ViewKey::of_scope(Dialect::Envoy, name.to_string())
}

/// A step of the property test.
#[derive(Debug, Clone)]
enum Happening {
    Catalog(Catalog),
    /// A view comes that selects these hosts, and so many endpoints of each.
    Subscribes(Vec<&'static str>, usize),
    /// The last view with a selection goes.
    Leaves,
    /// Clusters are named otherwise, or as before.
    Configured(bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    let hosts = subsequence(vec!["a", "c", "d", "p.d", "p.p.d", "z"], 0..6);
    prop_oneof![
        4 => any_catalog().prop_map(Happening::Catalog),
        2 => (hosts, 0..3_usize).prop_map(|(hosts, endpoints)| Happening::Subscribes(hosts, endpoints)),
        1 => Just(Happening::Leaves),
        1 => any::<bool>().prop_map(Happening::Configured),
    ]
}

proptest! {
    #[test]
    fn each_view_has_what_its_selection_of_the_catalog_gives_from_scratch(
        happenings in vec(happening(), 1..16)
    ) {
        let mut fixture = Fixture::whole(by_host());
        let mut selections = BTreeMap::from([(ViewKey::whole(Dialect::Envoy), Selection::default())]);
        let (mut now, mut options) = (catalog(Readiness::Waiting, []), by_host());
        for (number, happening) in happenings.into_iter().enumerate() {
            let mut renewed: Option<Box<dyn Translator>> = None;
            match happening {
                Happening::Catalog(next) => now = shared(&now, next),
                Happening::Subscribes(hosts, endpoints) => {
                    let selection = Selection::by(Picked::of(hosts.into_iter().map(host), endpoints));
                    selections.insert(scope(number), selection.clone());
                    fixture.add(scope(number), selection);
                }
                Happening::Leaves => {
                    if selections.len() > 1 {
                        let (key, _) = selections.pop_last().unwrap();
                        prop_assert_eq!(fixture.stage.retain(|(other, _)| *other != key), [key]);
                    }
                }
                Happening::Configured(prefixed) => {
                    let name = if prefixed { "c.{host}" } else { "{host}" };
                    options.cluster_name = ClusterName::parse(name).unwrap();
                    renewed = Some(Box::new(options.clone()));
                }
            }
            fixture.step_by(&now, renewed);
            for (key, selection) in &selections {
                let selected: Vec<_> = now.services.values().filter_map(|service| selection.of(service)).collect();
                let (expected, rejected) = from_scratch(&selected, &options);
                prop_assert_eq!(fixture.content(key), expected, "{}", key);
                prop_assert_eq!(&fixture.report(key).rejected, &rejected, "{}", key);
            }
            prop_assert!(fixture.step(&now).is_empty(), "nothing changed");
        }
    }
}

fn numbered(number: usize) -> Hostname {
    host(&format!("s{number}.example"))
}

/// A catalog of so many services, and so many endpoints of service number `changed`.
fn many(services: usize, changed: usize, endpoints: i64) -> Catalog {
    let one = |n: usize| service(numbered(n).as_str(), &[], if n == changed { endpoints } else { 3 });
    catalog(Readiness::Complete, (0..services).map(one))
}

#[test]
fn a_change_costs_one_translation_and_a_generation_of_the_views_concerned() {
    const SERVICES: usize = 5_000;
    const SELECTED: usize = 50;
    let mut fixture = Fixture::new(Dialect::Envoy, Box::new(by_host()));
    // Each service is in one of the hundred views, and every hundredth also in a further one.
    for view in 0..SERVICES / SELECTED {
        let hosts = (0..SELECTED).map(|n| numbered(view * SELECTED + n));
        fixture.add(scope(view), Selection::by(Picked::of(hosts, 9)));
    }
    fixture.add(scope("shared"), Selection::by(Picked::of((0..SERVICES).step_by(100).map(numbered), 9)));
    let before = many(SERVICES, 0, 3);
    assert_eq!(fixture.step(&before).len(), 101);
    assert_eq!(fixture.stage.translations(), SERVICES as u64, "each once, whoever has it");

    for (changed, concerned) in [(777, vec![scope(15)]), (700, vec![scope(14), scope("shared")])] {
        let count = fixture.stage.translations();
        let next = shared(&before, many(SERVICES, changed, 4));
        assert_eq!(fixture.step(&next), concerned);
        assert_eq!(fixture.stage.translations() - count, 1);
        assert_eq!(fixture.step(&before), concerned, "and back");
    }

    // What two views have is one value; and each has what it selects and no more.
    let of = |key: &ViewKey| fixture.generation(key).get(Kind::Endpoint).get("s700.example").unwrap();
    assert!(Arc::ptr_eq(of(&scope(14)), of(&scope("shared"))));
    for view in 0..100 {
        assert_eq!(fixture.generation(&scope(view)).get(Kind::Cluster).len(), 2 * SELECTED);
        assert_eq!(fixture.stage.held(&(scope(view), 0)), SELECTED);
    }

    // A view that comes later finds everything made.
    let count = fixture.stage.translations();
    fixture.add(ViewKey::whole(Dialect::Envoy), Selection::default());
    assert_eq!(fixture.step(&before), [ViewKey::whole(Dialect::Envoy)]);
    assert_eq!(fixture.stage.translations(), count);
}

#[test]
fn a_scope_that_lacks_the_owner_of_a_name_has_the_next_one_under_it() {
    let mut fixture = Fixture::whole(by_host());
    fixture.add(scope("d"), Selection::by(Picked::of([host("d")], 9)));
    fixture.step(&catalog(Readiness::Complete, [service("b", &["p.d"], 1), service("d", &[], 1)]));
    let assignments = |key: &ViewKey| fixture.generation(key).get(Kind::Endpoint).versions().keys().cloned().collect();
    let whole: Vec<Name> = assignments(&ViewKey::whole(Dialect::Envoy));
    let of_d: Vec<Name> = assignments(&scope("d"));
    assert_eq!(whole.iter().map(|name| &**name).collect::<Vec<_>>(), ["b", "d", "p.b"]);
    assert_eq!(of_d.iter().map(|name| &**name).collect::<Vec<_>>(), ["d", "p.d"], "what it cannot see takes nothing");
    assert!(fixture.report(&scope("d")).rejected.is_empty());
}
