//! The cluster that a caller is itself a member of, as Envoy needs it to be zone-aware: how many of its kind are where.

use super::{Options, endpoint};
use crate::{
    model::{Address, Hostname, Locality, Nearness, Port, Protocol, PublishedEndpoint, PublishedService, ServicePort},
    pb::envoy::config::endpoint::v3::ClusterLoadAssignment,
    resource::{Kind, Name, Resource},
};
use prost::Message;
use std::{collections::BTreeMap, net::Ipv6Addr};

/// Only shares count, so more members than this are scaled down.
const MOST: usize = 1_000;

/// The assignment of that name: the instances of the callers' service, or else as many addresses, which are nobody's, as callers
/// are connected from each place. Envoy counts them and never calls them.
pub fn own_cluster(
    name: &Name,
    service: Option<&PublishedService>,
    callers: &BTreeMap<Locality, usize>,
    options: &Options,
) -> Resource {
    let registered = service.filter(|service| !service.endpoints.is_empty() && !service.dns).and_then(flat);
    let made = || members(callers);
    let endpoints = registered.or_else(made).map(|(service, port)| {
        // What cannot be sent is reported where the service itself is.
        endpoint::groups(&service, &port, options, &mut Vec::new())
    });
    let endpoints = endpoints.unwrap_or_default();
    let assignment = ClusterLoadAssignment { cluster_name: name.to_string(), endpoints, policy: None };
    Resource::new(Kind::Endpoint, name.clone(), &assignment.encode_to_vec(), None)
}

/// The service with all endpoints in one priority: with two Envoy would not be zone-aware. `None`: it has no port.
fn flat(service: &PublishedService) -> Option<(PublishedService, ServicePort)> {
    let endpoints = service.endpoints.iter().map(|endpoint| PublishedEndpoint { priority: 0, ..endpoint.clone() });
    let flat = PublishedService { nearness: Nearness::Off, ..service.part(endpoints.collect()) };
    Some((flat, service.ports.first()?.clone()))
}

/// A made-up service: for each caller one address of 2001:db8::/32, the range for documentation, in the caller's place.
fn members(callers: &BTreeMap<Locality, usize>) -> Option<(PublishedService, ServicePort)> {
    let host = Hostname::new("callers").ok()?;
    let number = Port::new(1).ok()?;
    let port = ServicePort { name: "tcp".into(), number, protocol: Protocol::Tcp, host: host.clone() };
    let all: usize = callers.values().sum();
    let scaled = |count: usize| if all > MOST { (count * MOST / all).max(1) } else { count };
    let places = callers.iter().flat_map(|(locality, count)| std::iter::repeat_n(locality, scaled(*count)));
    let endpoint = |(at, locality): (u32, &Locality)| {
        let address = Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(at));
        let ports = [(port.name.clone(), number)].into();
        let endpoint = PublishedEndpoint::new(Address::Ip(address.into()), ports);
        PublishedEndpoint { locality: locality.clone(), ..endpoint }
    };
    let endpoints = (1..).zip(places).map(endpoint).collect();
    Some((PublishedService::new(host, vec![port.clone()], endpoints), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(resource: &Resource) -> Vec<(String, u32, usize)> {
        let assignment = ClusterLoadAssignment::decode(resource.body()).unwrap();
        assert_eq!(assignment.cluster_name, "local_cluster");
        let group = |group: &crate::pb::envoy::config::endpoint::v3::LocalityLbEndpoints| {
            let locality = group.locality.as_ref().unwrap();
            (format!("{}/{}", locality.region, locality.zone), group.priority, group.lb_endpoints.len())
        };
        assignment.endpoints.iter().map(group).collect()
    }

    fn made(service: Option<&PublishedService>, callers: &[(&str, usize)]) -> Vec<(String, u32, usize)> {
        let callers = callers.iter().map(|(place, count)| (Locality::parse(place), *count)).collect();
        counts(&own_cluster(&"local_cluster".into(), service, &callers, &Options::default()))
    }

    #[test]
    fn registered_instances_count_and_else_the_callers_that_are_connected() {
        let callers = [("cn/a", 2), ("cn/b", 1)];
        assert_eq!(made(None, &callers), [("cn/a".into(), 0, 2), ("cn/b".into(), 0, 1)]);
        assert_eq!(made(None, &[]), []);
        let (mut service, _) = members(&[(Locality::parse("us/x"), 3)].into()).unwrap();
        service.endpoints[1].priority = 7;
        assert_eq!(made(Some(&service), &callers), [("us/x".into(), 0, 3)]);
        service.endpoints.clear();
        assert_eq!(made(Some(&service), &callers).len(), 2, "it has no instances");
        let many = made(None, &[("cn/a", 90_000), ("cn/b", 9_999), ("cn/c", 1)]);
        assert_eq!(many.iter().map(|(_, _, count)| *count).collect::<Vec<_>>(), [900, 99, 1]);
    }
}
