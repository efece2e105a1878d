//! What stands of all that registries sent, as a value: no task, no clock, no log. What happened it says as [`Event`]s.
//!
//! Each scope of a registry is sent as a whole list. What a list lacks is deleted; but a scope that had [`MANY`] or more
//! manifests and lists none is held, until it has been listed so for [`HOLD`]: a server that lost its data must not take
//! the mesh's configuration with it. A failure in between begins that time anew.
//!
//! What is known from before a restart is as if an earlier reading had sent it.

use super::{Event, ManifestMemory, Memories, Memory, Snapshot, Source, State, Status};
use crate::{
    model::{Manifest, ManifestId, ManifestUpdate, Scope, Text},
    resource::{Kind, Name, Readiness, Resource},
    translate::istio::manifest,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// How long a loss of everything must last before it is followed, and how long services' entries wait for manifests' at
/// most.
pub(super) const HOLD: Duration = Duration::from_secs(60);

/// A loss of so many manifests at once is held: nobody deletes them all by hand.
const MANY: usize = 2;

/// All that registries sent.
#[derive(Debug)]
pub(super) struct Core {
    registries: BTreeMap<Text, Registry>,
    create_time: i64,
    /// Until when services' entries wait for those of manifests.
    patience: Instant,
    /// They wait no longer: the time is over, even if there was nothing to wait for, or all registries had been read before another
    /// one was added.
    waited: bool,
    conflicts: BTreeSet<(ManifestId, Text)>,
    events: Vec<Event>,
}

#[derive(Debug)]
struct Registry {
    source: Source,
    /// Whether its scopes are known.
    scoped: bool,
    scopes: BTreeMap<Scope, Listing>,
    /// Why it, or a scope of it, could not be read the last time.
    failures: BTreeMap<Option<Scope>, Text>,
    /// What it had before a restart is known.
    recalled: bool,
    /// What it has is of the registry that it is now: it was listed whole, or recalled, since it is read from there.
    own: bool,
    /// What was listed since it is read from there: its scopes, and which of them.
    heard: (bool, BTreeSet<Scope>),
}

#[derive(Debug, Default)]
struct Listing {
    /// Whether it is one of the registry's scopes now.
    named: bool,
    listed: bool,
    manifests: BTreeMap<ManifestId, Kept>,
    /// Since when it lists nothing, though it had many.
    empty_since: Option<Instant>,
}

/// A manifest, and what its last good text gave.
#[derive(Debug)]
struct Kept {
    manifest: Arc<Manifest>,
    /// The text that gave `resources`.
    good: Option<Text>,
    resources: Vec<(Kind, Arc<Resource>)>,
    problems: Option<Text>,
}

/// How a text is read: what it depends on besides itself.
#[derive(Debug)]
struct Reading<'a> {
    /// Istio's namespace of resources that name none.
    namespace: &'a Text,
    create_time: i64,
    events: &'a mut Vec<Event>,
}

impl Core {
    /// No registry, and nobody waits for one.
    pub(super) fn new(now: Instant) -> Self {
        Core {
            registries: BTreeMap::new(),
            create_time: 0,
            patience: now + HOLD,
            waited: false,
            conflicts: BTreeSet::new(),
            events: Vec::new(),
        }
    }

    /// Reads these registries from now on, and no others. A new one is awaited; one that is gone takes its manifests with
    /// it; texts are read again where their namespace, or the time of creation, is another.
    pub(super) fn configure(&mut self, sources: Vec<Source>, create_time: i64) {
        self.waited |= !self.registries.is_empty() && self.is_complete();
        let created_otherwise = std::mem::replace(&mut self.create_time, create_time) != create_time;
        let mut before = std::mem::take(&mut self.registries);
        for mut source in sources {
            let memory = source.memory.take();
            let mut registry = before
                .remove(&source.registry)
                .unwrap_or_else(|| Registry::new(source.clone(), memory.as_deref(), create_time, &mut self.events));
            let old = std::mem::replace(&mut registry.source, source);
            if created_otherwise || old.namespace != registry.source.namespace {
                registry.read_again(create_time, &mut self.events);
            }
            if old.identity != registry.source.identity {
                (registry.own, registry.heard) = Default::default();
            }
            self.registries.insert(registry.source.registry.clone(), registry);
        }
        self.events.extend(before.into_keys().map(|registry| Event::Gone { registry }));
    }

    /// Takes what a registry sent; of one that is not read it is passed over.
    pub(super) fn apply(&mut self, registry: &str, update: ManifestUpdate, now: Instant) {
        let Some(registry) = self.registries.get_mut(registry) else { return };
        let reading =
            Reading { namespace: &registry.source.namespace, create_time: self.create_time, events: &mut self.events };
        let of = &registry.source.registry;
        match update {
            ManifestUpdate::Scopes(names) => {
                recovered(&mut registry.failures, None, of, reading.events);
                (registry.scoped, registry.heard.0) = (true, true);
                rename(&mut registry.scopes, names, of, reading, now);
            }
            ManifestUpdate::Listed(scope, manifests) => {
                recovered(&mut registry.failures, Some(&scope), of, reading.events);
                let listing = registry.scopes.entry(scope.clone()).or_default();
                (listing.named, listing.listed) = (true, true);
                listing.list(manifests, of, &scope, reading, now);
                registry.heard.1.insert(scope);
            }
            ManifestUpdate::Failed(scope, error) => registry.fail(scope, error, &mut self.events),
        }
        registry.own |= registry.is_heard();
    }

    /// What is to be kept over a restart; nothing of a registry that was never listed whole.
    pub(super) fn remember(&self) -> Memories {
        let own = self.registries.iter().filter(|(_, registry)| registry.own);
        let memory = |(name, registry): (&Text, &Registry)| {
            (name.clone(), (registry.source.identity.clone(), registry.remember()))
        };
        own.map(memory).collect()
    }

    /// When [`Core::tick`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let listings = self.registries.values().flat_map(|registry| registry.scopes.values());
        let held = listings.filter_map(|listing| Some(listing.empty_since? + HOLD));
        held.chain((!self.waited).then_some(self.patience)).min()
    }

    /// Deletes manifests that were held for long enough, and ends the wait of services' entries.
    pub(super) fn tick(&mut self, now: Instant) {
        if !self.waited && self.patience <= now {
            self.waited = true;
            if !self.is_complete() {
                self.events.push(Event::Overdue { registries: self.pending() });
            }
        }
        for registry in self.registries.values_mut() {
            registry.let_go(now, &mut self.events);
        }
    }

    /// What happened since the last call.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// What stands now. Whoever hands it out numbers it.
    pub(super) fn snapshot(&mut self) -> Snapshot {
        let listings = self.registries.values().flat_map(|registry| registry.scopes.values());
        let all = listings.flat_map(|listing| listing.manifests.iter().map(move |kept| (kept, listing)));
        let all: BTreeMap<&ManifestId, (&Kept, &Listing)> = all.map(|((id, kept), l)| (id, (kept, l))).collect();
        let mut owners: BTreeMap<(Kind, Name), &ManifestId> = BTreeMap::new();
        let (mut resources, mut manifests, mut conflicts) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        for (id, (kept, listing)) in all {
            let (mut served, mut errors) = (Vec::new(), Vec::from_iter(kept.problems.clone()));
            for (kind, resource) in &kept.resources {
                let key = (*kind, resource.name().clone());
                match owners.get(&key) {
                    None => {
                        owners.insert(key.clone(), id);
                        resources.insert(key.clone(), resource.clone());
                        served.push(key);
                    }
                    Some(owner) => {
                        let error: Text = format!("{} {} stands in {owner} already", word(*kind), key.1).into();
                        conflicts.insert((id.clone(), error.clone()));
                        errors.push(error);
                    }
                }
            }
            let state = match kept.problems {
                Some(_) => State::Wrong,
                None if listing.empty_since.is_some() => State::Held,
                None if !errors.is_empty() => State::Conflicting,
                None => State::Good,
            };
            let error = (!errors.is_empty()).then(|| errors.join("\n").into());
            manifests.push(Status { id: id.clone(), state, resources: served, error });
        }
        let new = conflicts.difference(&self.conflicts);
        let conflict = |(manifest, error): &(ManifestId, Text)| {
            let (manifest, error) = (manifest.clone(), error.clone());
            Event::Conflict { manifest, error }
        };
        self.events.extend(new.map(conflict));
        self.conflicts = conflicts;
        let missing = || self.registries.values().filter(|registry| !registry.is_complete());
        let recalled = missing().next().is_some() && missing().all(|registry| registry.recalled);
        let (readiness, pending) = (self.readiness(), self.pending());
        Snapshot { number: 0, readiness, pending, recalled, resources, manifests, below: None }
    }

    /// All registries that are read, also those that have no manifests.
    pub(super) fn registries(&self) -> impl Iterator<Item = &Text> {
        self.registries.keys()
    }

    fn readiness(&self) -> Option<Readiness> {
        match (self.registries.is_empty(), self.is_complete()) {
            (true, _) => None,
            (_, true) => Some(Readiness::Complete),
            _ if self.waited => Some(Readiness::Partial),
            _ => Some(Readiness::Waiting),
        }
    }

    fn is_complete(&self) -> bool {
        self.registries.values().all(Registry::is_complete)
    }

    fn pending(&self) -> Vec<Text> {
        let pending = self.registries.iter().filter(|(_, registry)| !registry.is_complete());
        pending.map(|(name, _)| name.clone()).collect()
    }
}

impl Registry {
    fn new(source: Source, memory: Option<&Memory>, create_time: i64, events: &mut Vec<Event>) -> Self {
        let (scoped, scopes, failures, heard) = Default::default();
        let recalled = memory.is_some_and(|memory| !memory.scopes.is_empty());
        let mut registry = Registry { source, scoped, scopes, failures, recalled, own: recalled, heard };
        for (scope, manifests) in memory.iter().flat_map(|memory| &memory.scopes) {
            let listing = registry.scopes.entry(scope.clone()).or_default();
            listing.named = true;
            for memory in manifests {
                let reading = &mut Reading { namespace: &registry.source.namespace, create_time, events };
                listing.manifests.insert(memory.id.clone(), Kept::recall(memory, reading));
            }
        }
        registry
    }

    /// Whether all its scopes were listed since it is read from where it is read now, and nothing is held of what it had.
    fn is_heard(&self) -> bool {
        let (scoped, listed) = &self.heard;
        let heard = |(name, listing): (&Scope, &Listing)| listing.empty_since.is_none() && listed.contains(name);
        *scoped && self.scopes.iter().all(heard)
    }

    fn remember(&self) -> Memory {
        let manifest = |kept: &Kept| {
            let (id, good, text) = (kept.manifest.id.clone(), kept.good.clone(), kept.manifest.text.clone());
            ManifestMemory { id, good, text }
        };
        let scope =
            |(scope, listing): (&Scope, &Listing)| (scope.clone(), listing.manifests.values().map(manifest).collect());
        Memory { scopes: self.scopes.iter().map(scope).collect() }
    }

    /// Whether it has listed all its scopes once.
    fn is_complete(&self) -> bool {
        self.scoped && self.scopes.values().all(|listing| listing.listed || !listing.named)
    }

    /// It, or a scope of it, cannot be read: everything stays.
    fn fail(&mut self, scope: Option<Scope>, error: Text, events: &mut Vec<Event>) {
        let concerned = |name: &Scope| scope.as_ref().is_none_or(|scope| scope == name);
        let failed = self.scopes.iter_mut().filter(|(name, listing)| listing.named && concerned(name));
        failed.for_each(|(_, listing)| listing.empty_since = None);
        let again = self.failures.insert(scope.clone(), error.clone()).is_some_and(|before| before == error);
        events.push(Event::Failed { registry: self.source.registry.clone(), scope, error, again });
    }

    fn read_again(&mut self, create_time: i64, events: &mut Vec<Event>) {
        for kept in self.scopes.values_mut().flat_map(|listing| listing.manifests.values_mut()) {
            let reading = &mut Reading { namespace: &self.source.namespace, create_time, events };
            let (id, text, good) = (kept.manifest.id.clone(), kept.manifest.text.clone(), kept.good.clone());
            let mut fresh = Kept::recall(&ManifestMemory { id, good, text }, reading);
            // What the last good text gave stays, even where that is no longer one.
            if fresh.problems.is_some() && fresh.resources.is_empty() {
                fresh.resources = std::mem::take(&mut kept.resources);
            }
            *kept = fresh;
        }
    }

    fn let_go(&mut self, now: Instant, events: &mut Vec<Event>) {
        for (scope, listing) in &mut self.scopes {
            if listing.empty_since.is_some_and(|since| since + HOLD <= now) {
                let (registry, scope) = (self.source.registry.clone(), scope.clone());
                events.push(Event::Released { registry, scope, manifests: listing.manifests.len() });
                listing.manifests.clear();
                listing.empty_since = None;
            }
        }
        self.scopes.retain(|_, listing| listing.named || !listing.manifests.is_empty());
    }
}

/// These are a registry's scopes now; those that are no longer named are as if they listed nothing.
fn rename(
    scopes: &mut BTreeMap<Scope, Listing>,
    names: Vec<Scope>,
    registry: &Text,
    mut reading: Reading<'_>,
    now: Instant,
) {
    let names: BTreeSet<Scope> = names.into_iter().collect();
    for (scope, listing) in scopes.iter_mut().filter(|(scope, _)| !names.contains(scope)) {
        listing.named = false;
        let Reading { namespace, create_time, events } = &mut reading;
        let reading = Reading { namespace, create_time: *create_time, events };
        listing.list(Vec::new(), registry, scope, reading, now);
    }
    for scope in names {
        let listing = scopes.entry(scope).or_default();
        // One that is named again has not listed anything yet.
        listing.empty_since = listing.empty_since.filter(|_| listing.named);
        listing.named = true;
    }
    scopes.retain(|_, listing| listing.named || !listing.manifests.is_empty());
}

/// It can be read again, if it could not.
fn recovered(
    failures: &mut BTreeMap<Option<Scope>, Text>,
    scope: Option<&Scope>,
    registry: &Text,
    events: &mut Vec<Event>,
) {
    let scope = scope.cloned();
    if failures.remove(&scope).is_some() {
        events.push(Event::Recovered { registry: registry.clone(), scope });
    }
}

impl Listing {
    fn list(
        &mut self,
        manifests: Vec<Arc<Manifest>>,
        registry: &Text,
        scope: &Scope,
        mut reading: Reading<'_>,
        now: Instant,
    ) {
        if manifests.is_empty() && self.manifests.len() >= MANY {
            if self.empty_since.is_none() {
                self.empty_since = Some(now);
                let (registry, scope, manifests) = (registry.clone(), scope.clone(), self.manifests.len());
                reading.events.push(Event::Held { registry, scope, manifests });
            }
            return;
        }
        self.empty_since = None;
        let mut before = std::mem::take(&mut self.manifests);
        for manifest in manifests {
            let kept = match before.remove(&manifest.id) {
                Some(kept) if Arc::ptr_eq(&kept.manifest, &manifest) || kept.manifest == manifest => kept,
                old => Kept::read(manifest, old, &mut reading),
            };
            self.manifests.insert(kept.manifest.id.clone(), kept);
        }
    }
}

impl Kept {
    /// What a manifest was before a restart, read anew.
    fn recall(memory: &ManifestMemory, reading: &mut Reading<'_>) -> Kept {
        let ManifestMemory { id, good, text } = memory;
        let read = |text: &Result<Text, Text>, old, reading: &mut Reading<'_>| {
            Kept::read(Arc::new(Manifest { id: id.clone(), text: text.clone() }), old, reading)
        };
        let good = good.as_ref().map(|good| Ok(good.clone()));
        match good {
            None => read(text, None, reading),
            Some(good) if good == *text => read(text, None, reading),
            Some(good) => {
                let old = read(&good, None, reading);
                read(text, Some(old), reading)
            }
        }
    }

    /// Reads a text; where it is wrong, what the old one gave stays.
    fn read(manifest: Arc<Manifest>, old: Option<Kept>, reading: &mut Reading<'_>) -> Kept {
        let (id, wrong_before) = (manifest.id.clone(), old.as_ref().is_some_and(|old| old.problems.is_some()));
        let read = match &manifest.text {
            Ok(text) => manifest::read(&id.name, text, reading.namespace, reading.create_time).map_err(|problems| {
                let first = problems.iter().next().map(ToString::to_string).unwrap_or_default();
                (first, problems.iter().count(), problems.to_string().into())
            }),
            Err(error) => Err((error.to_string(), 1, error.clone())),
        };
        match read {
            Ok(resources) => {
                let resources: Vec<_> = resources.into_iter().map(|(kind, r)| (kind, Arc::new(r))).collect();
                reading.events.push(Event::Read { manifest: id, resources: resources.len(), wrong_before });
                let good = manifest.text.as_ref().ok().cloned();
                Kept { manifest, good, resources, problems: None }
            }
            Err((first, problems, text)) => {
                let (good, resources) = old.map(|old| (old.good, old.resources)).unwrap_or_default();
                let stays = resources.len();
                reading.events.push(Event::Wrong { manifest: id, first, problems, stays });
                Kept { manifest, good, resources, problems: Some(text) }
            }
        }
    }
}

/// Istio's word for a kind.
fn word(kind: Kind) -> &'static str {
    kind.group_and_word().map_or(kind.name(), |(_, word)| word)
}
