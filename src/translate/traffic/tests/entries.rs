//! ServiceEntries: which services they are, and what of them is refused.

use super::*;

fn entry(spec: &str) -> Rules {
    rules(&format!("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: e}}\nspec: {{{spec}}}\n"))
}

/// The hosts of services that the entries declare, with what proxies make of them.
fn declared(proxy: &Proxy, yaml: &str) -> (Traffic, Vec<(Kind, Resource)>) {
    let (rules, mut shapes, options) = (rules(yaml), Shapes::default(), envoy::Options::default());
    assert_eq!(codes(rules.findings()), Vec::<String>::new());
    let mut clusters = Vec::new();
    for (owner, service, origin) in rules.services() {
        let addresses: &dyn Fn(&str) -> Vec<IpNet> = &|_| origin.addresses.clone();
        shapes.replace(owner, Some((service, origin, addresses)), &options);
        clusters.extend(super::super::service(service, origin, proxy, &rules, &Mesh::default(), &options).0);
    }
    (traffic(proxy, &rules, &shapes, &Mesh::default(), &mut Memo::default()), clusters)
}

const MANY: &str = "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: all}
spec:
  hosts: ['*.Wild.example', own.wild.example]
  resolution: NONE
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: part}
spec:
  hosts: ['*-part.example']
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 192.0.2.1}]
";

#[test]
fn an_entry_may_stand_for_all_hosts_of_a_domain() {
    let (traffic, clusters) = declared(&proxy("sidecar,shop,.http_proxy=15080"), MANY);
    let domains = |routes: &str| {
        let hosts = found(&traffic.resources, Kind::Route, routes)["virtualHosts"].as_array().cloned().unwrap();
        hosts.iter().map(|host| host["domains"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        domains("80"),
        [
            r#"["*-part.example","*-part.example."]"#,
            r#"["*.wild.example","*.wild.example."]"#,
            r#"["own.wild.example","own.wild.example."]"#,
            r#"["*"]"#
        ]
    );
    assert!(domains("http_proxy")[1].contains(r#""*.wild.example:80""#));
    let tls = found(&traffic.resources, Kind::Listener, "0.0.0.0_443");
    let chains = tls["filterChains"].as_array().cloned().unwrap();
    let names: Vec<String> = chains.iter().map(|chain| chain["filterChainMatch"]["serverNames"].to_string()).collect();
    assert_eq!(names, [r#"["*.wild.example"]"#, r#"["own.wild.example"]"#]);
    for (name, kind) in [
        ("outbound|80||*.wild.example", "\"ORIGINAL_DST\""),
        ("outbound|443||own.wild.example", "\"ORIGINAL_DST\""),
        ("outbound|80||*-part.example", "\"EDS\""),
    ] {
        expect(&found(&clusters, Kind::Cluster, name), &[("/type", kind)]);
    }
}

/// They ask for hosts by name.
#[test]
fn programs_have_no_listener_for_a_wildcard() {
    let (traffic, _) = declared(&proxy("grpc,shop"), MANY);
    assert_eq!(names(&traffic, Kind::Listener), ["own.wild.example", "own.wild.example:80"]);
}

/// A name in a namespace alone would be `*`, which is every host's.
#[test]
fn a_wildcard_has_short_names_that_have_a_dot() {
    let (rules, mut shapes) =
        (entry("hosts: ['*.shop.svc.mesh'], ports: [{number: 80, name: h, protocol: HTTP}]"), Shapes::default());
    let mesh = Mesh { domain_suffix: Some("mesh".into()), ..Mesh::default() };
    for (owner, service, origin) in rules.services() {
        shapes.replace(owner, Some((service, origin, &|_| Vec::new())), &envoy::Options::default());
    }
    let traffic = traffic(&proxy("sidecar,shop"), &rules, &shapes, &mesh, &mut Memo::default());
    let hosts = found(&traffic.resources, Kind::Route, "80");
    expect(
        &hosts,
        &[
            ("/virtualHosts/0/domains", r#"["*.shop.svc.mesh","*.shop.svc.mesh.","*.shop","*.shop.svc"]"#),
            ("/virtualHosts/1/domains", r#"["*"]"#),
        ],
    );
}

#[test]
fn an_entry_whose_hosts_would_multiply_its_endpoints_is_refused() {
    let list = |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<Vec<_>>().join(", ");
    let of = |hosts: usize, endpoints: usize, labels: usize| {
        let hosts = list(hosts, &|n| format!("h{n}.example"));
        let labels = list(labels, &|n| format!("label-{n}: value-{n}"));
        let address = |n: usize| format!("10.0.{}.{}", n / 256, n % 256);
        let endpoints = list(endpoints, &|n| format!("{{address: {}, labels: {{{labels}}}}}", address(n)));
        entry(&format!(
            "hosts: [{hosts}], resolution: STATIC, ports: [{{number: 80, name: h, protocol: HTTP}}], endpoints: [{endpoints}]"
        ))
    };
    for some in [of(3, 700, 0), of(3, 100, 50)] {
        assert_eq!((codes(some.findings()), some.services().count()), (vec![], 3));
    }
    // Labels count, too: each host has them.
    for many in [of(750, 700, 0), of(750, 100, 50)] {
        assert_eq!((codes(many.findings()), many.services().count()), (vec!["field_refused shop/e hosts".into()], 0));
    }
}

#[test]
fn a_port_that_no_proxy_serves_is_told() {
    let rules = entry(
        "hosts: [a.example], ports: [{number: 80, name: h, protocol: HTTP}, {number: 81, name: raw}, {number: 82, name: dns, protocol: UDP}]",
    );
    let told = ["port_skipped shop/e ports[1].protocol", "port_skipped shop/e ports[2].protocol"];
    assert_eq!(codes(rules.findings()), told);
    let ports = rules.services().map(|(_, service, _)| service.ports.len()).collect::<Vec<_>>();
    assert_eq!(ports, [1]);
}

#[test]
fn a_weight_beyond_the_greatest_is_the_greatest() {
    let weights = |weight: u32| {
        let rules = entry(&format!(
            "hosts: [a.example], resolution: STATIC, ports: [{{number: 80, name: h, protocol: HTTP}}], endpoints: [{{address: 10.0.0.1, weight: {weight}}}]"
        ));
        rules.services().map(|(_, service, _)| service.endpoints[0].weight.get()).collect::<Vec<_>>()
    };
    assert_eq!([0, 7, 2_000_000].map(weights), [vec![1.0], vec![7.0], vec![1_000_000.0]]);
}

#[test]
fn what_envoy_would_not_take_of_a_wildcard_is_refused() {
    let rules = entry("hosts: ['*part.example'], ports: [{number: 443, name: tls, protocol: TLS}]");
    assert_eq!(codes(rules.findings()), ["field_refused shop/e hosts"]);
    assert_eq!(rules.services().count(), 0);
    for hosts in ["'*'", "'*.*.example'", "'a.*.example'"] {
        let yaml = format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: e}}\nspec: {{hosts: [{hosts}], ports: [{{number: 80, name: http, protocol: HTTP}}]}}\n"
        );
        let wrong = manifest::read("in.yaml", &yaml, &NAMESPACE.into(), 0).unwrap_err();
        assert!(wrong.to_string().contains("Istio would refuse"), "{hosts}: {wrong}");
    }
}
