//! The parts of an Envoy's node that are optional: metadata and locality.

use serde_json::{Map, Value};
use std::str::FromStr;

/// A value of the node's metadata. Dots in the key lead into mappings.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Metadata {
    way: Vec<String>,
    value: Value,
}

/// Region, zone and sub-zone; what is not named is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Locality([String; 3]);

impl FromStr for Metadata {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no KEY=VALUE, such as team=shop or proxy.canary=true");
        let (key, value) = text.split_once('=').ok_or_else(wrong)?;
        let way: Vec<String> = key.split('.').map(str::to_owned).collect();
        if way.iter().any(String::is_empty) {
            return Err(wrong());
        }
        // What is no JSON is text.
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        Ok(Metadata { way, value })
    }
}

impl FromStr for Locality {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/').map(str::to_owned);
        let place = [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default);
        match place[0].is_empty() || parts.next().is_some() {
            true => Err(format!("{text:?} is no place: write REGION, REGION/ZONE or REGION/ZONE/SUB-ZONE")),
            false => Ok(Locality(place)),
        }
    }
}

impl Metadata {
    /// A value under a key without dots.
    pub(super) fn of(key: &str, value: Value) -> Self {
        Metadata { way: vec![key.to_owned()], value }
    }
}

/// The lines of the node behind its cluster; empty without metadata and locality.
pub(super) fn lines(metadata: &[Metadata], locality: Option<&Locality>) -> String {
    let mut lines = String::new();
    if let Some(Locality(place)) = locality {
        let parts = ["region", "zone", "sub_zone"].into_iter().zip(place).filter(|(_, part)| !part.is_empty());
        let parts: Vec<String> = parts.map(|(key, part)| format!("{key}: {}", super::text::quoted(part))).collect();
        lines += &format!("  locality: {{ {} }}\n", parts.join(", "));
    }
    let mut all = Map::new();
    metadata.iter().for_each(|one| set(&mut all, &one.way, &one.value));
    if !all.is_empty() {
        // JSON is YAML.
        lines += &format!("  metadata: {}\n", Value::Object(all));
    }
    lines
}

/// Sets a value, and makes the mappings on its path. Of two values for one key the last counts.
fn set(into: &mut Map<String, Value>, way: &[String], value: &Value) {
    let Some((first, rest)) = way.split_first() else { return };
    if rest.is_empty() {
        into.insert(first.clone(), value.clone());
        return;
    }
    let inner = into.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
    if !inner.is_object() {
        *inner = Value::Object(Map::new());
    }
    if let Value::Object(inner) = inner {
        set(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_place_are_those_of_the_arguments() {
        let metadata: Vec<Metadata> =
            ["team=shop", "proxy.canary=true", "proxy.count=3", "id=\"7\""].map(|one| one.parse().unwrap()).into();
        let place: Locality = "cn/hz".parse().unwrap();
        assert_eq!(
            lines(&metadata, Some(&place)),
            "  locality: { region: \"cn\", zone: \"hz\" }\n  metadata: {\"id\":\"7\",\"proxy\":{\"canary\":true,\"count\":3},\"team\":\"shop\"}\n"
        );
        assert_eq!(lines(&[], None), "");
        for wrong in ["team", "=x", "a..b=1"] {
            assert!(wrong.parse::<Metadata>().is_err(), "{wrong}");
        }
        for wrong in ["", "/z", "a/b/c/d"] {
            assert!(wrong.parse::<Locality>().is_err(), "{wrong}");
        }
    }
}
