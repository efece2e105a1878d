//! Weights that are shifted step by step under load, and instances that come and go meanwhile: no request fails, and no listener is
//! touched.

use super::{GROUP, Gate, LIMIT, World};
use crate::support::traffic::Traffic;
use std::collections::BTreeMap;

const STEPS: u32 = 20;

/// The part of requests, in percent, that go to the second subset.
pub fn routes(second: u32) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: shift }}
spec:
  hosts: [shift.test]
  gateways: [delta, sotw]
  http:
  - route:
    - {{ destination: {{ host: product-service.example, subset: v1 }}, weight: {} }}
    - {{ destination: {{ host: product-service.example, subset: v2 }}, weight: {second} }}
",
        100 - second
    )
}

pub async fn of_weights_under_load_fails_no_request_and_drains_no_listener(world: &World) {
    let mut traffic = Vec::new();
    let mut before = Vec::new();
    for gate in &world.gates {
        gate.answers(&gate.url("/"), &[("host", "shift.test")], (200, "v1 / shift.test")).await;
        before.push(listeners(gate).await);
        traffic.push(Traffic::start_where(&gate.envoy, "shift.test".into(), |body| body.ends_with(" / shift.test")));
    }
    let another = world.upstreams["fast"].address.to_string();
    let _beats = world.nacos.beats(GROUP, &[("new-service", &another)]);
    for step in 1..=STEPS {
        let second = step * 100 / STEPS;
        world.put("shift.yaml", &routes(second));
        // What else happens in a registry meanwhile: a service and instances come and go.
        match step {
            5 => world.nacos.register("new-service", &another, &format!("groupName={GROUP}")).await,
            10 => world.nacos.register("hash-service", &another, &format!("groupName={GROUP}")).await,
            15 => world.nacos.deregister("hash-service", &another, &format!("groupName={GROUP}")).await,
            _ => {}
        }
        for gate in &world.gates {
            gate.envoy.wait_until(&format!("{}: {second} %", gate.way), LIMIT, || has_weight(gate, second)).await;
        }
    }
    for gate in &world.gates {
        let new = format!("http://127.0.0.1:{}/", gate.ports.plain);
        gate.answers(&new, &[("host", "new-service.example")], (200, "fast / new-service.example")).await;
    }
    for traffic in traffic {
        traffic.stop_unharmed(STEPS as usize).await;
    }
    for (gate, before) in world.gates.iter().zip(before) {
        assert_eq!(listeners(gate).await, before, "{}: a listener was touched", gate.way);
        assert_eq!(before["listener_manager.total_listeners_draining"], 0);
        let found = gate.count("shift.test", ("x-any", "1"), 200).await;
        assert_eq!(found, BTreeMap::from([("200 v2".to_owned(), 200)]), "{}", gate.way);
    }
}

/// How often listeners were added, changed, removed or drained.
async fn listeners(gate: &Gate) -> BTreeMap<&'static str, u64> {
    let mut all = BTreeMap::new();
    for name in [
        "listener_manager.listener_added",
        "listener_manager.listener_modified",
        "listener_manager.listener_removed",
        "listener_manager.listener_in_place_updated",
        "listener_manager.total_filter_chains_draining",
        "listener_manager.total_listeners_draining",
    ] {
        all.insert(name, gate.envoy.stat(name).await.unwrap_or_else(|| panic!("Envoy has no {name}")));
    }
    all
}

/// Whether the gateway has these weights in the routes that it uses.
async fn has_weight(gate: &Gate, second: u32) -> Result<(), String> {
    let dump = gate.envoy.config_dump("dynamic_route_configs").await;
    let configs = dump["configs"].as_array().cloned().unwrap_or_default();
    let hosts =
        configs.iter().flat_map(|config| config["route_config"]["virtual_hosts"].as_array().into_iter().flatten());
    let Some(host) = hosts.into_iter().find(|host| host["domains"][0] == "shift.test") else {
        return Err("no host".to_owned());
    };
    let route = &host["routes"][0]["route"];
    let clusters = route["weighted_clusters"]["clusters"].as_array().cloned().unwrap_or_default();
    let has = match second {
        100 => route["cluster"] == "outbound|80|v2|product-service.example" || clusters.len() == 1,
        _ => clusters.iter().any(|cluster| cluster["weight"] == second),
    };
    if has { Ok(()) } else { Err(route.to_string()) }
}
