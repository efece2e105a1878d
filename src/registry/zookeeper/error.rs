//! Why something could not be had from ZooKeeper: which step, of which node, and what to do.

use crate::registry::{limits::Exceeded, outbox::Closed};
use std::{io, time::Duration};

/// Why something could not be had. No text in it holds a user's name or password.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "cannot get a session from {servers}: {cause}; is it running, and is the address that of its clients' port?"
    )]
    Connect { servers: String, cause: zookeeper_client::Error },
    #[error("cannot reach {server}")]
    Unreachable {
        server: String,
        #[source]
        source: io::Error,
    },
    /// A server of that age answers requests that it does not know this way, and ends the session.
    #[error("the server is older than 3.6")]
    Old,
    #[error("the connection to {servers} is lost")]
    Lost { servers: String },
    #[error("{path} must not be read: give the user the right to READ it, or check `auth`")]
    Denied { path: String },
    #[error("cannot read {path}")]
    Read {
        path: String,
        #[source]
        source: zookeeper_client::Error,
    },
    #[error("{limit}; {path} keeps its last services")]
    Exceeded { path: String, limit: Exceeded },
    #[error(
        "{servers} began an answer of {length} bytes, and no more than {limit} are read; raise `max_packet` if that is right, or see which node has so many children"
    )]
    TooLong { servers: String, length: u32, limit: usize },
    #[error("{path} was not answered within {limit:?}")]
    NoAnswer { path: String, limit: Duration },
    #[error(
        "cannot speak TLS with {server}; is the address that of its port for TLS (`secureClientPort`), and does `tls.ca` have the authority of its certificate?"
    )]
    Insecure {
        server: String,
        #[source]
        source: io::Error,
    },
}

/// Why a session's reading ends.
pub(super) enum End {
    Closed,
    Lost(Error),
}

impl From<Closed> for End {
    fn from(Closed: Closed) -> Self {
        End::Closed
    }
}

impl Error {
    /// True if nothing more can be read in this session.
    pub(super) fn is_lost(&self) -> bool {
        use zookeeper_client::Error as Cause;
        match self {
            Error::Denied { .. } => false,
            Error::Read { source, .. } => matches!(
                source,
                Cause::ConnectionLoss
                    | Cause::SessionExpired
                    | Cause::SessionMoved
                    | Cause::AuthFailed
                    | Cause::ClientClosed
                    | Cause::Timeout
                    | Cause::Custom(_)
            ),
            _ => true,
        }
    }

    /// The value of the label `outcome` in the counter of requests.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Error::Denied { .. } => "denied",
            Error::NoAnswer { .. } => "timeout",
            Error::TooLong { .. } => "too_large",
            error if error.is_lost() => "broken",
            _ => "invalid",
        }
    }
}
