//! A subset that gives its place to another one under load, in one document with the routes that name it: no request fails,
//! though the old cluster goes in the moment in which the new one comes.

use super::{BOTH, Gate, LIMIT, World};
use crate::support::{traffic::Traffic, wrong::routes};

const TURNS: usize = 20;

/// A route to one subset, and the rule that has just this one.
fn document(turn: usize) -> String {
    let (service, version) = ("turns-service.example", ["v1", "v2"][turn % 2]);
    let route = format!("{{ route: [{{ destination: {{ host: {service}, subset: turn-{turn} }} }}] }}");
    format!(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: subsets }}
spec: {{ host: {service}, subsets: [{{ name: turn-{turn}, labels: {{ side: {version} }} }}] }}
{}",
        routes("subsets", "subsets.test", BOTH, &route)
    )
}

pub async fn that_give_way_to_others_under_load_fail_no_request(world: &World) {
    world.put("subsets.yaml", &document(0));
    let mut traffic = Vec::new();
    for gate in &world.gates {
        gate.envoy.wait_until(gate.way, LIMIT, || names(gate, 0)).await;
        traffic
            .push(Traffic::start_where(&gate.envoy, "subsets.test".into(), |body| body.ends_with(" / subsets.test")));
    }
    for turn in 1..=TURNS {
        world.put("subsets.yaml", &document(turn));
        for gate in &world.gates {
            gate.envoy.wait_until(&format!("{}: turn {turn}", gate.way), LIMIT, || names(gate, turn)).await;
        }
    }
    for traffic in traffic {
        traffic.stop_unharmed(TURNS).await;
    }
    std::fs::remove_file(world.routes.path().join("subsets.yaml")).unwrap();
    for gate in &world.gates {
        gate.answers(&gate.url("/"), &[("host", "subsets.test")], (404, "")).await;
    }
}

/// Whether the gateway uses the route of that turn, and has its cluster and no older one.
async fn names(gate: &Gate, turn: usize) -> Result<(), String> {
    let routes = gate.envoy.config_dump("dynamic_route_configs").await.to_string();
    let cluster = |turn: usize| format!("|turn-{turn}|turns-service.example\"");
    if !routes.contains(&cluster(turn)) {
        return Err(format!("no route to turn {turn}"));
    }
    let clusters = gate.envoy.config_dump("dynamic_active_clusters").await.to_string();
    match turn.checked_sub(1).filter(|before| clusters.contains(&cluster(*before))) {
        Some(before) => Err(format!("the cluster of turn {before} is there")),
        None => Ok(()),
    }
}
