//! A service manager that listens for Portolan, and is told how it fares.

use crate::{
    client::{ADS_DELTA, Delta, delta_request},
    support::{connecting::Connecting, portolan::Portolan, until},
};
use portolan::resource::Kind;
use socket2::{Domain, Socket, Type};
use std::{
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixDatagram,
    time::Duration,
};
use tonic::transport::Endpoint;

const CATALOGUE: &str = "registries: [{ name: shop, example: }]\n";

/// What the manager has heard so far.
fn heard(manager: &UnixDatagram) -> String {
    let (mut text, mut bytes) = (String::new(), [0; 512]);
    while let Ok(length) = manager.recv(&mut bytes) {
        text += &String::from_utf8_lossy(&bytes[..length]);
        text.push('\n');
    }
    text
}

#[tokio::test]
async fn the_port_is_never_closed_from_one_process_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let notify = folder.path().join("notify");
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_nonblocking(true).unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(4096).unwrap();
    let socket = TcpListener::from(socket);
    let address = socket.local_addr().unwrap();
    let client = Connecting::to(address);
    let mut all = String::new();
    for _ in 0..5 {
        let portolan = Portolan::start_activated(&socket, &notify, CATALOGUE).await;
        assert_eq!(portolan.xds, address);
        let mut told = String::new();
        while !told.contains("READY=1") {
            let more = until("the manager to be told", Duration::from_secs(60), async || match heard(&manager) {
                text if text.is_empty() => Err(portolan.log()),
                text => Ok(text),
            })
            .await;
            told += &more;
        }
        portolan.ready().await;
        assert!(portolan.terminate().await.success());
        all += &(told + &heard(&manager));
    }
    assert_eq!((all.matches("READY=1").count(), all.matches("STOPPING=1").count()), (5, 5), "{all}");
    // Who comes while there is no process is answered by the next one.
    let waiting = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let last = Portolan::start_activated(&socket, &notify, CATALOGUE).await;
    let mut stream = Delta::open(waiting, ADS_DELTA).await;
    stream.request(delta_request(Kind::Cluster, &["*"], &[])).await;
    let answer = stream.message().await.unwrap().unwrap();
    assert!(!answer.resources.is_empty(), "{answer:?} {}", last.log());
    client.was_always_taken().await;
    drop(last);
}
