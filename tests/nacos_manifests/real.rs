//! Real Nacos servers: what is published, changed and deleted there is told, long before the next list.

use crate::{
    recorder::Recorder,
    support::{nacos::Nacos, tcp_proxy::TcpProxy, until},
    told::Told,
};
use portolan::{
    registry::nacos::{Config, Login, Manifests, Mode, Namespaces},
    util::secret::Secret,
};
use reqwest::{Client, Method};
use std::time::Duration;

/// Longer than any of these tests: what is told sooner was said by the server.
const NEVER: Duration = Duration::from_secs(3600);

/// What an operator does to a server's configuration.
struct Operator {
    old: bool,
    url: String,
    http: Client,
}

impl Operator {
    fn of(server: &Nacos, script: &str) -> Operator {
        Operator {
            old: script == "nacos2",
            url: format!("{}/nacos", server.url()),
            http: Client::builder().no_proxy().build().unwrap(),
        }
    }

    async fn send(&self, method: Method, path: &str, form: &[(&str, &str)]) -> Result<String, String> {
        // By what servers know one another.
        let request = self.http.request(method, format!("{}{path}", self.url)).header("tests", "tests").query(form);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let (status, body) = (answer.status(), answer.text().await.map_err(|error| error.to_string())?);
        if status.is_success() { Ok(body) } else { Err(format!("{path}: {status} {body}")) }
    }

    /// Publishes a text, again and again while the server refuses, as one does that has just started.
    async fn put(&self, namespace: &str, name: &str, text: &str) {
        let old =
            [("tenant", tenant(namespace)), ("group", "ISTIO"), ("dataId", name), ("content", text), ("type", "yaml")];
        let new =
            [("namespaceId", namespace), ("groupName", "ISTIO"), ("dataId", name), ("content", text), ("type", "yaml")];
        let (path, form) = if self.old { ("/v1/cs/configs", old) } else { ("/v3/admin/cs/config", new) };
        until("the server to take a text", Duration::from_secs(60), || self.send(Method::POST, path, &form)).await;
    }

    async fn remove(&self, namespace: &str, name: &str) {
        let old = [("tenant", tenant(namespace)), ("group", "ISTIO"), ("dataId", name)];
        let new = [("namespaceId", namespace), ("groupName", "ISTIO"), ("dataId", name)];
        let (path, form) = if self.old { ("/v1/cs/configs", old) } else { ("/v3/admin/cs/config", new) };
        self.send(Method::DELETE, path, &form).await.unwrap();
    }

    /// Makes a user that may read what the resource names.
    async fn user(&self, name: &str, resource: &str) {
        let auth = if self.old { "/v1/auth" } else { "/v3/auth" };
        let role = format!("{name}-role");
        let post = async |path: &str, form: &[(&str, &str)]| {
            self.send(Method::POST, &format!("{auth}/{path}{}", if self.old { "s" } else { "" }), form).await.unwrap();
        };
        post("user", &[("username", name), ("password", "reads")]).await;
        post("role", &[("username", name), ("role", &role)]).await;
        post("permission", &[("role", &role), ("resource", resource), ("action", "r")]).await;
    }

    /// Takes it the right.
    async fn forbid(&self, name: &str, resource: &str) {
        let path = if self.old { "/v1/auth/permissions" } else { "/v3/auth/permission" };
        let role = format!("{name}-role");
        self.send(Method::DELETE, path, &[("role", &role), ("resource", resource), ("action", "r")]).await.unwrap();
    }
}

fn tenant(namespace: &str) -> &str {
    if namespace == "public" { "" } else { namespace }
}

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
    let operator = Operator::of(&server, script);
    operator.put("public", "a.yaml", "kind: A").await;
    operator.put("public", "b.yaml", "kind: Bü").await;
    let http = TcpProxy::start(server.http()).await;
    let grpc = TcpProxy::start(server.grpc()).await;
    let recorder = Recorder::start(grpc.address).await;
    let servers = vec![Config::server(&format!("http://{}", http.address)).unwrap()];
    let mut told =
        Told::new(Config { servers, mode: Mode::Push, grpc_port: Some(recorder.address.port()), ..config(&server) });
    told.until("both", |told| told.texts().len() == 2 && is(told, "b.yaml", "kind: Bü")).await;
    operator.put("public", "a.yaml", "kind: A2").await;
    let took = told.until("the change", |told| is(told, "a.yaml", "kind: A2")).await;
    println!("{script}: a change was told after {took:.1?}.");
    operator.remove("public", "a.yaml").await;
    let took = told.until("it to go", |told| told.text("a.yaml").is_none()).await;
    println!("{script}: a deletion was told after {took:.1?}.");
    if script == "nacos3" {
        operator.put("public", "late.yaml", "kind: Late").await;
        let took = told.until("the new one", |told| is(told, "late.yaml", "kind: Late")).await;
        println!("{script}: a new one was told after {took:.1?}.");
    }
    told.quiet().await;
    grpc.strand();
    operator.put("public", "b.yaml", "kind: B2").await;
    let took = told.until("the change behind the cut", |told| is(told, "b.yaml", "kind: B2")).await;
    println!("{script}: a cut without a word was made up for after {took:.1?}.");
    grpc.cut();
    operator.put("public", "b.yaml", "kind: B3").await;
    told.until("the change after the cut", |told| is(told, "b.yaml", "kind: B3")).await;
    server.restart().await;
    operator.put("public", "b.yaml", "kind: B4").await;
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
    let requests = recorder.requests();
    assert!(requests.iter().all(|kind| reading.contains(&&**kind)), "{requests:?}");
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
    let operator = Operator::of(&server, script);
    operator.put("public", "a.yaml", "kind: A").await;
    operator.put("public", "b.yaml", "kind: B").await;
    let mut told = Told::new(Config { mode: Mode::Poll, ..config(&server) });
    told.until("both", |told| told.texts().len() == 2).await;
    operator.put("public", "a.yaml", "kind: A2").await;
    let took = told.until("the change", |told| is(told, "a.yaml", "kind: A2")).await;
    println!("{script}: a change was told after {took:.1?} without gRPC.");
    operator.remove("public", "a.yaml").await;
    told.until("it to go", |told| told.text("a.yaml").is_none()).await;
    let mut listing = Told::new(Config { mode: Mode::Poll, period: Config::MIN_PERIOD, ..config(&server) });
    listing.list().await;
    operator.put("public", "late.yaml", "kind: Late").await;
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
    let operator = Operator::of(&server, script);
    server.create_namespace("ns-1", "staging").await;
    let public = if operator.old { ":ISTIO:*" } else { "public:ISTIO:*" };
    operator.user("reader", public).await;
    operator.put("public", "a.yaml", "kind: A").await;
    operator.put("ns-1", "a.yaml", "kind: N").await;
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
        operator.put("public", "a.yaml", &text).await;
        told.until("the change", |told| is(told, "a.yaml", &text)).await;
    }
    assert_eq!(told.failed, 0, "{:?}", told.errors);
    let failure = Told::new(Config { login: login("reader", "wrong"), ..config(&server) }).failure().await;
    assert!(failure.contains("cannot log in as reader"), "{failure}");
    apart.until("the last change", |told| is(told, "a.yaml", "kind: A6")).await;
    // The right is withdrawn: that is a failure, and takes nothing away.
    operator.forbid("reader", public).await;
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
