//! TLS by the server's own means, with and without a certificate of the client.

use super::{
    config, demo, read,
    support::{
        servers::free_port,
        tls::{Authority, ONE, OTHER},
        zookeeper::ZooKeeper,
    },
    until_listed,
};
use portolan::registry::{
    transport::{Identity, Tls},
    zookeeper::{Config, Layout},
};
use std::fs;

#[tokio::test]
async fn a_server_is_known_by_its_authority_and_may_ask_who_we_are() {
    let (folder, own, other) = (tempfile::tempdir().unwrap(), ONE, OTHER);
    let server = &own.server;
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("server.pem"), format!("{}{}", server.key, server.cert)).unwrap();
    fs::write(path("ca.pem"), own.pem).unwrap();
    let port = free_port();
    let settings = format!(
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\nsecureClientPort={port}\n\
         secureClientPortAddress=127.0.0.1\nssl.keyStore.location={}\nssl.keyStore.type=PEM\n\
         ssl.trustStore.location={}\nssl.trustStore.type=PEM\nssl.clientAuth=need\n",
        path("server.pem"),
        path("ca.pem"),
    );
    let Some(zookeeper) = ZooKeeper::start_with("zookeeper", &settings).await else { return };
    let writer = zookeeper.writer().await;
    writer.provide("com.foo.Demo", &demo("192.0.2.1:20880", "")).await;
    let secure = |ca: &Authority, client: Option<&Authority>| {
        let identity = client
            .map(|authority| &authority.client)
            .map(|issued| Identity { cert: issued.cert.into(), key: portolan::util::secret::Secret::new(issued.key) });
        let tls = Tls { ca: Some(ca.pem.into()), identity };
        let servers = vec![Config::server(&format!("localhost:{port}")).unwrap()];
        Config { servers, tls: Some(tls), ..config(zookeeper.address(), Layout::Dubbo) }
    };
    let mut reading = read(secure(&own, Some(&own)));
    until_listed(&mut reading, "the first", &[("dubbo/com.foo.Demo", &["192.0.2.1:20880 dubbo 1"])]).await;
    writer.delete("/dubbo").await;
    until_listed(&mut reading, "it to be gone", &[]).await;
    // What TLS carries is bounded as well.
    let mut reading = read(Config { max_packet_bytes: 8 << 10, ..secure(&own, Some(&own)) });
    writer.provide("com.foo.Demo", &demo("192.0.2.2:20880", "")).await;
    until_listed(&mut reading, "the second", &[("dubbo/com.foo.Demo", &["192.0.2.2:20880 dubbo 1"])]).await;
    writer.create(&format!("/dubbo/com.foo.Demo/providers/{}", "x".repeat(10_000)), "").await;
    let failure = reading.failure().await;
    assert!(failure.contains("no more than 8192 are read; raise `max_packet`"), "{failure}");
    for refused in [secure(&other, Some(&own)), secure(&own, None), secure(&own, Some(&other))] {
        let mut reading = read(refused);
        let failure = reading.failure().await;
        let told = ["cannot get a session from localhost", "cannot speak TLS with localhost"];
        assert!(told.iter().any(|told| failure.contains(told)), "{failure}");
        assert_eq!(reading.listed, 0);
    }
}
