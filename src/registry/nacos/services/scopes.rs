//! Of which scopes the registry consists, also while the interface changes: a namespace is one scope by one interface, and
//! one for each group by another. Services must not seem to be gone in between, so the scopes of the former interface stay
//! named until all of those that replace them were read; while one of these fails, so do they.

use super::target::Target;
use crate::model::{Scope, Text};
use std::collections::{BTreeMap, BTreeSet};

/// The scopes of the registry, with their namespaces.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    /// The scopes that are read now.
    read: BTreeMap<Scope, Text>,
    /// Scopes that were read by another interface before, and are not replaced yet.
    leaving: BTreeMap<Scope, Text>,
}

impl Scopes {
    /// Sets the targets that are read from now on.
    pub(super) fn read<'a>(&mut self, targets: impl Iterator<Item = &'a Target>) {
        let read: BTreeMap<Scope, Text> = targets.map(|target| (target.scope(), target.namespace.clone())).collect();
        let before = std::mem::replace(&mut self.read, read);
        self.leaving.extend(before);
        let namespaces: BTreeSet<&Text> = self.read.values().collect();
        self.leaving.retain(|scope, namespace| !self.read.contains_key(scope) && namespaces.contains(namespace));
    }

    /// The scopes of the former interface that still stand in for a namespace, since its new scopes are not all read.
    pub(super) fn leaving(&self, namespace: &Text) -> Vec<Scope> {
        let of_it = self.leaving.iter().filter(|(_, other)| *other == namespace);
        of_it.map(|(scope, _)| scope.clone()).collect()
    }

    /// Drops the former scopes of all namespaces but `failed`, since everything else was read.
    pub(super) fn replaced(&mut self, failed: &BTreeSet<Text>) {
        self.leaving.retain(|_, namespace| failed.contains(namespace));
    }

    pub(super) fn named(&self) -> Vec<Scope> {
        let mut names: Vec<Scope> = self.read.keys().chain(self.leaving.keys()).cloned().collect();
        names.sort();
        names
    }
}
