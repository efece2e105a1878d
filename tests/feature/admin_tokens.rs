//! Admin over TLS that asks for tokens, and the commands that bring them.

use crate::{
    client::{ADS_DELTA, Delta},
    support::{local::Local, mesh, until},
};
use portolan::{resource::Kind::Cluster, util::tls};
use reqwest::Method;
use rustls::RootCertStore;
use serde_json::Value;
use std::{fs, process::Output, time::Duration};
use tempfile::TempDir;
use tokio::process::Command;
use tonic::transport::Endpoint;

const READ: &str = "read-0123456789abcdef0123456789";
const CHANGE: &str = "change-0123456789abcdef01234567";

/// The product with a certificate for admin and files with tokens.
async fn start() -> Local {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("admin.pem", mesh::text("shop-server.pem")),
        ("admin.key", mesh::text("shop-server.key")),
        ("authority.pem", mesh::text("shop.pem")),
        ("next.pem", mesh::text("next.pem")),
        ("services.yaml", "services: [{ host: orders.example, endpoints: ['192.0.2.1:80'] }]".into()),
        ("read", READ.into()),
        ("change", format!("{CHANGE}\n")),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let admin = admin(&folder);
    Local::start_in(folder, "", &admin, "registries: [{ name: files, file: { path: services.yaml } }]\n").await
}

fn admin(folder: &TempDir) -> String {
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key, read, change) = (file("admin.pem"), file("admin.key"), file("read"), file("change"));
    format!(
        "tls: {{ certificate: '{certificate}', key: '{key}' }}, tokens: {{ read: '${{file:{read}}}', change: '${{file:{change}}}' }}"
    )
}

/// What a command says that asks this admin; `token` is a file.
async fn command(portolan: &Local, words: &[&str], authority: Option<&str>, token: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.args(words).arg("--admin").arg(format!("https://localhost:{}", portolan.admin.port()));
    let file = |name: &str| portolan.folder().join(name);
    command.args(authority.map(|name| format!("--admin-ca={}", file(name).display())));
    command.args(token.map(|name| format!("--admin-token-file={}", file(name).display())));
    command.env_remove("PORTOLAN_ADMIN_TOKEN").env_remove("PORTOLAN_CONFIG").output().await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

const LIST: &[&str] = &["get", "services", "-o", "json"];

#[tokio::test]
async fn a_command_reads_and_changes_with_the_token_for_it_and_over_tls_alone() {
    let portolan = start().await;
    let listed = until("the list with a token", Duration::from_secs(60), async || {
        let output = command(&portolan, LIST, Some("authority.pem"), Some("read")).await;
        if output.status.success() { Ok(output) } else { Err(said(&output)) }
    })
    .await;
    assert!(serde_json::from_slice::<Value>(&listed.stdout).is_ok(), "{}", said(&listed));
    for (token, expected) in [(None, "401"), (Some("admin.pem"), "characters that no header can carry")] {
        let refused = command(&portolan, LIST, Some("authority.pem"), token).await;
        assert!(!refused.status.success() && said(&refused).contains(expected), "{token:?}: {}", said(&refused));
    }
    // An admin that another authority vouches for, or nobody.
    for authority in [None, Some("next.pem")] {
        let refused = command(&portolan, LIST, authority, Some("read")).await;
        assert!(!refused.status.success() && !said(&refused).contains(READ), "{authority:?}: {}", said(&refused));
    }
    for (token, expected) in [(None, 401), (Some(READ), 403), (Some(CHANGE), 200)] {
        assert_eq!(ask(&portolan, "shop.pem", token, Method::POST, "reload").await, Some(expected), "{token:?}");
    }
}

/// A request over TLS, and its status; `None` if there is no connection.
async fn ask(portolan: &Local, authority: &str, token: Option<&str>, method: Method, page: &str) -> Option<u16> {
    let mut roots = RootCertStore::empty();
    tls::trust(&mut roots, &mesh::text(authority)).unwrap();
    let client = tls::http_client().tls_backend_preconfigured(tls::client(roots, None).unwrap()).build().unwrap();
    let request = client.request(method, format!("https://localhost:{}/api/v1/{page}", portolan.admin.port()));
    let request = request.header("content-type", "application/json");
    let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
    request.send().await.ok().map(|answer| answer.status().as_u16())
}

async fn status(portolan: &Local, authority: &str, token: &str) -> Option<u16> {
    ask(portolan, authority, Some(token), Method::GET, "services").await
}

#[tokio::test]
async fn another_certificate_and_another_token_are_followed() {
    let portolan = start().await;
    assert_eq!(status(&portolan, "shop.pem", READ).await, Some(200));
    portolan.put("admin.key", &mesh::text("next-server.key"));
    portolan.put("admin.pem", &mesh::text("next-server.pem"));
    until("the new certificate", Duration::from_secs(60), async || {
        match (status(&portolan, "next.pem", READ).await, status(&portolan, "shop.pem", READ).await) {
            (Some(200), None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let next = "next-0123456789abcdef01234567890";
    portolan.put("read", next);
    until("the new token", Duration::from_secs(60), async || {
        match (status(&portolan, "next.pem", next).await, status(&portolan, "next.pem", READ).await) {
            (Some(200), Some(401)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn the_audit_log_says_whose_token_it_was() {
    const ANN: &str = "ann-0123456789abcdef0123456789";
    let folder = tempfile::tempdir().unwrap();
    let ann = folder.path().join("ann");
    fs::write(&ann, ANN).unwrap();
    fs::write(folder.path().join("services.yaml"), "services: [{ host: orders.example, endpoints: ['192.0.2.1:80'] }]")
        .unwrap();
    let admin = format!("tokens: {{ change: {{ ann: '${{file:{}}}' }} }}", ann.display());
    let registries = "registries: [{ name: files, file: { path: services.yaml } }]\n";
    let portolan = Local::start_in(folder, "", &admin, registries).await;
    let client = portolan::util::tls::http_client().build().unwrap();
    let ask = async |path: &str| {
        let url = format!("http://{}{path}", portolan.admin);
        let request = client.post(url).header("content-type", "application/json").bearer_auth(ANN);
        request.send().await.unwrap().status().as_u16()
    };
    until("the service to be there", Duration::from_secs(60), async || {
        match ask("/api/v1/pin?host=orders.example").await {
            200 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(ask("/api/v1/unpin?host=orders.example&by=bob&why=done").await, 200);
    assert_eq!(ask("/api/v1/reload").await, 200);
    let _stream = refuse_one(&portolan).await;
    until("a release of what is refused", Duration::from_secs(60), async || {
        match ask("/api/v1/quarantine/release?all=true&by=bob").await {
            200 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let history = client.get(format!("http://{}/api/v1/history", portolan.admin)).send().await.unwrap();
    let history: Value = serde_json::from_slice(&history.bytes().await.unwrap()).unwrap();
    let requests = history.as_array().unwrap().iter().filter(|entry| entry["kind"] == "request");
    let asked: Vec<_> = requests.map(|entry| (entry["action"].clone(), entry["by"].clone())).collect();
    assert!(asked.contains(&("pin".into(), "ann".into())), "{asked:?}");
    assert!(asked.contains(&("unpin".into(), "ann (bob)".into())), "{asked:?}");
    assert!(asked.contains(&("reload".into(), "ann".into())), "{asked:?}");
    assert!(asked.contains(&("release".into(), "ann (bob)".into())), "{asked:?}");
}

/// The stream of a client that refuses one of the clusters that it is sent.
async fn refuse_one(portolan: &Local) -> Delta {
    let channel = Endpoint::from_shared(format!("http://{}", portolan.xds)).unwrap().connect().await.unwrap();
    let mut stream = Delta::open(channel, ADS_DELTA).await;
    stream.ask(Cluster, &[], &[]).await;
    let received = stream.next().await;
    let name = received.has.keys().next().unwrap();
    stream.nack(&received, &format!("Error adding/updating cluster(s) {name}: no such thing")).await;
    stream
}
