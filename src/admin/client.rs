//! One stream of a client, as people see it.

use super::time;
use serde::Serialize;
use std::time::SystemTime;

/// An open stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Client {
    /// Its number; counts up.
    pub stream: u64,
    /// The other side's address and port.
    pub peer: String,
    /// `sotw` or `delta`.
    pub variant: &'static str,
    /// When it was opened.
    #[serde(serialize_with = "time::required")]
    pub connected_at: SystemTime,
    /// Who it says it is.
    pub node: Node,
    /// What it subscribes to, by type.
    pub types: Vec<Subscription>,
}

/// Who a client says it is. Empty parts were not said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Its cluster.
    pub cluster: String,
    /// `region/zone/sub-zone`.
    pub locality: String,
    /// Program and version.
    pub agent: String,
}

/// What a stream has of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subscription {
    /// The type.
    pub type_url: String,
    /// Whether it wants all there are.
    pub wildcard: bool,
    /// How many it names.
    pub names: usize,
    /// What it was sent last.
    pub sent: Option<Sent>,
    /// What it took last.
    pub acknowledged: Option<Acknowledged>,
    /// What it refused last; stays to be read when a later version is taken.
    pub refused: Option<Refused>,
    /// Resources sent, repetitions counted.
    pub resources_sent: u64,
    /// Bytes of the answers.
    pub bytes_sent: u64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Its version.
    pub version: String,
    /// Its nonce.
    pub nonce: String,
    /// When.
    #[serde(serialize_with = "time::required")]
    pub at: SystemTime,
}

/// An answer that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acknowledged {
    /// Its version.
    pub version: String,
    /// When.
    #[serde(serialize_with = "time::required")]
    pub at: SystemTime,
}

/// An answer that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its version.
    pub version: String,
    /// What the client says of it.
    pub message: String,
    /// When.
    #[serde(serialize_with = "time::required")]
    pub at: SystemTime,
}
