//! Admin connections that send nothing, or read nothing of the answer, block no other; lists come in pages.

use crate::support::local::Local;
use std::{fmt::Write, fs, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// More connections than the admin server has slots.
const CONNECTIONS: usize = 600;
/// How long an answer may take: long for a probe, and much shorter than a connection may last.
const LIMIT: Duration = Duration::from_secs(60);

/// A Portolan with this many services, and the folder that has them.
async fn with_services(number: usize) -> (Local, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from("services:\n");
    for n in 0..number {
        writeln!(text, "- host: svc-{n:05}.example\n  endpoints: [10.0.0.1:80, 10.0.0.2:80]").unwrap();
    }
    fs::write(folder.path().join("services.yaml"), text).unwrap();
    let config = format!("registries:\n- name: files\n  file: {{ path: '{}' }}\n", folder.path().display());
    let portolan = Local::start(&config).await;
    portolan.ready().await;
    (portolan, folder)
}

/// Connects, asks for something and reads nothing.
async fn connect(portolan: &Local, request: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(portolan.admin).await.unwrap();
    // One that has lost its slot cannot write any more.
    let _ = stream.write_all(request.as_bytes()).await;
    stream
}

async fn no_other_waits_beside(portolan: &Local, request: &str) {
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS {
        idle.push(connect(portolan, request).await);
    }
    for path in ["/healthz", "/ready", "/metrics", "/api/v1/services?limit=5", "/api/v1/resources/endpoints"] {
        let (status, body) = timeout(LIMIT, portolan.get(path)).await.unwrap_or_else(|_| panic!("{path} waits"));
        assert_eq!(status, 200, "{path}: {body}");
    }
    drop(idle);
}

#[tokio::test]
async fn connections_that_do_not_read_block_no_other() {
    let (portolan, _folder) = with_services(2_000).await;
    let request = "GET /api/v1/resources/endpoints?limit=2000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    no_other_waits_beside(&portolan, &request.repeat(20)).await;
}

#[tokio::test]
async fn connections_that_send_nothing_block_no_other() {
    let (portolan, _folder) = with_services(10).await;
    no_other_waits_beside(&portolan, "").await;
    no_other_waits_beside(&portolan, "GET /healthz HTTP/1.1\r\nHost: a").await;
}

#[tokio::test]
async fn lists_come_in_pages_that_have_everything_once() {
    let (portolan, _folder) = with_services(2_500).await;
    for (path, list, name) in
        [("/api/v1/services", "services", "host"), ("/api/v1/resources/endpoints", "resources", "name")]
    {
        let (mut names, mut pages, mut query) = (Vec::new(), 0, String::new());
        loop {
            let page = portolan.json(&format!("{path}?{query}")).await;
            assert_eq!(page["total"], 2_500);
            names.extend(page[list].as_array().unwrap().iter().map(|item| item[name].as_str().unwrap().to_owned()));
            pages += 1;
            let Some(next) = page["continue"].as_str() else { break };
            query = format!("continue={}", next.replace('|', "%7C"));
        }
        assert_eq!((names.len(), pages), (2_500, 3), "{path}");
        assert!(names.is_sorted_by(|a, b| a < b), "{path}");
    }
    for wrong in ["/api/v1/services?limit=0", "/api/v1/services?limit=10001", "/api/v1/services?continue=%5B%22a%22%5D"]
    {
        let (status, body) = portolan.get(wrong).await;
        assert!(status == 400 && body.contains("continue"), "{wrong}: {body}");
    }
}
