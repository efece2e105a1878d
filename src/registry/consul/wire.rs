//! Consul's JSON: the three lists that say what has changed, and the instances of a service.
//!
//! A list must be a list (or the mapping of names a mapping): an error's JSON, `null` and HTML never read as an empty one.
//! Of single values what is no text or number costs itself only.

use super::error::Error;
use crate::{
    model::Text,
    registry::{
        lenient::{Loose, optional},
        transport::Answer,
    },
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::xxh3_64;

/// `/v1/catalog/services`: the tags of each service.
pub(super) type Names = BTreeMap<Text, BTreeSet<Text>>;
/// `/v1/health/state/any`: the checks by node and id.
pub(super) type Checks = BTreeMap<(Text, Text), Check>;
/// `/v1/catalog/nodes`: each node by its name, as a hash of all that is said of it.
pub(super) type Nodes = BTreeMap<Text, u64>;

/// A check, as far as it says whom to read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// The name of the service; empty for a check of the node.
    pub(super) service: Text,
    /// A hash of the check's JSON, so that any change shows.
    pub(super) hash: u64,
}

/// An element of `/v1/health/service/NAME`: an instance with its node and checks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Instance<'a> {
    #[serde(borrow)]
    pub(super) node: Node<'a>,
    #[serde(borrow)]
    pub(super) service: Registration<'a>,
    #[serde(borrow, default)]
    pub(super) checks: Option<Vec<InstanceCheck<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Node<'a> {
    #[serde(borrow, deserialize_with = "optional")]
    pub(super) node: Option<Loose<'a>>,
    #[serde(borrow, deserialize_with = "optional")]
    pub(super) address: Option<Loose<'a>>,
    #[serde(borrow, deserialize_with = "optional")]
    pub(super) datacenter: Option<Loose<'a>>,
    /// `TaggedAddresses`: addresses by name, such as `lan`.
    #[serde(deserialize_with = "mapping")]
    pub(super) tagged_addresses: Map<String, Value>,
    #[serde(deserialize_with = "mapping")]
    pub(super) meta: Map<String, Value>,
    #[serde(deserialize_with = "mapping")]
    pub(super) locality: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Registration<'a> {
    #[serde(borrow, rename = "ID", deserialize_with = "optional")]
    pub(super) id: Option<Loose<'a>>,
    #[serde(borrow, deserialize_with = "optional")]
    pub(super) kind: Option<Loose<'a>>,
    #[serde(borrow, deserialize_with = "optional")]
    pub(super) address: Option<Loose<'a>>,
    #[serde(borrow, deserialize_with = "optional")]
    pub(super) port: Option<Loose<'a>>,
    #[serde(borrow, deserialize_with = "optional")]
    pub(super) socket_path: Option<Loose<'a>>,
    /// `TaggedAddresses`: objects with `Address` and `Port` by name, such as `lan`.
    #[serde(deserialize_with = "mapping")]
    pub(super) tagged_addresses: Map<String, Value>,
    #[serde(deserialize_with = "mapping")]
    pub(super) meta: Map<String, Value>,
    pub(super) tags: Value,
    #[serde(deserialize_with = "mapping")]
    pub(super) weights: Map<String, Value>,
    #[serde(deserialize_with = "mapping")]
    pub(super) locality: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct InstanceCheck<'a> {
    #[serde(borrow, rename = "CheckID", deserialize_with = "optional")]
    pub(super) id: Option<Loose<'a>>,
    #[serde(borrow, deserialize_with = "optional")]
    pub(super) status: Option<Loose<'a>>,
}

/// Reads `/v1/catalog/services`.
///
/// # Errors
/// If the answer is no mapping.
pub(super) fn names(answer: &Answer) -> Result<Names, Error> {
    let listed: BTreeMap<String, Value> = read(answer)?;
    Ok(listed.into_iter().map(|(name, tags)| (name.into(), texts(&tags))).collect())
}

/// Reads `/v1/health/state/any`.
///
/// # Errors
/// If the answer is no list, or an element is no check.
pub(super) fn checks(answer: &Answer) -> Result<Checks, Error> {
    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Head<'a> {
        #[serde(borrow, deserialize_with = "optional")]
        node: Option<Loose<'a>>,
        #[serde(borrow, rename = "CheckID", deserialize_with = "optional")]
        id: Option<Loose<'a>>,
        #[serde(borrow, deserialize_with = "optional")]
        service_name: Option<Loose<'a>>,
    }
    let mut checks = Checks::new();
    for (raw, hash) in elements(answer)? {
        let Head { node, id, service_name } =
            serde_json::from_str(raw.get()).map_err(|error| refused(answer, error))?;
        checks.insert((whole(&node), whole(&id)), Check { service: whole(&service_name), hash });
    }
    Ok(checks)
}

/// Reads `/v1/catalog/nodes`.
///
/// # Errors
/// If the answer is no list, or an element is no node.
pub(super) fn nodes(answer: &Answer) -> Result<Nodes, Error> {
    let mut nodes = Nodes::new();
    for (raw, hash) in elements(answer)? {
        let node: Node<'_> = serde_json::from_str(raw.get()).map_err(|error| refused(answer, error))?;
        nodes.insert(whole(&node.node), hash);
    }
    Ok(nodes)
}

/// Reads `/v1/health/service/NAME`, with each instance still as JSON, so that a bad one costs itself only.
///
/// # Errors
/// If the answer is no list.
pub(super) fn instances(answer: &Answer) -> Result<Vec<&RawValue>, Error> {
    serde_json::from_slice(&answer.body).map_err(|error| refused(answer, error))
}

/// The texts in a list, without elements of other kinds. If the value is no list, none.
pub(super) fn texts(list: &Value) -> BTreeSet<Text> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| Some(Text::from(Loose::of(item)?.text()?))).collect()
}

/// The trimmed text of a field; `None` if it is absent or empty.
pub(super) fn text<'a>(field: &'a Option<Loose<'_>>) -> Option<&'a str> {
    field.as_ref().and_then(Loose::text)
}

/// The text of a field as it is written, with its spaces, so that two names stay two. Empty if it is absent.
pub(super) fn whole(field: &Option<Loose<'_>>) -> Text {
    field.as_ref().map(|loose| Text::from(&*loose.0)).unwrap_or_default()
}

fn elements(answer: &Answer) -> Result<impl Iterator<Item = (&RawValue, u64)>, Error> {
    let list: Vec<&RawValue> = serde_json::from_slice(&answer.body).map_err(|error| refused(answer, error))?;
    Ok(list.into_iter().map(|raw| (raw, xxh3_64(raw.get().as_bytes()))))
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, Error> {
    serde_json::from_slice(&answer.body).map_err(|error| refused(answer, error))
}

fn refused(answer: &Answer, source: serde_json::Error) -> Error {
    Error::Decode { url: answer.origin.to_string(), start: answer.origin.quote(&answer.body), source }
}

/// A mapping; anything else is as good as an empty one.
fn mapping<'de, D: Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Object(map) => map,
        _ => Map::new(),
    })
}
