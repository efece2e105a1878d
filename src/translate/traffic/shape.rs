//! What rules need to know of services: hosts, ports, protocols, addresses, who sees them. Never instances, so that an
//! instance that comes or goes changes no route, no listener and no cluster.

use super::limit::Counted;
use crate::{
    model::{Hostname, Protocol, PublishedService, Text},
    resource::Name,
    translate::{Limit, Origin, envoy},
};
use imbl::OrdMap;
use ipnet::IpNet;
use std::{collections::BTreeMap, sync::Arc};

/// The source of a service. If several declare the same host, the first in the order of this enum has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A service of registries, by its host.
    Registry(Hostname),
    /// A ServiceEntry that is kept as a manifest, by its name and the host.
    Manifest(Name, Hostname),
}

/// A service that a ServiceEntry of manifests declares.
pub type DeclaredService = (Owner, Arc<PublishedService>, Origin);

/// A host of a service as rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The host in lower case, which may have a wildcard.
    pub host: Text,
    /// The namespace of its ServiceEntry.
    pub namespace: Text,
    /// Who sees the host: `exportTo` of its entry. Empty: the default of the mesh.
    pub export_to: Vec<Text>,
    /// At least one, sorted by number, each number once.
    pub ports: Vec<ShapePort>,
    /// The addresses by which sidecars recognize connections to it: virtual ones, or those of its entry.
    pub addresses: Vec<IpNet>,
    /// The service's own host, of which this one may be an alias or a further port.
    pub service: Text,
    /// The limit of requests for the service. `None`: no limit.
    pub limit: Option<Limit>,
}

/// A port of a host, with the cluster that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapePort {
    /// The port that clients ask for, 1 to 65535; instances may listen on another.
    pub number: u16,
    /// The protocol that proxies speak to the port.
    pub protocol: Protocol,
    /// The name of the cluster without a subset, such as `outbound|80||orders.example`.
    pub cluster: Name,
}

impl Shape {
    /// Looks for a port; `None` if the host does not have it.
    pub fn port(&self, number: u32) -> Option<&ShapePort> {
        self.ports.iter().find(|port| u32::from(port.number) == number)
    }

    /// The limit that requests to this port count for. `None`: the service has no limit.
    pub(super) fn counted(&self, port: u32) -> Option<Counted> {
        self.limit.map(|limit| Counted { service: self.service.clone(), port, limit })
    }

    /// Whether proxies of all namespaces see the host.
    pub(super) fn is_public(&self, default: &[Text]) -> bool {
        let export_to = if self.export_to.is_empty() { default } else { &self.export_to };
        export_to.iter().any(|to| **to == *"*")
    }

    /// Whether proxies of a namespace see the host. `default` holds where it has no `exportTo`.
    pub(super) fn is_visible(&self, namespace: &str, default: &[Text]) -> bool {
        let export_to = if self.export_to.is_empty() { default } else { &self.export_to };
        export_to.iter().any(|to| match &**to {
            "*" => true,
            "." => *self.namespace == *namespace,
            to => to == namespace,
        })
    }
}

/// All that declare a host, each with its shape, sorted by owner: the first one counts.
type Claims = Arc<[(Owner, Arc<Shape>)]>;

/// A service with its origin, and a function that gives the addresses of each of its hosts.
pub type Seen<'a> = (&'a PublishedService, &'a Origin, &'a dyn Fn(&str) -> Vec<IpNet>);

/// The shapes of all hosts. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Shapes {
    by_host: OrdMap<Text, Claims>,
    hosts: OrdMap<Owner, Arc<[Text]>>,
}

impl Shapes {
    /// Sets a service, or with `None` removes it. Returns whether anything has changed that rules can see.
    pub fn replace(&mut self, owner: &Owner, service: Option<Seen<'_>>, options: &envoy::Options) -> bool {
        let shapes = service.map(|(service, origin, addresses)| shapes(service, origin, addresses, options));
        let shapes = shapes.unwrap_or_default();
        let before = self.hosts.get(owner).cloned().unwrap_or_default();
        let mut changed = false;
        for host in before.iter().filter(|host| !shapes.contains_key(&***host)) {
            self.set(host, owner, None);
            changed = true;
        }
        for (host, shape) in &shapes {
            let claims = self.by_host.get(&**host);
            let known = claims.iter().flat_map(|claims| claims.iter()).find(|(other, _)| other == owner);
            if known.is_none_or(|(_, known)| **known != *shape) {
                self.set(host, owner, Some(Arc::new(shape.clone())));
                changed = true;
            }
        }
        if changed {
            match shapes.is_empty() {
                true => drop(self.hosts.remove(owner)),
                false => drop(self.hosts.insert(owner.clone(), shapes.into_keys().collect())),
            }
        }
        changed
    }

    fn set(&mut self, host: &Text, owner: &Owner, shape: Option<Arc<Shape>>) {
        let claims = self.by_host.get(&**host).cloned().unwrap_or_default();
        let others = claims.iter().filter(|(other, _)| other != owner).cloned();
        let mut claims: Vec<_> = others.chain(shape.map(|shape| (owner.clone(), shape))).collect();
        claims.sort_by(|a, b| a.0.cmp(&b.0));
        match claims.is_empty() {
            true => drop(self.by_host.remove(&**host)),
            false => drop(self.by_host.insert(host.clone(), claims.into())),
        }
    }

    /// The shape of a host, which must be in lower case.
    pub fn get(&self, host: &str) -> Option<&Arc<Shape>> {
        self.by_host.get(host).and_then(|claims| claims.first()).map(|(_, shape)| shape)
    }

    /// The shapes of all hosts, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Shape>> {
        self.by_host.values().filter_map(|claims| claims.first()).map(|(_, shape)| shape)
    }

    /// Whether there is no host.
    pub fn is_empty(&self) -> bool {
        self.by_host.is_empty()
    }
}

/// The shapes of a service, by host: its own, those of further ports, and the same for each alias.
fn shapes(
    service: &PublishedService,
    origin: &Origin,
    addresses: &dyn Fn(&str) -> Vec<IpNet>,
    options: &envoy::Options,
) -> BTreeMap<Text, Shape> {
    let mut shapes = BTreeMap::<Text, Shape>::new();
    for port in &service.ports {
        for (host, cluster) in envoy::hosts(service, port, options) {
            let shape = shapes.entry(host.clone()).or_insert_with(|| Shape {
                namespace: origin.namespace.clone(),
                export_to: origin.export_to.clone(),
                ports: Vec::new(),
                addresses: addresses(&host),
                service: service.host.text().clone(),
                limit: origin.beyond.limit,
                host,
            });
            shape.ports.push(ShapePort { number: port.number.get(), protocol: port.protocol, cluster });
        }
    }
    for shape in shapes.values_mut() {
        shape.ports.sort_by_key(|port| port.number);
        shape.ports.dedup_by_key(|port| port.number);
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Port, ServicePort};

    fn service(host: &str, aliases: &[&str], port: i64) -> PublishedService {
        let host = Hostname::new(host).unwrap();
        let port = ServicePort {
            name: "http".into(),
            number: Port::new(port).unwrap(),
            protocol: Protocol::Http,
            host: host.clone(),
        };
        let aliases = aliases.iter().map(|alias| Hostname::new(alias).unwrap()).collect();
        PublishedService { aliases, ..PublishedService::new(host, vec![port], vec![]) }
    }

    /// Services may come in any order: the shapes are the same.
    #[test]
    fn a_host_is_its_first_owners_whoever_comes_first() {
        let options = envoy::Options::default();
        let origin = Origin { namespace: "portolan".into(), ..Origin::default() };
        let none: &dyn Fn(&str) -> Vec<IpNet> = &|_| Vec::new();
        let registry = Owner::Registry(Hostname::new("orders.example").unwrap());
        let manifest = Owner::Manifest("a/b".into(), Hostname::new("shop.example").unwrap());
        let (first, second) = (service("orders.example", &["shop.example"], 80), service("shop.example", &[], 81));
        let both = [(&registry, &first), (&manifest, &second)];
        for order in [[0, 1], [1, 0]] {
            let mut shapes = Shapes::default();
            for index in order {
                let (owner, service) = both[index];
                assert!(shapes.replace(owner, Some((service, &origin, none)), &options));
                assert!(!shapes.replace(owner, Some((service, &origin, none)), &options), "nothing has changed");
            }
            let port = |shapes: &Shapes| shapes.get("shop.example").map(|shape| shape.ports[0].number);
            assert_eq!(port(&shapes), Some(80));
            assert_eq!(shapes.get("orders.example").unwrap().ports[0].cluster, "outbound|80||orders.example".into());
            assert!(shapes.replace(&registry, None, &options));
            assert_eq!((port(&shapes), shapes.iter().count()), (Some(81), 1));
        }
    }

    #[test]
    fn who_sees_a_host_is_said_by_its_entry() {
        let shape = |export_to: &[&str]| Shape {
            host: "a".into(),
            namespace: "shop".into(),
            export_to: export_to.iter().map(|to| (*to).into()).collect(),
            ports: vec![],
            addresses: vec![],
            service: "a".into(),
            limit: None,
        };
        for (export_to, default, own, other) in [
            (&[][..], "*", true, true),
            (&[], ".", true, false),
            (&["."], "*", true, false),
            (&["web"], "*", false, true),
            (&["~"], "*", false, false),
            (&["*"], ".", true, true),
        ] {
            let shape = shape(export_to);
            let seen = |namespace| shape.is_visible(namespace, &[default.into()]);
            assert_eq!((seen("shop"), seen("web")), (own, other), "{export_to:?} {default}");
        }
    }
}
