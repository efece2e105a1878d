//! The endpoints of one entry, such that Istio takes them all.
//!
//! One that Istio refuses costs the whole entry, so it is left out and reported. Istio knows no health: what does not serve
//! is left out. It takes endpoints as they come: they are sorted, each place once, because another order is a push and a
//! double takes twice its share.

use super::{EndpointLabels, Rules, label, slime, subject::Subject, validate};
use crate::{
    model::{Address, Port, PublishedEndpoint, PublishedService, ServicePort, Text},
    pb::istio::networking::v1alpha3::WorkloadEntry,
    translate::{Rejected, Why, weight::Scale},
};
use std::collections::BTreeSet;

/// An endpoint as one port sees it. A unix socket has no port number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    endpoint: &'a PublishedEndpoint,
    pub(super) port: Option<Port>,
}

/// The endpoints at these places. All ports of the entry lead to the one that an endpoint listens on.
pub(super) fn entries(
    service: &PublishedService,
    places: &[Place<'_>],
    port_names: &[&str],
    rules: &Rules,
    rejected: &mut Vec<Rejected>,
) -> Vec<WorkloadEntry> {
    let endpoints: Vec<&PublishedEndpoint> = places.iter().map(|place| place.endpoint).collect();
    let weights = if rules.weights { weights(&endpoints) } else { vec![0; endpoints.len()] };
    let labels = match rules.endpoint_labels {
        EndpointLabels::Whole => endpoints.iter().map(|endpoint| label::owned(&endpoint.labels)).collect(),
        EndpointLabels::Slime => slime::of_instances(&endpoints, false),
        EndpointLabels::SlimeNacos => slime::of_instances(&endpoints, true),
        EndpointLabels::SlimeDubbo => slime::of_providers(&endpoints),
    };
    let (subject, mut refused) = (Subject::new(service, rules), BTreeSet::<Text>::new());
    let mut entry = |((place, weight), labels): ((&Place<'_>, u32), _)| {
        let own = &place.endpoint.labels;
        let ports = place.port.into_iter().flat_map(|number| port_names.iter().map(move |name| (name, number)));
        WorkloadEntry {
            address: place.address(),
            ports: ports.map(|(name, number)| ((*name).to_owned(), number.get().into())).collect(),
            labels: label::accepted(labels, label::is_value, &mut |key| _ = refused.insert(key.into())),
            network: subject.of_endpoint(&rules.network, own),
            locality: match rules.endpoint_labels {
                EndpointLabels::Whole => place.endpoint.locality.to_string(),
                _ => slime::locality(&place.endpoint.locality, "/"),
            },
            weight,
            service_account: subject.of_endpoint(&rules.service_account, own),
        }
    };
    let entries = places.iter().zip(weights).zip(labels).map(&mut entry).collect();
    let label = |key: Text| Rejected { host: service.host.clone(), subject: key, why: Why::LabelRefused };
    rejected.extend(refused.into_iter().map(label));
    entries
}

/// The endpoints that are sent, sorted, each address and port once.
pub(super) fn places<'a>(
    service: &'a PublishedService,
    port: &ServicePort,
    rejected: &mut Vec<Rejected>,
) -> Vec<Place<'a>> {
    let own = service.ports.first().is_some_and(|first| first.name == port.name);
    let serving = service.endpoints.iter().filter(|endpoint| endpoint.health.serves());
    let mut places: Vec<Place<'_>> = serving.filter_map(|endpoint| Place::of(endpoint, port, own)).collect();
    let mut reject = |place: &Place<'_>, why| {
        rejected.push(Rejected { host: service.host.clone(), subject: place.subject(), why });
    };
    places.retain(|place| match validate::address(&place.endpoint.address, service.dns) {
        Some(why) => {
            reject(place, why);
            false
        }
        None => true,
    });
    places.sort_by(|a, b| a.order().cmp(&b.order()));
    places.dedup_by(|later, first| {
        let twice = (&later.endpoint.address, later.port) == (&first.endpoint.address, first.port);
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
            Address::Unix(_) => {
                (number.is_some() || own && endpoint.ports.is_empty()).then_some(Place { endpoint, port: None })
            }
            Address::Ip(_) | Address::Host(_) => number.map(|port| Place { endpoint, port: Some(port) }),
        }
    }

    /// The sort order: address and port; the rest only makes the order of equal addresses the same each time.
    fn order(&self) -> impl Ord + use<'a> {
        let PublishedEndpoint { weight, health, locality, labels, priority, .. } = self.endpoint;
        ((&self.endpoint.address, self.port), priority, health, weight, locality, labels)
    }

    fn address(&self) -> String {
        match &self.endpoint.address {
            Address::Ip(ip) => ip.to_string(),
            Address::Host(name) => name.to_string(),
            Address::Unix(path) => format!("unix://{path}"),
        }
    }

    fn subject(&self) -> Text {
        self.endpoint.address.place(self.port).into()
    }
}

/// The weights as the smallest whole numbers of the same proportions. 1 is written as 0: an absent weight means 1 to
/// Istio, and most weights are 1.
fn weights(endpoints: &[&PublishedEndpoint]) -> Vec<u32> {
    let scale = Scale::of(endpoints.iter().map(|endpoint| endpoint.weight));
    let scaled: Vec<u32> = endpoints.iter().map(|endpoint| scale.apply(endpoint.weight)).collect();
    let common = scaled.iter().copied().fold(0, greatest_common_divisor).max(1);
    scaled.into_iter().map(|weight| if weight == common { 0 } else { weight / common }).collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
