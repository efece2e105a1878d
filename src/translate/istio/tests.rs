//! What holds for every entry.

use super::*;
use crate::{
    model::{Address, Health, Labels, Locality, Port, PublishedEndpoint, ServiceId, Text, Weight},
    pb::istio::networking::v1alpha3::WorkloadEntry,
    resource::Variant,
};
use std::collections::BTreeMap;
use xds_api::pb::envoy::service::discovery::v3::DiscoveryResponse;

fn host(name: &str) -> Hostname {
    Hostname::new(name).unwrap()
}

fn port(name: &str, number: i64, protocol: Protocol) -> ServicePort {
    let host = if number == 80 { host("orders.example") } else { host(&format!("{name}.orders.example")) };
    ServicePort { name: name.into(), number: Port::new(number).unwrap(), protocol, host }
}

fn endpoint(address: &str, ports: &[(&str, i64)]) -> PublishedEndpoint {
    PublishedEndpoint {
        address: Address::parse(address).unwrap(),
        ports: ports.iter().map(|(name, port)| (Text::from(*name), Port::new(*port).unwrap())).collect(),
        weight: Weight::DEFAULT,
        health: Health::Healthy,
        locality: Locality::default(),
        labels: Labels::new(),
        secure: false,
        priority: 0,
    }
}

fn service(endpoints: Vec<PublishedEndpoint>) -> PublishedService {
    PublishedService {
        host: host("orders.example"),
        aliases: vec![host("orders")],
        sources: vec![ServiceId {
            registry: "r".into(),
            namespace: "n".into(),
            group: "g".into(),
            name: "Orders".into(),
        }],
        ports: vec![port("http", 80, Protocol::Http), port("rpc", 20880, Protocol::Dubbo)],
        endpoints,
        labels: Labels::new(),
        protected: false,
        protect_threshold: None,
        dns: false,
        notes: Vec::new(),
    }
}

/// All entries, by name.
fn entries(service: &PublishedService) -> BTreeMap<String, (Metadata, ServiceEntry)> {
    let (resources, _) = translate(service, &Options::default(), &|_| Vec::new());
    resources.iter().map(|(_, resource)| decoded(resource)).collect()
}

fn decoded(resource: &Resource) -> (String, (Metadata, ServiceEntry)) {
    let envelope = Envelope::decode(resource.body()).unwrap();
    let (metadata, body) = (envelope.metadata.unwrap(), envelope.body.unwrap());
    assert_eq!((&*metadata.name, &*metadata.version), (&**resource.name(), &*version_text(resource.version())));
    assert_eq!(body.type_url, "type.googleapis.com/istio.networking.v1alpha3.ServiceEntry");
    (metadata.name.clone(), (metadata, ServiceEntry::decode(&*body.value).unwrap()))
}

#[test]
fn an_answer_holds_entries_in_istios_envelope() {
    let (resources, _) = translate(&service(Vec::new()), &Options::default(), &|_| Vec::new());
    let (kind, resource) = &resources[0];
    assert_eq!((*kind, &**resource.name()), (Kind::ServiceEntry, "portolan/orders.example"));
    let answer = DiscoveryResponse::decode(resource.entry(Variant::Sotw)).unwrap();
    assert_eq!(answer.resources[0].type_url, "type.googleapis.com/istio.mcp.v1alpha1.Resource");
    assert_eq!(answer.resources[0].value, resource.body());
}

#[test]
fn further_ports_and_names_without_a_host_in_the_request_have_entries_of_their_own() {
    let hosts: Vec<(String, Vec<String>)> =
        entries(&service(Vec::new())).into_iter().map(|(name, (_, entry))| (name, entry.hosts)).collect();
    let expected = [
        ("portolan/orders.example", vec!["orders.example", "orders"]),
        ("portolan/rpc.orders", vec!["rpc.orders"]),
        ("portolan/rpc.orders.example", vec!["rpc.orders.example"]),
    ];
    let expected = expected.map(|(name, hosts)| (name.to_owned(), hosts.into_iter().map(str::to_owned).collect()));
    assert_eq!(hosts, expected);
}

#[test]
fn any_change_of_an_endpoint_changes_the_endpoints_and_nothing_else() {
    let first = endpoint("10.0.0.1", &[("http", 8080)]);
    type Change = fn(&mut Vec<PublishedEndpoint>);
    let changes: [(&str, Change); 8] = [
        ("weight", |all| all[0].weight = Weight::relative(2.0, 1.0).unwrap()),
        ("labels", |all| drop(all[0].labels.insert("version".into(), "v2".into()))),
        ("health", |all| all[0].health = Health::Unhealthy),
        ("locality", |all| all[0].locality = Locality::parse("cn/hz")),
        ("address", |all| all[0].address = Address::parse("10.0.0.3").unwrap()),
        ("port", |all| all[0].ports[0].1 = Port::new(8081).unwrap()),
        ("one more", |all| all.push(endpoint("10.0.0.4", &[("http", 8080), ("rpc", 20880)]))),
        ("none", Vec::clear),
    ];
    let before = vec![first, endpoint("10.0.0.2", &[("http", 8080)])];
    let old = entries(&service(before.clone()));
    for (what, change) in changes {
        let mut after = before.clone();
        change(&mut after);
        let new = entries(&service(after));
        assert_ne!(old, new, "{what}");
        let rest = |entries: BTreeMap<String, (Metadata, ServiceEntry)>| -> Vec<_> {
            let without = |(metadata, entry)| {
                (Metadata { version: String::new(), ..metadata }, ServiceEntry { endpoints: Vec::new(), ..entry })
            };
            entries.into_values().map(without).collect()
        };
        assert_eq!(rest(old.clone()), rest(new), "{what}");
    }
}

#[test]
fn weights_are_the_smallest_whole_numbers_of_their_proportions() {
    let weighted = |weights: &[f64]| -> Vec<u32> {
        let endpoints = weights.iter().enumerate().map(|(i, weight)| PublishedEndpoint {
            weight: Weight::relative(*weight, 1.0).unwrap(),
            ..endpoint(&format!("10.0.0.{i}"), &[("http", 80)])
        });
        let entry = &entries(&service(endpoints.collect()))["portolan/orders.example"].1;
        entry.endpoints.iter().map(|e: &WorkloadEntry| e.weight).collect()
    };
    // 0 is what is not written, and counts as 1.
    assert_eq!(weighted(&[1.0, 1.0]), [0, 0]);
    assert_eq!(weighted(&[5.0, 5.0]), [0, 0]);
    assert_eq!(weighted(&[1.0, 0.5, 2.0]), [2, 0, 4]);
    assert_eq!(weighted(&[0.0005, 0.9]), [0, 1800]);
}
