//! A client, as simple as it can be: what it wants, what it received, and what it must hold in the end.
//!
//! The property test drives a session and this client through random changes, subscriptions, acknowledgements, refusals
//! and reconnects. Once all is quiet the client must hold exactly what the view has of what it wants, no cluster may be
//! waiting for its assignment, and nothing more may be sent.

use super::super::*;
use crate::{
    resource::{KindReadiness, Readiness, Resource, put_field},
    xds::{fields::Fields, response::messages_of},
};
use proptest::prelude::*;
use prost_of_xds_api::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use xds_api::pb::{
    envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    },
    google::rpc::Status,
};

/// A resource whose body holds its name and a value; a cluster refers to the assignment of that name without its first
/// letter, so that several can share one.
pub(super) fn resource(kind: Kind, name: &str, value: u8) -> Resource {
    let mut body = Vec::new();
    put_field(&mut body, 1, name.as_bytes());
    put_field(&mut body, 2, &[value]);
    Resource::new(kind, name.into(), &body, (kind == Kind::Cluster).then(|| name[1..].into()))
}

pub(super) fn rules(answer_bytes: usize) -> Arc<Rules> {
    Arc::new(Rules {
        identifier: "test",
        ack_patience: Duration::from_millis(500),
        names: 1_000,
        answer_bytes,
        interner: Arc::default(),
    })
}

/// The messages in a session's frames, read.
pub(super) fn answers(session: &mut Session) -> Vec<Received> {
    let mut all = Vec::new();
    while let Some(frame) = session.next_frame() {
        all.extend_from_slice(&frame);
    }
    messages_of(&all).map(|message| Received::read(session.variant, message)).collect()
}

/// An answer of either variant: the version of each resource, as its body has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Received {
    pub(super) kind: Kind,
    pub(super) nonce: String,
    pub(super) version: String,
    pub(super) resources: BTreeMap<String, u64>,
    pub(super) removed: BTreeSet<String>,
}

impl Received {
    fn read(variant: Variant, raw: &[u8]) -> Received {
        let (type_url, nonce, version, bodies, removed) = match variant {
            Variant::Sotw => {
                let answer = DiscoveryResponse::decode(raw).unwrap();
                (answer.type_url, answer.nonce, answer.version_info, answer.resources, vec![])
            }
            Variant::Delta => {
                let answer = DeltaDiscoveryResponse::decode(raw).unwrap();
                let bodies = answer.resources.into_iter().map(|r| r.resource.unwrap()).collect();
                (answer.type_url, answer.nonce, answer.system_version_info, bodies, answer.removed_resources)
            }
        };
        let kind = Kind::of(&type_url).unwrap();
        let count = (bodies.len(), removed.len());
        let read = |body: &[u8]| {
            let name = str::from_utf8(Fields::new(body).next().unwrap().unwrap().1).unwrap();
            (name.to_string(), Resource::new(kind, name.into(), body, None).version())
        };
        let resources: BTreeMap<_, _> = bodies.iter().map(|any| read(&any.value)).collect();
        let removed: BTreeSet<_> = removed.into_iter().collect();
        assert_eq!((resources.len(), removed.len()), count, "a name twice (G5)");
        Received { kind, nonce, version, resources, removed }
    }
}

/// What a client has of one type.
#[derive(Debug, Default)]
struct Held {
    asked: bool,
    star: bool,
    /// Names were given once.
    named: bool,
    names: BTreeSet<String>,
    resources: BTreeMap<String, u64>,
    /// Received as removed since it was subscribed to.
    missing: BTreeSet<String>,
    version: String,
    unacknowledged: Vec<String>,
}

impl Held {
    fn everything(&self, kind: Kind) -> bool {
        self.asked && (self.star || (!self.named && kind.whole_state()))
    }

    fn wants(&self, kind: Kind, name: &str) -> bool {
        self.everything(kind) || self.names.contains(name)
    }
}

/// The client and its session.
struct World {
    variant: Variant,
    session: Session,
    rules: Arc<Rules>,
    view: Arc<ViewGeneration>,
    now: Instant,
    held: BTreeMap<Kind, Held>,
    /// Assignments that changed clusters wait for.
    warming: BTreeSet<String>,
}

/// Clusters and assignments are what matters most; routes are a named type without any tie.
const KINDS_USED: [Kind; 3] = [Kind::Cluster, Kind::Endpoint, Kind::Route];

impl World {
    fn new(variant: Variant) -> Self {
        let rules = rules(100);
        World {
            variant,
            session: Session::new(variant, None, rules.clone()),
            rules,
            view: Arc::new(ViewGeneration::empty()),
            now: Instant::now(),
            held: KINDS_USED.into_iter().map(|kind| (kind, Held::default())).collect(),
            warming: BTreeSet::new(),
        }
    }

    fn change(&mut self, readiness: Readiness, changes: Vec<(Kind, Name, Option<Resource>)>) {
        if let Some(next) = self.view.next(KindReadiness::of(Kind::ENVOY, readiness), changes) {
            self.view = Arc::new(next);
            self.session.on_generation(&self.view, self.now);
        }
    }

    fn request(&mut self, kind: Kind, subscribe: &[String], unsubscribe: &[String], nonce: String, error: bool) {
        let held = self.held.get_mut(&kind).unwrap();
        let error_detail = error.then(|| Status { message: "no".into(), ..Status::default() });
        let first = !std::mem::replace(&mut held.asked, true);
        let raw = match self.variant {
            Variant::Sotw => {
                let star = held.star.then(|| "*".to_string());
                DiscoveryRequest {
                    version_info: held.version.clone(),
                    resource_names: held.names.iter().cloned().chain(star).collect(),
                    type_url: kind.type_url().into(),
                    response_nonce: nonce,
                    error_detail,
                    ..Default::default()
                }
                .encode_to_vec()
            }
            Variant::Delta => {
                let has = first.then(|| held.resources.iter().map(|(n, v)| (n.clone(), version_text(*v))).collect());
                DeltaDiscoveryRequest {
                    type_url: kind.type_url().into(),
                    resource_names_subscribe: subscribe.to_vec(),
                    resource_names_unsubscribe: unsubscribe.to_vec(),
                    initial_resource_versions: has.unwrap_or_default(),
                    response_nonce: nonce,
                    error_detail,
                    ..Default::default()
                }
                .encode_to_vec()
            }
        };
        self.session.on_request(&raw.into(), &self.view, self.now).unwrap();
    }

    /// Wants other names.
    fn subscribe(&mut self, kind: Kind, names: BTreeSet<String>, star: bool) {
        let variant = self.variant;
        let held = self.held.get_mut(&kind).unwrap();
        let everything = held.everything(kind);
        if (everything && !star) || !held.names.is_subset(&names) {
            held.version.clear(); // it has not all of that version any more
        }
        let mut add: Vec<String> = names.difference(&held.names).cloned().collect();
        let mut drop: Vec<String> = held.names.difference(&names).cloned().collect();
        if star && !held.star {
            add.push("*".into());
        }
        if !star && (held.star || (variant == Variant::Delta && everything)) {
            drop.push("*".into());
        }
        held.named |= !names.is_empty() || star || (variant == Variant::Delta && held.asked);
        (held.names, held.star) = (names, star);
        let forget: Vec<String> = held.resources.keys().chain(&held.missing).cloned().collect();
        let legacy = variant == Variant::Delta && !held.asked && add.is_empty() && kind.whole_state();
        if legacy {
            held.star = true; // stays when names are added (D01)
        }
        for name in forget {
            let wanted = held.star || held.names.contains(&name) || (!held.named && kind.whole_state());
            if !wanted {
                held.resources.remove(&name);
            }
            if !held.names.contains(&name) {
                held.missing.remove(&name);
            }
        }
        self.request(kind, &add, &drop, String::new(), false);
    }

    /// Reads what was sent.
    fn read(&mut self) -> usize {
        let received = answers(&mut self.session);
        for received in &received {
            self.apply(received);
        }
        received.len()
    }

    fn apply(&mut self, received: &Received) {
        let kind = received.kind;
        let endpoints: BTreeSet<String> = self.held[&Kind::Endpoint].names.clone();
        let all_endpoints = self.held[&Kind::Endpoint].everything(Kind::Endpoint);
        let held = self.held.get_mut(&kind).unwrap();
        held.unacknowledged.push(received.nonce.clone());
        let whole = self.variant == Variant::Sotw && kind.whole_state();
        let mut resources = received.resources.clone();
        resources.retain(|name, _| held.wants(kind, name));
        // Of an answer to a wider request it keeps only a part of what that version has.
        let all = resources.len() == received.resources.len();
        held.version = if all { received.version.clone() } else { String::new() };
        for (name, version) in &resources {
            let differs = held.resources.get(name) != Some(version);
            if kind == Kind::Cluster && differs && (all_endpoints || endpoints.contains(&name[1..])) {
                self.warming.insert(name[1..].into());
            }
            if kind == Kind::Endpoint {
                self.warming.remove(name);
            }
            held.missing.remove(name);
        }
        match whole {
            true => held.resources = resources,
            false => held.resources.extend(resources),
        }
        for name in &received.removed {
            held.resources.remove(name);
            if held.names.contains(name) {
                held.missing.insert(name.clone());
            }
        }
    }

    fn acknowledge(&mut self, kind: Kind, error: bool) {
        let held = self.held.get_mut(&kind).unwrap();
        for nonce in std::mem::take(&mut held.unacknowledged) {
            self.request(kind, &[], &[], nonce, error);
        }
    }

    fn reconnect(&mut self) {
        self.session = Session::new(self.variant, None, self.rules.clone());
        self.warming.clear();
        for kind in KINDS_USED {
            let held = self.held.get_mut(&kind).unwrap();
            held.unacknowledged.clear();
            held.missing.clear();
            if !std::mem::take(&mut held.asked) {
                continue;
            }
            let nothing = held.names.is_empty() && !held.star;
            if nothing && (held.named || !kind.whole_state()) {
                // It wants nothing any more: a new stream does not ask, and what it has is dropped.
                *held = Held::default();
                continue;
            }
            let star = held.star.then(|| "*".to_string());
            let names: Vec<String> = held.names.iter().cloned().chain(star).collect();
            self.request(kind, &names, &[], String::new(), false);
        }
    }

    /// Lets everything come to rest, then checks.
    fn come_to_rest(&mut self) -> Result<(), TestCaseError> {
        self.change(Readiness::Complete, vec![]);
        for round in 0.. {
            let mut busy = self.read();
            for kind in KINDS_USED {
                busy += self.held[&kind].unacknowledged.len();
                self.acknowledge(kind, false);
            }
            busy += self.read();
            self.now += Duration::from_secs(1);
            self.session.on_generation(&self.view, self.now);
            if busy + self.read() == 0 && self.session.due().is_none() {
                break;
            }
            prop_assert!(round < 20, "it never comes to rest");
        }
        for kind in KINDS_USED {
            self.check(kind)?;
        }
        // A view has an assignment for each cluster; where this one has not, nobody can send it.
        let endpoints = self.view.get(Kind::Endpoint);
        let wants = |name: &str| self.held[&Kind::Endpoint].wants(Kind::Endpoint, name);
        self.warming.retain(|name| endpoints.get(name).is_some() && wants(name));
        prop_assert_eq!(&self.warming, &BTreeSet::new());
        prop_assert_eq!(self.session.due(), None);
        Ok(())
    }

    fn check(&self, kind: Kind) -> Result<(), TestCaseError> {
        let (held, generation) = (&self.held[&kind], self.view.get(kind));
        let wanted = generation.iter().filter(|r| held.wants(kind, r.name()));
        let mut expected: BTreeMap<String, u64> = wanted.map(|r| (r.name().to_string(), r.version())).collect();
        let absent: BTreeSet<_> = held.names.iter().filter(|n| generation.get(n).is_none()).cloned().collect();
        match (self.variant, kind) {
            (Variant::Sotw, Kind::Endpoint) => {
                let empty = |n: &String| (n.clone(), Resource::absent(kind, &(&**n).into()).version());
                expected.extend(absent.iter().map(empty));
                if held.everything(kind) {
                    // What was removed between two streams cannot be sent: nobody named it.
                    let got = held.resources.iter().filter(|(name, _)| expected.contains_key(*name));
                    let got: BTreeMap<_, _> = got.map(|(n, v)| (n.clone(), *v)).collect();
                    prop_assert_eq!(&got, &expected);
                    return Ok(());
                }
            }
            // One that is named and gone stays as it was, and one that never was is empty; neither is told as removed.
            (_, Kind::Route) => {
                for (name, version) in &expected {
                    prop_assert_eq!(held.resources.get(name), Some(version));
                }
                for name in &absent {
                    prop_assert!(held.resources.contains_key(name) && !held.missing.contains(name), "{}", name);
                }
                return Ok(());
            }
            (Variant::Sotw, _) => {}
            (Variant::Delta, _) => prop_assert_eq!(&held.missing, &absent, "{:?}", kind),
        }
        prop_assert_eq!(&held.resources, &expected, "{:?}", kind);
        Ok(())
    }
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Op {
    Change(Vec<(usize, u8, Option<u8>)>),
    Subscribe(usize, BTreeSet<u8>, bool),
    Read,
    Acknowledge(usize, bool),
    Wait(u64),
    Reconnect,
    Ready,
    Rest,
}

fn op() -> impl Strategy<Value = Op> {
    let change = (0..KINDS_USED.len(), 0u8..6, prop::option::weighted(0.7, 0u8..3));
    prop_oneof![
        5 => prop::collection::vec(change, 1..5).prop_map(Op::Change),
        4 => (0..KINDS_USED.len(), prop::collection::btree_set(0u8..6, 0..5), prop::bool::weighted(0.2))
            .prop_map(|(kind, names, star)| Op::Subscribe(kind, names, star)),
        4 => Just(Op::Read),
        4 => (0..KINDS_USED.len(), prop::bool::weighted(0.2)).prop_map(|(kind, error)| Op::Acknowledge(kind, error)),
        2 => (0u64..700).prop_map(Op::Wait),
        1 => Just(Op::Reconnect),
        1 => Just(Op::Ready),
        1 => Just(Op::Rest),
    ]
}

/// Clusters `a0 b1 a2 b3 …` refer to the assignments `0 1 2 …`: `a0` and `b0` would share one.
fn name(kind: Kind, i: u8) -> String {
    match kind {
        Kind::Cluster => format!("{}{}", if i.is_multiple_of(2) { 'a' } else { 'b' }, i / 2),
        _ => i.to_string(),
    }
}

fn run(variant: Variant, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let mut world = World::new(variant);
    for op in ops {
        let readiness = world.view.readiness_of(Kind::Cluster).unwrap_or(Readiness::Waiting);
        match op {
            Op::Change(changes) => {
                let change = |(kind, i, value): (usize, u8, Option<u8>)| {
                    let (kind, name) = (KINDS_USED[kind], name(KINDS_USED[kind], i));
                    let made = value.map(|value| resource(kind, &name, value));
                    (kind, Name::from(name), made)
                };
                world.change(readiness, changes.into_iter().map(change).collect());
            }
            Op::Subscribe(kind, names, star) => {
                let kind = KINDS_USED[kind];
                world.subscribe(kind, names.into_iter().map(|i| name(kind, i)).collect(), star);
            }
            Op::Read => drop(world.read()),
            Op::Acknowledge(kind, error) => world.acknowledge(KINDS_USED[kind], error),
            Op::Wait(millis) => {
                world.now += Duration::from_millis(millis);
                world.session.on_generation(&world.view, world.now);
            }
            Op::Reconnect => world.reconnect(),
            Op::Ready if readiness == Readiness::Waiting => {
                prop_assert_eq!(world.read(), 0, "an answer before the sources were read");
                world.change(Readiness::Partial, vec![]);
            }
            Op::Ready => world.change(Readiness::Complete, vec![]),
            Op::Rest => world.come_to_rest()?,
        }
    }
    world.come_to_rest()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(600)))]

    #[test]
    fn a_sotw_client_holds_what_it_wants(ops in prop::collection::vec(op(), 1..40)) {
        run(Variant::Sotw, ops)?;
    }

    #[test]
    fn a_delta_client_holds_what_it_wants(ops in prop::collection::vec(op(), 1..40)) {
        run(Variant::Delta, ops)?;
    }
}

#[test]
fn what_was_on_its_way_when_the_wildcard_was_left_is_told_as_gone() {
    let ops = vec![
        Op::Subscribe(0, BTreeSet::new(), false),
        Op::Ready,
        Op::Change(vec![(0, 2, Some(0))]),
        Op::Reconnect,
        Op::Change(vec![(0, 2, None)]),
        Op::Subscribe(0, BTreeSet::from([3]), false),
        Op::Subscribe(0, BTreeSet::new(), true),
    ];
    run(Variant::Delta, ops).unwrap();
}

#[test]
fn what_was_on_its_way_when_its_name_was_left_is_told_as_gone() {
    let ops = vec![
        Op::Ready,
        Op::Change(vec![(2, 4, Some(0))]),
        Op::Subscribe(2, BTreeSet::from([4]), false),
        Op::Change(vec![(2, 4, None)]),
        Op::Subscribe(2, BTreeSet::new(), false),
        Op::Wait(500),
        Op::Subscribe(2, BTreeSet::new(), true),
    ];
    run(Variant::Delta, ops).unwrap();
}

#[test]
fn who_leaves_everything_before_its_answer_and_comes_back_is_sent_all() {
    let ops = vec![
        Op::Ready,
        Op::Change(vec![(0, 0, Some(0))]),
        Op::Subscribe(0, BTreeSet::new(), true),
        Op::Read,
        Op::Reconnect,
        Op::Subscribe(0, BTreeSet::new(), false),
        Op::Subscribe(0, BTreeSet::new(), true),
    ];
    run(Variant::Sotw, ops).unwrap();
}

#[test]
fn what_went_while_a_client_was_away_is_told_though_it_now_wants_it_by_the_wildcard_only() {
    let route = |value| Op::Change(vec![(2, 2, value)]);
    let named = Op::Subscribe(2, BTreeSet::from([2]), false);
    let wildcard = Op::Subscribe(2, BTreeSet::new(), true);
    let ops = vec![named, Op::Ready, route(Some(0)), Op::Read, route(None), Op::Reconnect, wildcard];
    run(Variant::Delta, ops).unwrap();
}
