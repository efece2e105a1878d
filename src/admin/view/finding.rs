//! Findings on Istio's resources, and the resources made of `gateways` in the configuration, as they are shown.

use super::service_entry;
use crate::{
    pb::istio::mcp::v1alpha1::Resource as Envelope,
    resource::{Kind, Resource},
    views::{Finding, Loaded, ViewKey},
};
use prost::Message;
use serde::Serialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// A finding, and the views that have it.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Found {
    views: Vec<String>,
    /// The stable code, for scripts and metrics: docs/admin.md lists them.
    code: &'static str,
    kind: &'static str,
    /// `NAMESPACE/NAME` of the resource.
    name: String,
    /// The field that it is about, such as `http[0].route[1]`; may be empty.
    place: String,
    /// What is wrong, and what to do about it.
    text: String,
}

/// The findings of these views, each once, by resource.
pub(in crate::admin) fn found(views: &[(ViewKey, Loaded)]) -> Vec<Found> {
    let mut all: BTreeMap<&Finding, Vec<String>> = BTreeMap::new();
    for (key, loaded) in views {
        for finding in &loaded.report.findings {
            all.entry(finding).or_default().push(key.to_string());
        }
    }
    let found = |(finding, mut views): (&Finding, Vec<String>)| {
        views.dedup();
        Found {
            views,
            code: finding.code.name(),
            kind: finding.kind.name(),
            name: finding.name.to_string(),
            place: finding.place.to_string(),
            text: finding.text.to_string(),
        }
    };
    all.into_iter().map(found).collect()
}

/// A resource as `kubectl` takes it.
pub(in crate::admin) fn document((kind, resource): (Kind, Arc<Resource>)) -> Value {
    let Ok(envelope) = Envelope::decode(resource.body()) else { return Value::Null };
    let (group, word) = kind.group_and_word().unwrap_or_default();
    let (namespace, name) = resource.name().split_once('/').unwrap_or(("", resource.name()));
    let spec = service_entry::spec(&envelope);
    json!({
        "apiVersion": format!("{group}/v1"),
        "kind": word,
        "metadata": { "name": name, "namespace": namespace },
        "spec": spec,
    })
}
