//! Istiods over TLS, at a listener of their own: they check our certificate, and show none.

use crate::{
    LIMIT,
    support::{judge::Judge, local::Local, mesh, until},
};

const LISTENERS: &str = "listeners: [
    { name: mesh, listen: '127.0.0.1:0', for: envoy, tls: { certificate: server.pem, key: server.key, client_authorities: ca.pem } },
    { name: istiods, listen: '127.0.0.1:0', for: istio, networks: 127.0.0.1, tls: { certificate: server.pem, key: server.key } },
    ]";

const REST: &str = "
registries: [{ name: files, file: { path: services.yaml } }]
scopes: [{ name: istiods, match: { listener: istiods } }]
";

fn services(address: &str) -> String {
    format!("services: [{{ host: orders.example, endpoints: ['{address}:80'] }}]\n")
}

#[tokio::test]
async fn an_istiod_takes_all_of_it_over_tls_and_follows_changes() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("services.yaml", services("10.0.0.1"));
    for (name, from) in [("server.pem", "shop-server.pem"), ("server.key", "shop-server.key"), ("ca.pem", "shop.pem")] {
        write(name, mesh::text(from));
    }
    let portolan = Local::start_in(folder, LISTENERS, "", REST).await;
    portolan.ready().await;
    let source = portolan.listener("istiods");
    let Some(judge) = Judge::over_tls(&[source], &mesh::folder().join("shop.pem")).await else { return };
    judge.in_sync().await;
    let has = async |address: &str| {
        until("the entry", LIMIT, async || {
            let entries = judge.entries().await;
            let found = entries.values().next().map(|entry| entry["spec"]["endpoints"][0]["address"].clone());
            if entries.len() == 1 && found == Some(address.into()) { Ok(()) } else { Err(format!("{entries:?}")) }
        })
        .await;
    };
    has("10.0.0.1").await;
    portolan.put("services.yaml", &services("10.0.0.2"));
    has("10.0.0.2").await;
    let clients = portolan.json("/api/v1/clients").await;
    let client = &clients["clients"][0];
    assert_eq!((&client["listener"], &client["view"]), (&"istiods".into(), &"istio/istiods".into()));
}
