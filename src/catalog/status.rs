//! The status of a registry: what is kept for display beside the services themselves.

use super::{HoldCause, HoldStatus, Policy, RegistryStatus, ScopeStatus, State, ledger::Ledger};
use crate::model::{Cost, Update};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// By so much the wall clock's word for one instant may move before it is another one.
const STEADY: Duration = Duration::from_millis(500);

/// Keeps a registry's status up to date. What was handed out stays as it was.
#[derive(Debug, Clone)]
pub(super) struct StatusTracker {
    status: Arc<RegistryStatus>,
    noted: bool,
}

/// What the other parts know of a registry now.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) ledger: &'a Ledger,
    /// How many endpoints it has, whether they take traffic or not.
    pub(super) registered: usize,
    /// It is no longer in the configuration.
    pub(super) removed: bool,
    pub(super) hold: Option<Held>,
}

/// A hold, as it becomes a [`HoldStatus`].
#[derive(Debug)]
pub(super) struct Held {
    pub(super) cause: HoldCause,
    pub(super) since: SystemTime,
    pub(super) until: SystemTime,
    pub(super) endpoints: usize,
}

impl StatusTracker {
    pub(super) fn new(policy: &Policy) -> Self {
        let status = RegistryStatus {
            name: policy.registry.clone(),
            kind: policy.kind,
            required: policy.required,
            state: State::Connecting,
            heard_at: None,
            scopes: Vec::new(),
            last_error: None,
            services: 0,
            endpoints: 0,
            last_cost: None,
            total_cost: Cost::default(),
            hold: None,
        };
        StatusTracker { status: Arc::new(status), noted: false }
    }

    pub(super) fn status(&self) -> Arc<RegistryStatus> {
        self.status.clone()
    }

    /// What is held back, by the last [`StatusTracker::restate`].
    pub(super) fn hold(&self) -> Option<&HoldStatus> {
        self.status.hold.as_ref()
    }

    pub(super) fn set_policy(&mut self, policy: &Policy) {
        let status = Arc::make_mut(&mut self.status);
        self.noted |= (status.kind, status.required) != (policy.kind, policy.required);
        (status.kind, status.required) = (policy.kind, policy.required);
    }

    /// Notes when the registry reported, what failed, and what reading has cost.
    pub(super) fn note(&mut self, update: &Update, wall: SystemTime) {
        let status = Arc::make_mut(&mut self.status);
        self.noted = true;
        match update {
            Update::Failed { error, .. } => status.last_error = Some((wall, error.clone())),
            Update::Cost(cost) => {
                status.last_cost = Some(*cost);
                status.total_cost.requests += cost.requests;
                status.total_cost.bytes += cost.bytes;
                status.total_cost.duration += cost.duration;
            }
            _ => status.heard_at = Some(wall),
        }
    }

    /// Takes over the facts. `true` if anything is new since the last time.
    pub(super) fn restate(&mut self, facts: Facts) -> bool {
        let Facts { ledger, registered, removed, hold } = facts;
        let scopes = ledger.scopes.iter().map(|(scope, state)| ScopeStatus {
            scope: scope.clone(),
            listed_at: state.listed_at,
            error: state.error.clone(),
        });
        let scopes: Vec<ScopeStatus> = scopes.collect();
        let hold = hold.map(|Held { cause, since, until, endpoints }| HoldStatus { cause, since, until, endpoints });
        let state = if removed { State::Removed } else { state(ledger) };
        let old = &self.status;
        let shown = |hold: &Option<HoldStatus>| hold.as_ref().map(|h| (h.cause, h.since, h.endpoints));
        let ends = [&self.status.hold, &hold].map(|hold| hold.as_ref().map(|hold| hold.until));
        let moved = ends[0].zip(ends[1]).is_some_and(|(old, new)| new > old + STEADY || old > new + STEADY);
        let same = (old.state, old.services, old.endpoints) == (state, ledger.present, registered)
            && old.scopes == scopes
            && shown(&old.hold) == shown(&hold)
            && !moved;
        if !same {
            let status = Arc::make_mut(&mut self.status);
            (status.state, status.scopes, status.hold) = (state, scopes, hold);
            (status.services, status.endpoints) = (ledger.present, registered);
        }
        std::mem::take(&mut self.noted) || !same
    }
}

fn state(ledger: &Ledger) -> State {
    let listed = ledger.scopes.values().any(|scope| scope.listed_at.is_some());
    let failing = ledger.error.is_some() || ledger.scopes.values().any(|scope| scope.error.is_some());
    match (listed, ledger.is_listed(), failing) {
        (false, false, _) => State::Connecting,
        (_, _, true) => State::Stale,
        (_, true, false) => State::Synced,
        (true, false, false) => State::Syncing,
    }
}
