//! Servers merged, listeners, hosts of routes.

use super::*;

fn gateway(name: &str, servers: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec: {{selector: {{istio: ingressgateway}}, servers: [{servers}]}}\n"
    )
}

fn virtual_service(name: &str, hosts: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec: {{hosts: [{hosts}], gateways: [a, b], {spec}}}\n"
    )
}

fn to(host: &str) -> String {
    format!("http: [{{route: [{{destination: {{host: {host}}}}}]}}]")
}

fn server(number: u32, protocol: &str, hosts: &str, rest: &str) -> String {
    format!("{{port: {{number: {number}, name: p{number}{protocol}, protocol: {protocol}}}, hosts: [{hosts}]{rest}}}")
}

const TLS: &str = ", tls: {mode: SIMPLE, serverCertificate: /tls/cert.pem, privateKey: /tls/key.pem}";

/// What is served, in words: listeners, configurations with the domains of each virtual host, findings.
fn summary(yaml: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
    let traffic = made(&router(), yaml, &["orders.example", "db.example 5432/tcp"]);
    let routes = names(&traffic, Kind::Route).into_iter().map(|name| {
        let value = found(&traffic.resources, Kind::Route, &name);
        let hosts = value["virtualHosts"].as_array().unwrap().iter().map(|host| {
            let domains: Vec<_> =
                host["domains"].as_array().unwrap().iter().map(|domain| domain.as_str().unwrap()).collect();
            let count = host["routes"].as_array().map_or(0, Vec::len);
            format!("{} {count}", domains.join(","))
        });
        format!("{name}: {}", hosts.collect::<Vec<_>>().join("; "))
    });
    let routes = routes.collect();
    let mut findings = rules(yaml).findings().to_vec();
    findings.extend(traffic.findings.iter().cloned());
    findings.retain(|finding| finding.code != Code::GatewayUnknown);
    (names(&traffic, Kind::Listener), routes, codes(&findings))
}

#[track_caller]
fn check(yaml: &str, listeners: &[&str], routes: &[&str], findings: &[&str]) {
    let (are, served, said) = summary(yaml);
    assert_eq!((are, served, said), (owned(listeners), owned(routes), owned(findings)), "{yaml}");
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[test]
fn servers_of_one_port_are_merged_as_in_istio() {
    let http = server(80, "HTTP", "'a.example'", "");
    let http2 = server(80, "HTTP2", "'b.example'", "");
    let https = server(80, "HTTPS", "'c.example'", TLS);
    let tcp = server(80, "TCP", "'*'", "");
    let both = gateway("a", &http) + &gateway("b", &http2);
    check(&both, &["0.0.0.0_80"], &["http.80: * 0"], &[]);
    // What comes first decides.
    check(
        &(gateway("a", &http) + &gateway("b", &https)),
        &["0.0.0.0_80"],
        &["http.80: * 0"],
        &["server_skipped shop/b servers[0]"],
    );
    check(
        &(gateway("a", &https) + &gateway("b", &http)),
        &["0.0.0.0_80"],
        &["http.80: * 0", "https.80.p80HTTPS.a.shop: * 0"],
        &[],
    );
    check(
        &(gateway("a", &http) + &gateway("b", &tcp)),
        &["0.0.0.0_80"],
        &["http.80: * 0"],
        &["server_skipped shop/b servers[0]"],
    );
    // Another address is another listener.
    let bound = server(80, "TCP", "'*'", ", bind: 10.0.0.1");
    let db = virtual_service("db", "'*.example'", "tcp: [{route: [{destination: {host: db.example}}]}]");
    check(&(gateway("a", &http) + &gateway("b", &bound) + &db), &["0.0.0.0_80", "10.0.0.1_80"], &["http.80: * 0"], &[]);
    // A host with TLS is there once for a port.
    check(
        &(gateway("a", &server(443, "HTTPS", "c.example", TLS))
            + &gateway("b", &server(443, "HTTPS", "'c.example', 'd.example'", TLS))),
        &["0.0.0.0_443"],
        &["https.443.p443HTTPS.a.shop: * 0"],
        &["server_skipped shop/b servers[0]"],
    );
    // TCP that no rule is for is not served.
    check(&gateway("a", &server(5432, "TCP", "'*'", "")), &[], &[], &["rule_unused shop/a servers[0]"]);
}

#[test]
fn virtual_services_meet_servers_by_host_and_namespace() {
    let any = gateway("a", &server(80, "HTTP", "'*.example', 'other/*.org', '.\u{2f}own.net'", ""));
    for (hosts, routes) in [
        ("x.example", "http.80: x.example 1"),
        ("'*.x.example'", "http.80: *.x.example 1"),
        ("X.Example", "http.80: x.example 1"),
        ("'*.com'", "http.80: * 0"),
        ("a.org", "http.80: * 0"),
        ("own.net", "http.80: own.net 1"),
        ("x.example, y.example", "http.80: x.example,y.example 1"),
    ] {
        check(&(any.clone() + &virtual_service("vs", hosts, &to("orders.example"))), &["0.0.0.0_80"], &[routes], &[]);
    }
}

#[test]
fn hosts_meet_whatever_their_case_is() {
    let servers = [
        server(80, "HTTP", "Shop.Example, '*/*.Net'", ""),
        server(443, "TLS", "Pay.Example", ", tls: {mode: PASSTHROUGH}"),
    ];
    let gateway = gateway("a", &servers.join(", "));
    for (hosts, routes) in [
        ("Shop.Example", "http.80: shop.example 1"),
        ("shop.EXAMPLE", "http.80: shop.example 1"),
        ("A.Net", "http.80: a.net 1"),
    ] {
        let skipped = "rule_unused shop/a servers[1]";
        check(
            &(gateway.clone() + &virtual_service("vs", hosts, &to("orders.example"))),
            &["0.0.0.0_80"],
            &[routes],
            &[skipped],
        );
    }
    let tls = "tls: [{match: [{sniHosts: [Pay.Example, Pay.Example]}], route: [{destination: {host: db.example, port: {number: 5432}}}]}]";
    let traffic = made(&router(), &(gateway + &virtual_service("vs", "Pay.Example", tls)), &["db.example 5432/tcp"]);
    let listener = found(&traffic.resources, Kind::Listener, "0.0.0.0_443");
    expect(&listener, &[("/filterChains/0/filterChainMatch/serverNames", "[\"pay.example\"]")]);
}

/// Routes of several VirtualServices are appended, and those that take everything come last.
#[test]
fn routes_of_one_host_are_appended_with_catch_alls_last() {
    let gateway = gateway("a", &server(80, "HTTP", "'*'", ""));
    let first = virtual_service(
        "a",
        "x.example",
        "http: [{match: [{uri: {prefix: /a}}], route: [{destination: {host: a1.example}}]}, {route: [{destination: {host: a2.example}}]}]",
    );
    let second = virtual_service(
        "b",
        "x.example",
        "http: [{match: [{uri: {prefix: /b}}], route: [{destination: {host: b1.example}}]}, {route: [{destination: {host: b2.example}}]}]",
    );
    for yaml in [gateway.clone() + &first + &second, gateway + &second + &first] {
        let traffic = made(&router(), &yaml, &["a1.example", "a2.example", "b1.example", "b2.example"]);
        let value = found(&traffic.resources, Kind::Route, "http.80");
        let routes = value.pointer("/virtualHosts/0/routes").unwrap().as_array().unwrap();
        let clusters: Vec<_> =
            routes.iter().map(|route| route.pointer("/route/cluster").unwrap().as_str().unwrap()).collect();
        assert_eq!(clusters, ["a1", "b1", "a2", "b2"].map(|host| format!("outbound|80||{host}.example")));
        let reached: Vec<_> = traffic.clusters.iter().flatten().map(|name| name.to_string()).collect();
        assert_eq!(reached, ["a1", "a2", "b1", "b2"].map(|host| format!("outbound|80||{host}.example")));
    }
}

#[test]
fn requests_without_tls_are_sent_to_https() {
    let redirect = server(80, "HTTP", "x.example, y.example", ", tls: {httpsRedirect: true}");
    let yaml = gateway("a", &redirect) + &virtual_service("vs", "x.example", &to("orders.example"));
    let value = found(&made(&router(), &yaml, &["orders.example"]).resources, Kind::Route, "http.80");
    expect(
        &value,
        &[
            ("/virtualHosts/0/name", "\"x.example:80\""),
            ("/virtualHosts/0/requireTls", "\"ALL\""),
            ("/virtualHosts/0/includeRequestAttemptCount", "true"),
            ("/virtualHosts/1/name", "\"y.example:80\""),
            ("/virtualHosts/1/requireTls", "\"ALL\""),
            ("/virtualHosts/1/routes", "null"),
            ("/validateClusters", "false"),
            ("/ignorePortInHostMatching", "true"),
            ("/maxDirectResponseBodySizeBytes", "1048576"),
        ],
    );
}

#[test]
fn https_ends_with_files_and_its_own_routes() {
    let tls = ", tls: {mode: MUTUAL, serverCertificate: /tls/cert.pem, privateKey: /tls/key.pem, caCertificates: /ca/ca.pem, subjectAltNames: [client.example], minProtocolVersion: TLSV1_2, cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256, WRONG]}";
    let yaml = gateway("a", &server(443, "HTTPS", "x.example", tls))
        + &virtual_service("vs", "x.example", &to("orders.example"));
    let traffic = made(&router(), &yaml, &["orders.example"]);
    let listener = found(&traffic.resources, Kind::Listener, "0.0.0.0_443");
    let socket = "/filterChains/0/transportSocket/typedConfig";
    let tls = format!("{socket}/commonTlsContext");
    let manager = "/filterChains/0/filters/0/typedConfig";
    for (path, expected) in [
        ("/address/socketAddress", "{\"address\": \"0.0.0.0\", \"portValue\": 443}".to_owned()),
        ("/bindToPort", "true".into()),
        ("/listenerFilters/0/name", "\"envoy.filters.listener.tls_inspector\"".into()),
        ("/filterChains/0/filterChainMatch/serverNames", "[\"x.example\"]".into()),
        ("/filterChains/0/transportSocketConnectTimeout", "\"15s\"".into()),
        (&format!("{socket}/requireClientCertificate"), "true".into()),
        (&format!("{tls}/alpnProtocols"), "[\"h2\", \"http/1.1\"]".into()),
        (&format!("{tls}/tlsCertificateSdsSecretConfigs/0/name"), "\"file-cert:/tls/cert.pem~/tls/key.pem\"".into()),
        (
            &format!("{tls}/combinedValidationContext/validationContextSdsSecretConfig/name"),
            "\"file-root:/ca/ca.pem\"".into(),
        ),
        (
            &format!(
                "{tls}/combinedValidationContext/defaultValidationContext/matchTypedSubjectAltNames/0/matcher/exact"
            ),
            "\"client.example\"".into(),
        ),
        (&format!("{tls}/tlsParams/tlsMinimumProtocolVersion"), "\"TLSv1_2\"".into()),
        (&format!("{tls}/tlsParams/cipherSuites"), "[\"ECDHE-RSA-AES128-GCM-SHA256\"]".into()),
        (&format!("{manager}/rds/routeConfigName"), "\"https.443.p443HTTPS.a.shop\"".into()),
        (&format!("{manager}/rds/configSource/initialFetchTimeout"), "\"0s\"".into()),
        (&format!("{manager}/useRemoteAddress"), "true".into()),
        (&format!("{manager}/streamIdleTimeout"), "\"0s\"".into()),
        (&format!("{manager}/normalizePath"), "true".into()),
        (&format!("{manager}/forwardClientCertDetails"), "\"SANITIZE_SET\"".into()),
        (&format!("{manager}/upgradeConfigs/0/upgradeType"), "\"websocket\"".into()),
        (&format!("{manager}/httpFilters/3/name"), "\"envoy.filters.http.router\"".into()),
    ] {
        expect(&listener, &[(path, &expected)]);
    }
    assert_eq!(names(&traffic, Kind::Route), ["https.443.p443HTTPS.a.shop"]);
    let secret = found(&traffic.resources, Kind::Secret, "file-cert:/tls/cert.pem~/tls/key.pem");
    expect(
        &secret,
        &[
            ("/tlsCertificate/certificateChain/filename", "\"/tls/cert.pem\""),
            ("/tlsCertificate/privateKey/filename", "\"/tls/key.pem\""),
            ("/tlsCertificate/watchedDirectory/path", "\"/tls\""),
        ],
    );
    let root = found(&traffic.resources, Kind::Secret, "file-root:/ca/ca.pem");
    expect(&root, &[("/validationContext/trustedCa/filename", "\"/ca/ca.pem\"")]);
}

#[test]
fn tls_that_passes_through_is_routed_by_its_name() {
    let yaml = gateway("a", &server(443, "TLS", "'*.example'", ", tls: {mode: PASSTHROUGH}"))
        + &virtual_service(
            "a",
            "'*.example'",
            "tls: [{match: [{sniHosts: [x.example]}], route: [{destination: {host: orders.example}}]}, {match: [{sniHosts: [x.example, y.example]}], route: [{destination: {host: db.example}}]}, {match: [{port: 444, sniHosts: [z.example]}], route: [{destination: {host: db.example}}]}]",
        );
    let traffic = made(&router(), &yaml, &["orders.example", "db.example 5432/tcp"]);
    let listener = found(&traffic.resources, Kind::Listener, "0.0.0.0_443");
    expect(
        &listener,
        &[
            ("/filterChains/0/filterChainMatch/serverNames", "[\"x.example\"]"),
            ("/filterChains/0/filters/0/typedConfig/cluster", "\"outbound|80||orders.example\""),
            ("/filterChains/0/transportSocket", "null"),
            ("/filterChains/1", "null"),
            ("/listenerFilters/0/name", "\"envoy.filters.listener.tls_inspector\""),
        ],
    );
    assert_eq!(codes(&traffic.findings), ["sni_taken shop/a tls[1]"]);
}

#[test]
fn bytes_go_where_the_first_rule_says() {
    let yaml = gateway("a", &server(5432, "TCP", "'*'", ""))
        + &virtual_service(
            "a",
            "'*.example'",
            "tcp: [{match: [{port: 9}], route: [{destination: {host: orders.example}}]}, {route: [{destination: {host: db.example}, weight: 3}, {destination: {host: orders.example}, weight: 1}]}]",
        );
    let traffic = made(&router(), &yaml, &["orders.example", "db.example 5432/tcp"]);
    let listener = found(&traffic.resources, Kind::Listener, "0.0.0.0_5432");
    expect(
        &listener,
        &[(
            "/filterChains/0/filters/0/typedConfig/weightedClusters/clusters",
            "[{\"name\": \"outbound|5432||db.example\", \"weight\": 3}, {\"name\": \"outbound|80||orders.example\", \"weight\": 1}]",
        )],
    );
}

#[test]
fn a_gateway_is_for_those_whom_it_selects() {
    let yaml = gateway("a", &server(80, "HTTP", "'*'", ""));
    for (text, count) in [
        ("router,shop,istio=ingressgateway", 1),
        ("router,other,istio=ingressgateway,more=yes", 1),
        ("router,shop,istio=other", 0),
        ("router,shop", 0),
    ] {
        assert_eq!(names(&made(&proxy(text), &yaml, &[]), Kind::Listener).len(), count, "{text}");
    }
    let labels = rules(&yaml).labels();
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), [("istio".into(), "ingressgateway".into())]);
}

#[test]
fn who_sees_a_virtual_service_is_said_by_export_to() {
    let gateway = gateway("a", &server(80, "HTTP", "'*'", ""));
    for (export_to, shop, other) in [("'*'", true, true), ("'.'", true, false), ("other", false, true)] {
        let yaml = gateway.clone()
            + &virtual_service("vs", "x.example", &format!("exportTo: [{export_to}], {}", to("orders.example")));
        let sees = |namespace: &str| {
            let proxy = proxy(&format!("router,{namespace},istio=ingressgateway"));
            let value = found(&made(&proxy, &yaml, &["orders.example"]).resources, Kind::Route, "http.80");
            value.pointer("/virtualHosts/0/domains/0") == Some(&Value::from("x.example"))
        };
        assert_eq!((sees("shop"), sees("other")), (shop, other), "{export_to}");
    }
}

#[test]
fn a_default_endpoint_has_no_effect_and_is_told() {
    let rules = rules(&gateway("a", &server(80, "HTTP", "'*'", ", defaultEndpoint: '127.0.0.1:80'")));
    assert_eq!(codes(rules.findings()), ["ignored shop/a servers[0].defaultEndpoint"]);
}
