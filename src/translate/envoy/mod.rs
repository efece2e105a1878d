//! Services as Envoy (and gRPC) sees them: clusters and their assignments.
//!
//! One cluster for each port and each name of a service, and one assignment for each port, which the clusters of all
//! names share. A cluster of EDS always comes with its assignment, empty if there are no endpoints: a missing one would
//! hold Envoy for 15 s, and a removed one does not drain.

mod cluster;
mod endpoint;
mod name;
mod near;
mod options;
mod own;
#[cfg(test)]
mod tests;

pub use name::{ClusterName, ClusterNameError};
pub use near::{Place, Zones, priorities};
pub use options::{Eds, LbPolicy, Options, Unhealthy};
pub use own::own_cluster;

use super::{Rejected, Why};
use crate::{
    model::{Nearness, PublishedService, ServicePort, Text},
    pb::{
        envoy::config::{
            cluster::v3::Cluster,
            endpoint::v3::{ClusterLoadAssignment, cluster_load_assignment::Policy},
        },
        google::protobuf::UInt32Value,
    },
    resource::{Kind, Name, Resource},
};
pub(super) use cluster::{Discovery, cluster, with_options};
use prost::Message;
use std::collections::BTreeSet;

/// All resources of a service, those of a port together, and what of it cannot be sent.
pub fn translate(service: &PublishedService, options: &Options) -> (Vec<(Kind, Resource)>, Vec<Rejected>) {
    let (items, rejected) = items(service, options);
    let encode = |item| match item {
        Item::Cluster { name, message, refers_to, .. } => encoded(Kind::Cluster, &name, &message, refers_to),
        Item::Assignment { name, message } => encoded(Kind::Endpoint, &name, &message, None),
    };
    (items.into_iter().map(encode).collect(), rejected)
}

/// A resource of a service, before it is encoded.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a few of them, for a moment")]
pub(super) enum Item<'a> {
    /// The cluster of a port under one of its hosts.
    Cluster {
        /// The service's host in lower case, as names of clusters have it.
        host: Text,
        port: &'a ServicePort,
        name: Name,
        message: Cluster,
        /// The name of the assignment that it asks for by EDS. `None`: it resolves DNS names itself.
        refers_to: Option<Name>,
    },
    Assignment {
        name: Name,
        message: ClusterLoadAssignment,
    },
}

/// The same as [`translate`], before the messages are encoded.
pub(super) fn items<'a>(service: &'a PublishedService, options: &Options) -> (Vec<Item<'a>>, Vec<Rejected>) {
    let (mut items, mut rejected) = (Vec::new(), Vec::new());
    let mut used = BTreeSet::new();
    if service.dns && options.grpc {
        let (host, subject) = (service.host.clone(), service.host.as_str().into());
        return (items, vec![Rejected { host, subject, why: Why::NamesForGrpc }]);
    }
    for port in &service.ports {
        let hosts = hosts(service, port, options);
        let main = &hosts[0].1;
        let assignment = assignment(service, port, main, options, &mut rejected);
        // A port that does not have its main name has no assignment: its aliases would get the endpoints of another.
        let has_main = !used.contains(main);
        for (host, name) in &hosts {
            if !has_main || !used.insert(name.clone()) {
                let (host, why) = (service.host.clone(), Why::NameTaken(service.host.clone()));
                rejected.push(Rejected { host, subject: name.clone(), why });
                continue;
            }
            let discovery = if service.dns { Discovery::Dns(&assignment) } else { Discovery::Eds(main) };
            let message = cluster(name, port, discovery, service.nearness, options);
            let refers_to = (!service.dns).then(|| main.clone());
            items.push(Item::Cluster { host: host.clone(), port, name: name.clone(), message, refers_to });
        }
        if has_main && !service.dns {
            items.push(Item::Assignment { name: main.clone(), message: assignment });
        }
    }
    (items, rejected)
}

/// The overprovisioning factor, where nearness makes priorities. gRPC programs get none.
fn policy(service: &PublishedService, options: &Options) -> Option<Policy> {
    let factor =
        options.zones.overprovisioning_factor.filter(|_| service.nearness == Nearness::Priority && !options.grpc);
    factor.map(|value| Policy { overprovisioning_factor: Some(UInt32Value { value }) })
}

/// The endpoints of a port, under the name of a cluster.
pub(super) fn assignment(
    service: &PublishedService,
    port: &ServicePort,
    name: &Name,
    options: &Options,
    rejected: &mut Vec<Rejected>,
) -> ClusterLoadAssignment {
    let endpoints = endpoint::groups(service, port, options, rejected);
    ClusterLoadAssignment { cluster_name: name.to_string(), endpoints, policy: policy(service, options) }
}

/// The hosts of a port, in lower case, with the names of their clusters: the main one, then one for each alias of the service.
pub(super) fn hosts(service: &PublishedService, port: &ServicePort, options: &Options) -> Vec<(Text, Name)> {
    // What distinguishes a further port's host from the service's distinguishes its aliases, too.
    let prefix = port.host.as_str().strip_suffix(service.host.as_str()).unwrap_or_default();
    let name = |host: &str| options.cluster_name.render(host, port).into();
    let main = (port.host.text().clone(), name(&service.spelled(&port.host)));
    let aliases = service.aliases.iter().map(|alias| {
        let host = format!("{prefix}{alias}");
        let name = name(&host);
        (host.into(), name)
    });
    std::iter::once(main).chain(aliases).collect()
}

pub(super) fn encoded(kind: Kind, name: &Name, message: &impl Message, refers_to: Option<Name>) -> (Kind, Resource) {
    (kind, Resource::new(kind, name.clone(), &message.encode_to_vec(), refers_to))
}
