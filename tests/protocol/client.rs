//! A server over a view of the test's making, and plain clients that speak to it over a socket.

use bytes::{Buf, BufMut};
use portolan::{
    pb::{
        envoy::{
            config::core::v3::Node as WireNode,
            service::discovery::v3::{
                DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource as Item,
            },
        },
        google::rpc::Status as RpcStatus,
    },
    resource::{Kind, KindReadiness, Name, Readiness, Resource, ViewGeneration},
    xds::{Clients, Held, Listen, Metrics, Options, Quarantine, Refused, Server, Subscriber, Subscription, Views},
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use prost::Message;
use prost_of_xds_api::Message as _;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use xds_api::pb::{
    envoy::config::{
        cluster::v3::Cluster,
        endpoint::v3::{ClusterLoadAssignment, cluster_load_assignment::Policy},
        listener::v3::Listener,
        route::v3::RouteConfiguration,
    },
    google::protobuf::UInt32Value,
};

pub const ADS_SOTW: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
pub const ADS_DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// How long anything may take, on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// One view for everybody but a node called `nobody`.
struct Fixed {
    view: watch::Sender<Arc<ViewGeneration>>,
    readiness: watch::Sender<Readiness>,
}

impl Views for Fixed {
    fn subscribe(&self, client: &Subscriber<'_>) -> Result<Subscription, Refused> {
        match &*client.node.id {
            "nobody" => Err(Refused::NotAllowed("it is nobody".into())),
            "one-too-many" => Err(Refused::NoRoom("there are 9 already".into())),
            _ => Ok(Subscription {
                view: "fixed".into(),
                why: "there is one".into(),
                generations: self.view.subscribe(),
                held: Held::default(),
                kept: None,
            }),
        }
    }

    fn changed(&self) -> watch::Receiver<u64> {
        watch::Sender::new(0).subscribe()
    }

    fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.subscribe()
    }
}

/// The same readiness for all kinds that services feed: Envoy's kinds, and ServiceEntries.
pub fn services(readiness: Readiness) -> KindReadiness {
    KindReadiness::of(Kind::ENVOY.into_iter().chain([Kind::ServiceEntry]), readiness)
}

/// Kind and name of a resource in a view, and its new content; `None` removes it.
pub type Change = (Kind, Name, Option<Resource>);

/// A running server and what it serves.
pub struct World {
    pub address: SocketAddr,
    pub clients: Arc<Clients>,
    pub quarantine: Arc<Quarantine>,
    pub shutdown: CancellationToken,
    pub running: JoinHandle<()>,
    view: watch::Sender<Arc<ViewGeneration>>,
    readiness: watch::Sender<Readiness>,
    metrics: Registry,
}

impl World {
    /// Starts a server with that view, which is complete.
    pub async fn of(changes: Vec<Change>) -> World {
        World::with(|_| {}, Readiness::Complete, changes).await
    }

    pub async fn with(set: impl FnOnce(&mut Options), readiness: Readiness, changes: Vec<Change>) -> World {
        let mut options = Options::default();
        set(&mut options);
        let empty = ViewGeneration::unbuilt(services(Readiness::Waiting));
        let view = watch::Sender::new(Arc::new(empty.next(services(readiness), changes).unwrap_or(empty)));
        let ready = watch::Sender::new(readiness);

        let (counted, mut metrics) = (Metrics::default(), Registry::default());
        counted.register(&mut metrics);
        let fixed = Arc::new(Fixed { view: view.clone(), readiness: ready.clone() });
        let listener = Listen::plain(([127, 0, 0, 1], 0).into());
        let server = Server::bind(options, &[listener], fixed, counted).unwrap();
        let (address, clients, quarantine) = (server.local_addr().unwrap(), server.clients(), server.quarantine());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone()));
        World { address, clients, quarantine, shutdown, running, view, readiness: ready, metrics }
    }

    pub fn change(&self, changes: impl IntoIterator<Item = Change>) {
        let readiness = self.view.borrow().readiness();
        self.replace(|before| before.next(readiness, changes));
    }

    pub fn become_ready(&self, readiness: Readiness, changes: impl IntoIterator<Item = Change>) {
        self.replace(|before| before.next(services(readiness), changes));
        self.readiness.send_replace(readiness);
    }

    pub fn replace(&self, next: impl FnOnce(&ViewGeneration) -> Option<ViewGeneration>) {
        let next = next(&self.view.borrow()).expect("a test's change changes something");
        self.view.send_replace(Arc::new(next));
    }

    pub fn view(&self) -> Arc<ViewGeneration> {
        self.view.borrow().clone()
    }

    /// Every metric that is not 0, by name and labels.
    pub fn counted(&self) -> BTreeMap<String, u64> {
        let mut text = String::new();
        encode(&mut text, &self.metrics).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values =
            lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, n)| (name.into(), n.parse().unwrap()));
        values.filter(|(_, n)| *n > 0).collect()
    }

    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub async fn sotw(&self) -> Sotw {
        Sotw::open(self.channel().await, ADS_SOTW).await
    }

    pub async fn delta(&self) -> Delta {
        Delta::open(self.channel().await, ADS_DELTA).await
    }

    /// Waits until the table of clients fulfils `what`.
    pub async fn eventually(&self, what: impl Fn(&[portolan::xds::Client]) -> bool) {
        let started = std::time::Instant::now();
        loop {
            let list = self.clients.list();
            if what(&list) {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "still {list:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub fn cluster(name: &str, value: &str) -> Change {
    let body = Cluster { name: name.into(), alt_stat_name: value.into(), ..Default::default() }.encode_to_vec();
    (Kind::Cluster, name.into(), Some(Resource::new(Kind::Cluster, name.into(), &body, Some(name.into()))))
}

pub fn assignment(name: &str, value: u32) -> Change {
    let policy = Policy { overprovisioning_factor: Some(UInt32Value { value }), ..Default::default() };
    let body = ClusterLoadAssignment { cluster_name: name.into(), policy: Some(policy), ..Default::default() };
    let resource = Resource::new(Kind::Endpoint, name.into(), &body.encode_to_vec(), None);
    (Kind::Endpoint, name.into(), Some(resource))
}

pub fn listener(name: &str, value: &str) -> Change {
    let body = Listener { name: name.into(), stat_prefix: value.into(), ..Default::default() }.encode_to_vec();
    (Kind::Listener, name.into(), Some(Resource::new(Kind::Listener, name.into(), &body, None)))
}

pub fn route(name: &str, internal: &str) -> Change {
    let internal_only_headers = vec![internal.to_string()];
    let body = RouteConfiguration { name: name.into(), internal_only_headers, ..Default::default() };
    (Kind::Route, name.into(), Some(Resource::new(Kind::Route, name.into(), &body.encode_to_vec(), None)))
}

pub fn gone(kind: Kind, name: &str) -> Change {
    (kind, name.into(), None)
}

/// An answer: the names in it with a value that shows their state, and the names it removes. An empty assignment is `-`.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    pub kind: Kind,
    pub has: BTreeMap<String, String>,
    pub removed: Vec<String>,
    pub version: String,
    pub nonce: String,
    pub identifier: Option<String>,
    pub bytes: usize,
}

impl Received {
    /// Asserts the kind, the resources and the removed names, which most tests look at.
    #[track_caller]
    pub fn is(&self, kind: Kind, has: &[(&str, &str)], removed: &[&str]) {
        let has = has.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        assert_eq!((self.kind, &self.has, &self.removed[..]), (kind, &has, &owned(removed)[..]));
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_string()).collect()
}

fn state(kind: Kind, body: &[u8]) -> (String, String) {
    match kind {
        Kind::Cluster => Cluster::decode(body).map(|c| (c.name, c.alt_stat_name)),
        Kind::Endpoint => ClusterLoadAssignment::decode(body).map(|a| {
            let value = a.policy.and_then(|p| p.overprovisioning_factor).map_or("-".into(), |v| v.value.to_string());
            (a.cluster_name, value)
        }),
        Kind::Listener => Listener::decode(body).map(|l| (l.name, l.stat_prefix)),
        Kind::Route => RouteConfiguration::decode(body).map(|r| (r.name, r.internal_only_headers.concat())),
        kind => panic!("Envoys have no {}", kind.name()),
    }
    .unwrap()
}

/// An answer that can be read as [`Received`].
pub trait Answer: Message + Default + std::fmt::Debug + 'static {
    fn received(self) -> Received;
}

impl Answer for DiscoveryResponse {
    fn received(self) -> Received {
        let (bytes, kind) = (self.encoded_len(), Kind::of(&self.type_url).expect("a known type URL"));
        let count = self.resources.len();
        let has: BTreeMap<_, _> = self.resources.iter().map(|any| state(kind, &any.value)).collect();
        assert_eq!(has.len(), count, "G5: no name twice");
        let identifier = self.control_plane.map(|c| c.identifier);
        Received { kind, has, removed: vec![], version: self.version_info, nonce: self.nonce, identifier, bytes }
    }
}

impl Answer for DeltaDiscoveryResponse {
    fn received(self) -> Received {
        let (bytes, kind) = (self.encoded_len(), Kind::of(&self.type_url).expect("a known type URL"));
        let count = self.resources.len();
        let named = |r: &Item| {
            let (name, value) = state(kind, &r.resource.as_ref().unwrap().value);
            assert_eq!(name, r.name);
            (name, value)
        };
        let has: BTreeMap<_, _> = self.resources.iter().map(named).collect();
        assert_eq!(has.len(), count, "G5: no name twice");
        let (version, identifier) = (self.system_version_info, self.control_plane.map(|c| c.identifier));
        Received { kind, has, removed: self.removed_resources, version, nonce: self.nonce, identifier, bytes }
    }
}

/// The client's side of a stream that sends `Q` and receives `A`.
pub struct Stream<Q, A> {
    requests: mpsc::Sender<Q>,
    answers: Streaming<A>,
}

pub type Sotw = Stream<DiscoveryRequest, DiscoveryResponse>;
pub type Delta = Stream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

impl<Q: Message + 'static, A: Answer> Stream<Q, A> {
    pub async fn open(channel: Channel, path: &'static str) -> Self {
        Self::try_open(channel, path, None).await.unwrap()
    }

    pub async fn try_open(
        channel: Channel,
        path: &'static str,
        header: Option<(&'static str, &str)>,
    ) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(64);
        let body = futures_util::stream::unfold(receiver, |mut r| async { r.recv().await.map(|m| (m, r)) });
        let mut grpc = Grpc::new(channel).max_decoding_message_size(64 << 20);
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(path);
        let mut request = Request::new(body);
        if let Some((name, value)) = header {
            request.metadata_mut().insert(name, MetadataValue::try_from(value).unwrap());
        }
        let answers = timeout(DEADLINE, grpc.streaming(request, path, ProstCodec::default())).await.expect("no answer");
        Ok(Stream { requests, answers: answers?.into_inner() })
    }

    pub async fn request(&self, request: Q) {
        self.requests.send(request).await.unwrap();
    }

    pub async fn next(&mut self) -> Received {
        self.result().await.unwrap().expect("the stream has ended").received()
    }

    /// The next answer, the end, or the status that the stream ends with, however long it takes.
    #[allow(dead_code, reason = "for clients that wait for what others do")]
    pub async fn message(&mut self) -> Result<Option<A>, Status> {
        self.answers.message().await
    }

    /// The next answer, the end, or the status that the stream ends with.
    pub async fn result(&mut self) -> Result<Option<A>, Status> {
        timeout(DEADLINE, self.answers.message()).await.expect("nothing came in time")
    }

    pub async fn end(&mut self) -> Status {
        loop {
            match self.result().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok(""),
                Err(status) => return status,
            }
        }
    }

    /// Says that nothing more will be asked, and gives the status that the stream then ends with.
    pub async fn finish(mut self) -> Status {
        self.requests = mpsc::channel(1).0;
        self.end().await
    }

    /// Asserts that nothing comes for 200 ms, where there is no way to ask for something that would come behind it.
    pub async fn silence(&mut self) {
        if let Ok(answer) = timeout(Duration::from_millis(200), self.answers.message()).await {
            panic!("unexpected: {answer:?}");
        }
    }
}

static FENCES: AtomicU64 = AtomicU64::new(0);

fn fence() -> String {
    format!("fence-{}", FENCES.fetch_add(1, Ordering::Relaxed))
}

impl Sotw {
    pub async fn ask(&self, kind: Kind, names: &[&str]) {
        self.ask_as(kind, names, "", "").await;
    }

    pub async fn ask_as(&self, kind: Kind, names: &[&str], version: &str, nonce: &str) {
        self.request(sotw_request(kind, names, version, nonce)).await;
    }

    pub async fn ack(&self, received: &Received, names: &[&str]) {
        self.ask_as(received.kind, names, &received.version, &received.nonce).await;
    }

    pub async fn nack(&self, received: &Received, names: &[&str], message: &str) {
        let error_detail = Some(RpcStatus { code: 3, message: message.into() });
        self.request(DiscoveryRequest { error_detail, ..sotw_request(received.kind, names, "", &received.nonce) })
            .await;
    }

    /// Asserts that nothing else has come: the next answer is that to a further question.
    pub async fn nothing_more(&mut self) {
        let name = fence();
        self.ask(Kind::Listener, &[&name]).await;
        self.next().await.is(Kind::Listener, &[], &[]);
    }
}

pub fn sotw_request(kind: Kind, names: &[&str], version: &str, nonce: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: version.into(),
        node: Some(WireNode { id: "test".into(), cluster: "edge".into(), ..Default::default() }),
        resource_names: owned(names),
        type_url: kind.type_url().into(),
        response_nonce: nonce.into(),
        ..Default::default()
    }
}

pub fn delta_request(kind: Kind, subscribe: &[&str], unsubscribe: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(WireNode { id: "test".into(), ..Default::default() }),
        type_url: kind.type_url().into(),
        resource_names_subscribe: owned(subscribe),
        resource_names_unsubscribe: owned(unsubscribe),
        ..Default::default()
    }
}

impl Delta {
    pub async fn ask(&self, kind: Kind, subscribe: &[&str], unsubscribe: &[&str]) {
        self.request(delta_request(kind, subscribe, unsubscribe)).await;
    }

    /// The first request of a client that comes back.
    pub async fn resume(&self, kind: Kind, subscribe: &[&str], has: &[(&str, &str)]) {
        let initial_resource_versions = has.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        self.request(DeltaDiscoveryRequest { initial_resource_versions, ..delta_request(kind, subscribe, &[]) }).await;
    }

    pub async fn ack(&self, received: &Received) {
        let response_nonce = received.nonce.clone();
        self.request(DeltaDiscoveryRequest { response_nonce, ..delta_request(received.kind, &[], &[]) }).await;
    }

    pub async fn nack(&self, received: &Received, message: &str) {
        let error_detail = Some(RpcStatus { code: 3, message: message.into() });
        let response_nonce = received.nonce.clone();
        let request = delta_request(received.kind, &[], &[]);
        self.request(DeltaDiscoveryRequest { error_detail, response_nonce, ..request }).await;
    }

    /// Asserts that nothing else has come: the next answer is that to a further question.
    pub async fn nothing_more(&mut self) {
        let name = fence();
        self.ask(Kind::Listener, &[&name], &[]).await;
        self.next().await.is(Kind::Listener, &[], &[&name]);
    }
}

/// A stream whose requests are arbitrary bytes.
pub struct RawStream(pub Stream<RawMessage, DiscoveryResponse>);

impl RawStream {
    pub async fn open(world: &World) -> Self {
        RawStream(Stream::open(world.channel().await, ADS_SOTW).await)
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.request(RawMessage(bytes.to_vec())).await;
    }
}

/// Bytes that are sent as they are.
#[derive(Debug, Default, Clone)]
pub struct RawMessage(Vec<u8>);

impl Message for RawMessage {
    fn encode_raw(&self, out: &mut impl BufMut) {
        out.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        _: u32,
        _: prost::encoding::WireType,
        _: &mut impl Buf,
        _: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

pub const SERVING: i32 = 1;
pub const NOT_SERVING: i32 = 2;

/// The only field of a health response.
#[derive(Clone, PartialEq, Message)]
struct HealthResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

impl Answer for HealthResponse {
    fn received(self) -> Received {
        unreachable!("it is no discovery response")
    }
}

/// The status of a call with so many bytes to a method that is not served.
pub async fn unserved(channel: Channel, bytes: usize) -> Status {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path =
        http::uri::PathAndQuery::from_static("/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats");
    let codec = ProstCodec::<RawMessage, HealthResponse>::default();
    let call = grpc.unary(Request::new(RawMessage(vec![0; bytes])), path, codec);
    timeout(DEADLINE, call).await.expect("no answer").unwrap_err()
}

pub async fn health(world: &World) -> i32 {
    let mut grpc = Grpc::new(world.channel().await);
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec = ProstCodec::<RawMessage, HealthResponse>::default();
    grpc.unary(Request::new(RawMessage::default()), path, codec).await.unwrap().into_inner().status
}
