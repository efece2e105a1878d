//! Curator's service discovery, which Spring Cloud uses: `<service>/<instance>` with JSON in it. Dubbo 3 writes instances
//! of applications into the same folder by default. They are known by their payload; who reads the ones leaves out the others.

use super::entry::{Converted, Entry, Known, Place, Texts, invalid, service, unreadable};
use crate::{
    model::{Address, Endpoint, EndpointPort, Health, Labels, Locality, Protocol, Text, Weight},
    registry::{
        dubbo,
        lenient::{Loose, optional},
        metadata,
    },
};
use serde::Deserialize;
use serde_json::Value;

/// The most bytes of an instance; a longer one cannot be read. An instance with a page of metadata has some thousand
/// bytes.
const MAX_BYTES: usize = 256 << 10;

#[derive(Debug, Deserialize)]
struct Instance<'a> {
    #[serde(borrow, default, deserialize_with = "optional")]
    address: Option<Loose<'a>>,
    #[serde(borrow, default, deserialize_with = "optional")]
    port: Option<Loose<'a>>,
    #[serde(borrow, default, deserialize_with = "optional", rename = "sslPort")]
    ssl_port: Option<Loose<'a>>,
    #[serde(borrow, default, deserialize_with = "optional")]
    enabled: Option<Loose<'a>>,
    #[serde(default)]
    payload: Value,
}

/// The writer whose instances are read; those of the other are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// Everything that is not written by Dubbo.
    Spring,
    Dubbo,
}

/// The service of a node; empty if it has no instance of that writer. An instance that cannot be read is as in `last`.
pub(super) fn service_of(place: Place<'_>, entries: &[Entry], last: &Known, writer: Writer) -> Converted {
    let (mut known, mut endpoints, mut notes, mut texts) = (Known::new(), Vec::new(), Vec::new(), Texts::default());
    let (mut found, mut readable) = (0, 0);
    for entry in entries {
        match read(&entry.data, writer) {
            Ok(Some(instance)) => match endpoint(instance, &mut texts) {
                Ok((endpoint, problems)) => {
                    (found, readable) = (found + 1, readable + 1);
                    notes.extend(problems.into_iter().map(|problem| invalid(&entry.name, problem)));
                    known.insert(entry.name.as_str().into(), endpoint.clone());
                    endpoints.push(endpoint);
                }
                Err(problem) => {
                    found += 1;
                    notes.push(invalid(&entry.name, problem));
                }
            },
            Ok(None) => continue,
            Err(problem) => {
                found += 1;
                notes.push(invalid(&entry.name, problem));
            }
        }
        if let (false, Some(endpoint)) = (known.contains_key(&*entry.name), last.get(&*entry.name)) {
            known.insert(entry.name.as_str().into(), endpoint.clone());
            endpoints.push(endpoint.clone());
        }
    }
    match (found, readable) {
        (0, _) => Converted::default(),
        (_, 0) => Converted { unreadable: Some(unreadable(&notes)), ..Converted::default() },
        _ => {
            let services = vec![service(place.id("", place.node), Labels::new(), endpoints, notes)];
            Converted { services, known, ..Converted::default() }
        }
    }
}

/// Reads an instance; `None` if another writer wrote it.
fn read(data: &[u8], writer: Writer) -> Result<Option<Instance<'_>>, String> {
    if data.len() > MAX_BYTES {
        return Err(format!("has {} bytes, and more than {MAX_BYTES} are not read", data.len()));
    }
    let instance: Instance<'_> =
        serde_json::from_slice(data).map_err(|error| format!("is no service instance in JSON: {error}"))?;
    let class = instance.payload["@class"].as_str().unwrap_or_default();
    let metadata = instance.payload["metadata"].as_object();
    let of_dubbo = |key: &String| key.starts_with("dubbo.");
    let dubbo = class.starts_with("org.apache.dubbo.") || metadata.is_some_and(|m| m.keys().any(of_dubbo));
    Ok((dubbo == (writer == Writer::Dubbo)).then_some(instance))
}

/// The endpoint, with the problems of fields that were left out of it.
fn endpoint(instance: Instance<'_>, texts: &mut Texts) -> Result<(Endpoint, Vec<String>), String> {
    let text = instance.address.as_ref().and_then(Loose::text).unwrap_or_default();
    let address = Address::parse(text).filter(|address| !matches!(address, Address::Unix(_)));
    let address = address.ok_or_else(|| format!("{text:?} is neither an address nor a host name"))?;
    let labels = labels(&instance.payload["metadata"], texts);
    let protocol = labels.get("protocol").and_then(|p| Protocol::parse(p));
    let (mut ports, mut problems) = (Vec::new(), Vec::new());
    let both = [("port", instance.port, protocol), ("sslPort", instance.ssl_port, Some(Protocol::Https))];
    for (key, number, protocol) in both {
        // Curator leaves out what is not set, or writes null or 0.
        let Some(number) = number.filter(|number| number.integer() != Some(0)) else { continue };
        match number.port() {
            Ok(number) => ports.push(EndpointPort { number, protocol, name: None }),
            Err(problem) => problems.push(format!("{key}: {problem}")),
        }
    }
    let Some(first) = ports.first_mut() else {
        return Err(if problems.is_empty() { "has neither a port nor an sslPort".into() } else { problems.join("; ") });
    };
    let secure = first.protocol == Some(Protocol::Https);
    if let Some((protocol, others)) = dubbo::endpoints(&labels, first.number) {
        first.protocol = first.protocol.or(protocol);
        ports.extend(others);
    }
    let up = labels.get("instance_status").is_none_or(|status| status.eq_ignore_ascii_case("UP"));
    let enabled = up && instance.enabled.as_ref().and_then(Loose::truth).unwrap_or(true);
    let endpoint = Endpoint {
        address,
        ports: ports.into(),
        weight: Weight::DEFAULT,
        // Its node lives as long as its session does.
        health: Health::Healthy,
        enabled,
        locality: metadata::locality(&labels, Locality::default()),
        labels,
        secure,
    };
    Ok((endpoint, problems))
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
