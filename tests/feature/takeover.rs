//! One process takes over from another, and the ports are never closed.

use crate::{
    client::{ADS_DELTA, Delta, delta_request},
    support::{connecting::Connecting, http, portolan::Portolan, servers::free_port, until},
};
use portolan::resource::Kind;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::{fs, net::SocketAddr, path::Path, time::Duration};
use tonic::transport::Endpoint;

const CATALOGUE: &str = "registries: [{ name: shop, example: }]\n";
const LIMIT: Duration = Duration::from_secs(60);

async fn clusters(address: SocketAddr) -> usize {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut stream = Delta::open(channel, ADS_DELTA).await;
    stream.request(delta_request(Kind::Cluster, &["*"], &[])).await;
    stream.result().await.unwrap().unwrap().resources.len()
}

#[tokio::test]
async fn ports_stay_open_from_one_process_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, unix) = (folder.path().join("takeover"), folder.path().join("xds.sock"));
    let [xds, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let start = |config: &str| {
        let (socket, xds, admin, config) = (socket.clone(), xds.clone(), admin.clone(), config.to_owned());
        async move { Portolan::start_with_takeover(&socket, &xds, &admin, &config).await }
    };
    let mut serving = start(CATALOGUE).await;
    serving.ready().await;
    let there = clusters(serving.xds).await;
    assert!(there > 0 && !unix.exists());
    let clients = [serving.xds, serving.admin].map(Connecting::to);
    for _ in 0..4 {
        until("somebody to be there to be relieved", LIMIT, async || match serving.log() {
            log if !socket.exists() => Err(log),
            _ => Ok(()),
        })
        .await;
        let next = start(CATALOGUE).await;
        let status = serving.ended().await;
        assert!(status.success(), "{status} {}", next.log());
        http::ready(next.admin).await;
        assert_eq!(clusters(next.xds).await, there);
        until("it to be there to be relieved", LIMIT, async || match next.log() {
            log if log.contains("Took over from the process before this one") => Ok(()),
            log => Err(log),
        })
        .await;
        serving = next;
    }
    for client in clients {
        client.was_always_taken().await;
    }
}

#[tokio::test]
async fn who_cannot_answer_takes_nothing_over() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("takeover");
    let [xds, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let serving = Portolan::start_with_takeover(&socket, &xds, &admin, CATALOGUE).await;
    serving.ready().await;
    let there = clusters(serving.xds).await;
    // Its registry is never there, and it is patient.
    let nowhere = free_port();
    let config = format!(
        "catalog: {{ grace: 10m }}\nregistries: [{{ name: shop, eureka: {{ servers: ['http://127.0.0.1:{nowhere}/eureka'] }} }}]\n"
    );
    let waiting = Portolan::start_with_takeover(&socket, &xds, &admin, &config).await;
    until("it to be given the sockets", LIMIT, async || match serving.log() {
        log if log.contains("Another process is about to take over") => Ok(()),
        log => Err(log),
    })
    .await;
    assert_eq!(clusters(serving.xds).await, there);
    waiting.kill().await;
    until("it to go on", LIMIT, async || match serving.log() {
        log if log.contains("has ended; this one goes on") => Ok(()),
        log => Err(log),
    })
    .await;
    assert_eq!(clusters(serving.xds).await, there);
    // A crash leaves the socket behind: the next one listens by itself.
    serving.kill().await;
    assert!(fs::symlink_metadata(&socket).is_ok());
    let last = Portolan::start_with_takeover(&socket, &xds, &admin, CATALOGUE).await;
    last.ready().await;
    assert_eq!(clusters(last.xds).await, there);
}

/// What a request of the admin API that changes something is answered.
async fn change(admin: SocketAddr, method: Method, path: &str, body: &'static str) -> (StatusCode, Value) {
    let request = http::client().request(method, format!("http://{admin}{path}")).body(body);
    let answer = request.header("content-type", "application/json").send().await.unwrap();
    (answer.status(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

/// Waits until the one that serves has given its sockets away that many times.
async fn until_given(serving: &Portolan, times: usize) {
    until("it to be given the sockets", LIMIT, async || match serving.log() {
        log if log.matches("Another process is about to take over").count() == times => Ok(()),
        log => Err(log),
    })
    .await;
}

#[tokio::test]
async fn what_was_acknowledged_is_known_to_who_takes_over() {
    const DISABLE: &str = "/api/v1/overrides?host=web.example&instance=10.0.0.2&deed=disable";
    let folder = tempfile::tempdir().unwrap();
    let (socket, late) = (folder.path().join("takeover"), folder.path().join("late.yaml"));
    let [xds, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    // It is quiet for an hour before anything is written by itself.
    let config = |more: &str| {
        format!(
            "catalog: {{ grace: 10m }}\nstate: {{ dir: '{}', quiet: 1h }}\n\
             registries: [{{ name: ours, api: {{}}, publish: {{ host: '{{service}}.example' }} }}{more}]\n",
            folder.path().join("state").display()
        )
    };
    // The one that takes over has to wait for another registry.
    let patient = config(&format!(", {{ name: late, file: {{ path: '{}', poll: 100ms }} }}", late.display()));
    let serving = Portolan::start_with_takeover(&socket, &xds, &admin, &config("")).await;
    serving.ready().await;
    let there =
        async |path: &Path| until("it to be there", LIMIT, async || path.exists().then_some(()).ok_or(())).await;
    there(&socket).await;
    let put = async |admin: SocketAddr, name: &str| {
        let body = r#"{"endpoints": ["10.0.0.1:80", "10.0.0.2:80"]}"#;
        change(admin, Method::PUT, &format!("/api/v1/services/ours/{name}?ttl=30d"), body).await
    };
    let first = put(serving.admin, "first").await;
    assert_eq!(first.0, StatusCode::CREATED, "{}", first.1);
    let waiting = Portolan::start_with_takeover(&socket, &xds, &admin, &patient).await;
    until_given(&serving, 1).await;
    let refused = put(serving.admin, "second").await;
    assert_eq!(refused.0, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.1);
    assert!(refused.1["error"].as_str().unwrap().contains("about to take over"), "{}", refused.1);
    let listed = http::json(serving.admin, "/api/v1/registries/ours/services").await;
    assert_eq!(listed.as_array().unwrap().len(), 1, "reading goes on");

    // It gives up, and changes are taken again.
    waiting.kill().await;
    let web = until("changes to be taken again", LIMIT, async || match put(serving.admin, "web").await {
        (StatusCode::CREATED, web) => Ok(web),
        other => Err(other),
    })
    .await;
    until("an instance to be disabled", LIMIT, async || match change(serving.admin, Method::POST, DISABLE, "").await {
        (StatusCode::OK, _) => Ok(()),
        other => Err(other),
    })
    .await;
    let overrides = http::json(serving.admin, "/api/v1/overrides").await;
    let next = Portolan::start_with_takeover(&socket, &xds, &admin, &patient).await;
    until_given(&serving, 2).await;
    let refused = change(serving.admin, Method::POST, DISABLE, "").await;
    assert_eq!(refused.0, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.1);
    fs::write(&late, "services: []\n").unwrap();
    let status = serving.ended().await;
    assert!(status.success(), "{status} {}", next.log());
    next.ready().await;
    let listed = http::json(next.admin, "/api/v1/registries/ours/services").await;
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|of| of["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["ours/first", "ours/web"], "{listed}");
    assert_eq!(listed[1]["version"], web["version"]);
    assert_eq!(http::json(next.admin, "/api/v1/overrides").await, overrides);
    assert_eq!(put(next.admin, "second").await.0, StatusCode::CREATED);
    until("it to be served", LIMIT, async || match http::get(next.admin, "/api/v1/services/second.example").await {
        (200, _) => Ok(()),
        other => Err(other),
    })
    .await;
    // It writes when the other has ended, also what it knows only from there.
    let ended = next.terminate().await;
    assert!(ended.success(), "{ended}");
    let last = Portolan::start(&config("")).await;
    last.ready().await;
    assert_eq!(http::json(last.admin, "/api/v1/overrides").await, overrides);
    let listed = http::json(last.admin, "/api/v1/registries/ours/services").await;
    assert_eq!(listed.as_array().unwrap().len(), 3, "{listed}");
}

#[tokio::test]
async fn who_took_over_writes_while_the_clients_of_the_other_leave() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, state) = (folder.path().join("takeover"), folder.path().join("state"));
    let [xds, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let config = format!(
        "state: {{ dir: '{}', quiet: 100ms }}\n\
         registries: [{{ name: ours, api: {{}}, publish: {{ host: '{{service}}.example' }} }}]\n",
        state.display()
    );
    let serving = Portolan::start_to_leave_over("10m", &socket, &xds, &admin, &config).await;
    serving.ready().await;
    until("it to be there to be relieved", LIMIT, async || socket.exists().then_some(()).ok_or(())).await;
    let channel = Endpoint::from_shared(format!("http://{}", serving.xds)).unwrap().connect().await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut stream = Delta::open(channel.clone(), ADS_DELTA).await;
        stream.request(delta_request(Kind::Cluster, &["*"], &[])).await;
        stream.result().await.unwrap().unwrap();
        clients.push(stream);
    }
    let next = Portolan::start_with_takeover(&socket, &xds, &admin, &config).await;
    next.ready().await;
    let body = r#"{"endpoints": ["10.0.0.1:80"]}"#;
    until("it to take changes", LIMIT, async || {
        match change(next.admin, Method::PUT, "/api/v1/services/ours/web", body).await {
            (StatusCode::CREATED | StatusCode::OK, _) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    until("it to be written", LIMIT, async || {
        let written = fs::read(state.join("ours.state")).unwrap_or_default();
        if written.windows(3).any(|bytes| bytes == b"web") { Ok(()) } else { Err(next.log()) }
    })
    .await;
    assert!(fs::read_link(format!("/proc/{}/exe", serving.pid())).is_ok(), "the other still lets its clients leave");
    serving.kill().await;
}
