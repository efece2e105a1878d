//! What is refused, and why: the rules of Istio's validation, and what cannot be done here.

use super::*;
use Code::{FieldRefused, Ignored, Invalid};

/// The codes of the findings for a resource of this kind and spec, each once.
fn judged(kind: &str, spec: &str) -> Vec<Code> {
    let yaml = format!("apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: it}}\nspec: {spec}\n");
    let rules = rules(&yaml);
    let findings = rules.findings().iter().filter(|finding| finding.code != Code::GatewayUnknown);
    let mut codes: Vec<Code> = findings.map(|finding| finding.code).collect();
    codes.sort();
    codes.dedup();
    codes
}

fn http(route: &str) -> Vec<Code> {
    judged("VirtualService", &format!("{{hosts: [a.example], gateways: [edge], http: [{{{route}}}]}}"))
}

const TO: &str = "route: [{destination: {host: orders.example}}]";

#[test]
fn virtual_services_are_judged_as_istio_does() {
    for (spec, code) in [
        ("{hosts: [a.example], http: [{route: [{destination: {host: b.example}}]}]}", None),
        ("{hosts: ['*'], gateways: [edge], http: [{route: [{destination: {host: b.example}}]}]}", None),
        ("{hosts: ['10.0.0.1'], http: [{route: [{destination: {host: b.example}}]}]}", None),
        ("{http: [{route: [{destination: {host: b.example}}]}]}", None),
        ("{hosts: [a.example]}", Some(Invalid)),
        ("{hosts: ['*'], http: [{route: [{destination: {host: b.example}}]}]}", Some(Invalid)),
        ("{hosts: ['*'], gateways: [edge, mesh], http: [{route: [{destination: {host: b.example}}]}]}", Some(Invalid)),
        ("{hosts: ['a_b'], http: [{route: [{destination: {host: b.example}}]}]}", Some(Invalid)),
        ("{hosts: [a.example, '*.example'], http: [{route: [{destination: {host: b.example}}]}]}", Some(Invalid)),
        ("{gateways: [edge], http: [{route: [{destination: {host: b.example}}]}]}", Some(Invalid)),
        (
            "{hosts: [a.example], gateways: ['a/b/c'], http: [{route: [{destination: {host: b.example}}]}]}",
            Some(Invalid),
        ),
        (
            "{hosts: [a.example], exportTo: ['*', shop], http: [{route: [{destination: {host: b.example}}]}]}",
            Some(Invalid),
        ),
        ("{hosts: [a.example], exportTo: ['~'], http: [{route: [{destination: {host: b.example}}]}]}", Some(Invalid)),
        ("{hosts: [a.example], tcp: [{route: [{destination: {host: b.example}}]}]}", None),
        ("{hosts: [a.example], tcp: [{match: [{port: 80}]}]}", Some(Invalid)),
        (
            "{hosts: ['*.example'], tls: [{match: [{sniHosts: [a.example]}], route: [{destination: {host: b.example}}]}]}",
            None,
        ),
        (
            "{hosts: [a.example], tls: [{match: [{sniHosts: [b.example]}], route: [{destination: {host: b.example}}]}]}",
            Some(Invalid),
        ),
        ("{hosts: [a.example], tls: [{route: [{destination: {host: b.example}}]}]}", Some(Invalid)),
    ] {
        assert_eq!(judged("VirtualService", spec), Vec::from_iter(code), "{spec}");
    }
}

#[test]
fn http_routes_are_judged_as_istio_does() {
    let with = |fields: &str| format!("{fields}, {TO}");
    for (route, code) in [
        (TO.to_owned(), None),
        ("match: [{uri: {prefix: /a}}]".to_owned(), Some(Invalid)),
        (with("redirect: {uri: /b}"), Some(Invalid)),
        ("redirect: {uri: /b}, fault: {abort: {percentage: {value: 1}, httpStatus: 500}}".to_owned(), Some(Invalid)),
        ("redirect: {uri: /b}, rewrite: {uri: /c}".to_owned(), Some(Invalid)),
        ("redirect: {}".to_owned(), Some(Invalid)),
        ("redirect: {uri: /b, prefixRewrite: /c}".to_owned(), Some(Invalid)),
        ("redirect: {uri: /b, redirectCode: 404}".to_owned(), Some(Invalid)),
        ("redirect: {uri: /b, redirectCode: 304}".to_owned(), Some(FieldRefused)),
        ("redirect: {uri: /b, scheme: ftp}".to_owned(), Some(Invalid)),
        ("match: [{uri: {exact: /a}}], redirect: {prefixRewrite: /c}".to_owned(), Some(Invalid)),
        ("directResponse: {status: 200}".to_owned(), None),
        ("directResponse: {status: 199}".to_owned(), Some(Invalid)),
        ("directResponse: {status: 600}".to_owned(), Some(FieldRefused)),
        (with("match: [{uri: {regex: 'a('}}]"), Some(Invalid)),
        (with("match: [{uri: {regex: '[a&&b]'}}]"), None),
        (with(r"match: [{uri: {regex: '\1a'}}]"), Some(Invalid)),
        (with("match: [{uri: {prefix: ''}}]"), None),
        (with("match: [{headers: {x: {prefix: ''}}}]"), Some(Invalid)),
        (with("match: [{headers: {'x y': {exact: a}}}]"), Some(Invalid)),
        (with("match: [{headers: {'@request.auth.claims.a': {exact: a}}}]"), Some(FieldRefused)),
        (with("match: [{port: 70000}]"), Some(Invalid)),
        (with("match: [{sourceLabels: {'a b': c}}]"), Some(Invalid)),
        (with("headers: {request: {set: {x: '100%'}}}"), Some(Invalid)),
        (with("headers: {request: {set: {x: '%UNKNOWN%'}}}"), Some(FieldRefused)),
        (with("headers: {request: {set: {x: '%REQ(:path)% %DOWNSTREAM_REMOTE_ADDRESS% 5%%'}}}"), None),
        (with("headers: {request: {set: {'x y': a}}}"), Some(FieldRefused)),
        (with("headers: {request: {set: {':path': /a}}}"), Some(Invalid)),
        (with("headers: {response: {set: {host: a}}}"), Some(Invalid)),
        (with("headers: {request: {set: {host: a}}}, rewrite: {authority: b}"), Some(Invalid)),
        (with("fault: {}"), Some(Invalid)),
        (with("fault: {delay: {exponentialDelay: 1s}}"), Some(Invalid)),
        (with("fault: {delay: {percentage: {value: 101}, fixedDelay: 1s}}"), Some(Invalid)),
        (with("fault: {delay: {percentage: {value: 0.00001}, fixedDelay: 1s}}"), Some(Invalid)),
        (with("fault: {delay: {fixedDelay: 0.5ms}}"), Some(Invalid)),
        (with("fault: {abort: {percentage: {value: 1}, http2Error: x}}"), Some(Invalid)),
        (with("fault: {abort: {percentage: {value: 1}, grpcStatus: WRONG}}"), Some(Invalid)),
        (with("fault: {abort: {httpStatus: 500}}"), Some(Ignored)),
        (with("mirror: {host: b.example}, mirrors: [{destination: {host: b.example}}]"), Some(Invalid)),
        (with("mirror: {host: b.example}, mirrorPercentage: {value: 101}"), Some(Invalid)),
        (with("retries: {attempts: -1}"), Some(Invalid)),
        (with("retries: {attempts: 0, retryOn: 5xx}"), Some(Invalid)),
        (with("retries: {attempts: 1, retryOn: wrong}"), Some(Invalid)),
        (with("retries: {attempts: 1, retryOn: '5xx,503'}"), None),
        (with("retries: {attempts: 1, retryOn: '799'}"), Some(Invalid)),
        (with("timeout: 0.0001s"), Some(Invalid)),
        (with("rewrite: {}"), Some(Invalid)),
        (with("rewrite: {uri: /a, uriRegexRewrite: {match: a, rewrite: b}}"), Some(Invalid)),
        (with("rewrite: {uriRegexRewrite: {match: a}}"), Some(Invalid)),
        (with("corsPolicy: {allowMethods: [FETCH]}"), Some(Invalid)),
        (with("corsPolicy: {allowOrigins: [{exact: ''}]}"), Some(Invalid)),
        (with("corsPolicy: {maxAge: 1.5s}"), Some(Invalid)),
        ("route: [{destination: {host: '*'}}]".to_owned(), Some(Invalid)),
        ("route: [{destination: {host: b.example, subset: '1.0'}}]".to_owned(), Some(Invalid)),
        ("route: [{destination: {host: b.example, port: {number: 0}}}]".to_owned(), Some(Invalid)),
        ("route: [{weight: 1}]".to_owned(), Some(Invalid)),
        ("route: [{destination: {host: b.example}}, {destination: {host: c.example}}]".to_owned(), Some(Invalid)),
        ("route: [{destination: {host: b.example}, weight: -1}]".to_owned(), Some(Invalid)),
        (with("delegate: {name: leaf}"), Some(Invalid)),
    ] {
        assert_eq!(http(&route), Vec::from_iter(code), "{route}");
    }
}

#[test]
fn gateways_are_judged_as_istio_does() {
    let server = |fields: &str| format!("{{servers: [{{{fields}}}]}}");
    let https = |tls: &str| {
        server(&format!("port: {{number: 443, name: https, protocol: HTTPS}}, hosts: [a.example], tls: {{{tls}}}"))
    };
    let files = "serverCertificate: /c, privateKey: /k";
    for (spec, code) in [
        (server("port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example]"), None),
        ("{}".to_owned(), Some(Invalid)),
        (server("port: {number: 80, name: http, protocol: HTTP}"), Some(Invalid)),
        (server("port: {number: 80, protocol: HTTP}, hosts: [a.example]"), Some(Invalid)),
        (server("port: {number: 80, name: http, protocol: FTP}, hosts: [a.example]"), Some(Invalid)),
        (server("port: {number: 0, name: http, protocol: HTTP}, hosts: [a.example]"), Some(Invalid)),
        (server("port: {number: 80, name: http, protocol: HTTP}, hosts: [short]"), Some(Invalid)),
        (server("port: {number: 80, name: http, protocol: HTTP}, hosts: ['other/*.a.example']"), None),
        (server("port: {number: 80, name: http, protocol: HTTP}, hosts: ['*a.example']"), Some(Invalid)),
        (server("port: {number: 80, name: http, protocol: HTTP}, bind: x, hosts: [a.example]"), Some(Invalid)),
        (
            server("port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example], tls: {httpsRedirect: true}"),
            None,
        ),
        (
            server(
                "port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example], tls: {mode: SIMPLE, serverCertificate: /c, privateKey: /k}",
            ),
            Some(Invalid),
        ),
        (server("port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.example]"), Some(Invalid)),
        (https(&format!("mode: SIMPLE, {files}")), None),
        (https("mode: SIMPLE"), Some(Invalid)),
        (https(&format!("mode: MUTUAL, {files}")), Some(Invalid)),
        (https(&format!("mode: MUTUAL, caCertificates: /ca, {files}")), None),
        (https("mode: SIMPLE, credentialName: secret"), Some(FieldRefused)),
        (https("mode: ISTIO_MUTUAL"), Some(FieldRefused)),
        (https("mode: AUTO_PASSTHROUGH"), Some(FieldRefused)),
        (https("mode: PASSTHROUGH"), None),
        (https(&format!("mode: SIMPLE, caCrl: /crl, {files}")), Some(Invalid)),
        (https(&format!("mode: SIMPLE, cipherSuites: [WRONG], {files}")), Some(Ignored)),
        (
            https(&format!("mode: SIMPLE, minProtocolVersion: TLSV1_3, maxProtocolVersion: TLSV1_2, {files}")),
            Some(FieldRefused),
        ),
    ] {
        assert_eq!(judged("Gateway", &spec), Vec::from_iter(code), "{spec}");
    }
}

#[test]
fn destination_rules_are_judged_as_istio_does() {
    for (policy, code) in [
        ("{}", Some(Invalid)),
        ("{loadBalancer: {simple: RANDOM}}", None),
        ("{loadBalancer: {simple: PASSTHROUGH}}", Some(FieldRefused)),
        ("{loadBalancer: {consistentHash: {httpCookie: {path: /}}}}", Some(Invalid)),
        ("{loadBalancer: {consistentHash: {httpHeaderName: x, maglev: {tableSize: 4}}}}", Some(Invalid)),
        ("{loadBalancer: {consistentHash: {httpHeaderName: x, maglev: {tableSize: 65537}}}}", None),
        ("{loadBalancer: {warmup: {}}}", Some(Invalid)),
        ("{loadBalancer: {zoneAwareLbSetting: {}}}", Some(FieldRefused)),
        ("{loadBalancer: {localityLbSetting: {distribute: [{from: cn, to: {'cn/*': 80, de: 20}}]}}}", None),
        ("{loadBalancer: {localityLbSetting: {distribute: [{from: cn, to: {cn: 80, de: 10}}]}}}", Some(Invalid)),
        ("{loadBalancer: {localityLbSetting: {distribute: [{from: cn, to: {cn: 80, cn/hz: 20}}]}}}", Some(Invalid)),
        ("{loadBalancer: {localityLbSetting: {distribute: [{from: '*/hz', to: {cn: 100}}]}}}", Some(Invalid)),
        (
            "{loadBalancer: {localityLbSetting: {failover: [{from: cn, to: de}]}}, outlierDetection: {interval: 5s}}",
            None,
        ),
        ("{loadBalancer: {localityLbSetting: {failover: [{from: cn, to: de}]}}}", Some(Ignored)),
        (
            "{loadBalancer: {localityLbSetting: {failover: [{from: cn, to: cn}]}}, outlierDetection: {interval: 5s}}",
            Some(Invalid),
        ),
        ("{loadBalancer: {localityLbSetting: {failoverPriority: [a, b=c]}}, outlierDetection: {interval: 5s}}", None),
        ("{connectionPool: {}}", Some(Invalid)),
        ("{connectionPool: {http: {http2MaxRequests: -1}}}", Some(Invalid)),
        ("{connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}}", Some(Invalid)),
        ("{connectionPool: {tcp: {idleTimeout: 0s}}}", None),
        ("{outlierDetection: {maxEjectionPercent: 101}}", Some(Invalid)),
        ("{outlierDetection: {consecutiveLocalOriginFailures: 1}}", Some(Invalid)),
        ("{outlierDetection: {consecutiveErrors: 1}}", Some(Ignored)),
        ("{tls: {mode: MUTUAL}}", Some(Invalid)),
        ("{tls: {mode: SIMPLE}}", None),
        ("{tls: {mode: SIMPLE, insecureSkipVerify: true, caCertificates: /ca}}", Some(Invalid)),
        ("{tls: {mode: SIMPLE, credentialName: secret}}", Some(FieldRefused)),
        ("{tls: {mode: ISTIO_MUTUAL}}", Some(FieldRefused)),
        ("{tunnel: {targetHost: a.example, targetPort: 80}}", Some(FieldRefused)),
        ("{portLevelSettings: [{port: {number: 80}}]}", Some(Invalid)),
        ("{portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}]}", None),
        ("{retryBudget: {percent: 25}}", None),
    ] {
        let spec = format!("{{host: orders.example, trafficPolicy: {policy}}}");
        assert_eq!(judged("DestinationRule", &spec), Vec::from_iter(code), "{policy}");
    }
    for (spec, code) in [
        ("{host: orders.example, subsets: [{name: '1.0'}]}", Some(Invalid)),
        ("{host: orders.example, subsets: [{name: v1}, {name: v1}]}", Some(Invalid)),
        ("{host: orders.example, subsets: [{name: v1, labels: {'a b': c}}]}", Some(Invalid)),
        ("{host: ''}", Some(Invalid)),
        ("{host: orders.example, workloadSelector: {matchLabels: {a: b}}, exportTo: ['*']}", Some(Invalid)),
        ("{host: orders.example, workloadSelector: {matchLabels: {a: b}}}", None),
    ] {
        assert_eq!(judged("DestinationRule", spec), Vec::from_iter(code), "{spec}");
    }
}

#[test]
fn one_resource_has_a_hundred_findings_at_most() {
    let many = |count: usize, text: &str| vec![text; count].join(", ");
    for (hosts, routes) in [
        (many(20_000, "a.example"), format!("{{{TO}}}")),
        // What refuses is not lost behind what is ignored.
        (
            "a.example".into(),
            many(200, &format!("{{fault: {{abort: {{httpStatus: 500}}}}, {TO}}}")) + ", {redirect: {}}",
        ),
    ] {
        let rules = rules(&format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: vs}}\nspec: {{hosts: [{hosts}], http: [{routes}]}}\n"
        ));
        assert_eq!(rules.findings().len(), 100);
        assert!(rules.findings().iter().any(|finding| finding.code == Invalid), "{:?}", rules.findings());
        assert!(rules.is_empty());
    }
}

/// A wrong form costs itself: the last good one counts, until there is another good one.
#[test]
fn the_last_good_form_counts() {
    let yaml = |status: u32| routes_yaml(&format!("directResponse: {{status: {status}}}"));
    let mesh = Mesh::default();
    let status = |rules: &Rules| {
        let traffic = traffic(&router(), rules, &shapes(&[]), &mesh, &mut Memo::default());
        let value = found(&traffic.resources, Kind::Route, "http.80");
        value.pointer("/virtualHosts/0/routes/0/directResponse/status").cloned().unwrap_or_default()
    };
    let good = rules_of(&read(&yaml(200)), &Rules::default(), &mesh);
    let wrong = rules_of(&read(&yaml(100)), &good, &mesh);
    let other = rules_of(&read(&yaml(201)), &wrong, &mesh);
    assert_eq!([status(&good), status(&wrong), status(&other)], [200, 200, 201].map(Value::from));
    assert_eq!(
        (codes(wrong.findings()), codes(other.findings())),
        (vec!["invalid shop/vs http[0].directResponse".into()], vec![])
    );
    assert_eq!(rules_of(&read(&yaml(100)), &Rules::default(), &mesh).findings().len(), 1);
}

fn routes_yaml(http: &str) -> String {
    format!("
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec: {{selector: {{istio: ingressgateway}}, servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*']}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: vs}}
spec: {{hosts: [a.example], gateways: [edge], http: [{{{http}}}]}}
")
}

#[test]
fn policies_that_only_istios_proxies_obey_are_told() {
    let yaml = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny}\nspec: {}\n";
    assert_eq!(codes(rules(yaml).findings()), ["not_protected shop/deny "]);
    assert!(rules(yaml).is_empty());
}
