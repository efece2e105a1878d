//! Services are added, changed and removed under a real Envoy, which never has to wait and never refuses.

use crate::support::{envoy::Envoy, portolan::Portolan, upstream::Upstream};
use std::{fs, path::Path, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);
const CLUSTER: &str = "outbound|80||product-service.example";

/// A catalogue with the example's service on the given endpoints, and some others.
fn write(file: &Path, endpoints: &[String], others: std::ops::Range<usize>, protocol: &str) {
    let mut text = format!("services:\n- host: product-service.example\n  endpoints: [{}]\n", endpoints.join(", "));
    for other in others {
        text += &format!(
            "- host: other-{other}.example\n  ports: [{{ name: main, port: 80, protocol: {protocol} }}]\n  endpoints: [10.0.0.{other}:80]\n"
        );
    }
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

async fn follows_changes(example: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services.yaml");
    let (first, second) = (Upstream::start("first").await, Upstream::start("second").await);
    let (one, other) = (first.address.to_string(), second.address.to_string());
    write(&file, std::slice::from_ref(&one), 1..21, "http");
    let portolan = Portolan::start(&format!(
        "registries:\n- name: files\n  file: {{ path: '{}' }}\n  publish: {{ linger: 1s, max_drop: 100% }}\n",
        file.display()
    ))
    .await;
    let Some(envoy) = Envoy::start(&Envoy::example(example), portolan.xds).await else { return };
    envoy.until_answered(LIMIT, "first").await;
    // Envoy's own cluster for Portolan is the one more.
    envoy.until_clusters(LIMIT, 22).await;

    // On a first connect each assignment is delivered exactly once: the cluster list once, every cluster once.
    let successes = envoy.stats_ending(".update_success").await;
    let clusters: Vec<_> = successes.iter().filter(|(name, _)| name.starts_with("cluster.")).collect();
    assert_eq!(clusters.len(), 21, "{successes:?}");
    assert!(clusters.iter().all(|(_, count)| *count == 1), "{clusters:?}");

    // An endpoint moves.
    write(&file, std::slice::from_ref(&other), 1..21, "http");
    envoy.until_answered(LIMIT, "second").await;

    // Clusters change (HTTP/1.1 to HTTP/2): Envoy warms each until its assignment comes again.
    write(&file, std::slice::from_ref(&other), 1..21, "grpc");
    envoy
        .wait_until("HTTP/2 in the other clusters", LIMIT, async || {
            let dump = envoy.config_dump("dynamic_active_clusters").await.to_string();
            let count = dump.matches("explicit_http_config").count();
            if count == 20 { Ok(()) } else { Err(count.to_string()) }
        })
        .await;
    envoy.until_answered(LIMIT, "second").await;

    // More, and fewer: first without endpoints, then gone.
    write(&file, std::slice::from_ref(&other), 1..31, "grpc");
    envoy.until_clusters(LIMIT, 32).await;
    write(&file, std::slice::from_ref(&one), 1..2, "grpc");
    envoy.until_answered(LIMIT, "first").await;
    envoy.until_clusters(LIMIT, 3).await;

    // The last instance goes: no traffic.
    write(&file, &[], 1..2, "grpc");
    envoy
        .wait_until("no endpoint to be left", LIMIT, async || match envoy.get("product-service.example", "/").await {
            (503, _) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    let hosts = envoy.hosts(CLUSTER).await;
    assert!(hosts.as_array().is_none_or(Vec::is_empty), "{hosts}");
    assert_eq!(envoy.complaints().await, []);
}

#[tokio::test]
async fn added_changed_and_removed_services_by_delta() {
    follows_changes("sidecar.yaml").await;
}

#[tokio::test]
async fn added_changed_and_removed_services_by_state_of_the_world() {
    follows_changes("sidecar-sotw.yaml").await;
}
