//! Real Envoys whose bootstrap has nothing but Portolan's address are gateways to services of a real Nacos, by Istio's own
//! resources: one by delta, one by state of the world, each with ports of its own.
//!
//! One server walks through all cases, because starting one costs more than any of them.

mod bytes;
mod calls;
mod shift;
mod subsets;
mod wrong;

use crate::support::{
    envoy::Envoy,
    mesh,
    nacos::{Beats, Nacos},
    portolan::Portolan,
    servers::free_port,
    tls::{ONE, OTHER, TlsFront},
    upstream::Upstream,
};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::task::JoinSet;

const LIMIT: Duration = Duration::from_secs(60);
const GROUP: &str = "edge";
/// The names of both gateways, for the list `gateways` of a VirtualService.
const BOTH: &str = "delta, sotw";
/// Requests that are under way at once.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_without_a_listener_of_their_own_lead_to_a_real_nacos() {
    let Some(world) = World::start().await else { return };
    calls::go_by_host_and_by_path(&world).await;
    calls::are_split_by_label(&world).await;
    calls::with_the_header_gray_go_to_the_gray_ones(&world).await;
    calls::fail_and_wait_where_a_fault_is_injected(&world).await;
    calls::go_where_the_fewest_are_under_way(&world).await;
    calls::of_one_user_go_to_one_instance(&world).await;
    bytes::end_their_tls_and_begin_another(&world).await;
    bytes::are_handed_on_by_port_and_by_name(&world).await;
    wrong::cost_themselves(&world).await;
    shift::of_weights_under_load_fails_no_request_and_drains_no_listener(&world).await;
    subsets::that_give_way_to_others_under_load_fail_no_request(&world).await;
    for gate in &world.gates {
        assert_eq!(gate.envoy.complaints().await, [], "{}", gate.way);
        assert_eq!(gate.envoy.stat("cluster.portolan.upstream_cx_total").await, Some(1), "{} reconnected", gate.way);
    }
    let findings = world.portolan.json("/api/v1/findings").await;
    assert_eq!(findings, serde_json::json!([]), "{findings:#}");
}

/// The servers that all cases share, and one gateway for each variant of the protocol.
struct World {
    nacos: Nacos,
    _beats: Beats,
    portolan: Portolan,
    /// The folder of Istio's resources.
    routes: TempDir,
    gates: [Gate; 2],
    upstreams: BTreeMap<&'static str, Upstream>,
    slow: calls::Slow,
    _fronts: Vec<TlsFront>,
}

/// An Envoy that is a gateway, with its ports.
struct Gate {
    /// `delta` or `sotw`.
    way: &'static str,
    envoy: Arc<Envoy>,
    ports: Ports,
}

/// Ports on which a gateway listens.
#[derive(Clone, Copy)]
struct Ports {
    /// For HTTP requests, by Istio's rules.
    http: u16,
    /// For HTTP requests, by the short form (`gateways:`) of the configuration.
    plain: u16,
    /// For HTTPS requests, by Istio's rules.
    https: u16,
    /// For TLS that is handed on by the name in its handshake.
    sni: u16,
    /// For TCP that is handed on as it is.
    tcp: u16,
}

impl Ports {
    fn free() -> Ports {
        Ports { http: free_port(), plain: free_port(), https: free_port(), sni: free_port(), tcp: free_port() }
    }
}

impl World {
    /// `None` if Nacos or Envoy is missing and not required.
    async fn start() -> Option<World> {
        let nacos = Nacos::start("nacos2").await?;
        let mut upstreams = BTreeMap::new();
        for name in ["v1", "v2", "fast", "a", "b", "c", "d", "secure", "bytes", "one", "two"] {
            upstreams.insert(name, Upstream::echo(name).await);
        }
        let slow = calls::Slow::start().await;
        let at = |name: &str| upstreams[name].address;
        let secure = TlsFront::start(&ONE, Some(&ONE), at("secure")).await;
        let one = TlsFront::start(&ONE, None, at("one")).await;
        let two = TlsFront::start(&OTHER, None, at("two")).await;
        let instances = [
            ("product-service", at("v1"), r#"{"version":"v1"}"#),
            ("product-service", at("v2"), r#"{"version":"v2","gray":"true"}"#),
            ("least-service", at("fast"), "{}"),
            ("least-service", slow.address, "{}"),
            ("hash-service", at("a"), "{}"),
            ("hash-service", at("b"), "{}"),
            ("hash-service", at("c"), "{}"),
            ("hash-service", at("d"), "{}"),
            ("turns-service", at("a"), r#"{"side":"v1"}"#),
            ("turns-service", at("c"), r#"{"side":"v2"}"#),
            ("secure-service", secure.address, "{}"),
            ("bytes-service", at("bytes"), "{}"),
            ("one-service", one.address, "{}"),
            ("two-service", two.address, "{}"),
        ];
        let instances = instances.map(|(service, address, metadata)| (service, address.to_string(), metadata));
        let beating: Vec<_> = instances.iter().map(|(service, address, _)| (*service, address.as_str())).collect();
        let beats = nacos.beats(GROUP, &beating);
        for (service, address, metadata) in &instances {
            nacos.register(service, address, &format!("groupName={GROUP}&metadata={metadata}")).await;
        }

        let routes = tempfile::tempdir().unwrap();
        let ways = [("delta", Ports::free()), ("sotw", Ports::free())];
        let gateways: Vec<_> = ways.iter().map(|(way, ports)| gateway(way, *ports, routes.path())).collect();
        fs::write(routes.path().join("gateways.yaml"), gateways.join("---\n")).unwrap();
        fs::write(routes.path().join("routes.yaml"), calls::ROUTES.to_owned() + &bytes::routes(&ways, routes.path()))
            .unwrap();
        fs::write(routes.path().join("shift.yaml"), shift::routes(0)).unwrap();
        let plain = ways.map(|(way, ports)| {
            format!(
                "- {{ name: plain-{way}, listen: '127.0.0.1:{}', selector: {{ way: {way} }}, \
                 paths: '/{{host%.example}}' }}\n",
                ports.plain
            )
        });
        let portolan = Portolan::start(&format!(
            "traffic: {{ path: '{}' }}
gateways:
{}registries:
- name: edge
  nacos: {{ servers: ['{}'], groups: [{GROUP}], period: 500ms }}
  publish: {{ host: '{{service}}.example', addresses: {{ loopback: keep }}, port: 80, linger: 1s }}
",
            routes.path().display(),
            plain.concat(),
            nacos.url()
        ))
        .await;
        portolan.ready().await;
        let mut gates = Vec::new();
        for (way, ports) in ways {
            let label = format!("way={way}");
            let words = [&["--gateway", &label][..], if way == "sotw" { &["--sotw"] } else { &[] }].concat();
            let listener = ([127, 0, 0, 1], ports.http).into();
            let envoy = Envoy::start_dynamic(&words, portolan.xds, listener).await?;
            gates.push(Gate { way, envoy: Arc::new(envoy), ports });
        }
        let gates = gates.try_into().ok().expect("two ways");
        let _fronts = vec![secure, one, two];
        Some(World { nacos, _beats: beats, portolan, routes, gates, upstreams, slow, _fronts })
    }

    /// Puts a file of Istio's resources in the place of another, in one step.
    fn put(&self, name: &str, text: &str) {
        let new = self.routes.path().join(".new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.routes.path().join(name)).unwrap();
    }
}

/// The Gateway of one way, with the certificates that it shows.
fn gateway(way: &str, ports: Ports, folder: &Path) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    for (name, from) in [("tls.pem", "shop-server.pem"), ("tls.key", "shop-server.key")] {
        fs::write(path(name), mesh::text(from)).unwrap();
    }
    let Ports { http, https, sni, tcp, .. } = ports;
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{ name: {way} }}
spec:
  selector: {{ way: {way} }}
  servers:
  - {{ port: {{ number: {http}, name: http, protocol: HTTP }}, bind: 127.0.0.1, hosts: ['*'] }}
  - port: {{ number: {https}, name: https, protocol: HTTPS }}
    bind: 127.0.0.1
    hosts: [secure.test]
    tls: {{ mode: SIMPLE, serverCertificate: '{}', privateKey: '{}' }}
  - port: {{ number: {sni}, name: sni, protocol: TLS }}
    bind: 127.0.0.1
    hosts: ['*.sni.test']
    tls: {{ mode: PASSTHROUGH }}
  - {{ port: {{ number: {tcp}, name: tcp, protocol: TCP }}, bind: 127.0.0.1, hosts: ['*'] }}
",
        path("tls.pem"),
        path("tls.key"),
    )
}

impl Gate {
    /// Asks for a URL until the answer has that status and body.
    async fn answers(&self, url: &str, headers: &[(&str, &str)], expected: (u16, &str)) {
        self.envoy
            .wait_until(&format!("{}: {expected:?} of {url} {headers:?}", self.way), LIMIT, async || {
                let (status, body) = self.envoy.ask(url, headers).await;
                if (status, body.as_str()) == expected { Ok(()) } else { Err(format!("{status} {body}")) }
            })
            .await;
    }

    /// URL of a path at the port for requests by rules.
    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports.http)
    }

    /// How often each answer comes to so many requests: its status, and the first word of its body.
    async fn count(&self, host: &'static str, header: (&'static str, &'static str), requests: usize) -> Counts {
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (envoy, url) = (self.envoy.clone(), self.url("/"));
            tasks.spawn(async move {
                let mut counts = Counts::new();
                for _ in 0..requests / AT_ONCE {
                    let (status, body) = envoy.ask(&url, &[("host", host), header]).await;
                    let word = body.split(' ').next().unwrap_or_default();
                    *counts.entry(format!("{status} {word}")).or_default() += 1;
                }
                counts
            });
        }
        let mut sum = Counts::new();
        for (answer, count) in tasks.join_all().await.into_iter().flatten() {
            *sum.entry(answer).or_default() += count;
        }
        sum
    }
}

type Counts = BTreeMap<String, usize>;

/// Asserts that of so many requests that share has the one answer, and the rest the other: within five standard deviations, beyond
/// which a fair share is once in some two million runs.
fn check_share(found: &Counts, requests: usize, share: f64, one: &str, other: &str, what: &str) {
    let all = requests as f64;
    let count = |answer: &str| found.get(answer).copied().unwrap_or_default();
    assert_eq!(count(one) + count(other), requests, "{what}: {found:?}");
    let off = (count(one) as f64 - all * share).abs();
    let bound = 5.0 * (all * share * (1.0 - share)).sqrt();
    assert!(off <= bound, "{what}: {one} should have {share} of {requests}, within {bound:.0}: {found:?}");
}
