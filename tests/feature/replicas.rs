//! Two Portolans with the same input, in whatever order it came, serve the same bytes.

use crate::support::{local::Local, portolan::Portolan, until};
use std::{fmt::Write, fs, path::Path, time::Duration};

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

async fn process(folder: &Path) -> Portolan {
    let config = format!("registries:\n- name: files\n  file: {{ path: '{}' }}\n", folder.display());
    let portolan = Portolan::start(&config).await;
    portolan.ready().await;
    portolan
}

/// Waits until both have the same digests, each with the services of so many files, and gives them. A view is made after
/// another, and none before it is asked for.
async fn same_digests(first: &Portolan, second: &Portolan, files: usize) -> serde_json::Value {
    until("the same digests", Duration::from_secs(60), || async {
        let (first, second) = (first.json("/api/v1/digests").await, second.json("/api/v1/digests").await);
        let count = |kind: &str| first[kind]["count"].as_u64().unwrap_or(0) as usize;
        let is_whole = ["clusters", "endpoints", "serviceentries"].iter().all(|kind| count(kind) >= files);
        if first == second && is_whole { Ok(first) } else { Err((first, second)) }
    })
    .await
}

#[tokio::test]
async fn two_processes_print_the_same_digests() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_catalogue(one.path(), 0..10);
    write_catalogue(other.path(), (0..10).rev());
    let (first, second) = (process(one.path()).await, process(other.path()).await);
    let digests = same_digests(&first, &second, 10).await;
    drop(first);
    fs::remove_file(one.path().join("3.yaml")).unwrap();
    let smaller = process(one.path()).await.json("/api/v1/digests").await;
    assert_ne!(smaller["clusters"], digests["clusters"], "digests tell contents apart");
}

/// Labels, aliases and endpoints in one order or the other, of services that two registries share and contest.
fn shared(registry: &str, service: usize, backwards: bool) -> String {
    let mut labels: Vec<String> = (0..6).map(|n| format!("l{n}: '{}'", n + service)).collect();
    if backwards {
        labels.reverse();
    }
    let labels = labels.join(", ");
    let port = if registry == "shop" { 8080 } else { 8090 };
    let mut endpoints: Vec<String> = (1..=5)
        .map(|n| format!("{{ address: 10.{service}.0.{n}, port: {port}, weight: {n}, labels: {{ {labels} }} }}"))
        .collect();
    if backwards {
        endpoints.reverse();
    }
    format!(
        "services: [{{ name: svc-{service}, namespace: '{registry}', labels: {{ {labels} }}, endpoints: [{}] }}]\n",
        endpoints.join(", ")
    )
}

/// Registries `shop` and `lab` on folders of these names; every host belongs to both.
async fn start(folder: &Path) -> Local {
    let registry = |name: &str| {
        format!(
            "- name: {name}\n  file: {{ path: '{}', poll: 100ms }}\n  publish: {{ host: '{{service}}.example', merge: host, aliases: ['{{service}}.{{label:l0}}.alias', '{{service}}.all.alias'], share: 0.5, linger: 0s, hold: 0s }}\n",
            folder.join(name).display()
        )
    };
    Local::start(&format!("registries:\n{}{}", registry("shop"), registry("lab"))).await
}

#[tokio::test]
async fn whatever_came_first_the_digests_are_the_same() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let put = |folder: &Path, registry: &str, service: usize, text: &str| {
        fs::create_dir_all(folder.join(registry)).unwrap();
        fs::write(folder.join(registry).join(format!("{service}.yaml")), text).unwrap();
    };
    for service in 0..4 {
        put(one.path(), "shop", service, &shared("shop", service, false));
        put(one.path(), "lab", service, &shared("lab", service, false));
    }
    let first = start(one.path()).await;
    first.ready().await;
    let expected = first.json("/api/v1/digests").await;

    // The second registry comes first, each service first as another one, one by one, and all lists are turned round.
    let second = start(other.path()).await;
    for registry in ["lab", "shop"] {
        for service in (0..4).rev() {
            put(other.path(), registry, service, &shared(registry, 7, true));
            put(other.path(), registry, service + 10, &shared(registry, service + 10, true));
        }
        until("the services that do not stay", Duration::from_secs(60), || async {
            let services = second.json("/api/v1/services").await.to_string();
            let seen = [7, 10, 13].map(|n| format!("{registry}/{registry}/svc-{n}"));
            if seen.iter().all(|service| services.contains(service)) { Ok(()) } else { Err(services) }
        })
        .await;
        for service in (0..4).rev() {
            put(other.path(), registry, service, &shared(registry, service, true));
            fs::remove_file(other.path().join(registry).join(format!("{}.yaml", service + 10))).unwrap();
        }
    }
    until("the same digests", Duration::from_secs(60), || async {
        let digests = second.json("/api/v1/digests").await;
        if digests == expected { Ok(()) } else { Err((digests, expected.clone())) }
    })
    .await;
    let services = second.json("/api/v1/services?published=true").await["services"].take();
    assert_eq!(services, first.json("/api/v1/services?published=true").await["services"]);
    assert!(services.to_string().contains("svc-3.example") && !services.to_string().contains("svc-7"), "{services}");
}
