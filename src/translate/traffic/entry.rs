//! ServiceEntries of manifests, as services like those of registries.

use super::{
    check::MOST_FINDINGS,
    finding::{Code, Finding},
    host::is_wildcard,
    object::Object,
    protocol::Protocol,
    shape::{DeclaredService, Owner},
};
use crate::{
    model::{
        self, Address, Health, Hostname, Labels, Locality, Port, PublishedEndpoint, PublishedService, ServicePort,
        Text, Weight,
    },
    pb::istio::networking::v1alpha3::{ServiceEntry, ServicePort as PbPort, WorkloadEntry, service_entry::Resolution},
    resource::Kind,
    translate::Origin,
};
use ipnet::IpNet;
use prost::Message;
use std::{net::IpAddr, sync::Arc};

/// The most that an entry may have of ports of endpoints and of addresses, over all its hosts: each host has them all.
const MOST_PARTS: usize = 500_000;
/// An endpoint with more than this, in bytes, counts as several: its labels are sent for each port of each host.
const OF_ENDPOINT: usize = 128;

/// One service for each host of a ServiceEntry.
///
/// # Errors
/// The first part of the entry that cannot be done here.
pub(super) fn services(object: &Object<ServiceEntry>) -> Result<Vec<DeclaredService>, Finding> {
    let spec = &object.spec;
    let refused = |place: &str, text: String| Finding {
        kind: Kind::ServiceEntry,
        name: object.id.full(),
        place: place.into(),
        code: Code::FieldRefused,
        text: text.into(),
    };
    let resolution = Resolution::try_from(spec.resolution);
    let dns = match resolution {
        Ok(Resolution::Static | Resolution::None) => false,
        Ok(Resolution::Dns) => true,
        _ => return Err(refused("resolution", "only STATIC, DNS and NONE are supported".into())),
    };
    let is_passed_through = resolution == Ok(Resolution::None);
    if is_passed_through && spec.ports.iter().any(|port| port.target_port != 0) {
        let text = "with `resolution: NONE` connections go where they were meant to go; leave `targetPort` out";
        return Err(refused("ports", text.into()));
    }
    let origin = Origin {
        namespace: object.id.namespace.clone(),
        export_to: spec.export_to.iter().map(|to| Text::from(&**to)).collect(),
        addresses: spec.addresses.iter().filter_map(|address| net(address)).collect(),
        is_passed_through,
        ..Origin::default()
    };
    if spec.workload_selector.is_some() {
        let text = "it needs WorkloadEntries, which only Istiods have; list the `endpoints`";
        return Err(refused("workloadSelector", text.into()));
    }
    let of_endpoint = |endpoint: &WorkloadEntry| 1 + endpoint.encoded_len() / OF_ENDPOINT;
    let of_endpoints = spec.endpoints.iter().map(of_endpoint).sum::<usize>().max(1);
    let of_host = spec.ports.len().saturating_mul(of_endpoints) + spec.addresses.len();
    if spec.hosts.len().saturating_mul(of_host) > MOST_PARTS {
        let text = format!(
            "each host has all ports, endpoints and addresses, together more than {MOST_PARTS}; write several entries"
        );
        return Err(refused("hosts", text));
    }
    let endpoint = |entry: &WorkloadEntry| published(entry, &spec.ports, dns);
    let listed: Vec<PublishedEndpoint> = spec.endpoints.iter().filter_map(endpoint).collect();
    let one = |name: &String| -> Result<DeclaredService, Finding> {
        let host = Hostname::or_wildcard(&name.to_ascii_lowercase());
        let host = host.map_err(|error| refused("hosts", error.to_string()))?;
        if is_wildcard(name) && !name.starts_with("*.") && spec.ports.iter().any(is_by_handshake) {
            let text = format!("{name:?}: Envoy compares whole labels of names in handshakes; write \"*.\"");
            return Err(refused("hosts", text));
        }
        let ports = spec.ports.iter().filter_map(|port| service_port(port, &host)).collect::<Vec<_>>();
        if ports.is_empty() {
            return Err(refused("ports", "it has no port that a proxy could serve".into()));
        }
        // Where names are resolved and none is listed, it is the host's.
        let itself = (dns && spec.endpoints.is_empty())
            .then(|| WorkloadEntry { address: name.clone(), ..WorkloadEntry::default() });
        let endpoints = listed.iter().cloned().chain(itself.as_ref().and_then(endpoint)).collect();
        let service = PublishedService { dns, ..PublishedService::new(host.clone(), ports, endpoints) };
        Ok((Owner::Manifest(object.id.full(), host), Arc::new(service), origin.clone()))
    };
    spec.hosts.iter().map(one).collect()
}

/// What of the entry has no effect here: fields that have none in Istio, either, and ports that are left out.
pub(super) fn ignored(object: &Object<ServiceEntry>) -> Vec<Finding> {
    let skipped = object.spec.ports.iter().enumerate().filter(|(_, port)| protocol(port).is_none());
    let skipped = skipped.take(MOST_FINDINGS).map(|(index, port)| Finding {
        kind: Kind::ServiceEntry,
        name: object.id.full(),
        place: format!("ports[{index}].protocol").into(),
        code: Code::PortSkipped,
        text: match port.protocol.is_empty() {
            true => {
                "without it Istio looks at what connections say, which is not done here: the port is left out".into()
            }
            false => format!("no proxy serves {}: the port is left out", port.protocol).into(),
        },
    });
    let text = "as in Istio they count for ISTIO_MUTUAL alone; write `tls.subjectAltNames` in a DestinationRule";
    let finding = Finding {
        kind: Kind::ServiceEntry,
        name: object.id.full(),
        place: "subjectAltNames".into(),
        code: Code::Ignored,
        text: text.into(),
    };
    let ignored = (!object.spec.subject_alt_names.is_empty()).then_some(finding);
    ignored.into_iter().chain(skipped).collect()
}

/// An address, or a block of them.
fn net(text: &str) -> Option<IpNet> {
    text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse()).ok()
}

/// Whether hosts on this port are told apart by the name in the TLS handshake.
fn is_by_handshake(port: &PbPort) -> bool {
    matches!(Protocol::parse(&port.protocol), Some(Protocol::Https | Protocol::Tls))
}

fn service_port(port: &PbPort, host: &Hostname) -> Option<ServicePort> {
    let number = Port::new(port.number.into()).ok()?;
    Some(ServicePort { name: port.name.as_str().into(), number, protocol: protocol(port)?, host: host.clone() })
}

/// The protocol that proxies speak to the port. `None`: they cannot serve it.
fn protocol(port: &PbPort) -> Option<model::Protocol> {
    Protocol::parse(&port.protocol)?.of_service()
}

/// The endpoint, with its own number for each port of the service. `None`: no address, or a name where none is
/// resolved.
fn published(entry: &WorkloadEntry, ports: &[PbPort], dns: bool) -> Option<PublishedEndpoint> {
    let address = Address::parse(&entry.address).filter(|address| dns || !matches!(address, Address::Host(_)))?;
    let own = |port: &PbPort| {
        let target = if port.target_port == 0 { port.number } else { port.target_port };
        let number = entry.ports.get(&port.name).copied().unwrap_or(target);
        Some((Text::from(port.name.as_str()), Port::new(number.into()).ok()?))
    };
    let mut own: Vec<(Text, Port)> = ports.iter().filter_map(own).collect();
    own.sort();
    let labels: Labels = entry.labels.iter().map(|(key, value)| (Text::from(&**key), Text::from(&**value))).collect();
    Some(PublishedEndpoint {
        weight: Weight::of_millionths(u64::from(entry.weight.max(1)) * Weight::DEFAULT.millionths()),
        health: Health::Healthy,
        locality: Locality::parse(&entry.locality),
        labels,
        ..PublishedEndpoint::new(address, own.into())
    })
}
