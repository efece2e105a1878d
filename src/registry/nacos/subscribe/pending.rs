//! What has been pushed and not been read yet: which services may have changed or are new; and whether everything that is
//! wanted is pushed.
//!
//! Changes are a set: however many pushes come while the reader is busy, a service is read once. It is never larger than
//! the set of services that are wanted, and the names that the server has sent ([`super::names`] bounds them).

use super::names::{Answer, Change, Names, parts};
use crate::{
    model::{ServiceId, Text},
    util::lock::lock,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::Notify;

/// The most new services that are read one by one; more are read by a list.
const MAX_NEW: usize = 100;

/// The services and names that are to be pushed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) services: Arc<BTreeSet<ServiceId>>,
    /// Patterns of names, as [`super::patterns`] makes them.
    pub(super) patterns: Arc<BTreeSet<Text>>,
}

/// The state between the push connection, which writes it, and the reader.
#[derive(Debug)]
pub(super) struct PushState {
    registry: Text,
    state: Mutex<State>,
    changed: Notify,
    /// Wakes the watches of names when names have come, so that the server is asked if it has room for more.
    grown: Notify,
}

/// What may have changed since the last reading.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The services to be read; some may be new.
    pub(crate) services: BTreeSet<ServiceId>,
    /// A service is reported to be gone, or very many are new, so that a list is to be read.
    pub(crate) gone: bool,
}

#[derive(Debug, Default)]
struct State {
    wanted: Wanted,
    /// The services that the connection has subscribed to; empty while there is no connection.
    subscribed: BTreeSet<ServiceId>,
    /// The namespaces of `subscribed`.
    namespaces: BTreeSet<Text>,
    changed: Changes,
    /// How many of the services in `changed` are new.
    new: usize,
    names: Names,
    /// Every service that is wanted is subscribed to.
    covers: bool,
    /// Why `covers` is false, if that is known.
    trouble: Option<Text>,
}

impl PushState {
    pub(super) fn new(registry: Text) -> Self {
        PushState { registry, state: Mutex::default(), changed: Notify::new(), grown: Notify::new() }
    }

    /// Waits until something may have changed, and returns all of it.
    pub(super) async fn changed(&self) -> Changes {
        loop {
            let changed = {
                let mut state = self.state();
                state.new = 0;
                std::mem::take(&mut state.changed)
            };
            if changed.gone || !changed.services.is_empty() {
                return changed;
            }
            self.changed.notified().await;
        }
    }

    /// True if every change of what is wanted is pushed.
    pub(super) fn covers(&self) -> bool {
        self.state().covers
    }

    /// Why not every change is pushed, if that is known.
    pub(super) fn trouble(&self) -> Option<Text> {
        self.state().trouble.clone()
    }

    /// True if a new service would be reported at once.
    pub(super) fn covers_names(&self) -> bool {
        let state = self.state();
        state.names.cover(&state.wanted.patterns)
    }

    /// Sets what is wanted. `covers` becomes false if other services are wanted than before.
    pub(super) fn wants(&self, wanted: Wanted) {
        let mut state = self.state();
        state.covers &= state.wanted.services == wanted.services;
        state.wanted = wanted;
    }

    /// The services that the connection has subscribed to.
    pub(super) fn subscribed(&self) -> BTreeSet<ServiceId> {
        self.state().subscribed.clone()
    }

    /// Notes that the connection is lost, and its subscriptions with it. What has changed is still to be read.
    pub(super) fn lost(&self, why: Text) {
        let mut state = self.state();
        state.subscribed.clear();
        state.names = Names::default();
        (state.covers, state.trouble) = (false, Some(why));
    }

    /// Notes the outcome of subscribing. New services may have changed before, so they count as changed.
    pub(super) fn subscribe(&self, new: Vec<ServiceId>, gone: &[ServiceId], trouble: Option<Text>) {
        let mut state = self.state();
        for id in gone {
            state.subscribed.remove(id);
        }
        state.changed.services.extend(new.iter().cloned());
        state.subscribed.extend(new);
        state.namespaces = state.subscribed.iter().map(|id| id.namespace.clone()).collect();
        (state.covers, state.trouble) = (trouble.is_none(), trouble);
        drop(state);
        self.changed.notify_one();
    }

    /// Notes a push of a service. Without a namespace it may be that of any.
    pub(super) fn push(&self, namespace: Option<&str>, group: &str, name: &str) {
        let mut state = self.state();
        let namespaces: Vec<Text> = match namespace {
            Some(namespace) => vec![namespace.into()],
            None => state.namespaces.iter().cloned().collect(),
        };
        for namespace in namespaces {
            let id = ServiceId::new(self.registry.clone(), namespace, group, name);
            if state.subscribed.contains(&id) {
                state.changed.services.insert(id);
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Notes that a service has come or gone, as the server tells the watch of one pattern, or of any.
    pub(super) fn name(&self, pattern: Option<&str>, key: &str, change: Change) {
        let Some((namespace, group, name)) = parts(key) else { return };
        let id = ServiceId::new(self.registry.clone(), namespace, group, name);
        let mut state = self.state();
        state.names.receive(pattern, key, change);
        let wanted = state.wanted.services.contains(&id);
        match change {
            // More names than anybody reads one by one are a list.
            Change::Added if !wanted && state.new >= MAX_NEW => state.changed.gone = true,
            Change::Added if !wanted => state.new += usize::from(state.changed.services.insert(id)),
            Change::Deleted if wanted => state.changed.gone = true,
            _ => return,
        }
        drop(state);
        self.changed.notify_one();
        self.grown.notify_one();
    }

    /// Notes that the server has sent all names that fit a pattern.
    pub(super) fn complete(&self, pattern: &str) {
        self.state().names.complete(pattern);
        self.grown.notify_one();
    }

    /// The patterns that are watched and not wanted any more.
    pub(super) fn unwanted(&self) -> Vec<Text> {
        let state = self.state();
        state.names.watched().filter(|pattern| !state.wanted.patterns.contains(*pattern)).cloned().collect()
    }

    /// The patterns that are wanted and not watched yet, and those for which the server is to be asked if it has room.
    pub(super) fn to_be_watched(&self) -> Vec<Text> {
        let state = self.state();
        let watched: BTreeSet<&Text> = state.names.watched().collect();
        let due = |pattern: &&Text| !watched.contains(*pattern) || state.names.has_grown(pattern);
        state.wanted.patterns.iter().filter(due).cloned().collect()
    }

    /// Notes that a pattern is about to be asked for, and returns the names that have come for it so far.
    pub(super) fn watch(&self, pattern: &Text) -> Vec<Text> {
        let mut state = self.state();
        state.names.ask(pattern);
        state.names.keys(pattern)
    }

    /// Notes the answer of the server. `true` if it is another one than before.
    pub(super) fn watched(&self, pattern: &Text, answer: Answer) -> bool {
        self.state().names.answer(pattern, answer)
    }

    /// Forgets a pattern that is not watched any more.
    pub(super) fn unwatched(&self, pattern: &Text) {
        self.state().names.leave(pattern);
    }

    /// Waits until names have come.
    pub(super) async fn grown(&self) {
        self.grown.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_without_end_become_one_list() {
        let state = PushState::new("r".into());
        for n in 0..100_000 {
            state.name(None, &format!("public@@g@@ghost-{n}"), Change::Added);
        }
        let changes = state.changed().await;
        assert_eq!((changes.services.len(), changes.gone), (MAX_NEW, true));
        state.name(None, "public@@g@@one", Change::Added);
        let changes = state.changed().await;
        assert_eq!((changes.services.len(), changes.gone), (1, false));
    }
}
