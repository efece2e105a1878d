//! Subsets: clusters of some endpoints of a service.

use super::{
    health,
    label::label_of,
    near::Plan,
    policy::Policy,
    seen::{pass_through, seen},
    settings,
};
use crate::{
    model::{Labels, Locality, Proxy, PublishedService, ServicePort},
    pb::{envoy::config::core::v3::Metadata, istio::networking::v1alpha3::Subset},
    resource::{Kind, Resource},
    translate::{
        HealthCheck,
        envoy::{self, Discovery, cluster, encoded},
        traffic::{http::subset_cluster, mesh::Mesh},
    },
};

/// What all subsets of one port and host are made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Making<'a> {
    pub(super) service: &'a PublishedService,
    pub(super) port: &'a ServicePort,
    pub(super) host: &'a str,
    pub(super) options: &'a envoy::Options,
    pub(super) mesh: &'a Mesh,
    pub(super) proxy: &'a Proxy,
    /// Whether connections keep their original destination, so that there are no endpoints.
    pub(super) passes: bool,
    /// The check that the configuration asks for. `None` for gRPC programs, which make none.
    pub(super) check: Option<&'a HealthCheck>,
    /// Names the DestinationRule of the subsets, as Istio writes it.
    pub(super) metadata: Option<&'a Metadata>,
}

impl Making<'_> {
    /// The subset's cluster and, where its endpoints come by EDS, its assignment, empty if there are none.
    pub(super) fn make(&self, subset: &Subset, policy: &Policy<'_>, resources: &mut Vec<(Kind, Resource)>) {
        let Making { service, port, options, .. } = *self;
        let name = subset_cluster(port.number.get().into(), &subset.name, self.host);
        let endpoints = service.endpoints.iter().filter(|endpoint| has(&endpoint.labels, &endpoint.locality, subset));
        let part = service.part(endpoints.cloned().collect());
        // What cannot be sent of an endpoint the whole service has told.
        let plan = Plan::of(policy);
        let assignment = seen(plan.as_ref(), &part, port, &name, self.proxy, options);
        let discovery = if service.dns { Discovery::Dns(&assignment) } else { Discovery::Eds(&name) };
        let mut message = cluster(&name, port, discovery, service.nearness, options);
        message.metadata = self.metadata.cloned();
        settings::apply(&mut message, port, policy, self.mesh, self.proxy.kind.is_grpc());
        if self.passes {
            pass_through(&mut message);
            resources.push(encoded(Kind::Cluster, &name, &message, None));
            return;
        }
        if let Some(check) = self.check {
            // That it cannot be checked so the whole service has told.
            drop(health::apply(&mut message, check, service, port, Some(policy), self.mesh));
        }
        resources.push(encoded(Kind::Cluster, &name, &message, (!service.dns).then(|| name.clone())));
        if !service.dns {
            resources.push(encoded(Kind::Endpoint, &name, &assignment, None));
        }
    }
}

/// Whether an endpoint has all labels of the subset; labels that Istio does not take do not count.
fn has(labels: &Labels, locality: &Locality, subset: &Subset) -> bool {
    subset.labels.iter().all(|(key, value)| label_of(labels, locality, key) == Some(value.as_str()))
}
