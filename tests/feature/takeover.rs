//! One process takes over from another, and the ports are never closed.

use crate::{
    client::{ADS_DELTA, Delta, delta_request},
    support::{connecting::Connecting, http, portolan::Portolan, servers::free_port, until},
};
use portolan::resource::Kind;
use std::{fs, net::SocketAddr, time::Duration};
use tonic::transport::Endpoint;

const CATALOGUE: &str = "registries: [{ name: shop, example: }]\n";
const LIMIT: Duration = Duration::from_secs(60);

async fn clusters(address: SocketAddr) -> usize {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut stream = Delta::open(channel, ADS_DELTA).await;
    stream.request(delta_request(Kind::Cluster, &["*"], &[])).await;
    stream.result().await.unwrap().unwrap().resources.len()
}

#[tokio::test]
async fn ports_stay_open_from_one_process_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, unix) = (folder.path().join("takeover"), folder.path().join("xds.sock"));
    let [xds, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let start = |config: &str| {
        let (socket, xds, admin, config) = (socket.clone(), xds.clone(), admin.clone(), config.to_owned());
        async move { Portolan::start_with_takeover(&socket, &xds, &admin, &config).await }
    };
    let mut serving = start(CATALOGUE).await;
    serving.ready().await;
    let there = clusters(serving.xds).await;
    assert!(there > 0 && !unix.exists());
    let clients = [serving.xds, serving.admin].map(Connecting::to);
    for _ in 0..4 {
        until("somebody to be there to be relieved", LIMIT, async || match serving.log() {
            log if !socket.exists() => Err(log),
            _ => Ok(()),
        })
        .await;
        let next = start(CATALOGUE).await;
        let status = serving.ended().await;
        assert!(status.success(), "{status} {}", next.log());
        http::ready(next.admin).await;
        assert_eq!(clusters(next.xds).await, there);
        until("it to be there to be relieved", LIMIT, async || match next.log() {
            log if log.contains("Took over from the process before this one") => Ok(()),
            log => Err(log),
        })
        .await;
        serving = next;
    }
    for client in clients {
        client.was_always_taken().await;
    }
}

#[tokio::test]
async fn who_cannot_answer_takes_nothing_over() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("takeover");
    let [xds, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let serving = Portolan::start_with_takeover(&socket, &xds, &admin, CATALOGUE).await;
    serving.ready().await;
    let there = clusters(serving.xds).await;
    // Its registry is never there, and it is patient.
    let nowhere = free_port();
    let config = format!(
        "catalog: {{ grace: 10m }}\nregistries: [{{ name: shop, eureka: {{ servers: ['http://127.0.0.1:{nowhere}/eureka'] }} }}]\n"
    );
    let waiting = Portolan::start_with_takeover(&socket, &xds, &admin, &config).await;
    until("it to be given the sockets", LIMIT, async || match serving.log() {
        log if log.contains("Another process is about to take over") => Ok(()),
        log => Err(log),
    })
    .await;
    assert_eq!(clusters(serving.xds).await, there);
    waiting.kill().await;
    until("it to go on", LIMIT, async || match serving.log() {
        log if log.contains("has ended; this one goes on") => Ok(()),
        log => Err(log),
    })
    .await;
    assert_eq!(clusters(serving.xds).await, there);
    // A crash leaves the socket behind: the next one listens by itself.
    serving.kill().await;
    assert!(fs::symlink_metadata(&socket).is_ok());
    let last = Portolan::start_with_takeover(&socket, &xds, &admin, CATALOGUE).await;
    last.ready().await;
    assert_eq!(clusters(last.xds).await, there);
}
