//! Listeners: who may come in where, by which certificate or token, as whom, and for how long.

use crate::{
    client::{ADS_DELTA, DEADLINE, Delta, delta_request},
    support::{local::Local, mesh, until},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use portolan::{
    pb::envoy::{config::core::v3::Node, service::discovery::v3::DeltaDiscoveryRequest},
    resource::Kind,
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::json;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;
use tokio::{net::TcpStream, time::timeout};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

const HIDDEN: &str = "outbound|80||secret.example";
const EDGE_TOKEN: &str = "edge-0123456789abcdef";

const REST: &str = "
registries:
- { name: public, file: { path: public.yaml } }
- { name: secret, file: { path: secret.yaml } }
scopes:
- { name: cart, match: { listener: mesh, name: 'spiffe://shop.example/ns/*/sa/cart' }, registries: secret }
- { name: edge, match: { name: ['spiffe://shop.example/ns/edge/**', edge] }, registries: public }
- { name: istiods, match: { listener: istiods } }
- { name: local, match: { listener: local }, registries: public }
";

const LISTENERS: &str = "listeners: [
    { name: mesh, listen: '127.0.0.1:0', for: envoy, tls: { certificate: server.pem, key: server.key,
      trust_domains: { shop.example: authority.pem }, crls: revoked.crl } },
    { name: tokens, listen: '127.0.0.1:0', tls: { certificate: server.pem, key: server.key },
      tokens: { edge: edge-0123456789abcdef, nobody: nobody-0123456789abcdef }, node_id: '{name}-*',
      jwt: { keys: jwks.json, issuer: 'https://issuer.example', audiences: portolan } },
    { name: istiods, listen: '127.0.0.1:0', for: istio, networks: 127.0.0.0/8, tls: { certificate: server.pem, key: server.key } },
    { name: elsewhere, listen: '127.0.0.1:0', networks: 10.0.0.0/8 },
    { name: local, listen: 'unix:@FOLDER@/xds.sock', socket_mode: '0660' },
    ]";

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let service = |host: &str| format!("services: [{{ host: {host}, endpoints: ['10.0.0.1:80'] }}]\n");
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("public.yaml", service("public.example"));
    write("secret.yaml", service("secret.example"));
    for (name, from) in [
        ("server.pem", "shop-server.pem"),
        ("server.key", "shop-server.key"),
        ("authority.pem", "shop.pem"),
        ("revoked.crl", "none-revoked.crl"),
        ("jwks.json", "jwks.json"),
    ] {
        write(name, mesh::text(from));
    }
    folder
}

async fn start() -> Local {
    let folder = folder();
    let listeners = LISTENERS.replace("@FOLDER@", &folder.path().display().to_string());
    let portolan = Local::start_in(folder, &listeners, "", REST).await;
    portolan.ready().await;
    portolan
}

/// A client with a stream, and the clusters that it has been sent.
struct Client {
    stream: Delta,
    clusters: BTreeSet<String>,
}

impl Client {
    async fn open(channel: Channel, id: &str, token: Option<&str>) -> Result<Client, Status> {
        let header = token.map(|token| format!("Bearer {token}"));
        let header = header.as_deref().map(|value| ("authorization", value));
        let stream = Delta::try_open(channel, ADS_DELTA, header).await?;
        let node = Node { id: id.into(), ..Node::default() };
        stream.request(DeltaDiscoveryRequest { node: Some(node), ..delta_request(Kind::Cluster, &["*"], &[]) }).await;
        Ok(Client { stream, clusters: BTreeSet::new() })
    }

    /// Takes the first answer. The error is the status with which the stream ends.
    async fn first(mut self) -> Result<Client, Status> {
        let answer = timeout(DEADLINE, self.stream.message()).await.expect("nothing came in time")?;
        let answer = answer.expect("a stream that goes on");
        self.clusters.extend(answer.resources.iter().map(|resource| resource.name.clone()));
        Ok(self)
    }

    fn hosts(&self) -> Vec<&str> {
        self.clusters.iter().map(|name| name.rsplit('|').next().unwrap()).collect()
    }
}

/// Connects with that certificate, and takes the first answer. The error is the code of the connection or the stream.
async fn by_certificate(address: SocketAddr, authority: &str, certificate: Option<&str>) -> Result<Client, Code> {
    let channel = mesh::connect(address, authority, certificate).await.map_err(|_| Code::Unavailable)?;
    let opened = Client::open(channel, "test", None).await.map_err(|status| status.code())?;
    opened.first().await.map_err(|status| status.code())
}

async fn by_token(portolan: &Local, id: &str, token: Option<&str>) -> Result<Client, Status> {
    let channel = mesh::connect(portolan.listener("tokens"), "shop", None).await.unwrap();
    Client::open(channel, id, token).await?.first().await
}

#[tokio::test]
async fn who_shows_which_certificate_sees_what_it_may_and_all_others_see_nothing() {
    let portolan = start().await;
    let mesh = portolan.listener("mesh");
    let cart = by_certificate(mesh, "shop", Some("cart")).await.ok().unwrap();
    assert_eq!(cart.hosts(), ["secret.example"]);
    let edge = by_certificate(mesh, "shop", Some("edge")).await.ok().unwrap();
    assert_eq!(edge.hosts(), ["public.example"]);
    for wrong in [
        None,
        Some("next-cart"),
        Some("partner-cart"),
        Some("impostor"),
        Some("stranger"),
        Some("two-uris"),
        Some("capitals"),
        Some("dns"),
        Some("expired"),
        Some("future"),
        Some("self-signed"),
        Some("by-a-leaf"),
        Some("server-only"),
        Some("authority-as-client"),
    ] {
        assert!(by_certificate(mesh, "shop", wrong).await.is_err(), "{wrong:?}");
    }
    assert!(by_certificate(mesh, "next", Some("cart")).await.is_err(), "a client that does not believe the server");

    let clients = portolan.json("/api/v1/clients").await;
    let mut shown: Vec<_> =
        clients["clients"].as_array().unwrap().iter().map(|c| (&c["listener"], &c["identity"])).collect();
    shown.sort_by_key(|(_, identity)| identity.to_string());
    let [edge, cart] = ["edge/sa/gateway", "shop/sa/cart"].map(|path| format!("spiffe://shop.example/ns/{path}"));
    assert_eq!(shown, [(&"mesh".into(), &edge.into()), (&"mesh".into(), &cart.into())]);
    let (_, metrics) = portolan.get("/metrics").await;
    assert!(metrics.contains("xds_clients_refused_total{listener=\"mesh\",reason=\"certificate\"}"), "{metrics}");
    // 2126-01-01, as the certificate says.
    assert!(metrics.contains("xds_certificate_expiry_timestamp_seconds{listener=\"mesh\"} 4922899200"), "{metrics}");
}

#[tokio::test]
async fn a_token_opens_streams_and_its_name_binds_the_node() {
    let portolan = start().await;
    let edge = by_token(&portolan, "edge-1", Some(EDGE_TOKEN)).await.unwrap();
    assert_eq!(edge.hosts(), ["public.example"]);
    for (id, token, code, text) in [
        ("edge-1", None, Code::Unauthenticated, "this client is not authenticated"),
        ("edge-1", Some("edge-0123456789abcdeF"), Code::Unauthenticated, "this client is not authenticated"),
        ("shop-1", Some(EDGE_TOKEN), Code::PermissionDenied, "this client may not subscribe"),
        // A name that no scope is for.
        ("nobody-1", Some("nobody-0123456789abcdef"), Code::PermissionDenied, "this client may not subscribe"),
    ] {
        let refused = by_token(&portolan, id, token).await.err().unwrap();
        assert_eq!((refused.code(), refused.message()), (code, text), "{id} {token:?}");
    }
    let (_, metrics) = portolan.get("/metrics").await;
    for (reason, count) in [("no_credentials", 1), ("token", 1), ("node", 1), ("scope", 1)] {
        let line = format!("xds_clients_refused_total{{listener=\"tokens\",reason=\"{reason}\"}} {count}");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

/// A token that is signed with the key of the set, for that audience. It expires in so many seconds.
fn signed(audience: &str, seconds: i64) -> String {
    let key = PrivatePkcs8KeyDer::from_pem_slice(mesh::text("token-p256.key").as_bytes()).unwrap();
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der(), &random).unwrap();
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let claims = json!({ "iss": "https://issuer.example", "aud": audience, "sub": "edge", "exp": now + seconds });
    let encoded = |text: String| URL_SAFE_NO_PAD.encode(text);
    let message =
        format!("{}.{}", encoded(json!({ "alg": "ES256", "kid": "e" }).to_string()), encoded(claims.to_string()));
    let signature = pair.sign(&random, message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

#[tokio::test]
async fn a_signed_token_is_believed_as_long_as_its_key_is_in_the_set() {
    let portolan = start().await;
    let mut edge = by_token(&portolan, "edge-1", Some(&signed("portolan", 600))).await.unwrap();
    assert_eq!(edge.hosts(), ["public.example"]);
    for wrong in [signed("other", 600), signed("portolan", -60), signed("portolan", 600) + "A"] {
        let refused = by_token(&portolan, "edge-1", Some(&wrong)).await.err().unwrap();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    }
    // Another key under its name.
    let set = mesh::text("jwks.json");
    let (x, y) = (set.find("\"x\":\"").unwrap() + 5, set.find("\"y\":\"").unwrap() + 5);
    let swapped = format!("{}{}{}{}{}", &set[..x], &set[y..y + 43], &set[x + 43..y], &set[x..x + 43], &set[y + 43..]);
    portolan.put("jwks.json", &swapped);
    let status = edge.stream.end().await;
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "this client is not authenticated"));
}

#[tokio::test]
async fn the_node_of_a_stream_does_not_change() {
    let portolan = start().await;
    let edge = by_token(&portolan, "edge-1", Some(EDGE_TOKEN)).await.unwrap();
    let other = Node { id: "shop-1".into(), cluster: "shop".into(), ..Node::default() };
    let request = DeltaDiscoveryRequest { node: Some(other), ..delta_request(Kind::Cluster, &[HIDDEN], &[]) };
    edge.stream.request(request).await;
    let mut edge = edge;
    let answer = edge.stream.message().await.unwrap().unwrap();
    assert_eq!((answer.resources.len(), &answer.removed_resources[..]), (0, &[HIDDEN.to_owned()][..]));
    let clients = portolan.json("/api/v1/clients").await;
    assert_eq!(clients["clients"][0]["node"]["id"], "edge-1");
}

#[tokio::test]
async fn listeners_are_for_some_kinds_of_clients_from_some_networks() {
    let portolan = start().await;
    // An Envoy at the listener of Istiods, in time that it has a stream.
    let refused = by_certificate(portolan.listener("istiods"), "shop", None).await.err();
    assert_eq!(refused, Some(Code::PermissionDenied));
    let elsewhere = Endpoint::from_shared(format!("http://{}", portolan.listener("elsewhere"))).unwrap();
    let opened = match elsewhere.connect().await {
        Ok(channel) => Client::open(channel, "test", None).await.err(),
        Err(_) => return,
    };
    assert!(opened.is_some(), "the connection is closed at once");
}

#[tokio::test]
async fn processes_of_this_machine_come_by_a_socket() {
    let portolan = start().await;
    let path = portolan.folder().join("xds.sock");
    let channel = Endpoint::from_shared(format!("unix:{}", path.display())).unwrap().connect().await.unwrap();
    let local = Client::open(channel, "test", None).await.unwrap().first().await.unwrap();
    assert_eq!(local.hosts(), ["public.example"]);
    let clients = portolan.json("/api/v1/clients").await;
    let client = &clients["clients"][0];
    assert_eq!((&client["listener"], &client["identity"]), (&"local".into(), &serde_json::Value::Null));
    assert!(client["peer"].as_str().unwrap().starts_with("unix:uid="), "{client}");
}

/// Waits until so many failures to use a certificate or key of the listener `mesh` are counted.
async fn failures(portolan: &Local, at_least: u64) {
    until("a failure to be counted", DEADLINE, async || {
        let (_, metrics) = portolan.get("/metrics").await;
        let line =
            metrics.lines().find(|line| line.starts_with("portolan_xds_credentials_failures_total{listener=\"mesh\"}"));
        let count = line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).unwrap_or_default();
        if count >= at_least { Ok(()) } else { Err(metrics) }
    })
    .await;
}

#[tokio::test]
async fn certificates_and_authorities_are_replaced_while_clients_stay_and_a_broken_pair_is_not_taken() {
    let portolan = start().await;
    let mesh = portolan.listener("mesh");
    let mut edge = by_certificate(mesh, "shop", Some("edge")).await.ok().unwrap();

    // Half of a pair: the old one stays.
    portolan.put("server.key", &mesh::text("next-server.key"));
    failures(&portolan, 1).await;
    assert!(by_certificate(mesh, "shop", Some("cart")).await.is_ok());
    portolan.put("server.pem", "-----BEGIN CERTIFICATE-----\nMIIB");
    failures(&portolan, 2).await;
    assert!(by_certificate(mesh, "shop", Some("cart")).await.is_ok());

    // The other half. From now on clients must believe the next authority.
    portolan.put("server.pem", &mesh::text("next-server.pem"));
    until("the new certificate", DEADLINE, async || by_certificate(mesh, "next", Some("cart")).await.map(drop)).await;
    assert!(by_certificate(mesh, "shop", Some("cart")).await.is_err());
    edge.stream.nothing_more().await;

    // Both authorities of clients for a while, then the new one alone.
    portolan.put("authority.pem", &(mesh::text("shop.pem") + &mesh::text("next.pem")));
    until("both authorities", DEADLINE, async || by_certificate(mesh, "next", Some("next-cart")).await.map(drop)).await;
    assert!(by_certificate(mesh, "next", Some("cart")).await.is_ok());
    edge.stream.nothing_more().await;
    portolan.put("authority.pem", &mesh::text("next.pem"));
    let status = edge.stream.end().await;
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(by_certificate(mesh, "next", Some("edge")).await.is_err());
    assert!(by_certificate(mesh, "next", Some("next-cart")).await.is_ok());
}

#[tokio::test]
async fn who_is_revoked_is_cut_off_and_others_stay() {
    let portolan = start().await;
    let mesh = portolan.listener("mesh");
    let mut cart = by_certificate(mesh, "shop", Some("cart")).await.ok().unwrap();
    let mut edge = by_certificate(mesh, "shop", Some("edge")).await.ok().unwrap();
    let revoked = Instant::now();
    portolan.put("revoked.crl", &mesh::text("cart-revoked.crl"));
    cart.stream.end().await;
    eprintln!("who is revoked is cut off after {} ms", revoked.elapsed().as_millis());
    until("no further stream", DEADLINE, async || match by_certificate(mesh, "shop", Some("cart")).await {
        Err(_) => Ok(()),
        Ok(_) => Err("it still comes in"),
    })
    .await;
    edge.stream.nothing_more().await;
    let (_, metrics) = portolan.get("/metrics").await;
    assert!(metrics.contains("xds_clients_refused_total{listener=\"mesh\",reason=\"certificate\"}"), "{metrics}");
}

#[tokio::test]
async fn a_mistake_in_the_configuration_keeps_no_certificate_from_being_renewed() {
    let portolan = start().await;
    let mesh = portolan.listener("mesh");
    portolan.put("portolan.yaml", "version: 1\nnonsense: 1\n");
    until("the mistake to be told", DEADLINE, async || {
        let config = portolan.json("/api/v1/config").await;
        if config["last"]["result"] == "refused" { Ok(()) } else { Err(config.to_string()) }
    })
    .await;
    portolan.put("server.key", &mesh::text("next-server.key"));
    portolan.put("server.pem", &mesh::text("next-server.pem"));
    until("the new certificate", DEADLINE, async || by_certificate(mesh, "next", Some("cart")).await.map(drop)).await;
}

#[tokio::test]
async fn a_token_that_is_taken_away_ends_its_streams() {
    let portolan = start().await;
    let mut edge = by_token(&portolan, "edge-1", Some(EDGE_TOKEN)).await.unwrap();
    let listeners = LISTENERS.replace("@FOLDER@", &portolan.folder().display().to_string());
    portolan.reconfigure_with(&listeners.replace("edge: edge-0123456789abcdef, ", ""), REST);
    let status = edge.stream.end().await;
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "this client is not authenticated"));
    assert_eq!(by_token(&portolan, "edge-1", Some(EDGE_TOKEN)).await.err().unwrap().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn handshakes_that_stall_keep_nobody_out() {
    let folder = folder();
    let listeners = format!("{LISTENERS}, limits: {{ connections_per_peer: 40 }}");
    let listeners = listeners.replace("@FOLDER@", &folder.path().display().to_string());
    let portolan = Local::start_in(folder, &listeners, "", REST).await;
    portolan.ready().await;
    let mesh = portolan.listener("mesh");
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(mesh).await.unwrap());
        tokio::task::yield_now().await;
    }
    // They leave half of the places of their address.
    until("a client among them", DEADLINE, async || by_certificate(mesh, "shop", Some("cart")).await.map(drop)).await;
    let (_, metrics) = portolan.get("/metrics").await;
    assert!(metrics.contains("reason=\"handshake_room\"}"), "{metrics}");
    drop(silent);
}
