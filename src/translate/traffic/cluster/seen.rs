//! The endpoints of a port as a proxy sees them from its place, or none for clusters whose connections keep their
//! original destination.

use super::near::Plan;
use crate::{
    model::{Proxy, PublishedService, ServicePort},
    pb::envoy::config::{
        cluster::v3::{
            Cluster,
            cluster::{DiscoveryType, LbPolicy},
        },
        endpoint::v3::ClusterLoadAssignment,
    },
    resource::Name,
    translate::envoy::{self, assignment},
};

/// Makes a cluster without endpoints: each connection goes to its original destination.
pub(super) fn pass_through(cluster: &mut Cluster) {
    cluster.set_type(DiscoveryType::OriginalDst);
    cluster.set_lb_policy(LbPolicy::ClusterProvided);
    (cluster.lb_config, cluster.eds_cluster_config, cluster.load_assignment) = (None, None, None);
}

/// The assignment of a port, as the proxy sees it from where it is.
pub(super) fn seen(
    plan: Option<&Plan<'_>>,
    service: &PublishedService,
    port: &ServicePort,
    name: &Name,
    proxy: &Proxy,
    options: &envoy::Options,
) -> ClusterLoadAssignment {
    let ordered = plan.and_then(|plan| plan.ordered(service, proxy));
    // What cannot be sent of an endpoint the whole service has told.
    let mut made = assignment(ordered.as_ref().unwrap_or(service), port, name, options, &mut Vec::new());
    plan.iter().for_each(|plan| plan.share(&mut made, &proxy.locality));
    made
}
