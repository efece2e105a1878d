//! Who claims which host and which alias.
//!
//! A host belongs to its smallest claimant: what its registry lists before what is gone and served on, and that before what
//! only lingers; then by the registry's rank, its place in the configuration; then a name that is the host already before
//! one that was rewritten to it; then by id. An alias belongs to the one host that claims it, and to nobody if several do or
//! if it is a host itself.

use super::{
    claim::{Claim, Rank, Standing},
    merge::base,
};
use crate::{
    model::{Hostname, ServiceId, Text},
    util::sorted_vec::SortedSet,
};
use std::collections::{BTreeSet, HashMap};

/// A service that claims a host, in the order of ownership.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claimant {
    standing: Standing,
    rank: Rank,
    rewritten: bool,
    pub(super) id: ServiceId,
}

impl Claimant {
    pub(super) fn new(Claim { standing, rewritten }: Claim, rank: Rank, id: ServiceId) -> Self {
        Claimant { standing, rank, rewritten, id }
    }

    /// Whether its registry has the service.
    pub(super) fn is_listed(&self) -> bool {
        self.standing == Standing::Listed
    }
}

/// Who names which host.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    hosts: HashMap<Hostname, SortedSet<Claimant>>,
    aliases: HashMap<Hostname, SortedSet<Hostname>>,
    by_host: HashMap<Hostname, Vec<Hostname>>,
}

impl Claims {
    /// Who claims the host, the owner first.
    pub(super) fn claimants(&self, host: &Hostname) -> impl Iterator<Item = &Claimant> {
        self.hosts.get(host).into_iter().flatten()
    }

    /// Whether anybody claims the host.
    pub(super) fn has(&self, host: &Hostname) -> bool {
        self.hosts.contains_key(host)
    }

    /// The hosts that claim an alias.
    pub(super) fn alias_claimants(&self, alias: &Hostname) -> impl Iterator<Item = &Hostname> {
        self.aliases.get(alias).into_iter().flatten()
    }

    /// The aliases that a host claims.
    pub(super) fn aliases(&self, host: &Hostname) -> &[Hostname] {
        self.by_host.get(host).map_or(&[], |aliases| aliases)
    }

    pub(super) fn add(&mut self, host: &Hostname, claimant: Claimant, affected: &mut BTreeSet<Hostname>) {
        if !self.has(host) {
            self.appear(host, affected);
        }
        self.hosts.entry(host.clone()).or_default().insert(claimant);
        affected.insert(host.clone());
    }

    /// Takes a claim away.
    pub(super) fn remove(&mut self, host: &Hostname, claimant: &Claimant, affected: &mut BTreeSet<Hostname>) {
        let Some(claimants) = self.hosts.get_mut(host) else { return };
        claimants.remove(claimant);
        affected.insert(host.clone());
        if claimants.is_empty() {
            self.hosts.remove(host);
            self.appear(host, affected);
        }
    }

    /// Puts registries in another order. The hosts whose claimants change places are added to `affected`.
    pub(super) fn rerank(&mut self, rank: impl Fn(&Text) -> Option<Rank>, affected: &mut BTreeSet<Hostname>) {
        for (host, claimants) in &mut self.hosts {
            let placed = |claimant: &Claimant| rank(&claimant.id.registry) == Some(claimant.rank);
            if claimants.iter().all(placed) {
                continue;
            }
            let before = std::mem::take(claimants).into_iter().collect::<Vec<_>>();
            let reranked = |claimant: &Claimant| Claimant {
                rank: rank(&claimant.id.registry).unwrap_or(claimant.rank),
                ..claimant.clone()
            };
            *claimants = before.iter().map(reranked).collect();
            if !claimants.iter().map(|claimant| &claimant.id).eq(before.iter().map(|claimant| &claimant.id)) {
                affected.insert(host.clone());
            }
        }
    }

    /// Sets the aliases that a host claims.
    pub(super) fn set_aliases(&mut self, host: &Hostname, aliases: Vec<Hostname>, affected: &mut BTreeSet<Hostname>) {
        let before = self.by_host.remove(host).unwrap_or_default();
        for alias in before.iter().filter(|alias| !aliases.contains(alias)) {
            if let Some(claimants) = self.aliases.get_mut(alias) {
                claimants.remove(host);
                // Whoever is left alone has it now; among several nothing changes.
                if claimants.len() == 1 {
                    affected.extend(claimants.iter().cloned());
                }
                if claimants.is_empty() {
                    self.aliases.remove(alias);
                }
            }
        }
        for alias in aliases.iter().filter(|alias| !before.contains(alias)) {
            let claimants = self.aliases.entry(alias.clone()).or_default();
            if claimants.len() == 1 {
                affected.extend(claimants.iter().cloned());
            }
            claimants.insert(host.clone());
        }
        if !aliases.is_empty() {
            self.by_host.insert(host.clone(), aliases);
        }
    }

    /// A host that comes or goes concerns those that use its name: as an alias, or as the host of a further port.
    fn appear(&self, host: &Hostname, affected: &mut BTreeSet<Hostname>) {
        affected.extend(self.alias_claimants(host).cloned());
        affected.extend(base(host).filter(|base| self.has(base)));
    }
}
