//! Providers of Dubbo with tags, static and by a rule, behind a gateway that goes by what a call says as its tag.

use super::{
    envoy::Envoy,
    landing::until_landed,
    netns,
    programs::{Consumer, Program},
};
use std::{fs, path::Path};

/// Calls of one round, all of which must reach the expected providers.
const CALLS: usize = 20;

/// A gateway at that port whose routes are those of `docs/dubbo.md`, with one more tag, as the file of a folder.
pub fn write_routes(folder: &Path, port: u16) {
    let to = |tag: &str| {
        format!(
            "  - match: [{{ headers: {{ dubbo.tag: {{ exact: {tag} }} }} }}]\n    \
             route: [{{ destination: {{ host: shop.orders.dubbo, subset: {tag} }} }}]\n"
        )
    };
    let text = format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{ name: calls }}
spec:
  servers: [{{ port: {{ number: {port}, name: grpc, protocol: GRPC }}, bind: 127.0.0.1, hosts: ['*'] }}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: orders }}
spec:
  host: shop.orders.dubbo
  subsets:
  - {{ name: gray, labels: {{ dubbo.tag: gray }} }}
  - {{ name: blue, labels: {{ dubbo.tag: blue }} }}
  - {{ name: untagged, labels: {{ dubbo.untagged: 'true' }} }}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: orders }}
spec:
  hosts: ['*']
  gateways: [calls]
  http:
{}{}  - route: [{{ destination: {{ host: shop.orders.dubbo, subset: untagged }} }}]
",
        to("gray"),
        to("blue")
    );
    fs::write(folder.join("routes.yaml"), text).unwrap();
}

/// Three providers of `shop.Orders`: one that says the tag gray itself, by application alone, and two without a tag, at both
/// levels.
pub async fn providers(registry: &str) -> [Program; 3] {
    let provider = async |mode: &str, reply: &str, more: &[&str]| {
        let (mode, reply) = (format!("mode={mode}"), format!("reply={reply}"));
        let words = [&[registry, "protocol=tri", "metadata=remote", &mode, &reply], more].concat();
        Program::dubbo_provider(3, &words).await
    };
    let (gray, second, third) = tokio::join!(
        provider("instance", "gray", &["parameters=dubbo.tag=gray"]),
        provider("all", "second", &[]),
        provider("all", "third", &[])
    );
    [gray, second, third]
}

/// A tag rule of their application, with that list of tags.
fn rule(tags: &str) -> String {
    format!("configVersion: v3.0\nforce: true\nenabled: true\nkey: shop\ntags: {tags}\n")
}

/// Calls of real consumers of Triple go to the providers that have their tag, and calls without one to those without,
/// as `put` writes one tag rule after the other.
pub async fn tags_choose_providers(envoy: &Envoy, [gray, _, third]: &[Program; 3], put: impl AsyncFn(&str)) {
    let of = |program: &Program, tag: &str| {
        rule(&format!("[{{ name: {tag}, addresses: ['{}:{}'] }}]", netns::ADDRESS, program.port))
    };
    let consumer = async |tag: &'static str| {
        let words = ["protocol=tri", tag];
        Consumer::start(3, envoy.listener.port(), if tag.is_empty() { &words[..1] } else { &words }).await
    };
    put(&rule("[]")).await;
    let (mut grays, mut blues, mut plain) = tokio::join!(consumer("tag=gray"), consumer("tag=blue"), consumer(""));
    let mut land = async |what: &str, of_gray: &[&str], of_blue: &[&str], without: &[&str]| {
        for (tag, consumer, expected) in
            [("gray", &mut grays, of_gray), ("blue", &mut blues, of_blue), ("none", &mut plain, without)]
        {
            let calls = if expected == ["FAILED"] { 3 } else { CALLS };
            let fits = |landed: &std::collections::BTreeMap<String, usize>| landed.keys().eq(expected);
            until_landed(&format!("{what}, tag {tag}"), consumer, calls, fits).await;
        }
    };
    land("an empty rule", &["gray"], &["FAILED"], &["second", "third"]).await;
    put(&of(third, "blue")).await;
    land("one has a tag by the rule", &["gray"], &["third"], &["second"]).await;
    // The rule goes before what a provider says itself.
    put(&of(gray, "blue")).await;
    land("one has another tag by the rule", &["FAILED"], &["gray"], &["second", "third"]).await;
    put(&rule("[]")).await;
    land("an empty rule again", &["gray"], &["FAILED"], &["second", "third"]).await;
    assert_eq!(envoy.complaints().await, []);
}
