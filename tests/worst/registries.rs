//! Registries that suffer: each has one service, whose instances a test knows.

use crate::support::{
    fake_eureka::{self, FakeEureka},
    fake_http::FakeHttp,
    fake_nacos::{self, FakeNacos, Generation},
    fault::Fault,
    tcp_proxy::TcpProxy,
};
use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// What can befall a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ill {
    /// Nobody answers on its port.
    Refuse,
    /// Its connections are cut, once.
    Cut,
    /// What is connected is dead, and nobody says so.
    Strand,
    /// Nothing passes through its connections, old or new.
    BlackHole,
    /// It answers with status 500.
    Error,
    /// It answers with a text that is no list.
    Garbage,
    /// Its answers break off after the first bytes.
    Truncate,
    /// Answers without end.
    Endless,
    /// No answers, on connections that are fine.
    Hang,
    /// It has restarted, and has forgotten everything.
    Empty,
    /// It has restarted, and half of its instances have come back.
    Half,
}

impl Ill {
    pub const ALL: [Ill; 11] = [
        Ill::Refuse,
        Ill::Cut,
        Ill::Strand,
        Ill::BlackHole,
        Ill::Error,
        Ill::Garbage,
        Ill::Truncate,
        Ill::Endless,
        Ill::Hang,
        Ill::Empty,
        Ill::Half,
    ];
}

enum Kind {
    File(PathBuf),
    Nacos(FakeNacos),
    Eureka(FakeEureka),
    Http(FakeHttp),
}

/// A registry with its service, behind a proxy where it is one of the network.
pub struct Registry {
    pub name: &'static str,
    kind: Kind,
    proxy: Option<TcpProxy>,
    /// What its service has, whatever the registry shows at the moment.
    pub has: BTreeSet<SocketAddr>,
    pub ill: Option<Ill>,
}

impl Registry {
    pub fn file(name: &'static str, folder: &Path) -> Registry {
        let path = folder.join(format!("{name}.yaml"));
        Registry { name, kind: Kind::File(path), proxy: None, has: BTreeSet::new(), ill: None }
    }

    pub async fn nacos(name: &'static str, generation: Generation) -> Registry {
        let fake = FakeNacos::start(generation).await;
        let proxy = Some(TcpProxy::start(fake.address).await);
        Registry { name, kind: Kind::Nacos(fake), proxy, has: BTreeSet::new(), ill: None }
    }

    pub async fn eureka(name: &'static str) -> Registry {
        let fake = FakeEureka::start().await;
        let proxy = Some(TcpProxy::start(fake.address).await);
        Registry { name, kind: Kind::Eureka(fake), proxy, has: BTreeSet::new(), ill: None }
    }

    pub async fn http(name: &'static str) -> Registry {
        let fake = FakeHttp::start("services: []").await;
        let proxy = Some(TcpProxy::start(fake.address).await);
        Registry { name, kind: Kind::Http(fake), proxy, has: BTreeSet::new(), ill: None }
    }

    /// The host of its service, `orders.<name>`.
    pub fn host(&self) -> String {
        format!("orders.{}", self.name)
    }

    /// The instances of its service, as `address:port`.
    pub fn instances(&self) -> BTreeSet<String> {
        self.has.iter().map(ToString::to_string).collect()
    }

    /// Its entry in the configuration.
    pub fn config(&self) -> String {
        let url = self.proxy.as_ref().map(TcpProxy::url).unwrap_or_default();
        let of_kind = match &self.kind {
            Kind::File(path) => format!("file: {{ path: '{}', poll: 100ms }}", path.display()),
            Kind::Nacos(_) => format!("nacos: {{ servers: '{url}', mode: poll, period: 200ms, timeout: 1s }}"),
            Kind::Eureka(_) => format!("eureka: {{ servers: '{url}/eureka', period: 200ms, timeout: 1s }}"),
            Kind::Http(_) => format!("http: {{ url: '{url}/services.yaml', period: 200ms, timeout: 1s }}"),
        };
        let publish = format!("host: 'orders.{}', addresses: {{ loopback: keep }}, hold: 1h, merge: host", self.name);
        format!("- {{ name: {}, {of_kind}, publish: {{ {publish} }} }}\n", self.name)
    }

    /// Its service has these instances now. A registry that is empty learns of none before it is well.
    pub fn set(&mut self, has: BTreeSet<SocketAddr>) {
        self.has = has;
        self.show();
    }

    /// Makes it ill, instead of any other illness. A file cannot have every illness.
    pub fn befall(&mut self, ill: Ill) {
        self.heal();
        self.ill = Some(ill);
        if let Some(proxy) = &self.proxy {
            match ill {
                Ill::Refuse => proxy.sever(),
                Ill::Cut => proxy.cut(),
                Ill::Strand => proxy.strand(),
                Ill::BlackHole => proxy.silence(true),
                _ => {}
            }
        }
        let fault = match ill {
            Ill::Error => Some(Fault::Status(500, "{\"message\": \"down\"}")),
            Ill::Garbage => Some(Fault::Text("<html>welcome</html>")),
            Ill::Truncate => Some(Fault::Truncated),
            Ill::Endless => Some(Fault::Endless),
            Ill::Hang => Some(Fault::Slow),
            _ => None,
        };
        let faults: Vec<(String, Fault)> = fault.into_iter().map(|fault| (String::new(), fault)).collect();
        match &mut self.kind {
            Kind::Nacos(fake) => fake.model().faults = faults,
            Kind::Eureka(fake) => fake.model().faults = faults,
            Kind::Http(fake) => fake.model().faults = faults,
            Kind::File(path) => match ill {
                Ill::Refuse | Ill::Hang => drop(fs::remove_file(path)),
                Ill::Garbage | Ill::Error => put(path, "services: {{{"),
                Ill::Truncate => put(path, "services:\n- host: orders\n  endpoi"),
                _ => {}
            },
        }
        self.show();
    }

    /// Makes it well again.
    pub fn heal(&mut self) {
        self.ill = None;
        if let Some(proxy) = &self.proxy {
            proxy.heal();
            proxy.silence(false);
            // Nothing waits in what was held.
            proxy.cut();
        }
        match &mut self.kind {
            Kind::Nacos(fake) => fake.model().faults.clear(),
            Kind::Eureka(fake) => fake.model().faults.clear(),
            Kind::Http(fake) => fake.model().faults.clear(),
            Kind::File(_) => {}
        }
        self.show();
    }

    /// Brings what it says up to what it has, as far as its illness lets it.
    fn show(&mut self) {
        let shown: Vec<SocketAddr> = match self.ill {
            Some(Ill::Empty) => Vec::new(),
            Some(Ill::Half) => self.has.iter().take(self.has.len() / 2).copied().collect(),
            _ => self.has.iter().copied().collect(),
        };
        match &mut self.kind {
            Kind::File(path) => {
                if matches!(self.ill, None | Some(Ill::Half | Ill::Cut | Ill::Strand | Ill::BlackHole | Ill::Endless)) {
                    put(path, &catalogue(self.name, &shown));
                } else if self.ill == Some(Ill::Empty) {
                    put(path, "services: []\n");
                }
            }
            Kind::Http(fake) => {
                let empty = self.ill == Some(Ill::Empty);
                fake.model().text = if empty { "services: []\n".into() } else { catalogue(self.name, &shown) };
            }
            Kind::Nacos(fake) => {
                let instances = shown.iter().map(|a| fake_nacos::instance(&a.ip().to_string(), a.port())).collect();
                let mut model = fake.model();
                model.services().clear();
                if self.ill != Some(Ill::Empty) {
                    model.put("orders", instances);
                }
            }
            Kind::Eureka(fake) => {
                let mut model = fake.model();
                model.restart();
                for address in &shown {
                    model.put("ORDERS", fake_eureka::instance(&address.ip().to_string(), address.port()));
                }
            }
        }
    }
}

/// The service of a registry with these instances, as a catalogue has it.
fn catalogue(registry: &str, instances: &[SocketAddr]) -> String {
    let endpoints: Vec<String> = instances.iter().map(|address| format!("'{address}'")).collect();
    format!("services:\n- host: orders.{registry}\n  endpoints: [{}]\n", endpoints.join(", "))
}

fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}
