//! The catalog's core: everything known, and what is published of it, as one value that updates change.
//!
//! Pure: no task, no clock, no log. [`super::Writer`] feeds it; tests and benches do the same. The way of an update:
//! `heard` keeps what was said, `guard` may hold back what vanished, `settle` recomputes the services concerned and the
//! hosts that they feed, and [`Core::snapshot`] makes a new [`Catalog`] if that changed anything.
//!
//! Invariant: `services` and `records` depend only on what each registry has said in its own order (and when), never on
//! how the updates of different registries were interleaved.

use super::{
    Catalog, HoldEvent, Policy, Record,
    claims::Claims,
    endpoints::Answers,
    guard::Guard,
    heard::{Heard, Outcome},
    now::Now,
    publish::Memory,
    rules::Rules,
    status::{Account, Facts},
};
use crate::{
    model::{Hostname, Note, PublishedService, Readiness, Reason, Scope, ServiceId, Text, Update},
    util::small::SmallMap,
};
use imbl::OrdMap;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// Answers that may be kept beside as many as are in use.
const SPARE_ANSWERS: usize = 64;

/// Everything known and published.
#[derive(Debug)]
pub struct Core {
    pub(super) sources: Vec<Source>,
    pub(super) known: HashMap<ServiceId, Known>,
    pub(super) claims: Claims,
    pub(super) answers: Answers,
    pub(super) wanted: BTreeMap<Text, BTreeSet<ServiceId>>,
    pub(super) services: OrdMap<Hostname, Arc<PublishedService>>,
    pub(super) records: OrdMap<ServiceId, Arc<Record>>,
    /// When to look at a service again though nothing is heard of it. An entry too many does no harm.
    pub(super) timers: BTreeSet<(Instant, usize, ServiceId)>,
    /// Notes in all records, by [`Reason::ALL`].
    pub(super) notes: [usize; Reason::ALL.len()],
    pub(super) changed: bool,
    pub(super) restated: bool,
    wanted_changed: bool,
    grace_until: Instant,
    sync: Readiness,
    events: Vec<Event>,
    last: Arc<Catalog>,
}

/// One registry.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) rules: Rules,
    pub(super) heard: Heard,
    pub(super) guard: Guard,
    pub(super) account: Account,
    synced: bool,
}

/// What is known of a service beyond what its registry says.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The hosts it claims, and whether only lingering.
    pub(super) claims: SmallMap<Hostname, bool>,
    pub(super) memory: Memory,
    /// Host names that its instances have for addresses.
    pub(super) names: BTreeSet<Text>,
    pub(super) notes: Vec<Note>,
}

/// Something that people should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A scope, or the whole registry, could not be read.
    Failed {
        /// Of which registry.
        registry: Text,
        /// Which scope; `None`: the registry as a whole.
        scope: Option<Scope>,
        /// Why.
        error: Text,
        /// It could be read before.
        first: bool,
    },
    /// The registry was listed completely for the first time.
    Synced {
        /// Which.
        registry: Text,
    },
    /// A large drop is held back, or no longer.
    Hold {
        /// Of which registry.
        registry: Text,
        /// What happened.
        event: HoldEvent,
    },
}

impl Core {
    /// For registries with these policies, in the order of ownership. `grace` begins now.
    pub fn new(policies: Vec<Policy>, grace: Duration, now: Now) -> Self {
        let sources: Vec<Source> = policies.into_iter().map(Source::new).collect();
        let last = Arc::new(Catalog {
            number: 0,
            services: OrdMap::new(),
            records: OrdMap::new(),
            registries: sources.iter().map(|source| source.account.status()).collect(),
            sync: Readiness::Waiting,
        });
        let mut core = Core {
            sources,
            known: HashMap::new(),
            claims: Claims::default(),
            answers: Answers::new(),
            wanted: BTreeMap::new(),
            services: OrdMap::new(),
            records: OrdMap::new(),
            timers: BTreeSet::new(),
            notes: [0; Reason::ALL.len()],
            changed: false,
            restated: false,
            wanted_changed: false,
            grace_until: now.instant + grace,
            sync: Readiness::Waiting,
            events: Vec::new(),
            last,
        };
        core.judge_sync(now);
        core
    }

    /// Takes in what a registry says.
    pub fn apply(&mut self, registry: usize, update: Update, now: Now) {
        let Some(source) = self.sources.get_mut(registry) else { return };
        if let Update::Failed { scope, error } = &update {
            let first = source.heard.is_fine(scope.as_ref());
            let (registry, scope, error) = (source.rules.policy.registry.clone(), scope.clone(), error.clone());
            self.events.push(Event::Failed { registry, scope, error, first });
        }
        source.account.note(&update, now.wall);
        let by_list = matches!(update, Update::Listed { .. } | Update::Scopes(_));
        let outcome = source.heard.apply(update, now);
        self.follow(registry, outcome, by_list, now);
        let source = &mut self.sources[registry];
        if !source.synced && source.heard.is_listed() {
            source.synced = true;
            self.events.push(Event::Synced { registry: source.rules.policy.registry.clone() });
        }
        self.judge_sync(now);
    }

    /// Does what is due: ends grace, holds and lingering.
    pub fn tick(&mut self, now: Now) {
        for registry in 0..self.sources.len() {
            let outcome = self.sources[registry].heard.tick(now);
            self.follow(registry, outcome, true, now);
        }
        let mut due: BTreeMap<usize, BTreeSet<ServiceId>> = BTreeMap::new();
        while self.timers.first().is_some_and(|(at, ..)| *at <= now.instant) {
            if let Some((_, registry, id)) = self.timers.pop_first() {
                due.entry(registry).or_default().insert(id);
            }
        }
        for (registry, ids) in due {
            self.settle(registry, ids, now);
            self.restate(registry, now);
        }
        self.judge_sync(now);
    }

    /// The next moment at which [`Core::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let grace = (self.sync == Readiness::Waiting).then_some(self.grace_until);
        let sources = self.sources.iter().flat_map(|source| [source.heard.due(), source.guard.due()]);
        let timer = self.timers.first().map(|(at, ..)| *at);
        sources.chain([grace, timer]).flatten().min()
    }

    /// Follows a drop that is held back. `false` if the registry holds none.
    pub fn release(&mut self, registry: usize, now: Now) -> bool {
        let Some(source) = self.sources.get_mut(registry).filter(|source| source.guard.status().is_some()) else {
            return false;
        };
        let ids = source.guard.release();
        let (registry_name, event) = (source.rules.policy.registry.clone(), HoldEvent::Released);
        self.events.push(Event::Hold { registry: registry_name, event });
        self.settle(registry, ids.into_iter().collect(), now);
        self.restate(registry, now);
        true
    }

    /// Takes in what a host name resolves to. No answer is not told: the last good one stays.
    pub fn resolved(&mut self, name: &Text, mut addresses: Vec<IpAddr>, now: Now) {
        addresses.sort();
        addresses.dedup();
        let Some(users) = self.wanted.get(name) else { return };
        if addresses.is_empty() || self.answers.get(name).is_some_and(|known| **known == *addresses) {
            return;
        }
        let mut concerned: BTreeMap<usize, BTreeSet<ServiceId>> = BTreeMap::new();
        for id in users {
            if let Some(registry) = self.sources.iter().position(|s| s.rules.policy.registry == id.registry) {
                concerned.entry(registry).or_default().insert(id.clone());
            }
        }
        self.answers.insert(name.clone(), addresses.into());
        for (registry, ids) in concerned {
            self.settle(registry, ids, now);
        }
    }

    /// The host names to be resolved.
    pub fn wanted_names(&self) -> BTreeSet<Text> {
        self.wanted.keys().cloned().collect()
    }

    /// Whether [`Core::wanted_names`] has changed since this was last asked.
    pub fn take_wanted_changed(&mut self) -> bool {
        std::mem::take(&mut self.wanted_changed)
    }

    /// What happened since this was last asked.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Whether services, or their completeness, are not as in the last snapshot.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Whether anything at all is not as in the last snapshot.
    pub fn is_restated(&self) -> bool {
        self.changed || self.restated
    }

    /// How many notes of each reason the records hold.
    pub fn notes(&self) -> impl Iterator<Item = (Reason, usize)> {
        Reason::ALL.into_iter().zip(self.notes)
    }

    /// Everything as it is now. The same value as before if nothing changed.
    pub fn snapshot(&mut self) -> Arc<Catalog> {
        if self.is_restated() {
            self.last = Arc::new(Catalog {
                number: self.last.number + u64::from(self.changed),
                services: self.services.clone(),
                records: self.records.clone(),
                registries: self.sources.iter().map(|source| source.account.status()).collect(),
                sync: self.sync,
            });
            (self.changed, self.restated) = (false, false);
        }
        self.last.clone()
    }

    /// Brings what was heard to what is published.
    fn follow(&mut self, registry: usize, outcome: Outcome, by_list: bool, now: Now) {
        let source = &mut self.sources[registry];
        if outcome.after_outage {
            source.guard.be_wary(now.instant);
        }
        let mut ids: BTreeSet<ServiceId> = BTreeSet::new();
        let nothing_listed = by_list && !outcome.changes.is_empty() && source.heard.present == 0;
        for change in outcome.changes {
            source.guard.observe(&change, now);
            ids.insert(change.id);
        }
        let (concerned, event) = source.guard.judge(nothing_listed, now);
        ids.extend(concerned);
        if let Some(event) = event {
            self.events.push(Event::Hold { registry: source.rules.policy.registry.clone(), event });
        }
        self.settle(registry, ids, now);
        for id in outcome.marked {
            self.record(registry, &id);
        }
        self.restate(registry, now);
    }

    /// Brings a registry's status up to date.
    fn restate(&mut self, registry: usize, now: Now) {
        let Source { heard, guard, account, .. } = &mut self.sources[registry];
        let hold = guard.status().map(|(since, until, endpoints)| (since.wall, now.wall_at(until), endpoints));
        let facts = Facts { heard, endpoints: guard.total(), hold };
        self.restated |= account.restate(facts);
    }

    fn judge_sync(&mut self, now: Now) {
        let waiting = self.sources.iter().any(|source| source.rules.policy.required && !source.synced);
        let sync = match waiting {
            false => Readiness::Complete,
            true if now.instant < self.grace_until => Readiness::Waiting,
            true => Readiness::Partial,
        };
        self.changed |= sync != self.sync;
        self.sync = sync;
    }

    /// Follows which host names a service needs.
    pub(super) fn want(&mut self, id: &ServiceId, before: &BTreeSet<Text>, after: &BTreeSet<Text>) {
        for name in before.difference(after) {
            if let Some(users) = self.wanted.get_mut(name) {
                users.remove(id);
                if users.is_empty() {
                    self.wanted.remove(name);
                    self.wanted_changed = true;
                }
            }
        }
        for name in after.difference(before) {
            self.wanted_changed |= !self.wanted.contains_key(name);
            self.wanted.entry(name.clone()).or_default().insert(id.clone());
        }
        // An answer outlives its users: who wants the name again at once, as when an instance moves from one service to
        // another, needs it now, and the resolver, which saw no difference, would tell it only with its next answer.
        if self.answers.len() > 2 * self.wanted.len() + SPARE_ANSWERS {
            self.answers.retain(|name, _| self.wanted.contains_key(name));
        }
    }
}

impl Source {
    fn new(policy: Policy) -> Self {
        Source {
            heard: Heard::new(policy.absent_lists, policy.linger),
            guard: Guard::new(&policy),
            account: Account::new(&policy),
            rules: Rules::new(policy),
            synced: false,
        }
    }
}
