//! Istio's objects in the form in which people write them, as `kubectl` shows them.

use super::resource::object;
use crate::pb::{
    istio::{
        mcp::v1alpha1::{Metadata, Resource as Envelope},
        networking::v1alpha3::{
            ServiceEntry, ServicePort, WorkloadEntry,
            service_entry::{Location, Resolution},
        },
    },
    kinds,
};
use prost::{DecodeError, Message, Name};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

/// Why a resource cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShowError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("no known kind")]
    UnknownKind,
}

/// The object with its metadata.
pub(super) fn envelope(envelope: &Envelope) -> Result<Value, ShowError> {
    let spec = match &envelope.body {
        None => Value::Null,
        Some(body) if body.type_url == ServiceEntry::type_url() => spec(&ServiceEntry::decode(&*body.value)?),
        Some(body) => kinds::shown(&body.type_url, &body.value).ok_or(ShowError::UnknownKind)?,
    };
    Ok(object([("metadata", envelope.metadata.as_ref().map_or(Value::Null, metadata)), ("spec", spec)]))
}

fn metadata(m: &Metadata) -> Value {
    let (namespace, name) = m.name.split_once('/').unwrap_or(("", &m.name));
    let created = m.create_time.as_ref().map(|t| UNIX_EPOCH + Duration::from_secs(t.seconds.max(0).unsigned_abs()));
    object([
        ("namespace", namespace.into()),
        ("name", name.into()),
        ("creationTimestamp", created.map_or(Value::Null, |t| humantime::format_rfc3339_seconds(t).to_string().into())),
        ("resourceVersion", m.version.clone().into()),
        ("labels", texts(&m.labels)),
        ("annotations", texts(&m.annotations)),
    ])
}

pub(super) fn spec(s: &ServiceEntry) -> Value {
    let location = Location::try_from(s.location).map(|l| l.as_str_name());
    let resolution = Resolution::try_from(s.resolution).map(|r| r.as_str_name());
    object([
        ("hosts", s.hosts.clone().into()),
        ("addresses", s.addresses.clone().into()),
        ("ports", s.ports.iter().map(port).collect()),
        ("location", location.map_or_else(|e| e.0.into(), Value::from)),
        ("resolution", resolution.map_or_else(|e| e.0.into(), Value::from)),
        ("endpoints", s.endpoints.iter().map(endpoint).collect()),
        ("exportTo", s.export_to.clone().into()),
        ("subjectAltNames", s.subject_alt_names.clone().into()),
    ])
}

fn port(p: &ServicePort) -> Value {
    object([("number", p.number.into()), ("name", p.name.clone().into()), ("protocol", p.protocol.clone().into())])
}

fn endpoint(e: &WorkloadEntry) -> Value {
    let ports: Map<String, Value> = e.ports.iter().map(|(name, port)| (name.clone(), (*port).into())).collect();
    object([
        ("address", e.address.clone().into()),
        ("ports", if ports.is_empty() { Value::Null } else { ports.into() }),
        ("labels", texts(&e.labels)),
        ("network", e.network.clone().into()),
        ("locality", e.locality.clone().into()),
        ("weight", if e.weight == 0 { Value::Null } else { e.weight.into() }),
        ("serviceAccount", e.service_account.clone().into()),
    ])
}

fn texts(map: &BTreeMap<String, String>) -> Value {
    let map: Map<String, Value> = map.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    if map.is_empty() { Value::Null } else { map.into() }
}
