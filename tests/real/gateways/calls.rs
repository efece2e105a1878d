//! Requests over HTTP: by host and by path, by weights and headers, with faults, and how an instance is chosen.

use super::{Gate, World, check_share};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
    task::JoinHandle,
};

/// The rules of all cases.
pub const ROUTES: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: product }
spec:
  host: product-service.example
  subsets:
  - { name: v1, labels: { version: v1 } }
  - { name: v2, labels: { version: v2 } }
  - { name: gray, labels: { gray: 'true' } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: split }
spec:
  hosts: [split.test]
  gateways: [delta, sotw]
  http:
  - route:
    - { destination: { host: product-service.example, subset: v1 }, weight: 90 }
    - { destination: { host: product-service.example, subset: v2 }, weight: 10 }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: gray }
spec:
  hosts: [gray.test]
  gateways: [delta, sotw]
  http:
  - match: [{ headers: { x-gray: { exact: 'true' } } }]
    route: [{ destination: { host: product-service.example, subset: gray } }]
  - route: [{ destination: { host: product-service.example, subset: v1 } }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: fault }
spec:
  hosts: [fault.test]
  gateways: [delta, sotw]
  http:
  - match: [{ headers: { x-fault: { exact: abort } } }]
    fault: { abort: { percentage: { value: 30 }, httpStatus: 418 } }
    route: [{ destination: { host: product-service.example, subset: v1 } }]
  - match: [{ headers: { x-fault: { exact: delay } } }]
    fault: { delay: { percentage: { value: 100 }, fixedDelay: 300ms } }
    route: [{ destination: { host: product-service.example, subset: v1 } }]
  - route: [{ destination: { host: product-service.example, subset: v1 } }]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: least }
spec:
  host: least-service.example
  subsets:
  - { name: least, trafficPolicy: { loadBalancer: { simple: LEAST_REQUEST } } }
  - { name: turns, trafficPolicy: { loadBalancer: { simple: ROUND_ROBIN } } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: least }
spec:
  hosts: [least.test, turns.test]
  gateways: [delta, sotw]
  http:
  - match: [{ authority: { exact: least.test } }]
    route: [{ destination: { host: least-service.example, subset: least } }]
  - route: [{ destination: { host: least-service.example, subset: turns } }]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: hash }
spec:
  host: hash-service.example
  trafficPolicy: { loadBalancer: { consistentHash: { httpHeaderName: x-user } } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: hash }
spec:
  hosts: [hash.test]
  gateways: [delta, sotw]
  http: [{ route: [{ destination: { host: hash-service.example } }] }]
";

pub async fn go_by_host_and_by_path(world: &World) {
    for gate in &world.gates {
        let url = |path: &str| format!("http://127.0.0.1:{}{path}", gate.ports.plain);
        // One that has a single instance, and so a single answer.
        gate.answers(
            &url("/list?page=2"),
            &[("host", "bytes-service.example")],
            (200, "bytes /list?page=2 bytes-service.example"),
        )
        .await;
        let ported = (200, "bytes / bytes-service.example:8443");
        gate.answers(&url("/"), &[("host", "bytes-service.example:8443")], ported).await;
        for (path, behind) in [("/bytes-service/list?page=2", "/list?page=2"), ("/bytes-service", "/")] {
            let expected = format!("bytes {behind} 127.0.0.1:{}", gate.ports.plain);
            gate.answers(&url(path), &[], (200, &expected)).await;
        }
        for path in ["/product-service/list", "/product-service/"] {
            let (status, body) = gate.envoy.ask(&url(path), &[]).await;
            assert!(status == 200 && (body.starts_with("v1 /") || body.starts_with("v2 /")), "{status} {body}");
        }
        for (host, path) in [("127.0.0.1", "/nobody/"), ("nobody.example", "/"), ("127.0.0.1", "/bytes-services")] {
            let (status, body) = gate.envoy.ask(&url(path), &[("host", host)]).await;
            assert_eq!(status, 404, "{host}{path}: {body}");
        }
    }
}

pub async fn are_split_by_label(world: &World) {
    const REQUESTS: usize = 10_000;
    for gate in &world.gates {
        gate.answers(&gate.url("/"), &[("host", "gray.test")], (200, "v1 / gray.test")).await;
        let found = gate.count("split.test", ("x-any", "1"), REQUESTS).await;
        eprintln!("{}: 90/10 of {REQUESTS}: {found:?}", gate.way);
        check_share(&found, REQUESTS, 0.9, "200 v1", "200 v2", gate.way);
    }
}

pub async fn with_the_header_gray_go_to_the_gray_ones(world: &World) {
    const REQUESTS: usize = 200;
    for gate in &world.gates {
        for (value, expected) in [("true", "200 v2"), ("false", "200 v1")] {
            let found = gate.count("gray.test", ("x-gray", value), REQUESTS).await;
            assert_eq!(found, BTreeMap::from([(expected.to_owned(), REQUESTS)]), "{}: {value}", gate.way);
        }
    }
}

pub async fn fail_and_wait_where_a_fault_is_injected(world: &World) {
    const REQUESTS: usize = 2_000;
    for gate in &world.gates {
        let found = gate.count("fault.test", ("x-fault", "abort"), REQUESTS).await;
        check_share(&found, REQUESTS, 0.3, "418 fault", "200 v1", gate.way);
        assert_eq!(injected(gate, "aborts_injected").await, found["418 fault"]);
        let started = Instant::now();
        let (status, body) = gate.envoy.ask(&gate.url("/"), &[("host", "fault.test"), ("x-fault", "delay")]).await;
        // Envoy's clock stands still within a turn of its loop: 300 ms may be one less.
        let (took, least) = (started.elapsed(), Duration::from_millis(250));
        assert!(status == 200 && took >= least, "{status} {body} after {took:?}");
        assert_eq!(injected(gate, "delays_injected").await, 1);
        let found = gate.count("fault.test", ("x-fault", "none"), 80).await;
        assert_eq!(found, BTreeMap::from([("200 v1".to_owned(), 80)]), "{}", gate.way);
    }
}

async fn injected(gate: &Gate, what: &str) -> usize {
    gate.envoy.stats_ending(&format!("fault.{what}")).await.iter().map(|(_, count)| *count as usize).sum()
}

/// Of two instances one keeps its requests waiting: it gets fewer and fewer, where with turns it has its half.
pub async fn go_where_the_fewest_are_under_way(world: &World) {
    const REQUESTS: usize = 200;
    for gate in &world.gates {
        let turns = world.slow.share(gate, "turns.test", REQUESTS).await;
        let least = world.slow.share(gate, "least.test", REQUESTS).await;
        eprintln!("{}: the slow one has {turns} of {REQUESTS} by turns, {least} by the fewest requests", gate.way);
        assert_eq!(turns, REQUESTS / 2, "{}", gate.way);
        // Envoy looks at two at random, which are both the slow one for a quarter of the requests: 50, give or take 6.
        assert!(least < 50 + 5 * 6, "{}: {least} of {REQUESTS}", gate.way);
    }
}

pub async fn of_one_user_go_to_one_instance(world: &World) {
    let mut seen = Vec::new();
    for gate in &world.gates {
        let mut instances = BTreeMap::new();
        for user in (0..40).map(|user| format!("user-{user}")).cycle().take(120) {
            let (status, body) = gate.envoy.ask(&gate.url("/"), &[("host", "hash.test"), ("x-user", &user)]).await;
            assert_eq!(status, 200, "{body}");
            let before = instances.insert(user.clone(), body.clone()).unwrap_or_else(|| body.clone());
            assert_eq!(before, body, "{}: {user}", gate.way);
        }
        let used: BTreeSet<&String> = instances.values().collect();
        assert!(used.len() >= 3, "{}: {used:?} of four instances", gate.way);
        seen.push(instances);
    }
    assert_eq!(seen[0], seen[1], "all gateways agree");
}

/// An instance that answers when it is told to.
pub struct Slow {
    pub address: SocketAddr,
    arrived: Arc<Notify>,
    permits: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Slow {
    pub async fn start() -> Slow {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (arrived, permits) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
        let (tell, wait) = (arrived.clone(), permits.clone());
        let answer = move || async move {
            tell.notify_one();
            wait.acquire().await.unwrap().forget();
            "slow"
        };
        let task = tokio::spawn(async move {
            axum::serve(listener, axum::Router::new().fallback(answer)).await.unwrap();
        });
        Slow { address, arrived, permits, task }
    }

    /// Sends so many requests one after the other, and returns how many it gets. Those wait until all are sent.
    async fn share(&self, gate: &Gate, host: &'static str, requests: usize) -> usize {
        let mut waiting = Vec::new();
        for _ in 0..requests {
            let (envoy, url) = (gate.envoy.clone(), gate.url("/"));
            let mut request = tokio::spawn(async move { envoy.ask(&url, &[("host", host)]).await });
            tokio::select! {
                answer = &mut request => {
                    let (status, body) = answer.unwrap();
                    assert!(status == 200 && body.starts_with("fast "), "{host}: {status} {body}");
                }
                () = self.arrived.notified() => waiting.push(request),
            }
        }
        let count = waiting.len();
        self.permits.add_permits(count);
        for request in waiting {
            assert_eq!(request.await.unwrap(), (200, "slow".to_owned()));
        }
        count
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.task.abort();
    }
}
