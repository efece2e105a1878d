//! Portolan restarts under steady traffic: no request fails, and nothing is sent that Envoy has.

use crate::support::{envoy::Envoy, portolan::Portolan, upstream::Upstream};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(60);

async fn restarts(example: &str, politely: bool) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services.yaml");
    let upstream = Upstream::start("here").await;
    let mut text = format!("services:\n- host: product-service.example\n  endpoints: ['{}']\n", upstream.address);
    for other in 1..50 {
        text += &format!("- host: other-{other}.example\n  endpoints: [10.0.0.{other}:80]\n");
    }
    fs::write(&file, text).unwrap();
    let config = format!("registries:\n- name: files\n  file: {{ path: '{}' }}\n", file.display());
    let portolan = Portolan::start(&config).await;
    let xds = portolan.xds.to_string();
    let Some(envoy) = Envoy::start(&Envoy::example(example), portolan.xds).await else { return };
    let envoy = Arc::new(envoy);
    envoy
        .wait_until("the first answer", LIMIT, async || match envoy.get("product-service.example", "/").await {
            (200, _) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;

    let stop = Arc::new(AtomicBool::new(false));
    let traffic = tokio::spawn({
        let (envoy, stop) = (envoy.clone(), stop.clone());
        async move {
            let (mut requests, mut failed) = (0, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                let (status, body) = envoy.get("product-service.example", "/").await;
                requests += 1;
                if (status, body.as_str()) != (200, "here") {
                    failed.push((status, body));
                }
            }
            (requests, failed)
        }
    });
    if politely {
        assert!(portolan.terminate().await.success());
    } else {
        portolan.kill().await;
    }
    envoy
        .wait_until("Envoy to lose its stream", LIMIT, async || {
            match envoy.stat("control_plane.connected_state").await {
                Some(0) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    let portolan = Portolan::start_on(&xds, "127.0.0.1:0", &config).await;
    envoy
        .wait_until("Envoy to come back", LIMIT, async || {
            let connected = envoy.stat("control_plane.connected_state").await;
            let clients = portolan.json("/api/v1/clients").await.to_string();
            if connected == Some(1) && clients.contains("acknowledged") { Ok(()) } else { Err(clients) }
        })
        .await;
    stop.store(true, Ordering::Relaxed);
    let (requests, failed) = traffic.await.unwrap();
    assert!(requests > 10, "{requests} requests");
    assert_eq!(failed, []);
    assert_eq!(envoy.complaints().await, []);
}

#[tokio::test]
async fn a_polite_restart_fails_no_request_by_delta() {
    restarts("sidecar.yaml", true).await;
}

#[tokio::test]
async fn a_polite_restart_fails_no_request_by_state_of_the_world() {
    restarts("sidecar-sotw.yaml", true).await;
}

#[tokio::test]
async fn a_crash_and_a_new_start_fail_no_request() {
    restarts("sidecar.yaml", false).await;
}
