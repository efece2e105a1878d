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

#[tokio::test]
async fn the_page_health_and_metrics_answer() {
    let admin = Running::good().await;
    let (status, page) = admin.get("/").await;
    assert_eq!(status, 200);
    assert!(page.contains(telemetry::VERSION) && page.contains("/api/v1/services"), "{page}");
    for link in page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        // There is no configuration behind this one.
        let expected = if link == "/api/v1/config" { 404 } else { 200 };
        assert_eq!(admin.get(link).await.0, expected, "{link}");
    }
    assert_eq!(admin.get("/healthz").await, (StatusCode::OK, "ok\n".into()));
    assert!(admin.get("/metrics").await.1.ends_with("# EOF\n"));
    let (status, body) = admin.get("/nothing").await;
    assert_eq!((status, body.as_str()), (StatusCode::NOT_FOUND, "{\"error\":\"no such page; / lists them\"}"));
}

#[tokio::test]
async fn readiness_says_for_whom_it_waits() {
    let states = [
        ("good", State::Synced),
        ("late", State::Connecting),
        ("half", State::Stale),
        ("new", State::Syncing),
        ("optional", State::Connecting),
    ];
    let registries = states.map(|(name, state)| registry(name, state)).to_vec();
    let admin = Running::start(catalog(Readiness::Waiting, registries, vec![published("a", Vec::new())])).await;
    let (status, body) = admin.get("/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({
            "ready": false,
            "reason": "waiting for the first list of late (refused), half (refused), new",
            "sync": "waiting",
            "clients": {
                "envoy": { "ready": false, "pending": ["late (refused)", "half (refused)", "new"] },
                "grpc": { "ready": false, "pending": ["late (refused)", "half (refused)", "new"] },
                "istio": {
                    "ready": false,
                    "pending": ["late (refused)", "half (refused)", "new", "held's manifests"],
                },
            },
            "registries": [
                { "name": "good", "required": true, "state": "synced", "error": null },
                { "name": "late", "required": true, "state": "connecting", "error": "refused" },
                { "name": "half", "required": true, "state": "stale", "error": "refused" },
                { "name": "new", "required": true, "state": "syncing", "error": null },
                { "name": "optional", "required": false, "state": "connecting", "error": "refused" },
            ],
        })
    );
    assert_eq!(Running::good().await.json("/ready").await["ready"], true);
}

#[tokio::test]
async fn what_was_listed_is_not_ready_before_it_is_served() {
    for sync in [Readiness::Partial, Readiness::Complete] {
        let admin = Running::start_with(catalog(sync, Vec::new(), Vec::new()), [false; Dialect::ALL.len()]).await;
        let (status, body) = admin.get("/ready").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("making the first generation"), "{body}");
    }
}

#[tokio::test]
async fn readiness_is_another_for_istiods_who_wait_until_all_is_known() {
    let registries = vec![registry("good", State::Synced), registry("late", State::Connecting)];
    let admin = Running::start(catalog(Readiness::Partial, registries, Vec::new())).await;
    for (path, status) in [
        ("/ready", StatusCode::OK),
        ("/ready?for=envoy", StatusCode::OK),
        ("/ready?for=istio", StatusCode::SERVICE_UNAVAILABLE),
        ("/ready?for=me", StatusCode::BAD_REQUEST),
        ("/ready?of=istio", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(admin.get(path).await.0, status, "{path}");
    }
    let ready = admin.json("/ready").await;
    assert_eq!(
        ready["clients"],
        json!({
            "envoy": { "ready": true, "pending": [] },
            "grpc": { "ready": true, "pending": [] },
            "istio": { "ready": false, "pending": ["late (refused)", "held's manifests"] },
        })
    );
    assert_eq!(ready["reason"], "some registry is missing; what the others have is served");
    let (_, body) = admin.get("/ready?for=istio").await;
    assert!(body.contains("waiting for the first list of late (refused), held's manifests"), "{body}");
    let (status, text) = admin.get("/meshregistry/ready").await;
    assert_eq!((status, &*text), (StatusCode::SERVICE_UNAVAILABLE, "xds not ready source not ready late,held"));
}

#[tokio::test]
async fn views_are_shown_by_key_and_each_has_its_own() {
    let admin = Running::good().await;
    assert_eq!(
        admin.json("/api/v1/views").await,
        json!([{
            "key": "envoy", "clients": 1, "parts": 1, "idle_seconds": 1.5, "generation": 1, "readiness": "complete",
            "resources": { "clusters": 4, "endpoints": 2, "listeners": 0, "routes": 0, "secrets": 0 },
        }])
    );
    let total = async |path: &str| admin.json(path).await["total"].clone();
    assert_eq!(total("/api/v1/resources/clusters?view=envoy").await, 4);
    assert_eq!(total("/api/v1/resources/serviceentries").await, 2);
    assert_eq!(total("/api/v1/resources/serviceentries?view=istio&q=orders").await, 1);
    let keys = |digests: &Value| digests.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let all = admin.json("/api/v1/digests").await;
    assert_eq!(keys(&all), ["clusters", "endpoints", "listeners", "routes", "secrets", "serviceentries"]);
    assert_eq!(all["serviceentries"]["count"], 2);
    assert_eq!(keys(&admin.json("/api/v1/digests?view=istio").await), ["serviceentries"]);
    for (path, status, text) in [
        ("/api/v1/resources/clusters?view=edge", StatusCode::BAD_REQUEST, "envoy/SCOPE"),
        ("/api/v1/resources/clusters?view=envoy/edge", StatusCode::NOT_FOUND, "no view envoy/edge"),
        ("/api/v1/resources/clusters?view=istio", StatusCode::BAD_REQUEST, "a view of istio has no clusters"),
        ("/api/v1/digests?view=envoy/edge", StatusCode::NOT_FOUND, "/api/v1/views lists them"),
    ] {
        let (found, body) = admin.get(path).await;
        assert!(found == status && body.contains(text), "{path}: {found} {body}");
    }
}

#[tokio::test]
async fn registries_show_state_age_cost_error_and_hold() {
    let mut found = Running::good().await.json("/api/v1/registries").await;
    let age = found[0]["age_seconds"].take();
    assert!(age.as_f64().unwrap() > 1e9, "{age}");
    let cost = json!({ "requests": 2, "bytes": 1000, "duration_ms": 1.5 });
    assert_eq!(
        found,
        json!([{
            "name": "held", "kind": "nacos", "state": "synced",
            "heard_at": "1970-01-01T00:01:00.000Z", "age_seconds": null,
            "services": 2, "endpoints": 3,
            "scopes": [{ "scope": "ns", "listed_at": "1970-01-01T00:01:00.000Z", "error": null }],
            "last_error": null, "last_cost": cost, "total_cost": cost,
            "hold": { "cause": "drop", "since": "1970-01-01T00:01:00.000Z", "until": "1970-01-01T00:06:00.000Z", "endpoints": 50 },
        }])
    );
}

#[tokio::test]
async fn services_are_listed_with_those_that_are_not_published() {
    let admin = Running::good().await;
    let list = admin.json("/api/v1/services").await;
    assert_eq!((&list["total"], &list["sync"], &list["number"]), (&json!(3), &json!("complete"), &json!(7)));
    assert_eq!(
        list["services"][0],
        json!({
            "published": true, "host": "orders.example", "aliases": ["orders"], "sources": ["held/ns/g/orders"],
            "ports": [{ "name": "http", "number": 80, "protocol": "grpc", "host": "orders.example" }],
            "endpoints": { "total": 2, "serving": 1 }, "protected": false,
            "notes": [{ "reason": "disabled", "subject": "10.0.0.9:8080", "detail": "" }],
        })
    );
    assert_eq!(
        list["services"][2],
        json!({
            "published": false, "host": null, "aliases": [], "sources": ["other/ns/g/secret-svc"], "ports": [],
            "endpoints": { "total": 1, "serving": 0 }, "protected": false,
            "notes": [{ "reason": "excluded", "subject": "", "detail": "exclude[0]" }],
        })
    );
}

#[tokio::test]
async fn filters_restrict_lists_and_unknown_ones_are_refused() {
    let admin = Running::good().await;
    for (query, hosts) in [
        ("host=orders.example", vec!["orders.example"]),
        ("host=users", vec!["users.example"]),
        ("q=er", vec!["orders.example", "users.example"]),
        ("q=secret", vec![""]),
        ("registry=other", vec![""]),
        ("reason=excluded", vec![""]),
        ("published=true&offset=1&limit=5", vec!["users.example"]),
        ("limit=1", vec!["orders.example"]),
        ("host=nobody", vec![]),
    ] {
        let list = admin.json(&format!("/api/v1/services?{query}")).await;
        let found: Vec<&str> =
            list["services"].as_array().unwrap().iter().map(|s| s["host"].as_str().unwrap_or("")).collect();
        assert_eq!(found, hosts, "{query}");
    }
    for query in ["/api/v1/services?hots=a", "/api/v1/services?limit=-1", "/api/v1/resources/clusters?x=1"] {
        assert_eq!(admin.get(query).await.0, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn one_service_is_shown_whole_by_host_alias_or_id() {
    let admin = Running::good().await;
    let by_host = admin.json("/api/v1/services/orders.example").await;
    assert_eq!(by_host, admin.json("/api/v1/services/orders").await);
    assert_eq!(
        by_host["instances"][1],
        json!({
            "address": "10.0.0.2", "ports": { "http": 8080 }, "weight": 1.0, "health": "unhealthy",
            "locality": "r/z", "labels": { "version": "v1" }, "secure": false, "priority": 0,
        })
    );
    assert_eq!(by_host["records"][0]["id"], "held/ns/g/orders");
    assert_eq!(by_host["rejected"], admin.json("/api/v1/rejected").await);
    assert_eq!(by_host["rejected"][0]["code"], "twice");
    assert_eq!(admin.json("/api/v1/services/users").await["rejected"], json!([]));
    let unpublished = admin.json("/api/v1/services/other/ns/g/secret-svc").await;
    assert_eq!(unpublished["records"][0]["notes"][0]["reason"], "excluded");
    assert_eq!(admin.get("/api/v1/services/nobody").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn clients_show_what_they_took_and_refused() {
    let at = "1970-01-01T00:00:01.500Z";
    assert_eq!(
        Running::good().await.json("/api/v1/clients").await["clients"],
        json!([{
            "stream": 1, "peer": "127.0.0.1:40000", "listener": "default", "identity": null, "variant": "delta", "connected_at": at,
            "node": { "id": "n", "cluster": "c", "locality": "r/z", "agent": "envoy 1.40.0" },
            "view": "envoy",
            "why": "there are no scopes",
            "types": [{
                "type_url": Kind::Cluster.type_url(), "wildcard": true, "names": 0,
                "sent": { "version": "2", "nonce": "7", "at": at },
                "acknowledged": { "version": "1", "at": at },
                "refused": { "version": "2", "message": "no such thing", "at": at },
                "withheld": [{ "name": "x", "version": "3", "found": "named" }],
                "resources_sent": 3, "bytes_sent": 300,
            }],
        }])
    );
}

#[tokio::test]
async fn clients_come_in_pages_and_by_a_part_of_their_id() {
    let admin = Running::good().await;
    for (query, expected) in [
        ("", (1, 1, json!(null))),
        ("?q=n", (1, 1, json!(null))),
        ("?q=nobody", (0, 0, json!(null))),
        ("?offset=1", (1, 0, json!(null))),
        ("?continue=1", (1, 0, json!(null))),
    ] {
        let page = admin.json(&format!("/api/v1/clients{query}")).await;
        let shown = page["clients"].as_array().unwrap().len();
        assert_eq!((page["total"].as_u64().unwrap(), shown, page["continue"].clone()), expected, "{query}");
    }
    for query in ["?limit=0", "?continue=x", "?node=n"] {
        assert_eq!(admin.get(&format!("/api/v1/clients{query}")).await.0, StatusCode::BAD_REQUEST, "{query}");
    }
    let (_, index) = admin.get("/").await;
    assert!(index.contains("href=\"/api/v1/config\""), "{index}");
}

#[tokio::test]
async fn resources_are_shown_as_they_are_sent() {
    let admin = Running::good().await;
    let clusters = admin.json("/api/v1/resources/clusters?name=outbound|80||orders").await;
    assert_eq!(
        clusters["resources"][0]["resource"],
        json!({
            "name": "outbound|80||orders", "altStatName": "outbound_80__orders", "type": "EDS",
            "edsClusterConfig": {
                "edsConfig": { "ads": {}, "resourceApiVersion": "V3" }, "serviceName": "outbound|80||orders.example",
            },
            "connectTimeout": "5s", "lbPolicy": "LEAST_REQUEST",
            "commonLbConfig": { "healthyPanicThreshold": {} },
            "typedExtensionProtocolOptions": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicitHttpConfig": { "http2ProtocolOptions": {} },
                },
            },
        })
    );
    let endpoints = admin.json("/api/v1/resources/endpoints?q=orders").await;
    assert_eq!(endpoints["total"], 1);
    let group = &endpoints["resources"][0]["resource"]["endpoints"][0];
    assert_eq!(group["locality"], json!({ "region": "r", "zone": "z" }));
    assert_eq!(
        group["lbEndpoints"][1],
        json!({
            "endpoint": { "address": { "socketAddress": { "address": "10.0.0.2", "portValue": 8080 } } },
            "healthStatus": "UNHEALTHY",
            "loadBalancingWeight": 100,
            "metadata": { "filterMetadata": { "envoy.lb": { "version": "v1" } } },
        })
    );
    assert_eq!(admin.get("/api/v1/resources/pods").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn digests_are_equal_for_equal_content_only() {
    let [one, other] = [Running::good().await, Running::good().await];
    let digests = one.json("/api/v1/digests").await;
    assert_eq!(digests, other.json("/api/v1/digests").await);
    assert_eq!(digests["clusters"]["count"], 4);
    let less = Running::start(catalog(Readiness::Complete, Vec::new(), vec![published("orders", Vec::new())])).await;
    assert_ne!(digests["endpoints"], less.json("/api/v1/digests").await["endpoints"]);
}

#[tokio::test]
async fn a_drop_is_released_only_by_a_request_that_means_it() {
    let admin = Running::good().await;
    let send = |method: Method, registry: &str, content_type: Option<&str>| {
        let request = client().request(method, format!("{}/api/v1/registries/{registry}/release", admin.url));
        let request = content_type.into_iter().fold(request, |r, t| r.header("content-type", t));
        async move { request.send().await.unwrap().status() }
    };
    let json = Some("application/json");
    assert_eq!(send(Method::GET, "held", None).await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(send(Method::POST, "held", None).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(send(Method::POST, "held", Some("text/plain")).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(send(Method::POST, "nobody", json).await, StatusCode::NOT_FOUND);
    assert!(admin.fake.released.lock().unwrap().is_empty());
    assert_eq!(send(Method::POST, "held", json).await, StatusCode::OK);
    assert_eq!(*admin.fake.released.lock().unwrap(), ["held"]);
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_remedy() {
    let admin = Running::good().await;
    let address = admin.url.trim_start_matches("http://");
    let again =
        Server::bind(address.parse().unwrap(), protection(), admin.fake.clone(), Arc::new(telemetry::registry())).await;
    let error = again.unwrap_err().to_string();
    assert!(error.contains(address) && error.contains("admin.listen"), "{error}");
}

#[tokio::test]
async fn it_ends_when_it_is_told_to_though_a_connection_is_open() {
    let fake = Running::good().await.fake.clone();
    let metrics = Arc::new(telemetry::registry());
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), protection(), fake, metrics).await.unwrap();
    let idle = tokio::net::TcpStream::connect(server.local_addr()).await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), running).await.expect("it ends in time").unwrap();
    drop(idle);
}

#[tokio::test]
async fn ten_thousand_services_are_listed_at_once() {
    let endpoints: Vec<PublishedEndpoint> = (0..10).map(|i| endpoint(i, Health::Healthy)).collect();
    let services = (0..10_000).map(|i| published(&format!("svc-{i}"), endpoints.clone())).collect();
    let admin = Running::start(catalog(Readiness::Complete, Vec::new(), services)).await;
    for path in ["/api/v1/services", "/api/v1/resources/clusters", "/api/v1/resources/endpoints", "/metrics"] {
        // By the square of their number this would take minutes.
        assert_eq!(admin.get(path).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn the_pages_of_slime_show_what_istiods_have() {
    let admin = Running::good().await;
    let cache = admin.json("/meshregistry/xdsCache").await;
    let of_type = "networking.istio.io/v1alpha3/ServiceEntry";
    let [orders, users] = &cache[of_type].as_array().unwrap()[..] else { panic!("{cache}") };
    assert_eq!(orders["type"], of_type);
    assert_eq!((&orders["namespace"], &orders["name"]), (&json!("portolan"), &json!("orders.example")));
    assert_eq!(orders["Spec"]["hosts"], json!(["orders.example", "orders"]));
    assert_eq!(orders["Spec"]["endpoints"][0]["address"], "10.0.0.1");
    assert_eq!(users["Spec"].get("endpoints"), None);

    let version = orders["resourceVersion"].as_str().unwrap();
    for (query, expected) in [
        ("ns=portolan", 2),
        ("ns=other", 0),
        ("name=users.example", 1),
        ("res=ServiceEntry", 2),
        ("typeUrl=networking.istio.io/v1/ServiceEntry", 2),
        ("gvk=networking.istio.io/v1alpha3/Sidecar", 0),
        (&format!("ver={version}"), 1),
        ("ns=&name=&unknown=1", 2),
    ] {
        let list = admin.json(&format!("/meshregistry/xdsCache?layout=list&{query}")).await;
        assert_eq!(list.as_array().unwrap().len(), expected, "{query}: {list}");
    }
    let object = admin.json("/meshregistry/xdsCache?layout=list&k8sRsc=1&name=users.example").await;
    assert_eq!((&object[0]["kind"], &object[0]["metadata"]["name"]), (&json!("ServiceEntry"), &json!("users.example")));
    let (_, plain) = admin.get("/meshregistry/xdsCache?layout=plain&format=yaml").await;
    assert_eq!(plain.split("\n---\n").count(), 2, "{plain}");
    assert!(plain.contains("name: orders.example"), "{plain}");
    assert_eq!(admin.get("/meshregistry/xdsCache?layout=tree").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(admin.get("/meshregistry/xdsCache?format=xml").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_pages_of_slime_show_registries_clients_and_readiness() {
    let admin = Running::good().await;
    let kind = admin.json("/api/v1/registries").await[0]["kind"].as_str().unwrap().to_owned();
    assert_eq!(kind, "nacos");
    let by_name = admin.json("/meshregistry/nacos").await;
    assert_eq!(by_name["orders.example"]["hosts"], json!(["orders.example", "orders"]));
    assert_eq!(admin.json("/meshregistry/eureka").await, json!({}));
    assert_eq!(admin.json("/meshregistry/zk").await, json!({ "cache": {} }));
    assert_eq!(admin.json("/meshregistry/zk?registry_services=true").await, json!([]));
    let registries = admin.json("/meshregistry/nacos?registries=true").await;
    assert_eq!(registries, json!([{ "registry_id": "held", "state": "synced" }]));

    let clients = admin.json("/meshregistry/clients").await;
    let (id, client) = clients.as_object().unwrap().iter().next().unwrap();
    assert_eq!((&client["ConnId"], client["PushStatus"].is_object()), (&json!(id), true), "{clients}");

    assert_eq!(admin.get("/meshregistry/ready").await, (StatusCode::OK, String::new()));
    let late = catalog(Readiness::Waiting, vec![registry("late", State::Connecting)], vec![published("a", Vec::new())]);
    let admin = Running::start(late).await;
    let (status, text) = admin.get("/meshregistry/ready").await;
    assert_eq!((status, &*text), (StatusCode::SERVICE_UNAVAILABLE, "xds not ready source not ready late,held"));
    assert_eq!(admin.get("/meshregistry/xdsCache").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_pages_of_slime_show_what_eureka_and_zookeeper_feed() {
    let of_kind = async |kind: &'static str| {
        let mut status = registry("held", State::Synced);
        Arc::get_mut(&mut status).expect("it is new").kind = kind;
        let mut orders = published("orders", vec![endpoint(1, Health::Healthy)]);
        orders.sources = vec![id("held", "com.foo.Orders:1.0")];
        Running::start(catalog(Readiness::Complete, vec![status], vec![orders])).await
    };
    let eureka = of_kind("eureka").await;
    let entries = eureka.json("/meshregistry/eureka").await;
    assert_eq!(entries["orders.example"]["endpoints"][0]["address"], "10.0.0.1");
    assert_eq!(eureka.json("/meshregistry/zk").await, json!({ "cache": {} }));

    let zookeeper = of_kind("zookeeper").await;
    assert_eq!(zookeeper.json("/meshregistry/eureka").await, json!({}));
    for (query, shown) in [("", true), ("?interfaceName=com.foo.Orders", true), ("?interfaceName=com.foo.Users", false)]
    {
        let cache = zookeeper.json(&format!("/meshregistry/zk{query}")).await;
        let of = &cache["cache"]["com.foo.Orders"]["orders.example"];
        assert_eq!(of["ServiceEntry"]["hosts"][0] == "orders.example", shown, "{query}: {cache}");
        assert_eq!(of["Meta"]["team"] == "shop", shown, "{query}: {cache}");
    }
    for (query, expected) in [
        ("", json!({ "com.foo.Orders:1.0": 1, "count-iface": 1 })),
        ("?all=true", json!({ "com.foo.Orders:1.0": 1, "count-iface": 1 })),
        ("?iface=com.foo.Users", json!({ "count-iface": 1 })),
    ] {
        assert_eq!(zookeeper.json(&format!("/meshregistry/zks{query}")).await, expected, "{query}");
    }
    assert_eq!(eureka.json("/meshregistry/zks").await, json!({ "count-iface": 0 }));
    let instance =
        json!({ "interface": "com.foo.Orders", "address": "10.0.0.1", "port": 8080, "metadata": { "version": "v1" } });
    assert_eq!(zookeeper.json("/meshregistry/zk?registry_services=true").await, json!([instance]));
}

#[tokio::test]
async fn the_metrics_of_slime_are_there_by_kind_of_registry() {
    let admin = Running::good().await;
    let (_, text) = admin.get("/metrics").await;
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("meshregistry_")).collect();
    assert_eq!(
        lines,
        [
            "meshregistry_enabled_source{source=\"nacos\"} 1",
            "meshregistry_source_ready{source=\"nacos\"} 1",
            "meshregistry_source_connection_status{source=\"nacos\"} 1",
            "meshregistry_service_entry_total{source=\"nacos\"} 2",
            "meshregistry_mcp_push_count 5",
        ]
    );
}
