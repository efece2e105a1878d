//! The endpoints of a port, such that the strictest client takes them.
//!
//! What Envoy lets pass, gRPC's C core or grpc-go refuses, and always the whole assignment: hence address literals only,
//! each address once, one group for a locality and priority, locality and weights always present, priorities without
//! gaps. All is sorted, so that the order of the service's endpoints does not matter.

use super::{Options, Rejected, Unhealthy, Why};
use crate::{
    model::{Address, Health, Labels, Locality, Nearness, Port, PublishedEndpoint, PublishedService, ServicePort},
    pb::{
        envoy::config::{
            core::v3::{self as core, HealthStatus, Metadata, Pipe, SocketAddress},
            endpoint::v3::{Endpoint, LbEndpoint, LocalityLbEndpoints},
        },
        google::protobuf::{Struct, UInt32Value, Value},
    },
    translate::{MAX_UNIX_PATH, weight::Scale},
};
use std::collections::{BTreeMap, BTreeSet};

/// The largest priority that Envoy takes.
const MAX_PRIORITY: u32 = 128;

/// The key of `Metadata.filter_metadata` where Envoy's load balancers look for labels.
const LB_FILTER: &str = "envoy.lb";

/// An endpoint as one port sees it. A unix socket has no port number.
#[derive(Clone, Copy)]
struct Place<'a> {
    endpoint: &'a PublishedEndpoint,
    port: Option<Port>,
}

/// The endpoints that have the port, by priority and locality.
pub(super) fn groups(
    service: &PublishedService,
    port: &ServicePort,
    options: &Options,
    rejected: &mut Vec<Rejected>,
) -> Vec<LocalityLbEndpoints> {
    let places = places(service, port, options, rejected);
    let scale = Scale::of(places.iter().map(|p| p.endpoint.weight));
    let priorities: BTreeSet<u32> = places.iter().map(|p| p.endpoint.priority).collect();
    let ranks: BTreeMap<u32, u32> = priorities.into_iter().zip((0..).map(|rank: u32| rank.min(MAX_PRIORITY))).collect();

    let mut groups: BTreeMap<(u32, &Locality), Vec<LbEndpoint>> = BTreeMap::new();
    for place in &places {
        let group = groups.entry((ranks[&place.endpoint.priority], &place.endpoint.locality)).or_default();
        group.push(lb_endpoint(place, scale));
    }
    groups.into_iter().map(|((priority, locality), endpoints)| group(priority, locality, endpoints)).collect()
}

/// The endpoints that are sent, sorted, each address and port once.
fn places<'a>(
    service: &'a PublishedService,
    port: &ServicePort,
    options: &Options,
    rejected: &mut Vec<Rejected>,
) -> Vec<Place<'a>> {
    let mut reject = |place: &Place<'_>, why| {
        rejected.push(Rejected { host: service.host.clone(), subject: place.subject().into(), why });
    };
    let own = service.ports.first().is_some_and(|first| first.name == port.name);
    let mut places: Vec<Place<'_>> = service.endpoints.iter().filter_map(|e| Place::of(e, port, own)).collect();
    // What is left out is not missed: a client would not go on to the next priority.
    let all = options.unhealthy == Unhealthy::Mark || service.nearness == Nearness::Priority;
    places.retain(|place| all || place.endpoint.health.serves());
    places.retain(|place| match place.fault(service.dns, options) {
        Some(why) => {
            reject(place, why);
            false
        }
        None => true,
    });
    places.sort_by(|a, b| a.order().cmp(&b.order()));
    places.dedup_by(|later, first| {
        let twice = later.address() == first.address();
        if twice {
            reject(later, Why::Twice);
        }
        twice
    });
    places
}

impl<'a> Place<'a> {
    /// `own`: it is the service's own port, to which sockets belong that name no port.
    fn of(endpoint: &'a PublishedEndpoint, port: &ServicePort, own: bool) -> Option<Self> {
        let number = endpoint.port(&port.name);
        match endpoint.address {
            Address::Unix(_) if number.is_some() || own && endpoint.ports.is_empty() => {
                Some(Place { endpoint, port: None })
            }
            Address::Unix(_) => None,
            Address::Ip(_) | Address::Host(_) => number.map(|port| Place { endpoint, port: Some(port) }),
        }
    }

    fn address(&self) -> (&'a Address, Option<Port>) {
        (&self.endpoint.address, self.port)
    }

    /// The sort order: address and port; the rest only makes the order of equal addresses the same each time.
    fn order(&self) -> impl Ord + use<'a> {
        let PublishedEndpoint { weight, health, locality, labels, secure, priority, .. } = self.endpoint;
        (self.address(), priority, health, weight, locality, labels, secure)
    }

    /// Why this endpoint must not be sent; `None`: it may be.
    fn fault(&self, dns: bool, options: &Options) -> Option<Why> {
        match &self.endpoint.address {
            Address::Host(_) if !dns => Some(Why::HostName),
            Address::Unix(_) if dns => Some(Why::UnixAmongNames),
            Address::Unix(_) if options.grpc => Some(Why::UnixForGrpc),
            Address::Unix(path) if path.len() > MAX_UNIX_PATH => Some(Why::UnixPathLong),
            _ => None,
        }
    }

    fn subject(&self) -> String {
        let (address, port) = self.address();
        address.place(port)
    }

    fn to_pb(self) -> core::Address {
        let socket = |address: String| {
            let port_value = self.port.map_or(0, |port| port.get().into());
            core::address::Address::SocketAddress(SocketAddress { address, port_value })
        };
        let address = match &self.endpoint.address {
            Address::Ip(ip) => socket(ip.to_string()),
            Address::Host(name) => socket(name.to_string()),
            Address::Unix(path) => core::address::Address::Pipe(Pipe { path: path.to_string() }),
        };
        core::Address { address: Some(address) }
    }
}

fn group(priority: u32, locality: &Locality, lb_endpoints: Vec<LbEndpoint>) -> LocalityLbEndpoints {
    let weights = lb_endpoints.iter().filter_map(|e| e.load_balancing_weight.as_ref());
    LocalityLbEndpoints {
        locality: Some(core::Locality {
            region: locality.region().to_owned(),
            zone: locality.zone().to_owned(),
            sub_zone: locality.sub_zone().to_owned(),
        }),
        load_balancing_weight: Some(UInt32Value { value: weights.map(|w| w.value).sum() }),
        lb_endpoints,
        priority,
    }
}

fn lb_endpoint(place: &Place<'_>, scale: Scale) -> LbEndpoint {
    let health_status = match place.endpoint.health {
        Health::Healthy => HealthStatus::Healthy,
        Health::Unhealthy => HealthStatus::Unhealthy,
        Health::Draining => HealthStatus::Draining,
        Health::Unknown => HealthStatus::Unknown,
    };
    LbEndpoint {
        endpoint: Some(Endpoint { address: Some(place.to_pb()) }),
        health_status: health_status.into(),
        metadata: metadata(&place.endpoint.labels),
        load_balancing_weight: Some(UInt32Value { value: scale.apply(place.endpoint.weight) }),
    }
}

fn metadata(labels: &Labels) -> Option<Metadata> {
    if labels.is_empty() {
        return None;
    }
    let value = |text: &str| Value { string_value: Some(text.to_owned()), ..Value::default() };
    let fields = labels.iter().map(|(key, text)| (key.to_string(), value(text))).collect();
    Some(Metadata { filter_metadata: BTreeMap::from([(LB_FILTER.to_owned(), Struct { fields })]) })
}
