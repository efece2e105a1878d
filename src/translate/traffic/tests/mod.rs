//! What rules become, table by table. Resources are compared in protobuf's JSON form, by paths into it.

mod clusters;
mod entries;
mod gateways;
mod golden;
mod grpc;
mod limits;
mod properties;
mod refused;
mod routes;
mod sidecars;

use super::*;
use crate::{
    model::{Address, Hostname, Labels, Port, Protocol, PublishedEndpoint, PublishedService, ServicePort},
    pb::schema,
    resource::Resource,
    translate::{Origin, envoy, istio::manifest},
};
use ipnet::IpNet;
use serde_json::Value;
use std::{net::IpAddr, sync::Arc};

/// The namespace of rules and proxies that say none.
const NAMESPACE: &str = "shop";

/// The resources of a manifest, in the namespace [`NAMESPACE`] unless they name one.
fn read(yaml: &str) -> Vec<(Kind, Arc<Resource>)> {
    let resources =
        manifest::read("in.yaml", yaml, &NAMESPACE.into(), 0).unwrap_or_else(|wrong| panic!("{yaml}\n{wrong}"));
    resources.into_iter().map(|(kind, resource)| (kind, Arc::new(resource))).collect()
}

fn rules_of(resources: &[(Kind, Arc<Resource>)], before: &Rules, mesh: &Mesh) -> Rules {
    Rules::read(resources.iter().map(|(kind, resource)| (*kind, resource)), before, mesh)
}

fn rules(yaml: &str) -> Rules {
    rules_of(&read(yaml), &Rules::default(), &Mesh::default())
}

/// A service with a port for each `port/protocol`.
fn service(host: &str, ports: &str) -> PublishedService {
    let name = Hostname::new(host).unwrap();
    let port = |text: &str| {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "http"));
        ServicePort {
            name: format!("p{number}").as_str().into(),
            number: Port::new(number.parse().unwrap()).unwrap(),
            protocol: Protocol::parse(protocol).unwrap(),
            host: name.clone(),
        }
    };
    let ports = ports.split(' ').map(port).collect();
    PublishedService::new(name, ports, vec![])
}

fn origin() -> Origin {
    Origin { namespace: "portolan".into(), ..Origin::default() }
}

/// The hosts, each with its ports, such as `orders.example 80 8443/https`; with an address behind `@`.
fn shapes(services: &[&str]) -> Shapes {
    let mut shapes = Shapes::default();
    for text in services {
        let (host, ports) = text.split_once(' ').unwrap_or((text, "80"));
        let (ports, address) = ports.split_once('@').unwrap_or((ports, ""));
        let service = service(host, ports.trim());
        let address: Vec<IpNet> = address.parse().map(IpAddr::into).into_iter().collect();
        let addresses: &dyn Fn(&str) -> Vec<IpNet> = &|_| address.clone();
        let owner = Owner::Registry(service.host.clone());
        shapes.replace(&owner, Some((&service, &origin(), addresses)), &envoy::Options::default());
    }
    shapes
}

fn proxy(text: &str) -> Proxy {
    text.parse().unwrap()
}

fn router() -> Proxy {
    proxy("router,shop,istio=ingressgateway")
}

fn made(proxy: &Proxy, yaml: &str, services: &[&str]) -> Traffic {
    traffic(proxy, &rules(yaml), &shapes(services), &Mesh::default(), &mut Memo::default())
}

fn json(kind: Kind, resource: &Resource) -> Value {
    let text = schema::json(kind.type_url(), resource.body()).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The body of a resource as JSON; the resource must be there.
fn found(resources: &[(Kind, Resource)], kind: Kind, name: &str) -> Value {
    let found = resources.iter().find(|(of, resource)| *of == kind && **resource.name() == *name);
    let names =
        || resources.iter().map(|(kind, resource)| format!("{} {}", kind.name(), resource.name())).collect::<Vec<_>>();
    found.map(|(kind, resource)| json(*kind, resource)).unwrap_or_else(|| panic!("no {name}, but {:#?}", names()))
}

fn names(traffic: &Traffic, kind: Kind) -> Vec<String> {
    let of = traffic.resources.iter().filter(|(of, _)| *of == kind);
    let mut names: Vec<String> = of.map(|(_, resource)| resource.name().to_string()).collect();
    names.sort();
    names
}

/// `code place` of each.
fn codes(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{} {} {}", finding.code.name(), finding.name, finding.place)).collect()
}

/// Each row's path into the value, and what is there; nothing is `null`.
#[track_caller]
fn expect(value: &Value, rows: &[(&str, &str)]) {
    for (path, expected) in rows {
        let is = value.pointer(path).unwrap_or(&Value::Null);
        let expected: Value = serde_json::from_str(expected).unwrap_or_else(|error| panic!("{expected}: {error}"));
        assert_eq!(*is, expected, "{path} in {value:#}");
    }
}
