//! Clusters and assignments of services for which DestinationRules hold.
//!
//! A service without a rule is translated as ever. With one, the settings of the rule are put to its clusters, with Istio's
//! defaults where it says nothing, and each subset is a cluster of its own with an assignment of its own: the endpoints that
//! have the subset's labels.

mod policy;
mod settings;
mod subset;
mod tls;

use super::{http::subset_cluster, mesh::Mesh, rules::Rules};
use crate::{
    model::{Proxy, PublishedService},
    resource::{Kind, Resource},
    translate::{
        Origin, Rejected, Why,
        envoy::{self, Item, encoded},
    },
};
use policy::Policy;

/// All clusters and assignments of a service for a proxy, and what of it cannot be sent.
pub fn service(
    service: &PublishedService,
    origin: &Origin,
    proxy: &Proxy,
    rules: &Rules,
    mesh: &Mesh,
    options: &envoy::Options,
) -> (Vec<(Kind, Resource)>, Vec<Rejected>) {
    let (items, mut rejected) = envoy::items(service, options);
    let is_grpc = proxy.kind.is_grpc();
    let mut resources = Vec::with_capacity(items.len());
    for item in items {
        let (host, port, name, mut message, refers_to) = match item {
            Item::Cluster { host, port, name, message, refers_to } => (host, port, name, message, refers_to),
            Item::Assignment { name, message } => {
                resources.push(encoded(Kind::Endpoint, &name, &message, None));
                continue;
            }
        };
        let rule = rules.0.destinations.find(proxy, &origin.namespace, &host).map(|rule| &rule.rule);
        let number = port.number.get().into();
        let policy = rule.map(|rule| Policy::of(rule, number));
        if policy.is_some_and(|policy| is_grpc && policy.needs_tls()) {
            rejected.push(Rejected { host: service.host.clone(), subject: name, why: Why::TlsForGrpc });
        } else {
            if let Some(policy) = &policy {
                settings::apply(&mut message, port, policy, mesh, is_grpc);
            }
            resources.push(encoded(Kind::Cluster, &name, &message, refers_to));
        }
        let Some(rule) = rule else { continue };
        let making = subset::Making { service, port, host: &host, options, mesh, is_grpc };
        for subset in &rule.subsets {
            let policy = Policy::of_subset(rule, subset, number);
            match is_grpc && policy.needs_tls() {
                true => {
                    let subject = subset_cluster(number, &subset.name, &host);
                    rejected.push(Rejected { host: service.host.clone(), subject, why: Why::TlsForGrpc });
                }
                false => making.make(subset, &policy, &mut resources),
            }
        }
    }
    (resources, rejected)
}

impl Rules {
    /// Whether a rule holds for any host of the service, so that [`service`] makes other clusters than without rules.
    pub fn has_destination(&self, service: &PublishedService, origin: &Origin, proxy: &Proxy) -> bool {
        let is_for = |host: &str| self.0.destinations.find(proxy, &origin.namespace, host).is_some();
        service.ports.iter().any(|port| {
            let prefix = port.host.as_str().strip_suffix(service.host.as_str()).unwrap_or_default();
            is_for(port.host.as_str()) || service.aliases.iter().any(|alias| is_for(&format!("{prefix}{alias}")))
        })
    }
}
