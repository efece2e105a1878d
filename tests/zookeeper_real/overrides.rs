//! Dubbo's overrides, beside real providers and in the configuration centre: what they set, where calls land.

use super::{
    applications::register_and_describe,
    calls::registry,
    config, listed, polling, read,
    reads_only::{assert_only_reading, listen},
    support::{
        envoy::Envoy,
        landing::{dubbo_rule as rule, rules_move_calls},
        netns,
        portolan::Portolan,
        programs::Program,
        reading::Reading,
        zookeeper::{ZooKeeper, encoded},
    },
    until_listed,
};
use portolan::registry::zookeeper::{Applications, Config, Layout};
use std::{collections::BTreeMap, net::SocketAddr, time::Instant};

const TRIPLE: &str = "outbound|50051||shop.orders.dubbo";
const RULES: &str = "/dubbo/config/dubbo";

fn overriding(server: SocketAddr) -> Config {
    Config { overrides: true, ..config(server, Layout::Dubbo) }
}

/// The findings of rules, which are listed as unreadable.
fn findings(reading: &Reading) -> String {
    let all = reading.unreadable.get("/dubbo").into_iter().flatten();
    all.map(|(id, why)| format!("{id}: {why}")).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn rules_hold_at_once_wherever_they_stand_and_only_while_they_do() {
    for (script, poll) in [("zookeeper", false), ("zookeeper", true), ("zookeeper35", false)] {
        let Some(server) = ZooKeeper::start(script).await else { return };
        let writer = server.writer().await;
        let config = overriding(server.address());
        writer.provide("a.A", "dubbo://192.0.2.1:20880/a.A?application=shop").await;
        writer.provide("a.A", "dubbo://192.0.2.2:20880/a.A?application=shop&weight=200").await;
        writer.provide("a.B", "dubbo://192.0.2.1:20880/a.B?application=shop&group=g").await;
        let mut reading = read(if poll { polling(config) } else { config });
        let of = |first: &'static str, second: &'static str, other: &'static str| {
            [
                (
                    "dubbo/a.A",
                    vec![format!("192.0.2.1:20880 dubbo {first}"), format!("192.0.2.2:20880 dubbo {second}")],
                ),
                ("dubbo/g/a.B", vec![format!("192.0.2.1:20880 dubbo {other}")]),
            ]
        };
        let mut is = async |what: &str, expected: [(&'static str, Vec<String>); 2]| {
            let expected: BTreeMap<String, Vec<String>> =
                expected.into_iter().map(|(id, instances)| (id.to_owned(), instances)).collect();
            reading.until(what, |r| listed(r) == expected).await;
        };
        is("no rule", of("1", "2", "1")).await;
        // Beside the providers, for one of them.
        let url = "override://192.0.2.1:20880/a.A?category=configurators&dynamic=false&disabled=true";
        let beside = format!("/dubbo/a.A/configurators/{}", encoded(url));
        writer.create(&beside, "").await;
        is("one is disabled", of("1 off", "2", "1")).await;
        // Of the application, for all that it provides.
        let shop = format!("{RULES}/shop.configurators");
        writer.create(&shop, &rule("application", "shop", "side: provider\n  parameters: { weight: 50 }")).await;
        is("a rule of the application", of("0.5 off", "0.5", "0.5")).await;
        // Of a service: it goes before the others.
        let service = format!("{RULES}/a.A::.configurators");
        let item = "side: consumer\n  parameters: { weight: 300, disabled: false }";
        writer.create(&service, &rule("service", "a.A", item)).await;
        is("a rule of the service", of("3", "3", "0.5")).await;
        writer.set(&service, "nonsense: [").await;
        is("nonsense", of("0.5 off", "0.5", "0.5")).await;
        writer.delete(&shop).await;
        is("no rule of the application", of("1 off", "2", "1")).await;
        writer.delete(&beside).await;
        writer.delete(&service).await;
        is("no rule again", of("1", "2", "1")).await;
        let item = "side: consumer\n  applications: [web]\n  parameters: { weight: 1 }";
        writer.create(&service, &rule("service", "a.A", item)).await;
        reading
            .until("a finding", |r| findings(r).contains("r/dubbo/config/a.A::.configurators: 1 of its rules"))
            .await;
    }
}

#[tokio::test]
async fn rules_hold_for_applications_and_long_ones_are_bounded() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let writer = server.writer().await;
    register_and_describe(&writer, "shop", "192.0.2.1:20880", "a.A").await;
    let mut reading = read(Config { applications: Some(Applications::default()), ..overriding(server.address()) });
    until_listed(&mut reading, "no rule", &[("dubbo/a.A", &["192.0.2.1:20880 dubbo 1"])]).await;
    // What stands beside providers is for those that stand there.
    let url = "override://0.0.0.0/a.A?category=configurators&dynamic=false&weight=7";
    writer.create(&format!("/dubbo/a.A/configurators/{}", encoded(url)), "").await;
    let service = format!("{RULES}/a.A::.configurators");
    let long = "x".repeat((1 << 20) - 300);
    let item = format!("side: provider\n  parameters: {{ weight: 50, x: {long} }}");
    writer.create(&service, &rule("service", "a.A", &item)).await;
    until_listed(&mut reading, "a rule of a megabyte", &[("dubbo/a.A", &["192.0.2.1:20880 dubbo 0.5"])]).await;
    let application =
        "side: provider\n  addresses: ['192.0.2.1:20880']\n  services: [a.A]\n  parameters: { weight: 20 }";
    writer.create(&format!("{RULES}/shop.configurators"), &rule("application", "shop", application)).await;
    writer.delete(&service).await;
    until_listed(&mut reading, "a rule of the application", &[("dubbo/a.A", &["192.0.2.1:20880 dubbo 0.2"])]).await;
}

/// Real providers, which apply rules of their side by themselves, and calls through a real Envoy.
#[tokio::test(flavor = "multi_thread")]
async fn weights_that_rules_set_are_seen_in_where_calls_land() {
    let name = "overrides::weights_that_rules_set_are_seen_in_where_calls_land";
    if !netns::inside(name, &["envoy", "zookeeper", "dubbo3"]).await {
        return;
    }
    let zookeeper = ZooKeeper::start("zookeeper").await.expect("it was prepared");
    let (noted, seen) = listen(zookeeper.address()).await;
    let portolan = Portolan::start(&format!(
        "registries:\n- name: dubbo\n  \
         zookeeper: {{ servers: ['{noted}'], dubbo: {{ applications: {{}}, overrides: true }} }}\n  publish: {{ hold: 0s }}\n"
    ))
    .await;
    portolan.ready().await;
    let Some(envoy) = Envoy::start(&Envoy::http2(TRIPLE), portolan.xds).await else { return };
    let registry = registry(&zookeeper);
    let provider = async |mode: &str, reply: &str| {
        let (mode, reply) = (format!("mode={mode}"), format!("reply={reply}"));
        Program::dubbo_provider(3, &[&registry, "protocol=tri", "metadata=remote", &mode, &reply]).await
    };
    let (first, second) = tokio::join!(provider("all", "first"), provider("instance", "second"));
    let (writer, service) = (zookeeper.writer().await, format!("{RULES}/shop.Orders::.configurators"));
    writer.create(&service, "").await;
    let put = async |text: Option<&str>| match text {
        Some(text) => writer.set(&service, text).await,
        None => writer.delete(&service).await,
    };
    rules_move_calls(&envoy, TRIPLE, (&first, &second), put).await;
    assert_only_reading(&seen, "overrides");
    tokio::join!(first.stop(), second.stop());
}

/// A measurement: prints how long one change of a rule takes beside 5,000 rules.
#[tokio::test]
#[ignore = "a measurement: run by tests/long/dubbo"]
async fn one_change_beside_5000_rules() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let writer = server.writer().await;
    for number in 0..5_000 {
        let interface = format!("a.A{number}");
        writer.provide(&interface, &format!("dubbo://192.0.2.1:20880/{interface}?application=shop")).await;
        let text = rule("service", &interface, "side: provider\n  parameters: { weight: 50 }");
        writer.create(&format!("{RULES}/{interface}::.configurators"), &text).await;
    }
    let mut reading = read(overriding(server.address()));
    reading.until("all", |r| listed(r).len() == 5_000).await;
    let mut took = Vec::new();
    for number in 0..20 {
        let weight = 100 + number;
        let text = rule("service", "a.A77", &format!("side: provider\n  parameters: {{ weight: {weight} }}"));
        let started = Instant::now();
        writer.set(&format!("{RULES}/a.A77::.configurators"), &text).await;
        let applied = reading.applied;
        reading.until("the change", |r| r.applied > applied).await;
        took.push(started.elapsed());
    }
    took.sort();
    println!("one change beside 5,000 rules: median {:?}, longest {:?}", took[10], took[19]);
}
