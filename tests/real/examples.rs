//! Each of `envoy-examples/` carries traffic, against the example catalogue as a stranger starts it.

use crate::support::{
    envoy::{Envoy, XDS},
    portolan::Portolan,
    servers::free_port,
    until,
};
use std::{fs, path::Path, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);

/// Waits for an answer of that status, and returns its body.
async fn answers(envoy: &Envoy, host: &str, path: &str, expected: u16) -> String {
    envoy
        .wait_until(&format!("{expected} of {host}{path}"), LIMIT, async || match envoy.get(host, path).await {
            (status, body) if status == expected => Ok(body),
            (status, body) => Err(format!("{status} {body}")),
        })
        .await
}

async fn carries(example: &str, host: &str) {
    let portolan = Portolan::start("").await;
    let Some(envoy) = Envoy::start(&Envoy::example(example), portolan.xds).await else { return };
    let page = answers(&envoy, host, "/", 200).await;
    assert!(page.contains("Portolan"), "the admin page answers: {page}");
    assert_eq!(envoy.complaints().await, []);
}

#[tokio::test]
async fn the_sidecar_carries_traffic_by_delta() {
    carries("sidecar.yaml", "product-service.example").await;
}

#[tokio::test]
async fn the_sidecar_carries_traffic_by_state_of_the_world() {
    carries("sidecar-sotw.yaml", "product-service.example").await;
}

#[tokio::test]
async fn the_edge_gateway_carries_traffic_by_delta() {
    carries("edge-gateway.yaml", "product-service.example").await;
}

#[tokio::test]
async fn the_edge_gateway_carries_traffic_by_state_of_the_world() {
    carries("edge-gateway-sotw.yaml", "product-service.example").await;
}

#[tokio::test]
async fn the_gateway_without_a_listener_carries_traffic_by_host_and_by_path() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy-examples");
    let config = fs::read_to_string(examples.join("gateway.portolan.yaml")).unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let config = config.replace("version: 1\n", "").replace("127.0.0.1:10000", &listen);
    assert!(config.contains(&listen), "{config}");
    let portolan = Portolan::start(&config).await;
    let Some(envoy) = Envoy::start(&Envoy::example("gateway.yaml"), portolan.xds).await else { return };
    assert_eq!(envoy.listener.to_string(), listen);
    for (host, path) in [("product-service.example", "/"), ("127.0.0.1", "/product-service/")] {
        assert!(answers(&envoy, host, path, 200).await.contains("Portolan"), "{host}{path}");
    }
    answers(&envoy, "127.0.0.1", "/nobody/", 404).await;
    assert_eq!(envoy.complaints().await, []);
}

/// An Envoy of the examples, and Portolan as its configuration there has it.
async fn with_configuration(name: &str, catalogue: &str) -> Option<(Envoy, Portolan, tempfile::TempDir)> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy-examples");
    let config = fs::read_to_string(examples.join(format!("{name}.portolan.yaml"))).unwrap();
    // The test has addresses of its own, and the catalogue names Portolan's admin page by its address.
    let config = config.replace("version: 1\n", "");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(catalogue);
    let config = config.replace(catalogue, file.to_str().unwrap());
    let text = fs::read_to_string(examples.join(catalogue)).unwrap();
    fs::write(&file, &text).unwrap();
    let portolan = Portolan::start(&config).await;
    let text = text.replace("127.0.0.1:8081", &portolan.admin.to_string());
    fs::write(&file, &text).unwrap();
    assert!(text.contains(&portolan.admin.to_string()), "{text}");
    let envoy = Envoy::start(&Envoy::example(&format!("{name}.yaml")), portolan.xds).await?;
    Some((envoy, portolan, folder))
}

#[tokio::test]
async fn one_route_by_authority_reaches_every_service_by_its_bare_name() {
    let services = "authority.services.yaml";
    let Some((envoy, _portolan, _folder)) = with_configuration("authority", services).await else { return };
    assert!(answers(&envoy, "product-service", "/", 200).await.contains("Portolan"));
    answers(&envoy, "nobody-knows-me", "/", 503).await;
    assert_eq!(envoy.complaints().await, []);
}

#[tokio::test]
async fn a_sidecar_reaches_what_it_declares_and_nothing_else() {
    let services = "declared.services.yaml";
    let Some((envoy, _portolan, _folder)) = with_configuration("declared", services).await else { return };
    assert!(answers(&envoy, "product-service.shop.example", "/", 200).await.contains("Portolan"));
    answers(&envoy, "user-service.shop.example", "/", 503).await;
    assert_eq!(envoy.complaints().await, []);
}

#[tokio::test]
async fn an_envoy_that_knows_its_own_cluster_counts_itself() {
    let services = "authority.services.yaml";
    let Some((envoy, _portolan, _folder)) = with_configuration("zones", services).await else { return };
    assert!(answers(&envoy, "product-service.shop.example", "/", 200).await.contains("Portolan"));
    envoy
        .wait_until("one of its kind", LIMIT, async || {
            let hosts = envoy.hosts("local_cluster").await;
            if hosts.as_array().map_or(0, Vec::len) == 1 { Ok(()) } else { Err(hosts.to_string()) }
        })
        .await;
    assert_eq!(envoy.complaints().await, []);
}

/// `initial_fetch_timeout: 0s` waits for ever for an answer: without one Envoy would not open its listener.
async fn static_clusters(bootstrap: &str) {
    let portolan = Portolan::start("").await;
    let Some(envoy) = Envoy::start(bootstrap, portolan.xds).await else { return };
    assert!(answers(&envoy, "product-service.example", "/", 200).await.contains("Portolan"));
    answers(&envoy, "product-service.example", "/unknown", 503).await;
    assert_eq!(envoy.complaints().await, []);
}

#[tokio::test]
async fn static_clusters_get_endpoints_and_an_unknown_name_gets_none_by_delta() {
    static_clusters(&Envoy::example("static-eds.yaml")).await;
}

#[tokio::test]
async fn static_clusters_get_endpoints_and_an_unknown_name_gets_none_by_state_of_the_world() {
    let delta = Envoy::example("static-eds.yaml");
    assert!(delta.contains("api_type: DELTA_GRPC"));
    static_clusters(&delta.replace("api_type: DELTA_GRPC", "api_type: GRPC")).await;
}

#[tokio::test]
async fn the_printed_bootstrap_carries_traffic() {
    let portolan = Portolan::start("").await;
    let printed = tokio::process::Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(["bootstrap", "envoy", "--xds", &portolan.xds.to_string(), "--admin-bind", "127.0.0.1:9901"])
        .output()
        .await
        .unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let bootstrap = String::from_utf8(printed.stdout).unwrap();
    let bootstrap = bootstrap.replace(&portolan.xds.port().to_string(), "16010");
    let Some(envoy) = Envoy::start_on(&XDS.replaced(&bootstrap, portolan.xds)).await else { return };
    assert!(answers(&envoy, "product-service.example", "/", 200).await.contains("Portolan"));
    assert_eq!(envoy.complaints().await, []);
    until("the client to be listed with what it acknowledged", LIMIT, async || {
        let clients = portolan.json("/api/v1/clients").await.to_string();
        if clients.contains("acknowledged") { Ok(()) } else { Err(clients) }
    })
    .await;
}
