//! The catalog's core: everything known, and what is published of it, as one value that updates change.
//!
//! Pure: no task, no clock, no log. [`super::Writer`] feeds it; tests and benches do the same. The way of an update:
//! the registry's `ledger` keeps what was reported, its `removal_guard` may hold back what is lost, `recompute` brings the
//! services concerned and the hosts that they feed up to date, and [`Core::snapshot`] makes a new [`Catalog`] if that
//! changed anything. `configure` says which registries there are, and how their services are published.
//!
//! Invariant: `services` and `records` depend only on the configuration and on what each registry has reported in its own
//! order (and when), never on how the updates of different registries were interleaved.

use super::{
    Catalog, HoldCause, Services,
    desired::{Desired, Outcome, Pending, Reading},
    event::Event,
    ledger::Effect,
    names::Names,
    now::Now,
    overrides::{Order, Override, Overrides, Refused},
    publishing::Publishing,
    recompute::Recompute,
    removal_guard::HoldEvent,
    source::Intake,
    status::Held,
};
use crate::model::{Hostname, Readiness, Reason, ServiceId, Text, Update};
use imbl::OrdMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// Everything known and published.
#[derive(Debug, Clone)]
pub struct Core {
    pub(super) intake: Intake,
    pub(super) publishing: Publishing,
    pub(super) names: Names,
    overrides: Overrides,
    started: Instant,
    grace: Duration,
    sync: Readiness,
    /// Becomes [`Catalog::known`] with the next snapshot.
    known: Readiness,
    grace_is_over: bool,
    /// The [`Desired::revision`] of the configuration that is followed.
    revision: u64,
    /// A registry's status has changed since the last snapshot.
    pub(super) restated: bool,
    events: Vec<Event>,
    pub(super) last_epoch: u64,
    /// How often something has changed of what is kept over a restart.
    pub(super) touches: u64,
    /// Policies and ranks of the configuration that are held back.
    pub(super) pending: Option<Pending>,
    last: Arc<Catalog>,
}

impl Core {
    /// Without any registry. `grace` begins now.
    pub fn new(grace: Duration, now: Now) -> Self {
        let last = Catalog {
            number: 0,
            revision: 0,
            services: OrdMap::new(),
            overrides: Arc::new([]),
            records: OrdMap::new(),
            registries: Arc::new([]),
            sync: Readiness::Waiting,
            known: Readiness::Waiting,
        };
        Core {
            intake: Intake::default(),
            publishing: Publishing::default(),
            names: Names::default(),
            overrides: Overrides::default(),
            started: now.instant,
            grace,
            sync: Readiness::Waiting,
            known: Readiness::Waiting,
            grace_is_over: false,
            revision: 0,
            restated: false,
            events: Vec::new(),
            last_epoch: 0,
            touches: 0,
            pending: None,
            last: Arc::new(last),
        }
    }

    /// Follows a configuration. `force`: also where that takes many endpoints away.
    pub fn configure(&mut self, desired: Desired, force: bool, now: Now) -> Outcome {
        (self.grace, self.revision) = (desired.options.grace, desired.revision);
        let outcome = self.follow_configuration(desired, force, now);
        self.judge_sync(now);
        outcome
    }

    /// The reading of a registry whose updates are taken; `None` if the configuration has no such registry.
    pub fn reading(&self, registry: &str) -> Option<Reading> {
        let source = self.intake.sources.get(registry).filter(|source| !source.removed)?;
        Some(Reading { registry: source.name().clone(), epoch: source.epoch })
    }

    /// Takes in what a reading of a registry reports; nothing of one that was replaced.
    pub fn apply(&mut self, reading: &Reading, update: Update, now: Now) {
        let Some(source) = self.intake.sources.get_mut(&reading.registry) else { return };
        if source.epoch != reading.epoch || source.removed {
            return;
        }
        if let Update::Failed { scope, error } = &update {
            let first = source.ledger.is_fine(scope.as_ref());
            let (registry, scope, error) = (reading.registry.clone(), scope.clone(), error.clone());
            self.events.push(Event::Failed { registry, scope, error, first });
        }
        source.status.note(&update, now.wall);
        let by_list = matches!(update, Update::Listed { .. } | Update::Scopes(_));
        let was_rereading = source.ledger.is_rereading();
        let effect = source.ledger.apply(update, now);
        let read_anew = was_rereading && !source.ledger.is_rereading();
        source.reconnected &= !read_anew;
        let synced = !source.synced && source.ledger.is_listed();
        source.synced |= synced;
        self.follow(&reading.registry, effect, by_list, now);
        if read_anew {
            // Even if it is the same as before: by now it is what the registry has where it is read now.
            self.touch(&reading.registry);
        }
        if synced {
            self.events.push(Event::Synced { registry: reading.registry.clone() });
            self.forget_replaced(now);
        }
        self.judge_sync(now);
    }

    /// Does what is due: ends grace, holds and lingering.
    pub fn tick(&mut self, now: Now) {
        let registries: Vec<Text> = self.intake.sources.keys().cloned().collect();
        self.end_pending(now);
        for over in self.overrides.end(now.instant) {
            self.touches += 1;
            self.events.push(Event::Lifted { over: Box::new(over), by: None });
        }
        for registry in registries {
            let Some(source) = self.intake.sources.get_mut(&registry) else { continue };
            let effect = source.ledger.tick(now);
            self.follow(&registry, effect, true, now);
        }
        let due = self.intake.take_due(now.instant);
        self.recompute(due, now);
        self.judge_sync(now);
    }

    /// The next moment at which [`Core::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let waits = !self.grace_is_over && self.known != Readiness::Complete;
        let grace = waits.then(|| self.started + self.grace);
        let pending = self.pending.as_ref().map(|pending| pending.until);
        [self.intake.due(), grace, pending, self.overrides.due()].into_iter().flatten().min()
    }

    /// Ends all holds of a registry: what was held back takes effect. `false` if nothing was held back.
    pub fn release(&mut self, registry: &str, now: Now) -> bool {
        let Some(source) = self.intake.sources.get_mut(registry) else { return false };
        let (name, dropped) = (source.name().clone(), source.guard.status().is_some());
        let ids = if dropped { source.guard.release() } else { Vec::new() };
        self.recompute(ids.into_iter().collect(), now);
        let released = self.release_configuration(&name, now) || dropped;
        if released {
            self.touch(&name);
            self.events.push(Event::Hold { registry: name.clone(), event: HoldEvent::Released });
            self.restate(&name, now);
            self.judge_sync(now);
        }
        released
    }

    /// Restores overrides from before a restart. Readiness is judged with the next configuration only: without
    /// registries, none would be missing.
    pub fn recall_overrides(&mut self, all: &[Override], now: Now) {
        self.overrides.recall(all, now);
    }

    /// Makes an override, which is in the next snapshot.
    ///
    /// # Errors
    /// If its target is not published, or is none for such a wish, or if there are too many overrides.
    pub fn lay(&mut self, order: Order, now: Now) -> Result<Override, Refused> {
        let over = self.overrides.lay(order, &self.last.services, now)?;
        self.events.push(Event::Laid(Box::new(over.clone())));
        self.touches += 1;
        self.judge_sync(now);
        Ok(over)
    }

    /// Removes the overrides for which `is_meant` is true, and returns them. `by`: who asked for it.
    pub fn lift(&mut self, is_meant: impl Fn(&Override) -> bool, by: &Text, now: Now) -> Vec<Override> {
        let lifted = self.overrides.lift(is_meant);
        self.touches += u64::from(!lifted.is_empty());
        let event = |over: &Override| Event::Lifted { over: Box::new(over.clone()), by: Some(by.clone()) };
        self.events.extend(lifted.iter().map(event));
        self.judge_sync(now);
        lifted
    }

    /// Ends the holds of the services that feed a host. `false` if nothing of them was held back.
    pub fn release_service(&mut self, host: &Hostname, now: Now) -> bool {
        let ids: Vec<ServiceId> = self.publishing.services.get(host).map(|s| s.sources.clone()).unwrap_or_default();
        let mut released = BTreeSet::new();
        for id in ids {
            if self.intake.sources.get_mut(&id.registry).is_some_and(|source| source.guard.release_one(&id)) {
                released.insert(id);
            }
        }
        let registries: BTreeSet<Text> = released.iter().map(|id| id.registry.clone()).collect();
        let any = !released.is_empty();
        self.recompute(released, now);
        for registry in registries {
            self.touch(&registry);
            // The rest may be too little to be held.
            self.follow(&registry, Effect::default(), false, now);
        }
        any
    }

    /// Prolongs all holds of a registry to at least `time` from now. Returns when they end; `None` if nothing is held
    /// back.
    pub fn prolong(&mut self, registry: &str, time: Duration, now: Now) -> Option<SystemTime> {
        let source = self.intake.sources.get_mut(registry)?;
        let (name, until) = (source.name().clone(), now.instant + time);
        source.status.hold()?;
        source.guard.prolong(until);
        self.prolong_configuration(&name, until);
        self.touch(&name);
        self.events.push(Event::Hold { registry: name.clone(), event: HoldEvent::Prolonged });
        self.restate(&name, now);
        self.intake.sources.get(&name)?.status.hold().map(|hold| hold.until)
    }

    /// As [`Core::prolong`], for what is held back of the services that feed a host, whatever becomes of other
    /// services.
    pub fn prolong_service(&mut self, host: &Hostname, time: Duration, now: Now) -> Option<SystemTime> {
        let ids: Vec<ServiceId> = self.publishing.services.get(host)?.sources.clone();
        let (mut last, until) = (None, now.instant + time);
        for id in ids {
            let Some(source) = self.intake.sources.get_mut(&id.registry) else { continue };
            let Some(end) = source.guard.prolong_one(&id, until) else { continue };
            last = last.max(Some(end));
            self.events.push(Event::Hold { registry: id.registry.clone(), event: HoldEvent::Prolonged });
            self.touch(&id.registry);
            self.restate(&id.registry, now);
        }
        last.map(|end| now.wall_at(end))
    }

    /// Takes in what a host name resolves to. Without any address it is known to have none; a last good answer stays.
    pub fn resolved(&mut self, name: &Text, addresses: Vec<IpAddr>, now: Now) {
        let users = self.names.resolved(name, addresses);
        users.iter().map(|id| id.registry.clone()).collect::<BTreeSet<_>>().iter().for_each(|r| self.touch(r));
        self.recompute(users, now);
        self.judge_sync(now);
    }

    /// The host names to be resolved, each with its last good answer, perhaps of before a restart; no addresses without one.
    pub fn wanted_names(&self) -> BTreeMap<Text, Arc<[IpAddr]>> {
        self.names.wanted()
    }

    /// Whether [`Core::wanted_names`] has other names than when this was last asked.
    pub fn take_wanted_changed(&mut self) -> bool {
        self.names.take_changed()
    }

    /// What happened since this was last asked.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Whether services, their completeness, or the revision of the configuration, are not as in the last snapshot.
    pub fn is_changed(&self) -> bool {
        let states = (self.sync, self.known, self.revision);
        self.publishing.changed
            || self.overrides.changed
            || states != (self.last.sync, self.last.known, self.last.revision)
    }

    /// Whether anything at all is not as in the last snapshot.
    pub fn is_restated(&self) -> bool {
        self.is_changed() || self.publishing.restated || self.restated
    }

    /// How many notes of each reason the records hold.
    pub fn notes(&self) -> impl Iterator<Item = (Reason, usize)> {
        self.publishing.notes()
    }

    /// Everything as it is now. The same value as before if nothing changed.
    pub fn snapshot(&mut self) -> Arc<Catalog> {
        if self.is_restated() {
            let overrides = match self.overrides.changed {
                true => self.overrides.list(),
                false => self.last.overrides.clone(),
            };
            let (services, changed) = self.shown();
            self.last = Arc::new(Catalog {
                number: self.last.number + u64::from(changed),
                revision: self.revision,
                services,
                overrides,
                records: self.publishing.records.clone(),
                registries: self.intake.statuses(),
                sync: self.sync,
                known: self.known,
            });
            (self.publishing.changed, self.publishing.restated, self.restated) = (false, false, false);
            self.overrides.changed = false;
        }
        self.last.clone()
    }

    /// What is published, and whether the next catalog has anything that the last one has not. What changes below an override
    /// need not change anything above.
    fn shown(&self) -> (Services, bool) {
        if self.overrides.is_empty() && !self.overrides.changed {
            return (self.publishing.services.clone(), self.is_changed());
        }
        let services = self.overrides.over(&self.publishing.services);
        let states = (self.sync, self.known, self.revision) != (self.last.sync, self.last.known, self.last.revision);
        match self.last.services.diff(&services).next() {
            None => (self.last.services.clone(), states),
            Some(_) => (services, true),
        }
    }

    /// Counts what has changed in a registry, begins or ends holds, and publishes the rest. `by_list`: lists, or their
    /// absence, have led to the changes.
    pub(super) fn follow(&mut self, registry: &Text, effect: Effect, by_list: bool, now: Now) {
        let Some(source) = self.intake.sources.get_mut(registry) else { return };
        if effect.after_outage {
            source.guard.after_outage(now.instant);
        }
        let nothing_listed = by_list && !effect.changes.is_empty() && source.ledger.present == 0;
        let mut ids: BTreeSet<ServiceId> = BTreeSet::new();
        ids.extend(effect.aged);
        let touched = !effect.changes.is_empty();
        for change in effect.changes {
            source.guard.observe(&change, now);
            ids.insert(change.id);
        }
        let (concerned, events) = source.guard.judge(nothing_listed, now);
        ids.extend(concerned);
        if touched || !events.is_empty() {
            self.touch(registry);
        }
        self.events.extend(events.into_iter().map(|event| Event::Hold { registry: registry.clone(), event }));
        self.recompute(ids, now);
        self.recomputing(now).records(effect.marked);
        self.restate(registry, now);
    }

    /// Brings what is published up to date with what is known of these services.
    pub(super) fn recompute(&mut self, ids: BTreeSet<ServiceId>, now: Now) {
        self.recomputing(now).services(ids);
        for registry in std::mem::take(&mut self.publishing.turned) {
            self.touch(&registry);
        }
        for contest in std::mem::take(&mut self.publishing.contests) {
            if let Some(source) = self.intake.sources.get_mut(&contest.loser.registry) {
                source.contests.add(contest);
            }
        }
        for source in self.intake.sources.values_mut() {
            if let Some((number, example)) = source.contests.take(now.instant) {
                self.events.push(Event::Contested { registry: source.name().clone(), number, example });
            }
        }
    }

    pub(super) fn recomputing(&mut self, now: Now) -> Recompute<'_> {
        let Core { publishing, intake, names, .. } = self;
        Recompute { publishing, intake, names, now: now.instant }
    }

    pub(super) fn report(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Brings a registry's status up to date.
    pub(super) fn restate(&mut self, registry: &Text, now: Now) {
        let waits = self.pending.as_ref().and_then(|pending| {
            let (loss, until) = (pending.losses.get(registry)?, now.wall_at(pending.until));
            Some(Held { cause: HoldCause::Policy, since: pending.since.wall, until, endpoints: loss.lost })
        });
        if let Some(source) = self.intake.sources.get_mut(registry) {
            self.restated |= source.restate(waits, now);
        }
    }

    /// Once clients were answered, none waits again: a registry that is new then only makes the catalog partial. Nor
    /// does any client wait for a registry that is known from before a restart.
    fn judge_sync(&mut self, now: Now) {
        let (over, opened) = (now.instant >= self.started + self.grace, self.sync != Readiness::Waiting);
        let missing = || self.intake.sources.values().filter(|source| source.is_missing());
        let unknown = missing().any(|source| !source.recalled);
        let unresolved = !opened && !over && self.names.any_unknown();
        // What is frozen is known, whatever registries say.
        let frozen = self.overrides.freeze();
        self.sync = match missing().next().is_some() || unresolved {
            false => Readiness::Complete,
            true if opened || over || frozen || !(unknown || unresolved) => Readiness::Partial,
            true => Readiness::Waiting,
        };
        self.grace_is_over = over;
        self.known = if over && (frozen || !unknown) { Readiness::Complete } else { self.sync };
    }
}
