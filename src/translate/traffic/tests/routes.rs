//! Matches and actions, row by row.

use super::*;

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
---
";

/// The routes of a VirtualService with these `http` entries, at a gateway's port 80.
fn routes(http: &str) -> Value {
    let traffic =
        made(&router(), &virtual_service(http), &["orders.example", "many.example 80 8080", "other.example 81"]);
    let findings = codes(&traffic.findings);
    let mut routes = found(&traffic.resources, Kind::Route, "http.80");
    routes["findings"] = findings.into();
    routes
}

fn virtual_service(http: &str) -> String {
    let head = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: vs}\n";
    format!("{GATEWAY}{head}spec: {{hosts: [a.example], gateways: [edge], http: [{http}]}}\n")
}

fn row(http: &str, rows: &[(&str, &str)]) {
    let value = routes(http);
    let routes = value.pointer("/virtualHosts/0/routes").unwrap_or_else(|| panic!("{http}: no routes in {value:#}"));
    expect(routes, rows);
}

const TO: &str = "route: [{destination: {host: orders.example}}]";

#[test]
fn matches_are_as_istio_makes_them() {
    for (of, rows) in [
        ("{uri: {exact: /a}}", &[("/0/match/path", "\"/a\""), ("/0/match/caseSensitive", "true")][..]),
        ("{uri: {prefix: /a}}", &[("/0/match/prefix", "\"/a\"")]),
        ("{uri: {regex: '/a.*'}}", &[("/0/match/safeRegex/regex", "\"/a.*\"")]),
        (
            "{method: {exact: GET}}",
            &[
                ("/0/match/prefix", "\"/\""),
                ("/0/match/headers/0/name", "\":method\""),
                ("/0/match/headers/0/stringMatch/exact", "\"GET\""),
            ],
        ),
        ("{uri: {prefix: /a}, ignoreUriCase: true}", &[("/0/match/caseSensitive", "false")]),
        (
            "{headers: {x-b: {exact: '1'}, x-a: {prefix: v}}}",
            &[
                ("/0/match/headers/0/name", "\"x-a\""),
                ("/0/match/headers/0/stringMatch/prefix", "\"v\""),
                ("/0/match/headers/1/stringMatch/exact", "\"1\""),
            ],
        ),
        ("{headers: {x-a: {}}}", &[("/0/match/headers/0/presentMatch", "true")]),
        ("{headers: {x-a: {regex: 'v.*'}}}", &[("/0/match/headers/0/stringMatch/safeRegex/regex", "\"v.*\"")]),
        (
            "{withoutHeaders: {x-a: {exact: '1'}}}",
            &[
                ("/0/match/headers/0/invertMatch", "true"),
                ("/0/match/headers/0/treatMissingHeaderAsEmpty", "true"),
                ("/0/match/headers/0/stringMatch/exact", "\"1\""),
            ],
        ),
        (
            "{withoutHeaders: {x-a: {}}}",
            &[
                ("/0/match/headers/0/invertMatch", "true"),
                ("/0/match/headers/0/treatMissingHeaderAsEmpty", "null"),
                ("/0/match/headers/0/presentMatch", "true"),
            ],
        ),
        ("{withoutHeaders: {x-a: {regex: '*'}}}", &[("/0/match/headers/0/presentMatch", "true")]),
        (
            "{authority: {exact: a.example}, scheme: {exact: https}}",
            &[("/0/match/headers/0/name", "\":authority\""), ("/0/match/headers/1/name", "\":scheme\"")],
        ),
        (
            "{queryParams: {b: {exact: '1'}, a: {}}}",
            &[
                ("/0/match/queryParameters/0/name", "\"a\""),
                ("/0/match/queryParameters/0/presentMatch", "true"),
                ("/0/match/queryParameters/1/stringMatch/exact", "\"1\""),
            ],
        ),
        ("{uri: {prefix: /a}, name: m, statPrefix: s}", &[("/0/name", "\"r.m\""), ("/0/statPrefix", "\"s\"")]),
        ("{port: 80}", &[("/0/match/prefix", "\"/\"")]),
        ("{gateways: [edge], sourceNamespace: other}", &[("/0/match/prefix", "\"/\"")]),
        ("{sourceLabels: {istio: ingressgateway}, sourceNamespace: shop}", &[("/0/match/prefix", "\"/\"")]),
    ] {
        row(&format!("{{name: r, match: [{of}], {TO}}}"), rows);
    }
}

#[test]
fn a_match_that_no_request_decides_is_decided_here() {
    for of in ["{port: 81}", "{gateways: [mesh]}", "{sourceNamespace: other}", "{sourceLabels: {a: b}}"] {
        let value = routes(&format!("{{match: [{of}], {TO}}}"));
        expect(&value, &[("/virtualHosts/0/name", "\"blackhole:80\""), ("/virtualHosts/0/domains", "[\"*\"]")]);
    }
}

#[test]
fn what_stands_behind_a_route_for_everything_is_left_out() {
    let to = |host: &str| format!("route: [{{destination: {{host: {host}}}}}]");
    let http = format!(
        "{{match: [{{uri: {{prefix: /a}}}}], {TO}}}, {{{TO}}}, {{match: [{{uri: {{prefix: /b}}}}], {}}}",
        to("b.example")
    );
    let value = routes(&http);
    assert_eq!(value.pointer("/virtualHosts/0/routes").unwrap().as_array().unwrap().len(), 2);
    expect(&value, &[("/findings", "[\"route_unreachable shop/vs http[2]\"]")]);
    let two = format!("{{match: [{{uri: {{regex: '.*'}}}}, {{uri: {{prefix: /b}}}}], {TO}}}");
    assert_eq!(routes(&two).pointer("/virtualHosts/0/routes").unwrap().as_array().unwrap().len(), 1);
    // With a condition it is not for everything.
    let three = format!("{{match: [{{headers: {{x: {{exact: a}}}}}}], {TO}}}, {{{TO}}}");
    assert_eq!(routes(&three).pointer("/virtualHosts/0/routes").unwrap().as_array().unwrap().len(), 2);
}

#[test]
fn destinations_become_clusters() {
    for (destination, cluster, finding) in [
        ("host: orders.example", "outbound|80||orders.example", None),
        ("host: Orders.example, port: {number: 80}", "outbound|80||orders.example", None),
        ("host: other.example", "outbound|81||other.example", None),
        ("host: many.example", "outbound|80||many.example", None),
        ("host: many.example, port: {number: 8080}", "outbound|8080||many.example", None),
        ("host: orders.example, port: {number: 9}", "outbound|9||orders.example", Some("port_unknown")),
        ("host: nobody.example", "outbound|80||nobody.example", Some("destination_unknown")),
        ("host: orders", "outbound|80||orders.shop", Some("destination_unknown")),
        ("host: orders.example, subset: v1", "outbound|80|v1|orders.example", Some("subset_unknown")),
    ] {
        let value = routes(&format!("{{route: [{{destination: {{{destination}}}, weight: 0}}]}}"));
        let findings = finding.map(|code| format!("{code} shop/vs http[0].route[0]"));
        let findings = serde_json::to_string(&Vec::from_iter(findings)).unwrap();
        let cluster = serde_json::to_string(cluster).unwrap();
        expect(&value, &[("/virtualHosts/0/routes/0/route/cluster", &cluster), ("/findings", &findings)]);
    }
}

#[test]
fn actions_are_as_istio_makes_them() {
    let defaults = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
    let defaults = serde_json::to_string(defaults).unwrap();
    for (action, rows) in [
        (
            TO,
            &[
                ("/0/route/timeout", "\"0s\""),
                ("/0/route/maxGrpcTimeout", "\"0s\""),
                ("/0/route/retryPolicy/numRetries", "2"),
                ("/0/route/retryPolicy/retryOn", &*defaults),
                ("/0/route/retryPolicy/hostSelectionRetryMaxAttempts", "\"5\""),
                ("/0/route/retryPolicy/retryHostPredicate/0/name", "\"envoy.retry_host_predicates.previous_hosts\""),
                ("/0/route/retryPolicy/retriableStatusCodes", "null"),
                (
                    "/0/metadata/filterMetadata/istio/config",
                    "\"/apis/networking.istio.io/v1/namespaces/shop/virtual-service/vs\"",
                ),
            ][..],
        ),
        (
            "timeout: 5s, retries: {attempts: 3, perTryTimeout: 2s, retryOn: 'gateway-error,503', backoff: 100ms, retryRemoteLocalities: true, retryIgnorePreviousHosts: false}, route: [{destination: {host: orders.example}}]",
            &[
                ("/0/route/timeout", "\"5s\""),
                ("/0/route/maxGrpcTimeout", "\"5s\""),
                ("/0/route/retryPolicy/numRetries", "3"),
                ("/0/route/retryPolicy/perTryTimeout", "\"2s\""),
                ("/0/route/retryPolicy/retryOn", "\"gateway-error,retriable-status-codes\""),
                ("/0/route/retryPolicy/retriableStatusCodes", "[503]"),
                ("/0/route/retryPolicy/retryBackOff/baseInterval", "\"0.100s\""),
                ("/0/route/retryPolicy/retryPriority/name", "\"envoy.retry_priorities.previous_priorities\""),
                ("/0/route/retryPolicy/retryHostPredicate", "null"),
            ],
        ),
        ("retries: {attempts: 0}, route: [{destination: {host: orders.example}}]", &[("/0/route/retryPolicy", "null")]),
        (
            "route: [{destination: {host: orders.example}, weight: 90}, {destination: {host: other.example}, weight: 10, headers: {request: {set: {host: b.example, x: z}}}}, {destination: {host: many.example}}]",
            &[
                ("/0/route/weightedClusters/clusters/0", "{\"name\": \"outbound|80||orders.example\", \"weight\": 90}"),
                ("/0/route/weightedClusters/clusters/1/weight", "10"),
                ("/0/route/weightedClusters/clusters/1/hostRewriteLiteral", "\"b.example\""),
                ("/0/route/weightedClusters/clusters/1/requestHeadersToAdd/0/header/key", "\"x\""),
                ("/0/route/weightedClusters/clusters/2", "null"),
            ],
        ),
        (
            "headers: {request: {set: {b: '2', a: '1', host: h.example}, add: {c: '%REQ(x)%'}, remove: [d]}, response: {set: {e: '5'}}}, route: [{destination: {host: orders.example}, headers: {request: {add: {f: '6'}}}}]",
            &[
                (
                    "/0/requestHeadersToAdd/0",
                    "{\"header\": {\"key\": \"a\", \"value\": \"1\"}, \"appendAction\": \"OVERWRITE_IF_EXISTS_OR_ADD\"}",
                ),
                ("/0/requestHeadersToAdd/2", "{\"header\": {\"key\": \"c\", \"value\": \"%REQ(x)%\"}}"),
                ("/0/requestHeadersToAdd/3/header/key", "\"f\""),
                ("/0/requestHeadersToRemove", "[\"d\"]"),
                ("/0/responseHeadersToAdd/0/header/key", "\"e\""),
                ("/0/route/hostRewriteLiteral", "\"h.example\""),
            ],
        ),
        (
            "rewrite: {uri: /b, authority: c.example}, route: [{destination: {host: orders.example}}]",
            &[("/0/route/prefixRewrite", "\"/b\""), ("/0/route/hostRewriteLiteral", "\"c.example\"")],
        ),
        (
            r#"rewrite: {uriRegexRewrite: {match: '/a/(.*)', rewrite: '/\1'}}, route: [{destination: {host: orders.example}}]"#,
            &[
                ("/0/route/regexRewrite/pattern/regex", "\"/a/(.*)\""),
                ("/0/route/regexRewrite/substitution", r#""/\\1""#),
            ],
        ),
        (
            "redirect: {uri: /b, authority: c.example, scheme: https, redirectCode: 302, port: 8443}",
            &[(
                "/0/redirect",
                "{\"hostRedirect\": \"c.example\", \"pathRedirect\": \"/b\", \"schemeRedirect\": \"https\", \"portRedirect\": 8443, \"responseCode\": \"FOUND\"}",
            )],
        ),
        ("redirect: {uri: /b, port: 80}", &[("/0/redirect", "{\"pathRedirect\": \"/b\"}")]),
        (
            "redirect: {prefixRewrite: /b, derivePort: FROM_REQUEST_PORT, scheme: https}",
            &[("/0/redirect", "{\"prefixRewrite\": \"/b\", \"schemeRedirect\": \"https\", \"portRedirect\": 80}")],
        ),
        (
            "directResponse: {status: 503, body: {string: closed}}",
            &[("/0/directResponse", "{\"status\": 503, \"body\": {\"inlineString\": \"closed\"}}")],
        ),
        (
            "fault: {delay: {percentage: {value: 0.5}, fixedDelay: 5s}, abort: {percentage: {value: 10}, grpcStatus: UNAVAILABLE}}, route: [{destination: {host: orders.example}}]",
            &[
                (
                    "/0/typedPerFilterConfig/envoy.filters.http.fault/delay",
                    "{\"fixedDelay\": \"5s\", \"percentage\": {\"numerator\": 5000, \"denominator\": \"MILLION\"}}",
                ),
                (
                    "/0/typedPerFilterConfig/envoy.filters.http.fault/abort",
                    "{\"grpcStatus\": 14, \"percentage\": {\"numerator\": 100000, \"denominator\": \"MILLION\"}}",
                ),
            ],
        ),
        (
            "mirror: {host: other.example}, mirrorPercentage: {value: 5}, route: [{destination: {host: orders.example}}]",
            &[
                ("/0/route/requestMirrorPolicies/0/cluster", "\"outbound|81||other.example\""),
                (
                    "/0/route/requestMirrorPolicies/0/runtimeFraction/defaultValue",
                    "{\"numerator\": 50000, \"denominator\": \"MILLION\"}",
                ),
                ("/0/route/requestMirrorPolicies/0/disableShadowHostSuffixAppend", "true"),
            ],
        ),
        (
            "mirrors: [{destination: {host: other.example}}, {destination: {host: many.example}, percentage: {value: 0}}], route: [{destination: {host: orders.example}}]",
            &[
                ("/0/route/requestMirrorPolicies/0/runtimeFraction/defaultValue", "{\"numerator\": 100}"),
                ("/0/route/requestMirrorPolicies/1", "null"),
            ],
        ),
        (
            "corsPolicy: {allowOrigins: [{exact: 'https://a'}], allowMethods: [GET, POST], allowHeaders: [x-a], maxAge: 24h, allowCredentials: true}, route: [{destination: {host: orders.example}}]",
            &[
                ("/0/typedPerFilterConfig/envoy.filters.http.cors/allowOriginStringMatch/0/exact", "\"https://a\""),
                ("/0/typedPerFilterConfig/envoy.filters.http.cors/allowMethods", "\"GET,POST\""),
                ("/0/typedPerFilterConfig/envoy.filters.http.cors/maxAge", "\"86400\""),
                ("/0/typedPerFilterConfig/envoy.filters.http.cors/forwardNotMatchingPreflights", "true"),
                ("/0/typedPerFilterConfig/envoy.filters.http.cors/filterEnabled/defaultValue", "{\"numerator\": 100}"),
            ],
        ),
    ] {
        row(&format!("{{{action}}}"), rows);
    }
}

#[test]
fn the_meshs_retries_hold_where_a_route_says_none() {
    use crate::pb::istio::networking::v1alpha3::HttpRetry;
    let mesh = Mesh { default_retries: Some(HttpRetry { attempts: 0, ..HttpRetry::default() }), ..Mesh::default() };
    let rules = rules_of(&read(&virtual_service(&format!("{{{TO}}}"))), &Rules::default(), &mesh);
    let traffic = traffic(&router(), &rules, &shapes(&["orders.example"]), &mesh, &mut Memo::default());
    let value = found(&traffic.resources, Kind::Route, "http.80");
    expect(&value, &[("/virtualHosts/0/routes/0/route/retryPolicy", "null")]);
}

#[test]
fn what_is_hashed_comes_from_the_destinations_rule() {
    let rule = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: dr}\nspec:\n  host: orders.example\n  trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}\n  subsets: [{name: v1, trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: 0s}}}}}]\n";
    for (destination, hash) in [
        ("host: orders.example", "[{\"header\": {\"headerName\": \"x-user\"}}]"),
        ("host: orders.example, subset: v1", "[{\"cookie\": {\"name\": \"c\", \"ttl\": \"0s\"}}]"),
        ("host: other.example", "null"),
    ] {
        let yaml = virtual_service(&format!("{{route: [{{destination: {{{destination}}}}}]}}")) + rule;
        let traffic = made(&router(), &yaml, &["orders.example", "other.example"]);
        assert_eq!(codes(&traffic.findings), Vec::<String>::new());
        let value = found(&traffic.resources, Kind::Route, "http.80");
        let predicate = if hash == "null" { "\"envoy.retry_host_predicates.previous_hosts\"" } else { "null" };
        expect(
            &value,
            &[
                ("/virtualHosts/0/routes/0/route/hashPolicy", hash),
                ("/virtualHosts/0/routes/0/route/retryPolicy/retryHostPredicate/0/name", predicate),
            ],
        );
    }
}

#[test]
fn delegates_are_joined_with_their_roots() {
    let delegate = |http: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: leaf}}\nspec: {{http: [{http}]}}\n"
        )
    };
    let root = virtual_service(
        "{name: root, timeout: 3s, match: [{uri: {prefix: /a}}], delegate: {name: leaf}}, {route: [{destination: {host: other.example}}]}",
    );
    let leaf = format!(
        "{{name: leaf, match: [{{uri: {{prefix: /a/b}}, headers: {{x: {{exact: '1'}}}}}}], {TO}}}, {{match: [{{uri: {{prefix: /c}}}}], {TO}}}"
    );
    let traffic = made(&router(), &(root.clone() + &delegate(&leaf)), &["orders.example", "other.example"]);
    let value = found(&traffic.resources, Kind::Route, "http.80");
    expect(
        value.pointer("/virtualHosts/0/routes").unwrap(),
        &[
            ("/0/name", "\"root-leaf\""),
            ("/0/match/prefix", "\"/a/b\""),
            ("/0/match/headers/0/name", "\"x\""),
            ("/0/route/timeout", "\"3s\""),
            ("/1/route/cluster", "\"outbound|80||other.example\""),
            ("/2", "null"),
        ],
    );
    let said = |yaml: &str| codes(rules(yaml).findings());
    assert_eq!(said(&(root.clone() + &delegate(&leaf))), ["delegate_conflict shop/vs http[0].delegate"]);
    assert_eq!(said(&root), ["delegate_missing shop/vs http[0].delegate"]);
}

/// Each route of the delegate stands there once for each route that leads to it.
#[test]
fn delegates_do_not_multiply_without_bound() {
    let list = |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<Vec<_>>().join(", ");
    let root = list(200, &|n| format!("{{match: [{{uri: {{prefix: /{n}/}}}}], delegate: {{name: leaf}}}}"));
    let leaf = list(100, &|n| {
        format!("{{match: [{{headers: {{h: {{exact: v{n}}}}}}}], route: [{{destination: {{host: orders.example}}}}]}}")
    });
    let object = |name: &str, hosts: &str, http: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec: {{{hosts}http: [{http}]}}\n"
        )
    };
    let rules = rules(&(object("vs", "hosts: [a.example], ", &root) + &object("leaf", "", &leaf)));
    let joined = rules.0.virtual_services[0].spec.http.len();
    assert!(joined > 10_000 && joined.is_multiple_of(100) && joined < 16 << 10, "{joined}");
    let left_out = codes(rules.findings());
    assert_eq!(left_out.first(), Some(&format!("delegate_conflict shop/vs http[{}].delegate", joined / 100)));
    assert_eq!(left_out.len(), 200 - joined / 100);
}
