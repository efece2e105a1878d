//! What holds for any rules: order does not matter, a memo changes nothing, an instance touches nothing.

use super::*;
use crate::pb::istio::networking::v1alpha3::HttpRetry;
use proptest::prelude::*;

const HOSTS: [&str; 4] = ["a.example", "b.example", "c.example", "*.example"];

/// A rule out of a few kinds, with names of a few, so that they meet.
fn rule() -> impl Strategy<Value = String> {
    let name = 0..4_u8;
    let host = prop::sample::select(HOSTS.to_vec());
    let to = prop::sample::select(HOSTS[..3].to_vec());
    let namespace = prop::sample::select(vec!["shop", "other"]);
    let prefix = prop::sample::select(vec!["/", "/a", "/b"]);
    let gateway = prop::sample::select(vec!["[edge0]", "[edge1, mesh]", "[mesh]", "['shop/edge0']"]);
    let subset = prop::sample::select(vec!["v1", "v2"]);
    let (http, https) = (
        "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}",
        "{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*.example'], tls: {mode: SIMPLE, serverCertificate: /c, privateKey: /k}}",
    );
    let servers = prop::sample::select(vec![format!("[{http}]"), format!("[{https}]"), format!("[{http}, {https}]")]);
    let object = |kind: &str, namespace: &str, name: &str, spec: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
        )
    };
    (0..4_u8, name, host, to, namespace, prefix, gateway, subset, servers).prop_map(
        move |(kind, name, host, to, namespace, prefix, gateway, subset, servers)| match kind {
            0 => object("Gateway", namespace, &format!("edge{name}"), &format!("{{servers: {servers}}}")),
            1 => {
                let hash = "{loadBalancer: {consistentHash: {httpHeaderName: x}}}";
                let spec = format!("{{host: '{host}', trafficPolicy: {hash}, subsets: [{{name: {subset}, labels: {{version: {subset}}}}}]}}");
                object("DestinationRule", namespace, &format!("dr{name}"), &spec)
            }
            _ => {
                let route = format!("{{match: [{{uri: {{prefix: {prefix}}}}}], route: [{{destination: {{host: {to}, subset: {subset}}}}}]}}");
                let spec = format!("{{hosts: ['{host}'], gateways: {gateway}, http: [{route}, {{route: [{{destination: {{host: {to}}}}}]}}]}}");
                object("VirtualService", namespace, &format!("vs{name}"), &spec)
            }
        },
    )
}

/// Each kind and name once, as a store of manifests has it.
fn resources(rules: &[String]) -> Vec<(Kind, Arc<Resource>)> {
    let mut by_name = std::collections::BTreeMap::new();
    for (kind, resource) in rules.iter().flat_map(|rule| read(rule)) {
        by_name.entry((kind, resource.name().clone())).or_insert(resource);
    }
    by_name.into_iter().map(|((kind, _), resource)| (kind, resource)).collect()
}

fn proxies() -> [Proxy; 4] {
    ["router,shop", "router,other", "sidecar,shop,.bound,.http_proxy=15080", "grpc,shop"].map(proxy)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_in_which_rules_come_does_not_matter(rules in prop::collection::vec(rule(), 0..10)) {
        let (mesh, shapes) = (Mesh::default(), shapes(&["a.example", "b.example 80 81", "c.example 8080"]));
        let there = resources(&rules);
        let mut back = there.clone();
        back.reverse();
        let (there, back) = (rules_of(&there, &Rules::default(), &mesh), rules_of(&back, &Rules::default(), &mesh));
        prop_assert_eq!(there.findings(), back.findings());
        for proxy in proxies() {
            let one = traffic(&proxy, &there, &shapes, &mesh, &mut Memo::default());
            let other = traffic(&proxy, &back, &shapes, &mesh, &mut Memo::default());
            prop_assert_eq!(one, other);
        }
    }

    /// Whatever was made before, the same comes out as from nothing.
    #[test]
    fn a_memo_changes_nothing(
        steps in prop::collection::vec((prop::collection::vec(rule(), 0..8), 0..4_usize, any::<bool>()), 1..5)
    ) {
        let meshes = [false, true].map(|retries| Mesh {
            default_retries: (!retries).then(HttpRetry::default),
            ..Mesh::default()
        });
        let worlds = [&["a.example", "b.example"][..], &["a.example 81", "b.example"], &["a.example"], &[]];
        for proxy in proxies() {
            let (mut memo, mut before) = (Memo::default(), Rules::default());
            for (rules, world, retries) in &steps {
                let (resources, shapes) = (resources(rules), shapes(worlds[*world]));
                let mesh = &meshes[usize::from(*retries)];
                let rules = rules_of(&resources, &before, mesh);
                let fresh = rules_of(&resources, &Rules::default(), mesh);
                let with = traffic(&proxy, &rules, &shapes, mesh, &mut memo);
                let without = traffic(&proxy, &fresh, &shapes, mesh, &mut Memo::default());
                prop_assert_eq!(with, without);
                before = rules;
            }
        }
    }

    /// Every resource is one that its kind's message reads, and every configuration that a listener asks for is there.
    #[test]
    fn every_configuration_that_a_listener_asks_for_is_there(rules in prop::collection::vec(rule(), 0..10)) {
        let shapes = shapes(&["a.example", "b.example 80 81", "c.example 8080"]);
        let rules = rules_of(&resources(&rules), &Rules::default(), &Mesh::default());
        for proxy in proxies() {
            let traffic = traffic(&proxy, &rules, &shapes, &Mesh::default(), &mut Memo::default());
            let routes = names(&traffic, Kind::Route);
            for (kind, resource) in &traffic.resources {
                let text = json(*kind, resource).to_string();
                for asked in text.split("\"routeConfigName\":\"").skip(1) {
                    let asked = asked.split('"').next().unwrap();
                    prop_assert!(routes.iter().any(|name| name == asked), "{} asks for {asked}", resource.name());
                }
            }
        }
    }
}

/// An instance that comes, goes or changes is nothing that rules can see.
#[test]
fn an_instance_touches_no_shape() {
    let options = envoy::Options::default();
    let none: &dyn Fn(&str) -> Vec<IpNet> = &|_| Vec::new();
    let mut service = service("orders.example", "80");
    let owner = Owner::Registry(service.host.clone());
    let mut shapes = Shapes::default();
    assert!(shapes.replace(&owner, Some((&service, &origin(), none)), &options));
    for address in ["10.0.0.1", "10.0.0.2"] {
        let ports = [("p80".into(), Port::new(8080).unwrap())].into();
        service.endpoints.push(PublishedEndpoint::new(Address::parse(address).unwrap(), ports));
        assert!(!shapes.replace(&owner, Some((&service, &origin(), none)), &options));
    }
    service.endpoints.clear();
    assert!(!shapes.replace(&owner, Some((&service, &origin(), none)), &options));
}

/// One VirtualService of many costs one list of routes; the others stay the same values.
#[test]
fn a_change_of_one_rule_makes_one_list_anew() {
    let rule = |number: u32, prefix: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: vs{number}}}\nspec: {{hosts: [h{number}.example], gateways: [edge], http: [{{match: [{{uri: {{prefix: {prefix}}}}}], route: [{{destination: {{host: h{number}.example}}}}]}}]}}\n"
        )
    };
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge}\nspec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}\n";
    let (mesh, shapes) = (Mesh::default(), shapes(&["h1.example", "h2.example", "h3.example"]));
    let mut all = read(&format!("{gateway}{}{}{}", rule(1, "/a"), rule(2, "/a"), rule(3, "/a")));
    let first = rules_of(&all, &Rules::default(), &mesh);
    let mut memo = Memo::default();
    let before = traffic(&router(), &first, &shapes, &mesh, &mut memo);
    let changed = read(&rule(2, "/b")).remove(0);
    let place =
        all.iter().position(|(kind, resource)| *kind == changed.0 && resource.name() == changed.1.name()).unwrap();
    all[place] = changed;
    let second = rules_of(&all, &first, &mesh);
    assert!(second.same_destinations(&first));
    let same =
        first.0.virtual_services.iter().zip(&second.0.virtual_services).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
    assert_eq!(same, 2);
    let after = traffic(&router(), &second, &shapes, &mesh, &mut memo);
    let differing = before.resources.iter().zip(&after.resources).filter(|(a, b)| a != b).count();
    assert_eq!((differing, before.resources.len()), (1, 2), "the configuration of routes and not the listener");
}
