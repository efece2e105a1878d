//! The node in a stream's first request: who the client claims to be.

use super::fields::Malformed;
use crate::{
    pb::envoy::config::core::v3::{Node as WireNode, node::UserAgentVersionType},
    resource::Variant,
};
use prost::Message;
use std::collections::BTreeMap;

/// How much of each text is kept, so that a client cannot make us remember a book.
const KEPT: usize = 512;
/// How many entries of the metadata are kept.
const ENTRIES: usize = 64;

/// What is known of a client. Everything is the client's own word, and may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// The group it belongs to.
    pub cluster: String,
    /// Where it runs: region, zone and sub-zone.
    pub locality: [String; 3],
    /// Such as `envoy`.
    pub user_agent: String,
    /// Such as `1.40.0`.
    pub user_agent_version: String,
    /// The metadata's texts at its top level.
    pub metadata: BTreeMap<String, String>,
}

/// Why a node cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The request is not protobuf.
    #[error("a first request that is no discovery request")]
    Request(#[from] Malformed),
    /// The node is not.
    #[error("a first request whose node cannot be decoded")]
    Node(#[source] prost::DecodeError),
}

impl Node {
    /// The node in a stream's first request; without one, an empty one.
    ///
    /// # Errors
    /// If the request, or the node in it, is not protobuf.
    pub fn of_request(variant: Variant, raw: &[u8]) -> Result<Node, NodeError> {
        match super::request::node(variant, raw)? {
            Some(bytes) => Ok(Node::from(WireNode::decode(bytes).map_err(NodeError::Node)?)),
            None => Ok(Node::default()),
        }
    }
}

impl From<WireNode> for Node {
    fn from(wire: WireNode) -> Self {
        let locality = wire.locality.unwrap_or_default();
        let version = match wire.user_agent_version_type {
            Some(UserAgentVersionType::UserAgentVersion(text)) => text,
            Some(UserAgentVersionType::UserAgentBuildVersion(build)) => {
                build.version.map_or_else(String::new, |v| format!("{}.{}.{}", v.major_number, v.minor_number, v.patch))
            }
            None => String::new(),
        };
        let texts = wire.metadata.unwrap_or_default().fields.into_iter().filter_map(|(key, value)| {
            let text = value.string_value?;
            Some((cut(key), cut(text)))
        });
        let metadata = texts.take(ENTRIES).collect();
        Node {
            id: cut(wire.id),
            cluster: cut(wire.cluster),
            locality: [cut(locality.region), cut(locality.zone), cut(locality.sub_zone)],
            user_agent: cut(wire.user_agent_name),
            user_agent_version: cut(version),
            metadata,
        }
    }
}

fn cut(mut text: String) -> String {
    let mut end = text.len().min(KEPT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
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
            service::discovery::v3::DiscoveryRequest,
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
        let raw = DiscoveryRequest { node: Some(node), ..Default::default() }.encode_to_vec();
        let expected = Node {
            id: "x".repeat(KEPT),
            cluster: "edge".into(),
            locality: ["cn".into(), "hz".into(), "a".into()],
            user_agent: "envoy".into(),
            user_agent_version: "1.40.2".into(),
            metadata: [("GENERATOR".into(), "api".into())].into(),
        };
        assert_eq!(Node::of_request(Variant::Sotw, &raw).unwrap(), expected);
    }

    #[test]
    fn no_node_is_an_empty_one_and_garbage_is_an_error() {
        assert_eq!(Node::of_request(Variant::Delta, b"").unwrap(), Node::default());
        assert!(matches!(Node::of_request(Variant::Sotw, b"\x0b"), Err(NodeError::Request(_))));
        assert!(matches!(Node::of_request(Variant::Sotw, b"\x12\x01\x0b"), Err(NodeError::Node(_))));
    }
}
