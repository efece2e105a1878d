//! A day on which everything goes wrong.

use crate::{
    chance::Chance,
    clients::Client,
    registries::{Ill, Registry},
    support::{
        clock::Clock, envoy::Envoy, fake_nacos::Generation, http, portolan::Portolan, traffic::Traffic, until,
        upstream::Upstream,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(120);
/// Requests of each service between two steps, so that each step is lived through.
const BETWEEN: usize = 5;
/// Instances that may be registered. All of them live all day: no request to any of them may fail.
const INSTANCES: usize = 4;

/// The wall clock may be so many seconds ahead or behind. Two jumps are less than a hold, which is measured by no other
/// clock over a restart.
const JUMP: usize = 20 * 60;

/// How long a day lasts: in steps, or by the clock.
pub enum Length {
    Steps(usize),
    Time(Duration),
}

struct World {
    chance: Chance,
    config: String,
    /// The folder `state.dir`, where Portolan keeps what it knows of registries.
    state: PathBuf,
    /// The wall clock of the Portolan process.
    clock: Clock,
    registries: Vec<Registry>,
    instances: Vec<SocketAddr>,
    portolan: Option<Portolan>,
    xds: SocketAddr,
    clients: Vec<JoinHandle<()>>,
    /// How often each kind of step was taken.
    done: BTreeMap<String, usize>,
}

/// A world with an Envoy, and steady traffic to the service of each registry.
struct Scene {
    world: World,
    envoy: Arc<Envoy>,
    traffic: Vec<Traffic>,
    _upstreams: Vec<Upstream>,
    _folder: TempDir,
}

/// Takes random steps for so long, and asserts that no request fails.
pub async fn day(length: Length, chance: Chance) {
    let Some(mut scene) = Scene::new(chance).await else { return };
    let started = Instant::now();
    let mut steps = 0;
    while match length {
        Length::Steps(most) => steps < most,
        Length::Time(time) => started.elapsed() < time,
    } {
        scene.world.step().await;
        scene.goes_on().await;
        steps += 1;
    }
    scene.world.evening(&scene.envoy).await;
    eprintln!("{steps} steps in {:.0?}: {:?}", started.elapsed(), scene.world.done);
    scene.end(steps * BETWEEN).await;
}

/// Kills Portolan so often, while registries are dead, empty or half full in turn, and starts it by another clock.
/// Asserts that Envoy loses no instance.
pub async fn restarts(number: usize, chance: Chance) {
    let Some(mut scene) = Scene::new(chance).await else { return };
    let started = Instant::now();
    for round in 0..number {
        let place = round % scene.world.registries.len();
        let ill = [Ill::Refuse, Ill::Empty, Ill::Half][(round / scene.world.registries.len()) % 3];
        scene.world.kept().await;
        scene.world.registries[place].befall(ill);
        scene.world.set_clock();
        scene.world.kill().await;
        scene.goes_on().await;
        let registry = &scene.world.registries[place];
        until("Envoy to be back", LIMIT, async || {
            let connected = scene.envoy.stat("control_plane.connected_state").await;
            if connected == Some(1) { Ok(()) } else { Err(connected) }
        })
        .await;
        let has = hosts(&scene.envoy, registry).await;
        assert_eq!(has, registry.instances(), "{} {ill:?} in round {round}", registry.name);
        scene.world.evening(&scene.envoy).await;
    }
    eprintln!("{number} restarts in {:.0?}: {:?}", started.elapsed(), scene.world.done);
    scene.end(number * BETWEEN).await;
}

impl Scene {
    async fn new(chance: Chance) -> Option<Scene> {
        let folder = tempfile::tempdir().unwrap();
        let mut upstreams = Vec::new();
        for _ in 0..INSTANCES {
            upstreams.push(Upstream::start("orders").await);
        }
        let instances: Vec<SocketAddr> = upstreams.iter().map(|upstream| upstream.address).collect();
        let mut registries = vec![
            Registry::file("files", folder.path()),
            Registry::nacos("nacos-two", Generation::V2).await,
            Registry::nacos("nacos-three", Generation::V3).await,
            Registry::eureka("spring").await,
            Registry::http("list").await,
        ];
        registries.iter_mut().for_each(|registry| registry.set(instances.iter().copied().collect()));
        let config = config(&registries, folder.path());
        let clock = Clock::new(folder.path())?;
        let portolan = Portolan::start_by_clock(&clock, "127.0.0.1:0", "127.0.0.1:0", &config).await;
        let xds = portolan.xds;
        let envoy = Arc::new(Envoy::start(&Envoy::example("authority.yaml"), xds).await?);
        for registry in &registries {
            let host = registry.host();
            envoy
                .wait_until("the first answer", LIMIT, async || match envoy.get(&host, "/").await {
                    (200, _) => Ok(()),
                    other => Err(format!("{host}: {other:?}")),
                })
                .await;
        }
        let traffic = registries.iter().map(|registry| Traffic::start(&envoy, registry.host(), "orders")).collect();
        let (clients, done) = Default::default();
        let state = folder.path().join("state");
        let world =
            World { chance, config, state, clock, registries, instances, portolan: Some(portolan), xds, clients, done };
        Some(Scene { world, envoy, traffic, _upstreams: upstreams, _folder: folder })
    }

    /// Waits until some more requests of each service were answered.
    async fn goes_on(&self) {
        let before: Vec<usize> = self.traffic.iter().map(Traffic::made).collect();
        until("traffic to go on", LIMIT, async || {
            let now: Vec<usize> = self.traffic.iter().map(Traffic::made).collect();
            let on = now.iter().zip(&before).all(|(now, before)| *now >= before + BETWEEN);
            if on { Ok(()) } else { Err(now) }
        })
        .await;
    }

    async fn end(self, minimum: usize) {
        for traffic in self.traffic {
            traffic.stop_unharmed(minimum).await;
        }
    }
}

/// The endpoints that Envoy has of a registry's service, as `address:port`.
async fn hosts(envoy: &Envoy, registry: &Registry) -> BTreeSet<String> {
    let hosts = envoy.hosts(&registry.host()).await;
    let address = |host: &serde_json::Value| {
        let socket = &host["address"]["socket_address"];
        format!("{}:{}", socket["address"].as_str().unwrap_or_default(), socket["port_value"])
    };
    hosts.as_array().into_iter().flatten().map(address).collect()
}

/// What is held of a registry is released, if anything is: 409 says that nothing is.
pub async fn release(portolan: &Portolan, registry: &str) {
    let url = format!("http://{}/api/v1/release?registry={registry}", portolan.admin);
    let answer = http::client().post(url).header("content-type", "application/json").send().await.unwrap();
    let status = answer.status().as_u16();
    assert!(matches!(status, 200 | 409), "{status} {}", answer.text().await.unwrap_or_default());
}

fn config(registries: &[Registry], folder: &Path) -> String {
    let all: String = registries.iter().map(Registry::config).collect();
    format!(
        "envoy: {{ cluster_name: '{{host}}' }}\nstate: {{ dir: '{}/state', quiet: 100ms }}\nregistries:\n{all}",
        folder.display()
    )
}

impl World {
    /// Takes one random step: something fails, recovers or changes.
    async fn step(&mut self) {
        let place = self.chance.below(self.registries.len());
        match self.chance.below(15) {
            0..=3 => {
                let ill = self.chance.one_of(&Ill::ALL);
                self.registries[place].befall(ill);
                self.count(&format!("{} {ill:?}", self.registries[place].name));
            }
            4..=5 => {
                self.registries[place].heal();
                self.count("a registry is well");
            }
            6..=7 => {
                let number = 1 + self.chance.below(INSTANCES);
                let first = self.chance.below(INSTANCES);
                let all = (0..number).map(|i| self.instances[(first + i) % INSTANCES]).collect();
                self.registries[place].set(all);
                self.count("instances come and go");
            }
            8..=9 => {
                let client = self.chance.one_of(&Client::ALL);
                let bytes = (0..self.chance.below(4096)).map(|_| self.chance.below(256) as u8).collect();
                self.clients.push(client.start(self.xds, bytes));
                if self.clients.len() > 8 {
                    self.clients.remove(0).abort();
                }
                self.count(&format!("client {client:?}"));
            }
            10 => self.kill().await,
            11 => self.without_files().await,
            12 => self.without_disk().await,
            13 => self.set_clock(),
            _ => self.freeze().await,
        }
    }

    /// Waits until all that is known of each registry is on the disk.
    async fn kept(&self) {
        let Some(portolan) = &self.portolan else { return };
        until("the state to be written", LIMIT, async || {
            let number = |metrics: &str, name: &str| -> Option<f64> {
                metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            };
            let (_, metrics) = portolan.get("/metrics").await;
            let written = number(&metrics, "portolan_state_last_write_successful") == Some(1.0);
            let all =
                self.registries.iter().all(|registry| self.state.join(format!("{}.state", registry.name)).exists());
            if written && all { Ok(()) } else { Err(metrics) }
        })
        .await;
    }

    /// Sets the wall clock of the process, up to [`JUMP`] ahead or behind.
    fn set_clock(&mut self) {
        let seconds = self.chance.below(2 * JUMP + 1) as i64 - JUMP as i64;
        self.clock.set(seconds);
        self.count("the clock is set");
    }

    /// Kills Portolan, and starts it again on the same xDS port.
    async fn kill(&mut self) {
        if let Some(portolan) = self.portolan.take() {
            portolan.kill().await;
        }
        let xds = self.xds.to_string();
        self.portolan = Some(Portolan::start_by_clock(&self.clock, &xds, "127.0.0.1:0", &self.config).await);
        self.count("kill -9");
    }

    /// Halts the process for 700 ms.
    async fn freeze(&mut self) {
        let Some(portolan) = &self.portolan else { return };
        let signal = |name: &str| {
            let pid = portolan.pid().to_string();
            assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
        };
        signal("-STOP");
        tokio::time::sleep(Duration::from_millis(700)).await;
        signal("-CONT");
        self.count("SIGSTOP");
    }

    /// For a while it may open nothing: no file, no connection.
    async fn without_files(&mut self) {
        let Some(portolan) = &self.portolan else { return };
        let pid = portolan.pid().to_string();
        let limit = |arguments: &[&str]| {
            let output = Command::new("prlimit").args(["--pid", &pid]).args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let before = limit(&["--nofile", "--noheadings", "--output", "SOFT"]);
        // It has more of them open.
        limit(&["--nofile=10:"]);
        tokio::time::sleep(Duration::from_millis(700)).await;
        limit(&[&format!("--nofile={before}:")]);
        self.count("out of descriptors");
    }

    /// For a while nothing can be written to the state folder.
    async fn without_disk(&mut self) {
        let away = self.state.with_extension("away");
        std::fs::rename(&self.state, &away).unwrap();
        std::fs::write(&self.state, "no folder").unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        std::fs::remove_file(&self.state).unwrap();
        std::fs::rename(&away, &self.state).unwrap();
        self.count("no disk");
    }

    /// All are well; what is held is released, as an operator would; and Envoy has what they say.
    async fn evening(&mut self, envoy: &Envoy) {
        self.clients.iter().for_each(JoinHandle::abort);
        self.registries.iter_mut().for_each(Registry::heal);
        let Some(portolan) = &self.portolan else { return };
        until("all that registries have to be read", LIMIT, async || {
            let registries = portolan.json("/api/v1/registries").await;
            // Whoever releases before that asks for what an empty list says.
            let read = |registry: &Registry| {
                let shown = registries.as_array().into_iter().flatten().find(|shown| shown["name"] == registry.name);
                shown.is_some_and(|shown| shown["state"] == "synced" && shown["endpoints"] == registry.has.len())
            };
            if self.registries.iter().all(read) { Ok(()) } else { Err(registries) }
        })
        .await;
        for registry in &self.registries {
            let expected = registry.instances();
            until(&format!("what {} says to be with Envoy", registry.name), LIMIT, async || {
                release(portolan, registry.name).await;
                let has = hosts(envoy, registry).await;
                if has == expected { Ok(()) } else { Err((has, expected.clone())) }
            })
            .await;
        }
        assert_eq!(envoy.complaints().await, []);
    }

    fn count(&mut self, what: &str) {
        *self.done.entry(what.into()).or_default() += 1;
    }
}
