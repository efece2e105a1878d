//! Push from real Nacos servers: it comes, it survives cuts, and it ends where polling ends.

mod figures;
mod grpc;
mod lost;
mod names;
mod property;
mod reset;
#[path = "../support/mod.rs"]
mod support;

use portolan::{
    config,
    registry::{
        Kind,
        nacos::{Config, Mode},
    },
    util::yaml::Resolver,
};
use std::time::Duration;
use support::{
    nacos::Nacos,
    reading::Reading,
    tcp_proxy::TcpProxy,
    tls::{ONE, TlsFront},
};

/// Longer than any of these tests: what is heard sooner was pushed.
const NEVER: Duration = Duration::from_secs(3600);

fn settings(server: &Nacos) -> Config {
    let servers = vec![Config::server(&server.url()).unwrap()];
    Config { mode: Mode::Push, period: Config::MIN_PERIOD, resync: NEVER, ..Config::new(servers) }
}

/// Everything that a reader is to see of a change, with no list but of names.
async fn follow(server: &Nacos) {
    let mut reading = Reading::new(Kind::Nacos(settings(server)));
    reading.list().await;
    let weight = |h: &Reading| h.service("orders").and_then(|s| s.endpoints.first().map(|e| e.weight.get()));
    let version = |h: &Reading| {
        let service = h.service("orders")?;
        service.endpoints.first()?.labels.get("version").map(ToString::to_string)
    };
    let enabled = |h: &Reading| h.service("orders").and_then(|s| s.endpoints.first().map(|e| e.enabled));
    server.register("orders", "10.0.0.1:8080", "weight=1.5&metadata={\"version\":\"v1\"}").await;
    reading.until("the instance", |h| weight(h) == Some(1.5) && version(h).as_deref() == Some("v1")).await;
    let mut by_push_alone = false;
    // A list in between proves nothing, such as that after a connection which a busy machine has lost: then once more.
    for turn in 1..=5 {
        let listed = rest(&mut reading).await;
        let heavy = f64::from(turn) / 4.0;
        let settings = |version: &str| format!("weight={heavy}&metadata={{\"version\":\"{version}\"}}");
        server.register("orders", "10.0.0.1:8080", &settings("v1")).await;
        reading.until("the weight", |h| weight(h) == Some(heavy)).await;
        server.register("orders", "10.0.0.1:8080", &settings("v2")).await;
        reading.until("the metadata", |h| version(h).as_deref() == Some("v2")).await;
        server.register("orders", "10.0.0.1:8080", &format!("weight={heavy}&enabled=false")).await;
        reading.until("it to be disabled", |h| enabled(h) == Some(false)).await;
        by_push_alone = reading.listed == listed;
        if by_push_alone {
            break;
        }
    }
    assert!(by_push_alone, "each time a list was read, too: {:?}", reading.failures);
    // Nacos 3 says that the service is gone, and the list is what shows it.
    server.deregister("orders", "10.0.0.1:8080", "").await;
    reading.until("it to be gone", |h| h.service("orders").is_none_or(|s| s.endpoints.is_empty())).await;
    assert_eq!(reading.failed, 0, "{:?}", reading.failures);
}

/// Waits until lists come to rest: a new service is subscribed to after the list that names it. How many there were.
async fn rest(reading: &mut Reading) -> usize {
    let mut listed = usize::MAX;
    while listed != reading.listed {
        listed = reading.listed;
        for _ in 0..3 {
            reading.round().await;
        }
    }
    listed
}

/// A cut that nobody tells of, and a restart: both are noticed, and what changed meanwhile is there afterwards.
async fn survive(server: &mut Nacos) {
    let proxy = TcpProxy::start(server.grpc()).await;
    let mut reading = Reading::new(Kind::Nacos(Config { grpc_port: Some(proxy.address.port()), ..settings(server) }));
    let persistent = |weight: &str| format!("ephemeral=false&weight={weight}");
    let weight = |h: &Reading| h.service("kept").and_then(|s| s.endpoints.first().map(|e| e.weight.get()));
    server.register("kept", "10.0.0.2:80", &persistent("1")).await;
    reading.until("the instance", |h| weight(h) == Some(1.0)).await;
    server.register("kept", "10.0.0.2:80", &persistent("2")).await;
    reading.until("push", |h| weight(h) == Some(2.0)).await;
    proxy.strand();
    server.register("kept", "10.0.0.2:80", &persistent("3")).await;
    let took = reading.until("the change behind the cut", |h| weight(h) == Some(3.0)).await;
    println!("A cut without a word was made up for after {took:.1?}.");
    // Nobody is asked for whole lists here, so whoever hears of it again is pushed to again.
    server.restart().await;
    server.register_patiently("kept", "10.0.0.2:80", &persistent("4")).await;
    reading.until("the change after the restart", |h| weight(h) == Some(4.0)).await;
}

/// With a login whose tokens end soon, and over TLS: by HTTP and gRPC alike.
async fn follow_with_login_and_tls(server: &Nacos, password: &str) {
    let folder = tempfile::tempdir().unwrap();
    ONE.write(folder.path());
    let http = TlsFront::start(&ONE, Some(&ONE), server.http()).await;
    let grpc = TlsFront::start(&ONE, Some(&ONE), server.grpc()).await;
    let (login, tls) =
        (format!("username: nacos, password: {password}"), "ca: ca.pem, cert: client.pem, key: client.key");
    let section = |grpc_port: u16, tls: &str| {
        format!(
            "version: 1\nregistries:\n- name: r\n  nacos: {{ servers: '{}', mode: push, period: 200ms, resync: 1h, \
             grpc_port: {grpc_port}, {login}, tls: {{ {tls} }} }}\n",
            http.url()
        )
    };
    let start = |section: String| {
        let loaded = config::parse("c.yaml", section.as_bytes(), &Resolver::new(folder.path())).unwrap();
        Reading::new(loaded.config.registries.into_iter().next().unwrap().kind)
    };
    let mut reading = start(section(grpc.port(), tls));
    let persistent = |weight: &str| format!("ephemeral=false&weight={weight}");
    let weight_of = |h: &Reading, name: &str| h.service(name).and_then(|s| s.endpoints.first().map(|e| e.weight.get()));
    let weight = |h: &Reading| weight_of(h, "guarded");
    server.register_patiently("guarded", "10.0.0.3:80", &persistent("1")).await;
    reading.until("the instance", |h| weight(h) == Some(1.0)).await;
    // Longer than a token lives.
    for n in 2..8 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.register("guarded", "10.0.0.3:80", &persistent(&n.to_string())).await;
        reading.until("push", |h| weight(h) == Some(f64::from(n))).await;
    }
    server.register("late", "10.0.0.4:80", &persistent("1")).await;
    reading.until("a new service", |h| weight_of(h, "late") == Some(1.0)).await;
    server.register("late", "10.0.0.4:80", &persistent("9")).await;
    reading.until("its push", |h| weight_of(h, "late") == Some(9.0)).await;
    assert_eq!(reading.failed, 0, "{:?}", reading.errors);
    // HTTP alone is not enough for push, and who asked for push hears why it is not there.
    let failure = start(section(server.grpc().port(), tls)).failure().await;
    assert!(failure.contains("nothing is pushed") && failure.contains("gRPC"), "{failure}");
}

#[tokio::test]
async fn nacos_2_is_followed_by_push_with_login_and_tls() {
    let environment = [("NACOS_AUTH", "on"), ("NACOS_TOKEN_SECONDS", "5")];
    let Some(server) = Nacos::start_with("nacos2", &environment).await else { return };
    follow_with_login_and_tls(&server, "nacos").await;
}

#[tokio::test]
async fn nacos_3_is_followed_by_push_with_login_and_tls() {
    let environment = [("NACOS_AUTH", "on"), ("NACOS_TOKEN_SECONDS", "5")];
    let Some(mut server) = Nacos::start_with("nacos3", &environment).await else { return };
    server.create_admin("s3cr3t").await;
    follow_with_login_and_tls(&server, "s3cr3t").await;
}

#[tokio::test]
async fn nacos_2_is_followed_by_push() {
    let Some(mut server) = Nacos::start("nacos2").await else { return };
    follow(&server).await;
    survive(&mut server).await;
}

#[tokio::test]
async fn nacos_3_is_followed_by_push() {
    let Some(mut server) = Nacos::start("nacos3").await else { return };
    follow(&server).await;
    survive(&mut server).await;
}
