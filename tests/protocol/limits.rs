//! Clients that are odd, greedy, stalled or no clients at all: each costs only itself.

use crate::client::*;
use portolan::resource::{Kind::*, Readiness};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::Code;

async fn one() -> World {
    World::of(vec![cluster("a", "1"), assignment("a", 1)]).await
}

/// A stream that was there before and still works.
struct Witness(Sotw);

impl Witness {
    async fn of(world: &World) -> Witness {
        let mut stream = world.sotw().await;
        stream.ask(Cluster, &[]).await;
        let received = stream.next().await;
        stream.ack(&received, &[]).await;
        Witness(stream)
    }

    async fn stays_unaffected(mut self, world: &World) {
        world.change([cluster("witness", "1")]);
        assert!(self.0.next().await.has.contains_key("witness"));
    }
}

fn hundred_thousand() -> Vec<String> {
    (0..100_000).map(|i| format!("name-{i}")).collect()
}

#[tokio::test]
async fn a_hundred_thousand_names_are_served() {
    let world = one().await;
    let witness = Witness::of(&world).await;
    let names = hundred_thousand();
    let names: Vec<&str> = names.iter().map(|n| &**n).chain(["a"]).collect();
    let mut sotw = world.sotw().await;
    sotw.ask(Endpoint, &names).await;
    sotw.next().await.is(Endpoint, &[("a", "1")], &[]);
    let mut missing = 0;
    while missing < 100_000 {
        missing += sotw.next().await.has.len();
    }
    let mut delta = world.delta().await;
    delta.ask(Endpoint, &names, &[]).await;
    delta.next().await.is(Endpoint, &[("a", "1")], &[]);
    let mut missing = 0;
    while missing < 100_000 {
        missing += delta.next().await.removed.len();
    }
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn a_hundred_thousand_initial_versions_are_settled() {
    let world = one().await;
    let witness = Witness::of(&world).await;
    let names = hundred_thousand();
    let has: Vec<(&str, &str)> = names.iter().map(|n| (&**n, "0123456789abcdef")).collect();
    let mut delta = world.delta().await;
    delta.resume(Cluster, &[], &has).await;
    delta.next().await.is(Cluster, &[("a", "1")], &[]);
    let mut removed = 0;
    while removed < 100_000 {
        removed += delta.next().await.removed.len();
    }
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn more_names_than_the_limit_end_the_stream() {
    let world = World::with(|o| o.max_names = 3, Readiness::Complete, vec![cluster("a", "1")]).await;
    let witness = Witness::of(&world).await;
    let mut sotw = world.sotw().await;
    sotw.ask(Endpoint, &["1", "2"]).await;
    sotw.next().await;
    sotw.ask(Route, &["1", "2"]).await;
    let mut delta = world.delta().await;
    delta.resume(Cluster, &[], &[("1", ""), ("2", ""), ("3", ""), ("4", "")]).await;
    let mut other = world.delta().await;
    other.ask(Endpoint, &["1", "2", "3", "4"], &[]).await;
    for status in [sotw.end().await, delta.end().await, other.end().await] {
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("xds.limits.names"), "{status:?}");
    }
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn a_request_above_the_limit_ends_the_stream() {
    let world = World::with(|o| o.max_request_bytes = 1_000, Readiness::Complete, vec![cluster("a", "1")]).await;
    let witness = Witness::of(&world).await;
    let mut stream = world.sotw().await;
    stream.ask(Endpoint, &[&"x".repeat(2_000)]).await;
    assert_eq!(stream.end().await.code(), Code::ResourceExhausted);
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn streams_above_the_limit_are_refused_until_one_ends() {
    let world = World::with(|o| o.max_streams = 2, Readiness::Complete, vec![cluster("a", "1")]).await;
    let witness = Witness::of(&world).await;
    let second = world.sotw().await;
    let refused = Sotw::try_open(world.channel().await, ADS_SOTW, None).await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("xds.limits.streams"), "{refused:?}");
    drop(second);
    world.eventually(|list| list.len() == 1).await;
    world.sotw().await;
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn connections_above_the_limit_are_closed() {
    let world = World::with(|o| o.max_connections = 1, Readiness::Complete, vec![cluster("a", "1")]).await;
    let witness = Witness::of(&world).await;
    let mut more = TcpStream::connect(world.address).await.unwrap();
    assert_closed(&mut more).await;
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn compression_is_refused_with_the_remedy() {
    let world = one().await;
    let witness = Witness::of(&world).await;
    let refused = Sotw::try_open(world.channel().await, ADS_SOTW, Some(("grpc-encoding", "gzip"))).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("switch compression off"), "{refused:?}");
    Sotw::try_open(world.channel().await, ADS_SOTW, Some(("grpc-encoding", "identity"))).await.unwrap();
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let world = one().await;
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/Fetch";
    let refused = Sotw::try_open(world.channel().await, path, None).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test]
async fn what_came_for_calls_that_were_refused_does_not_stop_the_streams_beside_them() {
    let world = one().await;
    let channel = world.channel().await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = Sotw::open(channel.clone(), ADS_SOTW).await;
        stream.ask(Cluster, &[]).await;
        let received = stream.next().await;
        stream.ack(&received, &[]).await;
        streams.push(stream);
    }
    // Twice what a connection may have waiting.
    for _ in 0..256 {
        assert_eq!(unserved(channel.clone(), 16 << 10).await.code(), Code::Unimplemented);
    }
    world.change([cluster("b", "1")]);
    for stream in &mut streams {
        let received = stream.next().await;
        received.is(Cluster, &[("a", "1"), ("b", "1")], &[]);
        stream.ack(&received, &[]).await;
        stream.nothing_more().await;
    }
}

#[tokio::test]
async fn what_is_no_discovery_request_ends_the_stream() {
    let world = one().await;
    let witness = Witness::of(&world).await;
    for garbage in [&b"\x0b\xff"[..], b"\x22\x02\xff\xfe", b"\x12\x01\x0b"] {
        let mut stream = RawStream::open(&world).await;
        stream.send(garbage).await;
        assert_eq!(stream.0.end().await.code(), Code::InvalidArgument, "{garbage:?}");
    }
    witness.stays_unaffected(&world).await;
}

async fn assert_closed(socket: &mut TcpStream) {
    let read = async {
        let mut buffer = [0; 1024];
        while !matches!(socket.read(&mut buffer).await, Ok(0) | Err(_)) {}
    };
    timeout(DEADLINE, read).await.expect("the connection is still open");
}

#[tokio::test]
async fn http1_and_garbage_cost_only_their_connection() {
    let world = one().await;
    let witness = Witness::of(&world).await;
    let garbage: Vec<u8> = (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let frame = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x00\x00\x00\x00\x00\x00".to_vec();
    for bytes in [b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(), garbage, frame] {
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        // It may be closed while we still write.
        drop(socket.write_all(&bytes).await);
        assert_closed(&mut socket).await;
    }
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed_and_one_that_asks_is_not() {
    let set = |o: &mut portolan::xds::Options| o.idle_timeout = Duration::from_millis(100);
    let world = World::with(set, Readiness::Complete, vec![cluster("a", "1")]).await;
    let witness = Witness::of(&world).await;
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    assert_closed(&mut silent).await;
    let mut half = TcpStream::connect(world.address).await.unwrap();
    half.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    assert_closed(&mut half).await;
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn a_connection_that_answers_no_ping_is_closed_and_one_that_does_is_not() {
    let set = |o: &mut portolan::xds::Options| {
        (o.keepalive_interval, o.keepalive_timeout) = (Duration::from_millis(300), Duration::from_millis(300));
        o.idle_timeout = Duration::from_secs(3600);
    };
    let world = World::with(set, Readiness::Complete, vec![cluster("a", "1")]).await;
    let witness = Witness::of(&world).await;
    let mut dead = TcpStream::connect(world.address).await.unwrap();
    // The preface, no settings, and the acknowledgement of the server's: from then on it is pinged.
    dead.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0").await.unwrap();
    assert_closed(&mut dead).await;
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn readers_that_take_nothing_are_ended_and_others_are_not() {
    let set = |o: &mut portolan::xds::Options| o.stall_timeout = Duration::from_millis(300);
    let big = "x".repeat(200_000);
    let changes = (0..40).map(|i| cluster(&format!("c{i}"), &big)).collect();
    let world = World::with(set, Readiness::Complete, changes).await;
    let mut stalled = Vec::new();
    for _ in 0..5 {
        let stream = world.sotw().await;
        stream.ask(Cluster, &[]).await;
        stalled.push(stream); // never read: the client's window stays shut
    }
    let mut reader = world.delta().await;
    reader.ask(Endpoint, &["a"], &[]).await;
    reader.next().await.is(Endpoint, &[], &["a"]);
    world.eventually(|list| list.len() == 1).await;
    reader.nothing_more().await;
}

#[tokio::test]
async fn a_stream_that_asks_nothing_ends_and_so_does_a_request_without_an_end() {
    let set = |o: &mut portolan::xds::Options| o.request_time = Duration::from_millis(300);
    let world = World::with(set, Readiness::Complete, vec![cluster("a", "1")]).await;
    let witness = Witness::of(&world).await;
    let mut silent = world.sotw().await;
    assert_eq!(silent.end().await.code(), Code::DeadlineExceeded);

    let mut unfinished = Plain::open(world.address).await;
    unfinished.send(b"\0\0\0\x03\xe8only a part").await;
    assert_eq!(unfinished.status().await, "4", "DEADLINE_EXCEEDED");
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn an_address_has_its_share_of_streams_and_connections() {
    let set = |o: &mut portolan::xds::Options| o.max_streams_per_peer = 2;
    let world = World::with(set, Readiness::Complete, vec![cluster("a", "1")]).await;
    let witness = Witness::of(&world).await;
    let _second = world.sotw().await;
    let refused = Sotw::try_open(world.channel().await, ADS_SOTW, None).await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("xds.limits.streams_per_peer"), "{refused:?}");
    assert_eq!(health(&world).await, SERVING, "probes have places of their own");
    witness.stays_unaffected(&world).await;

    let world = World::with(|o| o.max_connections_per_peer = 1, Readiness::Complete, vec![cluster("a", "1")]).await;
    let witness = Witness::of(&world).await;
    assert_closed(&mut TcpStream::connect(world.address).await.unwrap()).await;
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn a_connection_whose_last_stream_has_ended_is_closed() {
    let set = |o: &mut portolan::xds::Options| o.idle_timeout = Duration::from_millis(200);
    let world = World::with(set, Readiness::Complete, vec![cluster("a", "1")]).await;
    let witness = Witness::of(&world).await;
    let channel = world.channel().await;
    Sotw::open(channel.clone(), ADS_SOTW).await.finish().await;
    let connections = || world.counted().get("xds_connections").copied();
    let closed = async {
        while connections() != Some(1) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, closed).await.expect("the connection is still open");
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn what_a_stream_holds_is_bounded_counted_and_given_back() {
    let set = |o: &mut portolan::xds::Options| o.memory.stream = 200_000;
    let world = World::with(set, Readiness::Complete, vec![cluster("a", "1"), assignment("a", 1)]).await;
    let witness = Witness::of(&world).await;
    let names: Vec<String> = (0..500).map(|i| format!("{i:0100}")).collect();
    let names: Vec<&str> = names.iter().map(|n| &**n).collect();
    let mut stream = world.sotw().await;
    stream.ask(Endpoint, &names).await;
    stream.next().await;
    let held = || world.counted().get("xds_memory_bytes").copied().unwrap_or(0);
    assert!((100_000..200_000).contains(&held()), "{}", held());

    let mut greedy = world.delta().await;
    for part in 0..10 {
        let names: Vec<String> = (0..500).map(|i| format!("{part}-{i:0100}")).collect();
        greedy.ask(Endpoint, &names.iter().map(|n| &**n).collect::<Vec<_>>(), &[]).await;
    }
    let status = greedy.end().await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("xds.limits.memory_per_stream"), "{status:?}");
    drop(stream);
    world.eventually(|list| list.len() == 1).await;
    assert!(held() < 1_000, "{}", held());
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn the_stream_that_holds_most_is_told_so_when_it_makes_room_for_others() {
    let set = |o: &mut portolan::xds::Options| o.memory.peer = 200_000;
    let world = World::with(set, Readiness::Complete, vec![cluster("a", "1"), assignment("a", 1)]).await;
    let witness = Witness::of(&world).await;
    let ask = async |stream: &Delta, which: usize, count: usize| {
        let names: Vec<String> = (0..count).map(|i| format!("{which}-{i:0100}")).collect();
        stream.ask(Endpoint, &names.iter().map(|n| &**n).collect::<Vec<_>>(), &[]).await;
    };
    let mut most = world.delta().await;
    ask(&most, 0, 600).await;
    most.next().await;
    let mut less = world.delta().await;
    ask(&less, 1, 500).await;
    let status = most.end().await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("xds.limits.memory_per_peer"), "{status:?}");
    less.next().await;
    witness.stays_unaffected(&world).await;
}

#[tokio::test]
async fn names_and_type_urls_have_a_length() {
    let world = one().await;
    let witness = Witness::of(&world).await;
    let mut long = world.sotw().await;
    long.ask(Endpoint, &[&"x".repeat(1_025)]).await;
    assert_eq!(long.end().await.code(), Code::InvalidArgument);
    let mut stream = world.sotw().await;
    let mut request = sotw_request(Cluster, &[], "", "");
    request.type_url = "x".repeat(257);
    stream.request(request).await;
    assert_eq!(stream.end().await.code(), Code::InvalidArgument);
    witness.stays_unaffected(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_delay_nobody_and_not_the_end() {
    let world = one().await;
    let witness = Witness::of(&world).await;
    let mut floods = Vec::new();
    for _ in 0..20 {
        let stream = world.sotw().await;
        stream.ask(Cluster, &[]).await;
        floods.push(tokio::spawn(async move {
            let stream = stream;
            loop {
                stream.ask_as(Cluster, &[], "", "1").await;
            }
        }));
    }
    witness.stays_unaffected(&world).await;
    world.shutdown.cancel();
    timeout(DEADLINE, world.running).await.expect("the server goes on").unwrap();
    floods.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A stream of state of the world whose bytes the test makes itself.
struct Plain {
    requests: h2::SendStream<bytes::Bytes>,
    answers: Option<h2::client::ResponseFuture>,
    _connection: h2::client::SendRequest<bytes::Bytes>,
}

impl Plain {
    async fn open(address: std::net::SocketAddr) -> Plain {
        let socket = TcpStream::connect(address).await.unwrap();
        let (client, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let request = http::Request::post(format!("http://{address}{ADS_SOTW}"));
        let request = request.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap();
        let (answers, requests) = client.send_request(request, false).unwrap();
        Plain { requests, answers: Some(answers), _connection: client }
    }

    async fn send(&mut self, bytes: &'static [u8]) {
        self.requests.send_data(bytes::Bytes::from_static(bytes), false).unwrap();
    }

    /// The status that the stream ends with.
    async fn status(&mut self) -> String {
        let end = async {
            let mut body = self.answers.take().unwrap().await.unwrap().into_body();
            while let Some(data) = body.data().await {
                data.unwrap();
            }
            let trailers = body.trailers().await.unwrap().unwrap();
            trailers["grpc-status"].to_str().unwrap().to_owned()
        };
        timeout(DEADLINE, end).await.expect("the stream goes on")
    }
}

/// The gauge `xds_first_answers` of that state now; 0 if it is not there.
fn first_answers(world: &World, state: &str) -> u64 {
    let all = world.counted();
    all.get(&format!("xds_first_answers{{state=\"{state}\"}}")).copied().unwrap_or(0)
}

#[tokio::test]
async fn a_fleet_that_comes_at_once_is_answered_in_turn_and_nobody_starves() {
    const FLEET: usize = 300;
    let many = (0..200).map(|i| cluster(&format!("c{i}"), "1")).collect();
    let world = World::with(|options| options.first_answers = 4, Readiness::Complete, many).await;
    let mut old = world.delta().await;
    old.ask(Cluster, &["*"], &[]).await;
    let first = old.next().await;
    old.ack(&first).await;
    world.eventually(|_| first_answers(&world, "sending") == 0).await;
    // Some that never acknowledge come before all others.
    let mut silent = Vec::new();
    for _ in 0..10 {
        let client = world.delta().await;
        client.ask(Cluster, &["*"], &[]).await;
        silent.push(client);
    }
    world.eventually(|_| first_answers(&world, "waiting") > 0).await;
    let mut fleet = tokio::task::JoinSet::new();
    for _ in 0..FLEET {
        let mut client = world.delta().await;
        fleet.spawn(async move {
            client.ask(Cluster, &["*"], &[]).await;
            let answer = client.next().await;
            client.ack(&answer).await;
            client
        });
    }
    // Who was answered before is told of changes, whoever waits.
    world.change([cluster("c0", "2")]);
    old.next().await.is(Cluster, &[("c0", "2")], &[]);
    let (mut most, mut answered) = (0, Vec::new());
    while let Some(client) = fleet.join_next().await {
        answered.push(client.unwrap());
        most = most.max(first_answers(&world, "sending"));
    }
    assert_eq!((answered.len(), most <= 4), (FLEET, true), "{most} at a time");
    assert!(world.counted()["xds_first_answers_delayed_total"] > 0);
    for client in &mut silent {
        assert_eq!(client.next().await.has.len(), 200);
    }
    drop((silent, answered, old));
    world.eventually(|_| first_answers(&world, "waiting") + first_answers(&world, "sending") == 0).await;
}

#[tokio::test]
async fn whoever_has_all_from_before_needs_no_turn() {
    let world = World::with(|options| options.first_answers = 1, Readiness::Complete, vec![cluster("a", "1")]).await;
    let mut silent = world.sotw().await;
    silent.ask(Cluster, &[]).await;
    silent.next().await;
    let version = world.view().get(Cluster).version();
    let mut fleet = Vec::new();
    for _ in 0..3 {
        let client = world.sotw().await;
        client.ask_as(Cluster, &[], &version, "").await;
        fleet.push(client);
    }
    // All have been asked for, and nobody waits.
    world.eventually(|clients| clients.iter().filter(|client| !client.types.is_empty()).count() == 4).await;
    assert_eq!(world.counted().get("xds_first_answers_delayed_total"), None);
    drop(silent);
    for client in &mut fleet {
        client.nothing_more().await;
    }
}
