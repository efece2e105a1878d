//! What the core keeps of each registry: its policy, what it reported, and what is held back of it.

use super::{
    HoldCause, Memory, Policy, RegistryStatus,
    claim::Rank,
    contests::ContestLog,
    guards::Guards,
    ledger::{Change, Ledger},
    now::Now,
    rules::Rules,
    status::{Facts, Held, StatusTracker},
};
use crate::model::{ServiceId, Text};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

/// All registries, and what they have reported.
#[derive(Debug, Clone, Default)]
pub(super) struct Intake {
    /// By name, which is a registry's identity as long as the process lives.
    pub(super) sources: BTreeMap<Text, Source>,
    /// When to look at a service again though nothing is reported of it. An entry too many does no harm.
    pub(super) timers: BTreeSet<(Instant, ServiceId)>,
}

/// What the core holds of one registry.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) rules: Arc<Rules>,
    pub(super) rank: Rank,
    /// The fingerprint of what is read, and from where.
    pub(super) connection: u64,
    /// What is read, and from where, in words that hold over a restart.
    pub(super) identity: Text,
    /// What it has may be from another connection: its first reading is not complete.
    pub(super) reconnected: bool,
    /// The number of its reading: what an earlier one sends is ignored.
    pub(super) epoch: u64,
    pub(super) ledger: Ledger,
    pub(super) guard: Guards,
    pub(super) status: StatusTracker,
    pub(super) contests: ContestLog,
    /// It was listed completely once.
    pub(super) synced: bool,
    /// What it had before a restart is known.
    pub(super) recalled: bool,
    /// The core's number at its last change of what a memory has.
    pub(super) touched: u64,
    /// It is no longer in the configuration.
    pub(super) removed: bool,
    /// Its removal is held back.
    pub(super) leaving: Option<Leaving>,
}

/// A registry that left the configuration and is served on.
#[derive(Debug, Clone)]
pub(super) struct Leaving {
    pub(super) since: Now,
    pub(super) until: Instant,
    /// How many published endpoints will go with it.
    pub(super) endpoints: usize,
}

impl Intake {
    /// The registry that has the service; `None` if it was forgotten.
    pub(super) fn of(&self, id: &ServiceId) -> Option<&Source> {
        self.sources.get(&id.registry)
    }

    /// Services that are due to be looked at again.
    pub(super) fn take_due(&mut self, now: Instant) -> BTreeSet<ServiceId> {
        let mut due = BTreeSet::new();
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(self.timers.pop_first().map(|(_, id)| id));
        }
        due
    }

    /// The next moment at which something is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let sources = self.sources.values().flat_map(Source::dues);
        sources.chain(self.timers.first().map(|(at, _)| *at)).min()
    }

    /// How all registries fare, in the order of the configuration.
    pub(super) fn statuses(&self) -> Arc<[Arc<RegistryStatus>]> {
        let mut sources: Vec<&Source> = self.sources.values().collect();
        sources.sort_by_key(|source| source.rank);
        sources.into_iter().map(|source| source.status.status()).collect()
    }
}

impl Source {
    pub(super) fn new(policy: Policy, rank: Rank, connection: u64, identity: Text, epoch: u64) -> Self {
        Source {
            ledger: Ledger::new(policy.absent_lists, policy.linger).aging(policy.stale_after),
            guard: Guards::new(&policy),
            status: StatusTracker::new(&policy),
            contests: ContestLog::default(),
            rules: Arc::new(Rules::new(policy)),
            rank,
            connection,
            identity,
            reconnected: false,
            epoch,
            synced: false,
            recalled: false,
            touched: 0,
            removed: false,
            leaving: None,
        }
    }

    pub(super) fn name(&self) -> &Text {
        &self.rules.policy.registry
    }

    /// Answers wait for its first list.
    pub(super) fn is_missing(&self) -> bool {
        self.rules.policy.required && !self.synced && !self.removed
    }

    /// Whether some of its services may be those of another connection.
    pub(super) fn has_others_services(&self) -> bool {
        self.reconnected && self.ledger.is_rereading()
    }

    /// Goes on with another policy.
    pub(super) fn set_policy(&mut self, policy: Policy, now: Now) {
        self.ledger.set_policy(policy.absent_lists, policy.linger, policy.stale_after);
        self.set_guards(&policy, now);
        self.status.set_policy(&policy);
        self.rules = Arc::new(Rules::new(policy));
    }

    /// Where a policy tells other services apart, what is held and counted goes to those that have the services then.
    fn set_guards(&mut self, policy: &Policy, now: Now) {
        if self.guard.has_parts_of(policy) {
            return self.guard.set_policy(policy);
        }
        let (rest, parts) = self.guard.remember(now);
        self.guard = Guards::new(policy);
        self.ledger.ids().into_iter().for_each(|id| self.observe(id, now));
        self.guard.recall(&rest, &parts, now);
    }

    /// Counts what is known of a service that was not counted before.
    fn observe(&mut self, id: ServiceId, now: Now) {
        let after = self.ledger.present(&id);
        self.guard.observe(&Change { id, before: None, gone: after.is_none(), after }, now);
    }

    /// Goes on with what was kept over a restart. Returns the services of which something is known.
    pub(super) fn recall(&mut self, memory: &Memory, now: Now) -> BTreeSet<ServiceId> {
        let ids = self.ledger.recall(&memory.scopes, &memory.services, now);
        ids.iter().for_each(|id| self.observe(id.clone(), now));
        self.guard.recall(&memory.holds, &memory.parts, now);
        self.recalled = !ids.is_empty();
        ids
    }

    /// Brings its status up to date. `waits`: the plan that is held back because of it. `true` if anything is new.
    pub(super) fn restate(&mut self, waits: Option<Held>, now: Now) -> bool {
        let held = |cause, since: Now, until, endpoints| Held {
            cause,
            since: since.wall,
            until: now.wall_at(until),
            endpoints,
        };
        let dropped =
            self.guard.status().map(|(since, until, endpoints)| held(HoldCause::Drop, since, until, endpoints));
        let leaving = self.leaving.as_ref();
        let leaving = leaving.map(|left| held(HoldCause::Removal, left.since, left.until, left.endpoints));
        let (registered, removed, hold) = (self.guard.registered(), self.removed, leaving.or(waits).or(dropped));
        self.status.restate(Facts { ledger: &self.ledger, registered, removed, hold })
    }

    fn dues(&self) -> impl Iterator<Item = Instant> {
        let leaving = self.leaving.as_ref().map(|leaving| leaving.until);
        [self.ledger.due(), self.guard.due(), leaving, self.contests.due()].into_iter().flatten()
    }
}
