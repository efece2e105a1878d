//! Istio's resources of services: entries, and the virtual addresses of those that need them.

use super::{Metrics, Translator, addresses::Addresses, vip::Moved};
use crate::{
    model::{Hostname, PublishedService},
    resource::{Kind, Resource},
    translate::{Rejected, istio},
};
use imbl::OrdMap;
use std::{collections::BTreeSet, net::IpAddr, sync::Arc};
use tracing::warn;

/// Makes the `ServiceEntry`s of services for Istiods.
#[derive(Debug)]
pub struct Istio {
    options: istio::Options,
    addresses: Addresses,
    metrics: Metrics,
}

impl Istio {
    /// No host has an address yet.
    pub fn new(options: istio::Options, metrics: Metrics) -> Self {
        Istio { addresses: Addresses::new(&options), options, metrics }
    }
}

impl Translator for Istio {
    fn prepare(
        &mut self,
        services: &OrdMap<Hostname, Arc<PublishedService>>,
        changed: &BTreeSet<Hostname>,
    ) -> BTreeSet<Hostname> {
        let moved = self.addresses.advance(services, changed);
        moved.into_iter().map(|moved| report(&self.metrics, moved)).collect()
    }

    fn translate(&self, service: &PublishedService) -> (Vec<(Kind, Resource)>, Vec<Rejected>) {
        istio::translate(service, &self.options, &|host| self.addresses.of(&service.host, host))
    }
}

/// Counts and logs a moved address: connections to the former one end up elsewhere until the client asks for the name
/// again.
fn report(metrics: &Metrics, Moved { claimant, from, to }: Moved) -> Hostname {
    metrics.vip_moved();
    let text = |address: Option<IpAddr>| address.map_or("none".to_owned(), |a| a.to_string());
    let (host, service) = (&claimant.host, &claimant.owner);
    warn!(%host, %service, from = text(from), to = text(to), "Moved a virtual address: a colliding host came or went.");
    claimant.service.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::Catalog,
        model::{Port, Protocol, Readiness, ServiceId, ServicePort},
        resource::{Dialect, Name},
        views::{Selection, ViewKey, tests::Fixture},
    };
    use proptest::{collection::vec, prelude::*, sample::subsequence};
    use std::collections::BTreeMap;

    const HOSTS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

    /// A service whose owner sorts otherwise than its host.
    fn service(host: &str, owner: u8, protocol: Protocol) -> PublishedService {
        let (name, host) = (format!("{owner}-{host}"), Hostname::new(host).unwrap());
        let (port, number) = (protocol.name().into(), Port::new(20880).unwrap());
        let ports = vec![ServicePort { name: port, number, protocol, host: host.clone() }];
        PublishedService {
            aliases: vec![Hostname::new(&format!("{host}.alias")).unwrap()],
            sources: vec![ServiceId::new("zk", "", "", name)],
            ..PublishedService::new(host, ports, Vec::new())
        }
    }

    fn catalog(services: impl Iterator<Item = PublishedService>) -> Catalog {
        Catalog {
            number: 1,
            overrides: Arc::new([]),
            revision: 0,
            services: services.map(|service| (service.host.clone(), Arc::new(service))).collect(),
            records: Default::default(),
            registries: Arc::new([]),
            sync: Readiness::Complete,
            known: Readiness::Complete,
        }
    }

    fn any_catalog() -> impl Strategy<Value = Catalog> {
        let detail = (0..3_u8, prop::sample::select(vec![Protocol::Dubbo, Protocol::Tcp, Protocol::Http]));
        (subsequence(HOSTS.to_vec(), 0..HOSTS.len()), vec(detail, HOSTS.len())).prop_map(|(hosts, details)| {
            let services = hosts.into_iter().zip(details);
            catalog(services.map(|(host, (owner, protocol))| service(host, owner, protocol)))
        })
    }

    fn whole() -> ViewKey {
        ViewKey::whole(Dialect::Istio)
    }

    fn fixture(network: &str) -> Fixture {
        let options = istio::Options { vip: vec![network.parse().unwrap()], ..Default::default() };
        let mut fixture = Fixture::new(Dialect::Istio, Box::new(Istio::new(options, Metrics::default())));
        fixture.add(whole(), Selection::default());
        fixture
    }

    /// What is served after these catalogs, by name.
    fn served(fixture: &mut Fixture, catalogs: &[Catalog]) -> BTreeMap<Name, u64> {
        catalogs.iter().for_each(|catalog| drop(fixture.step(catalog)));
        let generation = fixture.generation(&whole());
        let versions = generation.get(Kind::ServiceEntry).versions();
        versions.iter().map(|(name, version)| (name.clone(), *version)).collect()
    }

    /// The services of these numbers, each with an alias.
    fn numbered(numbers: impl Iterator<Item = usize>) -> Catalog {
        let service = |n: usize| service(&format!("s{n}.dubbo"), (n % 3) as u8, Protocol::Dubbo);
        catalog(numbers.map(service))
    }

    #[test]
    fn two_replicas_serve_ten_thousand_tcp_hosts_alike_whatever_came_first() {
        let all = || numbered(0..5_000);
        let parts = [numbered((0..9_000).step_by(3)), numbered((0..5_000).rev().step_by(2)), all()];
        let (mut first, mut second) = (fixture("241.0.0.0/16"), fixture("241.0.0.0/16"));
        let before = served(&mut first, &[all()]);
        assert_eq!(before.len(), 10_000, "a host and an alias each");
        assert_eq!(before, served(&mut second, &parts));

        let more = numbered(0..5_001);
        let after = served(&mut first, std::slice::from_ref(&more));
        let changed = after.iter().filter(|(name, version)| before.get(*name) != Some(*version)).count();
        assert!((2..6).contains(&changed), "its own, and those that collide with it: {changed}");
        assert_eq!(served(&mut second, std::slice::from_ref(&more)), after);
    }

    proptest! {
        #[test]
        fn any_way_to_a_catalog_gives_the_addresses_that_the_catalog_alone_gives(
            catalogs in vec(any_catalog(), 1..8)
        ) {
            // Fewer addresses than they could want.
            let mut fixture = fixture("241.0.0.0/28");
            for catalog in &catalogs {
                fixture.step(catalog);
                let mut fresh = self::fixture("241.0.0.0/28");
                fresh.step(catalog);
                prop_assert_eq!(fixture.content(&whole()), fresh.content(&whole()));
                prop_assert_eq!(&fixture.report(&whole()), &fresh.report(&whole()));
                prop_assert!(fixture.step(catalog).is_empty(), "nothing changed");
            }
        }
    }
}
