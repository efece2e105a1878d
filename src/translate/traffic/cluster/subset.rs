//! Subsets: clusters of some endpoints of a service.

use super::{policy::Policy, settings};
use crate::{
    model::{Labels, Locality, PublishedService, ServicePort},
    pb::istio::networking::v1alpha3::Subset,
    resource::{Kind, Resource},
    translate::{
        envoy::{self, Discovery, assignment, cluster, encoded},
        istio::{is_key, is_value},
        traffic::{http::subset_cluster, mesh::Mesh},
    },
};

/// Labels that every endpoint with a locality has.
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUBZONE: &str = "topology.istio.io/subzone";

/// What subsets of a port are made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Making<'a> {
    pub(super) service: &'a PublishedService,
    pub(super) port: &'a ServicePort,
    pub(super) host: &'a str,
    pub(super) options: &'a envoy::Options,
    pub(super) mesh: &'a Mesh,
    pub(super) is_grpc: bool,
}

impl Making<'_> {
    /// The subset's cluster and, where its endpoints come by EDS, its assignment, empty if there are none.
    pub(super) fn make(&self, subset: &Subset, policy: &Policy<'_>, resources: &mut Vec<(Kind, Resource)>) {
        let Making { service, port, options, .. } = *self;
        let name = subset_cluster(port.number.get().into(), &subset.name, self.host);
        let endpoints = service.endpoints.iter().filter(|endpoint| has(&endpoint.labels, &endpoint.locality, subset));
        let part = service.part(endpoints.cloned().collect());
        // What cannot be sent of an endpoint the whole service has told.
        let assignment = assignment(&part, port, &name, options, &mut Vec::new());
        let discovery = if service.dns { Discovery::Dns(&assignment) } else { Discovery::Eds(&name) };
        let mut message = cluster(&name, port, discovery, service.nearness, options);
        settings::apply(&mut message, port, policy, self.mesh, self.is_grpc);
        resources.push(encoded(Kind::Cluster, &name, &message, (!service.dns).then(|| name.clone())));
        if !service.dns {
            resources.push(encoded(Kind::Endpoint, &name, &assignment, None));
        }
    }
}

/// Whether an endpoint has the subset's labels, as far as Istio takes labels.
fn has(labels: &Labels, locality: &Locality, subset: &Subset) -> bool {
    subset.labels.iter().all(|(key, value)| {
        let own = labels.get(key.as_str()).map(|own| &**own).filter(|own| is_key(key) && is_value(own));
        let own = own.or(match key.as_str() {
            REGION => Some(locality.region()),
            ZONE => Some(locality.zone()),
            SUBZONE => Some(locality.sub_zone()),
            _ => None,
        });
        own == Some(value.as_str())
    })
}
