//! Which service has a name that several claim.
//!
//! The smallest host has it, whether or not it can use it: the answer depends on who claims, never on who came first, and
//! one contest never decides another.

use crate::{model::Hostname, resource::Name, util::sorted_vec::SortedSet};
use std::collections::HashMap;

/// Who claims which name.
#[derive(Debug, Default)]
pub(super) struct Claims {
    claimants: HashMap<Name, SortedSet<Hostname>>,
}

impl Claims {
    /// The host that has the name: the smallest of those that claim it; `None` if none does.
    pub(super) fn owner(&self, name: &Name) -> Option<&Hostname> {
        self.claimants.get(name)?.first()
    }

    /// Adds a claim. Returns the hosts for which it may change who has the name.
    pub(super) fn add(&mut self, name: &Name, host: &Hostname) -> Vec<Hostname> {
        let claimants = self.claimants.entry(name.clone()).or_default();
        claimants.insert(host.clone());
        // A new smallest one takes the name from all others; any other one loses against the owner.
        if claimants.first() == Some(host) { claimants.iter().cloned().collect() } else { vec![host.clone()] }
    }

    /// Takes a claim back. Returns the hosts for which that may change who has the name.
    pub(super) fn remove(&mut self, name: &Name, host: &Hostname) -> Vec<Hostname> {
        let Some(claimants) = self.claimants.get_mut(name) else { return Vec::new() };
        let owned = claimants.first() == Some(host);
        claimants.remove(host);
        let concerned = if owned { claimants.iter().cloned().collect() } else { Vec::new() };
        if claimants.is_empty() {
            self.claimants.remove(name);
        }
        concerned
    }
}
