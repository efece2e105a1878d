//! A client, as simple as it can be: what it wants, what it received, and what it must hold in the end.
//!
//! The property test drives a session and this client through random changes, subscriptions, acknowledgements, refusals
//! and reconnects. Once all is quiet the client must hold exactly what the view has of what it wants, no cluster may be
//! waiting for its assignment, and nothing more may be sent.
//!
//! Some clients refuse certain contents, and so each answer that holds one. They say which, or not; and take the rest of such
//! an answer, or nothing. In the end they hold everything else, and of what they refuse what they had before.

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
    /// Nonces, with the client's words where it refuses.
    unacknowledged: Vec<(String, Option<String>)>,
    /// What it refuses, by name, and what it had when it did.
    kept: BTreeMap<String, (u64, Option<u64>)>,
    /// What it has of answers that it took whole.
    sure: BTreeMap<String, u64>,
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
    manners: Manners,
    /// How many messages it has read since it last came to rest.
    messages: usize,
}

/// What a client refuses, and how.
#[derive(Debug, Clone, Default)]
pub(super) struct Manners {
    /// Place in [`KINDS_USED`], number of the name, and value of each content that it refuses.
    pub(super) refuses: BTreeSet<(usize, u8, u8)>,
    /// Its error message names what it refuses.
    pub(super) names: bool,
    /// It takes the rest of an answer that holds one.
    pub(super) takes_rest: bool,
}

impl Manners {
    fn refuses(&self, kind: Kind, of: &str, version: u64) -> bool {
        self.refuses.iter().any(|(at, i, value)| {
            KINDS_USED[*at] == kind && name(kind, *i) == of && resource(kind, of, *value).version() == version
        })
    }
}

/// Clusters and assignments are what matters most; routes are a named type without any tie.
const KINDS_USED: [Kind; 3] = [Kind::Cluster, Kind::Endpoint, Kind::Route];

impl World {
    fn new(variant: Variant, manners: Manners) -> Self {
        let rules = rules(100);
        World {
            variant,
            session: Session::new(variant, None, rules.clone()),
            rules,
            view: Arc::new(ViewGeneration::empty()),
            now: Instant::now(),
            held: KINDS_USED.into_iter().map(|kind| (kind, Held::default())).collect(),
            warming: BTreeSet::new(),
            manners,
            messages: 0,
        }
    }

    fn change(&mut self, readiness: Readiness, changes: Vec<(Kind, Name, Option<Resource>)>) {
        for (kind, name, _) in &changes {
            self.held.get_mut(kind).unwrap().kept.remove(&**name);
        }
        if let Some(next) = self.view.next(KindReadiness::of(Kind::ENVOY, readiness), changes) {
            self.view = Arc::new(next);
            self.session.on_generation(&self.view, self.now);
        }
    }

    fn request(
        &mut self,
        kind: Kind,
        subscribe: &[String],
        unsubscribe: &[String],
        nonce: String,
        error: Option<String>,
    ) {
        let held = self.held.get_mut(&kind).unwrap();
        let error_detail = error.map(|message| Status { message, ..Status::default() });
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

    /// Subscribes to these names instead of those before.
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
        // What it does not want any more it drops, and is told again as if it never had it.
        held.kept.clear();
        self.request(kind, &add, &drop, String::new(), None);
    }

    /// Reads what was sent.
    fn read(&mut self) -> usize {
        let received = answers(&mut self.session);
        for received in &received {
            self.judge(received);
        }
        self.messages += received.len();
        received.len()
    }

    /// Takes an answer, or refuses it.
    fn judge(&mut self, received: &Received) {
        let (kind, manners) = (received.kind, self.manners.clone());
        let held = self.held.get_mut(&kind).unwrap();
        let bad = |(name, version): &(&String, &u64)| manners.refuses(kind, name, **version);
        let refused: Vec<(String, u64)> =
            received.resources.iter().filter(bad).map(|(name, version)| (name.clone(), *version)).collect();
        if refused.is_empty() {
            held.unacknowledged.push((received.nonce.clone(), None));
            self.apply(received);
            let held = self.held.get_mut(&kind).unwrap();
            // What it takes later is what it goes on with.
            for (name, (_, had)) in &mut held.kept {
                let gone = (self.variant == Variant::Sotw && kind.whole_state()) || received.removed.contains(name);
                *had = received.resources.get(name).copied().or(had.filter(|_| !gone));
            }
            held.sure.extend(received.resources.clone());
            held.sure.retain(|name, version| held.resources.get(name) == Some(version));
            return;
        }
        let whole = self.variant == Variant::Sotw && kind.whole_state();
        for (name, version) in &refused {
            let had = held.resources.get(name).copied();
            held.kept.remove(name);
            // What it took of an answer that it refused the server does not know to be there.
            if !whole || had == held.sure.get(name).copied() {
                held.kept.insert(name.clone(), (*version, had));
            }
        }
        let reasons: Vec<String> = refused.iter().map(|(name, _)| format!("{name}: no such thing")).collect();
        let words = if manners.names { format!("Error adding {}", reasons.join(", ")) } else { "no".into() };
        held.unacknowledged.push((received.nonce.clone(), Some(words)));
        if manners.takes_rest {
            // Of those it keeps what it has.
            let mut rest = received.clone();
            for (name, _) in &refused {
                match held.resources.get(name) {
                    Some(had) => drop(rest.resources.insert(name.clone(), *had)),
                    None => drop(rest.resources.remove(name)),
                }
            }
            rest.version.clone_from(&held.version);
            self.apply(&rest);
            // It has not all of any version now.
            let held = self.held.get_mut(&kind).unwrap();
            held.version.clear();
            held.sure.retain(|name, version| held.resources.get(name) == Some(version));
        }
    }

    fn apply(&mut self, received: &Received) {
        let kind = received.kind;
        let endpoints: BTreeSet<String> = self.held[&Kind::Endpoint].names.clone();
        let all_endpoints = self.held[&Kind::Endpoint].everything(Kind::Endpoint);
        let held = self.held.get_mut(&kind).unwrap();
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

    fn acknowledge(&mut self, kind: Kind) {
        let held = self.held.get_mut(&kind).unwrap();
        for (nonce, error) in std::mem::take(&mut held.unacknowledged) {
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
            held.kept.clear();
            held.sure.clear();
            if self.variant == Variant::Sotw && !self.manners.refuses.is_empty() {
                // What a client of state of the world has from before is not known: one that refuses begins anew.
                held.resources.clear();
                held.version.clear();
            }
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
            self.request(kind, &names, &[], String::new(), None);
        }
    }

    /// Lets everything come to rest, then checks.
    fn come_to_rest(&mut self) -> Result<(), TestCaseError> {
        self.change(Readiness::Complete, vec![]);
        for round in 0.. {
            let mut busy = self.read();
            for kind in KINDS_USED {
                busy += self.held[&kind].unacknowledged.len();
                self.acknowledge(kind);
            }
            busy += self.read();
            self.now += Duration::from_secs(1);
            self.session.on_generation(&self.view, self.now);
            if busy + self.read() == 0 && self.session.due().is_none() {
                break;
            }
            prop_assert!(round < 40, "it never comes to rest");
        }
        prop_assert!(self.messages < 400, "{} messages", self.messages);
        self.messages = 0;
        for kind in KINDS_USED {
            self.check(kind)?;
        }
        // A view has an assignment for each cluster; where this one has not, nobody can send it.
        let endpoints = self.view.get(Kind::Endpoint);
        let wants = |name: &str| self.held[&Kind::Endpoint].wants(Kind::Endpoint, name);
        let manners = &self.manners;
        self.warming.retain(|name| {
            let assignment = endpoints.get(name);
            let served = assignment.filter(|of| !manners.refuses(Kind::Endpoint, name, of.version()));
            served.is_some() && wants(name)
        });
        prop_assert_eq!(&self.warming, &BTreeSet::new());
        prop_assert_eq!(self.session.due(), None);
        Ok(())
    }

    fn check(&self, kind: Kind) -> Result<(), TestCaseError> {
        let (held, generation) = (&self.held[&kind], self.view.get(kind));
        let is_refused = |r: &&Arc<Resource>| self.manners.refuses(kind, r.name(), r.version());
        let wanted = generation.iter().filter(|r| held.wants(kind, r.name()) && !is_refused(r));
        let mut expected: BTreeMap<String, u64> = wanted.map(|r| (r.name().to_string(), r.version())).collect();
        let mut resources = held.resources.clone();
        for refused in generation.iter().filter(is_refused) {
            let name = refused.name().to_string();
            let has = resources.remove(&name);
            if let Some((_, had)) = held.kept.get(&name).filter(|(version, _)| *version == refused.version()) {
                // Where it had nothing it may be told that there is nothing, as of all that is not there.
                let absent = Some(Resource::absent(kind, refused.name()).version());
                let told = had.is_none() && has == absent;
                prop_assert!(told || has == *had, "{:?} {}: {:?} and not {:?}", kind, name, has, had);
            }
            // It waits for nothing of what it does not take.
            prop_assert!(has.is_none_or(|has| has != refused.version()));
        }
        let missing: BTreeSet<String> =
            held.missing.iter().filter(|name| generation.get(name).is_none_or(|r| !is_refused(&r))).cloned().collect();
        let absent: BTreeSet<_> = held.names.iter().filter(|n| generation.get(n).is_none()).cloned().collect();
        match (self.variant, kind) {
            (Variant::Sotw, Kind::Endpoint) => {
                let empty = |n: &String| (n.clone(), Resource::absent(kind, &(&**n).into()).version());
                expected.extend(absent.iter().map(empty));
                if held.everything(kind) {
                    // What was removed between two streams cannot be sent: nobody named it.
                    let got = resources.iter().filter(|(name, _)| expected.contains_key(*name));
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
                // What it took of one that it may have refused is not known.
                for name in absent.iter().filter(|_| self.manners.refuses.is_empty()) {
                    prop_assert!(held.resources.contains_key(name) && !held.missing.contains(name), "{}", name);
                }
                return Ok(());
            }
            (Variant::Sotw, _) => {}
            (Variant::Delta, _) => prop_assert_eq!(&missing, &absent, "{:?}", kind),
        }
        prop_assert_eq!(&resources, &expected, "{:?}", kind);
        Ok(())
    }
}

/// Something that happens.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Change(Vec<(usize, u8, Option<u8>)>),
    Subscribe(usize, BTreeSet<u8>, bool),
    Read,
    Acknowledge(usize),
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
        4 => (0..KINDS_USED.len()).prop_map(Op::Acknowledge),
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

fn manners() -> impl Strategy<Value = Manners> {
    let refuses = prop::collection::btree_set((0..KINDS_USED.len(), 0u8..6, 0u8..3), 0..8);
    (refuses, any::<bool>(), any::<bool>()).prop_map(|(refuses, names, takes_rest)| Manners {
        refuses,
        names,
        takes_rest,
    })
}

pub(super) fn run(variant: Variant, ops: Vec<Op>) -> Result<(), TestCaseError> {
    run_with(variant, Manners::default(), ops)
}

pub(super) fn run_with(variant: Variant, manners: Manners, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let mut world = World::new(variant, manners);
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
            Op::Acknowledge(kind) => world.acknowledge(KINDS_USED[kind]),
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

    #[test]
    fn a_sotw_client_that_refuses_holds_all_the_rest(
        manners in manners(), ops in prop::collection::vec(op(), 1..40),
    ) {
        run_with(Variant::Sotw, manners, ops)?;
    }

    #[test]
    fn a_delta_client_that_refuses_holds_all_the_rest(
        manners in manners(), ops in prop::collection::vec(op(), 1..40),
    ) {
        run_with(Variant::Delta, manners, ops)?;
    }
}
