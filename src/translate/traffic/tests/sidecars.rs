//! Sidecars: listeners and virtual hosts in their three ways.

use super::*;

fn virtual_service(name: &str, hosts: &str, http: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec: {{hosts: [{hosts}], http: [{http}]}}\n"
    )
}

fn to(host: &str) -> String {
    format!("{{route: [{{destination: {{host: {host}}}}}]}}")
}

/// The virtual hosts of a configuration: domains, and the cluster of the first route.
fn hosts(traffic: &Traffic, name: &str) -> Vec<String> {
    let value = found(&traffic.resources, Kind::Route, name);
    let text = |host: &Value| {
        let domains: Vec<_> =
            host["domains"].as_array().unwrap().iter().map(|domain| domain.as_str().unwrap()).collect();
        let route = host.pointer("/routes/0").unwrap();
        let to = route.pointer("/route/cluster").and_then(Value::as_str).map(str::to_owned);
        let to = to.or_else(|| route.pointer("/directResponse/status").map(ToString::to_string)).unwrap_or_default();
        format!("{} > {to}", domains.join(","))
    };
    value["virtualHosts"].as_array().unwrap().iter().map(text).collect()
}

const SERVICES: [&str; 5] = [
    "orders.example",
    "users.example 80@241.0.0.7",
    "web.example 8080",
    "db.example 5432/tcp@241.0.0.9",
    "pay.example 443/tls",
];

#[test]
fn a_redirected_sidecar_has_listeners_for_ports_and_addresses() {
    let traffic = made(&proxy("sidecar,shop"), "", &SERVICES);
    assert_eq!(
        names(&traffic, Kind::Listener),
        ["0.0.0.0_443", "0.0.0.0_80", "0.0.0.0_8080", "241.0.0.9_5432", "virtualOutbound"]
    );
    assert_eq!(names(&traffic, Kind::Route), ["80", "8080"]);
    assert_eq!(names(&traffic, Kind::Cluster), ["BlackHoleCluster", "PassthroughCluster"]);
    assert_eq!(
        hosts(&traffic, "80"),
        [
            "orders.example,orders.example. > outbound|80||orders.example",
            "users.example,users.example.,241.0.0.7 > outbound|80||users.example",
            "* > PassthroughCluster",
        ]
    );
    let http = found(&traffic.resources, Kind::Listener, "0.0.0.0_80");
    expect(
        &http,
        &[
            ("/bindToPort", "false"),
            ("/listenerFilters/0/name", "\"envoy.filters.listener.http_inspector\""),
            ("/filterChains/0/filterChainMatch/applicationProtocols", "[\"http/1.0\", \"http/1.1\", \"h2c\"]"),
            ("/filterChains/0/filters/0/typedConfig/rds/routeConfigName", "\"80\""),
            ("/defaultFilterChain/filters/0/typedConfig/cluster", "\"PassthroughCluster\""),
        ],
    );
    let tls = found(&traffic.resources, Kind::Listener, "0.0.0.0_443");
    expect(
        &tls,
        &[
            ("/filterChains/0/filterChainMatch/serverNames", "[\"pay.example\"]"),
            ("/filterChains/0/filters/0/typedConfig/cluster", "\"outbound|443||pay.example\""),
        ],
    );
    let tcp = found(&traffic.resources, Kind::Listener, "241.0.0.9_5432");
    expect(&tcp, &[("/filterChains/0/filters/0/typedConfig/cluster", "\"outbound|5432||db.example\"")]);
    let outbound = found(&traffic.resources, Kind::Listener, "virtualOutbound");
    expect(
        &outbound,
        &[
            ("/useOriginalDst", "true"),
            ("/address/socketAddress/portValue", "15001"),
            ("/filterChains/0/filterChainMatch/destinationPort", "15001"),
            ("/filterChains/0/filters/0/typedConfig/cluster", "\"BlackHoleCluster\""),
            ("/filterChains/1/filters/0/typedConfig/cluster", "\"PassthroughCluster\""),
        ],
    );
}

#[test]
fn a_bound_sidecar_takes_ports_itself_and_may_be_an_http_proxy() {
    let mesh = Mesh { outbound_policy: OutboundPolicy::RegistryOnly, ..Mesh::default() };
    let proxy = proxy("sidecar,shop,.bound,.http_proxy=15080");
    let traffic = traffic(&proxy, &Rules::default(), &shapes(&SERVICES), &mesh, &mut Memo::default());
    assert_eq!(
        names(&traffic, Kind::Listener),
        ["127.0.0.1_15080", "127.0.0.1_443", "127.0.0.1_5432", "127.0.0.1_80", "127.0.0.1_8080"]
    );
    assert_eq!(names(&traffic, Kind::Route), ["80", "8080", "http_proxy"]);
    assert_eq!(
        hosts(&traffic, "http_proxy"),
        [
            "orders.example,orders.example:80,orders.example.,orders.example.:80 > outbound|80||orders.example",
            "users.example,users.example:80,users.example.,users.example.:80,241.0.0.7,241.0.0.7:80 > outbound|80||users.example",
            "web.example:8080,web.example.:8080 > outbound|8080||web.example",
            "* > 502",
        ]
    );
    let listener = found(&traffic.resources, Kind::Listener, "127.0.0.1_15080");
    expect(
        &listener,
        &[
            ("/bindToPort", "true"),
            ("/filterChains/0/filters/0/typedConfig/httpProtocolOptions/allowAbsoluteUrl", "true"),
            ("/filterChains/0/filters/0/typedConfig/useRemoteAddress", "false"),
        ],
    );
    let http = found(&traffic.resources, Kind::Listener, "127.0.0.1_80");
    expect(
        &http,
        &[("/bindToPort", "true"), ("/filterChains/0/filterChainMatch", "null"), ("/listenerFilters", "null")],
    );
}

#[test]
fn the_first_virtual_service_of_a_host_counts() {
    let yaml = virtual_service("a", "orders.example", &to("users.example"))
        + &virtual_service("b", "orders.example, other.example", &to("orders.example"))
        + &virtual_service("c", "'*.example'", &to("web.example"));
    let traffic = made(&proxy("sidecar,shop"), &yaml, &SERVICES);
    assert_eq!(
        hosts(&traffic, "80"),
        [
            "orders.example,orders.example. > outbound|80||users.example",
            "other.example > outbound|80||orders.example",
            // For a sidecar a service has the port that it asks for and no other.
            "users.example,users.example.,241.0.0.7 > outbound|80||web.example",
            "* > PassthroughCluster",
        ]
    );
    assert_eq!(
        hosts(&traffic, "8080"),
        ["web.example,web.example. > outbound|8080||web.example", "* > PassthroughCluster"]
    );
    let taken = traffic.findings.iter().filter(|finding| finding.code == Code::HostTaken).count();
    assert_eq!(taken, 1, "{:?}", traffic.findings);
}

#[test]
fn hosts_that_are_no_services_are_on_port_80_alone() {
    let yaml = virtual_service("a", "nobody.example", &to("web.example"));
    let traffic = made(&proxy("sidecar,shop"), &yaml, &SERVICES);
    assert!(hosts(&traffic, "80").iter().any(|host| host.starts_with("nobody.example >")));
    assert!(!hosts(&traffic, "8080").iter().any(|host| host.starts_with("nobody.example")));
}

#[test]
fn routes_without_a_match_leave_the_service_as_it_is() {
    let yaml = virtual_service(
        "a",
        "orders.example",
        "{match: [{sourceLabels: {a: b}}], route: [{destination: {host: users.example}}]}",
    );
    let traffic = made(&proxy("sidecar,shop"), &yaml, &SERVICES);
    assert_eq!(hosts(&traffic, "80")[0], "orders.example,orders.example. > outbound|80||orders.example");
    let traffic = made(&proxy("sidecar,shop,a=b"), &yaml, &SERVICES);
    assert_eq!(hosts(&traffic, "80")[0], "orders.example,orders.example. > outbound|80||users.example");
}

#[test]
fn a_sidecar_narrows_what_is_seen() {
    let yaml = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default}\nspec:\n  outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n  egress:\n  - {port: {number: 9080, protocol: HTTP_PROXY, name: p}, captureMode: NONE, hosts: ['*/users.example']}\n  - {hosts: ['portolan/orders.example']}\n";
    let traffic = made(&proxy("sidecar,shop"), yaml, &SERVICES);
    assert_eq!(names(&traffic, Kind::Listener), ["0.0.0.0_80", "127.0.0.1_9080", "virtualOutbound"]);
    assert_eq!(hosts(&traffic, "80"), ["orders.example,orders.example. > outbound|80||orders.example", "* > 502"]);
    assert_eq!(
        hosts(&traffic, "9080")[0],
        "users.example,users.example:80,users.example.,users.example.:80,241.0.0.7,241.0.0.7:80 > outbound|80||users.example"
    );
    assert_eq!(names(&made(&proxy("sidecar,other"), yaml, &SERVICES), Kind::Listener).len(), 5);
}

#[test]
fn a_sidecar_imports_a_host_as_its_users_spell_it() {
    let spelled = PublishedService { spelling: Some("com.foo.Bar".into()), ..service("com.foo.bar", "80") };
    let (owner, mut shapes) = (Owner::Registry(spelled.host.clone()), shapes(&["orders.example"]));
    shapes.replace(&owner, Some((&spelled, &origin(), &|_| Vec::new())), &envoy::Options::default());
    let yaml = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default}\nspec: {egress: [{hosts: ['*/com.foo.Bar']}]}\n";
    let traffic = traffic(&proxy("sidecar,shop"), &rules(yaml), &shapes, &Mesh::default(), &mut Memo::default());
    assert_eq!(
        hosts(&traffic, "80"),
        ["com.foo.bar,com.foo.bar. > outbound|80||com.foo.Bar", "* > PassthroughCluster"]
    );
    assert_eq!(traffic.clusters.into_iter().flatten().collect::<Vec<_>>(), [Name::from("outbound|80||com.foo.Bar")]);
}

#[test]
fn bytes_of_sidecars_are_routed_by_their_rules() {
    let yaml = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: db}\nspec:\n  hosts: [db.example, pay.example]\n  tcp: [{match: [{destinationSubnets: [10.0.0.0/8]}], route: [{destination: {host: orders.example}}]}, {match: [{gateways: [edge]}], route: [{destination: {host: users.example}}]}]\n  tls: [{match: [{sniHosts: [pay.example]}], route: [{destination: {host: users.example}}]}]\n";
    let traffic = made(&proxy("sidecar,shop"), yaml, &SERVICES);
    let tcp = found(&traffic.resources, Kind::Listener, "241.0.0.9_5432");
    expect(
        &tcp,
        &[
            ("/filterChains/0/filterChainMatch/prefixRanges", "[{\"addressPrefix\": \"10.0.0.0\", \"prefixLen\": 8}]"),
            ("/filterChains/0/filters/0/typedConfig/cluster", "\"outbound|80||orders.example\""),
            ("/defaultFilterChain/filters/0/typedConfig/cluster", "\"outbound|5432||db.example\""),
        ],
    );
    let tls = found(&traffic.resources, Kind::Listener, "0.0.0.0_443");
    expect(&tls, &[("/filterChains/0/filters/0/typedConfig/cluster", "\"outbound|80||users.example\"")]);
}

#[test]
fn a_sidecar_has_the_clusters_that_it_imports_and_those_that_imported_routes_lead_to() {
    let sidecar = |egress: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: s}}\nspec: {{egress: [{egress}]}}\n"
        )
    };
    let rule = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d}\nspec: {host: b.example, subsets: [{name: v1, labels: {v: a}}]}\n";
    let routes = "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [a.example]
  http:
  - match: [{sourceNamespace: other}]
    route: [{destination: {host: d.example}}]
  - route: [{destination: {host: b.example, port: {number: 80}}}]
    mirror: {host: c.example}
";
    let services = ["a.example 80 81", "b.example 80 81", "c.example 80 81", "d.example 80", "e.example 80"];
    for (egress, expected) in [
        ("{hosts: ['*/a.example']}", &["80||a", "80||b", "80||c", "80|v1|b", "81||a", "81||c"][..]),
        (
            "{port: {number: 81, name: p, protocol: HTTP}, hosts: ['*/a.example']}",
            &["81||a", "81||b", "81||c", "81|v1|b"],
        ),
        (
            "{port: {number: 80, name: p, protocol: HTTP}, hosts: ['*/d.example']}, {hosts: ['*/e.example']}",
            &["80||d", "80||e"],
        ),
        ("{port: {number: 7000, name: p, protocol: HTTP_PROXY}, bind: 127.0.0.1, hosts: ['*/d.example']}", &["80||d"]),
    ] {
        let traffic = made(&proxy("sidecar,shop"), &format!("{}{rule}{routes}", sidecar(egress)), &services);
        let names: Vec<String> = traffic.clusters.unwrap().iter().map(ToString::to_string).collect();
        let mut expected: Vec<String> = expected.iter().map(|name| format!("outbound|{name}.example")).collect();
        expected.sort();
        assert_eq!(names, expected, "{egress}");
    }
    let all = made(&proxy("sidecar,shop"), routes, &services);
    assert_eq!(all.clusters, None, "nothing says what it sees");
}

#[test]
fn a_sidecar_has_no_cluster_of_what_is_not_exported_to_it() {
    let mut shapes = shapes(&["a.example"]);
    let hidden = service("hidden.example", "80");
    let origin = Origin { namespace: "bank".into(), export_to: vec![".".into()], ..Origin::default() };
    let owner = Owner::Registry(hidden.host.clone());
    shapes.replace(&owner, Some((&hidden, &origin, &|_| Vec::new())), &envoy::Options::default());
    let yaml = virtual_service("v", "a.example", &to("hidden.example"));
    let clusters = |who: &str| {
        let made = traffic(&proxy(who), &rules(&yaml), &shapes, &Mesh::default(), &mut Memo::default());
        made.clusters.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(clusters("sidecar,shop"), Some(vec!["outbound|80||a.example".into()]));
    assert_eq!(clusters("sidecar,bank"), None, "it sees all");
}

#[test]
fn what_is_not_imported_takes_no_host_from_a_wildcard() {
    let sidecar = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default}\nspec:\n  egress:\n  - {port: {number: 80, protocol: HTTP, name: p}, hosts: ['*/*']}\n  - {hosts: ['./*', 'portolan/*']}\n";
    let near = virtual_service("near, namespace: bank", "web.example", &to("users.example"));
    let far = virtual_service("far", "'*.example'", &to("orders.example"));
    let traffic = made(&proxy("sidecar,shop"), &format!("{sidecar}{near}{far}"), &SERVICES);
    assert_eq!(hosts(&traffic, "8080")[0], "web.example,web.example. > outbound|8080||orders.example");
}
