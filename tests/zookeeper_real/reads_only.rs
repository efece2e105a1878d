//! Nothing is ever written: every request that is sent is looked at on its way.

use super::{
    config, demo, read,
    support::zookeeper::{Writer, ZooKeeper},
    until_listed,
};
use portolan::registry::zookeeper::{Config, Layout, Login};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

/// The numbers of requests that read: exists, getData, getChildren (both), sync, ping, removeWatches, auth, setWatches
/// (both), addWatch, multiRead, and the end of a session.
const READING: [i32; 13] = [3, 4, 8, 12, 9, 11, 18, 100, 101, 105, 106, 22, -11];

pub(super) type Seen = Arc<Mutex<BTreeSet<i32>>>;

/// Starts a proxy to a server. Returns its address, and the numbers of all kinds of requests that it has carried.
pub(super) async fn listen(server: SocketAddr) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Seen::default());
    let all = seen.clone();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(carry(client, server, all.clone()));
        }
    });
    (address, seen)
}

/// Carries a connection. Each packet has its length, then (except for the first) its own number and that of its kind.
async fn carry(client: TcpStream, server: SocketAddr, seen: Seen) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
    tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut connected = false;
    loop {
        let length = from_client.read_u32().await?;
        let mut packet = vec![0; length as usize];
        from_client.read_exact(&mut packet).await?;
        if std::mem::replace(&mut connected, true) {
            seen.lock().unwrap().insert(i32::from_be_bytes(packet[4..8].try_into().unwrap()));
        }
        to_server.write_u32(length).await?;
        to_server.write_all(&packet).await?;
    }
}

/// Asserts that at least three kinds of requests were sent, and that none of them writes.
pub(super) fn assert_only_reading(seen: &Seen, what: &str) {
    let seen = seen.lock().unwrap().clone();
    let others: Vec<&i32> = seen.iter().filter(|kind| !READING.contains(kind)).collect();
    assert!(others.is_empty() && seen.len() >= 3, "{what}: {seen:?}");
}

async fn change(writer: &Writer) {
    writer.provide("com.foo.Demo", &demo("192.0.2.1:20880", "")).await;
    writer.provide("com.foo.Demo", &demo("192.0.2.2:20880", "")).await;
    writer.provide("com.foo.Other", "tri://192.0.2.3:1/com.foo.Other").await;
}

#[tokio::test]
async fn only_reading_requests_are_sent_in_every_way_of_noticing() {
    for script in ["zookeeper", "zookeeper35"] {
        let Some(server) = ZooKeeper::start(script).await else { return };
        let (address, seen) = listen(server.address()).await;
        let login = Login { username: "reader".into(), password: portolan::util::secret::Secret::new("secret") };
        let watching = Config { login: Some(login), ..config(address, Layout::Dubbo) };
        let writer = server.writer().await;
        for config in [watching.clone(), super::polling(watching)] {
            let mut reading = read(config);
            reading.list().await;
            change(&writer).await;
            let all: &[(&str, &[&str])] = &[
                ("dubbo/com.foo.Demo", &["192.0.2.1:20880 dubbo 1", "192.0.2.2:20880 dubbo 1"]),
                ("dubbo/com.foo.Other", &["192.0.2.3:1 tri 1"]),
            ];
            until_listed(&mut reading, script, all).await;
            writer.delete("/dubbo").await;
            until_listed(&mut reading, script, &[]).await;
        }
        assert_only_reading(&seen, script);
    }
}
