//! A client that does to the letter what Istiod does with a config source.

use crate::client::{ADS_SOTW, Change, DEADLINE, Sotw, World};
use portolan::{
    pb::{
        envoy::{
            config::core::v3::Node,
            service::discovery::v3::{DiscoveryRequest, DiscoveryResponse},
        },
        google::protobuf::{Any, Struct, Value},
        istio::{
            mcp::v1alpha1::{Metadata, Resource as Envelope},
            networking::v1alpha3::ServiceEntry,
        },
    },
    resource::{Kind, Resource, content_version, version_text},
};
use prost::{Message, Name as _};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tokio::time::timeout;
use tonic::transport::Endpoint;

/// The type by which Istiod 1.24 and newer asks for ServiceEntries.
pub const V1: &str = "networking.istio.io/v1/ServiceEntry";
/// The type by which Istiod 1.23 and older asks for ServiceEntries.
pub const V1ALPHA3: &str = "networking.istio.io/v1alpha3/ServiceEntry";

/// The first requests of Istiod 1.30 and newer, in their order.
pub const TYPES: [&str; 16] = [
    "core/v1alpha1/MeshConfig",
    "security.istio.io/v1/AuthorizationPolicy",
    "networking.istio.io/v1/DestinationRule",
    "networking.istio.io/v1alpha3/EnvoyFilter",
    "networking.istio.io/v1/Gateway",
    "security.istio.io/v1/PeerAuthentication",
    "networking.istio.io/v1beta1/ProxyConfig",
    "security.istio.io/v1/RequestAuthentication",
    V1,
    "networking.istio.io/v1/Sidecar",
    "telemetry.istio.io/v1/Telemetry",
    "extensions.istio.io/v1alpha1/TrafficExtension",
    "networking.istio.io/v1/VirtualService",
    "extensions.istio.io/v1alpha1/WasmPlugin",
    "networking.istio.io/v1/WorkloadEntry",
    "networking.istio.io/v1/WorkloadGroup",
];

/// The first requests of Istiod 1.23 and older: other versions, and one type less.
pub fn old_types() -> Vec<String> {
    let version = |t: &str| match t.split('/').next() {
        Some("networking.istio.io") if !t.ends_with("ProxyConfig") => t.replace("/v1/", "/v1alpha3/"),
        Some("security.istio.io") => t.replace("/v1/", "/v1beta1/"),
        _ => t.replace("/v1/", "/v1alpha1/"),
    };
    TYPES.iter().filter(|t| !t.contains("TrafficExtension")).map(|t| version(t)).collect()
}

/// An Istiod's connection and its store of entries.
pub struct Istiod {
    stream: Sotw,
    node: Node,
    types: Vec<String>,
    /// The entries that it holds, by `namespace/name`.
    pub store: BTreeMap<String, Stored>,
    /// How often each type was answered.
    pub answered: BTreeMap<String, usize>,
    /// The addresses that a sidecar of each entry gets, which follow the store by the rule of a release.
    pub sidecars: BTreeMap<String, BTreeSet<String>>,
    /// Whether it is of Istio 1.29 or older.
    pub old_release: bool,
    /// Changes of the store so far: `+`, `~` or `-` and the name of the entry.
    pub writes: Vec<String>,
}

/// An entry of the store, with what its envelope says.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub version: String,
    pub labels: BTreeMap<String, String>,
    pub entry: ServiceEntry,
}

impl Istiod {
    /// Connects as a current Istiod without a revision.
    pub async fn connect(address: SocketAddr) -> Istiod {
        Self::with(address, node(Some("api"), None), TYPES.map(String::from).to_vec()).await
    }

    /// Opens the stream and sends all first requests.
    pub async fn with(address: SocketAddr, node: Node, types: Vec<String>) -> Istiod {
        let stream = open(address).await;
        let mut istiod = Istiod {
            stream,
            node,
            types,
            store: BTreeMap::new(),
            answered: BTreeMap::new(),
            sidecars: BTreeMap::new(),
            old_release: false,
            writes: Vec::new(),
        };
        istiod.ask_for_everything().await;
        istiod
    }

    /// Connects again, with all that it holds.
    pub async fn reconnect(&mut self, address: SocketAddr) {
        self.stream = open(address).await;
        self.answered.clear();
        self.writes.clear();
        self.ask_for_everything().await;
    }

    async fn ask_for_everything(&mut self) {
        for (place, type_url) in self.types.iter().enumerate() {
            let node = (place == 0).then(|| self.node.clone());
            self.stream.request(first_request(type_url, node)).await;
        }
    }

    /// The next answer, not acknowledged yet.
    pub async fn receive(&mut self) -> DiscoveryResponse {
        self.stream.result().await.unwrap().expect("the stream has ended")
    }

    /// The next answer, the end (`None`), or the status that the stream ends with.
    pub async fn result(&mut self) -> Result<Option<DiscoveryResponse>, tonic::Status> {
        self.stream.result().await
    }

    /// Treats an answer as Istiod does, and acknowledges it.
    pub async fn accept(&mut self, answer: &DiscoveryResponse) {
        *self.answered.entry(answer.type_url.clone()).or_default() += 1;
        if answer.type_url == V1 || answer.type_url == V1ALPHA3 {
            self.take(answer);
        }
        self.acknowledge(answer, &answer.nonce).await;
    }

    /// Acknowledges an answer with any nonce, also one that is not the answer's.
    pub async fn acknowledge(&self, answer: &DiscoveryResponse, nonce: &str) {
        let request = DiscoveryRequest {
            version_info: answer.version_info.clone(),
            node: Some(self.node.clone()),
            type_url: answer.type_url.clone(),
            response_nonce: nonce.into(),
            ..Default::default()
        };
        self.stream.request(request).await;
    }

    /// Sends a request as it is.
    pub async fn say(&self, request: DiscoveryRequest) {
        self.stream.request(request).await;
    }

    /// The next answer, treated and acknowledged.
    pub async fn next(&mut self) -> DiscoveryResponse {
        let answer = self.receive().await;
        self.accept(&answer).await;
        answer
    }

    /// Takes answers until every type was answered: then Istiod opens its port.
    pub async fn synced(&mut self) -> &mut Self {
        while !self.is_synced() {
            self.next().await;
        }
        self
    }

    /// True once every type but MeshConfig was answered. Istiod does not wait for MeshConfig.
    pub fn is_synced(&self) -> bool {
        self.types.iter().skip(1).all(|t| self.answered.contains_key(t))
    }

    /// Which types were not answered.
    pub fn waits_for(&self) -> Vec<&str> {
        self.types.iter().filter(|t| !self.answered.contains_key(*t)).map(|t| &**t).collect()
    }

    /// Takes answers for that time, and returns them. What is due at once is among them however busy the machine is, as a
    /// question behind it has been answered.
    pub async fn listen(&mut self, time: Duration) -> Vec<DiscoveryResponse> {
        let mut answers = self.until_answered().await;
        let deadline = tokio::time::Instant::now() + time;
        while let Ok(answer) = tokio::time::timeout_at(deadline, self.receive()).await {
            self.accept(&answer).await;
            answers.push(answer);
        }
        answers.extend(self.until_answered().await);
        answers
    }

    /// Asks for a type that nobody has, which is answered at once, and takes what comes before that.
    async fn until_answered(&mut self) -> Vec<DiscoveryResponse> {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let marker = format!("marker.example/v1/Marker{}", LAST.fetch_add(1, Ordering::Relaxed));
        self.say(first_request(&marker, None)).await;
        let mut answers = Vec::new();
        loop {
            let answer = self.receive().await;
            if answer.type_url == marker {
                return answers;
            }
            self.accept(&answer).await;
            answers.push(answer);
        }
    }

    /// Takes answers until its store has what it should.
    pub async fn until(&mut self, right: impl Fn(&BTreeMap<String, Stored>) -> bool) {
        while !right(&self.store) {
            let next = timeout(DEADLINE, self.next()).await;
            assert!(next.is_ok(), "still {:?}", self.store);
        }
    }

    /// Names and versions of the entries that it holds.
    pub fn versions(&self) -> BTreeMap<String, String> {
        self.store.iter().map(|(name, stored)| (name.clone(), stored.version.clone())).collect()
    }

    /// A list is the whole: what it lacks is deleted, what has the version that is known is skipped, what cannot be
    /// decoded counts as lacking.
    fn take(&mut self, list: &DiscoveryResponse) {
        let received: BTreeMap<String, Stored> = list
            .resources
            .iter()
            .filter(|any| any.type_url == Envelope::type_url())
            .filter_map(|any| decode(&any.value))
            .collect();
        for gone in self.store.keys().filter(|name| !received.contains_key(*name)) {
            self.writes.push(format!("- {gone}"));
        }
        self.store.retain(|name, _| received.contains_key(name));
        self.sidecars.retain(|name, _| received.contains_key(name));
        for (name, new) in received {
            match self.store.get(&name) {
                Some(old) if old.version == new.version && !new.version.is_empty() => {}
                old => {
                    self.writes.push(format!("{} {name}", if old.is_some() { "~" } else { "+" }));
                    if is_pushed(old, &new, self.old_release) {
                        let addresses = new.entry.endpoints.iter().map(|endpoint| endpoint.address.clone()).collect();
                        self.sidecars.insert(name.clone(), addresses);
                    }
                    self.store.insert(name, new);
                }
            }
        }
    }
}

/// Whether an update reaches sidecars. Where endpoints alone differ, Istio up to 1.29 updates the services of the *new*
/// endpoints: of none, if there are none (`serviceentry/controller.go`, measured on 1.23.6 with addresses and on 1.29.6).
fn is_pushed(old: Option<&Stored>, new: &Stored, old_release: bool) -> bool {
    let Some(old) = old else { return true };
    let without_endpoints = |of: &Stored| ServiceEntry { endpoints: Vec::new(), ..of.entry.clone() };
    let whole = old.labels != new.labels || without_endpoints(old) != without_endpoints(new);
    whole || !old_release || !new.entry.endpoints.is_empty()
}

/// An envelope as Istiod reads it; `None` where it cannot.
fn decode(bytes: &[u8]) -> Option<(String, Stored)> {
    let envelope = Envelope::decode(bytes).ok()?;
    let (metadata, body) = (envelope.metadata?, envelope.body?);
    if metadata.name.split('/').count() != 2 || body.type_url != ServiceEntry::type_url() {
        return None;
    }
    let entry = ServiceEntry::decode(&*body.value).ok()?;
    Some((metadata.name, Stored { version: metadata.version, labels: metadata.labels, entry }))
}

async fn open(address: SocketAddr) -> Sotw {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    Sotw::open(channel, ADS_SOTW).await
}

/// The first request for a type. Like Istiod's it has a nonce that no server has given.
pub fn first_request(type_url: &str, node: Option<Node>) -> DiscoveryRequest {
    DiscoveryRequest {
        node,
        type_url: type_url.into(),
        response_nonce: "2026-11-20 17:25:59.251293836 +0000 UTC m=+0.451193202".into(),
        ..Default::default()
    }
}

/// The node of an Istiod, with `GENERATOR` and `ISTIO_REVISION` in its metadata if they are given.
pub fn node(generator: Option<&str>, revision: Option<&str>) -> Node {
    let text = |text: &str| Value { string_value: Some(text.into()), ..Value::default() };
    let mut fields = BTreeMap::from([("ISTIO_VERSION".to_owned(), text("65536.65536.65536"))]);
    fields.extend(generator.map(|generator| ("GENERATOR".to_owned(), text(generator))));
    fields.extend(revision.map(|revision| ("ISTIO_REVISION".to_owned(), text(revision))));
    Node {
        id: "sidecar~192.0.2.2~istiod-test.istio-system~istio-system.svc.cluster.local".into(),
        metadata: Some(Struct { fields }),
        ..Default::default()
    }
}

/// A ServiceEntry, whose only address is `value`: this is what tests change.
pub fn entry(name: &str, value: &str) -> Change {
    entry_of(name, value, None)
}

/// Like [`entry`], with the label of a revision, which alone gets it.
pub fn entry_of(name: &str, value: &str, revision: Option<&str>) -> Change {
    let spec =
        ServiceEntry { hosts: vec![name.replace('/', ".")], addresses: vec![value.into()], ..Default::default() };
    let labels = revision.map(|revision| ("istio.io/rev".to_owned(), revision.to_owned()));
    let mut metadata = Metadata { name: name.into(), labels: labels.into_iter().collect(), ..Default::default() };
    let body = Any { type_url: ServiceEntry::type_url(), value: spec.encode_to_vec().into() };
    let version = content_version(&body.value);
    metadata.version = version_text(version);
    let envelope = Envelope { metadata: Some(metadata), body: Some(body) }.encode_to_vec();
    let resource = Resource::versioned(Kind::ServiceEntry, name.into(), version, &envelope, None);
    (Kind::ServiceEntry, name.into(), Some(resource.for_revision(revision.map(Into::into))))
}

/// A world that serves these entries, and nothing else.
pub async fn world(entries: &[(&str, &str)]) -> World {
    World::of(entries.iter().map(|(name, value)| entry(name, value)).collect()).await
}

/// Name and `value` (see [`entry`]) of each entry that an Istiod holds.
pub fn values(istiod: &Istiod) -> Vec<(&str, &str)> {
    istiod.store.iter().map(|(name, stored)| (&**name, &*stored.entry.addresses[0])).collect()
}
