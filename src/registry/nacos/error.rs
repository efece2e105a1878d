//! Why something could not be had from Nacos: which step, of which address, and what to do.

use super::push;
use crate::{
    model::Text,
    registry::transport::{self, Remedies},
};
use reqwest::StatusCode;
use std::time::Duration;

/// What to do about answers that HTTP itself refuses.
pub(super) const REMEDIES: Remedies = Remedies { too_large: "raise `max_body`, or lower `page_size`", status: remedy };

/// What went wrong. Addresses in it carry no secret: tokens travel in headers.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Http(#[from] transport::Error),
    #[error("nothing can be had by gRPC")]
    Grpc(#[source] push::Error),
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
    #[error("cannot log in as {user}")]
    Login {
        user: String,
        #[source]
        source: Box<Error>,
    },
    /// Says the same as the attempt that failed, so that waiting for the next one is no news.
    #[error("cannot log in as {user}: {why}")]
    LoginLater { user: String, why: Text },
    #[error("{url} wants a token, and no usable one came from the login; check the address")]
    NoToken { url: String },
    #[error(
        "the server lists services in no way that is known. Give the user the right to read all groups (`NAMESPACE:*:*`), \
         or name in `groups` those that it may read; for the latter Nacos 3 needs gRPC within reach (`grpc_port`), or \
         nacos.core.api.compatibility.client.enabled=true. Tried: {0}"
    )]
    NoApi(String),
    #[error("namespace {name:?} does not exist; there are {known}")]
    NoNamespace { name: String, known: String },
    #[error(
        "no pattern of `groups` says which group to ask for, and the server lists no groups to this user: name them in full"
    )]
    NoGroups,
    #[error("the list of namespaces cannot be had, which `all` needs; name them instead. Tried: {0}")]
    NoNamespaceList(String),
    #[error("the list of namespaces is empty, though every server has a public one; is the server starting?")]
    NoNamespaces,
    #[error("the list of {path} shows {listed} {what} where it counts {total}: it is not whole")]
    Incomplete { what: &'static str, path: &'static str, listed: usize, total: usize },
    #[error("the list of {path} does not end within {pages} pages")]
    Endless { path: &'static str, pages: usize },
    #[error("no server is known")]
    NoServers,
    #[error("the answer of {url} is no list of servers: {line:?} is no `host:port`")]
    Addresses { url: String, line: String },
    #[error("nothing is pushed, which `mode: push` needs: {0}")]
    NoPush(Text),
    #[error("none of the {count} services could be read; the first")]
    EveryService {
        count: usize,
        #[source]
        first: Box<Error>,
    },
}

impl Error {
    /// The server itself is at fault, or the way to it: another may answer.
    pub(super) fn is_server_lost(&self) -> bool {
        match self {
            Error::Http(error) => error.is_server_lost(),
            Error::Grpc(error) => !error.is_refusal(),
            // Not any server error: 3.x answers 500 to a wrong password.
            Error::Login { source, .. } => match source.status() {
                Some(status) => matches!(status.as_u16(), 502..=504),
                None => source.is_unreachable(),
            },
            _ => false,
        }
    }

    /// Nobody answers at all: the next request would only wait as long.
    pub(super) fn is_unreachable(&self) -> bool {
        match self {
            Error::Http(error) => error.is_unreachable(),
            Error::Grpc(error) => !error.is_refusal(),
            Error::Login { source, .. } => source.is_unreachable(),
            _ => false,
        }
    }

    /// The server answers, but not in this way: not there, gone, not allowed, or not JSON.
    pub(super) fn is_not_offered(&self) -> bool {
        match self {
            Error::Http(error) => error
                .status()
                .is_some_and(|status| matches!(status.as_u16(), 300..=399 | 400 | 401 | 403 | 404 | 405 | 410 | 501)),
            Error::Grpc(error) => error.is_refusal() || error.is_absent(),
            Error::Refused { .. } | Error::Decode { .. } => true,
            _ => false,
        }
    }

    /// The server does not have it, whoever asks.
    pub(super) fn is_absent(&self) -> bool {
        match self {
            Error::Grpc(error) => error.is_absent(),
            _ => self.status().is_some_and(|status| matches!(status.as_u16(), 404 | 405 | 410 | 501)),
        }
    }

    /// Our rights are at fault.
    pub(super) fn is_denied(&self) -> bool {
        match self {
            Error::Http(error) => error.is_denied(),
            Error::Grpc(error) => error.is_denied(),
            _ => false,
        }
    }

    /// How long the server asked to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Http(error) => error.retry_after(),
            _ => None,
        }
    }

    fn status(&self) -> Option<StatusCode> {
        match self {
            Error::Http(error) => error.status(),
            _ => None,
        }
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
