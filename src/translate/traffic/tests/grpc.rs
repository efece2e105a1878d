//! gRPC programs: names, and routes in the form that all libraries take.

use super::*;

fn virtual_service(http: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: vs}}\nspec: {{hosts: [orders.example], http: [{http}]}}\n"
    )
}

const TO: &str = "route: [{destination: {host: orders.example}}]";

#[test]
fn each_port_of_a_host_has_a_listener_and_routes() {
    let traffic = made(&proxy("grpc-go,shop"), "", &["orders.example 9090/grpc 9091/grpc", "db.example 5432/tcp"]);
    assert_eq!(names(&traffic, Kind::Listener), ["orders.example", "orders.example:9090", "orders.example:9091"]);
    assert_eq!(names(&traffic, Kind::Route), ["outbound|9090||orders.example", "outbound|9091||orders.example"]);
    let listener = found(&traffic.resources, Kind::Listener, "orders.example");
    expect(
        &listener,
        &[
            ("/apiListener/apiListener/rds/routeConfigName", "\"outbound|9090||orders.example\""),
            ("/apiListener/apiListener/httpFilters/0/name", "\"envoy.filters.http.fault\""),
            ("/apiListener/apiListener/httpFilters/1/name", "\"envoy.filters.http.router\""),
            ("/apiListener/apiListener/httpFilters/2", "null"),
            ("/address", "null"),
        ],
    );
    let routes = found(&traffic.resources, Kind::Route, "outbound|9091||orders.example");
    expect(
        &routes,
        &[
            ("/virtualHosts/0/domains", "[\"orders.example\", \"orders.example:9091\"]"),
            ("/virtualHosts/0/routes/0/match", "{\"prefix\": \"/\", \"caseSensitive\": true}"),
            ("/virtualHosts/0/routes/0/route/cluster", "\"outbound|9091||orders.example\""),
            (
                "/virtualHosts/0/routes/0/route/retryPolicy",
                "{\"retryOn\": \"unavailable,cancelled\", \"numRetries\": 2}",
            ),
            ("/virtualHosts/0/routes/0/route/maxStreamDuration", "{\"maxStreamDuration\": \"0s\"}"),
            ("/virtualHosts/0/routes/0/route/timeout", "null"),
            ("/ignorePortInHostMatching", "null"),
        ],
    );
}

#[test]
fn what_a_library_refuses_is_put_into_another_form_or_left_out() {
    for (http, rows, lost) in [
        (
            format!("{{match: [{{uri: {{exact: /a.B/C}}}}], timeout: 2s, {TO}}}"),
            &[("/match/path", "\"/a.B/C\""), ("/route/maxStreamDuration/maxStreamDuration", "\"2s\"")][..],
            false,
        ),
        (
            format!("{{retries: {{attempts: 3, retryOn: '5xx,unavailable'}}, {TO}}}"),
            &[("/route/retryPolicy", "{\"retryOn\": \"unavailable\", \"numRetries\": 3}")],
            false,
        ),
        (format!("{{retries: {{attempts: 3, retryOn: 5xx}}, {TO}}}"), &[("/route/retryPolicy", "null")], false),
        (format!("{{corsPolicy: {{allowOrigins: [{{exact: a}}]}}, {TO}}}"), &[("/typedPerFilterConfig", "null")], true),
        (
            format!(
                "{{rewrite: {{uri: /b}}, mirror: {{host: orders.example}}, headers: {{request: {{set: {{a: b}}}}}}, {TO}}}"
            ),
            &[
                ("/route/prefixRewrite", "null"),
                ("/route/requestMirrorPolicies", "null"),
                ("/requestHeadersToAdd", "null"),
            ],
            true,
        ),
        (
            "{redirect: {uri: /b}}".to_owned(),
            &[
                ("/redirect", "null"),
                ("/typedPerFilterConfig/envoy.filters.http.fault/abort/grpcStatus", "2"),
                ("/typedPerFilterConfig/envoy.filters.http.fault/abort/percentage/numerator", "100"),
                ("/route/cluster", "\"outbound|80||orders.example\""),
            ],
            true,
        ),
        (
            "{directResponse: {status: 403}}".to_owned(),
            &[("/typedPerFilterConfig/envoy.filters.http.fault/abort/grpcStatus", "7")],
            true,
        ),
        (
            format!("{{match: [{{queryParams: {{a: {{exact: b}}}}}}], {TO}}}, {{name: second, {TO}}}"),
            &[("/name", "\"second\"")],
            true,
        ),
        (
            format!("{{match: [{{method: {{exact: GET}}}}], {TO}}}, {{name: second, {TO}}}"),
            &[("/name", "\"second\"")],
            true,
        ),
        (
            format!("{{match: [{{headers: {{gray: {{exact: '1'}}}}}}], {TO}}}, {{{TO}}}"),
            &[("/match/headers/0/name", "\"gray\"")],
            false,
        ),
        (
            format!("{{match: [{{headers: {{X-Gray: {{exact: '1'}}}}}}], {TO}}}, {{{TO}}}"),
            &[("/match/headers/0/name", "\"x-gray\"")],
            false,
        ),
        (
            format!("{{match: [{{headers: {{X-Gray-Bin: {{exact: '1'}}}}}}], {TO}}}, {{name: second, {TO}}}"),
            &[("/name", "\"second\"")],
            true,
        ),
        (
            format!("{{match: [{{uri: {{prefix: /a}}}}, {{queryParams: {{a: {{exact: b}}}}}}], {TO}}}, {{{TO}}}"),
            &[("/match/prefix", "\"/a\"")],
            true,
        ),
        (
            format!("{{match: [{{withoutHeaders: {{gray: {{regex: 'a|b'}}}}}}], {TO}}}, {{{TO}}}"),
            &[("/match/headers/0/invertMatch", "true"), ("/match/headers/0/stringMatch/safeRegex/regex", "\"a|b\"")],
            true,
        ),
    ] {
        let traffic = made(&proxy("grpc-java,shop"), &virtual_service(&http), &["orders.example"]);
        let value = found(&traffic.resources, Kind::Route, "outbound|80||orders.example");
        expect(value.pointer("/virtualHosts/0/routes/0").unwrap(), rows);
        let is_lost = traffic.findings.iter().any(|finding| finding.code == Code::GrpcUnusable);
        assert_eq!(is_lost, lost, "{http}: {:?}", traffic.findings);
    }
}

/// Whether a condition on a header holds for its value, or for a call that lacks it, as gRPC's libraries see it.
fn fits(header: &Value, value: Option<&str>) -> bool {
    let is_inverted = header["invertMatch"] == Value::Bool(true);
    match (value, header.pointer("/stringMatch/exact").and_then(Value::as_str)) {
        (_, None) => value.is_some() != is_inverted,
        (None, Some(_)) => false,
        (Some(value), Some(wanted)) => (value == wanted) != is_inverted,
    }
}

#[test]
fn calls_without_a_header_are_calls_without_its_value() {
    for (without, routes, findings) in [
        ("gray: {exact: '1'}", 2, 0),
        ("Gray: {exact: '1'}, canary: {exact: '2'}", 4, 0),
        ("gray: {}", 1, 0),
        // Envoy takes it for an empty one.
        ("gray: {exact: ''}", 1, 0),
        ("a: {exact: x}, b: {exact: x}, c: {exact: x}, gray: {exact: '1'}", 8, 1),
    ] {
        let http = format!("{{match: [{{withoutHeaders: {{{without}}}}}], {TO}}}, {{name: second, {TO}}}");
        let traffic = made(&proxy("grpc-go,shop"), &virtual_service(&http), &["orders.example"]);
        assert_eq!(codes(&traffic.findings).len(), findings, "{without}: {:?}", traffic.findings);
        let value = found(&traffic.resources, Kind::Route, "outbound|80||orders.example");
        let all = value.pointer("/virtualHosts/0/routes").and_then(Value::as_array).unwrap();
        assert_eq!(all.len(), routes + 1, "{without}");
        let fit = |calls: &dyn Fn(&str) -> Option<&'static str>| {
            let all_fit = |route: &&Value| {
                let headers = route.pointer("/match/headers").and_then(Value::as_array).unwrap();
                headers.iter().all(|header| fits(header, calls(header["name"].as_str().unwrap())))
            };
            all[..routes].iter().filter(all_fit).count()
        };
        if matches!(routes, 2 | 4) {
            let only_gray = fit(&|name| (name == "gray").then_some("0"));
            assert_eq!(
                [fit(&|_| None), only_gray, fit(&|_| Some("0")), fit(&|_| Some("1"))],
                [1, 1, 1, 0],
                "{without}"
            );
        }
    }
}

#[test]
fn a_hash_goes_by_a_header_in_lower_case() {
    let yaml = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d}\nspec: {host: orders.example, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: X-User}}}}\n";
    let traffic = made(&proxy("grpc,shop"), yaml, &["orders.example"]);
    let value = found(&traffic.resources, Kind::Route, "outbound|80||orders.example");
    expect(&value, &[("/virtualHosts/0/routes/0/route/hashPolicy/0/header/headerName", "\"x-user\"")]);
}
