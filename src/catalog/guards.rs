//! The guards of one registry: one for each part of its services that the configuration tells apart, and one for the rest.
//!
//! Each part is counted, and held, by its own rules. Only whether few missing endpoints count is judged over all parts: a part
//! of three services goes with a registry that loses its memory, whatever it counts by itself.

use super::{
    HoldEvent, HoldRule, Holding, Matcher, Policy, Select,
    ledger::Change,
    memory::{HoldMemory, LostMemory},
    now::Now,
    removal_guard::{RemovalGuard, SMALL},
    select::Selector,
};
use crate::model::{Endpoint, ServiceId, Text};
use std::{sync::Arc, time::Instant};

/// All guards of one registry.
#[derive(Debug, Clone)]
pub(super) struct Guards {
    /// One for each part, in the order of the configuration; the last one has the services of no part.
    guards: Vec<RemovalGuard>,
    parts: Arc<[Part]>,
}

/// The services that one [`HoldRule`] tells apart.
#[derive(Debug)]
struct Part {
    /// The rule's matchers in words; unlike a hash, the same after a restart.
    key: Text,
    selector: Selector,
}

/// What one guard takes over: from each memory, its holds and those of its lost services that are this guard's now.
type Shares<'a> = Vec<(HoldMemory, Vec<&'a LostMemory>)>;

impl Guards {
    pub(super) fn new(policy: &Policy) -> Self {
        let parts = policy.holds.iter().map(Part::new).collect();
        Guards { guards: holdings(policy).map(RemovalGuard::new).collect(), parts }
    }

    /// Whether a policy tells the same services apart.
    pub(super) fn has_parts_of(&self, policy: &Policy) -> bool {
        self.parts.iter().map(|part| &part.key).eq(policy.holds.iter().map(key).collect::<Vec<_>>().iter())
    }

    /// Goes on by a policy that tells the same services apart; holds that began end by the new one.
    pub(super) fn set_policy(&mut self, policy: &Policy) {
        self.guards.iter_mut().zip(holdings(policy)).for_each(|(guard, holding)| guard.set_holding(holding));
    }

    /// What is held and counted of the rest, and of each part.
    pub(super) fn remember(&self, now: Now) -> (HoldMemory, Vec<(Text, HoldMemory)>) {
        let mut memories: Vec<HoldMemory> = self.guards.iter().map(|guard| guard.remember(now)).collect();
        let rest = memories.pop().unwrap_or_default();
        (rest, self.parts.iter().map(|part| part.key.clone()).zip(memories).collect())
    }

    /// Goes on with what was kept; the services that were known then must have been observed before. If the parts were
    /// others then, each guard takes what is held of the services that it has now.
    pub(super) fn recall(&mut self, rest: &HoldMemory, parts: &[(Text, HoldMemory)], now: Now) {
        let memories = || parts.iter().map(|(_, memory)| memory).chain([rest]);
        if self.parts.iter().map(|part| &part.key).eq(parts.iter().map(|(key, _)| key)) {
            self.guards.iter_mut().zip(memories()).for_each(|(guard, memory)| guard.recall(memory, now));
            return;
        }
        let mut shares: Vec<Shares<'_>> = vec![Vec::new(); self.guards.len()];
        for memory in memories() {
            let facts = HoldMemory { lost: Vec::new(), before: Vec::new(), ..memory.clone() };
            shares.iter_mut().for_each(|share| share.push((facts.clone(), Vec::new())));
            for lost in &memory.lost {
                shares[self.place(&lost.service)].last_mut().into_iter().for_each(|(_, all)| all.push(lost));
            }
        }
        self.guards.iter_mut().zip(shares).for_each(|(guard, shares)| guard.take_over(&shares, now));
    }

    /// The registry comes back from an outage.
    pub(super) fn after_outage(&mut self, now: Instant) {
        self.guards.iter_mut().for_each(|guard| guard.after_outage(now));
    }

    /// Counts what a change takes away and brings.
    pub(super) fn observe(&mut self, change: &Change, now: Now) {
        self.of(&change.id).observe(change, now);
    }

    /// Begins or ends holds. `nothing_listed`: the registry has just reported, by a list, that it has no services any
    /// more. Returns the services that this concerns, and what happened.
    pub(super) fn judge(&mut self, nothing_listed: bool, now: Now) -> (Vec<ServiceId>, Vec<HoldEvent>) {
        let missing: usize = self.guards.iter_mut().map(|guard| guard.missing(now)).sum();
        let few_count = nothing_listed || missing >= SMALL;
        let (mut concerned, mut events) = (Vec::new(), Vec::new());
        for guard in &mut self.guards {
            let (ids, event) = guard.judge(few_count, now);
            concerned.extend(ids);
            events.extend(event);
        }
        (concerned, events)
    }

    /// Ends all holds at once. Returns the services that this concerns.
    pub(super) fn release(&mut self) -> Vec<ServiceId> {
        self.guards.iter_mut().flat_map(RemovalGuard::release).collect()
    }

    /// Ends the holds of one service at once. `false` if nothing of it was held back.
    pub(super) fn release_one(&mut self, id: &ServiceId) -> bool {
        self.of(id).release_one(id)
    }

    /// Makes every hold last at least to `until`.
    pub(super) fn prolong(&mut self, until: Instant) {
        self.guards.iter_mut().for_each(|guard| guard.prolong(until));
    }

    /// Makes the hold of one service last at least to `until`. Returns when it ends; `None` if nothing is held back.
    pub(super) fn prolong_one(&mut self, id: &ServiceId, until: Instant) -> Option<Instant> {
        self.of(id).prolong_one(id, until)
    }

    /// The lost endpoints of a service that are served on.
    pub(super) fn held(&self, id: &ServiceId) -> &[Endpoint] {
        self.guards[self.place(id)].held(id)
    }

    /// When the next hold ends.
    pub(super) fn due(&self) -> Option<Instant> {
        self.guards.iter().filter_map(RemovalGuard::due).min()
    }

    /// How many endpoints the registry has now, whether they take traffic or not.
    pub(super) fn registered(&self) -> usize {
        self.guards.iter().map(RemovalGuard::registered).sum()
    }

    /// What is held back: since when, until when, how many endpoints.
    pub(super) fn status(&self) -> Option<(Now, Instant, usize)> {
        let all = self.guards.iter().filter_map(RemovalGuard::status);
        all.reduce(|a, b| (if a.0.instant <= b.0.instant { a.0 } else { b.0 }, a.1.max(b.1), a.2 + b.2))
    }

    fn of(&mut self, id: &ServiceId) -> &mut RemovalGuard {
        let place = self.place(id);
        &mut self.guards[place]
    }

    /// The index of the guard that counts a service.
    fn place(&self, id: &ServiceId) -> usize {
        let has = |part: &Part| part.selector.refuses_service(id).is_none();
        self.parts.iter().position(has).unwrap_or(self.parts.len())
    }
}

impl Part {
    fn new(rule: &HoldRule) -> Self {
        let select = Select { include: rule.services.clone(), exclude: Vec::new() };
        Part { key: key(rule), selector: Selector::new(&select) }
    }
}

fn holdings(policy: &Policy) -> impl Iterator<Item = Holding> {
    policy.holds.iter().map(|rule| rule.holding).chain([policy.holding])
}

/// A rule's matchers in words, such as `name="a*",group="g"`; several with `|` between them.
fn key(rule: &HoldRule) -> Text {
    let word = |name: &str, pattern: &Option<Text>| pattern.as_ref().map(|pattern| format!("{name}={pattern:?}"));
    let words = |matcher: &Matcher| {
        let words = [("name", &matcher.name), ("namespace", &matcher.namespace), ("group", &matcher.group)];
        words.iter().filter_map(|(name, pattern)| word(name, pattern)).collect::<Vec<_>>().join(",")
    };
    rule.services.iter().map(words).collect::<Vec<_>>().join("|").into()
}
