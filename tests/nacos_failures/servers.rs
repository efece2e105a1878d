//! Servers that come and go: of several the next takes over, and one that is restarted takes old tokens no more.

use crate::{
    READER, logins, persistent, read, readers, settings,
    support::{nacos::Nacos, servers::free_port, tcp_proxy::TcpProxy},
    weight, while_there,
};
use portolan::registry::nacos::Mode;
use std::net::SocketAddr;

/// The key that signs tokens after the restart.
const OTHER_KEY: &str = "QW5vdGhlcktleU9ubHlGb3JMb2NhbFRlc3RzX19fX19fX18=";

/// A server of a cluster: the real one behind an address of its own, by HTTP and gRPC. It is dead when dropped.
struct Front {
    http: TcpProxy,
    grpc: TcpProxy,
}

impl Front {
    async fn start(nacos: &Nacos, http: SocketAddr, grpc: u16) -> Front {
        let grpc = TcpProxy::start_on((http.ip(), grpc).into(), nacos.grpc()).await;
        Front { http: TcpProxy::start_on(http, nacos.http()).await, grpc }
    }

    /// From now on it takes connections and says nothing.
    fn hang(&self) {
        self.http.silence(true);
        self.grpc.silence(true);
    }
}

/// Three servers, all dead at first, which come and go one after the other.
pub async fn one_takes_over_from_another(nacos: &Nacos) {
    const SERVICE: &str = "cluster";
    nacos.register(SERVICE, "10.0.0.1:80", &persistent(1)).await;
    let (port, grpc) = (free_port(), free_port());
    let servers = [2, 3, 4].map(|host| SocketAddr::from(([127, 0, 0, host], port)));
    let [first, second, third] = servers;
    let mut reading = [Mode::Push, Mode::Poll].map(|mode| read(settings(&servers, grpc, mode, READER)));
    for reading in &mut reading {
        let failure = reading.failure().await;
        assert!(failure.contains("cannot reach"), "{failure}");
        assert_eq!(reading.listed, 0);
    }
    let in_use = Front::start(nacos, second, grpc).await;
    for reading in &mut reading {
        reading.until("the first list", |h| weight(h, SERVICE) == Some(1.0)).await;
    }
    let mut change = 1;
    // Moves on to another state of the servers, and sees what changes there.
    let mut moved = async |what: &str| {
        change += 1;
        nacos.register(SERVICE, "10.0.0.1:80", &persistent(change)).await;
        for reading in &mut reading {
            let took = while_there(reading, SERVICE, what, |h| weight(h, SERVICE) == Some(change.into())).await;
            println!("{what}: {took:.1?}");
        }
    };
    let next = Front::start(nacos, third, grpc).await;
    drop(in_use);
    moved("one that is killed").await;
    let back = Front::start(nacos, first, grpc).await;
    next.hang();
    moved("one that hangs").await;
    drop((back, next));
    let _again = Front::start(nacos, second, grpc).await;
    moved("one that comes back").await;
}

/// No token is good after a restart with another key: one login each, and no service lost.
pub async fn another_token_key_costs_a_login(nacos: &mut Nacos, environment: &[(&'static str, &'static str)]) {
    const SERVICE: &str = "restarted";
    nacos.register(SERVICE, "10.0.0.1:80", &persistent(1)).await;
    let mut readers = readers(nacos, READER, |config| config).await;
    for (reading, proxy) in &mut readers {
        reading.until("the first list", |h| weight(h, SERVICE) == Some(1.0)).await;
        assert_eq!(logins(proxy), 1);
    }
    let other: Vec<_> = environment.iter().copied().chain([("NACOS_TOKEN_KEY", OTHER_KEY)]).collect();
    nacos.restart_with(&other).await;
    nacos.register_patiently(SERVICE, "10.0.0.1:80", &persistent(2)).await;
    for (reading, proxy) in &mut readers {
        while_there(reading, SERVICE, "the change behind the restart", |h| weight(h, SERVICE) == Some(2.0)).await;
        let more = logins(proxy) - 1;
        println!("another key: {more} logins");
        // While the server starts it may refuse one.
        assert!((1..=3).contains(&more), "{more} logins: {:#?}", proxy.asked());
    }
}
