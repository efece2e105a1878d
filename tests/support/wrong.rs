//! Istio's resources that are refused, or that lead nowhere: what they are, and where people are told of it.

/// A wrong document, and where Portolan tells what is wrong.
pub struct Wrong {
    pub what: &'static str,
    pub text: String,
    /// The page of admin that says so, and words that stand there.
    pub page: &'static str,
    pub words: &'static [&'static str],
}

const MANIFESTS: &str = "/api/v1/manifests";
const FINDINGS: &str = "/api/v1/findings";

/// A VirtualService of these gateways, whose `http` is that.
pub fn routes(name: &str, host: &str, gateways: &str, http: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{ name: {name} }}\n\
         spec: {{ hosts: [{host}], gateways: [{gateways}], http: [{http}] }}\n"
    )
}

/// An item of `http` that routes everything to a service.
pub fn to(service: &str) -> String {
    format!("{{ route: [{{ destination: {{ host: {service} }} }}] }}")
}

/// Documents for these gateways, which name a service that is there. Their VirtualServices are called `bad`.
pub fn documents(gateways: &str, service: &str) -> Vec<Wrong> {
    let bad = |http: &str| routes("bad", "bad.test", gateways, http);
    let leaf = |name: &str, http: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{ name: {name} }}\n\
             spec: {{ http: [{http}] }}\n"
        )
    };
    let route = format!("route: [{{ destination: {{ host: {service} }} }}]");
    let part = format!("{{ destination: {{ host: {service} }}, weight: 0 }}");
    let regex = |pattern: &str| bad(&format!("{{ match: [{{ uri: {{ regex: '{pattern}' }} }}], {route} }}"));
    let huge = bad(&to(service)).repeat((10 << 20) / 100);
    assert!(huge.len() > 10 << 20);
    let wrong = |what, text, page, words| Wrong { what, text, page, words };
    vec![
        wrong("10 MB", huge, MANIFESTS, &["and at most 1048576 are read; divide it into several files"]),
        wrong("no YAML", "spec: [".to_owned(), MANIFESTS, &["\"state\":\"wrong\"", "bad.yaml"]),
        wrong("no such field", bad("{ rout: [] }"), MANIFESTS, &["did you mean", "route"]),
        wrong(
            "weights that come to 0",
            bad(&format!("{{ route: [{part}, {part}] }}")),
            FINDINGS,
            &["invalid", "the weights come to 0"],
        ),
        wrong(
            "a percent sign in a header",
            bad(&format!("{{ headers: {{ request: {{ set: {{ x-off: '50% off' }} }} }}, {route} }}")),
            FINDINGS,
            &["invalid", "write %% for a percent sign"],
        ),
        wrong("no regex", regex("/("), FINDINGS, &["invalid", "http[0].match[0].uri"]),
        wrong("a regex above RE2's limit", regex("(\\pL{90}){11}"), FINDINGS, &["invalid", "Envoy takes 32768"]),
        wrong(
            "a delegate of a delegate",
            bad("{ delegate: { name: leaf } }")
                + &leaf("leaf", "{ delegate: { name: deeper } }")
                + &leaf("deeper", &to(service)),
            FINDINGS,
            &["delegate"],
        ),
        wrong(
            "a Secret of Kubernetes",
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: { name: bad }\nspec: { servers: [{ port: { number: 8443, \
             name: https, protocol: HTTPS }, hosts: ['*'], tls: { mode: SIMPLE, credentialName: shop } }] }\n"
                .to_owned(),
            FINDINGS,
            &["field_refused", "credentialName"],
        ),
        wrong("a destination that is not there", bad(&to("nobody.example")), FINDINGS, &["destination_unknown"]),
    ]
}
