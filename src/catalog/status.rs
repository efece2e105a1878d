//! How a registry fares: what is kept for people beside the services themselves.

use super::{HoldStatus, Policy, RegistryStatus, ScopeStatus, State, heard::Heard};
use crate::model::{Cost, Update};
use std::{sync::Arc, time::SystemTime};

/// The status in the making. What was handed out stays as it was.
#[derive(Debug)]
pub(super) struct Account {
    status: Arc<RegistryStatus>,
    noted: bool,
}

/// What the other parts know of a registry now.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) heard: &'a Heard,
    pub(super) endpoints: usize,
    pub(super) hold: Option<(SystemTime, SystemTime, usize)>,
}

impl Account {
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
        Account { status: Arc::new(status), noted: false }
    }

    /// The status as it is now.
    pub(super) fn status(&self) -> Arc<RegistryStatus> {
        self.status.clone()
    }

    /// Notes when the registry spoke, what failed, and what reading has cost.
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

    /// Takes over the facts. Whether anything is new since the last time.
    pub(super) fn restate(&mut self, facts: Facts) -> bool {
        let scopes: Vec<ScopeStatus> = facts
            .heard
            .scopes
            .iter()
            .map(|(scope, heard)| ScopeStatus {
                scope: scope.clone(),
                listed_at: heard.listed_at,
                error: heard.error.clone(),
            })
            .collect();
        let hold = facts.hold.map(|(since, until, endpoints)| HoldStatus { since, until, endpoints });
        let state = state(facts.heard);
        let old = &self.status;
        let same = (old.state, old.services, old.endpoints) == (state, facts.heard.present, facts.endpoints)
            && old.scopes == scopes
            && old.hold.as_ref().map(|h| (h.since, h.endpoints)) == hold.as_ref().map(|h| (h.since, h.endpoints));
        if !same {
            let status = Arc::make_mut(&mut self.status);
            (status.state, status.scopes, status.hold) = (state, scopes, hold);
            (status.services, status.endpoints) = (facts.heard.present, facts.endpoints);
        }
        std::mem::take(&mut self.noted) || !same
    }
}

fn state(heard: &Heard) -> State {
    let listed = heard.scopes.values().any(|scope| scope.listed_at.is_some());
    let failing = heard.error.is_some() || heard.scopes.values().any(|scope| scope.error.is_some());
    match (listed, heard.is_listed(), failing) {
        (false, false, _) => State::Connecting,
        (_, _, true) => State::Stale,
        (_, true, false) => State::Synced,
        (true, false, false) => State::Syncing,
    }
}
