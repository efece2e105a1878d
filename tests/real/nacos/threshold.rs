//! A protection threshold that is reached makes every instance count as healthy, until it is left again.

use super::{LIMIT, content, envoys, registry};
use crate::support::{envoy::Envoy, nacos::Nacos, portolan::Portolan, upstream::Upstream};
use std::sync::Arc;

const CLUSTER: &str = "outbound|80||guarded.example";

/// What Portolan says of the service, and how healthy each of its instances is in Envoy.
type State = (bool, Vec<String>);

async fn state(portolan: &Portolan, envoy: &Envoy) -> State {
    let service = portolan.json("/api/v1/services/guarded.example").await;
    let hosts = envoy.hosts(CLUSTER).await;
    let health = |host: &serde_json::Value| host["health_status"]["eds_health_status"].as_str().unwrap().to_owned();
    let mut health: Vec<String> = hosts.as_array().into_iter().flatten().map(health).collect();
    health.sort();
    (service["protected"].as_bool().unwrap(), health)
}

async fn expect(what: &str, portolan: &Portolan, envoys: &[Arc<Envoy>], protected: bool, health: [&str; 2]) {
    let expected = (protected, health.map(str::to_owned).to_vec());
    for envoy in envoys {
        envoy
            .wait_until(what, LIMIT, async || {
                let state = state(portolan, envoy).await;
                if state == expected { Ok(()) } else { Err(format!("{state:?}")) }
            })
            .await;
    }
}

pub async fn is_reached_and_left(nacos: &Nacos) {
    let (stays, comes_and_goes) = (Upstream::start("stays").await, Upstream::start("guest").await);
    let (home, guest) = (stays.address.to_string(), comes_and_goes.address.to_string());
    // Nacos looks after persistent instances itself: it connects to their ports.
    let persistent = "groupName=guarded&ephemeral=false";
    nacos.register("guarded", &home, persistent).await;
    nacos.register("guarded", &guest, persistent).await;
    let portolan = Portolan::start(&format!("registries:\n{}", registry(nacos, "guarded", "400ms", "port: 80"))).await;
    portolan.ready().await;
    let Some(envoys) = envoys("sidecar.yaml", &portolan).await else { return };
    let envoys = &envoys[..];
    expect("both to be healthy", &portolan, envoys, false, ["HEALTHY", "HEALTHY"]).await;
    drop((stays, comes_and_goes));
    // The service is only registered, with no settings of its own: Nacos does not protect it.
    expect("none to be healthy", &portolan, envoys, false, ["UNHEALTHY", "UNHEALTHY"]).await;
    let stays = Upstream::start_on(&home, "stays").await;
    expect("one to be unhealthy", &portolan, envoys, false, ["HEALTHY", "UNHEALTHY"]).await;
    // One of two is healthy: 0.5, which a threshold of 0.5 covers and one of 0.4 does not.
    nacos.protect("guarded", "guarded", 0.5).await;
    expect("protection at 0.5", &portolan, envoys, true, ["HEALTHY", "HEALTHY"]).await;
    nacos.protect("guarded", "guarded", 0.4).await;
    expect("no protection at 0.4", &portolan, envoys, false, ["HEALTHY", "UNHEALTHY"]).await;
    nacos.protect("guarded", "guarded", 0.6).await;
    expect("protection at 0.6", &portolan, envoys, true, ["HEALTHY", "HEALTHY"]).await;
    let back = Upstream::start_on(&guest, "guest").await;
    expect("both to be healthy again", &portolan, envoys, false, ["HEALTHY", "HEALTHY"]).await;
    // Now it has settings: a threshold of 0 is reached where no instance is healthy.
    nacos.protect("guarded", "guarded", 0.0).await;
    drop((stays, back));
    expect("protection at 0", &portolan, envoys, true, ["HEALTHY", "HEALTHY"]).await;
    content(envoys).await;
}
