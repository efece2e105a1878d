//! Consistent hashing: what of a request decides its endpoint, where a DestinationRule says so.

use crate::pb::{
    envoy::config::route::v3::route_action::{
        HashPolicy,
        hash_policy::{ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier, QueryParameter},
    },
    istio::networking::v1alpha3::{
        Destination as PbDestination, DestinationRule, LoadBalancerSettings, TrafficPolicy,
        load_balancer_settings::{ConsistentHashLb, LbPolicy, consistent_hash_lb::HashKey},
        traffic_policy::PortTrafficPolicy,
    },
};

/// The hash that a rule has for a destination of a route: that of the subset's port, else of the subset, of the port,
/// or of the whole.
pub(super) fn of_destination<'a>(
    rule: &'a DestinationRule,
    destination: &PbDestination,
) -> Option<&'a ConsistentHashLb> {
    let port = destination.port.as_ref().map(|port| port.number);
    let subset = rule.subsets.iter().find(|subset| subset.name == destination.subset);
    let policy = rule.traffic_policy.as_ref();
    let of_subset = subset.and_then(|subset| subset.traffic_policy.as_ref());
    of_port(of_subset, port)
        .or_else(|| of_policy(of_subset))
        .or_else(|| of_port(policy, port))
        .or_else(|| of_policy(policy))
}

/// The hash that a rule has for a service without a VirtualService: its port's, else that of the whole.
pub(super) fn of_service(rule: &DestinationRule, port: u32) -> Option<&ConsistentHashLb> {
    let policy = rule.traffic_policy.as_ref();
    of_port(policy, Some(port)).or_else(|| of_policy(policy))
}

fn of_port(policy: Option<&TrafficPolicy>, port: Option<u32>) -> Option<&ConsistentHashLb> {
    let is_of = |of: &&PortTrafficPolicy| of.port.as_ref().map(|port| port.number) == port;
    let policy = policy?.port_level_settings.iter().filter(|_| port.is_some()).find(is_of)?;
    of_settings(policy.load_balancer.as_ref())
}

fn of_policy(policy: Option<&TrafficPolicy>) -> Option<&ConsistentHashLb> {
    of_settings(policy?.load_balancer.as_ref())
}

fn of_settings(settings: Option<&LoadBalancerSettings>) -> Option<&ConsistentHashLb> {
    match &settings?.lb_policy {
        Some(LbPolicy::ConsistentHash(hash)) => Some(hash),
        _ => None,
    }
}

/// The hash policy of a route. `None`: the rule does not say what is hashed.
pub(super) fn policy(hash: &ConsistentHashLb) -> Option<HashPolicy> {
    let specifier = match hash.hash_key.as_ref()? {
        HashKey::HttpHeaderName(name) => PolicySpecifier::Header(Header { header_name: name.clone() }),
        HashKey::HttpCookie(cookie) => PolicySpecifier::Cookie(Cookie {
            name: cookie.name.clone(),
            ttl: cookie.ttl,
            path: cookie.path.clone(),
            attributes: cookie
                .attributes
                .iter()
                .map(|attribute| CookieAttribute { name: attribute.name.clone(), value: attribute.value.clone() })
                .collect(),
        }),
        HashKey::UseSourceIp(source_ip) => {
            PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: *source_ip })
        }
        HashKey::HttpQueryParameterName(name) => PolicySpecifier::QueryParameter(QueryParameter { name: name.clone() }),
    };
    Some(HashPolicy { policy_specifier: Some(specifier), ..HashPolicy::default() })
}
