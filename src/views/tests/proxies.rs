//! Views of proxies by class: what rules make of services, and what an instance does not touch.

use super::*;
use crate::{
    model::Proxy,
    pb::{
        envoy::config::{
            cluster::v3::{Cluster, cluster::DiscoveryType},
            endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints},
        },
        istio::{
            mcp::v1alpha1::Resource as Envelope,
            networking::v1alpha3::{HttpRetry, ServiceEntry},
        },
    },
    translate::{
        gateway::Gateway,
        istio::{self, manifest},
    },
};
use proptest::{collection::vec, prelude::*};
use prost::Message;

const RULES: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  selector: { istio: edge }
  servers: [{ port: { number: 8080, name: http, protocol: HTTP }, hosts: ['*'] }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: a }
spec:
  hosts: [shop.example]
  gateways: [edge]
  http: [{ route: [{ destination: { host: a.example, subset: v1 } }] }]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: a }
spec: { host: a.example, subsets: [{ name: v1, labels: { version: v1 } }] }
";

const SUBSET: &str = "outbound|80|v1|a.example";

/// What that text gives, as all that there is.
pub(super) fn manifests(text: &str) -> Arc<Snapshot> {
    let read = manifest::read("m", text, &"portolan".into(), 0).unwrap();
    let resources = read.into_iter().map(|(kind, r)| ((kind, r.name().clone()), Arc::new(r))).collect();
    Arc::new(Snapshot { readiness: Some(Readiness::Complete), resources, ..Snapshot::default() })
}

fn key(class: &str) -> ViewKey {
    let proxy: Proxy = class.parse().unwrap();
    ViewKey { class: Class { proxy: Some(Arc::new(proxy)), next: false }, ..ViewKey::whole(Dialect::Envoy) }
}

/// The plain view, that of a gateway with the label, and that of one without.
fn fixture(text: &str) -> (Fixture, [ViewKey; 3]) {
    let mut fixture = Fixture::new(Dialect::Envoy, Box::new(EnvoyOptions::default()));
    let keys = [ViewKey::whole(Dialect::Envoy), key("router,portolan,istio=edge"), key("router,portolan")];
    keys.iter().for_each(|key| fixture.add(key.clone(), Selection::default()));
    fixture.manifests = manifests(text);
    (fixture, keys)
}

fn labelled(name: &str, versions: &[&str]) -> PublishedService {
    let mut service = service(name, &[], versions.len() as i64);
    for (endpoint, version) in service.endpoints.iter_mut().zip(versions) {
        endpoint.labels = [("version".into(), (*version).into())].into_iter().collect();
    }
    service
}

fn names(generation: &ViewGeneration, kind: Kind) -> Vec<String> {
    generation.get(kind).iter().map(|resource| resource.name().to_string()).collect()
}

#[test]
fn a_gateway_has_what_its_routes_reach_and_nothing_else() {
    let (mut fixture, [plain, edge, other]) = fixture(RULES);
    fixture.step(&catalog(Readiness::Complete, [labelled("a.example", &["v1", "v2"]), service("b.example", &[], 1)]));
    let generation = fixture.generation(&edge);
    assert_eq!(names(generation, Kind::Listener), ["0.0.0.0_8080"]);
    assert_eq!(names(generation, Kind::Route), ["http.8080"]);
    let clusters: Vec<String> =
        names(generation, Kind::Cluster).into_iter().filter(|name| name.starts_with("outbound|")).collect();
    assert_eq!(clusters, [SUBSET]);
    assert_eq!(names(generation, Kind::Endpoint), [SUBSET]);
    let all = names(fixture.generation(&plain), Kind::Cluster);
    for name in [SUBSET, "outbound|80||a.example", "outbound|80||b.example"] {
        assert!(all.iter().any(|cluster| cluster == name), "{name}: {all:?}");
    }
    for generation in [fixture.generation(&other), fixture.generation(&plain)] {
        assert!(names(generation, Kind::Listener).is_empty(), "the selector names a label that it has not");
    }
}

#[test]
fn an_instance_touches_endpoints_alone() {
    let (mut fixture, keys) = fixture(RULES);
    let b = || service("b.example", &[], 1);
    let first = catalog(Readiness::Complete, [labelled("a.example", &["v1", "v2"]), b()]);
    fixture.step(&first);
    let before = keys.clone().map(|key| fixture.generation(&key).clone());
    let next = shared(&first, catalog(Readiness::Complete, [labelled("a.example", &["v1", "v1", "v2"]), b()]));
    assert_eq!(fixture.step(&next).len(), 2, "the gateway without routes has nothing of it");
    for (key, before) in keys.iter().zip(&before) {
        let after = fixture.generation(key);
        for kind in [Kind::Cluster, Kind::Listener, Kind::Route] {
            assert!(Arc::ptr_eq(before.get(kind), after.get(kind)), "{key} {}", kind.name());
        }
    }
    let changes = differences(&before[1], fixture.generation(&keys[1]));
    assert_eq!(changes, [format!("+endpoints {SUBSET}")]);
    // One of the other version is not even in the subset.
    let next = shared(&next, catalog(Readiness::Complete, [labelled("a.example", &["v1", "v1", "v2", "v2"]), b()]));
    assert_eq!(fixture.step(&next), [ViewKey::whole(Dialect::Envoy)]);
}

#[test]
fn another_setting_of_the_mesh_reaches_routes_that_are_there() {
    let now = catalog(Readiness::Complete, [labelled("a.example", &["v1"])]);
    let made_with = |fixture: &mut Fixture, retries: Option<HttpRetry>| {
        fixture.translation.outputs.traffic.mesh.default_retries = retries;
        fixture.step(&now);
    };
    let (mut reloaded, [_, edge, _]) = fixture(RULES);
    made_with(&mut reloaded, None);
    let before = reloaded.content(&edge);
    // None at all.
    made_with(&mut reloaded, Some(HttpRetry::default()));
    let (mut fresh, _) = fixture(RULES);
    made_with(&mut fresh, Some(HttpRetry::default()));
    assert_eq!(reloaded.content(&edge), fresh.content(&edge));
    assert_ne!(reloaded.content(&edge), before);
}

#[test]
fn what_is_equal_is_the_same_value_in_every_class() {
    let (mut fixture, [plain, ..]) = fixture(RULES);
    let [sidecar, bound] = ["sidecar,portolan", "sidecar,portolan,.bound"].map(key);
    [&sidecar, &bound].iter().for_each(|key| fixture.add((*key).clone(), Selection::default()));
    fixture.step(&catalog(Readiness::Complete, [labelled("a.example", &["v1"]), service("b.example", &[], 1)]));
    let of = |key: &ViewKey, kind, name: &str| fixture.generation(key).get(kind).get(name).cloned().unwrap();
    for name in ["outbound|80||b.example", SUBSET] {
        assert!(Arc::ptr_eq(&of(&bound, Kind::Cluster, name), &of(&sidecar, Kind::Cluster, name)), "{name}");
        assert!(Arc::ptr_eq(&of(&plain, Kind::Endpoint, name), &of(&sidecar, Kind::Endpoint, name)), "{name}");
    }
    assert!(Arc::ptr_eq(&of(&plain, Kind::Cluster, SUBSET), &of(&sidecar, Kind::Cluster, SUBSET)));
}

/// Envoy's own limits would be 1,024 connections and requests. An Envoy that says nothing of itself keeps them: it may have
/// listeners, and settings for them, of its own.
#[test]
fn proxies_that_are_served_everything_have_istios_limits_without_a_rule() {
    let (mut fixture, [plain, ..]) = fixture(RULES);
    let sidecar = key("sidecar,portolan");
    fixture.add(sidecar.clone(), Selection::default());
    fixture.step(&catalog(Readiness::Complete, [service("b.example", &[], 1)]));
    let limits = |key: &ViewKey| {
        let resource = fixture.generation(key).get(Kind::Cluster).get("outbound|80||b.example").cloned().unwrap();
        let cluster = Cluster::decode(resource.body()).unwrap();
        let limit =
            cluster.circuit_breakers.map(|breakers| breakers.thresholds[0].max_requests.as_ref().map(|m| m.value));
        (limit, cluster.connect_timeout.map(|time| time.seconds))
    };
    assert_eq!(limits(&plain), (None, Some(5)));
    assert_eq!(limits(&sidecar), (Some(Some(u32::MAX)), Some(10)));
}

fn tcp(name: &str) -> PublishedService {
    let port =
        ServicePort { name: "tcp".into(), number: Port::new(9000).unwrap(), protocol: Protocol::Tcp, host: host(name) };
    let sources = vec![ServiceId::new("r", "", "", name)];
    PublishedService { sources, ..PublishedService::new(host(name), vec![port], Vec::new()) }
}

/// The network is so small that services take addresses from each other.
#[test]
fn sidecars_listen_on_the_addresses_that_entries_have() {
    let options = istio::Options { vip: vec!["241.0.0.0/28".parse().unwrap()], ..istio::Options::default() };
    let (sidecar, entries) = (key("sidecar,portolan"), ViewKey::whole(Dialect::Istio));
    let mut proxies = Fixture::new(Dialect::Envoy, Box::new(EnvoyOptions::default()));
    proxies.translation.outputs.istio = options.clone();
    proxies.add(sidecar.clone(), Selection::default());
    let mut istiods = Fixture::new(Dialect::Istio, Box::new(Istio::new(options, Metrics::default())));
    istiods.add(entries.clone(), Selection::default());
    let mut now = catalog(Readiness::Complete, []);
    for names in ["hgfedc", "hgfedcba", "bcdefgh", "a", "abcdefghijkl", ""] {
        let services = names.chars().map(|name| tcp(&format!("{name}.example")));
        now = shared(&now, catalog(Readiness::Complete, services));
        proxies.step(&now);
        istiods.step(&now);
        let of_entry = |resource: &Arc<Resource>| {
            let envelope = Envelope::decode(resource.body()).unwrap();
            let entry = ServiceEntry::decode(&*envelope.body.unwrap().value).unwrap();
            entry.addresses.iter().map(|address| format!("{address}_9000")).collect::<Vec<_>>()
        };
        let mut expected: Vec<String> =
            istiods.generation(&entries).get(Kind::ServiceEntry).iter().flat_map(of_entry).collect();
        expected.sort();
        assert_eq!(expected.len(), names.len());
        let mut listeners = self::names(proxies.generation(&sidecar), Kind::Listener);
        listeners.retain(|name| name.starts_with("241."));
        listeners.sort();
        assert_eq!(listeners, expected, "{names}");
    }
}

#[test]
fn what_an_entry_of_a_file_says_of_addresses_is_followed() {
    let entry = |addresses: &str, resolution: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{ name: legacy }}\nspec:\n  \
             hosts: [legacy.example]\n  addresses: [{addresses}]\n  resolution: {resolution}\n  \
             ports: [{{ number: 9000, name: tcp, protocol: TCP }}]\n"
        )
    };
    let sidecar = key("sidecar,portolan");
    let mut fixture = Fixture::new(Dialect::Envoy, Box::new(EnvoyOptions::default()));
    fixture.add(sidecar.clone(), Selection::default());
    let none = catalog(Readiness::Complete, []);
    for (addresses, resolution, listeners, kind) in [
        ("10.9.0.1, 10.8.0.0/16", "NONE", &["0.0.0.0_9000", "10.9.0.1_9000"][..], DiscoveryType::OriginalDst),
        ("10.9.0.2", "NONE", &["10.9.0.2_9000"], DiscoveryType::OriginalDst),
        ("10.9.0.2", "STATIC", &["10.9.0.2_9000"], DiscoveryType::Eds),
    ] {
        fixture.manifests = manifests(&entry(addresses, resolution));
        fixture.step(&none);
        let generation = fixture.generation(&sidecar);
        let mut found = names(generation, Kind::Listener);
        found.retain(|name| name != "virtualOutbound");
        assert_eq!(found, listeners, "{addresses}");
        let cluster = generation.get(Kind::Cluster).get("outbound|9000||legacy.example").cloned().unwrap();
        assert_eq!(Cluster::decode(cluster.body()).unwrap().r#type(), kind, "{resolution}");
    }
}

#[test]
fn who_has_a_part_of_a_view_has_the_services_that_manifests_declare() {
    let declared = |address: &str| {
        manifests(&format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{ name: legacy }}\nspec:\n  \
             hosts: [legacy.example]\n  resolution: STATIC\n  endpoints: [{{ address: {address} }}]\n  \
             ports: [{{ number: 9000, name: tcp, protocol: TCP }}]\n"
        ))
    };
    let (mut fixture, [plain, ..]) = fixture("");
    let wanted = |name: &str, rest| Part {
        wanted: Some(Arc::new(Wanted::new([(Text::from(name), None)], rest))),
        ..Part::default()
    };
    let near = Part { locality: Some(Locality::parse("cn/hz")), ..Part::default() };
    let having = [near, wanted("a.example", Some(None)), wanted("legacy.example", None)];
    let parts = having.into_iter().chain([wanted("a.example", None)]);
    fixture.stage.divide(&(plain.clone(), 0), (0..).zip(parts).collect(), Vec::new());
    // Where this is, and one is near and the other is not, parts have endpoints of their own.
    let mut spread = service("a.example", &[], 2);
    spread.nearness = Nearness::Priority;
    for (endpoint, place) in spread.endpoints.iter_mut().zip(["cn/hz", "cn/sh"]) {
        endpoint.locality = Locality::parse(place);
    }
    let services = catalog(Readiness::Complete, [spread]);
    let steps = [Some("10.9.0.1"), Some("10.9.0.2"), None, Some("10.9.0.1")];
    for address in steps {
        fixture.manifests = address.map_or_else(|| manifests(""), declared);
        fixture.step(&services);
        for kind in [Kind::Cluster, Kind::Endpoint] {
            let of = |generation: &ViewGeneration| generation.get(kind).get("outbound|9000||legacy.example").cloned();
            let whole = of(fixture.generation(&plain));
            assert_eq!(whole.is_some(), address.is_some());
            let has = |part: u64| of(&fixture.parts[&(plain.clone(), part)]);
            assert_eq!([0, 1, 2].map(has), [(); 3].map(|()| whole.clone()), "{} {address:?}", kind.name());
            assert_eq!(has(3), None, "it wants another one");
        }
    }
}

/// Only an endpoint's place tells the two apart; what is far is there, too.
#[test]
fn with_outlier_detection_what_is_near_goes_first() {
    let rules = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: a }
spec: { host: a.example, trafficPolicy: { outlierDetection: { consecutive5xxErrors: 3 } } }
";
    let mut fixture = Fixture::new(Dialect::Envoy, Box::new(EnvoyOptions::default()));
    let keys = ["sidecar,portolan,.at=cn/hz/", "sidecar,portolan,.at=us/*/*", "sidecar,portolan"].map(key);
    keys.iter().for_each(|key| fixture.add(key.clone(), Selection::default()));
    fixture.manifests = manifests(rules);
    let mut near = service("a.example", &["alias.example"], 3);
    for (endpoint, place) in near.endpoints.iter_mut().zip(["cn/hz", "cn/sh", "us/x"]) {
        endpoint.locality = Locality::parse(place);
    }
    fixture.step(&catalog(Readiness::Complete, [near]));
    let seen = |key: &ViewKey, name: &str| {
        let resource = fixture.generation(key).get(Kind::Endpoint).get(name).cloned().unwrap();
        let assignment = ClusterLoadAssignment::decode(resource.body()).unwrap();
        let group = |group: &LocalityLbEndpoints| {
            let at = group.locality.as_ref().unwrap();
            (group.priority, format!("{}/{}", at.region, at.zone))
        };
        assignment.endpoints.iter().map(group).collect::<Vec<_>>()
    };
    let of = |all: &[(u32, &str)]| all.iter().map(|(priority, at)| (*priority, (*at).to_owned())).collect::<Vec<_>>();
    let name = "outbound|80||a.example";
    assert_eq!(seen(&keys[0], name), of(&[(0, "cn/hz"), (1, "cn/sh"), (2, "us/x")]));
    assert_eq!(seen(&keys[1], name), of(&[(0, "us/x"), (1, "cn/hz"), (1, "cn/sh")]));
    assert_eq!(seen(&keys[2], name), of(&[(0, "cn/hz"), (0, "cn/sh"), (0, "us/x")]));
    // The rule is for the host alone: its alias sees all of them as they are.
    assert_eq!(seen(&keys[0], "outbound|80||alias.example"), of(&[(0, "cn/hz"), (0, "cn/sh"), (0, "us/x")]));
}

#[test]
fn a_service_that_a_view_does_not_have_is_in_none_of_its_rules() {
    #[derive(Debug)]
    struct Only(&'static str);
    impl Select for Only {
        fn select(&self, service: &Arc<PublishedService>) -> Option<Arc<PublishedService>> {
            (service.host.as_str() == self.0).then(|| service.clone())
        }
    }
    let (mut fixture, _) = fixture("");
    let gateway = Gateway {
        name: "edge".into(),
        listen: "127.0.0.1:8080".parse().unwrap(),
        selector: BTreeMap::new(),
        hosts: true,
        paths: Template::parse_of_host("/{host}").ok(),
        tls: None,
    };
    fixture.translation.outputs.traffic.gateways = vec![gateway];
    let scoped = ViewKey { class: key("router,portolan").class, ..ViewKey::of_scope(Dialect::Envoy, "b") };
    fixture.add(scoped.clone(), Selection::by(Arc::new(Only("b.example"))));
    fixture.step(&catalog(Readiness::Complete, [service("a.example", &[], 1), service("b.example", &[], 1)]));
    let routes = fixture.generation(&scoped).get(Kind::Route).iter().next().cloned().expect("routes");
    let body = String::from_utf8_lossy(routes.body()).into_owned();
    assert!(body.contains("b.example") && !body.contains("a.example"), "{body}");
    assert_eq!(fixture.report(&scoped).findings, []);
}

#[test]
fn a_view_that_comes_later_has_the_last_good_form_of_what_is_refused_by_now() {
    #[derive(Debug)]
    struct Everything;
    impl Select for Everything {
        fn select(&self, service: &Arc<PublishedService>) -> Option<Arc<PublishedService>> {
            Some(service.clone())
        }
    }
    let (mut fixture, [_, edge, _]) = fixture(RULES);
    let now = catalog(Readiness::Complete, [labelled("a.example", &["v1"])]);
    fixture.step(&now);
    fixture.manifests = manifests(&RULES.replace("protocol: HTTP ", "protocol: WRONG "));
    fixture.step(&now);
    let scoped = ViewKey { class: edge.class.clone(), ..ViewKey::of_scope(Dialect::Envoy, "all") };
    fixture.add(scoped.clone(), Selection::by(Arc::new(Everything)));
    fixture.step(&now);
    assert_eq!(names(fixture.generation(&scoped), Kind::Listener), ["0.0.0.0_8080"]);
    assert_eq!(fixture.content(&scoped), fixture.content(&edge));
}

#[test]
fn a_namespace_that_is_the_default_of_export_to_tells_proxies_apart() {
    let (mut fixture, _) = fixture(RULES);
    let [shop, other] = ["router,shop,istio=edge", "router,-,istio=edge"].map(key);
    [&shop, &other].iter().for_each(|key| fixture.add((*key).clone(), Selection::default()));
    fixture.translation.outputs.traffic.mesh.virtual_service_export_to = vec!["shop".into(), ".".into()];
    let now = catalog(Readiness::Complete, [labelled("a.example", &["v1"])]);
    let namespaces = Book::default().advance(&now, &fixture.manifests, &fixture.translation).1.namespaces;
    assert_eq!(namespaces, BTreeSet::from(["portolan".into(), "shop".into()]));
    fixture.step(&now);
    let leads = |key: &ViewKey| {
        let routes = fixture.generation(key).get(Kind::Route).get("http.8080").cloned().unwrap();
        String::from_utf8_lossy(routes.body()).contains(SUBSET)
    };
    assert_eq!((leads(&shop), leads(&other)), (true, false));
}

fn any_step() -> impl Strategy<Value = (Vec<u8>, u8)> {
    (vec(0..4_u8, 0..4), 0..4_u8)
}

proptest! {
    #[test]
    fn any_way_to_rules_and_services_gives_what_they_alone_give(steps in vec(any_step(), 1..6)) {
        let texts = ["", RULES, &RULES[..RULES.rfind("---").unwrap()], &RULES[RULES.rfind("---").unwrap()..]];
        let hosts = ["a.example", "b.example", "shop.example", "c.example"];
        let (mut fixture, keys) = fixture("");
        let mut now = catalog(Readiness::Complete, []);
        for (services, rules) in steps {
            let services: BTreeMap<&str, PublishedService> = services
                .iter()
                .enumerate()
                .map(|(place, host)| (hosts[*host as usize], labelled(hosts[*host as usize], &["v1", "v2"][..=place % 2])))
                .collect();
            now = shared(&now, catalog(Readiness::Complete, services.into_values()));
            fixture.manifests = manifests(texts[rules as usize]);
            fixture.step(&now);
            let (mut fresh, _) = self::fixture(texts[rules as usize]);
            fresh.step(&now);
            for key in &keys {
                prop_assert_eq!(fixture.content(key), fresh.content(key), "{}", key);
                prop_assert_eq!(&fixture.report(key), &fresh.report(key));
            }
            prop_assert!(fixture.step(&now).is_empty(), "nothing changed");
        }
    }
}
