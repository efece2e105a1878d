//! Which virtual addresses the hosts of services have: for the entries that Istiods get, and for the listeners of sidecars. Both
//! follow from all services of the catalog, whichever of them a view has, so that they agree.

use super::vip::{Claimant, Moved, Pool};
use crate::{
    model::{Hostname, PublishedService, Text},
    translate::istio,
};
use imbl::OrdMap;
use ipnet::IpNet;
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

/// Gives virtual addresses to the hosts that need one.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// Which entries have virtual addresses.
    who: istio::Addresses,
    networks: Vec<IpNet>,
    /// One for each of `networks`, in the same order.
    pools: Vec<Pool>,
    /// By published service: those of its hosts that want an address.
    claimants: HashMap<Hostname, Vec<Arc<Claimant>>>,
}

impl Addresses {
    /// No host has an address yet.
    pub(super) fn new(options: &istio::Options) -> Self {
        let pools = options.vip.iter().map(|network| Pool::new(*network)).collect();
        Addresses { who: options.addresses, networks: options.vip.clone(), pools, claimants: HashMap::new() }
    }

    /// Whether these options would give the same.
    pub(super) fn is_by(&self, options: &istio::Options) -> bool {
        self.who == options.addresses && self.networks == options.vip
    }

    /// The addresses of a service's host, at most one of each network; empty if it has none.
    pub(super) fn of(&self, service: &Hostname, host: &Hostname) -> Vec<IpAddr> {
        let claimant = self.claimants.get(service).and_then(|all| all.iter().find(|c| c.host == *host));
        claimant.map(|c| self.pools.iter().filter_map(|pool| pool.address(c)).collect()).unwrap_or_default()
    }

    /// Takes notice that these services have come, changed or gone. Returns the hosts of others that have other
    /// addresses for that.
    pub(super) fn advance<'a>(
        &mut self,
        services: &OrdMap<Hostname, Arc<PublishedService>>,
        changed: impl IntoIterator<Item = &'a Hostname>,
    ) -> Vec<Moved> {
        let mut fresh: HashSet<Arc<Claimant>> = HashSet::new();
        for host in changed {
            let wanted = services.get(host).map(|service| claimants(service, self.who)).unwrap_or_default();
            let before = self.claimants.remove(host).unwrap_or_default();
            for pool in &mut self.pools {
                before.iter().filter(|claimant| !wanted.contains(claimant)).for_each(|gone| pool.remove(gone));
                wanted.iter().filter(|claimant| !before.contains(claimant)).for_each(|new| pool.insert(new.clone()));
            }
            fresh.extend(wanted.iter().filter(|claimant| !before.contains(claimant)).cloned());
            if !wanted.is_empty() {
                self.claimants.insert(host.clone(), wanted);
            }
        }
        let moved = self.pools.iter_mut().flat_map(Pool::take_moved);
        moved.filter(|moved| !fresh.contains(&moved.claimant)).collect()
    }
}

/// The hosts of a service that want an address. Its first source counts as their owner.
fn claimants(service: &PublishedService, who: istio::Addresses) -> Vec<Arc<Claimant>> {
    let Some(owner) = service.sources.first() else { return Vec::new() };
    let claimant = |host| Arc::new(Claimant { owner: owner.clone(), host, service: service.host.clone() });
    istio::vip_hosts(service, who).into_iter().map(claimant).collect()
}

/// The addresses of one service's hosts, in lower case; hosts without any are left out.
pub(super) type OfService = Arc<[(Text, Box<[IpAddr]>)]>;

/// The addresses of all services that have some. Cheap to clone, and to compare with what it was.
#[derive(Debug, Clone, Default)]
pub(super) struct Book(OrdMap<Hostname, OfService>);

impl Book {
    /// Notes the addresses that the hosts of these services have now.
    pub(super) fn note<'a>(
        &mut self,
        addresses: &Addresses,
        services: &OrdMap<Hostname, Arc<PublishedService>>,
        changed: impl IntoIterator<Item = &'a Hostname>,
    ) {
        for host in changed {
            let now = services.get(host).map(|service| addresses.of_service(service)).unwrap_or_default();
            match now.is_empty() {
                true => drop(self.0.remove(host)),
                false if self.0.get(host).is_some_and(|known| **known == *now) => {}
                false => drop(self.0.insert(host.clone(), now.into())),
            }
        }
    }

    /// The addresses of a service's host, in lower case; empty if it has none.
    pub(super) fn of(&self, service: &Hostname, host: &str) -> Vec<IpAddr> {
        let hosts = self.0.get(service).into_iter().flat_map(|of| of.iter());
        hosts.filter(|(of, _)| **of == *host).flat_map(|(_, addresses)| addresses.iter().copied()).collect()
    }

    /// The services of which some host has others than before.
    pub(super) fn differing(&self, before: &Book) -> Vec<Hostname> {
        before.0.diff(&self.0).map(super::translations::host_of).collect()
    }
}

impl Addresses {
    fn of_service(&self, service: &PublishedService) -> Vec<(Text, Box<[IpAddr]>)> {
        let entry = |hosts: Vec<Hostname>| {
            let addresses = hosts.first().map(|host| self.of(&service.host, host)).unwrap_or_default();
            hosts.into_iter().map(move |host| (host.text().clone(), addresses.clone().into()))
        };
        let all = istio::addressed(service, self.who).flat_map(entry);
        all.filter(|(_, addresses): &(Text, Box<[IpAddr]>)| !addresses.is_empty()).collect()
    }
}
