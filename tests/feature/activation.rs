//! A service manager that listens for Portolan, and is told how it fares.

use crate::{
    client::{ADS_DELTA, Delta, delta_request},
    support::{connecting::Connecting, portolan::Portolan, servers::lacking, until},
};
use portolan::resource::Kind;
use socket2::{Domain, Socket, Type};
use std::{
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixDatagram,
    path::Path,
    process::Command,
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

/// Waits until the manager was told that the service is ready; all that it heard.
async fn until_ready(manager: &UnixDatagram, portolan: &Portolan) -> String {
    let mut told = String::new();
    while !told.contains("READY=1") {
        let more = until("the manager to be told", Duration::from_secs(60), async || match heard(manager) {
            text if text.is_empty() => Err(portolan.log()),
            text => Ok(text),
        });
        told += &more.await;
    }
    told
}

fn listening() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(4096).unwrap();
    TcpListener::from(socket)
}

#[tokio::test]
async fn the_port_is_never_closed_from_one_process_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let notify = folder.path().join("notify");
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_nonblocking(true).unwrap();
    let socket = listening();
    let address = socket.local_addr().unwrap();
    let client = Connecting::to(address);
    let mut all = String::new();
    for _ in 0..5 {
        let portolan = Portolan::start_activated(&socket, &notify, CATALOGUE).await;
        assert_eq!(portolan.xds, address);
        let told = until_ready(&manager, &portolan).await;
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

/// The system calls that the unit leaves a service are enough for all that one does: start on a passed socket, write
/// its state, read files that change, resolve names, open connections, end.
#[tokio::test]
async fn the_unit_leaves_it_the_system_calls_that_it_needs() {
    let library = Command::new("/usr/bin/python3").args(["-c", "import seccomp"]).output();
    if !library.is_ok_and(|output| output.status.success()) {
        lacking("python3-seccomp", "it is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let notify = folder.path().join("notify");
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_nonblocking(true).unwrap();
    let socket = listening();
    let services = folder.path().join("services");
    std::fs::create_dir(&services).unwrap();
    let write = |host: &str| {
        let text = format!("services: [{{ host: {host}, endpoints: ['127.0.0.1:80', 'localhost:80'] }}]\n");
        std::fs::write(services.join("shop.yaml"), text).unwrap();
    };
    write("one.example");
    let config = format!(
        "state: {{ dir: '{}', quiet: 100ms }}\nregistries:\n- {{ name: shop, file: {{ path: '{}' }} }}\n\
         - {{ name: gone, required: false, consul: {{ servers: ['http://127.0.0.1:9'] }} }}\n",
        folder.path().join("state").display(),
        services.display()
    );
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/portolan.service");
    let portolan = Portolan::start_confined(&unit, &socket, &notify, &config).await;
    until_ready(&manager, &portolan).await;
    write("two.example");
    until("the changed file", Duration::from_secs(60), async || {
        let services = portolan.json("/api/v1/services").await;
        if services.to_string().contains("two.example") { Ok(()) } else { Err(services) }
    })
    .await;
    let channel = Endpoint::from_shared(format!("http://{}", portolan.xds)).unwrap().connect().await.unwrap();
    let mut stream = Delta::open(channel, ADS_DELTA).await;
    stream.request(delta_request(Kind::Cluster, &["*"], &[])).await;
    assert!(!stream.message().await.unwrap().unwrap().resources.is_empty(), "{}", portolan.log());
    drop(stream);
    let log = portolan.log();
    assert!(portolan.terminate().await.success(), "{log}");
    assert!(!log.contains("Operation not permitted"), "{log}");
    assert!(folder.path().join("state/shop.state").exists(), "{log}");
}
