//! Limits of requests in real Envoys: of so many requests so many pass, however they are spread over routes and hosts, and the rest
//! are answered with 429; a limit that comes, changes or goes closes no listener.

use crate::support::{envoy::Envoy, portolan::Portolan, servers::free_port, upstream::Upstream};
use std::{collections::BTreeMap, fs, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);

/// Rules for the services of [`LIMITS`]. Except for `quick.example` no bucket is filled up again while the test runs,
/// so that just its burst passes.
const ROUTES: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: two }
spec:
  hosts: [two.test]
  gateways: [edge]
  http:
  - match: [{ uri: { prefix: /a } }]
    route: [{ destination: { host: orders.example } }]
  - route: [{ destination: { host: orders.example } }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: hosts }
spec:
  hosts: [host.test, free.test]
  gateways: [edge]
  http: [{ route: [{ destination: { host: users.example } }] }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: mixed }
spec:
  hosts: [mixed.test]
  gateways: [edge]
  http:
  - route:
    - { destination: { host: carts.example }, weight: 50 }
    - { destination: { host: users.example }, weight: 50 }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: quick }
spec:
  hosts: [quick.test]
  gateways: [edge]
  http: [{ route: [{ destination: { host: quick.example } }] }]
";

const LIMITS: &str = "envoy:
  services:
  - { match: orders.example, rate_limit: { requests: 1, per: 1h, burst: 20 } }
  - { match: carts.example, rate_limit: { requests: 1, per: 1h, burst: 15 } }
  - { match: quick.example, rate_limit: { requests: 5, per: 1s } }
";

fn config(port: u16, limits: &str, hosts: &str) -> String {
    format!(
        "{limits}traffic: {{ path: routes{hosts} }}
gateways: [{{ name: edge, listen: '127.0.0.1:{port}' }}]
registries:
- name: all
  file: {{ path: services.yaml }}
  publish: {{ addresses: {{ loopback: keep }} }}
"
    )
}

/// How often each status comes to so many requests.
async fn counted(
    envoy: &Envoy,
    port: u16,
    requests: usize,
    to: impl Fn(usize) -> (&'static str, &'static str),
) -> Counts {
    let mut counts = Counts::new();
    for number in 0..requests {
        let (host, path) = to(number);
        let (status, body) = envoy.ask(&format!("http://127.0.0.1:{port}{path}"), &[("host", host)]).await;
        assert!(status == 200 || body == "local_rate_limited", "{host}{path}: {status} {body}");
        *counts.entry(status).or_default() += 1;
    }
    counts
}

type Counts = BTreeMap<u16, usize>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_so_many_requests_so_many_pass() {
    let mut upstreams = Vec::new();
    for name in ["orders", "users", "carts", "quick"] {
        upstreams.push((name, Upstream::start(name).await));
    }
    let port = free_port();
    let portolan =
        Portolan::start(&config(port, LIMITS, ", rate_limits: [{ hosts: host.test, requests: 1, per: 1d, burst: 7 }]"))
            .await;
    let services =
        upstreams.iter().map(|(name, at)| format!("- {{ host: {name}.example, endpoints: ['{}'] }}\n", at.address));
    fs::create_dir(portolan.folder().join("routes")).unwrap();
    fs::write(portolan.folder().join("routes/all.yaml"), ROUTES).unwrap();
    fs::write(portolan.folder().join("services.yaml"), format!("services:\n{}", services.collect::<String>())).unwrap();
    portolan.ready().await;
    for words in [&["--gateway"][..], &["--gateway", "--sotw"]] {
        let listener = ([127, 0, 0, 1], port).into();
        let Some(envoy) = Envoy::start_dynamic(words, portolan.xds, listener).await else { return };
        let passes = |host: &'static str| {
            let envoy = &envoy;
            async move {
                let url = format!("http://127.0.0.1:{}/", port);
                let (status, body) = envoy.ask(&url, &[("host", host)]).await;
                if status == 200 { Ok(()) } else { Err(format!("{status} {body}")) }
            }
        };
        envoy.wait_until("the gateway to lead to its services", LIMIT, || passes("free.test")).await;

        // One bucket, whichever route leads to the service: two of a host, the service's own host, and its path.
        let ways =
            [("two.test", "/a"), ("two.test", "/b"), ("orders.example", "/"), ("127.0.0.1", "/orders.example/x")];
        let found = counted(&envoy, port, 40, |number| ways[number % 4]).await;
        assert_eq!(found, Counts::from([(200, 20), (429, 20)]), "{words:?}");

        // One for the host, beside another with the same routes.
        let found = counted(&envoy, port, 20, |number| (["host.test", "free.test"][number % 2], "/")).await;
        assert_eq!(found, Counts::from([(200, 17), (429, 3)]), "{words:?}");

        // Of a route to two services only one has a limit: all of the other's pass.
        let mut answers = BTreeMap::<String, usize>::new();
        for _ in 0..100 {
            let (_, body) = envoy.ask(&format!("http://127.0.0.1:{}/", port), &[("host", "mixed.test")]).await;
            *answers.entry(body).or_default() += 1;
        }
        assert_eq!(answers.get("carts"), Some(&15), "{words:?}: {answers:?}");
        assert!(answers.get("users").is_some_and(|users| *users > 15), "{words:?}: {answers:?}");

        // What comes in again passes.
        let found = counted(&envoy, port, 200, |_| ("quick.test", "/")).await;
        assert!(found[&429] > 0 && found[&200] >= 5, "{words:?}: {found:?}");
        envoy.wait_until("a request to pass again", LIMIT, || passes("quick.test")).await;

        // Who is refused is told so, and gRPC in its own way.
        let client = crate::support::http::client();
        let refused = |of: &'static str| {
            client
                .get(format!("http://127.0.0.1:{}/", port))
                .header("host", "two.test")
                .header("content-type", of)
                .send()
        };
        let answer = refused("text/plain").await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["x-local-rate-limit"].to_str().unwrap()), (429, "true"));
        let answer = refused("application/grpc").await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "8", "RESOURCE_EXHAUSTED");

        // Limits go, and come back: no listener is touched.
        portolan.configure(&config(port, "", ""));
        envoy.wait_until("the limits to be gone", LIMIT, || passes("two.test")).await;
        let found = counted(&envoy, port, 60, |_| ("two.test", "/")).await;
        assert_eq!(found, Counts::from([(200, 60)]), "{words:?}");
        portolan.configure(&config(
            port,
            LIMITS,
            ", rate_limits: [{ hosts: host.test, requests: 1, per: 1d, burst: 7 }]",
        ));
        envoy
            .wait_until("the limits to hold again", LIMIT, async || match passes("two.test").await {
                Ok(()) => Err("it passes".to_owned()),
                Err(_) => Ok(()),
            })
            .await;
        assert_eq!(envoy.complaints().await, []);
        assert_eq!(envoy.stat("listener_manager.listener_modified").await, Some(0), "{words:?}");
        assert_eq!(envoy.stat("listener_manager.listener_added").await, Some(1), "{words:?}");
    }
    assert_eq!(portolan.json("/api/v1/findings").await, serde_json::json!([]));
}
