//! The call model: which application needs which services, as consumers that register themselves say it.
//!
//! Registries send [`CallUpdate`](crate::model::CallUpdate)s; [`Store`] is the one task that decides what stands (`book`), and
//! hands out [`Model`]s. Admin shows them, scopes go by them, and `sidecars` makes Istio's resources of them.
//!
//! Invariant: what cannot be read is as it was, and what an application no longer needs stays for [`Options::keep`]: an
//! application that is restarted, or calls once a day, does not lose its way meanwhile. That holds over a restart of Portolan, too,
//! where state is kept: [`Store::new`] is given the model of before.

mod book;
mod metrics;
mod sidecars;
mod store;
#[cfg(test)]
mod tests;

pub use metrics::Metrics;
pub use sidecars::{Sidecars, follow};
pub use store::{Handle, Store};

use crate::model::{Need, Note, Text};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// An application that needs more services than this counts as one that needs all: no list would narrow what it gets.
pub const MOST_NEEDS: usize = 2_000;

/// So many needs are kept that are over; the oldest go first.
const MOST_KEPT: usize = 100_000;

/// What is configured (`calls:`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long an application keeps what it no longer says that it needs.
    pub keep: Duration,
    /// The `Sidecar`s that are made for Istiods; `None`: none.
    pub sidecars: Option<Sidecars>,
}

impl Default for Options {
    /// A day, as with Slime: an application that is stopped over night finds everything in the morning.
    fn default() -> Self {
        Options { keep: Duration::from_secs(24 * 3600), sidecars: None }
    }
}

/// Who calls whom at one moment. Immutable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    /// Counts up with each.
    pub number: u64,
    /// By name.
    pub applications: BTreeMap<Text, Arc<Application>>,
    /// What could not be read of consumers, with the registry.
    pub notes: Vec<(Text, Note)>,
    /// The registries whose consumers are read, and how that goes.
    pub registries: BTreeMap<Text, Reading>,
}

/// How the consumers of a registry are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// All of them were read once.
    pub listed: bool,
    /// Why they cannot be read now.
    pub error: Option<Text>,
}

/// What an application needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Application {
    /// Each with since when no consumer says it any more; `None`: one does.
    pub needs: BTreeMap<Need, Option<SystemTime>>,
    /// It needs everything: it says so, or it needs more than [`MOST_NEEDS`].
    pub everything: bool,
}

impl Application {
    /// With these needs, each with since when no consumer says it any more.
    pub fn new(needs: BTreeMap<Need, Option<SystemTime>>) -> Application {
        let names: usize = needs.keys().map(Need::count).fold(0, usize::saturating_add);
        let everything = names > MOST_NEEDS || needs.keys().any(Need::is_everything);
        Application { needs, everything }
    }
}

impl Model {
    /// The names of the services that an application needs; `None`: it is not known, or needs everything.
    pub fn names(&self, application: &str) -> Option<Vec<Text>> {
        let known = self.applications.get(application).filter(|known| !known.everything)?;
        Some(known.needs.keys().flat_map(Need::names).collect())
    }

    /// Whether applications need the same in both, whatever else is said.
    pub fn is_needed_as(&self, other: &Model) -> bool {
        let same = |(one, other): (&Arc<Application>, &Arc<Application>)| {
            one.everything == other.everything && one.needs.keys().eq(other.needs.keys())
        };
        self.is_complete() == other.is_complete()
            && self.applications.len() == other.applications.len()
            && self.applications.keys().eq(other.applications.keys())
            && self.applications.values().zip(other.applications.values()).all(same)
    }

    /// All that is read was read once.
    pub fn is_complete(&self) -> bool {
        self.registries.values().all(|reading| reading.listed)
    }
}
