//! Real Nacos servers: what is published, changed and deleted there is told, long before the next list.

use crate::{
    support::{nacos::Nacos, tcp_proxy::TcpProxy},
    told::Told,
};
use portolan::{
    registry::nacos::{Config, Login, Manifests, Mode, Namespaces},
    util::secret::Secret,
};
use std::{collections::BTreeSet, time::Duration};

/// Longer than any of these tests: what is told sooner was said by the server.
const NEVER: Duration = Duration::from_secs(3600);

fn config(server: &Nacos) -> Config {
    let manifests = Manifests { group: "ISTIO".into(), data_ids: vec!["*.yaml".into()], namespace: "portolan".into() };
    let servers = vec![Config::server(&server.url()).unwrap()];
    Config { period: NEVER, resync: NEVER, manifests: Some(manifests), ..Config::new(servers) }
}

fn is(told: &Told, name: &str, text: &str) -> bool {
    told.text(name).is_some_and(|found| &**found == text)
}

/// By gRPC: changes, deletions, and on 3.x what is new; through cuts and a restart. Nothing but reading is asked.
async fn follow(script: &'static str) {
    let Some(mut server) = Nacos::start(script).await else { return };
    server.put_config("public", "ISTIO", "a.yaml", "kind: A").await;
    server.put_config("public", "ISTIO", "b.yaml", "kind: Bü").await;
    let http = TcpProxy::start(server.http()).await;
    let grpc = TcpProxy::start(server.grpc()).await;
    let servers = vec![Config::server(&format!("http://{}", http.address)).unwrap()];
    let mut told =
        Told::new(Config { servers, mode: Mode::Push, grpc_port: Some(grpc.address.port()), ..config(&server) });
    told.until("both", |told| told.texts().len() == 2 && is(told, "b.yaml", "kind: Bü")).await;
    server.put_config("public", "ISTIO", "a.yaml", "kind: A2").await;
    let took = told.until("the change", |told| is(told, "a.yaml", "kind: A2")).await;
    println!("{script}: a change was told after {took:.1?}.");
    server.remove_config("public", "ISTIO", "a.yaml").await;
    let took = told.until("it to go", |told| told.text("a.yaml").is_none()).await;
    println!("{script}: a deletion was told after {took:.1?}.");
    if script == "nacos3" {
        server.put_config("public", "ISTIO", "late.yaml", "kind: Late").await;
        let took = told.until("the new one", |told| is(told, "late.yaml", "kind: Late")).await;
        println!("{script}: a new one was told after {took:.1?}.");
    }
    told.quiet().await;
    grpc.strand();
    server.put_config("public", "ISTIO", "b.yaml", "kind: B2").await;
    let took = told.until("the change behind the cut", |told| is(told, "b.yaml", "kind: B2")).await;
    println!("{script}: a cut without a word was made up for after {took:.1?}.");
    grpc.cut();
    server.put_config("public", "ISTIO", "b.yaml", "kind: B3").await;
    told.until("the change after the cut", |told| is(told, "b.yaml", "kind: B3")).await;
    server.restart().await;
    server.put_config("public", "ISTIO", "b.yaml", "kind: B4").await;
    told.until("the change after the restart", |told| is(told, "b.yaml", "kind: B4")).await;
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

/// By requests that the server holds back; what is new is found by lists.
async fn wait(script: &'static str) {
    let Some(server) = Nacos::start_with(script, &[("NACOS_OLD_API", "client")]).await else { return };
    server.put_config("public", "ISTIO", "a.yaml", "kind: A").await;
    server.put_config("public", "ISTIO", "b.yaml", "kind: B").await;
    let mut told = Told::new(Config { mode: Mode::Poll, ..config(&server) });
    told.until("both", |told| told.texts().len() == 2).await;
    server.put_config("public", "ISTIO", "a.yaml", "kind: A2").await;
    let took = told.until("the change", |told| is(told, "a.yaml", "kind: A2")).await;
    println!("{script}: a change was told after {took:.1?} without gRPC.");
    server.remove_config("public", "ISTIO", "a.yaml").await;
    told.until("it to go", |told| told.text("a.yaml").is_none()).await;
    let mut listing = Told::new(Config { mode: Mode::Poll, period: Config::MIN_PERIOD, ..config(&server) });
    listing.list().await;
    server.put_config("public", "ISTIO", "late.yaml", "kind: Late").await;
    listing.until("the new one", |told| is(told, "late.yaml", "kind: Late")).await;
    assert_eq!((told.failed, listing.failed), (0, 0), "{:?}", told.errors);
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
    let mut told = Told::new(reader.clone());
    let mut apart = Told::new(Config { namespaces: both, period: Config::MIN_PERIOD, ..reader.clone() });
    told.until("it", |told| is(told, "a.yaml", "kind: A")).await;
    // One namespace may be read and the other may not.
    apart.until("one of two", |told| is(told, "a.yaml", "kind: A") && told.errors.contains_key("ns-1")).await;
    // Longer than a token lives.
    for n in 0..7 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let text = format!("kind: A{n}");
        server.put_config("public", "ISTIO", "a.yaml", &text).await;
        told.until("the change", |told| is(told, "a.yaml", &text)).await;
    }
    assert_eq!(told.failed, 0, "{:?}", told.errors);
    let failure = Told::new(Config { login: login("reader", "wrong"), ..config(&server) }).failure().await;
    assert!(failure.contains("cannot log in as reader"), "{failure}");
    apart.until("the last change", |told| is(told, "a.yaml", "kind: A6")).await;
    // The right is withdrawn: that is a failure, and takes nothing away.
    server.forbid("reader", "public:ISTIO:*").await;
    apart.until("the refusal", |told| told.errors.contains_key("public")).await;
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
