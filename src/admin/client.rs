//! The form of an xDS stream in admin.

use super::time;
use serde::Serialize;
use std::time::SystemTime;

/// An open stream of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Client {
    /// Its number: 1 for the first stream of the process.
    pub stream: u64,
    /// Address and port of the client.
    pub peer: String,
    /// The name of the listener that it came in by; `default` is what `xds.listen` makes.
    pub listener: String,
    /// The name that it has proved by a certificate or a token; none where it need not.
    pub identity: Option<String>,
    /// State of the world (`sotw`) or incremental (`delta`): the gRPC method that it called.
    pub variant: &'static str,
    /// When the stream was opened.
    #[serde(serialize_with = "time::required")]
    pub connected_at: SystemTime,
    /// The node of its first request.
    pub node: Node,
    /// The key of the view that it sees; empty before its first request.
    pub view: String,
    /// Why it is that one.
    pub why: String,
    /// Its subscriptions, one for each type.
    pub types: Vec<Subscription>,
}

/// The node that a client sends. A part that it did not send is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Node {
    /// `node.id`: what its configuration calls the client; not proved.
    pub id: String,
    /// `node.cluster`: the group of clients that it counts itself to.
    pub cluster: String,
    /// `region/zone/sub-zone`, without parts at the end that it does not name.
    pub locality: String,
    /// Name and version of the program, such as `envoy 1.40.0`.
    pub agent: String,
}

/// The state of a stream for one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subscription {
    /// The type URL of all that this subscription is about.
    pub type_url: String,
    /// Whether it subscribes to all resources.
    pub wildcard: bool,
    /// How many resources it subscribes to by name.
    pub names: usize,
    /// The last response; `None` before the first.
    pub sent: Option<Sent>,
    /// The last response that it acknowledged; `None` before the first.
    pub acknowledged: Option<Acknowledged>,
    /// The last response that it refused. Remains when a later version is acknowledged.
    pub refused: Option<Refused>,
    /// What it is not sent, because it refuses it, by name.
    pub withheld: Vec<Withheld>,
    /// Resources sent, with repetitions.
    pub resources_sent: u64,
    /// Bytes of all responses.
    pub bytes_sent: u64,
}

/// A resource that a client is not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Withheld {
    /// Its name.
    pub name: String,
    /// The version that is refused; another one is sent.
    pub version: String,
    /// `named` by the client, `searched`, or `shared`: others like it refuse it, or it did before.
    pub found: &'static str,
}

/// A response, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// A hash of all that it holds, in hexadecimal; the client repeats it when it accepts or refuses.
    pub version: String,
    /// The number by which the client's next request of the type names it.
    pub nonce: String,
    /// When it was sent, acknowledged or refused.
    #[serde(serialize_with = "time::required")]
    pub at: SystemTime,
}

/// A response that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acknowledged {
    /// A hash of all that it holds, in hexadecimal; the client repeats it when it accepts or refuses.
    pub version: String,
    /// When it was sent, acknowledged or refused.
    #[serde(serialize_with = "time::required")]
    pub at: SystemTime,
}

/// A response that was refused (NACK).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// A hash of all that it holds, in hexadecimal; the client repeats it when it accepts or refuses.
    pub version: String,
    /// The client's own words, from `error_detail`; cut where they are long.
    pub message: String,
    /// When it was sent, acknowledged or refused.
    #[serde(serialize_with = "time::required")]
    pub at: SystemTime,
}
