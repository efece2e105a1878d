//! A gateway whose machine lacks a certificate: that server takes nobody, people are told, all others serve; and once the files are
//! there it serves, too, without anybody's doing.

use super::rotation::{put, shows};
use crate::support::{envoy::Envoy, local::Local, mesh, servers::free_port, tls, until, upstream::Upstream};
use std::{fs, path::Path, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);

async fn withheld(portolan: &Local, count: usize) -> serde_json::Value {
    until("the list of what is refused", LIMIT, async || {
        let list = portolan.json("/api/v1/quarantine").await;
        if list.as_array().is_some_and(|list| list.len() == count) { Ok(list) } else { Err(list) }
    })
    .await
}

async fn a_certificate_is_missing(words: &[&str]) {
    let upstream = Upstream::start("answer").await;
    let folder = tempfile::tempdir().unwrap();
    let [here, missing] = ["here", "missing"].map(|name| folder.path().join(name));
    for folder in [&here, &missing] {
        fs::create_dir(folder).unwrap();
    }
    put(&here, "shop");
    let [plain, good, bad] = [free_port(), free_port(), free_port()];
    let shows = |port: u16| shows(([127, 0, 0, 1], port).into(), "shop.pem");
    let secure = |name: &str, port: u16, folder: &Path| {
        let folder = folder.display();
        format!(
            "- {{ name: {name}, listen: '127.0.0.1:{port}', tls: {{ certificate: '{folder}/tls.pem', key: '{folder}/tls.key' }} }}\n"
        )
    };
    let portolan = Local::start(&format!(
        "registries:
- name: files
  file: {{ path: services.yaml }}
  publish: {{ addresses: {{ loopback: keep }} }}
gateways:
- {{ name: plain, listen: '127.0.0.1:{plain}' }}
{}{}",
        secure("good", good, &here),
        secure("bad", bad, &missing)
    ))
    .await;
    portolan
        .put("services.yaml", &format!("services: [{{ host: orders.example, endpoints: ['{}'] }}]", upstream.address));
    portolan.ready().await;
    let words = [&["--gateway"], words].concat();
    let Some(envoy) = Envoy::start_dynamic(&words, portolan.xds, ([127, 0, 0, 1], plain).into()).await else { return };
    shows(good).await;
    let list = withheld(&portolan, 1).await;
    let path = missing.join("tls.pem").display().to_string();
    assert_eq!((&list[0]["kind"], &list[0]["for_all"]), (&"secrets".into(), &false.into()), "{list}");
    assert!(list[0]["message"].as_str().is_some_and(|text| text.contains(&path)), "{list}");
    let refused =
        tls::ask(([127, 0, 0, 1], bad).into(), "localhost", &mesh::text("shop.pem"), "orders.example", "/").await;
    assert!(refused.is_err(), "{refused:?}");
    let (status, body) = envoy.get("orders.example", "/").await;
    assert_eq!((status, &*body), (200, "answer"));

    // Envoy watches the folder, though it has refused the secret.
    put(&missing, "shop");
    shows(bad).await;
    // Who comes back is tried with it again.
    drop(envoy);
    withheld(&portolan, 0).await;
    let Some(envoy) = Envoy::start_dynamic(&words, portolan.xds, ([127, 0, 0, 1], plain).into()).await else { return };
    for port in [good, bad] {
        shows(port).await;
    }
    assert_eq!(envoy.complaints().await, []);
    withheld(&portolan, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_serves_beside_a_certificate_that_is_missing_by_delta() {
    a_certificate_is_missing(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_serves_beside_a_certificate_that_is_missing_by_state_of_the_world() {
    a_certificate_is_missing(&["--sotw"]).await;
}
