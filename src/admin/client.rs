//! xDS streams as the admin API shows them.

use super::time;
use serde::Serialize;
use std::time::SystemTime;

/// An open stream of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Client {
    /// The number of the stream: 1 for the first one of the process.
    pub stream: u64,
    /// Address and port of the client.
    pub peer: String,
    /// The name of the listener that it came in by; `default` is what `xds.listen` makes.
    pub listener: String,
    /// The name that it has proved by a certificate or a token. `None`: the listener asks for no proof.
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
    /// Which rule has chosen the view, and by what of the node.
    pub why: String,
    /// The state of the stream for each type that it has subscribed to.
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
    /// The type URL of the resources, such as `type.googleapis.com/envoy.config.cluster.v3.Cluster`.
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
    /// Resources that it is not sent because clients refuse them, by name.
    pub withheld: Vec<Withheld>,
    /// How many resources were sent; one that is sent again counts again.
    pub resources_sent: u64,
    /// The bytes of all responses of this type.
    pub bytes_sent: u64,
}

/// A resource that a client is not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Withheld {
    /// The name of the resource.
    pub name: String,
    /// The hash of the content that is refused, in hexadecimal; another content is sent.
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
