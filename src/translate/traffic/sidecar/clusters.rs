//! The clusters of a sidecar that does not see all services, because its `Sidecar` says so or because not all are
//! exported to its namespace: those of the hosts it imports, and of the destinations of imported VirtualServices, as in
//! Istio.

use super::{
    routes::Services,
    scope::{Part, Scope},
};
use crate::{
    pb::istio::networking::v1alpha3::{Destination, VirtualService},
    resource::Name,
    translate::traffic::{
        http::{Lookup, subset_cluster},
        shape::{Shape, ShapePort},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Ports of a destination; 0 stands for all.
type Ports = BTreeSet<u32>;

/// The names of all clusters that the sidecar may have; `None`: all that there are.
pub(super) fn clusters(lookup: &Lookup<'_>, scope: &Scope<'_>, services: &Services<'_>) -> Option<BTreeSet<Name>> {
    let is_hidden = |shape: &Arc<Shape>| lookup.service(&shape.host).is_none();
    if !scope.is_narrow() && !lookup.shapes.iter().any(is_hidden) {
        return None;
    }
    let mut seen = Seen { lookup, names: BTreeSet::new() };
    for (part, port) in scope.imports() {
        seen.import(&part, port, services);
    }
    Some(seen.names)
}

struct Seen<'a> {
    lookup: &'a Lookup<'a>,
    names: BTreeSet<Name>,
}

impl Seen<'_> {
    /// Adds the clusters that one egress listener of a `Sidecar` imports. With a port: only those of this port.
    fn import(&mut self, part: &Part<'_>, port: Option<u32>, services: &Services<'_>) {
        let is_of = |of: &ShapePort| port.is_none_or(|port| u32::from(of.number) == port);
        let shapes = self.lookup.shapes.iter().filter(|shape| self.lookup.service(&shape.host).is_some());
        for shape in shapes.filter(|shape| part.has(shape)) {
            self.add(shape, is_of);
        }
        for service in services.iter().filter(|service| part.imports(service)) {
            for (host, ports) in destinations(&service.spec, &self.lookup.proxy.namespace) {
                // To Istio a service of the proxy's own namespace is there for its routes, whoever else it is exported to.
                let own = |shape: &&Arc<Shape>| *shape.namespace == *self.lookup.proxy.namespace;
                let found = self.lookup.service(host).or_else(|| self.lookup.shapes.get(host).filter(own));
                let Some(shape) = found else { continue };
                let is_named = |of: &ShapePort| ports.contains(&0) || ports.contains(&of.number.into());
                self.add(shape, |of| if port.is_some() { is_of(of) } else { is_named(of) });
            }
        }
    }

    fn add(&mut self, shape: &Shape, fits: impl Fn(&ShapePort) -> bool) {
        let rule = self.lookup.rule(&shape.host);
        for port in shape.ports.iter().filter(|port| fits(port)) {
            self.names.insert(port.cluster.clone());
            let subsets = rule.iter().flat_map(|rule| &rule.rule.subsets);
            self.names.extend(subsets.map(|subset| subset_cluster(port.number.into(), &subset.name, &shape.host)));
        }
    }
}

/// The destinations of a VirtualService for programs of a namespace, with their ports.
fn destinations<'a>(service: &'a VirtualService, namespace: &str) -> BTreeMap<&'a str, Ports> {
    let mut all = BTreeMap::<&str, Ports>::new();
    let mut add = |destination: &'a Option<Destination>| {
        if let Some(to) = destination {
            all.entry(&to.host).or_default().insert(to.port.as_ref().map_or(0, |port| port.number));
        }
    };
    for route in &service.http {
        // As to Istio, conditions with other namespaces exclude a route, unless one of them has this.
        let mut spaces = route.r#match.iter().map(|of| &*of.source_namespace).filter(|of| !of.is_empty()).peekable();
        if spaces.peek().is_none() || spaces.any(|of| of == namespace) {
            route.route.iter().for_each(|part| add(&part.destination));
            add(&route.mirror);
            route.mirrors.iter().for_each(|mirror| add(&mirror.destination));
        }
    }
    service.tcp.iter().flat_map(|route| &route.route).for_each(|part| add(&part.destination));
    service.tls.iter().flat_map(|route| &route.route).for_each(|part| add(&part.destination));
    all
}
