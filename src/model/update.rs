//! What the reading of a registry reports: the interface between the registries, which send it, and the catalog and the
//! manifests, which follow it. They know this and not one another.

use super::{Manifest, Service, ServiceId, Text};
use std::{fmt, sync::Arc, time::Duration};

/// A part of a registry that is listed, fails and goes stale by itself: all of it, a namespace, a group, a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(pub Text);

impl Scope {
    /// The only scope of a registry that is read as a whole.
    pub fn whole() -> Scope {
        Scope(Text::default())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "all" } else { &self.0 })
    }
}

/// A report on the services of one registry. The catalog applies reports in the order in which that registry sends them.
#[derive(Debug, Clone)]
pub enum Update {
    /// The registry consists of these scopes and no others. It is synced when each of them was listed once. Sent first,
    /// and whenever the scopes change; services of a scope that is no longer named count as absent from a list.
    Scopes(Vec<Scope>),
    /// Everything in one scope. Services equal to those before should be the same `Arc`s: comparing them is then free.
    Listed {
        /// May be one that [`Update::Scopes`] has not named yet.
        scope: Scope,
        /// All its services, each once.
        services: Vec<Arc<Service>>,
        /// Services that are in the list but could not be read: their last good value stays.
        unreadable: Vec<(ServiceId, Text)>,
    },
    /// One service as it is now, between lists.
    Applied(Scope, Arc<Service>),
    /// The registry reports this service as deleted; it is not merely absent from a list.
    Removed(Scope, ServiceId),
    /// A scope could not be read. What is known of it stays.
    Failed {
        /// Of which scope; the whole registry if no list of scopes could be had.
        scope: Option<Scope>,
        /// The whole chain of causes, for display; never holds a secret.
        error: Text,
    },
    /// What the reading since the last such update has cost.
    Cost(Cost),
}

/// A report on the manifests that a registry keeps, applied in order as [`Update`]s are. An enum of its own: manifests are
/// never reported one by one, and one that cannot be read is still a whole text.
#[derive(Debug, Clone)]
pub enum ManifestUpdate {
    /// The manifests are in these scopes and no others. Sent first, and whenever the scopes change.
    Scopes(Vec<Scope>),
    /// Everything in one scope, each once and as it is now; never a part, and never instead of an error. A manifest that is
    /// no longer named is deleted: the registry was asked for it by itself and said so. Those equal to the ones before
    /// should be the same `Arc`s.
    Listed(Scope, Vec<Arc<Manifest>>),
    /// A scope, or everything, could not be read. What is known of it stays.
    Failed(Option<Scope>, Text),
}

/// What reading costs the registry and us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Requests that were sent, those that failed included.
    pub requests: u64,
    /// Bytes of the bodies received, as they were on the wire where that is known.
    pub bytes: u64,
    /// From the first request to the last answer.
    pub duration: Duration,
}
