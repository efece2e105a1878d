//! Who claims which host and which alias.
//!
//! A host belongs to its smallest claimant: what its registry lists before what is gone and served on, and that before what
//! only lingers; then by the registry's rank, its place in the configuration; then a name that is the host already before
//! one that was rewritten to it; then by id. An alias belongs to the one host that claims it, and to nobody if several do or
//! if it is a host itself.
//!
//! A claim is firm if a registry of the configuration lists the service. What is not firm keeps nothing from what is: not a
//! host, nor an alias, nor the host of a further port.

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
    name: Option<u64>,
}

impl Claimant {
    pub(super) fn new(Claim { standing, spelling }: Claim, rank: Rank, id: ServiceId) -> Self {
        Claimant { standing, rank, rewritten: spelling.rewritten, id, name: spelling.name }
    }

    /// Whether both call the host the same, so that they may be one service.
    pub(super) fn is_namesake(&self, other: &Claimant) -> bool {
        self.name == other.name
    }

    /// Whether its registry has the service, and the configuration has the registry.
    pub(super) fn is_firm(&self) -> bool {
        self.standing == Standing::Listed && !self.rank.left
    }
}

/// All claims: of hosts by services, and of aliases by hosts.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    hosts: HashMap<Hostname, SortedSet<Claimant>>,
    /// By alias: the hosts that claim it; those whose own claims are firm first.
    aliases: HashMap<Hostname, SortedSet<(Firmness, Hostname)>>,
    by_host: HashMap<Hostname, (Firmness, Vec<Hostname>)>,
}

/// Whether the best claim of a host is firm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Firmness {
    Firm,
    Loose,
}

impl Firmness {
    fn of(first: &Claimant) -> Self {
        if first.is_firm() { Firmness::Firm } else { Firmness::Loose }
    }
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

    /// Whether a registry of the configuration lists a service that claims the host.
    pub(super) fn is_firm(&self, host: &Hostname) -> bool {
        self.firmness(host) == Some(Firmness::Firm)
    }

    fn firmness(&self, host: &Hostname) -> Option<Firmness> {
        self.claimants(host).next().map(Firmness::of)
    }

    /// The hosts that claim an alias; those whose own claims are firm first.
    pub(super) fn alias_claimants(&self, alias: &Hostname) -> impl Iterator<Item = &Hostname> {
        self.aliases.get(alias).into_iter().flatten().map(|(_, host)| host)
    }

    /// The host that alone claims an alias, or alone claims it firmly.
    pub(super) fn alias_owner(&self, alias: &Hostname) -> Option<&Hostname> {
        let mut claimants = self.aliases.get(alias).into_iter().flatten();
        let (firmness, host) = claimants.next()?;
        claimants.next().is_none_or(|(next, _)| next > firmness).then_some(host)
    }

    /// The aliases that a host claims, as last set; it need not have got them.
    pub(super) fn aliases(&self, host: &Hostname) -> &[Hostname] {
        self.by_host.get(host).map_or(&[], |(_, aliases)| aliases)
    }

    pub(super) fn add(&mut self, host: &Hostname, claimant: Claimant, affected: &mut BTreeSet<Hostname>) {
        let before = self.firmness(host);
        self.hosts.entry(host.clone()).or_default().insert(claimant);
        self.affect(host, before, affected);
    }

    /// Takes a claim away. The hosts that this concerns are added to `affected`.
    pub(super) fn remove(&mut self, host: &Hostname, claimant: &Claimant, affected: &mut BTreeSet<Hostname>) {
        let before = self.firmness(host);
        let Some(claimants) = self.hosts.get_mut(host) else { return };
        claimants.remove(claimant);
        if claimants.is_empty() {
            self.hosts.remove(host);
        }
        self.affect(host, before, affected);
    }

    /// Puts registries in another order. The hosts whose claimants change places are added to `affected`.
    pub(super) fn rerank(&mut self, rank: impl Fn(&Text) -> Option<Rank>, affected: &mut BTreeSet<Hostname>) {
        let mut moved = Vec::new();
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
            let same = |(a, b): (&Claimant, &Claimant)| a.id == b.id && a.is_firm() == b.is_firm();
            if !claimants.iter().zip(&before).all(same) {
                moved.push((host.clone(), before.first().map(Firmness::of)));
            }
        }
        moved.iter().for_each(|(host, before)| self.affect(host, *before, affected));
    }

    /// Replaces the aliases that a host claims. Hosts that lose or win one are added to `affected`.
    pub(super) fn set_aliases(&mut self, host: &Hostname, aliases: Vec<Hostname>, affected: &mut BTreeSet<Hostname>) {
        let firmness = self.firmness(host).unwrap_or(Firmness::Loose);
        let (former, before) = self.by_host.remove(host).unwrap_or((firmness, Vec::new()));
        let same = former == firmness;
        for alias in before.iter().filter(|alias| !(same && aliases.contains(alias))) {
            self.change_alias(alias, affected, |claimants| claimants.remove(&(former, host.clone())));
        }
        for alias in aliases.iter().filter(|alias| !(same && before.contains(alias))) {
            self.change_alias(alias, affected, |claimants| claimants.insert((firmness, host.clone())));
        }
        if !aliases.is_empty() {
            self.by_host.insert(host.clone(), (firmness, aliases));
        }
    }

    /// Changes who claims an alias. Who had it, and who has it now, are added to `affected`.
    fn change_alias(
        &mut self,
        alias: &Hostname,
        affected: &mut BTreeSet<Hostname>,
        change: impl FnOnce(&mut SortedSet<(Firmness, Hostname)>) -> bool,
    ) {
        let before = self.alias_owner(alias).cloned();
        let claimants = self.aliases.entry(alias.clone()).or_default();
        change(claimants);
        if claimants.is_empty() {
            self.aliases.remove(alias);
        }
        let after = self.alias_owner(alias).cloned();
        if before != after {
            affected.extend(before.into_iter().chain(after));
        }
    }

    /// A host that comes, goes, or is claimed firmly or no longer so concerns those that use its name: as an alias, or as the
    /// host of a further port.
    fn affect(&self, host: &Hostname, before: Option<Firmness>, affected: &mut BTreeSet<Hostname>) {
        affected.insert(host.clone());
        if self.firmness(host) != before {
            affected.extend(self.alias_claimants(host).cloned());
            affected.extend(base(host).filter(|base| self.has(base)));
        }
    }
}
