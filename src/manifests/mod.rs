//! Manifests: Istio's resources that registries keep as texts, from what registries send to what is served.
//!
//! Registries send [`ManifestUpdate`](crate::model::ManifestUpdate)s, `translate::istio::manifest` reads the texts, and
//! [`ManifestStore`] is the one task that decides what stands: for each manifest the resources of its last good text. Views
//! read [`Snapshot`]s. A failure changes nothing; a wrong text costs nothing but itself; a manifest that is deleted goes at
//! once, unless everything goes at once.

mod core;
mod event;
pub mod files;
mod memory;
mod metrics;
mod store;
#[cfg(test)]
mod tests;

pub use memory::{ManifestMemory, Memories, Memory};
pub use metrics::Metrics;
pub use store::{Handle, ManifestStore};

use self::event::Event;
use crate::{
    model::{ManifestId, Text},
    resource::{Kind, Name, Readiness, Resource},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A registry that keeps manifests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Its name in the configuration.
    pub registry: Text,
    /// Istio's namespace of resources that name none.
    pub namespace: Text,
    /// What is read, and from where, in words that hold over a restart.
    pub identity: Text,
    /// What is known from before a restart, if anything is. Nothing of a registry that is read already.
    pub memory: Option<Arc<Memory>>,
}

/// All that manifests give at one moment. Immutable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Rises by one with each snapshot that differs from the one before.
    pub number: u64,
    /// How far the registries have reported; partial: not all, for so long that services' entries wait no longer for
    /// those of manifests. `None`: no registry keeps manifests.
    pub readiness: Option<Readiness>,
    /// The registries whose manifests were not read completely yet.
    pub pending: Vec<Text>,
    /// What all of these had before a restart is known, and served.
    pub recalled: bool,
    /// What is to be served, each name once.
    pub resources: BTreeMap<(Kind, Name), Arc<Resource>>,
    /// The status of each manifest, by id; where something is pinned, the status that it had then.
    pub manifests: Vec<Status>,
    /// What would be served, where something else is pinned.
    pub below: Option<Arc<Snapshot>>,
}

/// The status of a manifest, shown by the admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Where the text is kept.
    pub id: ManifestId,
    /// How much of it is served, and why not all.
    pub state: State,
    /// Kind and name of each of its resources that is served.
    pub resources: Vec<(Kind, Name)>,
    /// What is wrong, and what to do about it; `None` if all of it is served.
    pub error: Option<Text>,
}

/// The states of a manifest; where several are true, the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// All of it is served.
    Good,
    /// A part of it is not served: another has the name.
    Conflicting,
    /// It is gone with all others of its scope, and served until that has lasted.
    Held,
    /// Its text is wrong; what its last good text gave is served.
    Wrong,
}

impl State {
    /// Each once, in the order of their declaration.
    pub const ALL: [State; 4] = [State::Good, State::Conflicting, State::Held, State::Wrong];

    /// The word in the admin API and in metrics, such as `good`.
    pub const fn name(self) -> &'static str {
        match self {
            State::Good => "good",
            State::Conflicting => "conflicting",
            State::Held => "held",
            State::Wrong => "wrong",
        }
    }
}

impl Snapshot {
    /// The readiness for resources that clients can be told singly: they do not wait for what is known from before a
    /// restart.
    pub fn sync(&self) -> Option<Readiness> {
        match self.readiness {
            Some(Readiness::Waiting) if self.recalled || self.below.is_some() => Some(Readiness::Partial),
            readiness => readiness,
        }
    }

    /// The readiness for resources that clients take as whole lists only: what is known from before a restart counts as
    /// listed, once they wait for a list no longer.
    pub fn known(&self) -> Option<Readiness> {
        match self.readiness {
            Some(Readiness::Partial) if self.recalled || self.below.is_some() => Some(Readiness::Complete),
            readiness => readiness,
        }
    }

    /// The status of each manifest, whatever is pinned. Services' resources have the names `of_services`, and go first.
    pub fn statuses(&self, of_services: &BTreeSet<(Kind, Name)>) -> Vec<Status> {
        let manifests = self.below.as_ref().map_or(&self.manifests, |below| &below.manifests);
        manifests.iter().map(|status| status.without(of_services)).collect()
    }
}

impl Status {
    fn without(&self, of_services: &BTreeSet<(Kind, Name)>) -> Status {
        let (lost, resources): (Vec<_>, Vec<_>) =
            self.resources.iter().cloned().partition(|key| of_services.contains(key));
        if lost.is_empty() {
            return self.clone();
        }
        let conflict = |(kind, name): &(Kind, Name)| {
            let word = kind.group_and_word().map_or(kind.name(), |(_, word)| word);
            format!("{word} {name} is a service's already; rename one, or let `istio: name` tell them apart")
        };
        let errors = self.error.iter().map(ToString::to_string).chain(lost.iter().map(conflict));
        let error = errors.collect::<Vec<_>>().join("\n");
        let (id, state) = (self.id.clone(), self.state.max(State::Conflicting));
        Status { id, state, resources, error: Some(error.into()) }
    }
}
