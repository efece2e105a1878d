//! One root as it was last read: its nodes, and the services that are made of them. Pure but for the clock that is
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

/// What was last read below one root.
#[derive(Debug)]
pub(super) struct Tree {
    registry: Text,
    pub(super) layout: Layout,
    pub(super) root: Text,
    namespace: Text,
    nodes: BTreeMap<String, Node>,
    /// The last reading of the list of its nodes has failed.
    pub(super) failed: bool,
}

/// What was last read of the node of one service.
#[derive(Debug, Default)]
struct Node {
    /// Hash of all entries: the same entries again need not be converted. `None` if none were read.
    hash: Option<u64>,
    /// Sorted by id.
    services: Vec<Arc<Service>>,
    /// When the services change though no entry does, since a weight grows; `None` if never.
    until: Option<SystemTime>,
    /// Instances by the names of their entries.
    known: Known,
    /// Why the node cannot be read; then `services` are the last good ones.
    error: Option<Text>,
}

/// One change that a reading of a node has found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// A service is new or has changed.
    Applied(Arc<Service>),
    /// A service has no instance left, or its node is gone.
    Removed(ServiceId),
    /// A node became unreadable or readable, which only a list can report.
    Readable,
}

/// What the reading of a root has changed.
pub(super) struct Changed {
    /// Index of the tree among those of the reader.
    pub(super) index: usize,
    pub(super) changes: Vec<Change>,
    /// All nodes of the root were read, so a list is to be sent.
    pub(super) whole: bool,
}

impl Tree {
    pub(super) fn new(registry: Text, layout: Layout, root: Text) -> Self {
        let namespace = root.trim_start_matches('/').into();
        Tree { registry, layout, root, namespace, nodes: BTreeMap::new(), failed: false }
    }

    /// The path of the root as a scope.
    pub(super) fn scope(&self) -> Scope {
        Scope(self.root.clone())
    }

    /// The number of nodes that are known.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.nodes.keys()
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.nodes.contains_key(name)
    }

    /// The nodes whose last reading has failed.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &String> {
        self.nodes.iter().filter(|(_, node)| node.error.is_some()).map(|(name, _)| name)
    }

    /// The nodes whose services have changed without a change of entries, and that are to be converted again.
    pub(super) fn grown(&self, now: SystemTime) -> impl Iterator<Item = &String> {
        let is_grown = move |node: &Node| node.grows().is_some_and(|until| until <= now);
        self.nodes.iter().filter(move |(_, node)| is_grown(node)).map(|(name, _)| name)
    }

    /// The next time at which services change by themselves.
    pub(super) fn until(&self) -> Option<SystemTime> {
        self.nodes.values().filter_map(Node::grows).min()
    }

    /// Drops a node, and returns the removal of its services.
    pub(super) fn forget(&mut self, name: &str) -> Vec<Change> {
        let node = self.nodes.remove(name).unwrap_or_default();
        node.services.iter().map(|service| Change::Removed(service.id.clone())).collect()
    }

    /// Takes in what was read of a node: its entries in any order, or `None` if there is no such node. Returns what
    /// changed.
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

impl Node {
    /// When its services change by themselves. One that cannot be read waits until it can, as its services do: else it would
    /// be read again without a pause.
    fn grows(&self) -> Option<SystemTime> {
        self.until.filter(|_| self.error.is_none())
    }
}

fn hash(entries: &[Entry]) -> u64 {
    let mut hasher = Xxh3Default::new();
    entries.hash(&mut hasher);
    hasher.finish()
}
