//! One ADS stream on a connection of its own, as Envoy behaves: clusters by wildcard, endpoints by name, all acknowledged.
//! Or as Istiod does: its entries, whole lists.

use anyhow::{Context, bail};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use portolan::resource::put_field;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Notify,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

const ENTRY: &str = "networking.istio.io/v1/ServiceEntry";

/// A connection, with TLS or without.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Io for S {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Variant {
    Sotw,
    Delta,
    Istio,
}

impl Variant {
    /// The type that is subscribed to first, and the type whose resources are counted.
    fn types(self) -> (&'static str, &'static str) {
        match self {
            Variant::Sotw | Variant::Delta => (CLUSTER, ENDPOINT),
            Variant::Istio => (ENTRY, ENTRY),
        }
    }
}

/// The names of assignments to subscribe to, encoded once as field 3, which both variants use for that.
pub struct Names(Bytes);

impl Names {
    pub fn new(names: impl Iterator<Item = String>) -> Names {
        let mut encoded = BytesMut::new();
        names.for_each(|name| put_field(&mut encoded, 3, name.as_bytes()));
        Names(encoded.freeze())
    }
}

/// What the node of a stream declares, and which types the stream subscribes to.
#[derive(Debug, Default)]
pub struct Client {
    /// Hosts in the node's metadata (`portolan.services`); empty declares nothing.
    pub declares: Vec<String>,
    /// Region and zone of the node's locality; `None` sends none.
    pub place: Option<(String, String)>,
    /// Clusters are subscribed to first; otherwise endpoints alone.
    pub clusters: bool,
}

impl Client {
    /// Its node, an `envoy.config.core.v3.Node`.
    fn node(&self) -> BytesMut {
        let mut node = BytesMut::new();
        put_field(&mut node, 1, b"load");
        put_field(&mut node, 2, b"load");
        if !self.declares.is_empty() {
            let mut services = BytesMut::new();
            for service in &self.declares {
                let value = message(3, service.as_bytes());
                put_field(&mut services, 1, &value);
            }
            // Of a `Value` the list is field 6 and the struct field 5.
            let services = entry("services", &message(6, &services));
            put_field(&mut node, 3, &entry("portolan", &message(5, &services)));
        }
        if let Some((region, zone)) = &self.place {
            let mut place = message(1, region.as_bytes());
            put_field(&mut place, 2, zone.as_bytes());
            put_field(&mut node, 4, &place);
        }
        node
    }
}

/// A protobuf message with one length-delimited field.
fn message(field: u32, value: &[u8]) -> BytesMut {
    let mut message = BytesMut::new();
    put_field(&mut message, field, value);
    message
}

/// A `Struct` of one field; `value` is an encoded `Value`.
fn entry(key: &str, value: &[u8]) -> BytesMut {
    let mut entry = message(1, key.as_bytes());
    put_field(&mut entry, 2, value);
    message(1, &entry)
}

/// What all streams have seen together.
pub struct Observer {
    streams: usize,
    messages: AtomicU64,
    bytes: AtomicU64,
    broken: AtomicUsize,
    full: Mutex<Vec<Instant>>,
    round: AtomicU64,
    seen: Mutex<Vec<Instant>>,
    /// How many streams a round concerns: [`Observer::wait_round`] waits for so many.
    concerned: AtomicUsize,
    progress: Notify,
}

impl Observer {
    pub fn new(streams: usize) -> Arc<Observer> {
        Arc::new(Observer {
            streams,
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            broken: AtomicUsize::new(0),
            full: Mutex::default(),
            round: AtomicU64::new(0),
            seen: Mutex::default(),
            concerned: AtomicUsize::new(streams),
            progress: Notify::new(),
        })
    }

    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    pub fn take_bytes(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }

    pub fn broken(&self) -> usize {
        self.broken.load(Ordering::Relaxed)
    }

    /// From now on the first assignment that each stream receives counts, of so many streams.
    pub fn begin_round(&self, concerned: usize) {
        self.concerned.store(concerned, Ordering::SeqCst);
        self.seen.lock().expect("no panic under this lock").clear();
        self.round.fetch_add(1, Ordering::SeqCst);
    }

    pub async fn wait_full(&self, limit: Duration) -> anyhow::Result<Vec<Instant>> {
        self.wait(&self.full, self.streams, limit).await
    }

    pub async fn wait_round(&self, limit: Duration) -> anyhow::Result<Vec<Instant>> {
        self.wait(&self.seen, self.concerned.load(Ordering::SeqCst), limit).await
    }

    async fn wait(
        &self,
        times: &Mutex<Vec<Instant>>,
        expected: usize,
        limit: Duration,
    ) -> anyhow::Result<Vec<Instant>> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let notified = self.progress.notified();
            {
                let times = times.lock().expect("no panic under this lock");
                if times.len() >= expected {
                    return Ok(times.clone());
                }
            }
            let woken = tokio::time::timeout_at(
                deadline.min(tokio::time::Instant::now() + Duration::from_millis(100)),
                notified,
            )
            .await;
            if woken.is_err() && tokio::time::Instant::now() >= deadline {
                let done = times.lock().expect("no panic under this lock").len();
                bail!("only {done} of {expected} streams within {limit:?}; {} broke", self.broken());
            }
        }
    }

    fn note(&self, times: &Mutex<Vec<Instant>>) {
        let mut times = times.lock().expect("no panic under this lock");
        times.push(Instant::now());
        if times.len() == self.streams || times.len() == self.concerned.load(Ordering::SeqCst) {
            self.progress.notify_waiters();
        }
    }
}

/// Address of the server, and how streams connect to it.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// With TLS, showing a client certificate; `None` is plain TCP.
    pub tls: Option<TlsConnector>,
}

/// Runs until the server ends the stream.
pub async fn run(server: Target, variant: Variant, client: Arc<Client>, names: Arc<Names>, observer: Arc<Observer>) {
    let end = follow(&server, variant, &client, &names, &observer).await;
    if let Err(error) = end
        && observer.broken.fetch_add(1, Ordering::Relaxed) == 0
    {
        eprintln!("a stream broke: {error:#}");
    }
}

async fn follow(
    server: &Target,
    variant: Variant,
    client: &Client,
    names: &Names,
    observer: &Observer,
) -> anyhow::Result<()> {
    let (first_type, counted) = variant.types();
    let first_type = if client.clusters { first_type } else { counted };
    let first = subscription(variant, first_type, (!client.clusters).then_some(names), client);
    let (mut requests, mut answers) = open(server, variant, 4 << 20, first).await?;
    let (mut held, mut subscribed, mut round, mut resources) = (BytesMut::new(), first_type == counted, 0, 0);
    let expected = names_count(names);
    while let Some(chunk) = answers.data().await {
        let chunk = chunk?;
        answers.flow_control().release_capacity(chunk.len())?;
        observer.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        held.extend_from_slice(&chunk);
        while let Some(message) = take(&mut held) {
            observer.messages.fetch_add(1, Ordering::Relaxed);
            let answer = Answer::read(&message)?;
            if answer.type_url == counted.as_bytes() {
                resources += answer.resources;
                if resources >= expected && resources - answer.resources < expected {
                    observer.note(&observer.full);
                }
                let current = observer.round.load(Ordering::SeqCst);
                if current > round {
                    round = current;
                    observer.note(&observer.seen);
                }
            }
            requests.send_data(acknowledgement(variant, &answer, names), false)?;
            if !subscribed {
                subscribed = true;
                requests.send_data(subscription(variant, ENDPOINT, Some(names), client), false)?;
            }
        }
    }
    bail!("the server ended the stream")
}

fn names_count(names: &Names) -> usize {
    let (mut at, mut count) = (&names.0[..], 0);
    while let Some((_, _, rest)) = field(at) {
        (at, count) = (rest, count + 1);
    }
    count
}

/// A stream that asks for everything and never reads; alive as long as it is held.
pub async fn stall(
    server: &Target,
    variant: Variant,
    names: Arc<Names>,
) -> anyhow::Result<(SendStream<Bytes>, RecvStream)> {
    let names = (variant != Variant::Istio).then_some(&*names);
    let first = subscription(variant, variant.types().1, names, &Client::default());
    open(server, variant, 65_535, first).await
}

async fn open(
    server: &Target,
    variant: Variant,
    window: u32,
    first: Bytes,
) -> anyhow::Result<(SendStream<Bytes>, RecvStream)> {
    let socket = TcpStream::connect(server.address).await.context("connect")?;
    socket.set_nodelay(true)?;
    let socket: Box<dyn Io> = match &server.tls {
        Some(tls) => {
            let name = ServerName::try_from("localhost").context("the name of the server")?;
            Box::new(tls.connect(name, socket).await.context("TLS")?)
        }
        None => Box::new(socket),
    };
    let (mut client, connection) = h2::client::Builder::new()
        .initial_window_size(window)
        .initial_connection_window_size(window.max(65_535))
        .handshake::<_, Bytes>(socket)
        .await
        .context("handshake")?;
    tokio::spawn(connection);
    let method = match variant {
        Variant::Sotw | Variant::Istio => "StreamAggregatedResources",
        Variant::Delta => "DeltaAggregatedResources",
    };
    let request = http::Request::post(format!(
        "http://{}/envoy.service.discovery.v3.AggregatedDiscoveryService/{method}",
        server.address
    ))
    .header("content-type", "application/grpc")
    .header("te", "trailers")
    .body(())?;
    let (response, mut requests) = client.send_request(request, false)?;
    requests.send_data(first, false)?;
    let response = response.await.context("no answer")?;
    Ok((requests, response.into_body()))
}

/// The first request for a type, with a node.
fn subscription(variant: Variant, type_url: &str, names: Option<&Names>, client: &Client) -> Bytes {
    let node = client.node();
    let mut message = BytesMut::new();
    let (node_field, type_field) = if variant == Variant::Delta { (1, 2) } else { (2, 4) };
    put_field(&mut message, node_field, &node);
    put_field(&mut message, type_field, type_url.as_bytes());
    if let Some(names) = names {
        message.put_slice(&names.0);
    }
    framed(&message)
}

/// The ACK of an answer. In state of the world it repeats all names, as Envoy does.
fn acknowledgement(variant: Variant, answer: &Answer, names: &Names) -> Bytes {
    let mut message = BytesMut::new();
    match variant {
        Variant::Sotw | Variant::Istio => {
            put_field(&mut message, 1, answer.version);
            if answer.type_url == ENDPOINT.as_bytes() {
                message.put_slice(&names.0);
            }
            put_field(&mut message, 4, answer.type_url);
            put_field(&mut message, 5, answer.nonce);
        }
        Variant::Delta => {
            put_field(&mut message, 2, answer.type_url);
            put_field(&mut message, 6, answer.nonce);
        }
    }
    framed(&message)
}

/// The parts of an answer that matter here; both variants agree in these fields.
#[derive(Default)]
struct Answer<'a> {
    version: &'a [u8],
    type_url: &'a [u8],
    nonce: &'a [u8],
    resources: usize,
}

impl<'a> Answer<'a> {
    fn read(mut message: &'a [u8]) -> anyhow::Result<Self> {
        let mut answer = Answer::default();
        while !message.is_empty() {
            let (number, value, rest) = field(message).context("an answer that cannot be read")?;
            match number {
                1 => answer.version = value,
                2 => answer.resources += 1,
                4 => answer.type_url = value,
                5 => answer.nonce = value,
                _ => {}
            }
            message = rest;
        }
        Ok(answer)
    }
}

/// The first length-delimited field of a message, and what follows.
fn field(message: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (key, rest) = varint(message)?;
    if key & 7 != 2 {
        return None;
    }
    let (length, rest) = varint(rest)?;
    let (value, rest) = rest.split_at_checked(length as usize)?;
    Some((key >> 3, value, rest))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

fn take(held: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(held.get(1..5)?.try_into().ok()?) as usize;
    if held.len() < 5 + length {
        return None;
    }
    held.advance(5);
    let message = held.split_to(length).freeze();
    if held.is_empty() {
        *held = BytesMut::new();
    }
    Some(message)
}
