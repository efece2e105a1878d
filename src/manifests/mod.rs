//! Manifests: Istio's resources that registries keep as texts, from what was heard to what is served.
//!
//! Registries tell [`ManifestUpdate`](crate::model::ManifestUpdate)s, `translate::istio::manifest` reads the texts, and
//! [`Keeper`] is the one task that decides what stands: for each manifest the resources of its last good text. Views
//! read [`Snapshot`]s. A failure changes nothing; a wrong text costs nothing but itself; a manifest that is deleted goes at
//! once, unless everything goes at once.

mod core;
mod keeper;
mod metrics;
#[cfg(test)]
mod tests;

pub use keeper::{Handle, Keeper};
pub use metrics::Metrics;

use crate::{
    model::{ManifestId, Text},
    resource::{Kind, Name, Readiness, Resource},
};
use std::collections::BTreeMap;

/// A registry that keeps manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name in the configuration.
    pub registry: Text,
    /// Istio's namespace of resources that name none.
    pub namespace: Text,
}

/// All that manifests give at one moment. Immutable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Counts up with each.
    pub number: u64,
    /// How far the registries have reported; partial: not all, for so long that services' entries wait no longer for
    /// those of manifests. `None`: no registry keeps manifests.
    pub readiness: Option<Readiness>,
    /// What is to be served, each name once.
    pub resources: BTreeMap<(Kind, Name), Resource>,
    /// How each manifest fares, by id.
    pub manifests: Vec<Status>,
}

/// How a manifest fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which.
    pub id: ManifestId,
    /// How.
    pub state: State,
    /// What of it is served, by kind and name.
    pub resources: Vec<(Kind, Name)>,
    /// What is wrong, and what to do about it.
    pub error: Option<Text>,
}

/// The states of a manifest; of several, the last one is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It is served as it is.
    Good,
    /// A part of it is not served: another has the name.
    Conflicting,
    /// It is gone with all others of its scope, and served until that has lasted.
    Held,
    /// Its text is wrong; what its last good text gave is served.
    Wrong,
}

impl State {
    /// All of them.
    pub const ALL: [State; 4] = [State::Good, State::Conflicting, State::Held, State::Wrong];

    /// The word for people, metrics and formats.
    pub const fn name(self) -> &'static str {
        match self {
            State::Good => "good",
            State::Conflicting => "conflicting",
            State::Held => "held",
            State::Wrong => "wrong",
        }
    }
}
