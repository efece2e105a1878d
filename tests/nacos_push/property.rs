//! Whatever changes, and whatever happens to the connection meanwhile: who is pushed to ends where who polls ends.
//!
//! Two Portolans read one real Nacos, one by push through proxies that cut and stall, one by polling. After each batch of
//! random changes all that they publish must become the same. Whole lists come too seldom to hide a lost push.

use crate::support::{nacos::Nacos, portolan::Portolan, tcp_proxy::TcpProxy, until};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime},
};
use tokio::net::TcpListener;

const BATCHES: usize = 21;
const CHANGES: usize = 50;
/// After the batch of this number the server is started again.
const RESTART: usize = 10;
const LIMIT: Duration = Duration::from_secs(90);
/// All that Portolan says to a Nacos by gRPC, none of which writes: who it is, whether the server is there, what it wants
/// to hear of, and that it has heard.
const READING: [&str; 10] = [
    "ServerCheckRequest",
    "ConnectionSetupRequest",
    "HealthCheckRequest",
    "SubscribeServiceRequest",
    "NamingFuzzyWatchRequest",
    "NotifySubscriberResponse",
    "NamingFuzzyWatchSyncResponse",
    "NamingFuzzyWatchChangeNotifyResponse",
    "ClientDetectionResponse",
    "SetupAckResponse",
];
/// Services of each kind: looked after by the server, or by beats that nobody sends, so that their instances fall ill
/// and go by themselves.
const SERVICES: u64 = 6;

/// Numbers that follow from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

#[derive(Debug)]
enum Change {
    Register { service: String, address: String, more: String },
    Deregister { service: String, address: String, more: String },
    Protect { service: String, threshold: f64 },
}

/// A server with two Portolans that must agree: one by push through proxies, one by polling.
struct Scene {
    nacos: Nacos,
    http: TcpProxy,
    grpc: TcpProxy,
    pushed: Portolan,
    polled: Portolan,
    /// Instances whose ports answer, and others.
    addresses: Vec<String>,
    _listeners: Vec<TcpListener>,
}

impl Scene {
    async fn start(script: &'static str) -> Option<Scene> {
        let mut nacos = Nacos::start_with(script, &[("NACOS_AUTH", "on"), ("NACOS_TOKEN_SECONDS", "20")]).await?;
        if script == "nacos3" {
            nacos.create_admin("nacos").await;
        }
        let (http, grpc) = (TcpProxy::start(nacos.http()).await, TcpProxy::start(nacos.grpc()).await);
        let login = "username: nacos, password: nacos";
        let publish = "publish: { linger: 0s, hold: 0s, host: '{service}.example' }";
        let config = |url: &str, how: &str| {
            format!("registries:\n- name: nacos\n  nacos: {{ servers: ['{url}'], {how}, {login} }}\n  {publish}\n")
        };
        let push = format!("mode: auto, period: 1s, resync: 1h, grpc_port: {}", grpc.address.port());
        let pushed = Portolan::start(&config(&format!("http://{}", http.address), &push)).await;
        let polled = Portolan::start(&config(&nacos.url(), "mode: poll, period: 200ms")).await;
        let (mut addresses, mut listeners) = (Vec::new(), Vec::new());
        for port in 1..=3 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.extend([listener.local_addr().unwrap().to_string(), format!("127.0.0.1:{port}")]);
            listeners.push(listener);
        }
        Some(Scene { nacos, http, grpc, pushed, polled, addresses, _listeners: listeners })
    }

    /// The next random change that the server can take.
    fn change(&self, dice: &mut Dice, there: &mut BTreeSet<(String, String)>) -> Change {
        let persistent = dice.below(2) == 0;
        let service = format!("{}-{}", if persistent { "kept" } else { "brief" }, dice.below(SERVICES));
        let address = self.addresses[dice.below(self.addresses.len() as u64) as usize].clone();
        let key = (service.clone(), address.clone());
        let cluster = dice.of(&["DEFAULT", "hz"]);
        match dice.below(10) {
            0 if persistent && there.iter().any(|(name, _)| *name == service) => {
                let threshold = [0.0, 0.5, 0.8][dice.below(3) as usize];
                Change::Protect { service, threshold }
            }
            0..=3 if there.remove(&key) => {
                let more = format!("ephemeral={}&clusterName={}", !persistent, cluster_of(&address));
                Change::Deregister { service, address, more }
            }
            _ => {
                there.insert(key);
                let weight = dice.of(&["0", "0.5", "1", "2.5"]);
                let metadata = json!({"version": dice.of(&["v1", "v2"]), "zone": cluster});
                let enabled = dice.below(5) > 0;
                let cluster = cluster_of(&address);
                let more = format!(
                    "ephemeral={}&clusterName={cluster}&weight={weight}&enabled={enabled}&metadata={metadata}",
                    !persistent
                );
                Change::Register { service, address, more }
            }
        }
    }

    async fn make(&self, change: Change) {
        match change {
            Change::Register { service, address, more } => self.nacos.register(&service, &address, &more).await,
            Change::Deregister { service, address, more } => self.nacos.deregister(&service, &address, &more).await,
            Change::Protect { service, threshold } => self.nacos.protect("DEFAULT_GROUP", &service, threshold).await,
        }
    }

    /// Makes changes, several at a time where they concern different services.
    async fn batch(&self, number: usize, dice: &mut Dice, there: &mut BTreeSet<(String, String)>) {
        let mut lanes: Vec<Vec<Change>> = (0..SERVICES).map(|_| Vec::new()).collect();
        for _ in 0..CHANGES - 1 {
            let change = self.change(dice, there);
            let (Change::Register { service, .. }
            | Change::Deregister { service, .. }
            | Change::Protect { service, .. }) = &change;
            let lane = service.bytes().last().unwrap_or_default() - b'0';
            lanes[usize::from(lane)].push(change);
        }
        let work = lanes.into_iter().map(|lane| async {
            for change in lane {
                self.make(change).await;
            }
        });
        stream::iter(work).buffer_unordered(4).collect::<Vec<_>>().await;
        self.nacos.register("marker", "10.0.0.1:80", &marker(number)).await;
    }

    /// Everything that is published, by host; with what it says of protection, health, weight and labels. A threshold
    /// that decides nothing now, because all instances are healthy or none is, is read when it comes to that, or after
    /// minutes: so not the number is compared, but what follows from it.
    async fn published(portolan: &Portolan) -> Value {
        let list = portolan.json("/api/v1/services").await;
        let mut all = serde_json::Map::new();
        for service in list["services"].as_array().unwrap() {
            let Some(host) = service["host"].as_str() else { continue };
            let (_, body) = portolan.get(&format!("/api/v1/services/{host}")).await;
            let mut detail: Value = serde_json::from_str(&body).unwrap_or_default();
            if let Some(detail) = detail.as_object_mut() {
                detail.remove("protect_threshold");
            }
            all.insert(host.to_owned(), detail);
        }
        Value::Object(all)
    }

    /// Waits until both publish the same, and says of how many services it is that they are protected.
    async fn agree(&self, batch: usize) -> usize {
        until(&format!("both to publish the same after batch {batch}"), LIMIT, || async {
            let (pushed, polled) = (Self::published(&self.pushed).await, Self::published(&self.polled).await);
            let marker = &polled["marker.example"]["instances"][0]["labels"]["batch"];
            if pushed == polled && marker.as_str() == Some(&batch.to_string()) {
                let services = pushed.as_object().unwrap().values();
                return Ok(services.filter(|service| service["protected"] == true).count());
            }
            let differs = |(host, value): &(&String, &Value)| polled[host.as_str()] != **value;
            let first = pushed
                .as_object()
                .unwrap()
                .iter()
                .find(differs)
                .map(|(host, value)| format!("{host}: pushed {value}, polled {}", polled[host.as_str()]));
            Err(first.unwrap_or_else(|| format!("pushed {pushed}\npolled {polled}")))
        })
        .await
    }

    /// What happens to the push connection in this batch.
    async fn trouble(&self, batch: usize) {
        match batch % 7 {
            2 => self.grpc.cut(),
            4 => {
                self.grpc.cut();
                self.http.cut();
            }
            // Long enough to be noticed.
            6 => {
                self.grpc.silence(true);
                tokio::time::sleep(Duration::from_secs(11)).await;
                self.grpc.silence(false);
            }
            _ => {}
        }
    }
}

/// Metadata that shows that a batch has been seen.
fn marker(batch: usize) -> String {
    format!("metadata={{\"batch\":\"{batch}\"}}")
}

/// An instance never changes its cluster: for Nacos it would be another.
fn cluster_of(address: &str) -> &'static str {
    if address.len().is_multiple_of(2) { "DEFAULT" } else { "hz" }
}

async fn check(script: &'static str) {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64);
    println!("{script}: SEED={seed}");
    let Some(mut scene) = Scene::start(script).await else { return };
    scene.pushed.ready().await;
    scene.polled.ready().await;
    let (mut dice, mut there, mut protected) = (Dice(seed), BTreeSet::new(), 0);
    for batch in 0..BATCHES {
        let started = Instant::now();
        tokio::join!(scene.batch(batch, &mut dice, &mut there), scene.trouble(batch));
        if batch == RESTART {
            scene.nacos.restart().await;
            // What nobody sends beats for is gone with the server.
            there.retain(|(service, _)| service.starts_with("kept"));
            scene.nacos.register_patiently("marker", "10.0.0.1:80", &marker(batch)).await;
        }
        let made = started.elapsed();
        protected += scene.agree(batch).await;
        println!("{script}: batch {batch} made in {made:.1?}, the same after {:.1?}", started.elapsed());
    }
    let log = scene.pushed.log();
    let connects = log.matches("Nacos pushes what changes.").count();
    // A connection that was short makes the next come later.
    assert!(connects > 2, "{connects} connections were made");
    assert!(protected > 0, "no threshold was ever reached");
    let asked = scene.http.asked();
    let writes: Vec<&String> = asked.iter().filter(|line| !line.starts_with("GET ")).collect();
    let (logins, writes): (Vec<&String>, Vec<&String>) = writes.into_iter().partition(|line| line.contains("/login "));
    assert_eq!(writes, [""; 0], "Portolan only reads");
    assert!(logins.len() > 1, "no token has ended");
    let kinds: BTreeSet<String> = scene.grpc.messages().into_iter().collect();
    let unknown: Vec<&String> = kinds.iter().filter(|kind| !READING.contains(&kind.as_str())).collect();
    assert_eq!(unknown, [""; 0], "by gRPC, too");
    assert!(kinds.contains("SubscribeServiceRequest"), "{kinds:?}");
    println!(
        "{script}: {} changes, {connects} connections, {protected} times protected, {} requests",
        BATCHES * CHANGES,
        asked.len()
    );
}

#[tokio::test]
async fn push_ends_where_polling_ends_on_nacos_2() {
    check("nacos2").await;
}

#[tokio::test]
async fn push_ends_where_polling_ends_on_nacos_3() {
    check("nacos3").await;
}
