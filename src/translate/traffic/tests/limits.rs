//! Limits of requests: where they are counted, and where they cannot be.

use super::*;
use crate::translate::{Beyond, Limit};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

const GATEWAY: &str = "---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: a}
spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
";

fn limit(requests: u32) -> Limit {
    Limit { requests, per: Duration::from_secs(1), burst: requests * 2 }
}

/// The services with their limits; 0 is none.
fn limited(services: &[(&str, u32)]) -> Shapes {
    let mut shapes = Shapes::default();
    for (text, requests) in services {
        let (host, ports) = text.split_once(' ').unwrap_or((text, "80"));
        let service = service(host, ports);
        let beyond = Beyond { limit: (*requests > 0).then(|| limit(*requests)), ..Beyond::default() };
        let origin = Origin { beyond, ..origin() };
        let owner = Owner::Registry(service.host.clone());
        shapes.replace(&owner, Some((&service, &origin, &|_| Vec::new())), &envoy::Options::default());
    }
    shapes
}

fn by(proxy: &Proxy, yaml: &str, services: &[(&str, u32)], hosts: &[(&str, u32)]) -> Traffic {
    let limits: BTreeMap<_, _> = hosts.iter().map(|(host, requests)| ((*host).into(), limit(*requests))).collect();
    let mesh = Mesh { limits, ..Mesh::default() };
    traffic(proxy, &rules(yaml), &limited(services), &mesh, &mut Memo::default())
}

fn bound(host: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: vs-{}}}\nspec: {{hosts: [{host}], gateways: [a], http: {spec}}}\n",
        host.split(',').next().unwrap()
    )
}

/// `key=value requests/burst` of each bucket.
fn buckets(routes: &Value) -> Vec<String> {
    let config = &routes["typedPerFilterConfig"]["envoy.filters.http.local_ratelimit"];
    let all = config["descriptors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let bucket = |bucket: &Value| {
        let (entry, tokens) = (&bucket["entries"][0], &bucket["tokenBucket"]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        format!("{}={} {}/{}", text(&entry["key"]), text(&entry["value"]), tokens["tokensPerFill"], tokens["maxTokens"])
    };
    all.iter().map(bucket).collect()
}

#[test]
fn all_routes_to_a_service_are_counted_in_one_bucket() {
    let two = bound(
        "x.example",
        "[{match: [{uri: {prefix: /a}}, {uri: {prefix: /b}}], route: [{destination: {host: orders.example, subset: v1}}]},
          {route: [{destination: {host: orders.example}}], mirror: {host: users.example}}]",
    );
    let other = bound("y.example", "[{route: [{destination: {host: orders.example}}]}]");
    let yaml = format!("{GATEWAY}{two}{other}");
    let traffic = by(&router(), &yaml, &[("orders.example", 5), ("users.example", 7)], &[]);
    let routes = found(&traffic.resources, Kind::Route, "http.80");
    assert_eq!(buckets(&routes), ["service=orders.example 5/10"], "what is mirrored is not counted");
    let counts =
        json!([{ "actions": [{ "genericKey": { "descriptorKey": "service", "descriptorValue": "orders.example" } }] }]);
    for (host, route) in [(0, 0), (0, 1), (0, 2), (1, 0)] {
        let route = &routes["virtualHosts"][host]["routes"][route]["route"];
        assert_eq!(route["rateLimits"], counts, "{route:#}");
    }
    // What passes uncounted never ends, and no answer of Envoy's own counts for the routes without a limit.
    let config = &routes["typedPerFilterConfig"]["envoy.filters.http.local_ratelimit"];
    let rows = [
        ("/tokenBucket", r#"{"maxTokens": 4294967295, "tokensPerFill": 4294967295, "fillInterval": "1s"}"#),
        ("/filterEnforced/defaultValue/numerator", "100"),
        ("/vhRateLimits", "\"INCLUDE\""),
        ("/alwaysConsumeDefaultTokenBucket", "false"),
        ("/responseHeadersToAdd/0/header", r#"{"key": "x-local-rate-limit", "value": "true"}"#),
    ];
    expect(config, &rows);
    assert_eq!(codes(&traffic.findings), ["subset_unknown shop/vs-x.example http[0].route[0]"]);
}

#[test]
fn routes_to_several_services_are_counted_by_cluster_and_hosts_for_themselves() {
    let mixed = bound(
        "x.example",
        "[{route: [{destination: {host: orders.example}, weight: 1}, {destination: {host: users.example}, weight: 1}]}]",
    );
    let plain = bound("y.example, z.example", "[{route: [{destination: {host: users.example}}]}]");
    let yaml = format!("{GATEWAY}{mixed}{plain}");
    let services = [("orders.example", 5), ("users.example", 0)];
    let traffic = by(&router(), &yaml, &services, &[("y.example", 3), ("nobody.example", 3)]);
    let routes = found(&traffic.resources, Kind::Route, "http.80");
    let expected = ["host=y.example 3/6", "destination_cluster=outbound|80||orders.example 5/10"];
    assert_eq!(buckets(&routes), expected);
    let rows = [
        ("/virtualHosts/0/routes/0/route/rateLimits", r#"[{"actions": [{"destinationCluster": {}}]}]"#),
        ("/virtualHosts/1/domains", r#"["y.example"]"#),
        (
            "/virtualHosts/1/rateLimits",
            r#"[{"actions": [{"genericKey": {"descriptorKey": "host", "descriptorValue": "y.example"}}]}]"#,
        ),
        ("/virtualHosts/2/domains", r#"["z.example"]"#),
        ("/virtualHosts/2/rateLimits", "null"),
    ];
    expect(&routes, &rows);
    assert_eq!(codes(&traffic.findings), ["limit_unused nobody.example rate_limits"]);
}

#[test]
fn a_limit_touches_no_listener() {
    let yaml = format!("{GATEWAY}{}", bound("x.example", "[{route: [{destination: {host: orders.example}}]}]"));
    let listeners = |requests: u32| {
        let traffic = by(&router(), &yaml, &[("orders.example", requests)], &[]);
        traffic.resources.into_iter().filter(|(kind, _)| *kind == Kind::Listener).collect::<Vec<_>>()
    };
    assert_eq!(listeners(0), listeners(5));
    let routes = |requests: u32| {
        found(&by(&router(), &yaml, &[("orders.example", requests)], &[]).resources, Kind::Route, "http.80")
    };
    assert!(routes(0)["typedPerFilterConfig"].is_null());
}

#[test]
fn a_limit_that_cannot_hold_is_told() {
    let plain = Proxy { all_clusters: true, ..router() };
    let services = [("orders.example", 5), ("db.example 5432/tcp", 5)];
    let said = |proxy: &Proxy, yaml: &str| codes(&by(proxy, yaml, &services, &[]).findings);
    let orders = "limit_unused outbound|80||orders.example rate_limit";
    let db = "limit_unused outbound|5432||db.example rate_limit";
    assert_eq!(said(&plain, ""), [db, orders], "listeners of its own count nothing");
    let to = |port: u32| format!("[{{route: [{{destination: {{host: orders.example, port: {{number: {port}}}}}}}]}}]");
    assert_eq!(said(&plain, &format!("{GATEWAY}{}", bound("x.example", &to(80)))), [db]);
    // A gateway that does not lead there needs not count.
    assert_eq!(said(&router(), GATEWAY), [] as [&str; 0]);
    assert_eq!(said(&proxy("sidecar,shop"), ""), [db]);
    assert_eq!(
        said(&Proxy::new(crate::model::ProxyKind::Grpc(crate::model::GrpcLibrary::Go), "shop".into()), ""),
        ["grpc_unusable outbound|80||orders.example rate_limit"]
    );
}

#[test]
fn a_sidecar_counts_for_each_port() {
    let traffic = by(&proxy("sidecar,shop"), "", &[("orders.example 80 81", 5)], &[]);
    for port in ["80", "81"] {
        let routes = found(&traffic.resources, Kind::Route, port);
        assert_eq!(buckets(&routes), ["service=orders.example 5/10"], "{port}");
    }
}
