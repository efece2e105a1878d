//! What a real Consul holds, and what was written by API, a real Envoy carries and an Istiod has: through registration, a check
//! that fails, maintenance and deregistration. How Portolan as a whole comes to its Consul: by a token's file, by variables.

use crate::support::{
    consul::Consul, envoy::Envoy, http, judge::Judge, portolan::Portolan, traffic::Traffic, until, upstream::Upstream,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(60);
const HOST: &str = "orders.example";

/// Waits until Envoy has so many healthy instances, and gives the time that took.
async fn until_serving(envoy: &Envoy, host: &str, expected: usize) -> Duration {
    let started = Instant::now();
    until(&format!("{expected} instances of {host}"), LIMIT, || async {
        let hosts = envoy.hosts(host).await;
        let healthy = |host: &&Value| host["health_status"]["eds_health_status"] == "HEALTHY";
        let count = hosts.as_array().map_or(0, |hosts| hosts.iter().filter(healthy).count());
        if count == expected { Ok(()) } else { Err(hosts) }
    })
    .await;
    started.elapsed()
}

#[tokio::test]
async fn an_envoy_follows_what_happens_in_consul() {
    let Some(consul) = Consul::start().await else { return };
    let config = format!(
        "envoy: {{ cluster_name: '{{host}}' }}\nregistries:\n- name: consul\n  consul: {{ servers: '{}' }}\n  publish: {{ host: '{{service}}.example', addresses: {{ loopback: keep }} }}\n",
        consul.url()
    );
    let portolan = Portolan::start(&config).await;
    let Some(envoy) = Envoy::start(&Envoy::example("authority.yaml"), portolan.xds).await else { return };
    let envoy = Arc::new(envoy);
    let to = &consul.writer;
    let mut upstreams = Vec::new();
    for count in 1..=3 {
        let upstream = Upstream::start("orders").await;
        let service = json!({
            "ID": format!("orders-{count}"), "Name": "orders", "Address": "127.0.0.1", "Port": upstream.address.port(),
            "Check": {"CheckID": format!("c-{count}"), "TTL": "600s", "Status": "passing"},
        });
        let started = Instant::now();
        to.put("/v1/agent/service/register", service).await;
        until_serving(&envoy, HOST, count).await;
        eprintln!("instance {count} was with Envoy {:.0?} after its registration", started.elapsed());
        upstreams.push(upstream);
    }
    let traffic = Traffic::start(&envoy, HOST.into(), "orders");
    to.put("/v1/agent/check/fail/c-1", json!(null)).await;
    eprintln!("a check that fails: {:.0?}", until_serving(&envoy, HOST, 2).await);
    to.put("/v1/agent/check/pass/c-1", json!(null)).await;
    until_serving(&envoy, HOST, 3).await;
    to.put("/v1/agent/service/maintenance/orders-2?enable=true", json!(null)).await;
    eprintln!("maintenance: {:.0?}", until_serving(&envoy, HOST, 2).await);
    to.put("/v1/agent/service/maintenance/orders-2?enable=false", json!(null)).await;
    until_serving(&envoy, HOST, 3).await;
    to.put("/v1/agent/service/deregister/orders-3", json!(null)).await;
    eprintln!("deregistration: {:.0?}", until_serving(&envoy, HOST, 2).await);
    traffic.stop_unharmed(10).await;
    assert_eq!(envoy.complaints().await, []);
}

#[tokio::test]
async fn an_istiod_follows_what_happens_in_consul() {
    let Some(consul) = Consul::start().await else { return };
    let config = format!(
        "registries:\n- name: consul\n  consul: {{ servers: '{}' }}\n  publish: {{ host: '{{service}}.example', max_drop: 100%, linger: 0s }}\n",
        consul.url()
    );
    let portolan = Portolan::start(&config).await;
    let Some(judge) = Judge::start(&[portolan.xds]).await else { return };
    judge.in_sync().await;
    let to = &consul.writer;
    let serves = async |what: &str, expected: &[&str]| {
        let started = Instant::now();
        let right = |entries: &BTreeMap<String, Value>| {
            let entry = entries.values().find(|entry| entry["spec"]["hosts"] == json!([HOST]));
            let endpoints = entry.and_then(|entry| entry["spec"]["endpoints"].as_array().cloned()).unwrap_or_default();
            let mut addresses: Vec<&str> = endpoints.iter().filter_map(|e| e["address"].as_str()).collect();
            addresses.sort();
            addresses == expected
        };
        judge.wait_for(what, LIMIT, right).await;
        eprintln!("{what} was with the Istiod after {:.0?}", started.elapsed());
    };
    for (count, expected) in
        [(1, &["10.0.0.1"][..]), (2, &["10.0.0.1", "10.0.0.2"]), (3, &["10.0.0.1", "10.0.0.2", "10.0.0.3"])]
    {
        let service = json!({
            "ID": format!("orders-{count}"), "Name": "orders", "Address": format!("10.0.0.{count}"), "Port": 80,
            "Check": {"CheckID": format!("c-{count}"), "TTL": "600s", "Status": "passing"},
        });
        to.put("/v1/agent/service/register", service).await;
        serves("a registration", expected).await;
    }
    to.put("/v1/agent/check/fail/c-1", json!(null)).await;
    serves("a check that fails", &["10.0.0.2", "10.0.0.3"]).await;
    to.put("/v1/agent/check/pass/c-1", json!(null)).await;
    serves("a check that passes", &["10.0.0.1", "10.0.0.2", "10.0.0.3"]).await;
    to.put("/v1/agent/service/maintenance/orders-2?enable=true", json!(null)).await;
    serves("maintenance", &["10.0.0.1", "10.0.0.3"]).await;
    to.put("/v1/agent/service/maintenance/orders-2?enable=false", json!(null)).await;
    serves("its end", &["10.0.0.1", "10.0.0.2", "10.0.0.3"]).await;
    to.put("/v1/agent/service/deregister/orders-3", json!(null)).await;
    serves("a deregistration", &["10.0.0.1", "10.0.0.2"]).await;
    for count in [1, 2] {
        to.put(&format!("/v1/agent/service/deregister/orders-{count}"), json!(null)).await;
    }
    serves("the last deregistration", &[]).await;
}

#[tokio::test]
async fn a_token_is_read_again_when_its_file_changes() {
    const MANAGEMENT: &str = "11111111-2222-3333-4444-555555555555";
    let tokens = json!({"initial_management": MANAGEMENT, "agent": MANAGEMENT});
    let acl = json!({"enabled": true, "default_policy": "deny", "tokens": tokens});
    let Some(consul) = Consul::start_with(json!({"acl": acl, "primary_datacenter": "dc1"})).await else { return };
    let manager = consul.writer.with_token(MANAGEMENT);
    let instance =
        |port: u16| json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "orders", "Port": port}});
    manager.register(instance(80)).await;
    let rules = "service_prefix \"\" { policy = \"read\" }\nnode_prefix \"\" { policy = \"read\" }";
    manager.put("/v1/acl/policy", json!({"Name": "read", "Rules": rules})).await;
    let made = async || {
        let made = manager.put("/v1/acl/token", json!({"Policies": [{"Name": "read"}]})).await;
        let made: Value = serde_json::from_str(&made).unwrap();
        ["SecretID", "AccessorID"].map(|key| made[key].as_str().unwrap().to_owned())
    };
    let ([first, accessor], [second, _]) = (made().await, made().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let put = |token: &str| {
        let new = folder.path().join("token.new");
        std::fs::write(&new, format!("{token}\n")).unwrap();
        std::fs::rename(new, &file).unwrap();
    };
    put(&first);
    let config = format!(
        "registries:\n- name: consul\n  consul: {{ servers: '{}', wait: 1s, token: '${{file:{}}}' }}\n  publish: {{ host: '{{service}}.example' }}\n",
        consul.url(),
        file.display()
    );
    let portolan = Portolan::start(&config).await;
    portolan.ready().await;
    let shown = async |what: &str, state: &str, port: u16| {
        until(what, LIMIT, async || {
            let registry = portolan.json("/api/v1/registries").await[0].clone();
            let service = portolan.json(&format!("/api/v1/services/{HOST}")).await;
            let found = &service["instances"][0];
            if registry["state"] == state && found.to_string().contains(&port.to_string()) {
                Ok(())
            } else {
                Err((registry, service))
            }
        })
        .await;
    };
    shown("the service", "synced", 80).await;
    let gone = format!("{}/v1/acl/token/{accessor}", consul.url());
    let deleted = http::client().delete(gone).header("x-consul-token", MANAGEMENT).send().await.unwrap();
    assert_eq!(deleted.status(), 200);
    shown("that the token is refused, and the service stays", "stale", 80).await;
    manager.register(instance(81)).await;
    put(&second);
    shown("the change by the new token", "synced", 81).await;
    assert!(!portolan.log().contains(&first) && !portolan.log().contains(&second));
}

#[tokio::test]
async fn consuls_own_variables_lead_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix://{}/consul.sock", folder.path().display());
    let settings = json!({"addresses": {"http": format!("127.0.0.1 {socket}")}});
    let Some(consul) = Consul::start_with(settings).await else { return };
    consul
        .writer
        .register(json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "orders", "Port": 80}}))
        .await;
    let config =
        "registries:\n- name: consul\n  consul: { environment: true }\n  publish: { host: '{service}.example' }\n";
    for address in [consul.address().to_string(), socket] {
        let portolan = Portolan::start_with_variables(&[("CONSUL_HTTP_ADDR", &*address)], config).await;
        portolan.ready().await;
        let service = portolan.json(&format!("/api/v1/services/{HOST}")).await;
        assert!(service["instances"][0].to_string().contains("10.0.0.1"), "{address}: {service}");
    }
}

#[tokio::test]
async fn a_service_that_is_written_answers_through_an_envoy() {
    let config = "envoy: { cluster_name: '{host}' }\nregistries: [{ name: ours, api: {}, publish: { host: '{service}.example' } }]\n";
    let portolan = Portolan::start(config).await;
    let Some(envoy) = Envoy::start(&Envoy::example("authority.yaml"), portolan.xds).await else { return };
    let upstream = Upstream::start("orders").await;
    let body = json!({"endpoints": [upstream.address.to_string()]}).to_string();
    let mut took = Vec::new();
    for n in 0..20 {
        let url = format!("http://{}/api/v1/services/ours/orders-{n}", portolan.admin);
        let started = Instant::now();
        let put = http::client().put(url).header("content-type", "application/json").body(body.clone());
        assert_eq!(put.send().await.unwrap().status(), 201);
        let written = started.elapsed();
        // A question in every millisecond, as the figure is of some.
        let answered = async {
            while envoy.get(&format!("orders-{n}.example"), "/").await != (200, "orders".into()) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LIMIT, answered).await.expect("it answers");
        took.push((started.elapsed(), written));
    }
    took.sort();
    let ((median, _), (longest, put)) = (took[10], took[19]);
    eprintln!(
        "a service answers {median:.1?} after its PUT began, at most {longest:.1?}, of which {put:.1?} are the PUT"
    );
}
