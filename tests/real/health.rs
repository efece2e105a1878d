//! Health checks by real Envoys: an instance that fails them gets no requests although its registry lists it, and when all fail all
//! are used.

use crate::support::{envoy::Envoy, portolan::Portolan, servers::free_port, upstream::Upstream};
use axum::http::StatusCode;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinHandle};

const LIMIT: Duration = Duration::from_secs(60);
const WEB: &str = "outbound|80||web.example";
/// Bodies of gRPC's answer to a check: that it serves, and that it does not.
const SERVING: &str = "\u{8}\u{1}";
const NOT_SERVING: &str = "\u{8}\u{2}";

/// An instance that says its name, and whether it is well.
struct Instance {
    address: SocketAddr,
    is_well: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Instance {
    async fn start(name: &'static str) -> Instance {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_well = Arc::new(AtomicBool::new(true));
        let well = is_well.clone();
        let health = move || async move {
            if well.load(Ordering::Relaxed) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
        };
        let router =
            axum::Router::new().route("/health", axum::routing::get(health)).fallback(move || async move { name });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Instance { address, is_well, task }
    }

    fn set(&self, is_well: bool) {
        self.is_well.store(is_well, Ordering::Relaxed);
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The ports of a cluster's hosts that have failed Envoy's check, and of the others. Asserts that Portolan has sent all
/// of them as healthy.
async fn judged(envoy: &Envoy, cluster: &str) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let hosts = envoy.hosts(cluster).await;
    let (mut failed, mut passed) = (BTreeSet::new(), BTreeSet::new());
    for host in hosts.as_array().into_iter().flatten() {
        let status = &host["health_status"];
        assert_eq!(status["eds_health_status"], "HEALTHY", "{host:#}");
        let port = host["address"]["socket_address"]["port_value"].as_u64().unwrap();
        match status["failed_active_health_check"] == Value::Bool(true) {
            true => failed.insert(port),
            false => passed.insert(port),
        };
    }
    (failed, passed)
}

async fn becomes(envoy: &Envoy, cluster: &str, failed: &[SocketAddr], passed: &[SocketAddr]) {
    let ports = |all: &[SocketAddr]| all.iter().map(|at| u64::from(at.port())).collect::<BTreeSet<_>>();
    let expected = (ports(failed), ports(passed));
    envoy
        .wait_until(&format!("{expected:?} of {cluster} to have failed and passed"), LIMIT, async || {
            let found = judged(envoy, cluster).await;
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
}

/// Waits until exactly these answer 60 requests, none of which may fail. Envoy gathers changes of health for up to a
/// second.
async fn answer(envoy: &Envoy, port: u16, host: &str, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
    envoy
        .wait_until(&format!("{expected:?} to answer for {host}"), LIMIT, async || {
            let mut found = BTreeSet::new();
            for _ in 0..60 {
                let (status, body) = envoy.ask(&format!("http://127.0.0.1:{port}/"), &[("host", host)]).await;
                assert_eq!(status, 200, "{body}");
                found.insert(body);
            }
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fails_a_check_of_envoys_gets_no_requests() {
    let (a, b) = (Instance::start("a").await, Instance::start("b").await);
    let (serving, not_serving) = (Upstream::grpc(SERVING).await, Upstream::grpc(NOT_SERVING).await);
    // A port that nobody takes connections at.
    let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let port = free_port();
    let portolan = Portolan::start(&format!(
        "envoy:
  services:
  - match: web.example
    traffic_policy: {{ loadBalancer: {{ simple: ROUND_ROBIN }} }}
    health_check: {{ path: /health, interval: 100ms, timeout: 5s, unhealthy_threshold: 2, healthy_threshold: 1 }}
  - match: half.example
    health_check: {{ path: /health, interval: 100ms, timeout: 5s, unhealthy_threshold: 2, healthy_threshold: 1 }}
  - match: rpc.example
    health_check: {{ protocol: grpc, interval: 100ms, timeout: 5s, unhealthy_threshold: 1, healthy_threshold: 1 }}
  - match: bytes.example
    health_check: {{ protocol: tcp, interval: 100ms, timeout: 5s, unhealthy_threshold: 1, healthy_threshold: 1 }}
gateways: [{{ name: edge, listen: '127.0.0.1:{port}' }}]
registries:
- name: all
  file: {{ path: services.yaml }}
  publish: {{ max_drop: 100%, linger: 0s, addresses: {{ loopback: keep }} }}
"
    ))
    .await;
    let write = |web: &[SocketAddr]| {
        let list = |of: &[SocketAddr]| of.iter().map(|at| format!("'{at}'")).collect::<Vec<_>>().join(", ");
        let text = format!(
            "services:
- {{ host: web.example, endpoints: [{}] }}
- {{ host: rpc.example, ports: [{{ name: grpc, port: 9090 }}], endpoints: [{}] }}
- {{ host: bytes.example, endpoints: [{}] }}
- {{ host: half.example, protect_threshold: 0.5, endpoints: [{}] }}
",
            list(web),
            list(&[serving.address, not_serving.address]),
            list(&[a.address, closed]),
            list(&[a.address, b.address]),
        );
        fs::write(portolan.folder().join("new"), text).unwrap();
        fs::rename(portolan.folder().join("new"), portolan.folder().join("services.yaml")).unwrap();
    };
    write(&[a.address, b.address]);
    portolan.ready().await;
    // A gateway has the clusters that it leads to; an Envoy that says nothing has all.
    let Some(envoy) = Envoy::start_dynamic(&["--gateway"], portolan.xds, ([127, 0, 0, 1], port).into()).await else {
        return;
    };
    becomes(&envoy, WEB, &[], &[a.address, b.address]).await;
    let all = ["a", "b"];
    answer(&envoy, port, "web.example", &all).await;
    becomes(&envoy, "outbound|9090||rpc.example", &[not_serving.address], &[serving.address]).await;
    becomes(&envoy, "outbound|80||bytes.example", &[closed], &[a.address]).await;

    // One fails: the other gets everything.
    b.set(false);
    becomes(&envoy, WEB, &[b.address], &[a.address]).await;
    answer(&envoy, port, "web.example", &["a"]).await;
    // One of two is no more than the threshold of this one.
    becomes(&envoy, "outbound|80||half.example", &[b.address], &[a.address]).await;
    answer(&envoy, port, "half.example", &all).await;

    // All fail: all are used.
    let panics = || envoy.stats_ending("outbound_80__web.example.lb_healthy_panic");
    assert_eq!(panics().await.iter().map(|(_, count)| count).sum::<u64>(), 0);
    a.set(false);
    becomes(&envoy, WEB, &[a.address, b.address], &[]).await;
    // The first ones may have come before Envoy's threads knew it.
    answer(&envoy, port, "web.example", &all).await;
    answer(&envoy, port, "web.example", &all).await;
    assert!(panics().await.iter().all(|(_, count)| *count >= 60), "{:?}", panics().await);

    // What is well again gets requests again; what its registry takes away is gone, although it answers.
    b.set(true);
    becomes(&envoy, WEB, &[a.address], &[b.address]).await;
    answer(&envoy, port, "web.example", &["b"]).await;
    a.set(true);
    becomes(&envoy, WEB, &[], &[a.address, b.address]).await;
    write(&[a.address]);
    becomes(&envoy, WEB, &[], &[a.address]).await;
    assert_eq!(envoy.complaints().await, []);
}
