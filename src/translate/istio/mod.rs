//! Services as Istiod takes them: `ServiceEntry`s.
//!
//! One entry for each port, because Istio sends an endpoint that lacks one of its entry's ports to the wrong place: the
//! service's own port stands on its host, every further one on the host of the port. An instance that comes or goes
//! alters `endpoints` alone, which costs the mesh one small push, except the first to come and the last to go, which also
//! alter a label ([`EMPTY`]); everything else of an entry depends on configuration,
//! names and ports. (Rules that read endpoints' labels for the entry's, or instances' ports for its ports, choose
//! otherwise.)

mod endpoint;
mod label;
pub mod manifest;
mod options;
mod slime;
mod subject;
#[cfg(test)]
mod tests;
mod validate;

pub use crate::translate::refusal::Refusal;
pub(super) use label::{is_key, is_value};
pub use options::{Addresses, EMPTY, EndpointLabels, HostTexts, Location, Options, Ports, Rules};
pub use validate::refusal;

use super::{Rejected, Why, origin::Origin};
use crate::{
    model::{Hostname, Port, Protocol, PublishedService, ServicePort},
    pb::{
        google::protobuf::{Any, Timestamp},
        istio::{
            mcp::v1alpha1::{Metadata, Resource as Envelope},
            networking::v1alpha3::{
                ServiceEntry, ServicePort as PbPort,
                service_entry::{Location as PbLocation, Resolution},
            },
        },
    },
    resource::{Kind, Name, Resource, content_version, version_text},
};
use prost::{Message, Name as _};
use std::{collections::BTreeSet, net::IpAddr};
use subject::Subject;

/// All entries of a service, and what of it cannot be sent. `vips` knows the virtual addresses of [`vip_hosts`], one of
/// each of the options' networks.
pub fn translate(
    service: &PublishedService,
    options: &Options,
    vips: &dyn Fn(&Hostname) -> Vec<IpAddr>,
) -> (Vec<(Kind, Resource)>, Vec<Rejected>) {
    let (mut entries, mut rejected) = (Vec::new(), Vec::new());
    let rules = options.rules(service);
    let subject = Subject::new(service, rules);
    let metadata = metadata(&subject, rules, options, &mut rejected);
    for port in &service.ports {
        let spec = spec(service, port, &subject, rules, &mut rejected);
        for (name, hosts) in hosts(service, port, &subject.name()) {
            let mut reject = |why| {
                rejected.push(Rejected { host: service.host.clone(), subject: hosts[0].text().clone(), why });
            };
            let addressed = has_address(port, options.addresses);
            let vips = if addressed { vips(&hosts[0]) } else { Vec::new() };
            if addressed && vips.len() < options.vip.len() {
                reject(Why::NoVip);
            }
            let name = format!("{}/{name}", metadata.name);
            let spec = ServiceEntry {
                addresses: vips.iter().map(ToString::to_string).collect(),
                hosts: hosts.iter().map(|host| service.spelled(host).into_owned()).collect(),
                ..spec.clone()
            };
            match refusal(&name, &spec) {
                Some(refusal) => reject(Why::EntryRefused(refusal)),
                None => entries.push(encoded(marked(Metadata { name, ..metadata.clone() }, &spec, options), &spec)),
            }
        }
    }
    (entries, rejected)
}

impl Options {
    /// The namespace and `exportTo` that the entries of a registry's service have.
    pub fn origin(&self, service: &PublishedService) -> Origin {
        let subject = Subject::new(service, self.rules(service));
        let export_to = subject.export_to().iter().map(|to| to.as_str().into()).collect();
        Origin { namespace: subject.namespace().into(), export_to, ..Origin::default() }
    }
}

/// The hosts of a service that have a virtual address: the first one of each entry that does.
pub fn vip_hosts(service: &PublishedService, addresses: Addresses) -> Vec<Hostname> {
    addressed(service, addresses).filter_map(|hosts| hosts.into_iter().next()).collect()
}

/// The hosts of each entry that has a virtual address; all of an entry have that of the first one.
pub fn addressed(service: &PublishedService, addresses: Addresses) -> impl Iterator<Item = Vec<Hostname>> {
    let ports = service.ports.iter().filter(move |port| has_address(port, addresses));
    ports.flat_map(|port| hosts(service, port, "")).map(|(_, hosts)| hosts)
}

/// The metadata with the label [`EMPTY`], if the entry has no endpoints.
fn marked(mut metadata: Metadata, spec: &ServiceEntry, options: &Options) -> Metadata {
    if options.mark_empty && spec.endpoints.is_empty() {
        metadata.labels.insert(EMPTY.0.to_owned(), EMPTY.1.to_owned());
    }
    metadata
}

/// The metadata that all entries of a service have in common; its `name` is the namespace only.
fn metadata(subject: &Subject<'_>, rules: &Rules, options: &Options, rejected: &mut Vec<Rejected>) -> Metadata {
    let mut refused = |key: &str| rejected.push(subject.rejected(key, Why::LabelRefused));
    let mut labels = subject.texts(&rules.labels, label::is_value_of_entry);
    let mut annotations = subject.texts(&rules.annotations, |_| true);
    if let Some(own) = rules.hosts.get(subject.host()) {
        labels.extend(own.labels.clone());
        annotations.extend(own.annotations.clone());
    }
    Metadata {
        name: subject.namespace(),
        create_time: Some(Timestamp { seconds: options.create_time }),
        version: String::new(),
        labels: label::accepted(labels, label::is_value_of_entry, &mut refused),
        annotations,
    }
}

/// A port's entry without hosts and virtual addresses.
fn spec(
    service: &PublishedService,
    port: &ServicePort,
    subject: &Subject<'_>,
    rules: &Rules,
    rejected: &mut Vec<Rejected>,
) -> ServiceEntry {
    let places = endpoint::places(service, port, rejected);
    // Also of instances that do not serve, or were the last: ports must not come and go with them.
    let of_instances = service.instance_ports.iter().filter(|(name, _)| *name == port.name).map(|(_, number)| *number);
    let ports = ports(port, places.iter().filter_map(|place| place.port).chain(of_instances), rules.ports);
    let names: Vec<&str> = ports.iter().map(|port| &*port.name).collect();
    let endpoints = endpoint::entries(service, &places, &names, rules, rejected);
    let location = match rules.location {
        Location::Internal => PbLocation::MeshInternal,
        Location::External => PbLocation::MeshExternal,
    };
    // Where names are resolved and there are none, Envoy would resolve the host itself.
    let resolution = if service.dns && !endpoints.is_empty() { Resolution::Dns } else { Resolution::Static };
    ServiceEntry {
        ports,
        endpoints,
        location: location.into(),
        resolution: resolution.into(),
        export_to: subject.export_to(),
        subject_alt_names: subject.subject_alt_names(),
        ..ServiceEntry::default()
    }
}

fn ports(port: &ServicePort, listening: impl Iterator<Item = Port>, which: Ports) -> Vec<PbPort> {
    let protocol = protocol(port.protocol);
    let named = |number: u32, name: String| PbPort { number, name, protocol: protocol.to_owned(), target_port: 0 };
    match which {
        Ports::Own => vec![named(port.number.get().into(), port_name(port))],
        Ports::Instances => {
            let numbers: BTreeSet<_> = listening.chain([port.number]).collect();
            numbers.into_iter().map(|n| named(n.get().into(), format!("{}-{n}", port.protocol))).collect()
        }
    }
}

/// Whether the entry of a port has a virtual address.
fn has_address(port: &ServicePort, addresses: Addresses) -> bool {
    addresses == Addresses::All || needs_vip(port)
}

/// Whether Istio tells services on one port of this protocol apart by their addresses alone: where there is neither a
/// host in the request nor a name in the handshake, all of them would share one listener, and one would get everything.
fn needs_vip(port: &ServicePort) -> bool {
    matches!(port.protocol, Protocol::Tcp | Protocol::Dubbo)
}

/// The names and hosts of a port's entries. All hosts stand in one, except where Istio could not tell them apart: there
/// each has its own.
fn hosts(service: &PublishedService, port: &ServicePort, name: &str) -> Vec<(String, Vec<Hostname>)> {
    // What distinguishes a further port's host from the service's distinguishes its names, too.
    let prefix = port.host.as_str().strip_suffix(service.host.as_str()).unwrap_or_default();
    let alias = |alias: &Hostname| Hostname::new(&format!("{prefix}{alias}")).ok();
    let aliases = service.aliases.iter().filter_map(alias);
    let main = (if name.is_empty() { String::new() } else { format!("{prefix}{name}") }, vec![port.host.clone()]);
    if needs_vip(port) {
        return std::iter::once(main).chain(aliases.map(|host| (host.to_string(), vec![host]))).collect();
    }
    vec![(main.0, main.1.into_iter().chain(aliases).collect())]
}

/// Istio's name of a protocol. To Istio Dubbo 2 is TCP, and Triple is gRPC.
fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "HTTP",
        Protocol::Http2 => "HTTP2",
        Protocol::Grpc | Protocol::Tri => "GRPC",
        Protocol::Https => "HTTPS",
        Protocol::Tls => "TLS",
        Protocol::Tcp | Protocol::Dubbo => "TCP",
    }
}

/// The port's name if Istio takes it, else its protocol's: any name will do, because only the entry's own endpoints use
/// it.
fn port_name(port: &ServicePort) -> String {
    if label::is_dns_label(&port.name) { port.name.to_string() } else { port.protocol.name().to_owned() }
}

fn encoded(metadata: Metadata, spec: &ServiceEntry) -> (Kind, Resource) {
    let body = Any { type_url: ServiceEntry::type_url(), value: spec.encode_to_vec().into() };
    (Kind::ServiceEntry, enveloped(Kind::ServiceEntry, metadata, body))
}

/// Puts a message into Istio's envelope. The version of the resource is the hash of the envelope before the version is
/// written into it.
pub(in crate::translate) fn enveloped(kind: Kind, metadata: Metadata, body: Any) -> Resource {
    let name = Name::from(&*metadata.name);
    let revision = metadata.labels.get("istio.io/rev").map(|revision| Name::from(&**revision));
    let mut envelope = Envelope { metadata: Some(metadata), body: Some(body) };
    let version = content_version(&envelope.encode_to_vec());
    if let Some(metadata) = &mut envelope.metadata {
        metadata.version = version_text(version);
    }
    let body = envelope.encode_to_vec();
    Resource::versioned(kind, name, version, &body, None).for_revision(revision)
}
