//! The node in a stream's first request: who the client claims to be.
//!
//! It is read field by field where it stands: what is not kept (`extensions`, `client_features`) is passed over and costs no
//! memory. [`KEPT`] bytes of each text are kept, and 512 KiB of metadata, which the stream's account is charged with.

use super::{
    fields::{Fields, Malformed},
    metadata::Metadata,
};

/// Bytes of each text that are kept.
const KEPT: usize = 512;

/// What is known of a client. Everything is the client's own word, and may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// `node.id`, by which people know it; not proved.
    pub id: String,
    /// `node.cluster`: the group that it says it belongs to.
    pub cluster: String,
    /// Where it runs: region, zone and sub-zone, each empty where it does not say.
    pub locality: [String; 3],
    /// The program, such as `envoy` or `gRPC Go`.
    pub user_agent: String,
    /// Version of that program, such as `1.40.0`, from `user_agent_version` or `user_agent_build_version`.
    pub user_agent_version: String,
    /// `node.metadata`: what else it says of itself.
    pub metadata: Metadata,
    /// Whether `id` or `cluster` was longer than what is kept.
    pub cut: bool,
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
                1 => (node.id, node.cut) = (text(value), node.cut || value.len() > KEPT),
                2 => (node.cluster, node.cut) = (text(value), node.cut || value.len() > KEPT),
                3 => node.metadata = Metadata::read(value)?,
                4 => node.locality = locality(value)?,
                6 => node.user_agent = text(value),
                7 => node.user_agent_version = text(value),
                8 => node.user_agent_version = build_version(value)?,
                _ => {}
            }
        }
        Ok(node)
    }
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
                fields: [("GENERATOR".into(), text("api")), ("n".into(), Value { kind: None })].into(),
            }),
            locality: Some(Locality { region: "cn".into(), zone: "hz".into(), sub_zone: "a".into() }),
            user_agent_name: "envoy".into(),
            user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(build)),
            ..Default::default()
        };
        let read = Node::read(&node.encode_to_vec()).unwrap();
        assert_eq!(read.metadata.text("GENERATOR"), Some("api"));
        let expected = Node {
            id: "x".repeat(KEPT),
            cluster: "edge".into(),
            locality: ["cn".into(), "hz".into(), "a".into()],
            user_agent: "envoy".into(),
            user_agent_version: "1.40.2".into(),
            metadata: read.metadata.clone(),
            cut: true,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn garbage_is_an_error_and_text_that_is_not_utf_8_is_replaced() {
        assert_eq!(Node::read(b""), Ok(Node::default()));
        assert_eq!(Node::read(b"\x0b"), Err(Malformed { at: 0 }));
        assert_eq!(Node::read(b"\x0a\x03a\xffb").unwrap().id, "a\u{fffd}b");
    }
}
