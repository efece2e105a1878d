//! Why something could not be had from Nacos: which step, of which address, and what to do.

use crate::{
    model::Text,
    registry::transport::{self, Remedies},
    util::{error::chain, redact::address},
};
use reqwest::StatusCode;
use std::time::Duration;

/// The code by which a server says, by gRPC, that it does not know the connection: not yet, or no longer.
pub(crate) const UNREGISTERED: i64 = 301;
/// The code for a missing login or right, by gRPC.
const NO_RIGHT: i64 = 403;

/// Host and HTTP port of the server to which another one sends its clients, as far as it names them.
pub(crate) type Destination = Option<(String, Option<u16>)>;

/// Advice at the end of messages about errors of HTTP.
pub(crate) const REMEDIES: Remedies = Remedies { too_large: "raise `max_body`, or lower `page_size`", status: remedy };

/// Why something could not be had. The URLs in it carry no secret: tokens travel in headers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    // Identity: whom we ask, and as whom.
    #[error("no server is known")]
    NoServers,
    #[error("the answer of {url} is no list of servers: {line:?} is no `host:port`")]
    Addresses { url: String, line: String },
    #[error("cannot log in as {user}")]
    Login {
        user: String,
        #[source]
        source: Box<Error>,
    },
    /// Has the text of the attempt that failed, so that waiting for the next one is no new failure.
    #[error("cannot log in as {user}: {why}")]
    LoginLater { user: String, why: Text },
    #[error("{url} wants a token, and no usable one came from the login; check the address")]
    NoToken { url: String },

    // Transport: HTTP.
    #[error(transparent)]
    Http(#[from] transport::Error),
    #[error("{url} answered code {code}: {message}")]
    Refused { url: String, code: i64, message: String },
    #[error(
        "the answer of {url} is not what Nacos answers; it begins with {start:?}. Is the address that of Nacos' API?"
    )]
    Decode {
        url: String,
        start: String,
        #[source]
        source: serde_json::Error,
    },

    // Transport: gRPC.
    #[error("{server} is no address for gRPC")]
    GrpcAddress {
        server: String,
        #[source]
        source: tonic::transport::Error,
    },
    #[error("cannot reach {server} by gRPC: Nacos 1.x has none; else check `grpc_port`")]
    GrpcConnect {
        server: String,
        #[source]
        source: tonic::transport::Error,
    },
    #[error("the server did not answer a {kind} within {seconds} s")]
    GrpcLate { kind: &'static str, seconds: f64 },
    #[error("a {kind} failed")]
    GrpcCall {
        kind: &'static str,
        #[source]
        source: Box<tonic::Status>,
    },
    #[error("the server answered a {kind} with code {code}: {message}")]
    GrpcRefused { kind: &'static str, code: i64, message: String },
    #[error("a {kind} is not what Nacos sends")]
    GrpcDecode {
        kind: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the server closed the connection")]
    GrpcClosed,
    #[error("the stream of the connection broke")]
    GrpcBroken(#[source] Box<tonic::Status>),
    #[error("the server sends its clients to another server")]
    GrpcReset { to: Destination },

    // Lists.
    #[error("the list of {path} shows {listed} {what} where it counts {total}: it is not whole")]
    Incomplete { what: &'static str, path: &'static str, listed: usize, total: usize },
    #[error("the list of {what} goes beyond {limit}")]
    OverLimit { what: &'static str, limit: String },
    #[error("namespace {name:?} does not exist; there are {known}")]
    NoNamespace { name: String, known: String },
    #[error(
        "{cause}: the list of namespaces cannot be read, which `*`, patterns and names need; write ids instead. Tried: {tried}"
    )]
    NoNamespaceList { cause: String, tried: String },
    #[error("the list of namespaces is empty, though every server has a public one; is the server starting?")]
    NoNamespaces,

    // Services.
    #[error(
        "no Nacos answers at this address: {cause}. Check host, port and context path, which is /nacos unless the address \
         or `context_path` says otherwise. Tried: {tried}"
    )]
    NoNacos { cause: String, tried: String },
    #[error(
        "{cause}: the server lists services in no way that is open to this user. Give it the right to read all groups \
         (`NAMESPACE:*:*`), or name in `groups` those that it may read; for the latter Nacos 3 needs gRPC within reach \
         (`grpc_port`), or nacos.core.api.compatibility.client.enabled=true. Tried: {tried}"
    )]
    NoApi { cause: String, tried: String },
    #[error(
        "no pattern of `groups` says which group to ask for, and the server lists no groups to this user: name them in full"
    )]
    NoGroups,
    #[error("{0}")]
    Entry(Text),
    #[error("{status} for a service that the list shows: it was just removed, or it is broken ({url})")]
    NotThere { url: String, status: StatusCode },
    #[error("none of the {count} services could be read; the first")]
    EveryService {
        count: usize,
        #[source]
        first: Box<Error>,
    },
    #[error("nothing is pushed, which `mode: push` needs: {0}")]
    NoPush(Text),

    #[error(
        "the rules of Dubbo, which `overrides` needs, could not be read yet (the texts of the configuration's group dubbo): {why}"
    )]
    NoRules { why: Text },

    // Manifests.
    #[error(
        "{cause}: the server lists its configuration in no way that is known, or not to this user, who needs the right to \
         read the group {group}. Tried: {tried}"
    )]
    NoConfigList { cause: String, group: Text, tried: String },
    #[error("manifest {name} could not be read")]
    Manifest {
        name: Text,
        #[source]
        source: Box<Error>,
    },
    #[error("the list of {path} shows {name} without its content")]
    NoContent { path: &'static str, name: Text },
    #[error("{count} manifests are meant, and no more than {max} are read; narrow `data_ids`")]
    TooManyManifests { count: usize, max: usize },
}

impl Error {
    /// The error for a service that a list shows: a status that elsewhere means a wrong address means here that the
    /// service is gone.
    /// service is gone.
    pub(crate) fn of_listed_service(self) -> Self {
        match self {
            Error::Http(transport::Error::Status { url, status, .. })
                if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) =>
            {
                Error::NotThere { url, status }
            }
            other => other,
        }
    }

    /// What happened, in the first words, without what to do about it: for errors that have a remedy of their own.
    pub(crate) fn cause(&self) -> String {
        match self {
            Error::Http(transport::Error::Status { url, status, message, .. }) => {
                format!("{status} from {}{message}", address(url))
            }
            Error::Decode { url, start, .. } => format!("{} answers {start:?}", address(url)),
            other => chain(other),
        }
    }

    /// True for an answer that no Nacos gives: another server is there, or the path is another one's.
    pub(crate) fn is_foreign(&self) -> bool {
        match self {
            Error::Decode { .. } => true,
            Error::Http(error) => error.status().is_some_and(|status| matches!(status.as_u16(), 300..=399 | 404 | 405)),
            _ => self.is_grpc_absent() || matches!(self, Error::GrpcCall { .. }),
        }
    }

    /// True if the server itself or the way to it is at fault, so that another server may answer.
    pub(crate) fn is_server_lost(&self) -> bool {
        match self {
            Error::Http(error) => error.is_server_lost(),
            // Not any server error: 3.x answers 500 to a wrong password.
            Error::Login { source, .. } => match source.status() {
                Some(status) => matches!(status.as_u16(), 502..=504),
                None => source.is_unreachable(),
            },
            Error::Manifest { source, .. } => source.is_server_lost(),
            _ => self.is_grpc() && !self.is_grpc_refusal(),
        }
    }

    /// True if nobody answers: the next request would only wait as long.
    pub(crate) fn is_unreachable(&self) -> bool {
        match self {
            Error::Http(error) => error.is_unreachable(),
            Error::Login { source, .. } => source.is_unreachable(),
            _ => self.is_grpc() && !self.is_grpc_refusal(),
        }
    }

    /// True if the server answers, but not in this way: not there, gone, not allowed, or not JSON.
    pub(crate) fn is_not_offered(&self) -> bool {
        match self {
            Error::Http(error) => error
                .status()
                .is_some_and(|status| matches!(status.as_u16(), 300..=399 | 400 | 401 | 403 | 404 | 405 | 410 | 501)),
            Error::Refused { .. } | Error::Decode { .. } => true,
            Error::Manifest { source, .. } => source.is_not_offered(),
            _ => self.is_grpc_refusal() || self.is_grpc_absent(),
        }
    }

    /// True if the server does not have the interface, whoever asks.
    pub(crate) fn is_absent(&self) -> bool {
        self.is_grpc_absent() || self.status().is_some_and(|status| matches!(status.as_u16(), 404 | 405 | 410 | 501))
    }

    /// True if our rights or the token are at fault.
    pub(crate) fn is_denied(&self) -> bool {
        match self {
            Error::Http(error) => error.is_denied(),
            Error::GrpcRefused { code, .. } => matches!(*code, 401 | NO_RIGHT),
            _ => false,
        }
    }

    /// True if the server has refused only this request by gRPC; the connection is good.
    pub(crate) fn is_grpc_refusal(&self) -> bool {
        matches!(self, Error::GrpcRefused { code, .. } if *code != UNREGISTERED)
    }

    /// True if nobody speaks gRPC there, or not to us.
    pub(crate) fn is_grpc_not_spoken(&self) -> bool {
        self.is_grpc_absent() || matches!(self, Error::GrpcCall { .. } | Error::GrpcLate { .. })
    }

    /// The pause that the server asks for in `Retry-After`.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Http(error) => error.retry_after(),
            Error::Manifest { source, .. } => source.retry_after(),
            _ => None,
        }
    }

    /// The status that the server answered by HTTP instead of 200; `None` for other errors.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Error::Http(error) => error.status(),
            _ => None,
        }
    }

    /// True if nothing answers there by gRPC.
    fn is_grpc_absent(&self) -> bool {
        matches!(self, Error::GrpcAddress { .. } | Error::GrpcConnect { .. })
    }

    fn is_grpc(&self) -> bool {
        matches!(
            self,
            Error::GrpcAddress { .. }
                | Error::GrpcConnect { .. }
                | Error::GrpcLate { .. }
                | Error::GrpcCall { .. }
                | Error::GrpcRefused { .. }
                | Error::GrpcDecode { .. }
                | Error::GrpcClosed
                | Error::GrpcBroken(_)
                | Error::GrpcReset { .. }
        )
    }
}

/// What to do about a status, as a half sentence.
fn remedy(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => ": that is not Nacos' API; check the address and its context path",
        401 | 403 => ": check `username` and `password`, and what the user may read",
        404 | 410 => ": check the address's context path; a server that was upgraded is asked anew",
        429 => ": the server asks for fewer requests; raise `period` or lower `concurrency`",
        503 => ": the server is starting, or not ready",
        _ => "",
    }
}
