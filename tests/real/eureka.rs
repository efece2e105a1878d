//! What a real Eureka holds, a real Envoy carries: through changes, and through a restart that forgets everything. And, run by
//! `tests/long/eureka`, what reading 1,000 applications costs.

use crate::support::{
    envoy::Envoy,
    eureka::Eureka,
    portolan::Portolan,
    servers::free_port,
    tls::{ONE, TlsFront},
    traffic::Traffic,
    until,
    upstream::Upstream,
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(60);
/// Longer than every timeout in the configuration.
const OUTAGE: Duration = Duration::from_secs(4);
const HOST: &str = "orders.example";

fn registry(eureka: &Eureka, more: &str) -> String {
    format!(
        "envoy: {{ cluster_name: '{{host}}' }}\nregistries:\n- name: spring\n  eureka: {{ servers: '{}', timeout: 2s, {more} }}\n  publish: {{ host: '{{service}}.example', addresses: {{ loopback: keep }}, aliases: '{{label:vip}}.vip.example', hold: 60s }}\n",
        eureka.url()
    )
}

/// What the registry's line in the admin interface says.
async fn status(portolan: &Portolan) -> Value {
    portolan.json("/api/v1/registries").await[0].clone()
}

async fn until_status(portolan: &Portolan, what: &str, holds: impl Fn(&Value) -> bool) {
    until(what, LIMIT, || async {
        let status = status(portolan).await;
        if holds(&status) { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

/// Waits until Envoy has so many instances, and gives the time that took.
async fn until_hosts(envoy: &Envoy, host: &str, expected: usize) -> Duration {
    let started = Instant::now();
    until(&format!("{expected} instances of {host}"), LIMIT, || async {
        let count = envoy.hosts(host).await.as_array().map_or(0, Vec::len);
        if count == expected { Ok(()) } else { Err(count) }
    })
    .await;
    started.elapsed()
}

#[tokio::test]
async fn traffic_goes_on_through_changes_and_a_restart_that_forgets_everything() {
    let Some(mut eureka) = Eureka::start().await else { return };
    let portolan = Portolan::start(&registry(&eureka, "period: 200ms")).await;
    let Some(envoy) = Envoy::start(&Envoy::example("authority.yaml"), portolan.xds).await else { return };
    let envoy = Arc::new(envoy);
    let mut upstreams = Vec::new();
    for count in 1..=5 {
        let upstream = Upstream::start("orders").await;
        eureka.register("ORDERS", &upstream.address.to_string(), json!({})).await;
        let took = until_hosts(&envoy, HOST, count).await;
        eprintln!("instance {count} was with Envoy {took:.0?} after its registration");
        upstreams.push(upstream);
    }
    until_hosts(&envoy, "orders.vip.example", 5).await;
    let traffic = Traffic::start(&envoy, HOST.into(), "orders");
    takes_no_traffic_when_taken_out(&eureka, &envoy, &upstreams).await;

    eureka.kill().await;
    until_status(&portolan, "it to be stale", |status| status["state"] == "stale").await;
    tokio::time::sleep(OUTAGE).await;
    assert_eq!(envoy.hosts(HOST).await.as_array().map_or(0, Vec::len), 5);
    eureka.restart().await;
    until_status(&portolan, "all to be held", |status| status["hold"]["endpoints"] == 5).await;
    assert_eq!(envoy.hosts(HOST).await.as_array().map_or(0, Vec::len), 5);
    for upstream in &upstreams {
        tokio::time::sleep(Duration::from_millis(300)).await;
        eureka.register("ORDERS", &upstream.address.to_string(), json!({})).await;
    }
    until_status(&portolan, "all to be back", |status| status["endpoints"] == 5 && status["hold"].is_null()).await;
    until_hosts(&envoy, HOST, 5).await;
    traffic.stop_unharmed(200).await;
    assert_eq!(envoy.complaints().await, []);
}

/// An operator takes one out of service and back; one deregisters and comes back.
async fn takes_no_traffic_when_taken_out(eureka: &Eureka, envoy: &Envoy, upstreams: &[Upstream]) {
    let [one, other] = [&upstreams[0], &upstreams[1]].map(|upstream| upstream.address.to_string());
    eureka.set_status("ORDERS", &one, "OUT_OF_SERVICE").await;
    until_hosts(envoy, HOST, 4).await;
    eureka.clear_status("ORDERS", &one).await;
    until_hosts(envoy, HOST, 5).await;
    eureka.deregister("ORDERS", &other).await;
    until_hosts(envoy, HOST, 4).await;
    eureka.register("ORDERS", &other, json!({})).await;
    until_hosts(envoy, HOST, 5).await;
}

/// An application that has a secure port alone, behind a gateway without any manifest: `envoy.services` has TLS for it.
#[tokio::test]
async fn a_secure_application_gets_tls_by_the_configuration_alone() {
    let Some(eureka) = Eureka::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    ONE.write(folder.path());
    let upstream = Upstream::start("vault").await;
    let front = TlsFront::start(&ONE, None, upstream.address).await;
    let secure =
        json!({"port": {"$": 80, "@enabled": "false"}, "securePort": {"$": front.address.port(), "@enabled": "true"}});
    eureka.register("VAULT", &front.address.to_string(), secure).await;
    let listen = free_port();
    let portolan = Portolan::start(&format!(
        "envoy:
  services:
  - match: {{ name: VAULT }}
    traffic_policy:
      tls: {{ mode: SIMPLE, sni: localhost, subjectAltNames: [localhost], caCertificates: '{}' }}
gateways:
- {{ name: edge, listen: '127.0.0.1:{listen}' }}
registries:
- name: spring
  eureka: {{ servers: '{}', period: 200ms }}
  publish: {{ host: '{{service}}.example', addresses: {{ loopback: keep }} }}
",
        folder.path().join("ca.pem").display(),
        eureka.url()
    ))
    .await;
    for words in [&["--gateway"][..], &["--gateway", "--sotw"]] {
        let listener = ([127, 0, 0, 1], listen).into();
        let Some(envoy) = Envoy::start_dynamic(words, portolan.xds, listener).await else { return };
        for (host, path) in [("vault.example", "/"), ("anything.test", "/VAULT/")] {
            envoy
                .wait_until(&format!("{words:?}: an answer of {host}{path}"), LIMIT, async || {
                    match envoy.get(host, path).await {
                        (200, body) if body.starts_with("vault") => Ok(()),
                        other => Err(format!("{other:?}")),
                    }
                })
                .await;
        }
        assert_eq!(envoy.complaints().await, []);
    }
}

/// A metric without labels, or all of one name together.
async fn metric(portolan: &Portolan, name: &str) -> f64 {
    let (_, text) = portolan.get("/metrics").await;
    let values = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
    values.filter_map(|value| value.parse::<f64>().ok()).sum()
}

#[tokio::test]
#[ignore = "a figure, no test: run by tests/long/eureka"]
async fn an_unchanged_reading_of_a_thousand_applications() {
    // As long as its changes are told they are part of every delta: here they are forgotten at once.
    let Some(eureka) = Eureka::start_with(&[("EUREKA_DELTA_KEEP_MS", "1000")]).await else { return };
    let instances = (0..3000_u32).map(|n| (format!("APP-{:04}", n / 3), format!("10.1.{}.{}:8080", n >> 8, n & 255)));
    let metadata = json!({"metadata": {"version": "v1", "zone": "z1", "management.port": "8081"}});
    let register = async |(app, address): (String, String)| eureka.register(&app, &address, metadata.clone()).await;
    let registered: usize = stream::iter(instances).map(register).buffer_unordered(8).count().await;
    assert_eq!(registered, 3000);
    tokio::time::sleep(Duration::from_secs(3)).await;
    // A server that is asked while something changes may keep that answer until there is another change.
    register(("APP-0000".into(), "10.1.0.0:8080".into())).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (how, period) in [("delta", "delta: true"), ("whole lists", "delta: false")] {
        let portolan = Portolan::start(&registry(&eureka, &format!("period: 200ms, {period}"))).await;
        until_status(&portolan, "all to be there", |status| status["endpoints"] == 3000).await;
        let first = metric(&portolan, "portolan_process_cpu_seconds_total").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (cpu, rounds) = (
            metric(&portolan, "portolan_process_cpu_seconds_total").await,
            metric(&portolan, "portolan_registry_reads_total{").await,
        );
        tokio::time::sleep(Duration::from_secs(10)).await;
        let rounds = metric(&portolan, "portolan_registry_reads_total{").await - rounds;
        let cpu = metric(&portolan, "portolan_process_cpu_seconds_total").await - cpu;
        let cost = status(&portolan).await["last_cost"].clone();
        let each = cpu * 1000.0 / rounds;
        eprintln!("{how}: {first:.2} s CPU to begin with; {each:.2} ms CPU in each of {rounds} rounds; {cost}");
    }
}
