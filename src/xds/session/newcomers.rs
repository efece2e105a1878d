//! Clusters that were sent, are new to the client, and whose assignments it has not asked for yet: for Envoy they are none
//! before these have come.

use crate::resource::Name;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// Names of the clusters, each with the name of its assignment.
    clusters: BTreeMap<Name, Name>,
    /// Until when others wait for them; `None`: there are none.
    until: Option<Instant>,
}

impl Newcomers {
    /// Notes clusters with the names of their assignments. Those noted before are then waited for as long as these.
    pub(super) fn note(&mut self, new: impl Iterator<Item = (Name, Name)>, until: Instant) {
        let before = self.clusters.len();
        self.clusters.extend(new);
        if self.clusters.len() > before {
            self.until = Some(until);
        }
    }

    /// Forgets those that the client has no more or asks for, and all that took too long.
    pub(super) fn welcome(&mut self, has: impl Fn(&Name) -> bool, asks: impl Fn(&Name) -> bool, now: Instant) {
        let Some(until) = self.until else { return };
        self.clusters.retain(|name, assignment| has(name) && !asks(assignment));
        if until <= now || self.clusters.is_empty() {
            *self = Newcomers::default();
        }
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}
