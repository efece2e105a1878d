//! What views of proxies are made of besides registries' services: Istio's rules, and the services that these declare.
//!
//! A [`Book`] is shared by all tasks. It goes on to the newest catalog and manifests that any of them has seen, so that rules are
//! read once for all views.

use super::{
    Classes,
    addresses::{self, Addresses},
    near::Near,
    translation::{Outputs, ServicePolicy, Traffic, Translation},
    translations::host_of,
};
use crate::{
    catalog::{Catalog, Selector},
    manifests::Snapshot,
    model::{Hostname, Proxy, PublishedService},
    pb::istio::networking::v1alpha3::TrafficPolicy,
    resource::{Dialect, Kind, Resource},
    translate::{
        Beyond, Origin,
        gateway::{self, Gateway},
        traffic::{Finding, Owner, Rules},
    },
};
use imbl::OrdMap;
use ipnet::IpNet;
use std::sync::Arc;

/// Resources of Istio's kinds that gateways and policies of the configuration give.
pub(super) type Expansion = Arc<[(Kind, Arc<Resource>)]>;

/// Rules and services at one moment. Immutable.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The settings by which rules are translated.
    pub(super) settings: Arc<Outputs>,
    /// The rules of all manifests, and those that gateways and policies of the configuration give.
    pub(super) rules: Arc<Rules>,
    /// The services that are published, and those that manifests declare.
    pub(super) services: OrdMap<Hostname, Arc<PublishedService>>,
    /// For each service that manifests declare: who does, and what rules need to know of where it comes from.
    declared: OrdMap<Hostname, (Owner, Origin)>,
    /// The virtual addresses that entries of the catalog's services have.
    addresses: addresses::Book,
    /// The gateways that the configuration has, and what they have for each service.
    pub(super) gateways: Expansion,
    pub(super) expansions: OrdMap<Hostname, Expansion>,
    /// Settings of services that Istio has no field for; only of services that have any.
    beyond: OrdMap<Hostname, Beyond>,
    /// What is found in the configuration's gateways, such as a path that two services would have.
    pub(super) findings: Arc<[Finding]>,
}

impl Given {
    /// A catalog's services, without any rule.
    pub(super) fn plain(catalog: &Catalog) -> Self {
        Given { services: catalog.services.clone(), ..Given::default() }
    }

    /// What the rules need to know of where a service comes from.
    pub(super) fn origin(&self, service: &PublishedService) -> Origin {
        let own = self.declared.get(&service.host).map(|(_, origin)| origin.clone());
        own.unwrap_or_else(|| {
            let beyond = self.beyond.get(&service.host).cloned().unwrap_or_default();
            Origin { beyond, ..self.settings.istio.origin(service) }
        })
    }

    /// Who says that there is a service with that host: a manifest, or else a registry.
    pub(super) fn owner(&self, host: &Hostname) -> Owner {
        let own = self.declared.get(host).map(|(owner, _)| owner.clone());
        own.unwrap_or_else(|| Owner::Registry(host.clone()))
    }

    /// The addresses of a service's host, as its entry has them.
    pub(super) fn addresses(&self, service: &Hostname, host: &str) -> Vec<IpNet> {
        match self.declared.get(service) {
            Some((_, origin)) => origin.addresses.clone(),
            None => self.addresses.of(service, host).into_iter().map(IpNet::from).collect(),
        }
    }

    /// The services that have other virtual addresses than before.
    pub(super) fn addressed_otherwise(&self, before: &Given) -> Vec<Hostname> {
        self.addresses.differing(&before.addresses)
    }

    /// The services of which manifests say something else besides ports and endpoints.
    pub(super) fn declared_otherwise(&self, before: &Given) -> Vec<Hostname> {
        before.declared.diff(&self.declared).map(host_of).collect()
    }

    /// Whether a service is a manifest's.
    pub(super) fn is_declared(&self, host: &Hostname) -> bool {
        self.declared.contains_key(host)
    }

    /// The class of clients that say nothing: an Envoy is a gateway that may have listeners of its own.
    pub(super) fn plain_proxy(&self, dialect: Dialect) -> Proxy {
        super::plain(dialect, &self.settings.traffic.namespace)
    }
}

/// Keeps [`Given`] up with the catalog, the manifests and the configuration.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// The numbers of configuration, catalog and manifests that were seen last; `None`: nothing was.
    seen: Option<[u64; 3]>,
    /// The catalog's services alone.
    services: OrdMap<Hostname, Arc<PublishedService>>,
    /// The virtual addresses, by the options in force.
    addresses: Addresses,
    near: Near,
    given: Arc<Given>,
    /// The selectors of the configured policies, in their order.
    selectors: Vec<Selector>,
}

impl Book {
    /// One that has seen nothing by itself, and goes on from the same: what is refused by now has its last good form.
    pub(super) fn beside(&self) -> Book {
        Book { services: self.services.clone(), given: self.given.clone(), ..Book::default() }
    }

    /// Goes on to these sources, if they are not older than what was seen. Returns the outcome, and what tells proxies
    /// apart.
    pub(super) fn advance(
        &mut self,
        catalog: &Catalog,
        manifests: &Snapshot,
        translation: &Translation,
    ) -> (Arc<Given>, Classes) {
        let numbers = [translation.revision, catalog.number, manifests.number];
        let seen = self.seen.unwrap_or_default();
        let newer = self.seen.is_none() || (numbers != seen && numbers.iter().zip(&seen).all(|(new, old)| new >= old));
        if newer {
            let other = |place: usize| self.seen.is_none_or(|seen| seen[place] != numbers[place]);
            let (reconfigured, reread) = (other(0), other(2));
            self.seen = Some(numbers);
            self.step(catalog, manifests, translation, reconfigured, reread);
        }
        (self.given.clone(), self.given.classes(&self.near))
    }

    /// Goes on to these sources, whatever was seen before.
    #[cfg(test)]
    pub(super) fn read(&mut self, catalog: &Catalog, manifests: &Snapshot, translation: &Translation) -> Arc<Given> {
        self.step(catalog, manifests, translation, true, true);
        self.given.clone()
    }

    /// The outcome of the last step.
    pub(super) fn given(&self) -> Arc<Given> {
        self.given.clone()
    }

    fn step(
        &mut self,
        catalog: &Catalog,
        manifests: &Snapshot,
        translation: &Translation,
        reconfigured: bool,
        reread: bool,
    ) {
        let mut next = (*self.given).clone();
        let mut differs = reread;
        if reconfigured {
            let settings = &translation.outputs;
            if *next.settings != *settings {
                next.settings = Arc::new(settings.clone());
                differs = true;
            }
        }
        let renewed = !Arc::ptr_eq(&next.settings, &self.given.settings);
        let readdressed = !self.addresses.is_by(&next.settings.istio);
        if readdressed {
            self.addresses = Addresses::new(&next.settings.istio);
        }
        let before = std::mem::replace(&mut self.services, catalog.services.clone());
        let changed: Vec<Hostname> = match renewed || readdressed {
            true => before.keys().chain(catalog.services.keys()).cloned().collect(),
            false => before.diff(&catalog.services).map(host_of).collect(),
        };
        let moved = self.addresses.advance(&catalog.services, &changed);
        let moved = moved.iter().map(|moved| &moved.claimant.service);
        next.addresses.note(&self.addresses, &catalog.services, changed.iter().chain(moved));
        differs |= self.expand(catalog, &changed, &mut next, renewed);
        if differs {
            let of_manifests = manifests.resources.iter().map(|((kind, _), resource)| (*kind, resource));
            let of_gateways = next.gateways.iter().chain(next.expansions.values().flat_map(|all| all.iter()));
            let all = of_manifests.chain(of_gateways.map(|(kind, resource)| (*kind, resource)));
            next.rules = Arc::new(Rules::read(all, &self.given.rules, &next.settings.traffic.mesh));
        }
        let former = std::mem::replace(&mut next.services, catalog.services.clone());
        next.declared = OrdMap::new();
        let mut declared: Vec<_> = next.rules.services().collect();
        declared.sort_by(|a, b| a.0.cmp(&b.0));
        for (owner, service, origin) in declared {
            // Of two with one host the registry's is served, as where an Istiod has both; else that of the first owner.
            if !next.services.contains_key(&service.host) {
                next.services.insert(service.host.clone(), service.clone());
                next.declared.insert(service.host.clone(), (owner.clone(), origin.clone()));
            }
        }
        self.near.advance(next.rules.asked(), &former, &next.services);
        self.given = Arc::new(next);
    }

    /// Expands the gateways of the configuration for the services that have changed; whether that makes a difference.
    fn expand(&mut self, catalog: &Catalog, changed: &[Hostname], next: &mut Given, renewed: bool) -> bool {
        let traffic = &next.settings.traffic;
        let none = traffic.gateways.is_empty() && traffic.policies.is_empty();
        if none && next.gateways.is_empty() && next.expansions.is_empty() && next.beyond.is_empty() {
            return false;
        }
        let mut differs = renewed;
        if renewed {
            let create_time = next.settings.istio.create_time;
            let gateways = traffic.gateways.iter().map(|gateway| gateway.resource(&traffic.namespace, create_time));
            next.gateways = gateways.map(|resource| (Kind::Gateway, Arc::new(resource))).collect();
            next.expansions = OrdMap::new();
            next.beyond = OrdMap::new();
            self.selectors = traffic.policies.iter().map(|policy| Selector::new(&policy.select)).collect();
        }
        for host in changed {
            let service = catalog.services.get(host);
            let policy = service.and_then(|service| self.policy(service, traffic));
            match policy.map(|policy| &policy.beyond).filter(|beyond| **beyond != Beyond::default()) {
                Some(beyond) => drop(next.beyond.insert(host.clone(), beyond.clone())),
                None => drop(next.beyond.remove(host)),
            }
            let policy = policy.and_then(|policy| policy.policy.as_ref());
            let create_time = next.settings.istio.create_time;
            let new = service.map(|service| expansion(service, policy, traffic, create_time));
            let old = next.expansions.get(host);
            if old.map(|old| &**old) == new.as_deref() {
                continue;
            }
            differs = true;
            match new {
                Some(new) => drop(next.expansions.insert(host.clone(), new.into())),
                None => drop(next.expansions.remove(host)),
            }
        }
        if differs {
            next.findings = gateway::contests(&traffic.gateways, &catalog.services, &traffic.namespace).into();
        }
        differs
    }
}

impl Book {
    /// The first policy that fits a service.
    fn policy<'a>(&self, service: &PublishedService, traffic: &'a Traffic) -> Option<&'a ServicePolicy> {
        let fits = |selector: &Selector| service.sources.iter().any(|id| selector.takes(id, &service.labels, None));
        let place = self.selectors.iter().position(fits)?;
        traffic.policies.get(place)
    }
}

/// The resources that the configured gateways and a service's policy give for the service.
fn expansion(
    service: &PublishedService,
    policy: Option<&TrafficPolicy>,
    traffic: &Traffic,
    create_time: i64,
) -> Vec<(Kind, Arc<Resource>)> {
    let of = |gateway: &Gateway| gateway.virtual_services(service, policy, &traffic.namespace, create_time);
    let routes = traffic.gateways.iter().flat_map(of).map(|resource| (Kind::VirtualService, resource));
    let root = &traffic.mesh.root_namespace;
    let rules = policy.into_iter().flat_map(|policy| gateway::policy(service, policy, root, create_time));
    let rules = rules.map(|resource| (Kind::DestinationRule, resource));
    routes.chain(rules).map(|(kind, resource)| (kind, Arc::new(resource))).collect()
}

impl Given {
    /// What tells proxies apart.
    fn classes(&self, near: &Near) -> Classes {
        let istio = &self.settings.istio;
        let exports = std::iter::once(&istio.rules).chain(istio.registries.values()).map(|rules| &rules.export_to);
        let mesh = &self.settings.traffic.mesh;
        let mut exported = exports.chain([&mesh.service_export_to]).flatten();
        Classes {
            all_namespaces: exported.any(|who| **who != *"*"),
            namespace: self.settings.traffic.namespace.clone(),
            ruled: !self.rules.is_empty(),
            labels: self.rules.labels(),
            namespaces: self.rules.namespaces(mesh),
            places: near.places(),
            keys: near.asked.as_ref().map(|asked| asked.keys.clone()).unwrap_or_default(),
            values: near.values.keys().cloned().collect(),
        }
    }
}
