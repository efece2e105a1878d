//! Clusters and assignments of services for which DestinationRules hold.
//!
//! The settings of a rule are put to the clusters of its host, with Istio's defaults where it says nothing, and each subset is a
//! cluster of its own with an assignment of its own: the endpoints that have the subset's labels. Without a rule, a
//! gateway or a sidecar has Istio's defaults; for all others the service is translated as ever.

mod health;
mod label;
mod near;
mod policy;
mod seen;
mod settings;
mod subset;
mod tls;

pub(super) use settings::unlimited;

use super::{
    http::subset_cluster,
    mesh::Mesh,
    message::{DESTINATION_RULE, source},
    rules::Rules,
};
use crate::{
    model::{Proxy, ProxyKind, PublishedService, ServicePort},
    resource::{Kind, Name, Resource},
    translate::{
        Origin, Rejected, Why,
        envoy::{self, Item, encoded},
    },
};
use near::Plan;
use policy::Policy;
use seen::{pass_through, seen};

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
    let check = origin.beyond.health_check.as_ref();
    let (check, lost) = if is_grpc { (None, check) } else { (check, None) };
    if lost.is_some() {
        let (host, subject) = (service.host.clone(), service.host.as_str().into());
        rejected.push(Rejected { host, subject, why: Why::CheckForGrpc });
    }
    // A gateway knows no address but that of itself.
    let passes = origin.is_passed_through && proxy.kind == ProxyKind::Sidecar;
    // Of the cluster that has the name of the assignment.
    let mut shared: Option<(&ServicePort, Option<Plan<'_>>)> = None;
    for item in items {
        let (host, port, name, mut message, mut refers_to) = match item {
            Item::Cluster { host, port, name, message, refers_to } => (host, port, name, message, refers_to),
            Item::Assignment { .. } if passes => continue,
            Item::Assignment { name, message } => {
                let own = shared.and_then(|(port, plan)| Some((port, plan?)));
                let message =
                    own.map_or(message, |(port, plan)| seen(Some(&plan), service, port, &name, proxy, options));
                resources.push(encoded(Kind::Endpoint, &name, &message, None));
                continue;
            }
        };
        let found = rules.0.destinations.find(proxy, &origin.namespace, &host);
        let rule = found.map(|found| &found.rule);
        let metadata = found.filter(|_| !is_grpc).map(|found| source(DESTINATION_RULE, &found.from[0], None));
        let number = port.number.get().into();
        let policy = rule.map(|rule| Policy::of(rule, number)).or_else(|| proxy.is_managed().then(Policy::default));
        let plan = policy.as_ref().and_then(Plan::of);
        if refers_to.as_ref() == Some(&name) {
            shared = Some((port, plan));
        }
        if policy.is_some_and(|policy| is_grpc && policy.needs_tls()) {
            rejected.push(Rejected { host: service.host.clone(), subject: name, why: Why::TlsForGrpc });
        } else {
            message.metadata.clone_from(&metadata);
            if let Some(policy) = &policy {
                settings::apply(&mut message, port, policy, mesh, is_grpc);
            }
            if passes {
                pass_through(&mut message);
                refers_to = None;
            } else if let Some(check) = check {
                let checked = health::apply(&mut message, check, service, port, policy.as_ref(), mesh);
                let (host, subject) = (service.host.clone(), name.clone());
                rejected.extend(checked.err().map(|why| Rejected { host, subject, why }));
            }
            if let (Some(assignment), true) = (&mut message.load_assignment, plan.is_some()) {
                let of: Name = assignment.cluster_name.as_str().into();
                *assignment = seen(plan.as_ref(), service, port, &of, proxy, options);
            }
            // An alias with a rule of its own may see the same endpoints in another order.
            let other = refers_to.is_some() && shared.is_some_and(|(_, of_all)| of_all != plan);
            if let (Some(eds), true) = (&mut message.eds_cluster_config, other) {
                eds.service_name = String::new();
                refers_to = Some(name.clone());
                let own = seen(plan.as_ref(), service, port, &name, proxy, options);
                resources.push(encoded(Kind::Endpoint, &name, &own, None));
            }
            resources.push(encoded(Kind::Cluster, &name, &message, refers_to));
        }
        let Some(rule) = rule else { continue };
        let metadata = metadata.as_ref();
        let making = subset::Making { service, port, host: &host, options, mesh, proxy, passes, check, metadata };
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
