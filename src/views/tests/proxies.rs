//! Views of proxies by class: what rules make of services, and what an instance does not touch.

use super::*;
use crate::{
    model::Proxy,
    translate::{gateway::Gateway, istio::manifest},
};
use proptest::{collection::vec, prelude::*};

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

fn manifests(text: &str) -> Arc<Snapshot> {
    let read = manifest::read("m", text, &"portolan".into(), 0).unwrap();
    let resources = read.into_iter().map(|(kind, r)| ((kind, r.name().clone()), Arc::new(r))).collect();
    Arc::new(Snapshot { readiness: Some(Readiness::Complete), resources, ..Snapshot::default() })
}

fn key(class: &str) -> ViewKey {
    let proxy: Proxy = class.parse().unwrap();
    ViewKey { class: Class { proxy: Some(Arc::new(proxy)) }, ..ViewKey::whole(Dialect::Envoy) }
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
fn what_no_rule_concerns_is_the_same_value_in_every_class() {
    let (mut fixture, [plain, ..]) = fixture(RULES);
    let sidecar = key("sidecar,portolan");
    fixture.add(sidecar.clone(), Selection::default());
    fixture.step(&catalog(Readiness::Complete, [labelled("a.example", &["v1"]), service("b.example", &[], 1)]));
    for name in ["outbound|80||b.example", SUBSET] {
        let of = |key: &ViewKey| fixture.generation(key).get(Kind::Cluster).get(name).cloned().unwrap();
        assert!(Arc::ptr_eq(&of(&plain), &of(&sidecar)), "{name}");
    }
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
    fixture.translation.traffic.gateways = vec![gateway];
    let scoped = ViewKey { class: key("router,portolan").class, ..ViewKey::of_scope(Dialect::Envoy, "b") };
    fixture.add(scoped.clone(), Selection::by(Arc::new(Only("b.example"))));
    fixture.step(&catalog(Readiness::Complete, [service("a.example", &[], 1), service("b.example", &[], 1)]));
    let routes = fixture.generation(&scoped).get(Kind::Route).iter().next().cloned().expect("routes");
    let body = String::from_utf8_lossy(routes.body()).into_owned();
    assert!(body.contains("b.example") && !body.contains("a.example"), "{body}");
    assert_eq!(fixture.report(&scoped).findings, []);
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
