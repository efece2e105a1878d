//! Real registries suffer: Nacos 2 and 3, ZooKeeper, Eureka and Consul, each behind a proxy, under steady traffic through a real
//! Envoy. No request fails, and in the end Envoy has what they say.

use crate::{
    chance::Chance,
    day::release,
    support::{
        consul::Consul, envoy::Envoy, eureka::Eureka, nacos::Nacos, portolan::Portolan, tcp_proxy::TcpProxy,
        traffic::Traffic, until, upstream::Upstream, zookeeper::ZooKeeper,
    },
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(240);
/// Longer than ZooKeeper keeps a session, and than an answer may take.
const LONG: Duration = Duration::from_secs(6);

enum Server {
    Nacos(Nacos),
    ZooKeeper(ZooKeeper),
    Eureka(Eureka),
    Consul(Consul),
}

struct Registry {
    name: &'static str,
    server: Server,
    proxy: TcpProxy,
}

/// What can befall a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ill {
    /// Nobody answers on its port.
    Refuse,
    /// Its connections are cut, once.
    Cut,
    /// What is connected is dead, and nobody says so.
    Strand,
    /// Nothing passes, for longer than a session lasts.
    BlackHole,
    /// It does not run for a while, for longer than a session lasts (SIGSTOP).
    Stop,
    /// It is killed, and starts again with what it keeps; what it has forgotten registers anew.
    Kill,
    /// It is killed, and starts again with nothing in it; later everybody registers anew.
    Empty,
    /// It is killed, and starts again with half of its instances; later everybody registers anew.
    Half,
}

const ILLS: [Ill; 8] =
    [Ill::Refuse, Ill::Cut, Ill::Strand, Ill::BlackHole, Ill::Stop, Ill::Kill, Ill::Empty, Ill::Half];

impl Registry {
    async fn start(name: &'static str) -> Option<Registry> {
        let (server, address) = match name {
            "zookeeper" => {
                let server = ZooKeeper::start(name).await?;
                let address = server.address();
                (Server::ZooKeeper(server), address)
            }
            "eureka" => {
                let server = Eureka::start().await?;
                let address = server.address();
                (Server::Eureka(server), address)
            }
            "consul" => {
                let server = Consul::start().await?;
                let address = server.address();
                (Server::Consul(server), address)
            }
            _ => {
                let server = Nacos::start(name).await?;
                let address = server.http();
                (Server::Nacos(server), address)
            }
        };
        Some(Registry { name, server, proxy: TcpProxy::start(address).await })
    }

    fn host(&self) -> String {
        format!("orders.{}", self.name)
    }

    fn config(&self) -> String {
        let (url, address) = (self.proxy.url(), self.proxy.url().replace("http://", ""));
        let kind = match &self.server {
            Server::Nacos(_) => format!("nacos: {{ servers: '{url}', mode: poll, period: 500ms, timeout: 2s }}"),
            Server::ZooKeeper(_) => {
                format!("zookeeper: {{ servers: ['{address}'], session_timeout: 4s, spring: {{}} }}")
            }
            Server::Eureka(_) => format!("eureka: {{ servers: '{url}/eureka', period: 500ms, timeout: 2s }}"),
            Server::Consul(_) => format!("consul: {{ servers: '{url}' }}"),
        };
        let publish = format!("host: '{}', addresses: {{ loopback: keep }}, hold: 1h, merge: host", self.host());
        // Consul itself is a service of its own there.
        format!("- {{ name: {}, {kind}, include: [ORDERS, orders], publish: {{ {publish} }} }}\n", self.name)
    }

    async fn register(&self, instances: &[SocketAddr]) {
        for instance in instances {
            let (text, port) = (instance.to_string(), instance.port());
            match &self.server {
                Server::Nacos(server) => server.register_patiently("orders", &text, "ephemeral=false").await,
                Server::Eureka(server) => server.register("ORDERS", &text, json!({})).await,
                Server::Consul(server) => {
                    let service = json!({"ID": text, "Service": "orders", "Address": "127.0.0.1", "Port": port});
                    let node = json!({"Node": text, "Address": "127.0.0.1", "Service": service});
                    server.writer.register(node).await;
                }
                Server::ZooKeeper(server) => {
                    let entry = json!({"name": "orders", "id": text, "address": "127.0.0.1", "port": port});
                    let path = format!("/services/orders/{text}");
                    server.writer().await.create(&path, &entry.to_string()).await;
                }
            }
        }
    }

    /// Kills it, and starts it again after [`LONG`] with these instances alone.
    async fn restart_with(&mut self, instances: &[SocketAddr]) {
        // Nobody reads it before it has what it is to have.
        self.proxy.sever();
        match &mut self.server {
            Server::Nacos(server) => server.kill().await,
            Server::ZooKeeper(server) => server.kill().await,
            Server::Eureka(server) => server.kill().await,
            Server::Consul(server) => server.kill().await,
        }
        tokio::time::sleep(LONG).await;
        match &mut self.server {
            Server::Nacos(server) => server.restart_empty().await,
            Server::ZooKeeper(server) => server.restart_empty().await,
            // These keep nothing.
            Server::Eureka(server) => server.restart().await,
            Server::Consul(server) => server.restart().await,
        }
        self.register(instances).await;
        self.proxy.heal();
        self.proxy.cut();
    }

    async fn signal(&self, signal: &str) {
        match &self.server {
            Server::Nacos(server) => server.signal(signal).await,
            Server::ZooKeeper(server) => server.signal(signal).await,
            Server::Eureka(server) => server.signal(signal).await,
            Server::Consul(server) => server.signal(signal).await,
        }
    }

    /// Waits until what it lost is held back, with Portolan and with Envoy; then everybody registers anew.
    async fn recover(&self, portolan: &Portolan, envoy: &Envoy, instances: &[SocketAddr]) {
        until(&format!("what {} has forgotten to be held back", self.name), LIMIT, async || {
            let own = shown(portolan, self.name).await;
            let held = own["state"] == "synced" && own["hold"]["endpoints"].as_u64() > Some(0);
            if held { Ok(()) } else { Err(own) }
        })
        .await;
        let hosts = envoy.hosts(&self.host()).await.as_array().map_or(0, Vec::len);
        assert_eq!(hosts, instances.len(), "{} has lost an instance", self.name);
        self.register(instances).await;
    }

    async fn befall(&mut self, ill: Ill, instances: &[SocketAddr]) {
        match ill {
            Ill::Refuse => self.proxy.sever(),
            Ill::Cut => self.proxy.cut(),
            Ill::Strand => self.proxy.strand(),
            Ill::BlackHole => self.proxy.silence(true),
            Ill::Stop => self.signal("STOP").await,
            Ill::Kill => {
                match &mut self.server {
                    Server::Nacos(server) => server.restart().await,
                    Server::ZooKeeper(server) => server.restart().await,
                    Server::Eureka(server) => server.restart().await,
                    Server::Consul(server) => server.restart().await,
                }
                self.register(instances).await;
                return;
            }
            Ill::Empty => return self.restart_with(&[]).await,
            Ill::Half => return self.restart_with(&instances[..instances.len() / 2]).await,
        }
        let long = matches!(ill, Ill::BlackHole | Ill::Strand | Ill::Stop);
        tokio::time::sleep(if long { LONG } else { LONG / 4 }).await;
        if matches!(ill, Ill::Stop) {
            self.signal("CONT").await;
        }
        self.proxy.heal();
        self.proxy.silence(false);
        self.proxy.cut();
    }
}

/// Takes random steps for so long, and asserts that no request fails.
pub async fn day(time: Duration, mut chance: Chance) {
    let mut registries = Vec::new();
    for name in ["nacos2", "nacos3", "zookeeper", "eureka", "consul"] {
        let Some(registry) = Registry::start(name).await else { return };
        registries.push(registry);
    }
    let mut upstreams = Vec::new();
    for _ in 0..3 {
        upstreams.push(Upstream::start("orders").await);
    }
    let instances: Vec<SocketAddr> = upstreams.iter().map(|upstream| upstream.address).collect();
    for registry in &registries {
        registry.register(&instances).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let all: String = registries.iter().map(Registry::config).collect();
    let state = folder.path().join("state");
    let config = format!(
        "envoy: {{ cluster_name: '{{host}}' }}\nstate: {{ dir: '{}', quiet: 100ms }}\nregistries:\n{all}",
        state.display()
    );
    let mut portolan = Portolan::start(&config).await;
    let xds = portolan.xds.to_string();
    let Some(envoy) = Envoy::start(&Envoy::example("authority.yaml"), portolan.xds).await else { return };
    let envoy = Arc::new(envoy);
    complete(&registries, &portolan, &envoy, instances.len()).await;
    let traffic: Vec<Traffic> =
        registries.iter().map(|registry| Traffic::start(&envoy, registry.host(), "orders")).collect();
    let (started, mut done) = (Instant::now(), BTreeMap::<String, usize>::new());
    let (mut order, mut next) = (Vec::new(), 0);
    // Each ill of each registry once, in random order, and then what chance brings.
    for place in 0..registries.len() {
        order.extend(ILLS.map(|ill| (place, ill)));
    }
    for place in (1..order.len()).rev() {
        order.swap(place, chance.below(place + 1));
    }
    while next < order.len() || started.elapsed() < time {
        let (place, ill) = order.get(next).copied().unwrap_or((chance.below(registries.len()), chance.one_of(&ILLS)));
        next += 1;
        // At the worst moment: while the registry is dead, empty or half full.
        let is_killed = matches!(ill, Ill::Refuse | Ill::Empty | Ill::Half);
        if ill == Ill::Refuse {
            registries[place].proxy.sever();
        } else {
            registries[place].befall(ill, &instances).await;
        }
        if is_killed || chance.below(4) == 0 {
            portolan.kill().await;
            portolan = Portolan::start_on(&xds, "127.0.0.1:0", &config).await;
            *done.entry("kill -9".into()).or_default() += 1;
            connected(&envoy).await;
            let hosts = envoy.hosts(&registries[place].host()).await.as_array().map_or(0, Vec::len);
            assert_eq!(hosts, instances.len(), "{} {ill:?}", registries[place].name);
        }
        match ill {
            Ill::Refuse => registries[place].befall(ill, &instances).await,
            Ill::Empty | Ill::Half => registries[place].recover(&portolan, &envoy, &instances).await,
            _ => {}
        }
        *done.entry(format!("{} {ill:?}", registries[place].name)).or_default() += 1;
    }
    complete(&registries, &portolan, &envoy, instances.len()).await;
    eprintln!("{next} steps in {:.0?}: {done:?}", started.elapsed());
    for traffic in traffic {
        traffic.stop_unharmed(next).await;
    }
    assert_eq!(envoy.complaints().await, []);
}

/// Waits until Envoy is connected to Portolan again.
async fn connected(envoy: &Envoy) {
    until("Envoy to be back", LIMIT, async || {
        let connected = envoy.stat("control_plane.connected_state").await;
        if connected == Some(1) { Ok(()) } else { Err(connected) }
    })
    .await;
}

/// A registry as `/api/v1/registries` shows it; null if it is not there.
async fn shown(portolan: &Portolan, name: &str) -> Value {
    let shown = portolan.json("/api/v1/registries").await;
    let mut all = shown.as_array().into_iter().flatten();
    all.find(|shown| shown["name"] == name).cloned().unwrap_or_default()
}

/// Each registry is read, what is held of it is released, as an operator would, and Envoy has all of it.
async fn complete(registries: &[Registry], portolan: &Portolan, envoy: &Envoy, number: usize) {
    for registry in registries {
        until(&format!("all instances of {}", registry.name), LIMIT, async || {
            let own = shown(portolan, registry.name).await;
            let is_read = own["state"] == "synced" && own["endpoints"] == number;
            if is_read {
                release(portolan, registry.name).await;
            }
            let hosts = envoy.hosts(&registry.host()).await.as_array().map_or(0, Vec::len);
            if is_read && hosts == number { Ok(()) } else { Err((hosts, own)) }
        })
        .await;
    }
}
