//! What a real Consul holds, and what was written by API, a real Envoy carries: through registration, a check that fails,
//! maintenance and deregistration.

use crate::support::{
    consul::Consul, envoy::Envoy, http, portolan::Portolan, traffic::Traffic, until, upstream::Upstream,
};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(60);
const HOST: &str = "orders.example";

/// Waits until Envoy has so many healthy instances, and gives the time that took.
async fn until_serving(envoy: &Envoy, host: &str, expected: usize) -> Duration {
    let started = Instant::now();
    until(&format!("{expected} instances of {host}"), LIMIT, || async {
        let hosts = envoy.hosts(host).await;
        let healthy = |host: &&Value| host["health_status"]["eds_health_status"] == "HEALTHY";
        let count = hosts.as_array().map_or(0, |hosts| hosts.iter().filter(healthy).count());
        if count == expected { Ok(()) } else { Err(hosts) }
    })
    .await;
    started.elapsed()
}

#[tokio::test]
async fn an_envoy_follows_what_happens_in_consul() {
    let Some(consul) = Consul::start().await else { return };
    let config = format!(
        "envoy: {{ cluster_name: '{{host}}' }}\nregistries:\n- name: consul\n  consul: {{ servers: '{}' }}\n  publish: {{ host: '{{service}}.example', addresses: {{ loopback: keep }} }}\n",
        consul.url()
    );
    let portolan = Portolan::start(&config).await;
    let Some(envoy) = Envoy::start(&Envoy::example("authority.yaml"), portolan.xds).await else { return };
    let envoy = Arc::new(envoy);
    let to = &consul.writer;
    let mut upstreams = Vec::new();
    for count in 1..=3 {
        let upstream = Upstream::start("orders").await;
        let service = json!({
            "ID": format!("orders-{count}"), "Name": "orders", "Address": "127.0.0.1", "Port": upstream.address.port(),
            "Check": {"CheckID": format!("c-{count}"), "TTL": "600s", "Status": "passing"},
        });
        let started = Instant::now();
        to.put("/v1/agent/service/register", service).await;
        until_serving(&envoy, HOST, count).await;
        eprintln!("instance {count} was with Envoy {:.0?} after its registration", started.elapsed());
        upstreams.push(upstream);
    }
    let traffic = Traffic::start(&envoy, HOST.into(), "orders");
    to.put("/v1/agent/check/fail/c-1", json!(null)).await;
    eprintln!("a check that fails: {:.0?}", until_serving(&envoy, HOST, 2).await);
    to.put("/v1/agent/check/pass/c-1", json!(null)).await;
    until_serving(&envoy, HOST, 3).await;
    to.put("/v1/agent/service/maintenance/orders-2?enable=true", json!(null)).await;
    eprintln!("maintenance: {:.0?}", until_serving(&envoy, HOST, 2).await);
    to.put("/v1/agent/service/maintenance/orders-2?enable=false", json!(null)).await;
    until_serving(&envoy, HOST, 3).await;
    to.put("/v1/agent/service/deregister/orders-3", json!(null)).await;
    eprintln!("deregistration: {:.0?}", until_serving(&envoy, HOST, 2).await);
    traffic.stop_unharmed(10).await;
    assert_eq!(envoy.complaints().await, []);
}

#[tokio::test]
async fn a_service_that_is_written_answers_through_an_envoy() {
    let config = "envoy: { cluster_name: '{host}' }\nregistries: [{ name: ours, api: {}, publish: { host: '{service}.example' } }]\n";
    let portolan = Portolan::start(config).await;
    let Some(envoy) = Envoy::start(&Envoy::example("authority.yaml"), portolan.xds).await else { return };
    let envoy = Arc::new(envoy);
    let upstream = Upstream::start("orders").await;
    let body = json!({"endpoints": [upstream.address.to_string()]}).to_string();
    let url = format!("http://{}/api/v1/services/ours/orders", portolan.admin);
    let started = Instant::now();
    let written = http::client().put(url).header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(written.status(), 201);
    until("its answer", LIMIT, async || match envoy.get(HOST, "/").await {
        (200, body) if body == "orders" => Ok(()),
        other => Err(other),
    })
    .await;
    eprintln!("it answered {:.0?} after it was written", started.elapsed());
}
