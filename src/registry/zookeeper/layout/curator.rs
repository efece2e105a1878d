//! Curator's service discovery, which Spring Cloud uses: `<service>/<instance>` with JSON in it. Dubbo 3 writes instances
//! of applications into the same folder by default; they are told apart by their payload and are not read here.

use super::entry::{Entry, Place, Texts, invalid, service};
use crate::{
    model::{Address, Endpoint, EndpointPort, Health, Labels, Locality, Port, Protocol, Service, Text, Weight},
    registry::metadata,
};
use serde::Deserialize;
use serde_json::Value;

/// A longer one is not looked at: an instance with a page of metadata has some thousand bytes.
const MAX_BYTES: usize = 256 << 10;

#[derive(Debug, Deserialize)]
struct Instance {
    address: Option<String>,
    port: Option<i64>,
    #[serde(rename = "sslPort")]
    ssl_port: Option<i64>,
    enabled: Option<bool>,
    #[serde(default)]
    payload: Value,
}

/// The service of a node; none if nothing there is Curator's.
pub(super) fn service_of(place: Place<'_>, entries: &[Entry]) -> Option<Service> {
    let (mut endpoints, mut notes, mut texts) = (Vec::new(), Vec::new(), Texts::default());
    for entry in entries {
        match read(&entry.data) {
            Ok(Some(instance)) => match endpoint(instance, &mut texts) {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(problem) => notes.push(invalid(&entry.name, problem)),
            },
            Ok(None) => {}
            Err(problem) => notes.push(invalid(&entry.name, problem)),
        }
    }
    let any = !endpoints.is_empty() || !notes.is_empty();
    any.then(|| service(place.id("", place.node), Labels::new(), endpoints, notes))
}

/// `None` for an instance of a Dubbo application.
fn read(data: &[u8]) -> Result<Option<Instance>, String> {
    if data.len() > MAX_BYTES {
        return Err(format!("has {} bytes, and more than {MAX_BYTES} are not read", data.len()));
    }
    let instance: Instance =
        serde_json::from_slice(data).map_err(|error| format!("is no service instance in JSON: {error}"))?;
    let class = instance.payload["@class"].as_str().unwrap_or_default();
    let metadata = instance.payload["metadata"].as_object();
    let of_dubbo = |key: &String| key.starts_with("dubbo.");
    let dubbo = class.starts_with("org.apache.dubbo.") || metadata.is_some_and(|m| m.keys().any(of_dubbo));
    Ok((!dubbo).then_some(instance))
}

fn endpoint(instance: Instance, texts: &mut Texts) -> Result<Endpoint, String> {
    let text = instance.address.unwrap_or_default();
    let address = Address::parse(&text).filter(|address| !matches!(address, Address::Unix(_)));
    let address = address.ok_or_else(|| format!("{text:?} is neither an address nor a host name"))?;
    let labels = labels(&instance.payload["metadata"], texts);
    let protocol = labels.get("protocol").and_then(|p| Protocol::parse(p));
    let mut ports = Vec::new();
    // Curator leaves out what is not set, or writes null or 0.
    for (number, protocol) in [(instance.port, protocol), (instance.ssl_port, Some(Protocol::Https))] {
        if let Some(number) = number.filter(|number| *number != 0) {
            let number = Port::new(number).map_err(|error| error.to_string())?;
            ports.push(EndpointPort { number, protocol, name: None });
        }
    }
    let Some(first) = ports.first() else { return Err("has neither a port nor an sslPort".into()) };
    let secure = first.protocol == Some(Protocol::Https);
    let up = labels.get("instance_status").is_none_or(|status| status.eq_ignore_ascii_case("UP"));
    Ok(Endpoint {
        address,
        ports,
        weight: Weight::DEFAULT,
        // Its node lives as long as its session does.
        health: Health::Healthy,
        enabled: up && instance.enabled.unwrap_or(true),
        locality: metadata::locality(&labels, Locality::default()),
        labels,
        secure,
    })
}

/// Metadata as text; what is no text is written as JSON.
fn labels(metadata: &Value, texts: &mut Texts) -> Labels {
    let entries = metadata.as_object().into_iter().flatten();
    let share = |(key, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => texts.share(text),
            Value::Null => Text::default(),
            other => texts.share(&other.to_string()),
        };
        (texts.share(key), value)
    };
    entries.map(share).collect()
}
