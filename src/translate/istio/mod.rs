//! Services as Istiod takes them: `ServiceEntry`s.
//!
//! One entry for each port, because Istio sends an endpoint that lacks one of its entry's ports to the wrong place: the
//! service's own port stands on its host, every further one on the host of the port. An instance that comes or goes
//! alters `endpoints` alone, which costs the mesh one small push; everything else of an entry depends on configuration,
//! names and ports.

mod endpoint;
mod label;
mod options;
#[cfg(test)]
mod tests;
mod validate;

pub use options::{Location, Options, Rules};

use super::{Rejected, Why};
use crate::{
    model::{Hostname, Protocol, PublishedService, ServicePort},
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
use options::Subject;
use prost::{Message, Name as _};
use std::net::IpAddr;

/// All entries of a service, and what of it cannot be sent. `vips` knows the virtual addresses of
/// [`vip_hosts`], one of each of the options' networks.
pub fn translate(
    service: &PublishedService,
    options: &Options,
    vips: &dyn Fn(&Hostname) -> Vec<IpAddr>,
) -> (Vec<(Kind, Resource)>, Vec<Rejected>) {
    let (mut entries, mut rejected) = (Vec::new(), Vec::new());
    for port in &service.ports {
        let rules = options.rules(service);
        let subject = Subject::new(service);
        let port_name = port_name(port);
        let spec = ServiceEntry {
            ports: vec![PbPort {
                number: port.number.get().into(),
                protocol: protocol(port.protocol).to_owned(),
                name: port_name.clone(),
            }],
            location: match rules.location {
                Location::Internal => PbLocation::MeshInternal.into(),
                Location::External => PbLocation::MeshExternal.into(),
            },
            endpoints: endpoint::endpoints(service, port, &port_name, rules, &mut rejected),
            export_to: rules.export_to.iter().map(ToString::to_string).collect(),
            subject_alt_names: rules.subject_alt_names.iter().map(|t| subject.render(t)).collect(),
            ..ServiceEntry::default()
        };
        for (name, hosts) in hosts(service, port, &subject.render(&rules.name)) {
            let addresses = if needs_vip(port) { vips(&hosts[0]) } else { Vec::new() };
            if needs_vip(port) && addresses.len() < options.vip.len() {
                let subject = hosts[0].text().clone();
                rejected.push(Rejected { host: service.host.clone(), subject, why: Why::NoVip });
            }
            let mut spec = ServiceEntry {
                addresses: addresses.iter().map(ToString::to_string).collect(),
                hosts: hosts.iter().map(ToString::to_string).collect(),
                ..spec.clone()
            };
            spec.set_resolution(if service.dns && !spec.endpoints.is_empty() {
                Resolution::Dns
            } else {
                Resolution::Static
            });
            let name = format!("{}/{}", subject.render(&rules.namespace), name.replace('/', "-"));
            let labels = rules.labels.iter().map(|(key, t)| (key.to_string(), subject.render(t)));
            let annotations = rules.annotations.iter().map(|(key, t)| (key.to_string(), subject.render(t)));
            let metadata = Metadata {
                name,
                create_time: Some(Timestamp { seconds: options.create_time }),
                labels: labels.filter(|(_, value)| !value.is_empty()).collect(),
                annotations: annotations.filter(|(_, value)| !value.is_empty()).collect(),
                version: String::new(),
            };
            entries.push(encoded(metadata, &spec));
        }
    }
    (entries, rejected)
}

/// The hosts of a service that need a virtual address.
pub fn vip_hosts(service: &PublishedService) -> Vec<Hostname> {
    let ports = service.ports.iter().filter(|port| needs_vip(port));
    ports.flat_map(|port| hosts(service, port, "")).flat_map(|(_, hosts)| hosts).collect()
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
    let main = (format!("{prefix}{name}"), vec![port.host.clone()]);
    if needs_vip(port) {
        return std::iter::once(main).chain(aliases.map(|host| (host.to_string(), vec![host]))).collect();
    }
    vec![(main.0, main.1.into_iter().chain(aliases).collect())]
}

/// What Istio calls it. Dubbo 2 is bytes to it, and Triple is gRPC.
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

/// The port's name where Istio takes it, else its protocol's: the name is alone in its entry, and only endpoints use it.
fn port_name(port: &ServicePort) -> String {
    if label::is_dns_label(&port.name) { port.name.to_string() } else { port.protocol.name().to_owned() }
}

/// The version is in the envelope, so it is that of the envelope without it.
fn encoded(metadata: Metadata, spec: &ServiceEntry) -> (Kind, Resource) {
    let name = Name::from(&*metadata.name);
    let revision = metadata.labels.get("istio.io/rev").map(|revision| Name::from(&**revision));
    let body = Any { type_url: ServiceEntry::type_url(), value: spec.encode_to_vec().into() };
    let mut envelope = Envelope { metadata: Some(metadata), body: Some(body) };
    let version = content_version(&envelope.encode_to_vec());
    if let Some(metadata) = &mut envelope.metadata {
        metadata.version = version_text(version);
    }
    let body = envelope.encode_to_vec();
    let resource = Resource::versioned(Kind::ServiceEntry, name, version, &body, None);
    (Kind::ServiceEntry, resource.for_revision(revision))
}
