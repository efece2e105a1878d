//! What a group of clients sees at one moment: a generation of each kind, changed together.

use super::{Generation, Heard, KINDS, Kind, Name, Readiness, Resource};
use std::sync::Arc;

/// A generation of each kind, and whether their sources have been heard. Immutable.
#[derive(Debug, Clone)]
pub struct ViewGeneration {
    number: u64,
    readiness: Readiness,
    manifests: Option<Heard>,
    kinds: [Arc<Generation>; KINDS],
}

impl ViewGeneration {
    /// Nothing is known yet.
    pub fn empty() -> Self {
        ViewGeneration { number: 0, readiness: Readiness::Waiting, manifests: None, kinds: Default::default() }
    }

    /// The next one, or `None` if nothing changes.
    pub fn next(
        &self,
        readiness: Readiness,
        changes: impl IntoIterator<Item = (Kind, Name, Option<Resource>)>,
    ) -> Option<ViewGeneration> {
        self.next_heard(readiness, self.manifests, changes)
    }

    /// The next one, after so much was heard of manifests; `None` if nothing changes.
    pub fn next_heard(
        &self,
        readiness: Readiness,
        manifests: Option<Heard>,
        changes: impl IntoIterator<Item = (Kind, Name, Option<Resource>)>,
    ) -> Option<ViewGeneration> {
        let mut by_kind: [Vec<(Name, Option<Resource>)>; KINDS] = Default::default();
        for (kind, name, change) in changes {
            by_kind[kind as usize].push((name, change));
        }
        let mut next = ViewGeneration { number: self.number + 1, readiness, manifests, kinds: self.kinds.clone() };
        let mut changed = (readiness, manifests) != (self.readiness, self.manifests);
        for (generation, changes) in next.kinds.iter_mut().zip(by_kind) {
            if let Some(new) = generation.next(changes) {
                *generation = Arc::new(new);
                changed = true;
            }
        }
        changed.then_some(next)
    }

    /// The same, with manifests of which so much was heard; `None`: there are none, and never will be.
    pub fn with_manifests(self, manifests: Option<Heard>) -> Self {
        ViewGeneration { manifests, ..self }
    }

    /// How much was heard of manifests.
    pub fn manifests(&self) -> Option<Heard> {
        self.manifests
    }

    /// Whether the sources of a kind have been heard; `None`: it has none, and never will have.
    ///
    /// A list that lacks a manifest's entry deletes it, so entries of services wait for manifests, but not for ever: a
    /// source of manifests that never answers must not keep the mesh from changes of instances.
    pub fn readiness_of(&self, kind: Kind) -> Option<Readiness> {
        match (kind, self.manifests) {
            (Kind::ServiceEntry, Some(Heard::Waiting)) => Some(Readiness::Waiting),
            (kind, _) if kind == Kind::ServiceEntry || !kind.is_istio() => Some(self.readiness),
            (_, manifests) => manifests.map(|heard| match heard {
                Heard::Complete => Readiness::Complete,
                Heard::Waiting | Heard::Overdue => Readiness::Waiting,
            }),
        }
    }

    /// Counts up with each change. Only for people: two views of equal content may have different numbers.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether its sources have been heard.
    pub fn readiness(&self) -> Readiness {
        self.readiness
    }

    /// The resources of a kind.
    pub fn get(&self, kind: Kind) -> &Arc<Generation> {
        &self.kinds[kind as usize]
    }
}
