//! A real Spring Cloud application, called through a real Envoy; beside it a real Dubbo 3, which writes into the same folder.

use super::support::{
    envoy::Envoy, portolan::Portolan, programs::Program, servers::prepared, until, zookeeper::ZooKeeper,
};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Waits for an answer of the application, or for none where nobody is to be asked.
async fn until_answered(envoy: &Envoy, expected: (u16, &str)) {
    envoy
        .wait_until(&format!("{expected:?}"), LIMIT, async || match envoy.get("shop.zookeeper", "/").await {
            (status, body) if status == expected.0 && body.contains(expected.1) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spring_application_is_called_while_its_status_is_up() {
    if !prepared(&["zookeeper", "spring", "dubbo3"]).await {
        return;
    }
    let Some(zookeeper) = ZooKeeper::start("zookeeper").await else { return };
    let address = zookeeper.address();
    let portolan = Portolan::start(&format!(
        "registries:\n- name: spring\n  zookeeper: {{ servers: ['{address}'], spring: {{}} }}\n  \
         publish: {{ addresses: {{ loopback: keep }} }}\n"
    ))
    .await;
    let example = Envoy::example("sidecar.yaml");
    let cluster = example.replace("product-service.example", "shop.zookeeper");
    assert_ne!(cluster, example);
    let Some(envoy) = Envoy::start(&cluster, portolan.xds).await else { return };
    let registry = format!("registry=zookeeper://{address}");
    let dubbo = Program::dubbo_provider(3, &[&registry, "mode=instance", "application=dubbo-app"]).await;
    let spring = Program::spring("zookeeper", &[&format!("registry={address}"), "reply=harbour"]).await;
    until_answered(&envoy, (200, "harbour")).await;
    spring.set_status("OUT_OF_SERVICE").await;
    until_answered(&envoy, (503, "")).await;
    spring.set_status("UP").await;
    until_answered(&envoy, (200, "harbour")).await;
    let services = portolan.get("/api/v1/services").await.1;
    assert!(services.contains("shop.zookeeper") && !services.contains("dubbo-app"), "{services}");
    spring.stop().await;
    until_answered(&envoy, (503, "")).await;
    until("no complaint", LIMIT, async || match envoy.complaints().await {
        none if none.is_empty() => Ok(()),
        some => Err(some),
    })
    .await;
    dubbo.stop().await;
}
