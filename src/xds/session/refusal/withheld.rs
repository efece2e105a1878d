//! What a stream is not sent of a type, though its view has it: versions that its client refuses.
//!
//! Where an answer holds everything, and what it lacks is removed, the body that the client accepted last stands in the place
//! of the refused one; where it accepted none, none stands there. Everywhere else the client keeps what it has by not being
//! told anything: the name is taken out of what the session compares, on both sides, and what the client has is put aside.

use crate::{
    resource::{Generation, Name, Resource},
    xds::unwanted::Found,
};
use std::{collections::BTreeMap, sync::Arc};

/// So many names of a type are withheld from a stream, beside those that a search holds for a few turns.
const MOST: usize = 1_000;

/// Something that is withheld.
#[derive(Debug)]
pub(in super::super) struct Entry {
    /// Hash of the content that is refused; other content of that name is sent.
    pub(in super::super) version: u64,
    /// What the client has of that name; put back when this is over. `None`: nothing, or `instead` says it.
    pub(in super::super) has: Option<u64>,
    /// What is sent in its place.
    pub(in super::super) instead: Option<Arc<Resource>>,
    /// How it was found; `None`: a search holds it, and it may not be meant.
    pub(in super::super) found: Option<Found>,
}

/// See the module.
#[derive(Debug, Default)]
pub(in super::super) struct Withheld {
    entries: BTreeMap<Name, Entry>,
    /// How many of them are there for good.
    found: usize,
    /// A generation of the view, and what it is without these.
    laid: Option<(Arc<Generation>, Arc<Generation>)>,
}

impl Withheld {
    pub(in super::super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(in super::super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is room for one more that stays.
    pub(in super::super) fn has_room(&self) -> bool {
        self.found < MOST
    }

    pub(in super::super) fn has(&self, name: &str, version: u64) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.version == version)
    }

    /// Whether the client keeps what it has by not being told anything.
    pub(in super::super) fn is_kept(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.has.is_some())
    }

    /// Whether a search holds it.
    pub(in super::super) fn is_held(&self, name: &str, version: u64) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.version == version && entry.found.is_none())
    }

    /// What a search holds.
    pub(in super::super) fn held(&self) -> impl Iterator<Item = &Name> {
        self.entries.iter().filter(|(_, entry)| entry.found.is_none()).map(|(name, _)| name)
    }

    /// What is sent in its place.
    pub(in super::super) fn instead(&self, name: &str) -> Option<Arc<Resource>> {
        self.entries.get(name)?.instead.clone()
    }

    pub(in super::super) fn iter(&self) -> impl Iterator<Item = (&Name, &Entry)> {
        self.entries.iter()
    }

    pub(in super::super) fn insert(&mut self, name: Name, entry: Entry) {
        self.found += usize::from(entry.found.is_some());
        if let Some(before) = self.entries.insert(name, entry) {
            self.found -= usize::from(before.found.is_some());
        }
        self.laid = None;
    }

    /// Withholds for good what a search has held. `false` if it is not held any more.
    pub(in super::super) fn convict(&mut self, name: &str, version: u64, found: Found) -> bool {
        let Some(entry) = self.entries.get_mut(name).filter(|entry| entry.version == version) else { return false };
        self.found += usize::from(entry.found.is_none());
        entry.found = Some(found);
        true
    }

    pub(in super::super) fn remove(&mut self, name: &str) -> Option<Entry> {
        let entry = self.entries.remove(name)?;
        self.found -= usize::from(entry.found.is_some());
        self.laid = None;
        Some(entry)
    }

    /// Puts aside what the client has of these names, by `take`, so that it is not compared either.
    pub(in super::super) fn put_aside(&mut self, mut take: impl FnMut(&Name) -> Option<u64>) {
        for (name, entry) in &mut self.entries {
            entry.has = take(name).or(entry.has);
        }
    }

    /// The client has dropped what it does not want any more.
    pub(in super::super) fn drop_unwanted(&mut self, wants: impl Fn(&Name) -> bool) {
        for (name, entry) in &mut self.entries {
            entry.has = entry.has.filter(|_| wants(name));
        }
    }

    /// The names of which the generation no longer has the version that is withheld.
    pub(in super::super) fn gone(&self, generation: &Arc<Generation>) -> Vec<Name> {
        if self.laid.as_ref().is_some_and(|(of, _)| Arc::ptr_eq(of, generation)) {
            return Vec::new();
        }
        let is_gone = |(name, entry): &(&Name, &Entry)| generation.versions().get(*name) != Some(&entry.version);
        self.entries.iter().filter(is_gone).map(|(name, _)| name.clone()).collect()
    }

    /// The generation as this stream is served it.
    pub(in super::super) fn lay(&mut self, generation: &Arc<Generation>) -> Arc<Generation> {
        if let Some((_, laid)) = self.laid.as_ref().filter(|(of, _)| Arc::ptr_eq(of, generation)) {
            return laid.clone();
        }
        let changes = self.entries.iter().map(|(name, entry)| (name.clone(), entry.instead.clone()));
        let laid = Arc::new(generation.with(changes));
        self.laid = Some((generation.clone(), laid.clone()));
        laid
    }
}
