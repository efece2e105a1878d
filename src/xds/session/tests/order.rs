//! Clusters are made before routes that name them, and broken after: the order of a change of both, and a client like Envoy
//! that checks it after each message over random changes.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A view of these clusters with their assignments, and one route of that value.
fn fixture(variant: Variant, clusters: &[&str], route: u8) -> Fixture {
    let mut fixture = Fixture::of(variant, &[]);
    fixture.put(clusters, &[], route);
    fixture
}

impl Fixture {
    fn put(&mut self, clusters: &[&str], gone: &[&str], route: u8) {
        let put = |(name, there): (&str, bool)| {
            [(Kind::Cluster, name), (Kind::Endpoint, &name[1..])]
                .map(|(kind, name)| (kind, Name::from(name), there.then(|| resource(kind, name, 1))))
        };
        let all = clusters.iter().map(|name| (*name, true)).chain(gone.iter().map(|name| (*name, false)));
        let route = (Kind::Route, Name::from("r"), Some(resource(Kind::Route, "r", route)));
        let changes = all.flat_map(put).chain([route]);
        self.view = self.view.next(ready(Readiness::Complete), changes).unwrap();
    }

    /// Subscribes to more, or acknowledges.
    fn ask(&mut self, kind: Kind, names: &[&str], nonce: &str) -> Vec<Received> {
        match self.session.variant {
            Variant::Sotw => self.sotw(kind, names, nonce),
            Variant::Delta => self.delta(kind, names, nonce),
        }
    }
}

fn kinds(received: &[Received]) -> Vec<Kind> {
    received.iter().map(|one| one.kind).collect()
}

fn names(received: &Received) -> Vec<&str> {
    received.resources.keys().map(|name| &**name).collect()
}

#[test]
fn a_route_goes_out_behind_the_assignment_of_its_new_cluster_and_the_old_one_is_removed_after_it() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut fixture = fixture(variant, &["aa"], 1);
        for (kind, wanted) in [(Kind::Cluster, &[][..]), (Kind::Endpoint, &["a"]), (Kind::Route, &["r"])] {
            let first = fixture.ask(kind, wanted, "");
            fixture.ask(kind, if variant == Variant::Sotw { wanted } else { &[] }, &first[0].nonce);
        }
        fixture.put(&["bb"], &["aa"], 2);
        let new = fixture.wake();
        let all = if variant == Variant::Sotw { vec!["aa", "bb"] } else { vec!["bb"] };
        assert_eq!((kinds(&new), names(&new[0]), new[0].removed.len()), (vec![Kind::Cluster], all, 0), "{variant:?}");
        let next = fixture.ask(Kind::Endpoint, &["b"], "");
        assert_eq!(kinds(&next), [Kind::Endpoint, Kind::Route], "{variant:?}");
        let last = fixture.ask(Kind::Cluster, &[], &new[0].nonce);
        match variant {
            Variant::Sotw => assert_eq!((kinds(&last), names(&last[0])), (vec![Kind::Cluster], vec!["bb"])),
            Variant::Delta => assert_eq!(last[0].removed, BTreeSet::from(["aa".to_string()])),
        }
    }
}

#[test]
fn a_route_waits_for_a_client_that_never_asks_no_longer_than_for_one_that_never_acknowledges() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut fixture = fixture(variant, &["aa"], 1);
        fixture.ask(Kind::Cluster, &[], "");
        fixture.ask(Kind::Endpoint, &["a"], "");
        fixture.ask(Kind::Route, &["r"], "");
        fixture.now += Duration::from_secs(1);
        fixture.put(&["bb"], &[], 2);
        assert_eq!(kinds(&fixture.wake()), [Kind::Cluster], "{variant:?}");
        let due = fixture.session.due().unwrap();
        assert_eq!(due, fixture.now + Duration::from_millis(500));
        fixture.now = due;
        assert_eq!(kinds(&fixture.wake()), [Kind::Route], "{variant:?}");
        assert_eq!(fixture.session.due(), None);
    }
}

#[test]
fn clusters_alone_are_removed_with_what_is_new_where_nothing_names_them() {
    let mut fixture = fixture(Variant::Sotw, &["aa"], 1);
    let first = fixture.ask(Kind::Cluster, &[], "");
    fixture.ask(Kind::Cluster, &[], &first[0].nonce);
    fixture.put(&["bb"], &["aa"], 2);
    assert_eq!(names(&fixture.wake()[0]), ["bb"]);
}

/// So many routes, and clusters that they may name.
const ROUTES: u8 = 3;
const CLUSTERS: u8 = 4;

/// Routes and the clusters that they name change, and a client that is like Envoy.
struct Envoy {
    fixture: Fixture,
    /// The cluster that each route names.
    routes: BTreeMap<u8, u8>,
    /// The clusters that it has, and whether their assignments have come.
    clusters: BTreeMap<String, bool>,
    /// The clusters that the routes which it has name.
    named: BTreeMap<String, String>,
    /// The names of assignments that it subscribes to.
    asked: BTreeSet<String>,
    nonces: BTreeMap<Kind, String>,
    unread: Vec<Received>,
}

fn cluster(number: u8) -> String {
    format!("c{number}")
}

impl Envoy {
    fn new(variant: Variant) -> Self {
        let routes: BTreeMap<u8, u8> = (0..ROUTES).map(|route| (route, 0)).collect();
        let mut envoy = Envoy {
            fixture: Fixture::of(variant, &[]),
            routes: BTreeMap::new(),
            clusters: BTreeMap::new(),
            named: BTreeMap::new(),
            asked: BTreeSet::new(),
            nonces: BTreeMap::new(),
            unread: Vec::new(),
        };
        envoy.lay(routes);
        envoy.request(Kind::Cluster, &[], &[]);
        envoy.read(usize::MAX);
        envoy.ask();
        let all: Vec<String> = (0..ROUTES).map(|route| route.to_string()).collect();
        envoy.request(Kind::Route, &all, &[]);
        envoy
    }

    /// The view has these routes, and the clusters that they name.
    fn lay(&mut self, routes: BTreeMap<u8, u8>) {
        let named = |routes: &BTreeMap<u8, u8>| routes.values().copied().collect::<BTreeSet<u8>>();
        let (before, after) = (named(&self.routes), named(&routes));
        let clusters = before.union(&after).flat_map(|number| {
            let there = after.contains(number);
            [(Kind::Cluster, cluster(*number)), (Kind::Endpoint, number.to_string())]
                .map(|(kind, name)| (kind, Name::from(&*name), there.then(|| resource(kind, &name, 1))))
        });
        let routes_of = routes.iter().map(|(route, number)| {
            let name = route.to_string();
            (Kind::Route, Name::from(&*name), Some(resource(Kind::Route, &name, *number)))
        });
        if let Some(next) = self.fixture.view.next(ready(Readiness::Complete), clusters.chain(routes_of)) {
            self.fixture.view = next;
        }
        self.routes = routes;
        let sent = self.fixture.wake();
        self.unread.extend(sent);
    }

    fn request(&mut self, kind: Kind, add: &[String], drop: &[String]) {
        let nonce = self.nonces.get(&kind).cloned().unwrap_or_default();
        let add: Vec<&str> = add.iter().map(|name| &**name).collect();
        if self.fixture.session.variant == Variant::Delta {
            drop.iter().for_each(|name| self.fixture.unsubscribe(kind, name));
        }
        let sent = self.fixture.ask(kind, &add, &nonce);
        self.unread.extend(sent);
    }

    /// Asks for the assignments of the clusters that it has, and of no others.
    fn ask(&mut self) {
        let wanted: BTreeSet<String> = self.clusters.keys().map(|name| name[1..].to_string()).collect();
        let all = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<String>>();
        let add = match self.fixture.session.variant {
            Variant::Sotw => all(&wanted),
            Variant::Delta => wanted.difference(&self.asked).cloned().collect(),
        };
        let drop: Vec<String> = self.asked.difference(&wanted).cloned().collect();
        self.asked = wanted;
        if !add.is_empty() || !drop.is_empty() {
            self.request(Kind::Endpoint, &add, &drop);
        }
    }

    fn acknowledge(&mut self, kind: Kind) {
        let all: Vec<String> = match (self.fixture.session.variant, kind) {
            (Variant::Sotw, Kind::Endpoint) => self.asked.iter().cloned().collect(),
            (Variant::Sotw, Kind::Route) => (0..ROUTES).map(|route| route.to_string()).collect(),
            _ => Vec::new(),
        };
        if self.nonces.contains_key(&kind) {
            self.request(kind, &all, &[]);
        }
    }

    fn read(&mut self, number: usize) {
        let number = number.min(self.unread.len());
        for received in self.unread.drain(..number).collect::<Vec<_>>() {
            self.apply(&received);
            self.nonces.insert(received.kind, received.nonce.clone());
            let is_warm = |name: &String| self.clusters.get(name) == Some(&true);
            assert!(self.named.values().all(is_warm), "{:?} of {:?} after {received:?}", self.named, self.clusters);
        }
    }

    fn apply(&mut self, received: &Received) {
        match received.kind {
            Kind::Cluster => {
                let whole = self.fixture.session.variant == Variant::Sotw;
                let stays = |name: &String| match whole {
                    true => received.resources.contains_key(name),
                    false => !received.removed.contains(name),
                };
                self.clusters.retain(|name, _| stays(name));
                for name in received.resources.keys() {
                    self.clusters.entry(name.clone()).or_insert(false);
                }
            }
            Kind::Endpoint => {
                for name in received.resources.keys() {
                    self.clusters.entry(format!("c{name}")).and_modify(|warm| *warm = true);
                }
            }
            _ => {
                for (route, version) in &received.resources {
                    let of = |number: &u8| resource(Kind::Route, route, *number).version() == *version;
                    let number = (0..CLUSTERS).find(of).unwrap();
                    self.named.insert(route.clone(), cluster(number));
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Point(u8, u8),
    Read(usize),
    Ask,
    Acknowledge(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..ROUTES, 0..CLUSTERS).prop_map(|(route, number)| Op::Point(route, number)),
        3 => (1..4_usize).prop_map(Op::Read),
        2 => Just(Op::Ask),
        3 => (0..3_usize).prop_map(Op::Acknowledge),
    ]
}

const KINDS: [Kind; 3] = [Kind::Cluster, Kind::Endpoint, Kind::Route];

fn run(variant: Variant, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let mut envoy = Envoy::new(variant);
    for op in ops {
        match op {
            Op::Point(route, number) => {
                let mut routes = envoy.routes.clone();
                routes.insert(route, number);
                envoy.lay(routes);
            }
            Op::Read(number) => envoy.read(number),
            Op::Ask => envoy.ask(),
            Op::Acknowledge(kind) => envoy.acknowledge(KINDS[kind]),
        }
    }
    // Nobody waits for time.
    for _ in 0..10 {
        envoy.read(usize::MAX);
        envoy.ask();
        KINDS.into_iter().for_each(|kind| envoy.acknowledge(kind));
    }
    let expected: BTreeSet<String> = envoy.routes.values().map(|number| cluster(*number)).collect();
    prop_assert_eq!(envoy.clusters.keys().cloned().collect::<BTreeSet<_>>(), expected);
    let named: Vec<String> = envoy.routes.values().map(|number| cluster(*number)).collect();
    prop_assert_eq!(envoy.named.into_values().collect::<Vec<_>>(), named);
    Ok(())
}

proptest! {
    #[test]
    fn a_route_names_only_what_a_sotw_client_has(ops in prop::collection::vec(op(), 1..40)) {
        run(Variant::Sotw, ops)?;
    }

    #[test]
    fn a_route_names_only_what_a_delta_client_has(ops in prop::collection::vec(op(), 1..40)) {
        run(Variant::Delta, ops)?;
    }
}
