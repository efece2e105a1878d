//! Why there is no push: which step, of which server. What it means for reading is said where it is logged.

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(in crate::registry::nacos) enum Error {
    #[error("{server} is no address for gRPC")]
    Address {
        server: String,
        #[source]
        source: tonic::transport::Error,
    },
    #[error("cannot reach {server} by gRPC: Nacos 1.x has none; else check `grpc_port`")]
    Connect {
        server: String,
        #[source]
        source: tonic::transport::Error,
    },
    #[error("no credentials for gRPC")]
    Credentials(#[source] Box<super::super::error::Error>),
    #[error("the server did not answer a {kind} within {seconds} s")]
    Late { kind: &'static str, seconds: f64 },
    #[error("a {kind} failed")]
    Call {
        kind: &'static str,
        #[source]
        source: Box<tonic::Status>,
    },
    #[error("the server answered a {kind} with code {code}: {message}")]
    Refused { kind: &'static str, code: i64, message: String },
    #[error("a {kind} is not what Nacos sends")]
    Decode {
        kind: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the server closed the connection")]
    Closed,
    #[error("the stream of the connection broke")]
    Broken(#[source] Box<tonic::Status>),
    #[error("the server sends us to another")]
    Reset {
        /// Where, if it says so.
        server: Option<super::wire::Place>,
    },
}

impl Error {
    /// Our rights are at fault, or the token.
    pub(in crate::registry::nacos) fn is_denied(&self) -> bool {
        matches!(self, Error::Refused { code: 401 | super::wire::NO_RIGHT, .. })
    }

    /// Nobody speaks gRPC there, or not to us.
    pub(in crate::registry::nacos) fn is_not_spoken(&self) -> bool {
        matches!(self, Error::Address { .. } | Error::Connect { .. } | Error::Call { .. } | Error::Late { .. })
    }

    /// Nothing answers there.
    pub(in crate::registry::nacos) fn is_absent(&self) -> bool {
        matches!(self, Error::Address { .. } | Error::Connect { .. })
    }

    /// Only what was asked for is refused; the connection is good.
    pub(in crate::registry::nacos) fn is_refusal(&self) -> bool {
        matches!(self, Error::Refused { code, .. } if *code != super::wire::UNREGISTERED)
    }
}
