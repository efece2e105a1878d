//! What can be set of the server.

use super::{budget::MemoryLimits, slots::Places};
use std::time::Duration;

/// What can be set of the server. The defaults serve some thousand clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The longest request accepted. An acknowledgement repeats all names, 19 KB per thousand.
    pub max_request_bytes: usize,
    /// Where answers are split, if the protocol allows it: gRPC clients refuse more than 4 MiB.
    pub answer_bytes: usize,
    /// How many names a stream may subscribe to.
    pub max_names: usize,
    /// How many bytes of unfinished requests and subscriptions are held.
    pub memory: MemoryLimits,
    /// How many streams may be open.
    pub max_streams: usize,
    /// How many streams may be open from one address.
    pub max_streams_per_peer: usize,
    /// How many streams one connection may have open.
    pub max_streams_per_connection: u32,
    /// To how many streams first answers are sent at a time.
    pub first_answers: usize,
    /// How many connections may be open.
    pub max_connections: usize,
    /// How many connections may be open from one address.
    pub max_connections_per_peer: usize,
    /// How long a request may take from its first byte to its last, and how long a stream waits for its first one.
    pub request_time: Duration,
    /// How long an answer without acknowledgement holds back the next one of its type. Envoy withholds it for as long as
    /// clusters warm.
    pub ack_patience: Duration,
    /// A connection on which a stream that has something to send makes no progress for so long is closed.
    pub stall_timeout: Duration,
    /// A connection without an open stream for so long is closed.
    pub idle_timeout: Duration,
    /// How often a silent connection is asked whether it lives.
    pub keepalive_interval: Duration,
    /// How long it has to answer before it is closed.
    pub keepalive_timeout: Duration,
    /// At shutdown each connection ends at a random moment of this time.
    pub drain: Duration,
    /// After about so long (± 10 %) a connection is ended, so that clients spread over new replicas; `None`: never.
    pub max_connection_age: Option<Duration>,
}

impl Options {
    pub(super) fn connections(&self) -> Places {
        Places { all: self.max_connections, per_peer: self.max_connections_per_peer }
    }

    /// Handshakes that may be under way. Half of what one address may have, so that they never take all of it.
    pub(super) fn handshakes(&self) -> usize {
        self.max_connections.min(self.max_connections_per_peer).div_ceil(2)
    }

    pub(super) fn streams(&self) -> Places {
        Places { all: self.max_streams, per_peer: self.max_streams_per_peer }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_request_bytes: 16 << 20,
            answer_bytes: 2 << 20,
            max_names: 200_000,
            memory: MemoryLimits { stream: 64 << 20, peer: 128 << 20, server: 256 << 20 },
            max_streams: 20_000,
            max_streams_per_peer: 5_000,
            max_streams_per_connection: 100,
            first_answers: 100,
            max_connections: 20_000,
            max_connections_per_peer: 5_000,
            request_time: Duration::from_secs(30),
            ack_patience: Duration::from_millis(500),
            stall_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            drain: Duration::from_secs(1),
            max_connection_age: None,
        }
    }
}
