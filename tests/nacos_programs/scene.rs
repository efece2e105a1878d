//! Who reads what programs register, and what is to be seen of it.

use super::support::{envoy::Envoy, nacos::Nacos, portolan::Portolan, until};
use serde_json::{Value, json};
use std::time::Duration;

pub const LIMIT: Duration = Duration::from_secs(90);
/// What Dubbo's programs say besides what they were told.
const DUBBO_OWN: [&str; 17] = [
    "anyhost",
    "category",
    "deprecated",
    "dubbo",
    "dubbo.metadata-service.url-params",
    "dubbo.metadata.storage-type",
    "dynamic",
    "generic",
    "logger",
    "metadata-type",
    "pid",
    "prefer.serialization",
    "release",
    "revision",
    "service-name-mapping",
    "side",
    "timestamp",
];

/// As `docs/nacos.md` has it: one registry for what Dubbo's interfaces are called, one for the rest.
fn config(nacos: &Nacos, mode: &str) -> String {
    let url = nacos.url();
    format!(
        "envoy: {{ cluster_name: '{{host}}' }}\n\
         registries:\n\
         - name: nacos\n  \
           nacos: {{ servers: '{url}', mode: {mode}, period: 200ms, namespaces: [public, shops] }}\n  \
           exclude: ['providers:*']\n  \
           publish: {{ hold: 0s, addresses: {{ loopback: keep }} }}\n\
         - name: dubbo\n  \
           nacos: {{ servers: '{url}', mode: {mode}, period: 200ms }}\n  \
           include: ['providers:*']\n  \
           publish: {{ hold: 0s, addresses: {{ loopback: keep }}, host: '{{label:interface}}.{{label:group}}.{{label:version}}.dubbo' }}\n"
    )
}

/// A server, and who reads it: by push, and by polling.
pub struct Scene {
    pub generation: &'static str,
    pub nacos: Nacos,
    pub portolans: [Portolan; 2],
}

impl Scene {
    /// Starts a server of that generation, and its readers.
    pub async fn start(generation: &'static str) -> Scene {
        let nacos = Nacos::start_with(generation, &[("NACOS_OLD_API", "client")]).await.expect("it was prepared");
        nacos.create_namespace("shops", "Shops").await;
        let (push, poll) = (config(&nacos, "push"), config(&nacos, "poll"));
        let portolans = [Portolan::start(&push).await, Portolan::start(&poll).await];
        Scene { generation, nacos, portolans }
    }

    /// The key `registry` of the programs' scripts, with the server's address.
    pub fn registry(&self) -> String {
        format!("registry={}", self.nacos.http())
    }

    pub fn dubbo_registry(&self) -> String {
        format!("registry=nacos://{}", self.nacos.http())
    }

    /// Waits until both publish a host in the same way, and [`told`] gives what is expected.
    pub async fn publishes(&self, what: &str, host: &str, expected: Value) {
        let path = format!("/api/v1/services/{host}");
        until(&format!("{host}: {what}"), LIMIT, async || {
            let (mut seen, mut details) = (Vec::new(), Vec::new());
            for portolan in &self.portolans {
                let (status, body) = portolan.get(&path).await;
                let detail: Value = serde_json::from_str(&body).map_err(|_| format!("{status} {body}"))?;
                seen.push(told(&detail));
                details.push(detail);
            }
            if details[0] == details[1] && seen[0] == expected {
                return Ok(());
            }
            Err(format!("{seen:#?}, not {expected:#}"))
        })
        .await;
    }

    /// Waits until both publish a host without instances.
    pub async fn has_none(&self, what: &str, host: &str) {
        until(&format!("{host}: {what}"), LIMIT, async || {
            let mut left = Vec::new();
            for portolan in &self.portolans {
                left.push(portolan.json(&format!("/api/v1/services/{host}")).await["instances"].clone());
            }
            if left == [json!([]), json!([])] { Ok(()) } else { Err(left) }
        })
        .await;
    }
}

/// The part of a published service that a program decides: ports, labels, instances and reasons of notes.
fn told(detail: &Value) -> Value {
    let port = |port: &Value| json!([port["host"], port["name"], port["number"], port["protocol"]]);
    let ports: Vec<Value> = detail["ports"].as_array().into_iter().flatten().map(port).collect();
    let mut instances = detail["instances"].clone();
    for instance in instances.as_array_mut().into_iter().flatten() {
        let labels = instance["labels"].as_object_mut().unwrap();
        labels.retain(|key, _| !DUBBO_OWN.contains(&&**key) && !key.starts_with("service."));
        if let Some(revision) = labels.get_mut("dubbo.metadata.revision") {
            let plausible = revision.as_str().is_some_and(|text| text.len() == 32);
            *revision = if plausible { "a hash".into() } else { revision.take() };
        }
    }
    let notes = detail["notes"].as_array().into_iter().flatten().map(|note| note["reason"].clone());
    json!({"ports": ports, "labels": detail["labels"], "instances": instances, "notes": notes.collect::<Vec<_>>()})
}

/// What [`told`] gives for a service without notes. Each port has host, name, number and protocol.
pub fn service(ports: Value, labels: Value, instances: &[Value]) -> Value {
    json!({"ports": ports, "labels": labels, "instances": instances, "notes": []})
}

/// A [`service`] without labels, with the one port 80 for HTTP.
pub fn web(host: &str, instances: &[Value]) -> Value {
    service(json!([[host, "http", 80, "http"]]), json!({}), instances)
}

/// A healthy instance, as [`told`] gives it. `ports` are numbers by name.
pub fn instance(address: &str, ports: Value, weight: f64, locality: &str, labels: Value) -> Value {
    json!({
        "address": address, "ports": ports, "weight": weight, "locality": locality, "labels": labels,
        "health": "healthy", "secure": false, "priority": 0,
    })
}

/// A copy of `value` with `other` in that field.
pub fn but(mut value: Value, field: &str, other: Value) -> Value {
    value[field] = other;
    value
}

/// Waits until a host is answered through an Envoy with that status and a body that contains that text.
pub async fn answered(envoy: &Envoy, host: &str, expected: (u16, &str)) {
    envoy
        .wait_until(&format!("{host} to be answered with {expected:?}"), LIMIT, async || {
            match envoy.get(host, "/").await {
                (status, body) if status == expected.0 && body.contains(expected.1) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
}
