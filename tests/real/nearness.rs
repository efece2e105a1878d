//! Real Envoys in three zones: instances go zone by zone, and requests move as Envoy's arithmetic says; then zone-aware ones,
//! which know how many of their kind are where.

use crate::{
    scopes::{answers, envoy_of},
    support::{envoy::Envoy, portolan::Portolan, upstream::Upstream},
};
use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);
/// Of so many requests a share is off by a tenth once in some ten thousand runs.
const REQUESTS: usize = 400;

const CONFIG: &str = "envoy:
  cluster_name: '{host}'
  unhealthy: omit
  lb_policy: round_robin
  zones: { own_cluster: local_cluster, min_cluster_size: 1 }
registries:
- name: near
  file: { path: near.yaml }
  publish: { nearness: priority, max_drop: 100%, linger: 0s, addresses: { loopback: keep } }
- name: aware
  file: { path: aware.yaml }
  publish: { nearness: zone_aware, max_drop: 100%, linger: 0s, addresses: { loopback: keep } }
";

/// An Envoy at that place which knows its own cluster.
async fn envoy(region: &str, zone: &str, portolan: &Portolan) -> Option<Arc<Envoy>> {
    let node = format!("  id: {zone}\n  cluster: shop\n  locality: {{ region: {region}, zone: {zone} }}\n");
    let local = "  - name: local_cluster
    type: EDS
    connect_timeout: 1s
    eds_cluster_config: { eds_config: { resource_api_version: V3, ads: {} } }
";
    let (portolans, manager) = ("  clusters:\n", "cluster_manager: { local_cluster_name: local_cluster }\n\nadmin:\n");
    envoy_of(&node, false, portolan, |example| {
        let with = example.replacen(portolans, &format!("{portolans}{local}"), 1).replacen("admin:\n", manager, 1);
        assert_ne!(with, example);
        with
    })
    .await
}

/// Of many requests the share that each instance answers, in percent.
async fn shares(envoy: &Envoy, host: &str) -> BTreeMap<String, f64> {
    let mut shares: BTreeMap<String, f64> = BTreeMap::new();
    for _ in 0..REQUESTS {
        let (status, body) = envoy.get(host, "/").await;
        assert_eq!(status, 200, "{host}: {body}");
        *shares.entry(body).or_default() += 100.0 / REQUESTS as f64;
    }
    shares
}

fn zone_share(shares: &BTreeMap<String, f64>, zone: &str) -> f64 {
    shares.iter().filter(|(instance, _)| instance.starts_with(zone)).map(|(_, share)| share).sum()
}

/// The shares of the zones `a`, `b` and `x`.
async fn check(envoy: &Envoy, host: &str, expected: [f64; 3], what: &str) {
    let found = shares(envoy, host).await;
    for (zone, expected) in ["a", "b", "x"].into_iter().zip(expected) {
        let share = zone_share(&found, zone);
        let close =
            if expected == 0.0 || expected == 100.0 { share == expected } else { (share - expected).abs() < 10.0 };
        assert!(close, "{what}: {zone} should have {expected} % of {host}, and has {share}: {found:?}");
    }
}

async fn has_members(envoy: &Envoy, cluster: &str, healthy: u64, total: u64) {
    let name = |what: &str| format!("cluster.{cluster}.membership_{what}");
    envoy
        .wait_until(&format!("{healthy} of {total} of {cluster}"), LIMIT, async || {
            let found = (envoy.stat(&name("healthy")).await, envoy.stat(&name("total")).await);
            if found == (Some(healthy), Some(total)) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_stay_near_and_go_on_as_zones_fail_and_zone_aware_ones_are_shared_by_the_fleet() {
    const PLACES: [(&str, &str); 6] =
        [("a1", "cn/a"), ("a2", "cn/a"), ("b1", "cn/b"), ("b2", "cn/b"), ("x1", "us/x"), ("x2", "us/x")];
    let mut upstreams = Vec::new();
    for (name, _) in PLACES {
        upstreams.push(Upstream::start(name).await);
    }
    let portolan = Portolan::start(CONFIG).await;
    let write = |file: &str, services: &[(&str, &[usize], &[usize])]| {
        let mut text = String::from("services:\n");
        for (host, instances, down) in services {
            text += &format!("- host: {host}\n  endpoints:\n");
            for at in *instances {
                let health = if down.contains(at) { "unhealthy" } else { "healthy" };
                let (port, locality) = (upstreams[*at].address.port(), PLACES[*at].1);
                text +=
                    &format!("  - {{ address: 127.0.0.1, port: {port}, locality: {locality}, health: {health} }}\n");
            }
        }
        fs::write(portolan.folder().join("new"), text).unwrap();
        fs::rename(portolan.folder().join("new"), portolan.folder().join(file)).unwrap();
    };
    let all = [0, 1, 2, 3, 4, 5];
    write("near.yaml", &[("pay", &all, &[])]);
    write("aware.yaml", &[("orders", &[0, 2, 4], &[])]);
    portolan.ready().await;
    let Some(a) = envoy("cn", "a", &portolan).await else { return };
    let Some(b) = envoy("cn", "b", &portolan).await else { return };
    let Some(x) = envoy("us", "x", &portolan).await else { return };
    for envoy in [&a, &b, &x] {
        answers(envoy, "pay", 200).await;
        answers(envoy, "orders", 200).await;
    }

    // What is near comes first. Half of a zone is down: 140 % of its half is served there, the rest by the next.
    for (down, healthy, of_a, of_b, of_x) in [
        (&[][..], 6, [100.0, 0.0, 0.0], [0.0, 100.0, 0.0], [0.0, 0.0, 100.0]),
        (&[0], 5, [70.0, 30.0, 0.0], [0.0, 100.0, 0.0], [0.0, 0.0, 100.0]),
        (&[0, 1], 4, [0.0, 100.0, 0.0], [0.0, 100.0, 0.0], [0.0, 0.0, 100.0]),
        (&[0, 1, 2], 3, [0.0, 70.0, 30.0], [0.0, 70.0, 30.0], [0.0, 0.0, 100.0]),
        (&[0, 1, 2, 3], 2, [0.0, 0.0, 100.0], [0.0, 0.0, 100.0], [0.0, 0.0, 100.0]),
    ] {
        write("near.yaml", &[("pay", &all, down)]);
        for (envoy, expected) in [(&a, of_a), (&b, of_b), (&x, of_x)] {
            has_members(envoy, "pay", healthy, 6).await;
            check(envoy, "pay", expected, &format!("{down:?} are down")).await;
        }
    }

    // One caller and one instance in each zone: each keeps to its own.
    for (envoy, expected) in [(&a, [100.0, 0.0, 0.0]), (&b, [0.0, 100.0, 0.0]), (&x, [0.0, 0.0, 100.0])] {
        has_members(envoy, "local_cluster", 3, 3).await;
        check(envoy, "orders", expected, "by who is connected").await;
    }
    // A third of the callers with a fifth of the instances: three fifths of their requests stay.
    write("aware.yaml", &[("orders", &[0, 2, 3, 4, 5], &[])]);
    has_members(&a, "orders", 5, 5).await;
    check(&a, "orders", [60.0, 20.0, 20.0], "one of five").await;
    // The callers' service is registered, with half of it in their zone: two fifths stay.
    write("aware.yaml", &[("orders", &[0, 2, 3, 4, 5], &[]), ("shop", &[1, 3], &[])]);
    has_members(&a, "local_cluster", 2, 2).await;
    let share = zone_share(&shares(&a, "orders").await, "a");
    assert!((share - 40.0).abs() < 10.0, "{share}");
    for envoy in [&a, &b, &x] {
        assert_eq!(envoy.complaints().await, []);
    }
}
