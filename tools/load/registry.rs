//! The registries under the load, changed one service at a time: a folder of catalogue files, a fake Nacos that answers
//! fast, or a real ZooKeeper. None is in the server's process, so its CPU is its alone.

use crate::{
    fake_nacos::{FakeNacos, Generation, instance},
    support::zookeeper::{Writer, ZooKeeper, provider},
};
use anyhow::Context;
use std::{
    fmt::Write,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};
use tempfile::TempDir;
use zookeeper_client::{Acls, CreateMode};

/// Services in one file: a change parses this many again.
const PER_FILE: usize = 20;

/// Where services are registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    File,
    Nacos,
    Zookeeper,
}

pub struct Registry {
    services: usize,
    endpoints: usize,
    /// Number of zones over which endpoints are spread; 0 if they have no locality.
    zones: usize,
    weight: AtomicU32,
    place: Place,
}

enum Place {
    Folder(TempDir),
    Nacos(FakeNacos),
    Zookeeper(Box<Tree>),
}

/// Dubbo's providers in a ZooKeeper.
struct Tree {
    server: ZooKeeper,
    writer: Writer,
    /// Weight of each service's first provider, which stands in its path.
    weights: Mutex<Vec<u32>>,
}

impl Registry {
    pub async fn create(kind: Kind, services: usize, endpoints: usize, zones: usize) -> anyhow::Result<Registry> {
        let place = match kind {
            Kind::File => Place::Folder(tempfile::tempdir()?),
            Kind::Nacos => Place::Nacos(FakeNacos::start(Generation::V3).await),
            Kind::Zookeeper => Place::Zookeeper(Box::new(Tree::grow(services, endpoints).await?)),
        };
        let registry = Registry { services, endpoints, zones, weight: AtomicU32::new(1), place };
        match &registry.place {
            Place::Folder(folder) => {
                for file in 0..services.div_ceil(PER_FILE) {
                    registry.write(folder, file, None)?;
                }
            }
            Place::Nacos(nacos) => {
                for service in 0..services {
                    nacos.model().put(&name(service), registry.instances(service, 1));
                }
            }
            Place::Zookeeper(_) => {}
        }
        Ok(registry)
    }

    /// The section `registries:` that reads this registry.
    pub fn config(&self) -> String {
        match &self.place {
            Place::Folder(folder) => {
                let near = if self.zones > 0 { "  publish: { nearness: priority }\n" } else { "" };
                format!("registries:\n- name: load\n  file: {{ path: '{}' }}\n{near}", folder.path().display())
            }
            Place::Nacos(nacos) => {
                let url = nacos.url();
                format!(
                    "registries:\n- name: load\n  nacos: {{ servers: ['{url}'], mode: poll, period: 1s }}\n  publish: {{ host: '{{service}}.load' }}\n"
                )
            }
            Place::Zookeeper(tree) => {
                let address = tree.server.address();
                format!(
                    "registries:\n- name: load\n  zookeeper: {{ servers: ['{address}'], dubbo: {{}} }}\n  publish: {{ host: '{{service}}.load', port: 80 }}\n"
                )
            }
        }
    }

    /// Name of the cluster of each service, `outbound|80||<host>`.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.hosts().map(|host| format!("outbound|80||{host}"))
    }

    /// Host of each service, such as `svc-00000.load`.
    pub fn hosts(&self) -> impl Iterator<Item = String> {
        (0..self.services).map(|service| format!("{}.load", name(service)))
    }

    /// Gives one endpoint of a service another weight. Returns the moment just before the registry shows it.
    pub async fn change(&self, service: usize) -> anyhow::Result<Instant> {
        let weight = 2 + self.weight.fetch_add(1, Ordering::Relaxed) % 90;
        match &self.place {
            Place::Folder(folder) => self.write(folder, service / PER_FILE, Some((service, weight))),
            Place::Nacos(nacos) => {
                let at = Instant::now();
                nacos.model().put(&name(service), self.instances(service, weight));
                Ok(at)
            }
            Place::Zookeeper(tree) => tree.change(service, weight).await,
        }
    }

    fn instances(&self, service: usize, weight: u32) -> Vec<serde_json::Value> {
        let mut instances: Vec<_> = (0..self.endpoints).map(|e| instance(&address(service, e), 8080)).collect();
        instances[0]["weight"] = f64::from(weight).into();
        instances
    }

    fn write(&self, folder: &TempDir, file: usize, changed: Option<(usize, u32)>) -> anyhow::Result<Instant> {
        let mut text = String::from("services:\n");
        for service in (file * PER_FILE..(file + 1) * PER_FILE).take_while(|s| *s < self.services) {
            writeln!(text, "- host: {}.load\n  endpoints:", name(service))?;
            for endpoint in 0..self.endpoints {
                let weight = changed.filter(|(s, _)| *s == service && endpoint == 0).map_or(1, |(_, w)| w);
                let address = address(service, endpoint);
                let place = match self.zones {
                    0 => String::new(),
                    zones => {
                        let (region, zone) = place((service + endpoint) % zones);
                        format!(", locality: {region}/{zone}")
                    }
                };
                writeln!(text, "  - {{ address: {address}, port: 8080, weight: {weight}{place} }}")?;
            }
        }
        // Beside the catalogue files, under a name that is none of theirs: nobody sees half a file.
        let new = folder.path().join(".new");
        fs::write(&new, text)?;
        let at = Instant::now();
        fs::rename(new, folder.path().join(format!("services-{file:05}.yaml")))?;
        Ok(at)
    }
}

impl Tree {
    async fn grow(services: usize, endpoints: usize) -> anyhow::Result<Tree> {
        let server = ZooKeeper::start("zookeeper").await.context("ZooKeeper cannot be had")?;
        let writer = server.writer().await;
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        for service in 0..services {
            let mut all = writer.0.new_multi_writer();
            if service == 0 {
                all.add_create("/dubbo", b"", &options)?;
            }
            let interface = format!("/dubbo/{}", name(service));
            all.add_create(&interface, b"", &options)?;
            all.add_create(&format!("{interface}/providers"), b"", &options)?;
            for endpoint in 0..endpoints {
                all.add_create(&path(service, endpoint, 1), b"", &options)?;
            }
            all.commit().await?;
        }
        Ok(Tree { server, writer, weights: Mutex::new(vec![1; services]) })
    }

    /// A provider with another weight is another node; both happen in one moment.
    async fn change(&self, service: usize, weight: u32) -> anyhow::Result<Instant> {
        let old = std::mem::replace(&mut self.weights.lock().expect("nobody panics with it")[service], weight);
        let mut both = self.writer.0.new_multi_writer();
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        both.add_create(&path(service, 0, weight), b"", &options)?;
        both.add_delete(&path(service, 0, old), None)?;
        let at = Instant::now();
        both.commit().await?;
        Ok(at)
    }
}

/// Names of a zone's region and of the zone: five zones to a region.
pub fn place(zone: usize) -> (String, String) {
    (format!("r{}", zone / 5), format!("z{zone}"))
}

/// Path of a provider's node, as long as those that Dubbo writes.
fn path(service: usize, endpoint: usize, weight: u32) -> String {
    let (interface, address) = (name(service), address(service, endpoint));
    let url = format!(
        "dubbo://{address}:20880/{interface}?anyhost=true&application=load&deprecated=false&dubbo=2.0.2&dynamic=true\
         &generic=false&interface={interface}&methods=place,cancel,list&pid=4711&release=3.2.13&side=provider\
         &timestamp=1795196016730&weight={}",
        weight * 100
    );
    provider("/dubbo", &interface, &url)
}

fn name(service: usize) -> String {
    format!("svc-{service:05}")
}

fn address(service: usize, endpoint: usize) -> String {
    format!("10.{}.{}.{}", service >> 8 & 255, service & 255, endpoint + 1)
}
