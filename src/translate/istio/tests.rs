//! Properties that hold for every ServiceEntry.

use super::*;
use crate::{
    model::{Address, Health, Labels, Locality, Port, PublishedEndpoint, ServiceId, Template, Text, Weight},
    pb::istio::networking::v1alpha3::WorkloadEntry,
    resource::Variant,
};
use proptest::{collection::vec, prelude::*, sample::select};
use prost_of_xds_api::Message as _;
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
    let ports = ports.iter().map(|(name, port)| (Text::from(*name), Port::new(*port).unwrap())).collect();
    PublishedEndpoint::new(Address::parse(address).unwrap(), ports)
}

fn service(endpoints: Vec<PublishedEndpoint>) -> PublishedService {
    let ports = vec![port("http", 80, Protocol::Http), port("rpc", 20880, Protocol::Dubbo)];
    PublishedService {
        aliases: vec![host("orders")],
        sources: vec![ServiceId::new("r", "n", "g", "Orders")],
        ..PublishedService::new(host("orders.example"), ports, endpoints)
    }
}

/// The metadata and spec of all entries of a service, by name.
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
            let without = |(mut metadata, entry): (Metadata, ServiceEntry)| {
                // The one exception: whether there are any.
                metadata.labels.remove(EMPTY.0);
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

#[test]
fn entries_are_named_by_template_and_see_what_is_configured() {
    let template = |text| Template::parse_of_host(text).unwrap();
    let rules = Rules {
        namespace: template("Team_{label:team}"),
        name: template("{registry}/{service}"),
        export_to: vec!["team-a".into(), ".".into(), "other".into()],
        labels: [("team", "{label:team}"), ("zone", "{label:zone}"), ("none", "{label:none}"), ("bad", "a b")]
            .map(|(key, value)| (key.into(), template(value)))
            .into(),
        ..Rules::default()
    };
    let zoned = |zone: &str| PublishedEndpoint {
        labels: Labels::from([("zone".into(), zone.into())]),
        ..endpoint(&format!("10.0.0.{}", zone.len()), &[("http", 8080)])
    };
    let mut service = service(vec![zoned("b"), zoned("aa")]);
    service.labels.insert("team".into(), "a".into());
    let options = Options { registries: [("r".into(), rules)].into(), vip: Vec::new(), ..Options::default() };
    let (resources, rejected) = translate(&service, &options, &|_| Vec::new());
    let all: BTreeMap<_, _> = resources.iter().map(|(_, resource)| decoded(resource)).collect();
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    assert_eq!(names, ["team-a/r-Orders", "team-a/rpc.orders", "team-a/rpc.r-Orders"]);
    let (metadata, entry) = &all["team-a/r-Orders"];
    let labels = [("team", "a"), ("zone", "aa")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(metadata.labels, BTreeMap::from(labels));
    assert_eq!(entry.export_to, [".", "other"], "the own namespace is there as `.` already");
    let shown: Vec<String> = rejected.iter().map(|r| format!("{} {}", r.subject, r.why.code())).collect();
    assert_eq!(shown, ["bad label_refused"]);
}

#[test]
fn an_entry_with_a_revision_is_for_istiods_of_that_one() {
    let rev = Template::parse_of_host("{label:rev}").unwrap();
    let rules = Rules { labels: BTreeMap::from([("istio.io/rev".into(), rev)]), ..Rules::default() };
    let options = Options { rules, vip: Vec::new(), ..Options::default() };
    for (label, revision) in [(None, None), (Some("canary"), Some("canary"))] {
        let mut service = service(Vec::new());
        service.labels.extend(label.map(|label| ("rev".into(), label.into())));
        let (resources, _) = translate(&service, &options, &|_| Vec::new());
        assert!(resources.iter().all(|(_, resource)| resource.revision() == revision), "{resources:?}");
    }
}

#[test]
fn an_entry_that_istio_would_refuse_is_not_sent_and_told() {
    let rules = Rules { namespace: Template::parse_of_host("{label:team}").unwrap(), ..Rules::default() };
    let options = Options { rules, vip: Vec::new(), ..Options::default() };
    let (resources, rejected) = translate(&service(Vec::new()), &options, &|_| Vec::new());
    assert_eq!(resources, []);
    let shown: Vec<String> = rejected.iter().map(|r| format!("{}: {}", r.subject, r.why)).collect();
    let why = "Istio takes no such entry: the name \"/orders.example\" is not a namespace, one slash and a name";
    assert_eq!(shown[0], format!("orders.example: {why}"));
    assert_eq!(shown.len(), 3, "{shown:?}");
}

#[test]
fn tcp_services_have_the_addresses_that_they_are_given_and_others_none() {
    let vip = |host: &Hostname| vec![IpAddr::from([241, 0, 0, host.as_str().len() as u8])];
    let (resources, rejected) = translate(&service(Vec::new()), &Options::default(), &vip);
    let all: BTreeMap<_, _> = resources.iter().map(|(_, resource)| decoded(resource)).collect();
    let addresses: Vec<(&str, &[String])> = all.iter().map(|(name, (_, e))| (&name[9..], &*e.addresses)).collect();
    let expected: [(&str, &[String]); 3] = [
        ("orders.example", &[]),
        ("rpc.orders", &["241.0.0.10".to_owned()]),
        ("rpc.orders.example", &["241.0.0.18".to_owned()]),
    ];
    assert_eq!(addresses, expected);
    assert_eq!(rejected, []);
    let hosts: Vec<String> = vip_hosts(&service(Vec::new()), Addresses::Tcp).iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["rpc.orders.example", "rpc.orders"]);
    let (_, rejected) = translate(&service(Vec::new()), &Options::default(), &|_| Vec::new());
    let shown: Vec<String> = rejected.iter().map(|r| format!("{} {}", r.subject, r.why.code())).collect();
    assert_eq!(shown, ["rpc.orders.example no_vip", "rpc.orders no_vip"]);
}

#[test]
fn all_entries_have_an_address_where_all_shall_have_one() {
    let options = Options { addresses: Addresses::All, ..Options::default() };
    let vip = |host: &Hostname| vec![IpAddr::from([241, 0, 0, host.as_str().len() as u8])];
    let (resources, rejected) = translate(&service(Vec::new()), &options, &vip);
    assert!(resources.iter().all(|(_, resource)| decoded(resource).1.1.addresses.len() == 1), "{resources:?}");
    assert_eq!(rejected, []);
    let hosts: Vec<String> = vip_hosts(&service(Vec::new()), Addresses::All).iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["orders.example", "rpc.orders.example", "rpc.orders"], "one for each entry");
}

#[test]
fn an_entry_shows_in_its_labels_whether_it_has_endpoints_and_nothing_else_of_them() {
    let labels = |endpoints, options: &Options| -> Vec<BTreeMap<String, String>> {
        let (resources, _) = translate(&service(endpoints), options, &|_| Vec::new());
        resources.iter().map(|(_, resource)| decoded(resource).1.0.labels).collect()
    };
    let marked = BTreeMap::from([(EMPTY.0.to_owned(), EMPTY.1.to_owned())]);
    let options = Options { vip: Vec::new(), ..Options::default() };
    assert!(labels(Vec::new(), &options).iter().all(|labels| *labels == marked));
    let one = || vec![endpoint("10.0.0.1", &[("http", 80), ("rpc", 90)])];
    let two = [one(), vec![endpoint("10.0.0.2", &[("http", 80), ("rpc", 90)])]].concat();
    assert!(labels(one(), &options).iter().all(BTreeMap::is_empty));
    assert_eq!(labels(one(), &options), labels(two, &options));
    let unmarked = Options { mark_empty: false, ..options };
    assert!(labels(Vec::new(), &unmarked).iter().all(BTreeMap::is_empty));
}

#[test]
fn names_are_resolved_only_where_there_are_some() {
    let named = |endpoints| {
        let service = PublishedService { dns: true, ..service(endpoints) };
        let entry = entries(&service)["portolan/orders.example"].1.clone();
        (entry.resolution(), entry.endpoints.into_iter().map(|e| e.address).collect::<Vec<_>>())
    };
    let endpoints = vec![endpoint("node.internal", &[("http", 80)]), endpoint("a_b", &[("http", 80)])];
    assert_eq!(named(endpoints), (Resolution::Dns, vec!["node.internal".to_owned()]));
    assert_eq!(named(Vec::new()), (Resolution::Static, Vec::new()));
}

fn any_endpoint() -> impl Strategy<Value = PublishedEndpoint> {
    let addresses = vec!["10.0.0.1", "10.0.0.2", "::1", "/run/a.sock", "/run/", "name.internal", "na_me", "1.2.3.4"];
    let ports = (prop::option::of(select(vec![80_i64, 81])), prop::option::of(select(vec![90_i64, 91])));
    let key = select(vec!["version", "@class", "a/b/c", "版本", "_x", "x_", "example.com/k", "gRPC_port", ""]);
    let value = select(vec!["v1", "", "a b", "杭州", "-x", "http://x", "a_b.c"]);
    let health = select(vec![Health::Healthy, Health::Unhealthy, Health::Draining, Health::Unknown]);
    (select(addresses), ports, vec((key, value), 0..4), 0.0001..100.0, health).prop_map(
        |(address, (http, rpc), labels, weight, health)| PublishedEndpoint {
            ports: [("http", http), ("rpc", rpc)]
                .into_iter()
                .filter_map(|(name, port)| Some((Text::from(name), Port::new(port?).unwrap())))
                .collect(),
            labels: labels.into_iter().map(|(k, v)| (Text::from(k), Text::from(v))).collect(),
            weight: Weight::relative(weight, 1.0).unwrap(),
            health,
            ..endpoint(address, &[])
        },
    )
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let style = select(vec![
        EndpointLabels::Whole,
        EndpointLabels::Slime,
        EndpointLabels::SlimeNacos,
        EndpointLabels::SlimeDubbo,
    ]);
    (style, any::<bool>()).prop_map(|(endpoint_labels, weights)| Rules { endpoint_labels, weights, ..Rules::default() })
}

proptest! {
    #[test]
    fn istio_takes_every_entry_and_their_order_does_not_matter(
        (endpoints, shuffled) in vec(any_endpoint(), 0..12)
            .prop_flat_map(|endpoints| (Just(endpoints.clone()), Just(endpoints).prop_shuffle())),
        rules in any_rules(),
        dns in any::<bool>(),
    ) {
        let options = Options { rules, vip: Vec::new(), ..Options::default() };
        let made = |endpoints| {
            let service = PublishedService { dns, ..service(endpoints) };
            translate(&service, &options, &|_| Vec::new())
        };
        let (resources, rejected) = made(endpoints);
        prop_assert_eq!(resources.len(), 3, "no entry is lost to an endpoint: {:?}", rejected);
        for (_, resource) in &resources {
            let (name, (_, entry)) = decoded(resource);
            prop_assert_eq!(refusal(&name, &entry), None);
            let places: Vec<_> = entry.endpoints.iter().map(|e| (e.address.clone(), e.ports.clone())).collect();
            let distinct: std::collections::BTreeSet<_> = places.iter().cloned().collect();
            prop_assert_eq!(places.len(), distinct.len(), "each place once");
        }
        prop_assert_eq!(resources, made(shuffled).0);
    }
}
