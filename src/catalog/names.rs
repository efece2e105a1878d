//! The host names that instances have for addresses: who needs which, and what they resolve to.

use super::endpoints::Answers;
use crate::model::{ServiceId, Text};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// So many answers, and as many as twice the names in use, are kept before unused ones are dropped.
const SPARE_ANSWERS: usize = 64;

/// The names that are needed, with the services that need each, and the answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    wanted: BTreeMap<Text, BTreeSet<ServiceId>>,
    pub(super) answers: Answers,
    /// Wanted names of which nothing is known yet: there is no answer, and it is not known that there is none.
    unknown: BTreeSet<Text>,
    changed: bool,
}

impl Names {
    /// The last good answers; a name that has none yet is missing.
    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// All names that are to be resolved, each with its last good answer; without one, with no addresses.
    pub(super) fn wanted(&self) -> BTreeMap<Text, Arc<[IpAddr]>> {
        let last = |name| self.answers.get(name).cloned().unwrap_or_default();
        self.wanted.keys().map(|name| (name.clone(), last(name))).collect()
    }

    /// Whether [`Names::wanted`] has other names than when this was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether nothing is known yet of some name that is needed.
    pub(super) fn any_unknown(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Takes in an answer. Returns the services that need the name, if it is news to them.
    pub(super) fn resolved(&mut self, name: &Text, mut addresses: Vec<IpAddr>) -> BTreeSet<ServiceId> {
        addresses.sort();
        addresses.dedup();
        let Some(users) = self.wanted.get(name) else { return BTreeSet::new() };
        self.unknown.remove(name);
        if addresses.is_empty() || self.answers.get(name).is_some_and(|known| **known == *addresses) {
            return BTreeSet::new();
        }
        self.answers.insert(name.clone(), addresses.into());
        users.clone()
    }

    /// Follows which names a service needs.
    pub(super) fn want(&mut self, id: &ServiceId, before: &BTreeSet<Text>, after: &BTreeSet<Text>) {
        for name in before.difference(after) {
            if let Some(users) = self.wanted.get_mut(name) {
                users.remove(id);
                if users.is_empty() {
                    self.wanted.remove(name);
                    self.unknown.remove(name);
                    self.changed = true;
                }
            }
        }
        for name in after.difference(before) {
            if !self.wanted.contains_key(name) {
                self.changed = true;
                if !self.answers.contains_key(name) {
                    self.unknown.insert(name.clone());
                }
            }
            self.wanted.entry(name.clone()).or_default().insert(id.clone());
        }
        // An answer outlives its users: who wants the name again at once, as when an instance moves from one service to
        // another, needs it now, and the resolver, which saw no difference, would report it only with its next answer.
        if self.answers.len() > 2 * self.wanted.len() + SPARE_ANSWERS {
            self.answers.retain(|name, _| self.wanted.contains_key(name));
        }
    }
}
