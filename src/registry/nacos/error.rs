//! Why something could not be had from Nacos: which step, of which address, and what to do.

use crate::model::Text;
use reqwest::StatusCode;
use std::time::Duration;

/// What went wrong. Addresses in it carry no secret: tokens travel in headers.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot make an HTTP client: check `headers`")]
    Client(#[source] reqwest::Error),
    #[error("header {0:?} has a name or a value that HTTP does not allow")]
    Header(String),
    #[error("cannot reach {url}")]
    Connect {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the answer of {url} broke off")]
    Body {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the answer of {url} is longer than {limit} bytes: raise `max_body`, or lower `page_size`")]
    TooLarge { url: String, limit: usize },
    #[error("{url} answered {status}{message}{}", remedy(*.status))]
    Status { url: String, status: StatusCode, message: String, retry_after: Option<Duration> },
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
        "the server lists services in no way that is known. Nacos 3: give the user admin rights, or set \
         nacos.core.api.compatibility.client.enabled=true. Tried: {0}"
    )]
    NoApi(String),
    #[error("namespace {name:?} does not exist; there are {known}")]
    NoNamespace { name: String, known: String },
    #[error("the list of namespaces cannot be had, which `all` needs; name them instead. Tried: {0}")]
    NoNamespaceList(String),
    #[error("the list of namespaces is empty, though every server has a public one; is the server starting?")]
    NoNamespaces,
    #[error("the list of {path} shows {listed} services where it counts {total}: it is not whole")]
    Incomplete { path: &'static str, listed: usize, total: usize },
    #[error("the list of {path} does not end within {pages} pages")]
    Endless { path: &'static str, pages: usize },
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
            Error::Connect { .. } | Error::Body { .. } => true,
            Error::Status { status, .. } => status.is_server_error(),
            // Not any server error: 3.x answers 500 to a wrong password.
            Error::Login { source, .. } => match **source {
                Error::Status { status, .. } => matches!(status.as_u16(), 502..=504),
                _ => source.is_unreachable(),
            },
            _ => false,
        }
    }

    /// Nobody answers at all: the next request would only wait as long.
    pub(super) fn is_unreachable(&self) -> bool {
        match self {
            Error::Connect { .. } | Error::Body { .. } => true,
            Error::Login { source, .. } => source.is_unreachable(),
            _ => false,
        }
    }

    /// The server answers, but not in this way: not there, gone, not allowed, or not JSON.
    pub(super) fn is_not_offered(&self) -> bool {
        match self {
            Error::Status { status, .. } => {
                matches!(status.as_u16(), 300..=399 | 400 | 401 | 403 | 404 | 405 | 410 | 501)
            }
            Error::Refused { .. } | Error::Decode { .. } => true,
            _ => false,
        }
    }

    /// Our rights are at fault.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self, Error::Status { status, .. } if matches!(status.as_u16(), 401 | 403))
    }

    /// How long the server asked to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The word for counting.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Error::Connect { source, .. } | Error::Body { source, .. } if source.is_timeout() => "timeout",
            Error::Connect { .. } => "unreachable",
            Error::Body { .. } => "broken",
            Error::TooLarge { .. } => "too_large",
            Error::Status { status, .. } if status.is_server_error() => "server_error",
            Error::Status { .. } if self.is_denied() => "denied",
            Error::Status { .. } => "refused",
            _ => "invalid",
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
