//! The parts of one view that its clients get: for each a generation of its own, made of what the view has.
//!
//! A change of a service is looked up by the names under which it can be wanted; only the parts that want it make another
//! generation, and so only their clients are woken. What several parts have is one value, and parts that come to the same
//! are one state: clients in two zones that no endpoint tells apart see one thing.

use super::{
    directory::{Directory, Places},
    look::Look,
    part::{Part, Pick, Wanted},
    producer::{Affected, Callers},
    variants::{Seen, Variants},
};
use crate::{
    model::{Locality, Text},
    resource::{Kind, Name, Resource, ViewGeneration},
    translate::envoy::{Place, Zones},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// The kinds of which a part may have less than its view, or other content. All others it shares.
const OWN: [Kind; 2] = [Kind::Cluster, Kind::Endpoint];

/// The names of resources that may differ, by the number of the state.
type Due = BTreeMap<u64, BTreeSet<(Kind, Name)>>;

/// The parts of a view. See the module.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The parts by their numbers in [`Handles`](super::handles::Handles).
    parts: BTreeMap<u64, Member>,
    states: BTreeMap<u64, State>,
    by_key: HashMap<Key, u64>,
    /// Counts up with each state.
    next: u64,
    /// Whether the rest has the view's services: not before the first step with parts.
    begun: bool,
    directory: Directory,
    places: Places,
    zones: Zones,
    /// Resources of the kinds in `OWN` that belong to no service, and so to every part.
    common: BTreeSet<(Kind, Name)>,
    variants: Variants,
    /// The connected callers at the last step.
    callers: Arc<Callers>,
}

#[derive(Debug)]
struct Member {
    part: Part,
    /// `None`: it has seen nothing yet.
    state: Option<u64>,
}

/// What decides the resources of a part. Parts with equal keys share one state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    wanted: Option<Arc<Wanted>>,
    at: Option<Place>,
    own: Option<Text>,
}

#[derive(Debug)]
struct State {
    key: Key,
    members: BTreeSet<u64>,
    generation: Arc<ViewGeneration>,
    /// The endpoints of its clients' own cluster.
    own: Option<Arc<Resource>>,
}

impl Parts {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// How many parts there are.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// Adds a part that has seen nothing.
    pub(super) fn add(&mut self, number: u64, part: Part) {
        self.parts.insert(number, Member { part, state: None });
    }

    /// Drops a part; with the last one all that was kept.
    pub(super) fn remove(&mut self, number: u64) {
        if let Some(Member { state: Some(state), .. }) = self.parts.remove(&number) {
            self.leave(number, state);
        }
        if self.parts.is_empty() {
            *self = Parts::default();
        }
    }

    /// Goes on to what the view has now; returns the parts that differ for it. `before` is what the view had.
    pub(super) fn step(
        &mut self,
        before: &Arc<ViewGeneration>,
        affected: &Affected,
        touched: &BTreeSet<(Kind, Name)>,
        look: &mut Look<'_>,
    ) -> Vec<(u64, Arc<ViewGeneration>)> {
        if self.parts.is_empty() {
            return Vec::new();
        }
        let mut due = Due::new();
        let mut renamed = BTreeSet::new();
        if std::mem::replace(&mut self.begun, true) {
            self.find_concerned(affected, look, &mut due, &mut renamed);
            self.take_common(affected, touched, look, &mut due);
        } else {
            self.begin(look);
        }
        let again = self.places.take_changed() | (self.zones != *look.translations.zones());
        let moved = self.assign(again, look, &mut due);
        self.count_own(again, &renamed, look, &mut due);
        // What states share with their view concerns all of them.
        let shared = |kind: &Kind| OWN.contains(kind) || Arc::ptr_eq(before.get(*kind), look.whole.get(*kind));
        let all = before.readiness() != look.whole.readiness() || !Kind::ALL.iter().all(shared);
        let differs = !Arc::ptr_eq(before, look.whole);
        for (number, state) in &self.states {
            if all || differs && state.key.is_derived() {
                due.entry(*number).or_default();
            }
        }
        let mut made = Vec::new();
        for (number, names) in due {
            if let Some(generation) = self.next(number, names, look) {
                let members = &self.states[&number].members;
                made.extend(members.iter().map(|member| (*member, generation.clone())));
            }
        }
        // Who came to a state that did not change.
        let told: BTreeSet<u64> = made.iter().map(|(member, _)| *member).collect();
        for member in moved.into_iter().filter(|member| !told.contains(member)) {
            let state = self.parts[&member].state.and_then(|state| self.states.get(&state));
            made.extend(state.map(|state| (member, state.generation.clone())));
        }
        self.variants.settle();
        made
    }

    /// Takes all that the view has, at the first step with parts.
    fn begin(&mut self, look: &Look<'_>) {
        for service in look.services().values() {
            self.directory.replace(&service.host, look.names(&service.host));
            self.places.replace(&service.host, look.service(&service.host).as_deref());
        }
        for kind in OWN {
            let names = look.whole.get(kind).versions().keys();
            let common = names.filter(|name| look.producers.owner(kind, name).is_none());
            self.common.extend(common.map(|name| (kind, name.clone())));
        }
    }

    /// Finds the states that have an affected service, or had it.
    fn find_concerned(&mut self, affected: &Affected, look: &Look<'_>, due: &mut Due, renamed: &mut BTreeSet<Text>) {
        for (host, touched) in affected {
            self.variants.forget(host);
            self.places.replace(host, look.service(host).as_deref());
            let names = look.names(host);
            let former = self.directory.replace(host, names.clone());
            renamed.extend(names.iter().chain(&former).cloned());
            for number in self.directory.who_want(names.iter().chain(&former)) {
                let key = &self.states[&number].key;
                let (now, then) = (key.pick(&names), key.pick(&former));
                if now.is_none() && then.is_none() {
                    continue;
                }
                let of_state = due.entry(number).or_default();
                of_state.extend(touched.iter().cloned());
                if now != then || now.flatten().is_some() || key.at.is_some() {
                    look.producers.add_names_of(host, of_state);
                }
            }
        }
    }

    /// Notes what belongs to no service, and concerns every state.
    fn take_common(&mut self, affected: &Affected, touched: &BTreeSet<(Kind, Name)>, look: &Look<'_>, due: &mut Due) {
        let of_services: BTreeSet<&(Kind, Name)> = affected.values().flatten().collect();
        for key in touched.iter().filter(|(kind, _)| OWN.contains(kind)) {
            let (kind, name) = key;
            let is = look.whole.get(*kind).get(name).is_some() && look.producers.owner(*kind, name).is_none();
            let was = if is { !self.common.insert(key.clone()) } else { self.common.remove(key) };
            if is || was || !of_services.contains(key) {
                for number in self.states.keys() {
                    due.entry(*number).or_default().insert(key.clone());
                }
            }
        }
    }

    /// Makes the endpoints of clients' own clusters anew, where a service of such a name, or who is connected, may differ.
    fn count_own(&mut self, again: bool, names: &BTreeSet<Text>, look: &Look<'_>, due: &mut Due) {
        let all = again || !Arc::ptr_eq(&self.callers, &look.sources.callers);
        self.callers = look.sources.callers.clone();
        for (number, state) in &mut self.states {
            let Some(cluster) = &state.key.own else { continue };
            if !(all || state.own.is_none() || names.contains(cluster)) {
                continue;
            }
            let service = self.directory.host_of(cluster).and_then(|host| look.service(host));
            let none = BTreeMap::new();
            let callers = self.callers.get(cluster).map_or(&none, |callers| &**callers);
            let own = look.translations.own_cluster(service.as_deref(), callers).map(Arc::new);
            if own != state.own {
                let key = |own: &Arc<Resource>| (Kind::Endpoint, own.name().clone());
                due.entry(*number).or_default().extend(own.iter().chain(&state.own).map(key));
                state.own = own;
            }
        }
    }

    /// Gives each part its state, where it has none, or where endpoints now tell other places apart; returns these parts.
    fn assign(&mut self, again: bool, look: &Look<'_>, due: &mut Due) -> Vec<u64> {
        if again {
            self.zones = look.translations.zones().clone();
        }
        let mut moved = Vec::new();
        let numbers: Vec<u64> = self.parts.keys().copied().collect();
        for number in numbers {
            let Member { part, state } = &self.parts[&number];
            if state.is_some() && !(again && (part.locality.is_some() || part.own.is_some())) {
                continue;
            }
            let place = |locality: &Locality| Place::of(locality, self.places.known(), &self.zones);
            let key = Key {
                wanted: part.wanted.clone(),
                at: part.locality.as_ref().and_then(place),
                own: part.own.clone().filter(|_| self.zones.own_cluster.is_some()),
            };
            let former = *state;
            let state = self.enter(number, key, look, due);
            if former != Some(state) {
                former.into_iter().for_each(|former| self.leave(number, former));
                if let Some(member) = self.parts.get_mut(&number) {
                    member.state = Some(state);
                }
                moved.push(number);
            }
        }
        moved
    }

    fn enter(&mut self, member: u64, key: Key, look: &Look<'_>, due: &mut Due) -> u64 {
        let number = match self.by_key.get(&key) {
            Some(number) => *number,
            None => self.create(key, look, due),
        };
        if let Some(state) = self.states.get_mut(&number) {
            state.members.insert(member);
        }
        number
    }

    fn create(&mut self, key: Key, look: &Look<'_>, due: &mut Due) -> u64 {
        let number = self.next;
        self.next += 1;
        let names = due.entry(number).or_default();
        if !key.is_derived() {
            self.directory.want(number, key.wanted.as_deref());
            let hosts = self.directory.hosts_of(key.wanted.as_deref());
            hosts.iter().for_each(|host| look.producers.add_names_of(host, names));
            names.extend(self.common.iter().cloned());
        }
        let unbuilt = ViewGeneration::unbuilt_part(look.whole.readiness().waiting(), key.own());
        self.by_key.insert(key.clone(), number);
        self.states.insert(number, State { key, members: BTreeSet::new(), generation: Arc::new(unbuilt), own: None });
        number
    }

    fn leave(&mut self, member: u64, number: u64) {
        let Some(state) = self.states.get_mut(&number) else { return };
        state.members.remove(&member);
        if state.members.is_empty() {
            self.directory.leave(number, state.key.wanted.as_deref());
            self.by_key.remove(&state.key);
            self.states.remove(&number);
        }
    }

    fn next(&mut self, number: u64, names: BTreeSet<(Kind, Name)>, look: &mut Look<'_>) -> Option<Arc<ViewGeneration>> {
        let key = self.states.get(&number)?.key.clone();
        if key.is_derived() {
            let state = self.states.get_mut(&number)?;
            let next = match &state.own {
                Some(own) => Arc::new(state.generation.next_beside(look.whole, Kind::Endpoint, own)?),
                None if Arc::ptr_eq(&state.generation, look.whole) => return None,
                None => look.whole.clone(),
            };
            state.generation = next.clone();
            return Some(next);
        }
        let own = names.into_iter().filter(|(kind, _)| key.own().contains(kind));
        let changes: Vec<_> = own
            .map(|(kind, name)| {
                let own = self.states.get(&number).and_then(|state| state.own.clone());
                let own = own.filter(|own| kind == Kind::Endpoint && *own.name() == name);
                let resource = own.or_else(|| self.resource(&key, kind, &name, look));
                (kind, name, resource)
            })
            .collect();
        let state = self.states.get_mut(&number)?;
        let next = state.generation.next_of(look.whole, key.own(), changes);
        let next = next.or_else(|| (state.generation.number() == 0).then(|| state.generation.built()))?;
        state.generation = Arc::new(next);
        Some(state.generation.clone())
    }

    /// The resource that a state has of that kind and name; `None`: it has none.
    fn resource(&mut self, key: &Key, kind: Kind, name: &Name, look: &mut Look<'_>) -> Option<Arc<Resource>> {
        let served = look.whole.get(kind).get(name)?.clone();
        let Some(host) = look.producers.owner(kind, name) else { return Some(served) };
        let pick = key.pick(self.directory.names(host))?;
        let differs = pick.is_some() || key.at.is_some();
        let Some(service) = differs.then(|| look.service(host)).flatten() else { return Some(served) };
        let seen = Seen::of(&service, &pick, key.at.as_ref(), &self.zones);
        Some(self.variants.get(&service, seen, (kind, name), look).unwrap_or(served))
    }
}

impl Key {
    /// Which instances of a service with these names are had; `None`: the service is not.
    fn pick(&self, names: &[Text]) -> Option<Pick> {
        match &self.wanted {
            _ if names.is_empty() => None,
            Some(wanted) => wanted.pick(names),
            None => Some(None),
        }
    }

    /// The kinds of which it may have other resources than the view.
    fn own(&self) -> &'static [Kind] {
        match (&self.wanted, &self.at) {
            (Some(_), _) => &OWN,
            (None, Some(_)) => &[Kind::Endpoint],
            (None, None) => &[],
        }
    }

    /// Whether it has all that the view has; at most the endpoints of its clients' own cluster are more.
    fn is_derived(&self) -> bool {
        self.own().is_empty()
    }
}
