//! Destinations of routes: the services that a proxy knows, and the names of their clusters.

use super::hash;
use crate::{
    model::Proxy,
    pb::istio::networking::v1alpha3::{Destination as PbDestination, load_balancer_settings::ConsistentHashLb},
    resource::Name,
    translate::traffic::{
        destination::Destination,
        finding::Code,
        limit::Counted,
        mesh::Mesh,
        rules::Rules,
        shape::{Shape, ShapePort, Shapes},
    },
};
use std::sync::Arc;

/// What routes are made from: the proxy, Istio's resources, and the services.
#[derive(Debug, Clone, Copy)]
pub(in crate::translate::traffic) struct Lookup<'a> {
    pub(in crate::translate::traffic) proxy: &'a Proxy,
    pub(in crate::translate::traffic) rules: &'a Rules,
    pub(in crate::translate::traffic) shapes: &'a Shapes,
    pub(in crate::translate::traffic) mesh: &'a Mesh,
    /// If set, services have only this port: sidecars have one route configuration for each port. A destination that
    /// names no port, and whose service lacks this one, is not found.
    pub(in crate::translate::traffic) only: Option<u16>,
}

/// Where a route's requests go: a cluster with its host and port.
#[derive(Debug)]
pub(in crate::translate::traffic) struct Target {
    pub(in crate::translate::traffic) cluster: Name,
    /// Why the cluster does not exist; `None`: it does.
    pub(in crate::translate::traffic) fault: Option<(Code, String)>,
    /// The limit of requests of the service. `None`: no limit, or the destination is unknown.
    pub(in crate::translate::traffic) counted: Option<Counted>,
}

impl<'a> Lookup<'a> {
    /// The service of a host in lower case. `None`: there is none that the proxy may see.
    pub(in crate::translate::traffic) fn service(&self, host: &str) -> Option<&'a Arc<Shape>> {
        let shape = self.shapes.get(host)?;
        shape.is_visible(&self.proxy.namespace, &self.mesh.service_export_to).then_some(shape)
    }

    /// The rule that holds for a host, if it is a service that the proxy may see.
    pub(in crate::translate::traffic) fn rule(&self, host: &str) -> Option<&'a Arc<Destination>> {
        let shape = self.service(host)?;
        self.rules.0.destinations.find(self.proxy, &shape.namespace, host)
    }

    fn ports(&self, shape: &'a Shape) -> impl Iterator<Item = &'a ShapePort> {
        let only = self.only;
        shape.ports.iter().filter(move |port| only.is_none_or(|only| port.number == only))
    }

    /// The cluster of a destination. `listening`: the port that is taken where neither the destination nor its service
    /// says one.
    pub(in crate::translate::traffic) fn target(&self, destination: &PbDestination, listening: u32) -> Target {
        let (host, subset) = (&*destination.host, &*destination.subset);
        let known = self.service(host);
        let mut ports = known.into_iter().flat_map(|shape| self.ports(shape));
        let single = ports.next().filter(|_| ports.next().is_none()).map(|port| u32::from(port.number));
        let number = destination.port.as_ref().map(|port| port.number).or(single).unwrap_or(listening);
        let port = known.and_then(|shape| shape.port(number));
        let cluster = match port {
            Some(port) if subset.is_empty() => port.cluster.clone(),
            _ => subset_cluster(number, subset, host),
        };
        let fault = match (known, port) {
            (None, _) => Some((Code::DestinationUnknown, format!("there is no service {host:?}"))),
            (Some(shape), None) => {
                let ports: Vec<_> = shape.ports.iter().map(|port| port.number.to_string()).collect();
                let text = format!("{host:?} has no port {number}, but {}; write `port`", ports.join(", "));
                Some((Code::PortUnknown, text))
            }
            (Some(_), Some(_)) if !subset.is_empty() => {
                let is_there = self.rule(host).is_some_and(|rule| rule.subset(subset).is_some());
                let text = || format!("no DestinationRule for {host:?} that holds here has the subset {subset:?}");
                (!is_there).then(|| (Code::SubsetUnknown, text()))
            }
            (Some(_), Some(_)) => None,
        };
        let counted = known.filter(|_| port.is_some()).and_then(|shape| shape.counted(number));
        Target { cluster, fault, counted }
    }

    /// The consistent hash that a DestinationRule has for a destination of a route.
    pub(super) fn hash(&self, destination: &PbDestination) -> Option<&'a ConsistentHashLb> {
        hash::of_destination(&self.rule(&destination.host)?.rule, destination)
    }

    /// The consistent hash that a DestinationRule has for a service without a VirtualService.
    pub(super) fn service_hash(&self, host: &str, port: u32) -> Option<&'a ConsistentHashLb> {
        hash::of_service(&self.rule(host)?.rule, port)
    }
}

/// The name of a subset's cluster, which is Istio's; also of what does not exist.
pub(in crate::translate::traffic) fn subset_cluster(port: u32, subset: &str, host: &str) -> Name {
    format!("outbound|{port}|{subset}|{host}").into()
}
