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

/// The most needs that are kept after the last consumer stopped saying them. The oldest are dropped first.
const MOST_KEPT: usize = 100_000;

/// The section `calls:` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long an application keeps a need that no consumer says any more.
    pub keep: Duration,
    /// How `Sidecar`s are made for Istiods; `None` if none are made.
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
    /// Grows by one with each model that differs from the one before.
    pub number: u64,
    /// Each application under its name, as its consumers give it.
    pub applications: BTreeMap<Text, Arc<Application>>,
    /// What could not be read of consumers, with the registry; empty for a note that is of no registry.
    pub notes: Vec<(Text, Note)>,
    /// The registries whose consumers are read, and how that goes.
    pub registries: BTreeMap<Text, Reading>,
}

/// State of the reading of a registry's consumers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// A whole list of the registry's places has arrived at least once.
    pub listed: bool,
    /// Why the consumers cannot be read now; `None` if they can.
    pub error: Option<Text>,
}

/// The services that one application needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Application {
    /// Each need with the time since which no consumer says it; `None` while some consumer does.
    pub needs: BTreeMap<Need, Option<SystemTime>>,
    /// It needs everything: it says so, or it needs more than [`MOST_NEEDS`].
    pub everything: bool,
}

impl Application {
    /// Makes an application of its needs, each with the time since which no consumer says it, and finds out if it needs
    /// everything.
    pub fn new(needs: BTreeMap<Need, Option<SystemTime>>) -> Application {
        let names: usize = needs.keys().map(Need::count).fold(0, usize::saturating_add);
        let everything = names > MOST_NEEDS || needs.keys().any(Need::is_everything);
        Application { needs, everything }
    }
}

impl Model {
    /// The names of the services that an application needs; `None` if it is not known, or needs everything.
    pub fn names(&self, application: &str) -> Option<Vec<Text>> {
        let known = self.applications.get(application).filter(|known| !known.everything)?;
        Some(known.needs.keys().flat_map(Need::names).collect())
    }

    /// True if every application needs the same in both models, and both are complete or neither is. Notes and times do
    /// not count.
    pub fn is_needed_as(&self, other: &Model) -> bool {
        let same = |(one, other): (&Arc<Application>, &Arc<Application>)| {
            one.everything == other.everything && one.needs.keys().eq(other.needs.keys())
        };
        self.is_complete() == other.is_complete()
            && self.applications.len() == other.applications.len()
            && self.applications.keys().eq(other.applications.keys())
            && self.applications.values().zip(other.applications.values()).all(same)
    }

    /// Every registry whose consumers are read has sent a whole list at least once.
    pub fn is_complete(&self) -> bool {
        self.registries.values().all(|reading| reading.listed)
    }
}
