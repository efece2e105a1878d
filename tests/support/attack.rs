//! Clients that want to do harm to an xDS server, each in one way. Every attack is bounded in time, in connections and in
//! the rate at which it connects again; all of it goes over loopback.

use bytes::{BufMut, Bytes, BytesMut};
use h2::{RecvStream, SendStream, client::SendRequest};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

const ADS: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/";
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const MIB: usize = 1 << 20;
/// Bytes of a large request, a little below the default limit of 16 MiB (`xds.limits.request`).
const LARGEST: usize = 15 * MIB;

/// Connections that one attacker of [`Attack::SilentConnections`] holds: 50 attackers hold 10,000.
const SILENT: usize = 200;

/// Source address of clients that behave.
pub const CLIENT: [u8; 4] = [127, 0, 0, 1];
/// Source address of attacks that do not come from [`CLIENT`].
pub const ATTACKER: [u8; 4] = [127, 0, 0, 2];

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A way to do harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// First requests whose node is millions of empty `extensions`.
    HugeNodes,
    /// First requests with a type URL of megabytes.
    HugeTypes,
    /// First requests with millions of empty `initial_resource_versions`.
    ManyVersions,
    /// Subscriptions to names of megabytes.
    LongNames,
    /// Subscriptions to 14,000 names of 1 KB, other names on each stream.
    OtherNames,
    /// Messages that never end.
    Unfinished,
    /// Connections on which no byte is ever sent, not even a TLS handshake where the server wants one.
    SilentConnections,
    /// Streams on which no request is ever sent.
    SilentStreams,
    /// Requests that need no answer, as fast as the server reads them.
    Flood,
    /// NACKs as fast as the server reads them, each with an error text of its own.
    Refusals,
    /// Streams that read no answer and send on, in frames of one byte.
    Unread,
    /// Subscriptions to 20,000 names, one name in each request.
    OneByOne,
    /// All clusters (`*`) subscribed to and unsubscribed in turn.
    Again,
}

impl Attack {
    /// Every attack, in the order in which `portolan-load` runs them.
    pub const ALL: [Attack; 13] = [
        Attack::HugeNodes,
        Attack::HugeTypes,
        Attack::ManyVersions,
        Attack::LongNames,
        Attack::OtherNames,
        Attack::Unfinished,
        Attack::SilentConnections,
        Attack::SilentStreams,
        Attack::Flood,
        Attack::Refusals,
        Attack::Unread,
        Attack::OneByOne,
        Attack::Again,
    ];
}

/// Runs an attack with `clients` clients from the address `from`, for `time`. Returns how many connections, streams or
/// messages they began.
pub async fn run(attack: Attack, from: [u8; 4], server: SocketAddr, clients: usize, time: Duration) -> u64 {
    let (end, rounds) = (Instant::now() + time, Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let rounds = rounds.clone();
        tasks.spawn(async move {
            let mut round = 0;
            while Instant::now() < end {
                // To be refused is what an attacker expects.
                let seed = (client as u64) << 32 | round;
                let _ = timeout_at(end, once(attack, from, server, seed, &rounds)).await;
                round += 1;
                sleep(Duration::from_millis(5)).await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    rounds.load(Ordering::Relaxed)
}

async fn once(attack: Attack, from: [u8; 4], server: SocketAddr, seed: u64, rounds: &AtomicU64) -> Result<(), Error> {
    let count = || rounds.fetch_add(1, Ordering::Relaxed);
    if attack == Attack::SilentConnections {
        return silent(from, server, &count).await;
    }
    let window = if attack == Attack::Unread { 0 } else { 1 << 20 };
    let mut connection = connect(server, window, from).await?;
    match attack {
        Attack::SilentStreams => {
            let mut streams = Vec::new();
            for _ in 0..100 {
                streams.push(open(&mut connection, server, "StreamAggregatedResources").await?);
                count();
            }
            std::future::pending::<()>().await;
        }
        Attack::Unread => unread(&mut connection, server, &count).await?,
        Attack::Unfinished => {
            let mut stream = open(&mut connection, server, "StreamAggregatedResources").await?;
            let message = framed(&vec![0; LARGEST]);
            count();
            send(&mut stream.0, message.slice(..message.len() - 1)).await?;
            drop(end_of(stream.1).await);
        }
        _ => {
            let method = match attack {
                Attack::ManyVersions | Attack::OneByOne | Attack::Again => "DeltaAggregatedResources",
                _ => "StreamAggregatedResources",
            };
            let (mut requests, response) = open(&mut connection, server, method).await?;
            let reader = tokio::spawn(end_of(response));
            let mut number = 0;
            while !reader.is_finished() {
                let Some(message) = message(attack, seed, number) else { break };
                count();
                send(&mut requests, message).await?;
                number += 1;
            }
            drop(reader.await);
        }
    }
    Ok(())
}

/// The next message of an attack that sends messages; `None` when it has no more.
fn message(attack: Attack, seed: u64, number: u64) -> Option<Bytes> {
    let once = || (number == 0).then_some(());
    let mut out = BytesMut::new();
    match attack {
        Attack::HugeNodes => {
            once()?;
            field(&mut out, 2, &b"\x4a\x00".repeat(LARGEST / 2));
            field(&mut out, 4, CLUSTER.as_bytes());
        }
        Attack::HugeTypes => {
            once()?;
            field(&mut out, 4, &vec![b'x'; LARGEST]);
        }
        Attack::ManyVersions => {
            once()?;
            field(&mut out, 2, CLUSTER.as_bytes());
            out.put_slice(&b"\x2a\x00".repeat(LARGEST / 2));
        }
        Attack::LongNames => {
            field(&mut out, 3, &vec![b'a' + number as u8 % 26; LARGEST]);
            field(&mut out, 4, ENDPOINT.as_bytes());
        }
        Attack::OtherNames => {
            once()?;
            for name in 0..14_000 {
                field(&mut out, 3, format!("{seed:020}-{name:01000}").as_bytes());
            }
            field(&mut out, 4, ENDPOINT.as_bytes());
        }
        Attack::Flood | Attack::Refusals => {
            field(&mut out, 4, CLUSTER.as_bytes());
            if number > 0 {
                field(&mut out, 5, b"1");
            }
            if attack == Attack::Refusals && number > 0 {
                let mut status = BytesMut::new();
                field(&mut status, 2, format!("no {seed} {number}\nforged: line \x1b[2J").as_bytes());
                field(&mut out, 6, &status);
            }
        }
        Attack::OneByOne => {
            (number < 20_000).then_some(())?;
            field(&mut out, 2, ENDPOINT.as_bytes());
            field(&mut out, 3, format!("{seed}-{number}").as_bytes());
        }
        Attack::Again => {
            field(&mut out, 2, CLUSTER.as_bytes());
            field(&mut out, if number.is_multiple_of(2) { 3 } else { 4 }, b"*");
        }
        Attack::SilentConnections | Attack::SilentStreams | Attack::Unread | Attack::Unfinished => return None,
    }
    Some(framed(&out))
}

/// Streams whose answers nobody reads, so that the server cannot send, and requests that it therefore does not read.
async fn unread(
    connection: &mut SendRequest<Bytes>,
    server: SocketAddr,
    count: &impl Fn() -> u64,
) -> Result<(), Error> {
    let mut streams = Vec::new();
    let mut first = BytesMut::new();
    field(&mut first, 4, CLUSTER.as_bytes());
    for _ in 0..20 {
        // No answer begins before something may be sent: the response is not awaited.
        let (response, mut requests) = connection.send_request(request(server, "StreamAggregatedResources")?, false)?;
        requests.send_data(framed(&first), false)?;
        streams.push((response, requests));
        count();
    }
    loop {
        let mut sent = false;
        for (_, requests) in &mut streams {
            requests.reserve_capacity(64);
            while requests.capacity() > 0 {
                requests.send_data(Bytes::from_static(b"\0"), false)?;
                sent = true;
            }
        }
        if !sent {
            sleep(Duration::from_millis(2)).await;
        }
        tokio::task::yield_now().await;
    }
}

/// Opens connections and holds them, until the server has ended them all; then the attacker comes anew.
async fn silent(from: [u8; 4], server: SocketAddr, count: &impl Fn() -> u64) -> Result<(), Error> {
    let mut connections = JoinSet::new();
    for _ in 0..SILENT {
        let mut connection = socket(server, from).await?;
        count();
        connections.spawn(async move { connection.read(&mut [0; 64]).await });
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn socket(server: SocketAddr, from: [u8; 4]) -> Result<TcpStream, Error> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let socket = socket.connect(server).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn connect(server: SocketAddr, window: u32, from: [u8; 4]) -> Result<SendRequest<Bytes>, Error> {
    let socket = socket(server, from).await?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let (client, connection) = builder.handshake::<_, Bytes>(socket).await?;
    tokio::spawn(connection);
    Ok(client.ready().await?)
}

fn request(server: SocketAddr, method: &str) -> Result<http::Request<()>, Error> {
    let request = http::Request::post(format!("http://{server}{ADS}{method}"));
    Ok(request.header("content-type", "application/grpc").header("te", "trailers").body(())?)
}

async fn open(
    connection: &mut SendRequest<Bytes>,
    server: SocketAddr,
    method: &str,
) -> Result<(SendStream<Bytes>, RecvStream), Error> {
    let (response, requests) = connection.send_request(request(server, method)?, false)?;
    Ok((requests, response.await?.into_body()))
}

/// Sends in parts, as the server's flow control allows it.
async fn send(requests: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), Error> {
    while !data.is_empty() {
        requests.reserve_capacity(data.len());
        let room = std::future::poll_fn(|context| requests.poll_capacity(context)).await;
        let room = room.ok_or("the stream has ended")??;
        requests.send_data(data.split_to(room.min(data.len())), false)?;
    }
    Ok(())
}

/// A client that behaves: it follows one service, and acknowledges what it gets.
pub struct Canary {
    requests: SendStream<Bytes>,
    answers: RecvStream,
    held: BytesMut,
    name: String,
    _connection: SendRequest<Bytes>,
}

impl Canary {
    /// Connects from [`CLIENT`] and subscribes to the ClusterLoadAssignment `name`.
    pub async fn open(server: SocketAddr, name: &str) -> Result<Canary, Error> {
        let mut connection = connect(server, 1 << 20, CLIENT).await?;
        let (requests, answers) = open(&mut connection, server, "StreamAggregatedResources").await?;
        let mut canary =
            Canary { requests, answers, held: BytesMut::new(), name: name.into(), _connection: connection };
        canary.request(b"", b"")?;
        Ok(canary)
    }

    fn request(&mut self, version: &[u8], nonce: &[u8]) -> Result<(), Error> {
        let mut message = BytesMut::new();
        field(&mut message, 1, version);
        field(&mut message, 3, self.name.as_bytes());
        field(&mut message, 4, ENDPOINT.as_bytes());
        field(&mut message, 5, nonce);
        Ok(self.requests.send_data(framed(&message), false)?)
    }

    /// Sends so many NACKs of the first answer, each with this error text.
    pub async fn refuse(&mut self, times: usize, text: &str) -> Result<(), Error> {
        let (mut message, mut status) = (BytesMut::new(), BytesMut::new());
        field(&mut status, 2, text.as_bytes());
        field(&mut message, 3, self.name.as_bytes());
        field(&mut message, 4, ENDPOINT.as_bytes());
        field(&mut message, 5, b"1");
        field(&mut message, 6, &status);
        for _ in 0..times {
            send(&mut self.requests, framed(&message)).await?;
        }
        Ok(())
    }

    /// Reads and acknowledges answers until one holds these bytes.
    pub async fn sees(&mut self, needle: &[u8]) -> Result<(), Error> {
        loop {
            while let Some(message) = self.message() {
                let (mut rest, mut version, mut nonce) = (&message[..], &b""[..], &b""[..]);
                while let Some((number, value, behind)) = next_field(rest) {
                    match number {
                        1 => version = value,
                        5 => nonce = value,
                        _ => {}
                    }
                    rest = behind;
                }
                self.request(version, nonce)?;
                if message.windows(needle.len()).any(|part| part == needle) {
                    return Ok(());
                }
            }
            let data = self.answers.data().await.ok_or("the stream has ended")??;
            self.answers.flow_control().release_capacity(data.len())?;
            self.held.extend_from_slice(&data);
        }
    }

    fn message(&mut self) -> Option<Bytes> {
        let length = u32::from_be_bytes(self.held.get(1..5)?.try_into().ok()?) as usize;
        (self.held.len() >= 5 + length).then(|| self.held.split_to(5 + length).freeze().slice(5..))
    }
}

/// Number and value of the first field of a message, and what follows. The field must be length-delimited.
fn next_field(message: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (key, mut rest) = message.split_first()?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let (byte, behind) = rest.split_first()?;
        rest = behind;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if *byte < 0x80 {
            let (value, behind) = rest.split_at_checked(length)?;
            return Some((key >> 3, value, behind));
        }
    }
}

/// Reads until the stream ends. Returns its `grpc-status`; `None` if it ended without one.
pub async fn end_of(mut response: RecvStream) -> Option<String> {
    while let Some(Ok(data)) = response.data().await {
        response.flow_control().release_capacity(data.len()).ok()?;
    }
    let trailers = response.trailers().await.ok()??;
    Some(trailers.get("grpc-status")?.to_str().ok()?.to_owned())
}

fn field(out: &mut BytesMut, number: u8, value: &[u8]) {
    out.put_u8(number << 3 | 2);
    let mut length = value.len();
    while length >= 0x80 {
        out.put_u8(length as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
    out.put_slice(value);
}

fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

/// The most resident memory that a process has had so far, in bytes. `None` if it no longer runs.
pub fn peak_memory(pid: u32) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? << 10)
}
