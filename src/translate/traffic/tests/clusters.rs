//! DestinationRules: settings of clusters, subsets, assignments.

use super::*;
use crate::translate::{Beyond, CheckWay, HealthCheck};
use std::time::Duration;

/// `v1` twice and `v2` once, as a registry has them.
fn orders() -> PublishedService {
    let mut service = service("orders.example", "80");
    service.endpoints = [("10.0.0.1", "v1"), ("10.0.0.2", "v1"), ("10.0.0.3", "v2")]
        .map(|(address, version)| PublishedEndpoint {
            labels: Labels::from([("version".into(), version.into()), ("a b".into(), "c".into())]),
            ..PublishedEndpoint::new(
                Address::parse(address).unwrap(),
                [("p80".into(), Port::new(8080).unwrap())].into(),
            )
        })
        .to_vec();
    service
}

fn rule(spec: &str) -> Rules {
    let head = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: dr}\nspec: ";
    rules(&format!("{head}{{host: orders.example, {spec}}}\n"))
}

fn translated(proxy: &Proxy, service: &PublishedService, rules: &Rules) -> Vec<(Kind, Resource)> {
    super::super::service(service, &origin(), proxy, rules, &Mesh::default(), &envoy::Options::default()).0
}

fn cluster(policy: &str) -> Value {
    let rules = rule(&format!("trafficPolicy: {policy}"));
    assert_eq!(codes(rules.findings()), Vec::<String>::new(), "{policy}");
    found(&translated(&router(), &orders(), &rules), Kind::Cluster, "outbound|80||orders.example")
}

const OPTIONS: &str = "/typedExtensionProtocolOptions/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

#[test]
fn settings_are_as_istio_makes_them() {
    let most = "4294967295";
    for (policy, rows) in [
        (
            "{loadBalancer: {simple: UNSPECIFIED}}",
            &[
                ("/lbPolicy", "\"LEAST_REQUEST\""),
                ("/connectTimeout", "\"10s\""),
                ("/circuitBreakers/thresholds/0/maxConnections", most),
                ("/circuitBreakers/thresholds/0/maxRetries", most),
                ("/commonLbConfig/healthyPanicThreshold", "{}"),
                ("/type", "\"EDS\""),
                ("/outlierDetection", "null"),
            ][..],
        ),
        ("{loadBalancer: {simple: LEAST_CONN}}", &[("/lbPolicy", "\"LEAST_REQUEST\"")]),
        (
            "{loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 30s}}}",
            &[
                ("/lbPolicy", "null"),
                (
                    "/roundRobinLbConfig/slowStartConfig",
                    "{\"slowStartWindow\": \"30s\", \"aggression\": {\"defaultValue\": 1.0, \"runtimeKey\": \"(\"}, \"minWeightPercent\": {\"value\": 10.0}}",
                ),
            ],
        ),
        ("{loadBalancer: {simple: RANDOM}}", &[("/lbPolicy", "\"RANDOM\"")]),
        (
            "{loadBalancer: {consistentHash: {httpHeaderName: x}}}",
            &[("/lbPolicy", "\"RING_HASH\""), ("/ringHashLbConfig/minimumRingSize", "\"1024\"")],
        ),
        (
            "{loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 65537}}}}",
            &[("/lbPolicy", "\"MAGLEV\""), ("/maglevLbConfig/tableSize", "\"65537\"")],
        ),
        (
            "{connectionPool: {tcp: {maxConnections: 1, connectTimeout: 3s, tcpKeepalive: {probes: 2, time: 60s}, maxConnectionDuration: 1h}, http: {http1MaxPendingRequests: 2, http2MaxRequests: 3, maxRetries: 4, maxRequestsPerConnection: 5, idleTimeout: 6s}}}",
            &[
                ("/connectTimeout", "\"3s\""),
                (
                    "/circuitBreakers/thresholds/0",
                    "{\"maxConnections\": 1, \"maxPendingRequests\": 2, \"maxRequests\": 3, \"maxRetries\": 4}",
                ),
                ("/upstreamConnectionOptions/tcpKeepalive", "{\"keepaliveProbes\": 2, \"keepaliveTime\": 60}"),
                (
                    "/typedExtensionProtocolOptions/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/commonHttpProtocolOptions",
                    "{\"idleTimeout\": \"6s\", \"maxConnectionDuration\": \"3600s\", \"maxRequestsPerConnection\": 5}",
                ),
                (
                    "/typedExtensionProtocolOptions/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/explicitHttpConfig/httpProtocolOptions",
                    "{}",
                ),
            ],
        ),
        (
            "{retryBudget: {percent: 25}}",
            &[(
                "/circuitBreakers/thresholds/0/retryBudget",
                "{\"budgetPercent\": {\"value\": 25.0}, \"minRetryConcurrency\": 3}",
            )],
        ),
        (
            "{connectionPool: {http: {h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 7}}}",
            &[(
                "/typedExtensionProtocolOptions/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/explicitHttpConfig/http2ProtocolOptions/maxConcurrentStreams",
                "7",
            )],
        ),
        (
            "{connectionPool: {http: {useClientProtocol: true}}}",
            &[(
                "/typedExtensionProtocolOptions/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/useDownstreamProtocolConfig/http2ProtocolOptions",
                "{}",
            )],
        ),
        (
            "{outlierDetection: {consecutive5xxErrors: 3, consecutiveGatewayErrors: 0, interval: 1s, baseEjectionTime: 2s, maxEjectionPercent: 50, minHealthPercent: 30}}",
            &[
                (
                    "/outlierDetection",
                    "{\"consecutive5xx\": 3, \"interval\": \"1s\", \"baseEjectionTime\": \"2s\", \"maxEjectionPercent\": 50, \"enforcingConsecutive5xx\": 100, \"enforcingSuccessRate\": 0, \"consecutiveGatewayFailure\": 0, \"enforcingConsecutiveGatewayFailure\": 0}",
                ),
                ("/commonLbConfig/healthyPanicThreshold/value", "30.0"),
            ],
        ),
        (
            "{proxyProtocol: {version: V2}}",
            &[
                ("/transportSocket/name", "\"envoy.transport_sockets.upstream_proxy_protocol\""),
                ("/transportSocket/typedConfig/config/version", "\"V2\""),
                ("/transportSocket/typedConfig/transportSocket/name", "\"envoy.transport_sockets.raw_buffer\""),
            ],
        ),
        ("{tls: {mode: DISABLE}}", &[("/transportSocket", "null")]),
        (
            "{tls: {mode: SIMPLE}}",
            &[
                (
                    "/transportSocket/typedConfig/commonTlsContext/validationContext/trustedCa/filename",
                    "\"/etc/ssl/certs/ca-certificates.crt\"",
                ),
                (
                    "/transportSocket/typedConfig/commonTlsContext/tlsParams",
                    "{\"tlsMinimumProtocolVersion\": \"TLSv1_2\", \"tlsMaximumProtocolVersion\": \"TLSv1_3\"}",
                ),
                (
                    "/typedExtensionProtocolOptions/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/upstreamHttpProtocolOptions",
                    "{\"autoSni\": true, \"autoSanValidation\": true}",
                ),
            ],
        ),
        (
            "{tls: {mode: MUTUAL, clientCertificate: /c/cert, privateKey: /c/key, caCertificates: /c/ca, sni: o.example, subjectAltNames: [o.example]}}",
            &[
                ("/transportSocket/typedConfig/sni", "\"o.example\""),
                ("/transportSocket/typedConfig/commonTlsContext/tlsCertificates/0/privateKey/filename", "\"/c/key\""),
                ("/transportSocket/typedConfig/commonTlsContext/validationContext/trustedCa/filename", "\"/c/ca\""),
                ("/typedExtensionProtocolOptions", "null"),
            ],
        ),
        (
            "{tls: {mode: SIMPLE, insecureSkipVerify: true}}",
            &[
                ("/transportSocket/typedConfig/commonTlsContext/validationContext", "null"),
                (
                    "/typedExtensionProtocolOptions/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/upstreamHttpProtocolOptions",
                    "{\"autoSni\": true}",
                ),
            ],
        ),
    ] {
        let cluster = cluster(policy);
        for (path, expected) in rows {
            // The key has dots and no slashes, so it is one step of the path.
            assert!(!path.contains("Options/envoy") || path.starts_with(OPTIONS), "{path}");
            expect(&cluster, &[(path, expected)]);
        }
    }
}

/// To an Envoy that says nothing of itself a service without a rule is what it was without rules, byte for byte; to a gateway
/// its endpoints are, and its cluster has Istio's defaults.
#[test]
fn a_service_without_a_rule_is_as_ever() {
    let other = rules(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: dr}\nspec: {host: other.example, subsets: [{name: v1}]}\n",
    );
    let plain = envoy::translate(&orders(), &envoy::Options::default()).0;
    let unknown = proxy("router,shop,.all");
    assert_eq!(translated(&unknown, &orders(), &other), plain);
    assert_eq!(translated(&unknown, &orders(), &Rules::default()), plain);
    let managed = translated(&router(), &orders(), &other);
    for (resource, plain) in managed.iter().zip(&plain) {
        assert_eq!(resource == plain, resource.0 == Kind::Endpoint, "{}", plain.1.name());
    }
    let cluster = found(&managed, Kind::Cluster, "outbound|80||orders.example");
    expect(&cluster, &[("/circuitBreakers/thresholds/0/maxRequests", "4294967295"), ("/connectTimeout", "\"10s\"")]);
}

#[test]
fn subsets_are_clusters_with_the_endpoints_of_their_labels() {
    let rules = rule(
        "subsets: [{name: v1, labels: {version: v1}}, {name: v3, labels: {version: v3}}, {name: all, trafficPolicy: {loadBalancer: {simple: RANDOM}}}]",
    );
    let resources = translated(&router(), &orders(), &rules);
    for (subset, addresses) in
        [("v1", &["10.0.0.1", "10.0.0.2"][..]), ("v3", &[]), ("all", &["10.0.0.1", "10.0.0.2", "10.0.0.3"])]
    {
        let name = format!("outbound|80|{subset}|orders.example");
        let assignment = found(&resources, Kind::Endpoint, &name);
        let endpoints =
            assignment.pointer("/endpoints/0/lbEndpoints").and_then(Value::as_array).cloned().unwrap_or_default();
        let address = |endpoint: &Value| {
            endpoint.pointer("/endpoint/address/socketAddress/address").unwrap().as_str().unwrap().to_owned()
        };
        assert_eq!(endpoints.iter().map(address).collect::<Vec<_>>(), addresses, "{subset}");
        let cluster = found(&resources, Kind::Cluster, &name);
        expect(&cluster, &[("/type", "\"EDS\""), ("/edsClusterConfig/serviceName", "null")]);
    }
    let all = found(&resources, Kind::Cluster, "outbound|80|all|orders.example");
    expect(&all, &[("/lbPolicy", "\"RANDOM\"")]);
}

/// Labels of topology come from the endpoint's place; a label that Istio does not take selects nothing.
#[test]
fn labels_of_a_subset_are_those_of_the_entry() {
    let mut service = orders();
    service.endpoints[0].locality = crate::model::Locality::parse("cn/hz/a");
    let rules = rule("subsets: [{name: hz, labels: {topology.kubernetes.io/zone: hz}}]");
    let resources = translated(&router(), &service, &rules);
    let assignment = found(&resources, Kind::Endpoint, "outbound|80|hz|orders.example");
    expect(
        &assignment,
        &[
            ("/endpoints/0/lbEndpoints/0/endpoint/address/socketAddress/address", "\"10.0.0.1\""),
            ("/endpoints/1", "null"),
        ],
    );
}

#[test]
fn grpc_programs_get_what_each_of_them_takes() {
    for (policy, lb) in [
        (
            "{loadBalancer: {simple: UNSPECIFIED}}",
            &[("/lbPolicy", "null"), ("/loadBalancingPolicy", "null"), ("/circuitBreakers", "null")][..],
        ),
        (
            "{loadBalancer: {simple: LEAST_REQUEST}}",
            &[
                ("/lbPolicy", "null"),
                (
                    "/loadBalancingPolicy/policies/0/typedExtensionConfig/name",
                    "\"envoy.load_balancing_policies.least_request\"",
                ),
                (
                    "/loadBalancingPolicy/policies/1/typedExtensionConfig/name",
                    "\"envoy.load_balancing_policies.round_robin\"",
                ),
            ],
        ),
        ("{loadBalancer: {simple: RANDOM}}", &[("/lbPolicy", "null")]),
        (
            "{loadBalancer: {consistentHash: {httpHeaderName: x, maglev: {tableSize: 65537}}}}",
            &[("/lbPolicy", "\"RING_HASH\""), ("/maglevLbConfig", "null")],
        ),
        (
            "{connectionPool: {http: {http2MaxRequests: 5}}, outlierDetection: {consecutive5xxErrors: 1}}",
            &[("/circuitBreakers/thresholds/0", "{\"maxRequests\": 5}"), ("/outlierDetection", "null")],
        ),
    ] {
        let options = envoy::Options::default().for_grpc();
        let rules = rule(&format!("trafficPolicy: {policy}"));
        let resources =
            super::super::service(&orders(), &origin(), &proxy("grpc-go,shop"), &rules, &Mesh::default(), &options).0;
        expect(&found(&resources, Kind::Cluster, "outbound|80||orders.example"), lb);
    }
}

/// TLS that a program cannot do is no reason to send it to a service without TLS.
#[test]
fn grpc_programs_get_no_cluster_whose_tls_they_cannot_do() {
    let options = envoy::Options::default().for_grpc();
    let rules =
        rule("trafficPolicy: {tls: {mode: SIMPLE}}, subsets: [{name: plain, trafficPolicy: {tls: {mode: DISABLE}}}]");
    let (resources, rejected) =
        super::super::service(&orders(), &origin(), &proxy("grpc,shop"), &rules, &Mesh::default(), &options);
    let clusters: Vec<_> =
        resources.iter().filter(|(kind, _)| *kind == Kind::Cluster).map(|(_, r)| r.name().to_string()).collect();
    assert_eq!(clusters, ["outbound|80|plain|orders.example"]);
    assert_eq!(rejected.iter().map(|rejected| rejected.why.code()).collect::<Vec<_>>(), ["tls_for_grpc"]);
}

fn checked(proxy: &Proxy, way: CheckWay, ports: &str, rules: &Rules) -> (Vec<(Kind, Resource)>, Vec<String>) {
    let check = HealthCheck {
        way,
        port: None,
        interval: Duration::from_secs(5),
        timeout: Duration::from_millis(1500),
        unhealthy_threshold: 3,
        healthy_threshold: 2,
    };
    let origin = Origin { beyond: Beyond { health_check: Some(check), ..Beyond::default() }, ..origin() };
    let service = PublishedService { ports: service("orders.example", ports).ports, ..orders() };
    let options = envoy::Options::default();
    let (made, rejected) = super::super::service(&service, &origin, proxy, rules, &Mesh::default(), &options);
    let rejected = rejected.iter().map(|rejected| format!("{} {}", rejected.why.code(), rejected.subject));
    (made, rejected.collect())
}

#[test]
fn a_check_is_in_every_cluster_of_the_service() {
    let http = || CheckWay::Http { path: "/health".into(), host: None };
    let rules = rule("subsets: [{name: v1, labels: {version: v1}}]");
    let (made, rejected) = checked(&router(), http(), "80", &rules);
    assert_eq!(rejected, [] as [&str; 0]);
    for name in ["outbound|80||orders.example", "outbound|80|v1|orders.example"] {
        let cluster = found(&made, Kind::Cluster, name);
        let rows = [
            ("/healthChecks/0/httpHealthCheck", r#"{"host": "orders.example", "path": "/health"}"#),
            ("/healthChecks/0/interval", "\"5s\""),
            ("/healthChecks/0/noTrafficInterval", "\"5s\""),
            ("/healthChecks/0/timeout", "\"1.500s\""),
            ("/healthChecks/0/unhealthyThreshold", "3"),
            ("/healthChecks/0/healthyThreshold", "2"),
            ("/ignoreHealthOnHostRemoval", "true"),
            ("/commonLbConfig/healthyPanicThreshold/value", "1.0"),
        ];
        expect(&cluster, &rows);
    }
    // An Envoy that says nothing of itself is checked for, too, and has nothing else of Istio's.
    let plain = Proxy { all_clusters: true, ..router() };
    let (made, _) = checked(&plain, CheckWay::Tcp, "80", &Rules::default());
    let cluster = found(&made, Kind::Cluster, "outbound|80||orders.example");
    expect(&cluster, &[("/healthChecks/0/tcpHealthCheck", "{}"), ("/connectTimeout", "\"5s\"")]);
}

#[test]
fn a_check_that_cannot_be_is_told() {
    let grpc = || CheckWay::Grpc { service: "".into(), host: None };
    let http = CheckWay::Http { path: "/health".into(), host: None };
    let rules = Rules::default();
    let (made, rejected) = checked(&router(), grpc(), "80/http 9090/grpc", &rules);
    assert_eq!(rejected, ["check_unfit outbound|80||orders.example"]);
    assert!(found(&made, Kind::Cluster, "outbound|80||orders.example")["healthChecks"].is_null());
    let check = &found(&made, Kind::Cluster, "outbound|9090||orders.example")["healthChecks"][0]["grpcHealthCheck"];
    assert_eq!(check["authority"], "orders.example");
    assert_eq!(checked(&router(), http, "20880/dubbo", &rules).1, ["check_unfit outbound|20880||orders.example"]);
    let program = Proxy::new(crate::model::ProxyKind::Grpc(crate::model::GrpcLibrary::Go), "shop".into());
    let (made, rejected) = checked(&program, grpc(), "9090/grpc", &rules);
    assert_eq!(rejected, ["check_for_grpc orders.example"]);
    assert!(found(&made, Kind::Cluster, "outbound|9090||orders.example")["healthChecks"].is_null());
    // What somebody wrote of errors goes before.
    let rules = rule("trafficPolicy: {outlierDetection: {minHealthPercent: 40}}");
    let (made, _) = checked(&router(), CheckWay::Tcp, "80", &rules);
    let cluster = found(&made, Kind::Cluster, "outbound|80||orders.example");
    expect(&cluster, &[("/commonLbConfig/healthyPanicThreshold/value", "40.0")]);
}
