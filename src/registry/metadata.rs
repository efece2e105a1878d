//! What instances say of themselves in metadata, by the conventions that frameworks share across registries.

use crate::model::{EndpointPort, Labels, Locality, Port, Protocol, Text};
use serde_json::Value;

/// Metadata as text. A number or a truth is written as JSON writes it, and `null` is the empty text.
pub(super) fn labels(metadata: impl IntoIterator<Item = (String, Value)>) -> Labels {
    let text = |value: Value| match value {
        Value::String(text) => Text::from(text),
        Value::Null => Text::default(),
        other => other.to_string().into(),
    };
    metadata.into_iter().map(|(key, value)| (key.into(), text(value))).collect()
}

/// The value of a label; `None` if it is absent or empty.
pub(super) fn label(labels: &Labels, key: &str) -> Option<Text> {
    labels.get(key).filter(|value| !value.is_empty()).cloned()
}

/// Where an instance runs; what it does not say is as in `otherwise`.
pub(super) fn locality(labels: &Labels, otherwise: Locality) -> Locality {
    let [region, zone, sub_zone] = ["region", "zone", "subzone"].map(|key| label(labels, key));
    let sub_zone = sub_zone.or_else(|| label(labels, "sub_zone"));
    if (&region, &zone, &sub_zone) == (&None, &None, &None) {
        return otherwise;
    }
    let or = |said: Option<Text>, otherwise: &str| said.unwrap_or_else(|| otherwise.into());
    Locality::new(or(region, otherwise.region()), or(zone, otherwise.zone()), or(sub_zone, otherwise.sub_zone()))
}

/// The port in the label `gRPC_port`: the second port of an instance that speaks gRPC beside HTTP. `None` without the
/// label; an error if its value is no port.
pub(super) fn grpc_port(labels: &Labels) -> Option<Result<EndpointPort, String>> {
    let text = labels.get("gRPC_port")?;
    let number = text.trim().parse().map_err(|_| format!("gRPC_port {text:?} is no number"));
    let port = number.and_then(|number| Port::new(number).map_err(|e| format!("gRPC_port: {e}")));
    Some(port.map(|number| EndpointPort { number, protocol: Some(Protocol::Grpc), name: Some("grpc".into()) }))
}
