//! Istio's resources in the form that `kubectl` shows.

use crate::pb::{
    istio::mcp::v1alpha1::{Metadata, Resource as Envelope},
    schema,
};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

/// The spec as JSON; `null` if there is none, or it cannot be decoded.
pub(super) fn spec(envelope: &Envelope) -> Value {
    let text = envelope.body.as_ref().and_then(|body| schema::json(&body.type_url, &body.value).ok());
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// The metadata as in Kubernetes, without empty fields.
pub(super) fn metadata(m: &Metadata) -> Value {
    let (namespace, name) = m.name.split_once('/').unwrap_or(("", &m.name));
    let created = m.create_time.as_ref().map(|t| UNIX_EPOCH + Duration::from_secs(t.seconds.max(0).unsigned_abs()));
    let created = created.map(|t| humantime::format_rfc3339_seconds(t).to_string()).unwrap_or_default();
    let plain =
        [("namespace", namespace), ("name", name), ("creationTimestamp", &created), ("resourceVersion", &m.version)];
    let plain = plain.into_iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| (key.to_owned(), text.into()));
    let maps = [("labels", &m.labels), ("annotations", &m.annotations)];
    let maps = maps.into_iter().filter(|(_, map)| !map.is_empty()).map(|(key, map)| (key.to_owned(), texts(map)));
    Value::Object(plain.chain(maps).collect())
}

fn texts(map: &BTreeMap<String, String>) -> Value {
    map.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect::<Map<String, Value>>().into()
}
