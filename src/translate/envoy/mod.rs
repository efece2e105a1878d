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
    model::{Nearness, PublishedService, ServicePort},
    pb::{
        envoy::config::endpoint::v3::{ClusterLoadAssignment, cluster_load_assignment::Policy},
        google::protobuf::UInt32Value,
    },
    resource::{Kind, Name, Resource},
};
use cluster::Discovery;
use prost::Message;
use std::collections::BTreeSet;

/// All resources of a service, those of a port together, and what of it cannot be sent.
pub fn translate(service: &PublishedService, options: &Options) -> (Vec<(Kind, Resource)>, Vec<Rejected>) {
    let (mut resources, mut rejected) = (Vec::new(), Vec::new());
    let mut used = BTreeSet::new();
    if service.dns && options.grpc {
        let (host, subject) = (service.host.clone(), service.host.as_str().into());
        return (resources, vec![Rejected { host, subject, why: Why::NamesForGrpc }]);
    }
    for port in &service.ports {
        let names = names(service, port, options);
        let main = &names[0];
        let assignment = ClusterLoadAssignment {
            cluster_name: main.to_string(),
            endpoints: endpoint::groups(service, port, options, &mut rejected),
            policy: policy(service, options),
        };
        // A port that does not have its main name has no assignment: its aliases would get the endpoints of another.
        let has_main = !used.contains(main);
        for name in &names {
            if !has_main || !used.insert(name.clone()) {
                let (host, why) = (service.host.clone(), Why::NameTaken(service.host.clone()));
                rejected.push(Rejected { host, subject: name.clone(), why });
                continue;
            }
            let discovery = if service.dns { Discovery::Dns(&assignment) } else { Discovery::Eds(main) };
            let refers_to = (!service.dns).then(|| main.clone());
            let message = cluster::cluster(name, port, discovery, service.nearness, options);
            resources.push(encoded(Kind::Cluster, name, &message, refers_to));
        }
        if has_main && !service.dns {
            resources.push(encoded(Kind::Endpoint, main, &assignment, None));
        }
    }
    (resources, rejected)
}

/// How much a priority takes of what the ones before it cannot.
fn policy(service: &PublishedService, options: &Options) -> Option<Policy> {
    let factor =
        options.zones.overprovisioning_factor.filter(|_| service.nearness == Nearness::Priority && !options.grpc);
    factor.map(|value| Policy { overprovisioning_factor: Some(UInt32Value { value }) })
}

/// The names of a port's clusters: the main one, then one for each alias of the service.
fn names(service: &PublishedService, port: &ServicePort, options: &Options) -> Vec<Name> {
    // What distinguishes a further port's host from the service's distinguishes its aliases, too.
    let prefix = port.host.as_str().strip_suffix(service.host.as_str()).unwrap_or_default();
    let aliases = service.aliases.iter().map(|alias| format!("{prefix}{alias}"));
    let hosts = std::iter::once(service.spelled(&port.host).into_owned()).chain(aliases);
    hosts.map(|host| options.cluster_name.render(&host, port).into()).collect()
}

fn encoded(kind: Kind, name: &Name, message: &impl Message, refers_to: Option<Name>) -> (Kind, Resource) {
    (kind, Resource::new(kind, name.clone(), &message.encode_to_vec(), refers_to))
}
