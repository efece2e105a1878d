//! What `portolan gateways` prints is Istio's: an Istiod takes every document, and given as files they mean what the short form means.

use crate::support::{judge, local::Local, until};
use serde_json::Value;
use std::time::Duration;
use tokio::process::Command;

const SERVICES: &str = "services:
- { host: orders.example, endpoints: ['10.0.0.1:8080'] }
- { host: users.example, endpoints: ['10.0.0.2:8080'] }
";
const REGISTRY: &str = "registries: [{ name: files, file: { path: services.yaml } }]\n";

async fn start(rest: &str, files: &[(&str, &str)]) -> Local {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let portolan = Local::start_in(folder, "", "", &format!("{REGISTRY}{rest}")).await;
    portolan.ready().await;
    portolan
}

#[tokio::test]
async fn what_a_short_gateway_prints_is_taken_by_istio_and_means_the_same() {
    let gateways = "gateways:
- { name: edge, listen: '0.0.0.0:8080' }
- { name: secure, listen: '0.0.0.0:8443', paths: '/x/{host}', tls: { certificate: /tls/tls.pem, key: /tls/tls.key } }
";
    let short = start(gateways, &[("services.yaml", SERVICES)]).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    let output = command.args(["gateways", "--admin", &format!("http://{}", short.admin)]).output().await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let Some(read) = judge::says(&["read"], &printed).await else { return };
    let read: Vec<Value> = serde_json::from_slice(&read).unwrap();
    // Two Gateways, and for each of them what each service has.
    assert!(read.len() == printed.split("---\n").count() && read.len() == 10, "{} of\n{printed}", read.len());

    let long = start("traffic: { path: rules.yaml }\n", &[("services.yaml", SERVICES), ("rules.yaml", &printed)]).await;
    for (host, path) in [
        ("orders.example:8080", "/a"),
        ("elsewhere.example:8080", "/orders.example/list?page=2"),
        ("elsewhere.example:8080", "/users.example"),
        ("users.example:8443", "/"),
        ("elsewhere.example:8443", "/x/users.example/list"),
        ("elsewhere.example:8443", "/nobody/"),
    ] {
        let page = format!("/api/v1/route?host={host}&path={path}");
        until(&format!("the same of {host}{path}"), Duration::from_secs(60), async || {
            let both = [short.json(&page).await, long.json(&page).await];
            let is_there = both[0].as_array().is_some_and(|decisions| decisions.len() == 1);
            if is_there && both[0] == both[1] { Ok(()) } else { Err(format!("{both:#?}")) }
        })
        .await;
    }
}
