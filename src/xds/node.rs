//! The node in a stream's first request: who the client claims to be.
//!
//! It is read field by field where it stands: what is not kept (`extensions`, `client_features`, nested metadata) is
//! passed over and costs no memory. At most [`ENTRIES`] metadata entries are kept and [`KEPT`] bytes of each text, which
//! is 69 KiB in all.

use super::fields::{Fields, Malformed};
use std::collections::BTreeMap;

/// Bytes of each text that are kept.
const KEPT: usize = 512;
/// Entries of the metadata that are kept: the first in the order of their keys.
const ENTRIES: usize = 64;

/// What is known of a client. Everything is the client's own word, and may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// `node.id`, by which people know it; not proved.
    pub id: String,
    /// The group it belongs to.
    pub cluster: String,
    /// Where it runs: region, zone and sub-zone.
    pub locality: [String; 3],
    /// The program, such as `envoy` or `gRPC Go`.
    pub user_agent: String,
    /// Its version, such as `1.40.0`.
    pub user_agent_version: String,
    /// The metadata's texts at its top level.
    pub metadata: BTreeMap<String, String>,
}

impl Node {
    /// Reads an `envoy.config.core.v3.Node`.
    ///
    /// # Errors
    /// Where the bytes are no protobuf message.
    pub fn read(wire: &[u8]) -> Result<Node, Malformed> {
        let (mut node, mut fields) = (Node::default(), Fields::new(wire));
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => node.id = text(value),
                2 => node.cluster = text(value),
                3 => node.read_metadata(value)?,
                4 => node.locality = locality(value)?,
                6 => node.user_agent = text(value),
                7 => node.user_agent_version = text(value),
                8 => node.user_agent_version = build_version(value)?,
                _ => {}
            }
        }
        Ok(node)
    }

    /// A `google.protobuf.Struct`: a map whose entries are messages of key and value.
    fn read_metadata(&mut self, wire: &[u8]) -> Result<(), Malformed> {
        let mut entries = Fields::new(wire);
        while let Some((1, entry)) = entries.next()? {
            let (mut fields, mut key, mut value) = (Fields::new(entry), &b""[..], None);
            while let Some((number, part)) = fields.next()? {
                match number {
                    1 => key = part,
                    2 => value = string_value(part)?,
                    _ => {}
                }
            }
            let Some(value) = value else { continue };
            self.metadata.insert(text(key), text(value));
            if self.metadata.len() > ENTRIES {
                self.metadata.pop_last();
            }
        }
        Ok(())
    }
}

/// The text of a `google.protobuf.Value`; `None` if it is no text.
fn string_value(wire: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let (mut fields, mut found) = (Fields::new(wire), None);
    while let Some((number, value)) = fields.next()? {
        found = (number == 3).then_some(value);
    }
    Ok(found)
}

fn locality(wire: &[u8]) -> Result<[String; 3], Malformed> {
    let (mut parts, mut fields) = (<[String; 3]>::default(), Fields::new(wire));
    while let Some((number, value)) = fields.next()? {
        if let 1..=3 = number {
            parts[number as usize - 1] = text(value);
        }
    }
    Ok(parts)
}

/// The semantic version in a `BuildVersion`, as text.
fn build_version(wire: &[u8]) -> Result<String, Malformed> {
    let (mut fields, mut numbers) = (Fields::new(wire), [0; 3]);
    while let Some((number, version)) = fields.next()? {
        if number == 1 {
            numbers = super::fields::numbers(version)?;
        }
    }
    Ok(numbers.map(|number| number.to_string()).join("."))
}

/// At most [`KEPT`] bytes of a text; what is not UTF-8 is replaced.
fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(&bytes[..bytes.len().min(KEPT + 4)]).chars() {
        if text.len() + c.len_utf8() > KEPT {
            break;
        }
        text.push(c);
    }
    text.shrink_to_fit();
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_of_xds_api::Message;
    use xds_api::pb::{
        envoy::{
            config::core::v3::{BuildVersion, Locality, Node as WireNode, node::UserAgentVersionType},
            r#type::v3::SemanticVersion,
        },
        google::protobuf::{Struct, Value, value::Kind as ValueKind},
    };

    #[test]
    fn a_node_is_read_with_what_scopes_and_people_need() {
        let text = |t: &str| Value { kind: Some(ValueKind::StringValue(t.into())) };
        let version = SemanticVersion { major_number: 1, minor_number: 40, patch: 2 };
        let build = BuildVersion { version: Some(version), metadata: None };
        let node = WireNode {
            id: "x".repeat(2_000),
            cluster: "edge".into(),
            metadata: Some(Struct {
                fields: [
                    ("GENERATOR".into(), text("api")),
                    ("n".into(), Value { kind: None }),
                    ("b".into(), Value { kind: Some(ValueKind::BoolValue(true)) }),
                ]
                .into(),
            }),
            locality: Some(Locality { region: "cn".into(), zone: "hz".into(), sub_zone: "a".into() }),
            user_agent_name: "envoy".into(),
            user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(build)),
            ..Default::default()
        };
        let expected = Node {
            id: "x".repeat(KEPT),
            cluster: "edge".into(),
            locality: ["cn".into(), "hz".into(), "a".into()],
            user_agent: "envoy".into(),
            user_agent_version: "1.40.2".into(),
            metadata: [("GENERATOR".into(), "api".into())].into(),
        };
        assert_eq!(Node::read(&node.encode_to_vec()).unwrap(), expected);
    }

    #[test]
    fn what_is_kept_of_a_node_is_bounded_and_does_not_depend_on_its_order() {
        let value = || Value { kind: Some(ValueKind::StringValue("é".repeat(4_000))) };
        let fields: std::collections::HashMap<_, _> = (0..5_000).map(|i| (format!("{i:04}"), value())).collect();
        let node = WireNode { metadata: Some(Struct { fields }), ..Default::default() };
        let read = Node::read(&node.encode_to_vec()).unwrap();
        assert!(read.metadata.keys().map(|key| &**key).eq((0..64).map(|i| format!("{i:04}")).collect::<Vec<_>>()));
        assert!(read.metadata.values().all(|value| *value == "é".repeat(256)));
    }

    #[test]
    fn garbage_is_an_error_and_text_that_is_not_utf_8_is_replaced() {
        assert_eq!(Node::read(b""), Ok(Node::default()));
        assert_eq!(Node::read(b"\x0b"), Err(Malformed { at: 0 }));
        assert_eq!(Node::read(b"\x0a\x03a\xffb").unwrap().id, "a\u{fffd}b");
    }
}
