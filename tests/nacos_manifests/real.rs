//! Real Nacos servers: what is published, changed and deleted there is received, long before the next list.

use crate::{
    received::Received,
    support::{nacos::Nacos, tcp_proxy::TcpProxy},
};
use portolan::{
    registry::nacos::{Config, Login, Manifests, Mode, Namespaces},
    util::secret::Secret,
};
use std::{collections::BTreeSet, time::Duration};

/// Longer than any of these tests: what is received sooner was sent by the server.
const NEVER: Duration = Duration::from_secs(3600);

fn config(server: &Nacos) -> Config {
    let manifests = Manifests { group: "ISTIO".into(), data_ids: vec!["*.yaml".into()], namespace: "portolan".into() };
    let servers = vec![Config::server(&server.url()).unwrap()];
    Config { period: NEVER, resync: NEVER, manifests: Some(manifests), ..Config::new(servers) }
}

fn is(received: &Received, name: &str, text: &str) -> bool {
    received.text(name).is_some_and(|found| &**found == text)
}

/// By gRPC: changes, deletions, and on 3.x what is new; through cuts and a restart. Nothing but reading is asked.
async fn follow(script: &'static str) {
    let Some(mut server) = Nacos::start(script).await else { return };
    server.put_config("public", "ISTIO", "a.yaml", "kind: A").await;
    server.put_config("public", "ISTIO", "b.yaml", "kind: Bü").await;
    let http = TcpProxy::start(server.http()).await;
    let grpc = TcpProxy::start(server.grpc()).await;
    let servers = vec![Config::server(&format!("http://{}", http.address)).unwrap()];
    let mut received =
        Received::new(Config { servers, mode: Mode::Push, grpc_port: Some(grpc.address.port()), ..config(&server) });
    received.until("both", |received| received.texts().len() == 2 && is(received, "b.yaml", "kind: Bü")).await;
    server.put_config("public", "ISTIO", "a.yaml", "kind: A2").await;
    let took = received.until("the change", |received| is(received, "a.yaml", "kind: A2")).await;
    println!("{script}: a change was received after {took:.1?}.");
    server.remove_config("public", "ISTIO", "a.yaml").await;
    let took = received.until("it to go", |received| received.text("a.yaml").is_none()).await;
    println!("{script}: a deletion was received after {took:.1?}.");
    if script == "nacos3" {
        server.put_config("public", "ISTIO", "late.yaml", "kind: Late").await;
        let took = received.until("the new one", |received| is(received, "late.yaml", "kind: Late")).await;
        println!("{script}: a new one was received after {took:.1?}.");
    }
    received.quiet().await;
    grpc.strand();
    server.put_config("public", "ISTIO", "b.yaml", "kind: B2").await;
    let took = received.until("the change behind the cut", |received| is(received, "b.yaml", "kind: B2")).await;
    println!("{script}: a cut without a word was made up for after {took:.1?}.");
    grpc.cut();
    server.put_config("public", "ISTIO", "b.yaml", "kind: B3").await;
    received.until("the change after the cut", |received| is(received, "b.yaml", "kind: B3")).await;
    server.restart().await;
    server.put_config("public", "ISTIO", "b.yaml", "kind: B4").await;
    received.until("the change after the restart", |received| is(received, "b.yaml", "kind: B4")).await;
    let asked = http.asked();
    assert_eq!(asked.iter().filter(|line| !line.starts_with("GET ")).count(), 0, "{asked:#?}");
    let reading = [
        "ConfigBatchListenRequest",
        "ConfigFuzzyWatchRequest",
        "ConnectionSetupRequest",
        "HealthCheckRequest",
        "ServerCheckRequest",
        "NamingFuzzyWatchRequest",
        "SubscribeServiceRequest",
    ];
    let messages = grpc.messages();
    let requests: BTreeSet<&str> =
        messages.iter().map(|kind| &**kind).filter(|kind| kind.ends_with("Request")).collect();
    assert!(requests.iter().all(|kind| reading.contains(kind)), "{requests:?}");
    assert!(requests.contains("ConfigBatchListenRequest"), "{requests:?}");
}

#[tokio::test]
async fn nacos_2_tells_changes_by_grpc() {
    follow("nacos2").await;
}

#[tokio::test]
async fn nacos_3_tells_changes_by_grpc() {
    follow("nacos3").await;
}

/// Follows by requests that the server holds until something changes; new texts are found by lists.
async fn wait(script: &'static str) {
    let Some(server) = Nacos::start_with(script, &[("NACOS_OLD_API", "client")]).await else { return };
    server.put_config("public", "ISTIO", "a.yaml", "kind: A").await;
    server.put_config("public", "ISTIO", "b.yaml", "kind: B").await;
    let mut received = Received::new(Config { mode: Mode::Poll, ..config(&server) });
    received.until("both", |received| received.texts().len() == 2).await;
    server.put_config("public", "ISTIO", "a.yaml", "kind: A2").await;
    let took = received.until("the change", |received| is(received, "a.yaml", "kind: A2")).await;
    println!("{script}: a change was received after {took:.1?} without gRPC.");
    server.remove_config("public", "ISTIO", "a.yaml").await;
    received.until("it to go", |received| received.text("a.yaml").is_none()).await;
    let mut listing = Received::new(Config { mode: Mode::Poll, period: Config::MIN_PERIOD, ..config(&server) });
    listing.list().await;
    server.put_config("public", "ISTIO", "late.yaml", "kind: Late").await;
    listing.until("the new one", |received| is(received, "late.yaml", "kind: Late")).await;
    assert_eq!((received.failed, listing.failed), (0, 0), "{:?}", received.errors);
}

#[tokio::test]
async fn nacos_2_tells_changes_without_grpc() {
    wait("nacos2").await;
}

#[tokio::test]
async fn nacos_3_tells_changes_without_grpc() {
    wait("nacos3").await;
}

/// With a login whose tokens end soon, of a user that may read one group and no more.
async fn read_with_rights(script: &'static str) {
    let environment = [("NACOS_AUTH", "on"), ("NACOS_TOKEN_SECONDS", "5")];
    let Some(mut server) = Nacos::start_with(script, &environment).await else { return };
    if script == "nacos3" {
        server.create_admin("nacos").await;
    }
    server.create_namespace("ns-1", "staging").await;
    server.create_user("reader", "reads", "public:ISTIO:*").await;
    server.put_config("public", "ISTIO", "a.yaml", "kind: A").await;
    server.put_config("ns-1", "ISTIO", "a.yaml", "kind: N").await;
    let login = |user: &str, password: &str| Some(Login { username: user.into(), password: Secret::new(password) });
    let both = Namespaces::Named(vec!["public".into(), "ns-1".into()]);
    let reader = Config { mode: Mode::Push, login: login("reader", "reads"), ..config(&server) };
    let mut received = Received::new(reader.clone());
    let mut apart = Received::new(Config { namespaces: both, period: Config::MIN_PERIOD, ..reader.clone() });
    received.until("it", |received| is(received, "a.yaml", "kind: A")).await;
    // One namespace may be read and the other may not.
    apart
        .until("one of two", |received| is(received, "a.yaml", "kind: A") && received.errors.contains_key("ns-1"))
        .await;
    // Longer than a token lives.
    for n in 0..7 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let text = format!("kind: A{n}");
        server.put_config("public", "ISTIO", "a.yaml", &text).await;
        received.until("the change", |received| is(received, "a.yaml", &text)).await;
    }
    assert_eq!(received.failed, 0, "{:?}", received.errors);
    let failure = Received::new(Config { login: login("reader", "wrong"), ..config(&server) }).failure().await;
    assert!(failure.contains("cannot log in as reader"), "{failure}");
    apart.until("the last change", |received| is(received, "a.yaml", "kind: A6")).await;
    // The right is withdrawn: that is a failure, and takes nothing away.
    server.forbid("reader", "public:ISTIO:*").await;
    apart.until("the refusal", |received| received.errors.contains_key("public")).await;
    assert_eq!(apart.texts()["public/a.yaml"], "kind: A6");
}

#[tokio::test]
async fn on_nacos_2_the_right_to_read_the_group_is_enough() {
    read_with_rights("nacos2").await;
}

#[tokio::test]
async fn on_nacos_3_the_right_to_read_the_group_is_enough() {
    read_with_rights("nacos3").await;
}
