//! Settings of the servers and of the log change in place: for what begins from then on, and without the end of anything.

use crate::{
    client::{ADS_SOTW, Sotw},
    envoy::Envoy,
    support::{http::client, portolan::Portolan, until},
    world::{LIMIT, World},
};
use serde_json::Value;
use std::fs;
use tonic::{Code, Status, transport::Endpoint};

const A: &str = "registries:\n- { name: a, file: { path: a.yaml } }\n";
const ORDERS: (&str, &[&str]) = ("orders.example", &["10.0.0.1:80"]);
const MOVED: (&str, &[&str]) = ("orders.example", &["10.0.0.2:80"]);

/// A whole configuration. `xds` and `rest` are further keys of `xds:` and `admin:`, such as `, drain: 0s`.
fn with(xds: &str, rest: &str) -> String {
    format!("version: 1\nxds: {{ listen: '127.0.0.1:0'{xds} }}\nadmin: {{ listen: '127.0.0.1:0'{rest} }}\n{A}")
}

async fn world(xds: &str) -> World {
    let folder = tempfile::tempdir().unwrap();
    World::catalogue(folder.path(), "a.yaml", &[ORDERS]);
    let path = folder.path().join("portolan.yaml");
    fs::write(&path, with(xds, "")).unwrap();
    let world = World::of(folder, portolan::config::Sources::new(Some(path)), false).await;
    world.serves(&[ORDERS]).await;
    world
}

/// Replaces the configuration, asks for a reload, and returns the changes that it names.
async fn change(world: &World, text: &str) -> Vec<String> {
    World::replace(&world.folder.path().join("portolan.yaml"), text);
    let answer = world.reload("").await;
    assert_eq!((answer.status, answer.result.as_str()), (200, "reloaded"), "{answer:?}");
    answer.changes
}

async fn open(world: &World) -> Result<Sotw, Status> {
    let channel = Endpoint::from_shared(format!("http://{}", world.xds)).unwrap().connect().await.unwrap();
    Sotw::try_open(channel, ADS_SOTW, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_for_streams_that_open_from_then_on() {
    let world = world(", drain: 0s").await;
    let envoy = Envoy::connect(&world).await;
    envoy.has(&world.endpoints().await).await;
    let few = with(", drain: 0s, limits: { streams_per_peer: 1, connections_per_peer: 9 }", "");
    assert_eq!(change(&world, &few).await, ["update xds.limits"]);
    let refused = open(&world).await.err().expect("one more is refused");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(
        refused.message(),
        "1 streams are open from this address, which is the limit (xds.limits.streams_per_peer)"
    );
    // Who has a place keeps it, and is served.
    World::catalogue(world.folder.path(), "a.yaml", &[MOVED]);
    world.serves(&[MOVED]).await;
    envoy.has(&world.endpoints().await).await;
    assert_eq!(envoy.seen(|seen| seen.ended.clone()), None);
    assert_eq!(change(&world, &with(", drain: 0s", "")).await, ["update xds.limits"]);
    let second = open(&world).await.expect("there is a place");
    second.finish().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_bytes_of_requests_have_other_limits_on_new_streams() {
    let world = world(", drain: 0s").await;
    let names: Vec<String> = (0..2_000).map(|i| format!("{i:0100}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    for (limits, expected) in [
        ("{ names_per_stream: 1999 }", "xds.limits.names_per_stream"),
        ("{ request: 64KiB }", "xds.limits.request"),
        ("{ memory: 1MiB, memory_per_peer: 1MiB, memory_per_stream: 1MiB }", ""),
    ] {
        let changes = change(&world, &with(&format!(", drain: 0s, limits: {limits}"), "")).await;
        assert_eq!(changes, ["update xds.limits"]);
        let mut stream = open(&world).await.unwrap();
        stream.ask(portolan::resource::Kind::Endpoint, &names).await;
        if expected.is_empty() {
            stream.finish().await;
        } else {
            let ended = stream.end().await;
            assert!(ended.code() == Code::ResourceExhausted && ended.message().contains(expected), "{ended:?}");
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_ready_while_it_drains() {
    let world = world(", drain: 5s").await;
    assert_eq!(world.ready().await, 200);
    let mut clients = Vec::new();
    for _ in 0..8 {
        let envoy = Envoy::connect(&world).await;
        envoy.has(&world.endpoints().await).await;
        clients.push(envoy);
    }
    world.shutdown.cancel();
    until("readiness to end", LIMIT, || async {
        match world.ready().await {
            503 => Ok(()),
            status => Err(status),
        }
    })
    .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_is_the_one_in_force_at_the_end() {
    // With this one, each of them would go on for five minutes on average.
    let world = world(", drain: 10m").await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let envoy = Envoy::connect(&world).await;
        envoy.has(&world.endpoints().await).await;
        clients.push(envoy);
    }
    let changes = change(&world, &with(", drain: 0s, max_connection_age: 1h", "")).await;
    assert_eq!(changes, ["update xds.drain", "update xds.max_connection_age"]);
    assert!(clients.iter().all(|envoy| envoy.seen(|seen| seen.ended.is_none())));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_of_admin_is_answered_at_once() {
    let world = world(", drain: 0s").await;
    let asked = async || {
        let get = client().get(format!("http://{}/api/v1/config", world.admin)).header("host", "Portolan.mesh.svc");
        get.send().await.unwrap().status().as_u16()
    };
    assert_eq!(asked().await, 421);
    assert_eq!(change(&world, &with(", drain: 0s", ", hosts: [portolan.mesh.svc]")).await, ["update admin.hosts"]);
    assert_eq!(asked().await, 200);
    assert_eq!(change(&world, &with(", drain: 0s", "")).await, ["update admin.hosts"]);
    assert_eq!(asked().await, 421);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_goes_on_in_another_format() {
    let portolan = Portolan::start("").await;
    portolan.ready().await;
    let text = fs::read_to_string(portolan.config()).unwrap();
    World::replace(&portolan.config(), &format!("{text}log: {{ format: json }}\n"));
    let reload = client().post(format!("http://{}/api/v1/reload", portolan.admin));
    let answer = reload.header("content-type", "application/json").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    until("the reload to be logged as JSON", LIMIT, async || {
        let log = portolan.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let line = lines.into_iter().find(|line| line["message"] == "Reloaded the configuration.");
        match line {
            Some(line) if line["changes"] == "update log.format" => Ok(()),
            other => Err((other, log)),
        }
    })
    .await;
    portolan.terminate().await;
}
