//! Another configuration for a core that runs: which registries there are, in which order, and how they are published.
//!
//! A registry is known by its name. What is new begins with an empty ledger; a registry whose connection is another is read
//! anew and keeps its services meanwhile; another policy re-evaluates what the ledger has. All of it is one step: whoever
//! looks sees the old or the new.
//!
//! Policies, with the order of the registries, that would take too much of one registry's endpoints away are held back as
//! drops are: the former stay in force until `hold` is over or somebody releases it. All of them or none: half of a
//! configuration may give a host to somebody whom neither the old nor the new one gives it. The removal of a registry that has
//! any endpoints is held by itself: it ranks behind all others, and takes from nobody, neither hosts nor aliases nor the hosts of
//! further ports. To know what would be lost, a copy of the core follows the configuration first.

use super::{
    Policy,
    claim::Rank,
    core::Core,
    desired::{Desired, Held, HeldChange, Outcome, Pending, Plan, Reading, Registry},
    event::Event,
    guards::Guards,
    ledger::{Effect, Ledger},
    now::Now,
    publishing::{Loss, forget_ports_of},
    removal_guard::{HoldEvent, SMALL},
    source::{Leaving, Source},
};
use crate::model::Text;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

impl Core {
    pub(super) fn follow_configuration(&mut self, desired: Desired, force: bool, now: Now) -> Outcome {
        let mut outcome = Outcome::default();
        let before = self.order();
        let plan = self.take_in(desired.registries, &mut outcome, now);
        let removed: Vec<Text> =
            self.intake.sources.values().filter(|source| source.removed).map(|source| source.name().clone()).collect();
        if removed.is_empty() && self.is_in_force(&plan) {
            return outcome;
        }
        let mut trial = self.clone();
        trial.put_in_force(plan.clone(), &mut outcome, now);
        removed.iter().for_each(|registry| trial.forget(registry, now));
        let mut held = BTreeMap::new();
        if !force {
            held = self.publishing.losses(&trial.publishing);
            held.retain(|registry, loss| self.is_too_large(registry, *loss, &plan));
        }
        let after = trial.order();
        outcome.reordered =
            !before.iter().filter(|r| after.contains(r)).eq(after.iter().filter(|r| before.contains(r)));
        if held.is_empty() {
            *self = trial;
            return outcome;
        }
        drop(trial);
        outcome.republished.clear();
        let (leaving, losing): (BTreeMap<Text, Loss>, BTreeMap<Text, Loss>) =
            held.into_iter().partition(|(registry, _)| removed.contains(registry));
        for registry in removed {
            // What others would take over by a plan that is held, they do not take over yet.
            let waits = || if losing.is_empty() { None } else { self.whole(&registry) };
            match leaving.get(&registry).copied().or_else(waits) {
                Some(loss) => outcome.held.extend(self.hold_removal(&registry, loss, now)),
                None => self.forget(&registry, now),
            }
        }
        if losing.is_empty() {
            self.put_in_force(plan, &mut outcome, now);
        } else {
            outcome.reordered = false;
            self.hold_plan(plan, losing, &mut outcome, now);
        }
        outcome
    }

    /// Whether a plan asks for nothing that is not so already.
    fn is_in_force(&self, plan: &Plan) -> bool {
        let placed = |(registry, source): (&Text, &Source)| plan.ranks.get(registry) == Some(&source.rank);
        self.pending.is_none() && plan.policies.is_empty() && self.intake.sources.iter().all(placed)
    }

    /// The registries of the configuration, in their order.
    fn order(&self) -> Vec<Text> {
        let mut sources: Vec<&Source> = self.intake.sources.values().filter(|source| !source.removed).collect();
        sources.sort_by_key(|source| source.rank);
        sources.into_iter().map(|source| source.name().clone()).collect()
    }

    /// Adds registries, begins readings, marks those that left. Policies and ranks, which may be held back, are
    /// returned.
    fn take_in(&mut self, desired: Vec<Registry>, outcome: &mut Outcome, now: Now) -> Plan {
        let mut plan = Plan { policies: BTreeMap::new(), ranks: BTreeMap::new() };
        // Until their order is decided, new ones rank behind those that are there.
        let last = self.intake.sources.values().map(|source| source.rank.place + 1).max().unwrap_or(0);
        let memories = desired.iter().filter_map(|registry| registry.memory.as_deref());
        let owned = memories.flat_map(|memory| memory.hosts.iter().filter(|host| host.owned));
        self.publishing.incumbents = owned.map(|memory| (memory.host.clone(), memory.service.clone())).collect();
        for (rank, Registry { policy, connection, identity, memory }) in (0..).zip(desired) {
            let name = policy.registry.clone();
            plan.ranks.insert(name.clone(), Rank { left: false, place: rank });
            let Some(source) = self.intake.sources.get(&name) else {
                let epoch = self.last_epoch + 1;
                self.last_epoch = epoch;
                outcome.begun.push(Reading { registry: name.clone(), epoch });
                let provisional = Rank { left: false, place: last + rank };
                self.intake.sources.insert(name.clone(), Source::new(policy, provisional, connection, identity, epoch));
                self.restated = true;
                memory.iter().for_each(|memory| self.recall(&name, memory, now));
                continue;
            };
            if source.rules.policy != policy {
                plan.policies.insert(name.clone(), policy);
            }
            self.connect(&name, connection, identity, outcome, now);
        }
        self.publishing.incumbents = HashMap::new();
        self.take_out(&mut plan, outcome, now);
        plan
    }

    /// Marks registries that left the configuration; they rank behind the others.
    fn take_out(&mut self, plan: &mut Plan, outcome: &mut Outcome, now: Now) {
        let number = u32::try_from(plan.ranks.len()).unwrap_or(u32::MAX);
        let sources = self.intake.sources.values_mut();
        let mut gone: Vec<&mut Source> = sources.filter(|source| !plan.ranks.contains_key(source.name())).collect();
        gone.sort_by_key(|source| source.rank);
        let mut ranks = Vec::new();
        for (rank, source) in (number..).zip(gone) {
            ranks.push((source.name().clone(), Rank { left: true, place: rank }));
            if !std::mem::replace(&mut source.removed, true) {
                outcome.ended.push(source.name().clone());
            }
        }
        for (registry, rank) in ranks {
            self.restate(&registry, now);
            plan.ranks.insert(registry, rank);
        }
    }

    /// Begins a new reading of a registry whose connection is another, or that had left the configuration.
    fn connect(&mut self, registry: &Text, connection: u64, identity: Text, outcome: &mut Outcome, now: Now) {
        let epoch = self.last_epoch + 1;
        let Some(source) = self.intake.sources.get_mut(registry) else { return };
        source.reconnected |= std::mem::replace(&mut source.identity, identity) != source.identity;
        let removed = std::mem::take(&mut source.removed);
        if source.connection == connection && !removed {
            return;
        }
        (source.connection, source.epoch, source.leaving) = (connection, epoch, None);
        let stale = source.ledger.begin_reading(now.instant);
        // Without any services none of them is another's.
        source.reconnected &= source.ledger.is_rereading();
        if !removed {
            outcome.ended.push(registry.clone());
        }
        outcome.begun.push(Reading { registry: registry.clone(), epoch });
        self.last_epoch = epoch;
        self.recomputing(now).records(stale);
        self.restate(registry, now);
    }

    /// The loss of all that a registry has published; `None` if it has nothing, or its policy holds no drops.
    fn whole(&self, registry: &Text) -> Option<Loss> {
        let source = self.intake.sources.get(registry).filter(|source| source.rules.policy.holds_drops())?;
        let endpoints = self.publishing.endpoints_of(source.name());
        (endpoints > 0).then_some(Loss { lost: endpoints, of: endpoints })
    }

    /// Whether a registry would lose more than may go at once.
    fn is_too_large(&self, registry: &Text, loss: Loss, plan: &Plan) -> bool {
        let Some(source) = self.intake.sources.get(registry) else { return false };
        let policy = plan.policies.get(registry).unwrap_or(&source.rules.policy);
        let large = !policy.holding.max_drop.covers(loss.lost, loss.of) && (loss.lost >= SMALL || loss.lost == loss.of);
        policy.holds_drops() && loss.lost > 0 && (large || source.removed)
    }

    /// Puts policies and the order of registries in force.
    fn put_in_force(&mut self, plan: Plan, outcome: &mut Outcome, now: Now) {
        let losing = self.pending.take().map(|pending| pending.losses).unwrap_or_default();
        for (registry, source) in &mut self.intake.sources {
            if let Some(rank) = plan.ranks.get(registry) {
                self.restated |= source.rank != *rank;
                source.rank = *rank;
            }
        }
        let hosts = self.publishing.rerank(|registry| plan.ranks.get(registry).copied());
        self.recomputing(now).hosts(hosts);
        for (registry, policy) in plan.policies {
            outcome.republished.push(registry.clone());
            self.set_policy(&registry, policy, now);
        }
        losing.keys().for_each(|registry| self.restate(registry, now));
        self.recompute(BTreeSet::new(), now);
    }

    fn set_policy(&mut self, registry: &Text, policy: Policy, now: Now) {
        let Some(source) = self.intake.sources.get_mut(registry) else { return };
        let (ids, old) = (source.ledger.ids(), &source.rules.policy);
        if (&old.ports, old.protocol) != (&policy.ports, policy.protocol) {
            forget_ports_of(&mut self.publishing, &ids);
        }
        source.set_policy(policy, now);
        self.touch(registry);
        self.recompute(ids, now);
        self.follow(registry, Effect::default(), false, now);
    }

    /// Forgets a registry that left the configuration.
    fn forget(&mut self, registry: &Text, now: Now) {
        let Some(source) = self.intake.sources.get_mut(registry) else { return };
        let ids = source.ledger.ids();
        source.ledger = Ledger::new(1, Duration::ZERO);
        source.guard = Guards::new(&source.rules.policy);
        self.recompute(ids, now);
        self.intake.sources.remove(registry);
        self.restated = true;
        // Nothing is kept of it any more.
        self.touches += 1;
        self.report(Event::Forgotten { registry: registry.clone() });
    }

    /// Holds back the removal of a registry. If it is held back already, its end stays.
    fn hold_removal(&mut self, registry: &Text, loss: Loss, now: Now) -> Option<Held> {
        let source = self.intake.sources.get_mut(registry)?;
        let until = now.instant + source.rules.policy.holding.hold;
        let news = source.leaving.is_none();
        let leaving = source.leaving.get_or_insert(Leaving { since: now, until, endpoints: 0 });
        leaving.endpoints = loss.lost;
        let until = leaving.until;
        if news {
            self.withheld(registry, loss);
        }
        self.restate(registry, now);
        Some(Held::of(registry, HeldChange::Removal, loss, now.wall_at(until)))
    }

    /// Holds back a plan. If the same plan is held back already, its end stays.
    fn hold_plan(&mut self, plan: Plan, losses: BTreeMap<Text, Loss>, outcome: &mut Outcome, now: Now) {
        let hold = |registry: &Text| {
            let own = self.intake.sources.get(registry).map(|source| &source.rules.policy);
            plan.policies.get(registry).or(own).map(|policy| policy.holding.hold)
        };
        let longest = losses.keys().filter_map(hold).max().unwrap_or_default();
        let known = self.pending.take();
        let before: BTreeSet<Text> = known.iter().flat_map(|pending| pending.losses.keys().cloned()).collect();
        let known = known.filter(|pending| pending.plan == plan);
        let (since, until) = known.map_or((now, now.instant + longest), |pending| (pending.since, pending.until));
        for (registry, loss) in &losses {
            outcome.held.push(Held::of(registry, HeldChange::Policy, *loss, now.wall_at(until)));
            if since == now || !before.contains(registry) {
                self.withheld(registry, *loss);
            }
        }
        let concerned: BTreeSet<Text> = before.into_iter().chain(losses.keys().cloned()).collect();
        self.pending = Some(Pending { plan, since, until, losses });
        concerned.iter().for_each(|registry| self.restate(registry, now));
    }

    fn withheld(&mut self, registry: &Text, Loss { lost: missing, of }: Loss) {
        self.report(Event::Hold { registry: registry.clone(), event: HoldEvent::Withheld { missing, of } });
    }

    /// Puts in force what is held back because of this registry: its removal, or the plan. `false` if nothing was.
    pub(super) fn release_configuration(&mut self, registry: &Text, now: Now) -> bool {
        let leaving = self.intake.sources.get(registry).is_some_and(|source| source.leaving.is_some());
        if leaving {
            self.forget(registry, now);
        }
        let waits = self.pending.as_ref().is_some_and(|pending| pending.losses.contains_key(registry));
        if waits && let Some(pending) = self.pending.clone() {
            self.put_in_force(pending.plan, &mut Outcome::default(), now);
        }
        leaving || waits
    }

    /// Prolongs what is held back of a configuration because of this registry to at least `until`.
    pub(super) fn prolong_configuration(&mut self, registry: &Text, until: Instant) {
        let leaving = self.intake.sources.get_mut(registry).and_then(|source| source.leaving.as_mut());
        leaving.into_iter().for_each(|leaving| leaving.until = leaving.until.max(until));
        let waits = self.pending.as_mut().filter(|pending| pending.losses.contains_key(registry));
        waits.into_iter().for_each(|pending| pending.until = pending.until.max(until));
    }

    /// Puts removals and plans in force whose hold is over.
    pub(super) fn end_pending(&mut self, now: Now) {
        let left = |source: &&Source| source.leaving.as_ref().is_some_and(|leaving| leaving.until <= now.instant);
        let mut due: BTreeSet<Text> = self.intake.sources.values().filter(left).map(|s| s.name().clone()).collect();
        let waits = self.pending.as_ref().filter(|pending| pending.until <= now.instant);
        due.extend(waits.into_iter().flat_map(|pending| pending.losses.keys().cloned()));
        for registry in due {
            self.report(Event::Hold { registry: registry.clone(), event: HoldEvent::Expired });
            self.release_configuration(&registry, now);
        }
    }

    /// Forgets registries that left and have no published endpoints any more: a renamed registry has taken their hosts.
    pub(super) fn forget_replaced(&mut self, now: Now) {
        let left = self.intake.sources.values().filter(|source| source.leaving.is_some());
        let left: Vec<Text> = left.map(|source| source.name().clone()).collect();
        for registry in left {
            if self.publishing.endpoints_of(&registry) == 0 {
                self.forget(&registry, now);
            }
        }
    }
}
