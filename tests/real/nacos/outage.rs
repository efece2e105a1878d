//! Nacos is killed: Envoys go on. It comes back with its data: nothing happens. It comes back empty: Envoys go on for as
//! long as the policy says, or until the instances have registered again.

use super::{LIMIT, content, envoys, registry};
use crate::support::{envoy::Envoy, nacos::Nacos, portolan::Portolan, traffic::Traffic, until, upstream::Upstream};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Longer than every timeout in the configuration, and than what the catalog takes for a lost packet.
const OUTAGE: Duration = Duration::from_secs(6);
const HOLD: Duration = Duration::from_secs(6);
/// A registry each, so that each has a hold of its own: how many instances of a service, and what they answer.
const REGISTRIES: [(&str, usize); 3] = [("few", 5), ("many", 50), ("again", 5)];

/// What a registry's line in the admin interface says.
async fn status(portolan: &Portolan, name: &str) -> serde_json::Value {
    let all = portolan.json("/api/v1/registries").await;
    all.as_array().unwrap().iter().find(|r| r["name"] == name).unwrap().clone()
}

async fn until_all_are(portolan: &Portolan, state: &str) {
    until(&format!("all registries to be {state}"), LIMIT, || async {
        let all = portolan.json("/api/v1/registries").await;
        let right = all.as_array().unwrap().iter().all(|registry| registry["state"] == state);
        if right { Ok(()) } else { Err(all.to_string()) }
    })
    .await;
}

/// How many instances each Envoy has.
async fn counts(envoys: &[Arc<Envoy>], host: &str) -> Vec<usize> {
    let mut counts = Vec::new();
    for envoy in envoys {
        counts.push(envoy.hosts(host).await.as_array().map_or(0, Vec::len));
    }
    counts
}

async fn until_counts(envoys: &[Arc<Envoy>], host: &str, expected: usize) {
    until(&format!("{expected} instances of {host}"), LIMIT, || async {
        let counts = counts(envoys, host).await;
        if counts.iter().all(|count| *count == expected) { Ok(()) } else { Err(counts) }
    })
    .await;
}

fn traffic(envoys: &[Arc<Envoy>], name: &'static str) -> Vec<Traffic> {
    let host: &'static str = host(name).leak();
    envoys.iter().map(|envoy| Traffic::start(envoy, host, name)).collect()
}

async fn stop_unharmed(traffic: Vec<Traffic>) {
    for traffic in traffic {
        traffic.stop_unharmed(100).await;
    }
}

fn host(name: &str) -> String {
    format!("{name}.example")
}

fn persistent(group: &str) -> String {
    format!("groupName={group}&ephemeral=false")
}

pub async fn is_survived(nacos: &mut Nacos) {
    let mut upstreams: Vec<Vec<Upstream>> = Vec::new();
    let mut config = String::from("envoy: { cluster_name: '{host}' }\nregistries:\n");
    for (name, count) in REGISTRIES {
        let mut instances = Vec::new();
        for _ in 0..count {
            let upstream = Upstream::start(name).await;
            nacos.register(name, &upstream.address.to_string(), &persistent(name)).await;
            instances.push(upstream);
        }
        upstreams.push(instances);
        config += &registry(nacos, name, "400ms", &format!("port: 80, hold: {}s", HOLD.as_secs()));
    }
    let portolan = Portolan::start(&config).await;
    portolan.ready().await;
    let Some(envoys) = envoys("authority.yaml", &portolan).await else { return };
    let envoys = &envoys[..];
    for (name, count) in REGISTRIES {
        until_counts(envoys, &host(name), count).await;
    }

    let steady: Vec<Vec<Traffic>> = REGISTRIES.iter().map(|(name, _)| traffic(envoys, name)).collect();
    comes_back_with_its_data(nacos, &portolan, envoys).await;
    comes_back_empty(nacos, &portolan, envoys, steady, &upstreams[2]).await;
    content(envoys).await;
}

async fn comes_back_with_its_data(nacos: &mut Nacos, portolan: &Portolan, envoys: &[Arc<Envoy>]) {
    nacos.kill().await;
    until_all_are(portolan, "stale").await;
    tokio::time::sleep(OUTAGE).await;
    for (name, count) in REGISTRIES {
        let status = status(portolan, name).await;
        assert_eq!(status["state"], "stale", "{status}");
        let error = status["scopes"][0]["error"].to_string();
        assert!(error.contains(&format!("cannot reach {}", nacos.url())), "{status}");
        assert_eq!(counts(envoys, &host(name)).await, [count, count]);
    }
    nacos.restart().await;
    until_all_are(portolan, "synced").await;
    for (name, count) in REGISTRIES {
        let status = status(portolan, name).await;
        assert_eq!((&status["endpoints"], &status["hold"]), (&count.into(), &serde_json::Value::Null), "{status}");
        assert_eq!(counts(envoys, &host(name)).await, [count, count]);
    }
}

/// `few` and `many` stay away for good; the instances of `again` register again one by one.
async fn comes_back_empty(
    nacos: &mut Nacos,
    portolan: &Portolan,
    envoys: &[Arc<Envoy>],
    steady: Vec<Vec<Traffic>>,
    upstreams: &[Upstream],
) {
    nacos.kill().await;
    until_all_are(portolan, "stale").await;
    tokio::time::sleep(OUTAGE).await;
    nacos.restart_empty().await;
    let mut steady = steady.into_iter();
    let (few, many, again) = (steady.next().unwrap(), steady.next().unwrap(), steady.next().unwrap());
    tokio::join!(
        held_for_its_time(portolan, envoys, REGISTRIES[0], few),
        held_for_its_time(portolan, envoys, REGISTRIES[1], many),
        registered_again(nacos, portolan, envoys, upstreams, again),
    );
}

/// The beginning of a registry's hold.
async fn held(portolan: &Portolan, name: &str, count: usize) -> Instant {
    until(&format!("{name} to be held"), LIMIT, || async {
        let status = status(portolan, name).await;
        if status["hold"]["endpoints"] == count { Ok(Instant::now()) } else { Err(status.to_string()) }
    })
    .await
}

async fn held_for_its_time(
    portolan: &Portolan,
    envoys: &[Arc<Envoy>],
    (name, count): (&'static str, usize),
    steady: Vec<Traffic>,
) {
    let since = held(portolan, name, count).await;
    while since.elapsed() < HOLD - Duration::from_millis(1500) {
        assert_eq!(counts(envoys, &host(name)).await, [count, count], "{:?} into the hold", since.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stop_unharmed(steady).await;
    until_counts(envoys, &host(name), 0).await;
    let took = since.elapsed();
    eprintln!("{name}: {count} instances were held for {took:.1?}");
    // It had begun a little before it was seen.
    assert!(took > HOLD - Duration::from_millis(500) && took < HOLD + Duration::from_secs(3), "{took:?}");
}

async fn registered_again(
    nacos: &Nacos,
    portolan: &Portolan,
    envoys: &[Arc<Envoy>],
    upstreams: &[Upstream],
    steady: Vec<Traffic>,
) {
    let (name, count) = REGISTRIES[2];
    held(portolan, name, count).await;
    for upstream in upstreams {
        nacos.register_patiently(name, &upstream.address.to_string(), &persistent(name)).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    until(&format!("{name} to be as before"), LIMIT, || async {
        let status = status(portolan, name).await;
        let whole = status["endpoints"] == count && status["hold"].is_null() && status["state"] == "synced";
        if whole { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    until_counts(envoys, &host(name), count).await;
    stop_unharmed(steady).await;
}
