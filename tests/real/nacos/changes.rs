//! Whatever changes of an instance is in Envoy within two polls.

use super::{answers, content, envoys, registry, until_shown, weights};
use crate::support::{envoy::Envoy, nacos::Nacos, portolan::Portolan, upstream::Upstream};
use std::{collections::BTreeMap, sync::Arc};

const SERVICE: &str = "product-service";
const CLUSTER: &str = "outbound|80||product-service.example";

/// The whole of an instance, because what a change does not say becomes a default.
fn settings(weight: f64, version: &str, enabled: bool) -> String {
    format!("groupName=changes&weight={weight}&enabled={enabled}&metadata={{\"version\":\"{version}\"}}")
}

/// Waits until both Envoys show these ports and weights.
async fn expect(what: &str, portolan: &Portolan, envoys: &[Arc<Envoy>], expected: &[(u16, u64)]) {
    let expected: BTreeMap<u64, u64> = expected.iter().map(|(port, weight)| (u64::from(*port), *weight)).collect();
    until_shown(what, portolan, envoys, expected, async |envoy| weights(envoy, CLUSTER).await).await;
}

/// The label `version` of each instance of the service, as Envoy can route by it, by port.
async fn versions(envoy: &Envoy) -> BTreeMap<u64, String> {
    let dump = envoy.config_dump("dynamic_endpoint_configs").await;
    let configs = dump["configs"].as_array().cloned().unwrap_or_default();
    let ours = configs.iter().map(|config| &config["endpoint_config"]).filter(|c| c["cluster_name"] == CLUSTER);
    let localities = ours.flat_map(|config| config["endpoints"].as_array().into_iter().flatten());
    let endpoints = localities.flat_map(|locality| locality["lb_endpoints"].as_array().into_iter().flatten());
    let pair = |endpoint: &serde_json::Value| {
        let port = endpoint["endpoint"]["address"]["socket_address"]["port_value"].as_u64();
        let version = endpoint["metadata"]["filter_metadata"]["envoy.lb"]["version"].as_str();
        (port.unwrap(), version.unwrap_or_default().to_owned())
    };
    endpoints.map(pair).collect()
}

pub async fn reach_envoy_until_shown(nacos: &Nacos) {
    let (first, second) = (Upstream::start("first").await, Upstream::start("second").await);
    let (one, other) = (first.address.to_string(), second.address.to_string());
    let (port, other_port) = (first.address.port(), second.address.port());
    let _beats = nacos.beats("changes", &[(SERVICE, &one), (SERVICE, &other), ("another", &one)]);
    // A registry that lists nothing at all any more would be held back: there is always another service.
    nacos.register("another", &one, "groupName=changes").await;
    let portolan = Portolan::start(&format!("registries:\n{}", registry(nacos, "changes", "800ms", "port: 80"))).await;
    portolan.ready().await;
    let Some(envoys) = envoys("sidecar.yaml", &portolan).await else { return };
    let envoys = &envoys[..];

    nacos.register(SERVICE, &one, &settings(1.0, "v1", true)).await;
    expect("registered", &portolan, envoys, &[(port, 100)]).await;
    answers(envoys, SERVICE, (200, Some("first"))).await;
    nacos.register(SERVICE, &other, &settings(1.0, "v1", true)).await;
    expect("registered a second", &portolan, envoys, &[(port, 100), (other_port, 100)]).await;
    answers(envoys, SERVICE, (200, Some("second"))).await;

    nacos.change(SERVICE, &other, &settings(2.5, "v1", true)).await;
    expect("weight", &portolan, envoys, &[(port, 100), (other_port, 250)]).await;

    nacos.change(SERVICE, &other, &settings(2.5, "v2", true)).await;
    let expected = BTreeMap::from([(u64::from(port), "v1".to_owned()), (u64::from(other_port), "v2".to_owned())]);
    until_shown("metadata", &portolan, envoys, expected, versions).await;

    nacos.change(SERVICE, &other, &settings(2.5, "v2", false)).await;
    expect("disabled", &portolan, envoys, &[(port, 100)]).await;
    for envoy in envoys {
        for _ in 0..10 {
            assert_eq!(envoy.get(SERVICE, "/").await, (200, "first".to_owned()));
        }
    }
    nacos.change(SERVICE, &other, &settings(2.5, "v2", true)).await;
    expect("enabled", &portolan, envoys, &[(port, 100), (other_port, 250)]).await;
    answers(envoys, SERVICE, (200, Some("second"))).await;

    nacos.deregister(SERVICE, &one, "groupName=changes").await;
    expect("deregistered", &portolan, envoys, &[(other_port, 250)]).await;
    nacos.deregister(SERVICE, &other, "groupName=changes").await;
    expect("deregistered the last", &portolan, envoys, &[]).await;
    answers(envoys, SERVICE, (503, None)).await;
    nacos.register(SERVICE, &one, &settings(1.0, "v3", true)).await;
    expect("registered again", &portolan, envoys, &[(port, 100)]).await;
    answers(envoys, SERVICE, (200, Some("first"))).await;
    content(envoys).await;
}
