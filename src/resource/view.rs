//! What a group of clients sees at one moment: a generation of each kind, changed together.

use super::{Generation, KINDS, Kind, Name, Readiness, Resource};
use std::sync::Arc;

/// A generation of each kind, and whether their sources have been heard. Immutable.
#[derive(Debug, Clone)]
pub struct ViewGeneration {
    number: u64,
    readiness: Readiness,
    kinds: [Arc<Generation>; KINDS],
}

impl ViewGeneration {
    /// Nothing is known yet.
    pub fn empty() -> Self {
        ViewGeneration { number: 0, readiness: Readiness::Waiting, kinds: Default::default() }
    }

    /// The next one, or `None` if nothing changes.
    pub fn next(
        &self,
        readiness: Readiness,
        changes: impl IntoIterator<Item = (Kind, Name, Option<Resource>)>,
    ) -> Option<ViewGeneration> {
        let mut by_kind: [Vec<(Name, Option<Resource>)>; KINDS] = Default::default();
        for (kind, name, change) in changes {
            by_kind[kind as usize].push((name, change));
        }
        let mut next = ViewGeneration { number: self.number + 1, readiness, kinds: self.kinds.clone() };
        let mut changed = readiness != self.readiness;
        for (generation, changes) in next.kinds.iter_mut().zip(by_kind) {
            if let Some(new) = generation.next(changes) {
                *generation = Arc::new(new);
                changed = true;
            }
        }
        changed.then_some(next)
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
