//! Two processes with the same input, in whatever order it came, serve the same bytes.

use crate::support::portolan::Portolan;
use std::{fmt::Write, fs, path::Path};

/// Ten services in as many files, with several of everything that has an order: ports, labels, endpoints, aliases.
fn write_catalogue(folder: &Path, order: impl Iterator<Item = usize>) {
    for service in order {
        let mut text = format!(
            "services:\n- host: svc-{service}.example\n  ports: [{{ name: http, port: 80, protocol: http }}, {{ name: rpc, port: 9090, protocol: grpc }}]\n  labels: {{ team: shop, tier: 'a' }}\n  endpoints:\n"
        );
        let mut endpoints: Vec<usize> = (1..=8).collect();
        endpoints.rotate_left(service % 8);
        for endpoint in endpoints {
            writeln!(
                text,
                "  - {{ address: 10.0.{service}.{endpoint}, ports: {{ http: 8080, rpc: 9090 }}, weight: {endpoint}, locality: r{}/z{}, labels: {{ a: '1', b: '2', c: '3', d: '{endpoint}' }} }}",
                endpoint % 2,
                endpoint % 3
            )
            .unwrap();
        }
        // The names of the files follow the order in which they are written.
        fs::write(folder.join(format!("{service}.yaml")), text).unwrap();
    }
}

async fn digests(folder: &Path) -> serde_json::Value {
    let portolan =
        Portolan::start(&format!("registries:\n- name: files\n  file: {{ path: '{}' }}\n", folder.display())).await;
    portolan.ready().await;
    portolan.json("/api/v1/digests").await
}

#[tokio::test]
async fn two_processes_print_the_same_digests() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_catalogue(one.path(), 0..10);
    write_catalogue(other.path(), (0..10).rev());
    let (first, second) = (digests(one.path()).await, digests(other.path()).await);
    assert!(first.to_string().contains("clusters"), "{first}");
    assert_eq!(first, second);
    fs::remove_file(one.path().join("3.yaml")).unwrap();
    let smaller = digests(one.path()).await;
    assert_ne!(smaller, second, "digests tell contents apart");
}
