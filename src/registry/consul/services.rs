//! What is known of a datacenter's services, and what an answer changes of it. Pure.
//!
//! What a server hides from our token is not gone: only an answer that is empty and hides nothing lets a service go, and
//! instances that are missing in the very answer in which something is first hidden stay.

use super::{
    changes::OnNodes,
    client::{self, Place},
    config::Rules,
    convert,
    error::Error,
    wire,
};
use crate::{
    model::{Scope, Service, ServiceId, Text, Update},
    registry::{outbox::Changes, transport::Answer},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The services of one datacenter as they were last read.
#[derive(Debug)]
pub(super) struct Services {
    registry: Text,
    /// The datacenter; empty if none is configured.
    scope: Scope,
    namespace: Text,
    rules: Rules,
    known: BTreeMap<Text, Known>,
    /// Counts changes of services, so that [`Services::by_change`] can sort by them.
    clock: u64,
}

/// What is known of one service. It is kept while the service cannot be read.
#[derive(Debug, Default)]
struct Known {
    /// The hash of the last good answer; `None` if there was none.
    hash: Option<u64>,
    bytes: u64,
    /// The last good value; `None` if the service has no instance that is taken.
    service: Option<Arc<Service>>,
    nodes: BTreeSet<Text>,
    /// Some instances are hidden from the token (`X-Consul-Results-Filtered-By-ACLs`).
    filtered: bool,
    unreadable: Option<Text>,
    /// The value of [`Services::clock`] when the service last changed.
    changed: u64,
}

/// What one round has found, to be reported.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) changes: Changes,
    /// A service became unreadable or readable, which only a whole list can report.
    pub(super) other_unreadable: bool,
}

impl Services {
    pub(super) fn new(registry: Text, place: &Place, rules: Rules) -> Self {
        let namespace = place.namespace.clone().unwrap_or_default();
        Services { registry, scope: place.scope(), namespace, rules, known: BTreeMap::new(), clock: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// True if the service was read before, also if that failed.
    pub(super) fn knows(&self, name: &Text) -> bool {
        self.known.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Text> {
        self.known.keys()
    }

    /// The services on each node. Made once for a change of any number of nodes.
    pub(super) fn on_nodes(&self) -> OnNodes<'_> {
        let mut on = OnNodes::new();
        for (name, known) in &self.known {
            known.nodes.iter().for_each(|node| on.entry(node).or_default().push(name));
        }
        on
    }

    /// All services, the one that changed last first.
    pub(super) fn by_change(&self) -> Vec<Text> {
        let mut all: Vec<(&u64, &Text)> = self.known.iter().map(|(name, known)| (&known.changed, name)).collect();
        all.sort_by(|a, b| b.0.cmp(a.0).then(a.1.cmp(b.1)));
        all.into_iter().map(|(_, name)| name.clone()).collect()
    }

    /// The hash of the last answer for a service: the same bytes again say nothing new. `None` while the service cannot
    /// be read.
    pub(super) fn hash(&self, name: &Text) -> Option<u64> {
        self.known.get(name).filter(|known| known.unreadable.is_none())?.hash
    }

    /// The bytes of the last answers of all services, for the limit.
    pub(super) fn bytes(&self) -> u64 {
        self.known.values().map(|known| known.bytes).sum()
    }

    /// Takes in the answer for a service.
    ///
    /// # Errors
    /// If the answer cannot be read, or hides instances that were there.
    pub(super) fn take(&mut self, name: &Text, answer: &Answer, found: &mut Found) -> Result<(), Error> {
        let list = wire::instances(answer)?;
        let filtered = client::is_filtered(&answer.headers);
        if list.is_empty() && !filtered {
            self.forget(name, found);
            return Ok(());
        }
        let id = self.id(name);
        let last = self.known.get(name);
        let was_filtered = last.is_none_or(|last| last.filtered);
        let last = last.and_then(|last| last.service.clone());
        let converted = convert::service(&id, &list, &self.rules, last.as_deref());
        let lost = |last: &Arc<Service>| match &converted.service {
            Some(service) => {
                last.endpoints.iter().any(|old| !service.endpoints.iter().any(|e| e.address == old.address))
            }
            None => true,
        };
        if list.is_empty() || (filtered && !was_filtered && last.as_ref().is_some_and(lost)) {
            return Err(Error::Hidden { url: answer.origin.to_string() });
        }
        if let Some(why) = converted.unreadable {
            self.unreadable(name, why, found);
            return Ok(());
        }
        let known = self.known.entry(name.clone()).or_default();
        found.other_unreadable |= known.unreadable.take().is_some();
        (known.hash, known.bytes) = (Some(answer.hash), answer.body.len() as u64);
        (known.nodes, known.filtered) = (converted.nodes, filtered);
        if known.service.as_deref() == converted.service.as_ref() {
            return Ok(());
        }
        self.clock += 1;
        known.changed = self.clock;
        known.service = converted.service.map(Arc::new);
        match &known.service {
            Some(service) => found.changes.applied.push(service.clone()),
            None => found.changes.removed.push(id),
        }
        Ok(())
    }

    /// Notes that a service cannot be read. Its last good value stays.
    pub(super) fn unreadable(&mut self, name: &Text, why: Text, found: &mut Found) {
        let known = self.known.entry(name.clone()).or_default();
        found.other_unreadable |= known.unreadable.as_ref() != Some(&why);
        known.unreadable = Some(why);
    }

    /// Drops a service, and reports it as removed if it was taken.
    pub(super) fn forget(&mut self, name: &Text, found: &mut Found) {
        if let Some(known) = self.known.remove(name) {
            found.other_unreadable |= known.unreadable.is_some();
            found.changes.removed.extend(known.service.map(|service| service.id.clone()));
        }
    }

    /// The report of all services, readable and unreadable.
    pub(super) fn listed(&self) -> Update {
        let readable = self.known.values().filter(|known| known.unreadable.is_none());
        let services = readable.filter_map(|known| known.service.clone()).collect();
        let unreadable = self.known.iter().filter_map(|(name, known)| Some((self.id(name), known.unreadable.clone()?)));
        Update::Listed { scope: self.scope.clone(), services, unreadable: unreadable.collect() }
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    fn id(&self, name: &Text) -> ServiceId {
        ServiceId::new(self.registry.clone(), self.scope.0.clone(), self.namespace.clone(), name.clone())
    }
}
