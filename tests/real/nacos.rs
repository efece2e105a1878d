//! What a real Nacos holds, real Envoys carry: changes within two polls, through outages, restarts and thresholds.
//!
//! One server of each generation walks through all cases, because starting one costs more than any of them. Each case has
//! a group of its own there, a Portolan of its own, and two Envoys: one by delta, one by state of the world.

mod changes;
mod outage;
mod threshold;

use crate::support::{envoy::Envoy, nacos::Nacos, portolan::Portolan};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(60);

async fn walk(script: &'static str) {
    let started = Instant::now();
    let Some(mut nacos) = Nacos::start(script).await else { return };
    eprintln!("{script}: ready after {:.1?}", started.elapsed());
    changes::reach_envoy_until_shown(&nacos).await;
    eprintln!("{script}: changes done after {:.1?}", started.elapsed());
    threshold::is_reached_and_left(&nacos).await;
    eprintln!("{script}: threshold done after {:.1?}", started.elapsed());
    outage::is_survived(&mut nacos).await;
    eprintln!("{script}: outages done after {:.1?}", started.elapsed());
}

#[tokio::test]
async fn nacos_2_is_followed_and_survived() {
    walk("nacos2").await;
}

#[tokio::test]
async fn nacos_3_is_followed_and_survived() {
    walk("nacos3").await;
}

/// A registry of the configuration that reads one group. Nacos' own lists are up to 600 ms late (measured on both), so a
/// test that counts polls must not poll as fast as that.
fn registry(nacos: &Nacos, group: &str, period: &str, publish: &str) -> String {
    format!(
        "- name: {group}\n  nacos: {{ servers: ['{}'], groups: [{group}], period: {period}, timeout: 500ms }}\n  publish: {{ host: '{{service}}.example', addresses: {{ loopback: keep }}, {publish} }}\n",
        nacos.url()
    )
}

/// One Envoy by delta and one by state of the world. `None` where there is none.
pub async fn envoys(example: &str, portolan: &Portolan) -> Option<[Arc<Envoy>; 2]> {
    let delta = Envoy::example(example);
    let sotw = delta.replace("api_type: DELTA_GRPC", "api_type: GRPC");
    assert_ne!(delta, sotw);
    let delta = Envoy::start(&delta, portolan.xds).await?;
    let sotw = Envoy::start(&sotw, portolan.xds).await?;
    Some([Arc::new(delta), Arc::new(sotw)])
}

/// Waits until all Envoys show what is expected, and prints how many lists of the only registry that took.
async fn until_shown<T: PartialEq + std::fmt::Debug>(
    what: &str,
    portolan: &Portolan,
    envoys: &[Arc<Envoy>],
    expected: T,
    show: impl AsyncFn(&Envoy) -> T,
) {
    let (started, mut lists) = (Instant::now(), BTreeSet::new());
    loop {
        lists.insert(portolan.json("/api/v1/registries").await[0]["heard_at"].to_string());
        // The first was there before.
        let polls = lists.len() - 1;
        let mut shown = Vec::new();
        for envoy in envoys {
            shown.push(show(envoy).await);
        }
        if shown.iter().all(|shown| *shown == expected) {
            return eprintln!("{what}: {polls} polls, {:.0?}", started.elapsed());
        }
        assert!(
            started.elapsed() < LIMIT,
            "{what}: {polls} polls, {:?} later Envoys show {shown:?}, not {expected:?}",
            started.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The weight that Envoy has for each endpoint of a cluster, by its port.
async fn weights(envoy: &Envoy, cluster: &str) -> BTreeMap<u64, u64> {
    let hosts = envoy.hosts(cluster).await;
    let pair = |host: &serde_json::Value| {
        let port = host["address"]["socket_address"]["port_value"].as_u64();
        (port.unwrap(), host["weight"].as_u64().unwrap())
    };
    hosts.as_array().into_iter().flatten().map(pair).collect()
}

/// Waits until a request through each Envoy is answered with that status and body; `None` is any body.
async fn answers(envoys: &[Arc<Envoy>], host: &str, expected: (u16, Option<&str>)) {
    for envoy in envoys {
        envoy
            .wait_until(&format!("{host} to answer {expected:?}"), LIMIT, async || {
                let (status, body) = envoy.get(host, "/").await;
                let right = status == expected.0 && expected.1.is_none_or(|expected| body == expected);
                if right { Ok(()) } else { Err(format!("{status} {body}")) }
            })
            .await;
    }
}

/// Asserts that for no Envoy something was refused, timed out or is still awaited.
pub async fn content(envoys: &[Arc<Envoy>]) {
    for envoy in envoys {
        assert_eq!(envoy.complaints().await, []);
    }
}
