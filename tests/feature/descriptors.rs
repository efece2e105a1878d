//! All descriptors that clients can have are used up: admin answers, and registries are read.

use crate::support::{portolan::Portolan, until};
use std::{fs, time::Duration};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

const LIMIT: Duration = Duration::from_secs(60);
/// Files that the process may have open.
const FILES: usize = 320;

#[tokio::test]
async fn connections_that_use_up_all_descriptors_harm_neither_admin_nor_registries() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services.yaml");
    let write = |service: &str| {
        fs::write(file.with_extension("new"), format!("services: [{{ host: {service}.example }}]")).unwrap();
        fs::rename(file.with_extension("new"), &file).unwrap();
    };
    write("first");
    let config = format!("registries: [{{ name: files, file: {{ path: '{}' }} }}]\n", file.display());
    let portolan = Portolan::start_with_files(FILES, &config).await;
    portolan.ready().await;
    let warning = "Fewer connections are accepted than xds.limits.connections allows";
    assert!(portolan.log().contains(warning), "{}", portolan.log());

    let mut connections = Vec::new();
    for number in 0..2 * FILES {
        let to = if number % 2 == 0 { portolan.xds } else { portolan.admin };
        connections.push(timeout(LIMIT, TcpStream::connect(to)).await.expect("it is taken").unwrap());
        if number % 40 == 0 {
            // So that the process comes to take them.
            sleep(Duration::from_millis(1)).await;
        }
    }
    // Those that are accepted and closed again are open for a moment.
    until("files to be left for registries", LIMIT, || async {
        let open = fs::read_dir(format!("/proc/{}/fd", portolan.pid())).unwrap().count();
        if open < FILES - 32 { Ok(()) } else { Err(open) }
    })
    .await;
    for path in ["/healthz", "/ready", "/metrics", "/api/v1/services", "/api/v1/clients"] {
        let (status, body) = timeout(LIMIT, portolan.get(path)).await.unwrap_or_else(|_| panic!("{path} waits"));
        assert_eq!(status, 200, "{path}: {body}");
    }
    write("second");
    until("the change to be read", LIMIT, || async {
        let services = portolan.json("/api/v1/services").await.to_string();
        if services.contains("second.example") { Ok(()) } else { Err(services) }
    })
    .await;
    let registries = portolan.json("/api/v1/registries").await;
    assert_eq!(registries[0]["state"], "synced", "{registries}");
    drop(connections);
    assert!(portolan.terminate().await.success());
}
