//! Registries over TLS: an authority of one's own, a client certificate, and what is said when either is wrong. The whole
//! way from the configuration's text.

mod support;

use portolan::{config, util::yaml::Resolver};
use serde_json::json;
use std::path::Path;
use support::{
    fake_consul::FakeConsul,
    fake_eureka::{self, FakeEureka},
    fake_nacos::{FakeNacos, Generation, instance},
    reading::Reading,
    tls::{ONE, OTHER, TlsFront},
};

/// The registry of this section; relative paths start in the folder.
fn read(folder: &Path, section: &str) -> Reading {
    let text = format!("version: 1\nregistries:\n- {{ name: r, {section} }}\n");
    let loaded = config::parse("c.yaml", text.as_bytes(), &Resolver::new(folder)).unwrap();
    Reading::new(loaded.config.registries.into_iter().next().unwrap().kind)
}

/// Like [`read`], with these variables, which the section may name.
fn read_with(variables: &[(&str, String)], section: &str) -> Reading {
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
    let find = move |name: &str| Some(variables.iter().find(|(known, _)| known == name)?.1.clone());
    let text = format!("version: 1\nregistries:\n- {{ name: r, {section} }}\n");
    let loaded = config::parse("c.yaml", text.as_bytes(), &Resolver::with_variables("", find)).unwrap();
    Reading::new(loaded.config.registries.into_iter().next().unwrap().kind)
}

/// A server with one service, as a section without `tls`.
async fn nacos() -> FakeNacos {
    let fake = FakeNacos::start(Generation::V3).await;
    fake.model().put("orders", vec![instance("10.0.0.1", 8080)]);
    fake
}

fn section(front: &TlsFront, tls: &str) -> String {
    format!("nacos: {{ servers: '{}', period: 200ms, timeout: 30s, tls: {{ {tls} }} }}", front.url())
}

#[tokio::test]
async fn servers_are_trusted_by_an_authority_of_ones_own() {
    let (folder, fake) = (tempfile::tempdir().unwrap(), nacos().await);
    ONE.write(folder.path());
    let front = TlsFront::start(&ONE, None, fake.address).await;
    let mut reading = read(folder.path(), &section(&front, "ca: ca.pem"));
    assert_eq!(reading.list().await.endpoints().len(), 1);
    let failure = read(folder.path(), &section(&front, "")).failure().await;
    assert!(failure.contains("cannot reach https://localhost") && failure.contains("UnknownIssuer"), "{failure}");
    let by_address = section(&front, "ca: ca.pem").replace("localhost", "127.0.0.1");
    let failure = read(folder.path(), &by_address).failure().await;
    assert!(failure.contains("certificate not valid for name"), "{failure}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_servers_that_ask() {
    let (folder, fake) = (tempfile::tempdir().unwrap(), nacos().await);
    ONE.write(folder.path());
    let front = TlsFront::start(&ONE, Some(&ONE), fake.address).await;
    let with = section(&front, "ca: ca.pem, cert: client.pem, key: client.key");
    assert_eq!(read(folder.path(), &with).list().await.endpoints().len(), 1);
    let failure = read(folder.path(), &section(&front, "ca: ca.pem")).failure().await;
    assert!(failure.contains("CertificateRequired"), "{failure}");
    OTHER.write(folder.path());
    std::fs::write(folder.path().join("ca.pem"), ONE.pem).unwrap();
    let failure = read(folder.path(), &with).failure().await;
    assert!(failure.contains("cannot reach https://localhost"), "a certificate of somebody else: {failure}");
}

#[tokio::test]
async fn eureka_is_read_so_as_well() {
    let (folder, fake) = (tempfile::tempdir().unwrap(), FakeEureka::start().await);
    fake.model().put("ORDERS", fake_eureka::instance("10.0.0.1", 8080));
    ONE.write(folder.path());
    let front = TlsFront::start(&ONE, Some(&ONE), fake.address).await;
    let with = section(&front, "ca: ca.pem, cert: client.pem, key: client.key").replace("nacos:", "eureka:");
    let mut reading = read(folder.path(), &with);
    assert_eq!(reading.list().await.endpoints().len(), 1);
    reading.round().await;
    assert_eq!(reading.failed, 0);
    let without = section(&front, "").replace("nacos:", "eureka:");
    let failure = read(folder.path(), &without).failure().await;
    assert!(failure.contains("cannot reach https://localhost"), "{failure}");
}

#[tokio::test]
async fn consul_is_read_so_by_keys_and_by_its_own_variables() {
    let (folder, fake) = (tempfile::tempdir().unwrap(), FakeConsul::start().await);
    fake.register(json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "orders", "Port": 80}}));
    ONE.write(folder.path());
    let front = TlsFront::start(&ONE, Some(&ONE), fake.address).await;
    let keys = "ca: ca.pem, cert: client.pem, key: client.key";
    let with = format!("consul: {{ servers: '{}', tls: {{ {keys} }} }}", front.url());
    assert_eq!(read(folder.path(), &with).list().await.endpoints().len(), 1);
    let without = format!("consul: {{ servers: '{}' }}", front.url());
    let failure = read(folder.path(), &without).failure().await;
    assert!(failure.contains("cannot reach https://localhost"), "{failure}");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let address = front.url().trim_start_matches("https://").to_owned();
    let variables = [
        ("CONSUL_HTTP_ADDR", address),
        ("CONSUL_HTTP_SSL", "true".into()),
        ("CONSUL_CACERT", file("ca.pem")),
        ("CONSUL_CLIENT_CERT", file("client.pem")),
        ("CONSUL_CLIENT_KEY", file("client.key")),
    ];
    assert_eq!(read_with(&variables, "consul: { environment: true }").list().await.endpoints().len(), 1);
}

#[tokio::test]
async fn a_list_by_http_is_read_so_as_well() {
    let (folder, fake) = (tempfile::tempdir().unwrap(), FakeConsul::start().await);
    fake.register(json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "orders", "Port": 80}}));
    ONE.write(folder.path());
    let front = TlsFront::start(&ONE, Some(&ONE), fake.address).await;
    // Consul's own answer is a list like any.
    let map = "map: { name: Service.Service, address: Node.Address, port: Service.Port }";
    let url = format!("{}/v1/health/service/orders", front.url());
    let with = format!("http: {{ url: '{url}', {map}, tls: {{ ca: ca.pem, cert: client.pem, key: client.key }} }}");
    assert_eq!(read(folder.path(), &with).list().await.endpoints()["orders"], ["10.0.0.1:80"]);
    let failure = read(folder.path(), &format!("http: {{ url: '{url}', {map} }}")).failure().await;
    assert!(failure.contains("cannot reach https://localhost"), "{failure}");
}
