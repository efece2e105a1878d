//! Certificates of gateways are replaced under traffic: a real Envoy shows the new ones without a restart, no request fails, and no
//! listener is touched. File by file, and by a link to another folder, as Kubernetes does it.

use crate::support::{envoy::Envoy, http, local::Local, mesh, servers::free_port, tls, until, upstream::Upstream};
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Puts the certificate of an authority into a folder, each file in one step, the key first.
pub fn put(folder: &Path, of: &str) {
    for end in ["key", "pem"] {
        let new = folder.join(format!("{end}.new"));
        fs::write(&new, mesh::text(&format!("{of}-server.{end}"))).unwrap();
        fs::rename(new, folder.join(format!("tls.{end}"))).unwrap();
    }
}

/// Points the link to another folder, in one step.
fn point(folder: &Path, to: &str) {
    let new = folder.join("..new");
    symlink(to, &new).unwrap();
    fs::rename(new, folder.join("..data")).unwrap();
}

/// Waits until TLS there is answered by a server that this authority vouches for.
pub async fn shows(address: SocketAddr, authority: &str) {
    until(&format!("a certificate of {authority}"), LIMIT, async || {
        let answer = tls::ask(address, "localhost", &mesh::text(authority), "orders.example", "/").await?;
        if answer.ends_with("answer") { Ok(()) } else { Err(answer) }
    })
    .await;
}

/// Asks until it is told to stop, trusting both authorities; what failed, and how many requests there were.
fn traffic(address: SocketAddr, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<(Vec<String>, usize)> {
    let made = AtomicUsize::new(0);
    tokio::spawn(async move {
        let both = mesh::text("shop.pem") + &mesh::text("next.pem");
        let mut failed = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            made.fetch_add(1, Ordering::Relaxed);
            match tls::ask(address, "localhost", &both, "orders.example", "/").await {
                Ok(answer) if answer.ends_with("answer") => {}
                Ok(other) | Err(other) => failed.push(other),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (failed, made.into_inner())
    })
}

async fn are_replaced(words: &[&str]) {
    let upstream = Upstream::start("answer").await;
    let folder = tempfile::tempdir().unwrap();
    let (files, links) = (folder.path().join("files"), folder.path().join("links"));
    for folder in [&files, &links.join("one"), &links.join("two")] {
        fs::create_dir_all(folder).unwrap();
    }
    put(&files, "shop");
    put(&links.join("one"), "shop");
    put(&links.join("two"), "next");
    point(&links, "one");
    for end in ["pem", "key"] {
        symlink(format!("..data/tls.{end}"), links.join(format!("tls.{end}"))).unwrap();
    }
    let gateway = |name: &str, port: u16| {
        let folder = folder.path().join(name).display().to_string();
        format!(
            "- name: {name}
  listen: 127.0.0.1:{port}
  tls: {{ certificate: '{folder}/tls.pem', key: '{folder}/tls.key' }}\n"
        )
    };
    let ports = [free_port(), free_port()];
    let portolan = Local::start(&format!(
        "registries:
- name: files
  file: {{ path: services.yaml }}
  publish: {{ addresses: {{ loopback: keep }} }}
gateways:
{}{}",
        gateway("files", ports[0]),
        gateway("links", ports[1])
    ))
    .await;
    let services = format!("services: [{{ host: orders.example, endpoints: ['{}'] }}]", upstream.address);
    portolan.put("services.yaml", &services);
    portolan.ready().await;
    let addresses = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let words = [&["--gateway"], words].concat();
    let Some(envoy) = Envoy::start_dynamic(&words, portolan.xds, addresses[0]).await else { return };
    for address in addresses {
        shows(address, "shop.pem").await;
    }
    let before = envoy.stat("listener_manager.listener_modified").await;
    let stop = Arc::new(AtomicBool::new(false));
    let traffics = addresses.map(|address| traffic(address, stop.clone()));
    for of in ["next", "shop"].into_iter().cycle().take(10) {
        put(&files, of);
        point(&links, if of == "next" { "two" } else { "one" });
        for address in addresses {
            shows(address, &format!("{of}.pem")).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for traffic in traffics {
        let (failed, made) = traffic.await.unwrap();
        assert!(failed.is_empty() && made >= 10, "of {made}: {failed:?}");
    }
    assert_eq!(envoy.stat("listener_manager.listener_modified").await, before);
    assert_eq!(envoy.stat("listener_manager.total_listeners_draining").await, Some(0));
    assert_eq!(envoy.complaints().await, []);
    // Where the files are is told, and no key is.
    let (status, secrets) = http::get(portolan.admin, "/api/v1/resources/secrets?view=envoy@router,portolan").await;
    assert!(status == 200 && secrets.contains("tls.key") && !secrets.contains("PRIVATE"), "{status} {secrets}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_gateways_are_replaced_under_traffic_by_delta() {
    are_replaced(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_gateways_are_replaced_under_traffic_by_state_of_the_world() {
    are_replaced(&["--sotw"]).await;
}
