//! Prometheus' HTTP service discovery: groups of targets with labels, `[{"targets": ["10.0.0.1:80"], "labels": {}}]`. Pure.
//!
//! A group has no name, but labels: one of them names its service, and groups of one name are one service. A group without
//! it costs the whole list, because then nobody could say what is absent.

use super::mapped::{self, Place};
use crate::{
    model::{Endpoint, EndpointPort, Labels, Protocol, Text},
    registry::{
        instances::{Instances, Unreadable},
        lenient::Loose,
        metadata,
    },
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
struct Group {
    targets: Vec<Value>,
    #[serde(default)]
    labels: Map<String, Value>,
}

/// Reads the instances of each service, whose name is in the label `name`.
///
/// # Errors
/// If it is no list of groups, or a group has no name; the text says which.
pub(super) fn read(json: &Value, name: &str) -> Result<BTreeMap<Text, Instances>, String> {
    let items = json.as_array().ok_or("Prometheus' form is a list of groups")?;
    let mut services: BTreeMap<Text, Instances> = BTreeMap::new();
    for (place, item) in items.iter().enumerate() {
        let group = Group::deserialize(item).map_err(|error| format!("group {place}: {error}"))?;
        let service = group.labels.get(name).and_then(Loose::of).and_then(|loose| loose.text().map(Text::from));
        let service = service.ok_or_else(|| {
            format!(
                "group {place} has no label {name:?} to name its service; say by `prometheus.name` which label does"
            )
        })?;
        let scheme = group.labels.get("__scheme__").and_then(Value::as_str).map(str::to_owned);
        // Those with two underscores are Prometheus' own.
        let shown = group.labels.into_iter().filter(|(key, _)| !key.starts_with("__"));
        let labels = metadata::labels(shown);
        let instances = services.entry(service).or_default();
        for target in &group.targets {
            match endpoint(target, scheme.as_deref(), &labels) {
                Ok(endpoint) => instances.read(endpoint, Vec::new()),
                Err(unreadable) => instances.unreadable(unreadable),
            }
        }
    }
    Ok(services)
}

fn endpoint(target: &Value, scheme: Option<&str>, labels: &Labels) -> Result<Endpoint, Unreadable> {
    let text = target.as_str().ok_or_else(|| mapped::unreadable(target, "a target is a text such as 10.0.0.1:80"))?;
    let Place { address, port, secure } = mapped::place(text).map_err(|why| mapped::unreadable(target, &why))?;
    let port = match port {
        Ok(port) => port,
        Err(why) => return Err(mapped::without_port(target, address, &why)),
    };
    let secure = secure || scheme == Some("https");
    // As Prometheus itself takes it.
    let number = port.unwrap_or(if secure { Protocol::Https } else { Protocol::Http }.default_port());
    let protocol = secure.then_some(Protocol::Https).or_else(|| Protocol::parse(labels.get("protocol")?));
    let locality = metadata::locality(labels, Default::default());
    let ports = [EndpointPort { number, protocol, name: None }].into();
    Ok(Endpoint { ports, labels: labels.clone(), locality, secure, ..Endpoint::new(address, number) })
}
