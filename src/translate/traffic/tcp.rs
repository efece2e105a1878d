//! The filter that sends connections to clusters and does not read their bytes.

use super::{
    http::{Lookup, Target},
    manager::access_log,
    message::any,
    object::Id,
};
use crate::{
    pb::{
        envoy::{
            config::listener::v3::Filter,
            extensions::filters::network::tcp_proxy::v3::{
                TcpProxy,
                tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight},
            },
            r#type::v3::{HashPolicy, hash_policy::SourceIp},
        },
        istio::networking::v1alpha3::{
            DestinationRule, LoadBalancerSettings, RouteDestination, TrafficPolicy,
            load_balancer_settings::{LbPolicy, consistent_hash_lb::HashKey},
        },
    },
    resource::Name,
};

/// The filter that sends connections to the destinations of a route, and these destinations. `None`: the route has
/// none.
pub(super) fn routed(
    routes: &[RouteDestination],
    lookup: &Lookup<'_>,
    port: u32,
    id: &Id,
) -> Option<(Filter, Vec<Target>)> {
    let first = routes.first()?.destination.as_ref()?;
    let rule = lookup.rule(&first.host).map(|rule| &rule.rule);
    if let [_] = routes {
        let target = lookup.target(first, port);
        let filter =
            filter(&target.cluster, ClusterSpecifier::Cluster(target.cluster.to_string()), rule, &first.subset, lookup);
        return Some((filter, vec![target]));
    }
    let (mut clusters, mut targets) = (Vec::new(), Vec::new());
    for route in routes.iter().filter(|route| route.weight > 0) {
        let target = lookup.target(route.destination.as_ref()?, port);
        clusters.push(ClusterWeight { name: target.cluster.to_string(), weight: route.weight.unsigned_abs() });
        targets.push(target);
    }
    let weighted = ClusterSpecifier::WeightedClusters(WeightedCluster { clusters });
    Some((filter(&format!("{}.{}", id.name, id.namespace), weighted, rule, "", lookup), targets))
}

/// The filter that sends connections to one cluster.
pub(super) fn single(cluster: &Name, host: &str, lookup: &Lookup<'_>) -> Filter {
    let rule = lookup.rule(host).map(|rule| &rule.rule);
    filter(cluster, ClusterSpecifier::Cluster(cluster.to_string()), rule, "", lookup)
}

/// The filter that sends connections to a cluster that is no service's.
pub(super) fn plain(cluster: &str, lookup: &Lookup<'_>) -> Filter {
    filter(cluster, ClusterSpecifier::Cluster(cluster.to_owned()), None, "", lookup)
}

fn filter(
    stat_prefix: &str,
    specifier: ClusterSpecifier,
    rule: Option<&DestinationRule>,
    subset: &str,
    lookup: &Lookup<'_>,
) -> Filter {
    let policy = rule.and_then(|rule| rule.traffic_policy.as_ref());
    let tcp = policy.and_then(|policy| policy.connection_pool.as_ref()).and_then(|pool| pool.tcp.as_ref());
    let by_source = rule.is_some_and(|rule| is_by_source(rule, subset));
    let hash = HashPolicy { source_ip: Some(SourceIp {}) };
    let proxy = TcpProxy {
        stat_prefix: stat_prefix.to_owned(),
        cluster_specifier: Some(specifier),
        idle_timeout: tcp.and_then(|tcp| tcp.idle_timeout),
        max_downstream_connection_duration: tcp.and_then(|tcp| tcp.max_connection_duration),
        hash_policy: if by_source { vec![hash] } else { Vec::new() },
        access_log: access_log(lookup.mesh),
    };
    Filter { name: "envoy.filters.network.tcp_proxy".to_owned(), typed_config: Some(any(&proxy)) }
}

/// Whether the rule hashes the client's address to choose the endpoint.
fn is_by_source(rule: &DestinationRule, subset: &str) -> bool {
    fn settings(policy: Option<&TrafficPolicy>) -> Option<&LoadBalancerSettings> {
        policy?.load_balancer.as_ref()
    }
    let by_source = |settings: &LoadBalancerSettings| match &settings.lb_policy {
        Some(LbPolicy::ConsistentHash(hash)) => matches!(hash.hash_key, Some(HashKey::UseSourceIp(true))),
        _ => false,
    };
    let subset = rule.subsets.iter().find(|of| of.name == subset);
    let own = settings(subset.and_then(|subset| subset.traffic_policy.as_ref()));
    own.or_else(|| settings(rule.traffic_policy.as_ref())).is_some_and(by_source)
}
