//! One root as it was last read: which nodes it has, and the services that they amount to. Pure but for the clock that is
//! handed in.

use super::{
    error::Error,
    layout::{Converted, Entry, Known, Layout, Place},
};
use crate::{
    model::{Scope, Service, ServiceId, Text, Update},
    registry::chain,
};
use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::Arc,
    time::SystemTime,
};
use xxhash_rust::xxh3::Xxh3Default;

/// What was read below one root.
#[derive(Debug)]
pub(super) struct Tree {
    registry: Text,
    pub(super) layout: Layout,
    pub(super) root: Text,
    namespace: Text,
    nodes: BTreeMap<String, Node>,
    /// The list of its nodes cannot be read.
    pub(super) failed: bool,
}

/// What was read of the node of one service.
#[derive(Debug, Default)]
struct Node {
    /// Of all its entries: equal ones need not be read again.
    hash: Option<u64>,
    /// Sorted by id.
    services: Vec<Arc<Service>>,
    /// When they change by themselves.
    until: Option<SystemTime>,
    /// Instances by the names of their entries.
    known: Known,
    /// It cannot be read; `services` are the last good ones.
    error: Option<Text>,
}

/// What a reading of a node changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// A service is as this.
    Applied(Arc<Service>),
    /// A service has no instance left, or its node is gone.
    Removed(ServiceId),
    /// Something can no longer be read, or can be read again.
    Readable,
}

/// What the reading of a root has changed.
pub(super) struct Changed {
    /// Which root's tree.
    pub(super) index: usize,
    pub(super) changes: Vec<Change>,
    /// All of it was read.
    pub(super) whole: bool,
}

impl Tree {
    pub(super) fn new(registry: Text, layout: Layout, root: Text) -> Self {
        let namespace = root.trim_start_matches('/').into();
        Tree { registry, layout, root, namespace, nodes: BTreeMap::new(), failed: false }
    }

    /// As which its services are listed.
    pub(super) fn scope(&self) -> Scope {
        Scope(self.root.clone())
    }

    /// How many nodes are known.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.nodes.keys()
    }

    /// Whether a node is known.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.nodes.contains_key(name)
    }

    /// The nodes that could not be read.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &String> {
        self.nodes.iter().filter(|(_, node)| node.error.is_some()).map(|(name, _)| name)
    }

    /// The nodes whose services have changed by themselves.
    pub(super) fn grown(&self, now: SystemTime) -> impl Iterator<Item = &String> {
        self.nodes.iter().filter(move |(_, node)| node.until.is_some_and(|until| until <= now)).map(|(name, _)| name)
    }

    /// When the next one does.
    pub(super) fn until(&self) -> Option<SystemTime> {
        self.nodes.values().filter_map(|node| node.until).min()
    }

    /// A node is gone.
    pub(super) fn forget(&mut self, name: &str) -> Vec<Change> {
        let node = self.nodes.remove(name).unwrap_or_default();
        node.services.iter().map(|service| Change::Removed(service.id.clone())).collect()
    }

    /// What was read of a node: its entries in any order, or that it is not there.
    pub(super) fn update(
        &mut self,
        name: &str,
        read: Result<Option<Vec<Entry>>, Error>,
        now: SystemTime,
    ) -> Vec<Change> {
        let mut entries = match read {
            Ok(Some(entries)) => entries,
            Ok(None) => return self.forget(name),
            Err(error) => return self.fail(name, chain(&error)),
        };
        entries.sort();
        let hash = hash(&entries);
        let place = Place { registry: &self.registry, namespace: &self.namespace, node: name };
        let node = self.nodes.entry(name.to_owned()).or_default();
        let fresh = node.hash != Some(hash) || node.until.is_some_and(|until| until <= now);
        let converted = fresh.then(|| self.layout.services(place, &entries, &node.known, now));
        if let Some(Converted { unreadable: Some(why), .. }) = converted {
            return self.fail(name, why);
        }
        let mut changes: Vec<Change> = node.error.take().map(|_| Change::Readable).into_iter().collect();
        let Some(Converted { services, until, known, .. }) = converted else { return changes };
        let old = std::mem::take(&mut node.services);
        for service in services {
            match old.iter().find(|known| ***known == service) {
                Some(known) => node.services.push(known.clone()),
                None => {
                    let service = Arc::new(service);
                    node.services.push(service.clone());
                    changes.push(Change::Applied(service));
                }
            }
        }
        let gone = |known: &&Arc<Service>| !node.services.iter().any(|service| service.id == known.id);
        changes.extend(old.iter().filter(gone).map(|known| Change::Removed(known.id.clone())));
        (node.hash, node.until, node.known) = (Some(hash), until, known);
        changes
    }

    fn fail(&mut self, name: &str, error: Text) -> Vec<Change> {
        let node = self.nodes.entry(name.to_owned()).or_default();
        let news = node.error.as_ref() != Some(&error);
        node.error = Some(error);
        if news { vec![Change::Readable] } else { Vec::new() }
    }

    /// All services as they were last read.
    pub(super) fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.nodes.values().flat_map(|node| &node.services)
    }

    pub(super) fn list(&self) -> Update {
        let (mut services, mut unreadable) = (Vec::with_capacity(self.nodes.len()), Vec::new());
        for (name, node) in &self.nodes {
            match &node.error {
                None => services.extend(node.services.iter().cloned()),
                Some(error) if node.services.is_empty() => {
                    let place = Place { registry: &self.registry, namespace: &self.namespace, node: name };
                    unreadable.push((place.id("", name), error.clone()));
                }
                Some(error) => {
                    unreadable.extend(node.services.iter().map(|service| (service.id.clone(), error.clone())));
                }
            }
        }
        Update::Listed { scope: self.scope(), services, unreadable }
    }

    /// The update that reports a change; `None` if only a list can.
    pub(super) fn message(&self, change: Change) -> Option<Update> {
        match change {
            Change::Applied(service) => Some(Update::Applied(self.scope(), service)),
            Change::Removed(id) => Some(Update::Removed(self.scope(), id)),
            Change::Readable => None,
        }
    }
}

fn hash(entries: &[Entry]) -> u64 {
    let mut hasher = Xxh3Default::new();
    entries.hash(&mut hasher);
    hasher.finish()
}
