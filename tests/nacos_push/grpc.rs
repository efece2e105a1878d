//! Nacos 3 with its old interfaces switched off, for a user who is no administrator: read by gRPC.

use super::NEVER;
use crate::support::{nacos::Nacos, reading::Reading, tcp_proxy::TcpProxy};
use portolan::{
    registry::{
        Kind,
        nacos::{Config, Login, Mode, Namespaces},
        transport::Connection,
    },
    util::secret::Secret,
};
use std::time::Duration;
use tokio::net::TcpListener;

fn settings(server: &Nacos, mode: Mode) -> Config {
    let timeout = Duration::from_secs(2);
    let login = Login { username: "reader".into(), password: Secret::new("reads") };
    Config {
        mode,
        period: Config::MIN_PERIOD,
        resync: NEVER,
        login: Some(login),
        // Two names a page, so that there are pages.
        page_size: 2,
        connection: Connection { timeout, ..Connection::default() },
        ..Config::new(vec![Config::server(&server.url()).unwrap()])
    }
}

/// Instances, as `address:port weight health`.
fn shown(reading: &Reading, name: &str) -> Option<Vec<String>> {
    let service = reading.service(name)?;
    let endpoint = |e: &portolan::model::Endpoint| {
        format!("{}:{} {} {}", e.address, e.ports[0].number, e.weight.get(), e.health.serves())
    };
    Some(service.endpoints.iter().map(endpoint).collect())
}

async fn follow(server: &Nacos, mode: Mode) {
    let proxy = TcpProxy::start(server.grpc()).await;
    let mut reading =
        Reading::new(Kind::Nacos(Config { grpc_port: Some(proxy.address.port()), ..settings(server, mode) }));
    reading.list().await;
    assert_eq!(reading.scopes, ["public/DEFAULT_GROUP"]);
    // Several pages, and what is no longer there.
    let expected: Vec<String> = (0..5).map(|n| format!("svc-{n}")).collect();
    reading.until("all names", |h| expected.iter().all(|name| shown(h, name).is_some_and(|s| s.len() == 1))).await;
    // A change, and another behind a connection that was cut.
    server.register("svc-0", "10.0.0.1:80", "ephemeral=false&weight=3").await;
    reading.until("the weight", |h| shown(h, "svc-0").unwrap()[0].contains(":80 3 ")).await;
    proxy.cut();
    server.register("svc-0", "10.0.0.1:80", "ephemeral=false&weight=1").await;
    reading.until("the weight behind the cut", |h| shown(h, "svc-0").unwrap()[0].contains(":80 1 ")).await;
    // What is disabled is not shown; what is ill is, until the threshold makes it seem well, which is marked.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let well = listener.local_addr().unwrap().to_string();
    for (address, more) in [(&*well, "enabled=true"), ("127.0.0.1:1", "enabled=true"), ("127.0.0.2:2", "enabled=false")]
    {
        server.register("mixed", address, &format!("ephemeral=false&{more}")).await;
    }
    let ill = |h: &Reading| shown(h, "mixed").is_some_and(|s| s.len() == 2 && s.iter().any(|e| e.ends_with("false")));
    reading.until("one ill and one well", ill).await;
    server.protect("DEFAULT_GROUP", "mixed", 0.6).await;
    // Nobody pushes a threshold; a change of the service brings it.
    server.register("mixed", &well, "ephemeral=false&weight=2").await;
    let protected = |h: &Reading| h.service("mixed").is_some_and(|s| s.protected && s.endpoints.len() == 2);
    reading.until("protection", protected).await;
    assert!(shown(&reading, "mixed").unwrap().iter().all(|e| e.ends_with("true")));
    assert_eq!(reading.service("mixed").unwrap().protect_threshold, None);
    server.protect("DEFAULT_GROUP", "mixed", 0.0).await;
    server.register("mixed", &well, "ephemeral=false&weight=1").await;
    reading.until("its end", |h| !h.service("mixed").unwrap().protected).await;
    let kinds = proxy.messages();
    for needed in ["ServerCheckRequest", "ConnectionSetupRequest", "ServiceListRequest", "ServiceQueryRequest"] {
        assert!(kinds.iter().any(|kind| kind == needed), "{needed}: {kinds:?}");
    }
    // Nothing is lost while nothing passes, and all is read again when it does.
    let before = reading.endpoints();
    proxy.silence(true);
    if mode == Mode::Poll {
        reading.failure().await;
    }
    server.register("late", "10.0.0.9:80", "ephemeral=false").await;
    assert_eq!(reading.endpoints(), before);
    proxy.silence(false);
    reading.until("a new service", |h| shown(h, "late").is_some_and(|s| s.len() == 1)).await;
    assert_eq!(reading.removed, [""; 0]);
}

async fn server() -> Option<Nacos> {
    let mut server = Nacos::start_with("nacos3", &[("NACOS_AUTH", "on")]).await?;
    server.create_admin("s3cr3t").await;
    server.create_user("reader", "reads", "public:DEFAULT_GROUP:*").await;
    for n in 0..5 {
        server.register_patiently(&format!("svc-{n}"), "10.0.0.1:80", "ephemeral=false").await;
    }
    Some(server)
}

#[tokio::test]
async fn without_old_interfaces_and_rights_nacos_3_is_polled_by_grpc() {
    let Some(server) = server().await else { return };
    follow(&server, Mode::Poll).await;
}

#[tokio::test]
async fn without_old_interfaces_and_rights_nacos_3_is_followed_by_grpc() {
    let Some(server) = server().await else { return };
    follow(&server, Mode::Auto).await;
}

/// What may not be read is an error, and never an empty list.
#[tokio::test]
async fn what_may_not_be_read_by_grpc_is_an_error() {
    let Some(server) = server().await else { return };
    let read = |groups: &[&str], namespace: &str| {
        let groups = groups.iter().map(|group| (*group).into()).collect();
        let namespaces = Namespaces::Named(vec![namespace.into()]);
        Reading::new(Kind::Nacos(Config { groups, namespaces, ..settings(&server, Mode::Poll) }))
    };
    let mut reading = read(&["DEFAULT_GROUP", "secret"], "public");
    reading.until("one group", |h| h.lists.contains_key("public/DEFAULT_GROUP")).await;
    reading.until("the other's error", |h| h.errors.contains_key("public/secret")).await;
    assert!(reading.errors["public/secret"].contains("403"), "{:?}", reading.errors);
    assert_eq!(reading.lists.keys().collect::<Vec<_>>(), ["public/DEFAULT_GROUP"]);
    // Nobody may read a namespace that nobody has given rights for, whether it exists or not.
    let failure = read(&[], "nowhere").failure().await;
    assert!(failure.contains("lists services in no way") && failure.contains("403"), "{failure}");
}
