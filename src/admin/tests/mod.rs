//! The admin API over HTTP, with what it shows made up.

mod pages;
mod ready;
mod server;
mod slime;

use super::*;
use crate::{
    calls::{Application, Reading},
    catalog::{HoldCause, HoldStatus, Record, RegistryStatus, ScopeStatus, State},
    model::{
        Address, Cost, Endpoint, Health, Hostname, Labels, Locality, Need, Note, Port, Protocol, PublishedEndpoint,
        PublishedService, Reason, Scope, Service, ServiceId, ServicePort,
    },
    resource::{Kind, KindReadiness, Readiness, Resource, ViewGeneration},
    telemetry,
    translate::{envoy, istio},
    views::Report,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    sync::Mutex,
    time::{Duration, SystemTime},
};
use tokio_util::sync::CancellationToken;

struct Fake {
    catalog: Arc<Catalog>,
    /// The view of each dialect, in the order of [`Dialect::ALL`].
    views: [Loaded; Dialect::ALL.len()],
    ready: [bool; Dialect::ALL.len()],
    released: Mutex<Vec<String>>,
}

impl Sources for Fake {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.clone()
    }

    fn view<'a>(&'a self, key: &'a ViewKey) -> BoxFuture<'a, Option<Loaded>> {
        let loaded = key.scope.is_none().then(|| self.views[key.dialect as usize].clone());
        Box::pin(std::future::ready(loaded))
    }

    fn views(&self) -> Vec<ViewStatus> {
        let generation = self.views[0].generation.clone();
        let key = ViewKey::whole(Dialect::Envoy);
        vec![ViewStatus { key, readers: 2, parts: 1, idle: Some(Duration::from_millis(1_500)), generation }]
    }

    fn is_ready(&self, dialect: Dialect) -> bool {
        self.ready[dialect as usize]
    }

    fn lists_sent(&self) -> u64 {
        5
    }

    fn clients(&self) -> Vec<Client> {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        let refused = Refused { version: "2".into(), message: "no such thing".into(), at };
        let subscription = Subscription {
            type_url: Kind::Cluster.type_url().into(),
            wildcard: true,
            names: 0,
            sent: Some(Sent { version: "2".into(), nonce: "7".into(), at }),
            acknowledged: Some(Acknowledged { version: "1".into(), at }),
            refused: Some(refused),
            withheld: vec![Withheld { name: "x".into(), version: "3".into(), found: "named" }],
            resources_sent: 3,
            bytes_sent: 300,
        };
        vec![Client {
            stream: 1,
            peer: "127.0.0.1:40000".into(),
            listener: "default".into(),
            identity: None,
            variant: "delta",
            connected_at: at,
            node: Node { id: "n".into(), cluster: "c".into(), locality: "r/z".into(), agent: "envoy 1.40.0".into() },
            view: "envoy".into(),
            why: "there are no scopes".into(),
            types: vec![subscription],
        }]
    }

    fn manifests_pending(&self) -> Vec<String> {
        match self.is_ready(Dialect::Istio) {
            true => Vec::new(),
            false => vec!["held".into()],
        }
    }

    fn calls(&self) -> Arc<Model> {
        let need = |group: &str| Need { interface: "a.A".into(), group: group.into(), version: "1.0".into() };
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        let cart = Application { needs: [(need("*"), None), (need("g"), Some(at))].into(), everything: false };
        let all = Need { interface: "*".into(), group: "*".into(), version: "*".into() };
        let console = Application { needs: [(all, None)].into(), everything: true };
        let note = Note::new(Reason::EntryInvalid, "a.A", "10.0.0.1 says no application");
        Arc::new(Model {
            number: 1,
            applications: [("cart".into(), Arc::new(cart)), ("console".into(), Arc::new(console))].into(),
            notes: vec![("zk".into(), note)],
            registries: [("zk".into(), Reading { listed: true, error: Some("denied".into()) })].into(),
        })
    }

    fn release(&self, registry: &str) -> bool {
        self.released.lock().unwrap().push(registry.to_owned());
        registry == "held"
    }
}

fn client() -> reqwest::Client {
    crate::util::tls::http_client().build().unwrap()
}

fn host(name: &str) -> Hostname {
    Hostname::new(name).unwrap()
}

fn id(registry: &str, name: &str) -> ServiceId {
    ServiceId::new(registry, "ns", "g", name)
}

fn endpoint(last: u8, health: Health) -> PublishedEndpoint {
    let ports = [("http".into(), Port::new(8080).unwrap())].into();
    PublishedEndpoint {
        health,
        locality: Locality::parse("r/z"),
        labels: Labels::from([("version".into(), "v1".into())]),
        ..PublishedEndpoint::new(Address::Ip([10, 0, 0, last].into()), ports)
    }
}

fn published(name: &str, endpoints: Vec<PublishedEndpoint>) -> PublishedService {
    let host = host(&format!("{name}.example"));
    let (number, protocol) = (Port::new(80).unwrap(), Protocol::Grpc);
    let ports = vec![ServicePort { name: "http".into(), number, protocol, host: host.clone() }];
    PublishedService {
        aliases: vec![Hostname::new(name).unwrap()],
        sources: vec![id("held", name)],
        labels: Labels::from([("team".into(), "shop".into())]),
        notes: vec![Note::new(Reason::Disabled, "10.0.0.9:8080", "")],
        ..PublishedService::new(host, ports, endpoints)
    }
}

fn registry(name: &str, state: State) -> Arc<RegistryStatus> {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
    let cost = Cost { requests: 2, bytes: 1_000, duration: Duration::from_micros(1_500) };
    let failed = matches!(state, State::Connecting | State::Stale);
    Arc::new(RegistryStatus {
        name: name.into(),
        kind: "nacos",
        required: name != "optional",
        state,
        heard_at: (state != State::Connecting).then_some(at),
        scopes: vec![ScopeStatus {
            scope: Scope("ns".into()),
            listed_at: Some(at),
            error: failed.then(|| "refused".into()),
        }],
        last_error: failed.then(|| (at, "refused".into())),
        services: 2,
        endpoints: 3,
        last_cost: Some(cost),
        total_cost: cost,
        hold: (name == "held").then_some(HoldStatus {
            cause: HoldCause::Drop,
            since: at,
            until: at + Duration::from_secs(300),
            endpoints: 50,
        }),
    })
}

fn catalog(sync: Readiness, registries: Vec<Arc<RegistryStatus>>, services: Vec<PublishedService>) -> Catalog {
    let excluded = Record {
        service: Arc::new(Service::new(
            id("other", "secret-svc"),
            vec![Endpoint::new(Address::Ip([10, 1, 0, 1].into()), Port::new(80).unwrap())],
        )),
        hosts: Vec::new(),
        notes: vec![Note::new(Reason::Excluded, "", "exclude[0]")],
    };
    let fed = services.iter().map(|s| Record {
        service: Arc::new(Service::new(s.sources[0].clone(), Vec::new())),
        hosts: vec![s.host.clone()],
        notes: Vec::new(),
    });
    Catalog {
        number: 7,
        overrides: Arc::new([]),
        revision: 0,
        records: fed.chain([excluded]).map(|r| (r.service.id.clone(), Arc::new(r))).collect(),
        services: services.into_iter().map(|s| (s.host.clone(), Arc::new(s))).collect(),
        registries: registries.into(),
        sync,
        known: sync,
    }
}

/// The views of a catalog, by dialect. In that of Envoys an address is rejected, because it is there twice.
fn views(catalog: &Catalog) -> [Loaded; Dialect::ALL.len()] {
    let services = || catalog.services.values();
    let clusters = services().flat_map(|s| envoy::translate(s, &envoy::Options::default()).0);
    let entries = services().flat_map(|s| istio::translate(s, &istio::Options::default(), &|_| vec![]).0);
    let loaded = |kinds: Vec<Kind>, resources: Vec<(Kind, Resource)>, rejected| {
        let resources = resources.into_iter().map(|(kind, resource)| (kind, resource.name().clone(), Some(resource)));
        let generation = ViewGeneration::empty().next(KindReadiness::of(kinds, Readiness::Complete), resources);
        let report = Report { rejected, ..Report::default() };
        Loaded { generation: Arc::new(generation.unwrap()), report: Arc::new(report) }
    };
    let (host, subject) = (host("orders.example"), "10.0.0.1:80".into());
    let twice = crate::translate::Rejected { host, subject, why: crate::translate::Why::Twice };
    let envoy = loaded(Kind::ENVOY.to_vec(), clusters.collect(), vec![twice]);
    [envoy.clone(), envoy, loaded(vec![Kind::ServiceEntry], entries.collect(), Vec::new())]
}

/// The admin API on a port of its own, over a catalog that never changes.
pub(crate) struct Running {
    pub(crate) url: String,
    fake: Arc<Fake>,
    stop: CancellationToken,
}

/// The hosts only; tokens have tests of their own.
fn protection() -> Protection {
    Protection { hosts: Hosts::new(&["portolan.test".into()]), ..Protection::default() }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    async fn start(catalog: Catalog) -> Running {
        let answers = catalog.sync != Readiness::Waiting;
        let ready = [answers, answers, catalog.sync == Readiness::Complete];
        Running::start_with(catalog, ready).await
    }

    async fn start_with(catalog: Catalog, ready: [bool; Dialect::ALL.len()]) -> Running {
        let (views, catalog) = (views(&catalog), Arc::new(catalog));
        let fake = Arc::new(Fake { catalog, views, ready, released: Mutex::default() });
        let metrics = Arc::new(telemetry::registry());
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), protection(), fake.clone(), metrics).await.unwrap();
        let (url, stop) = (format!("http://{}", server.local_addr()), CancellationToken::new());
        tokio::spawn(server.run(stop.clone()));
        Running { url, fake, stop }
    }

    pub(crate) async fn good() -> Running {
        let services = vec![
            published("orders", vec![endpoint(1, Health::Healthy), endpoint(2, Health::Unhealthy)]),
            published("users", Vec::new()),
        ];
        Running::start(catalog(Readiness::Complete, vec![registry("held", State::Synced)], services)).await
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = client().get(format!("{}{path}", self.url)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}
