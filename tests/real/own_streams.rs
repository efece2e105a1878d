//! Real Envoys without ADS: clusters on one stream, endpoints on others. A changed cluster and a new alias are not held up.

use crate::support::{
    envoy::{Envoy, XDS},
    portolan::Portolan,
    traffic::Traffic,
    upstream::Upstream,
};
use std::{sync::Arc, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);

/// Settings of clusters, and an alias of the service.
fn config(variant: &str, connect_timeout: &str, alias: &str) -> String {
    format!(
        "envoy: {{ cluster_name: '{{host}}', connect_timeout: {connect_timeout}, eds: {{ cluster: portolan, variant: {variant} }} }}
registries:
- name: files
  file: {{ path: services.yaml }}
  publish: {{ addresses: {{ loopback: keep }}, aliases: [{alias}] }}
"
    )
}

/// The example in which each cluster has a route, without ADS.
fn without_ads(api_type: &str, xds: std::net::SocketAddr) -> String {
    let example = XDS.replaced(&Envoy::example("authority.yaml"), xds);
    let (head, rest) = example.split_once("dynamic_resources:\n").expect("a bootstrap");
    let (_, statics) = rest.split_once("static_resources:\n").expect("a bootstrap");
    format!(
        "{head}dynamic_resources:
  cds_config:
    resource_api_version: V3
    api_config_source:
      api_type: {api_type}
      transport_api_version: V3
      grpc_services: [{{ envoy_grpc: {{ cluster_name: portolan }} }}]

static_resources:
{statics}"
    )
}

async fn answers(envoy: &Envoy, host: &str) {
    envoy
        .wait_until(&format!("200 of {host}"), LIMIT, async || match envoy.get(host, "/").await {
            (200, _) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
}

async fn run(api_type: &str, variant: &str) {
    let upstream = Upstream::start("orders").await;
    let portolan = Portolan::start(&config(variant, "5s", "")).await;
    let text = format!(
        "services: [{{ host: orders.example, labels: {{ short: orders }}, endpoints: ['{}'] }}]",
        upstream.address
    );
    std::fs::write(portolan.folder().join("services.yaml"), text).unwrap();
    portolan.ready().await;
    let Some(envoy) = Envoy::start_on(&without_ads(api_type, portolan.xds)).await else { return };
    let envoy = Arc::new(envoy);
    answers(&envoy, "orders.example").await;
    let traffic = Traffic::start(&envoy, "orders.example".into(), "orders");
    // The cluster changes, and an alias comes.
    portolan.configure(&config(variant, "7s", "'{label:short}'"));
    answers(&envoy, "orders").await;
    envoy
        .wait_until("the changed cluster to be in force", LIMIT, async || {
            let dump = envoy.config_dump("dynamic_active_clusters").await.to_string();
            if dump.matches("\"connect_timeout\":\"7s\"").count() == 2 { Ok(()) } else { Err(dump) }
        })
        .await;
    traffic.stop_unharmed(10).await;
    // None of it waited until a fetch timed out.
    assert_eq!(envoy.complaints().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_and_endpoints_on_streams_of_their_own_by_delta() {
    run("DELTA_GRPC", "delta").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_and_endpoints_on_streams_of_their_own_in_state_of_the_world() {
    run("GRPC", "sotw").await;
}
