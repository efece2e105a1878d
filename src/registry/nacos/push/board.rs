//! What the push connection tells the reader: which services may have changed, and whether it would tell of all.
//!
//! Changes are a set: however many pushes come while the reader is busy, a service is read once. It is never larger than
//! the set of services that are wanted.

use crate::model::{ServiceId, Text};
use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Between the push connection and the reader.
#[derive(Debug)]
pub(super) struct Board {
    registry: Text,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What the connection has subscribed to; nothing while there is none.
    subscribed: BTreeSet<ServiceId>,
    /// Of those.
    namespaces: BTreeSet<Text>,
    changed: BTreeSet<ServiceId>,
    /// Everything wanted is subscribed to.
    covers: bool,
    /// Why not.
    trouble: Option<Text>,
}

impl Board {
    pub(super) fn new(registry: Text) -> Self {
        Board { registry, state: Mutex::default(), changed: Notify::new() }
    }

    /// Waits until something may have changed, and gives all of it.
    pub(super) async fn changed(&self) -> BTreeSet<ServiceId> {
        loop {
            let changed = std::mem::take(&mut self.state().changed);
            if !changed.is_empty() {
                return changed;
            }
            self.changed.notified().await;
        }
    }

    /// Whether no change of what is wanted stays untold.
    pub(super) fn covers(&self) -> bool {
        self.state().covers
    }

    /// Why not, if that is known.
    pub(super) fn trouble(&self) -> Option<Text> {
        self.state().trouble.clone()
    }

    /// Something else is wanted now.
    pub(super) fn wants_other(&self) {
        self.state().covers = false;
    }

    /// What is subscribed to.
    pub(super) fn subscribed(&self) -> BTreeSet<ServiceId> {
        self.state().subscribed.clone()
    }

    /// The connection is lost. What was subscribed to is not any more; what has changed still has.
    pub(super) fn lost(&self, why: Text) {
        let mut state = self.state();
        state.subscribed.clear();
        (state.covers, state.trouble) = (false, Some(why));
    }

    /// The end of an attempt to subscribe: what is new may have changed before, so it counts as changed.
    pub(super) fn subscribe(&self, new: Vec<ServiceId>, gone: &[ServiceId], trouble: Option<Text>) {
        let mut state = self.state();
        for id in gone {
            state.subscribed.remove(id);
        }
        state.changed.extend(new.iter().cloned());
        state.subscribed.extend(new);
        state.namespaces = state.subscribed.iter().map(|id| id.namespace.clone()).collect();
        (state.covers, state.trouble) = (trouble.is_none(), trouble);
        drop(state);
        self.changed.notify_one();
    }

    /// A push of a service. Without a namespace it may be that of any.
    pub(super) fn push(&self, namespace: Option<&str>, group: &str, name: &str) {
        let mut state = self.state();
        let namespaces: Vec<Text> = match namespace {
            Some(namespace) => vec![namespace.into()],
            None => state.namespaces.iter().cloned().collect(),
        };
        for namespace in namespaces {
            let id = ServiceId { registry: self.registry.clone(), namespace, group: group.into(), name: name.into() };
            if state.subscribed.contains(&id) {
                state.changed.insert(id);
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that runs with the lock held can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
