//! What Istio's own client, validation and store make of the product: a judge on Istio's libraries stands in for Istiods.
//!
//! Without the servers these tests print `SKIP` and pass; with `PORTOLAN_REAL_SERVERS=required`, as `tests/run` sets it,
//! a missing server fails them.

mod calls;
mod changes;
mod failures;
mod gateways;
mod hostile;
mod manifests;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod traffic;
mod walk;

use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};
use support::fake_nacos::{FakeNacos, Generation, instance};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What a judge holds, by namespace and name.
type Entries = BTreeMap<String, Value>;

/// A registry that is polled every 300 ms.
fn registry(name: &str, nacos: &FakeNacos) -> String {
    format!("- name: {name}\n  nacos: {{ servers: ['{}'], mode: poll, period: 300ms, timeout: 2s }}\n", nacos.url())
}

/// A registry with so many services of three instances, each service with addresses of its own.
async fn nacos(name: &str, services: usize) -> FakeNacos {
    let nacos = FakeNacos::start(Generation::V2).await;
    for service in 0..services {
        let address = |n: usize| instance(&format!("10.{}.{}.{n}", service / 250, service % 250), 8080);
        nacos.model().put(&format!("{name}-{service}"), (1..=3).map(address).collect());
    }
    nacos
}

/// The `resourceVersion` of each entry, by namespace and name.
fn versions(entries: &Entries) -> BTreeMap<&str, &str> {
    entries.iter().map(|(name, entry)| (&**name, entry["metadata"]["resourceVersion"].as_str().unwrap())).collect()
}
