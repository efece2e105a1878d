//! Why a request had no good answer: which step, of which address, and what to do.

use crate::util::tls::TlsError;
use reqwest::StatusCode;
use std::{io, time::Duration};

/// Why a request had no good answer. The URLs in it carry no secret: secrets travel in headers.
#[derive(Debug, thiserror::Error)]
pub(in crate::registry) enum Error {
    #[error("cannot make an HTTP client: check `headers`")]
    Client(#[source] reqwest::Error),
    #[error("cannot speak TLS: check `tls`")]
    Tls(#[source] TlsError),
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
    #[error("the answer of {url} is not whole in the gzip that it says it is")]
    Gzip {
        url: String,
        #[source]
        source: io::Error,
    },
    #[error("the answer of {url} is longer than {limit} bytes: {remedy}")]
    TooLarge { url: String, limit: usize, remedy: &'static str },
    #[error("{url} answered {status}{message}{remedy}")]
    Status { url: String, status: StatusCode, message: String, remedy: &'static str, retry_after: Option<Duration> },
}

/// Advice in messages about errors that mean something else for each kind of registry.
#[derive(Debug, Clone, Copy)]
pub(in crate::registry) struct Remedies {
    /// Advice for an answer that is too long.
    pub(in crate::registry) too_large: &'static str,
    /// Advice for a status, as a half sentence after a colon; empty if there is none.
    pub(in crate::registry) status: fn(StatusCode) -> &'static str,
}

impl Error {
    /// True if the server itself or the way to it is at fault, so that another server may answer.
    pub(in crate::registry) fn is_server_lost(&self) -> bool {
        self.is_unreachable() || self.status().is_some_and(|status| status.is_server_error())
    }

    /// True if nobody answers, or the answer breaks off: the next request would only wait as long.
    pub(in crate::registry) fn is_unreachable(&self) -> bool {
        matches!(self, Error::Connect { .. } | Error::Body { .. } | Error::Gzip { .. })
    }

    /// True if nobody listens there: any other request would fail the same way.
    pub(in crate::registry) fn is_nobody(&self) -> bool {
        matches!(self, Error::Connect { source, .. } if source.is_connect())
    }

    /// True if our rights are at fault (401 or 403).
    pub(in crate::registry) fn is_denied(&self) -> bool {
        self.status().is_some_and(|status| matches!(status.as_u16(), 401 | 403))
    }

    /// The status that the server answered instead of 200; `None` for other errors.
    pub(in crate::registry) fn status(&self) -> Option<StatusCode> {
        match self {
            Error::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The short text of the answer, if its status is `code`.
    pub(in crate::registry) fn said_with(&self, code: u16) -> Option<&str> {
        match self {
            Error::Status { status, message, .. } if status.as_u16() == code => Some(message),
            _ => None,
        }
    }

    /// The pause that the server asks for in `Retry-After`.
    pub(in crate::registry) fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The value of the label `outcome` in the counter of requests.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Error::Connect { source, .. } | Error::Body { source, .. } if source.is_timeout() => "timeout",
            Error::Connect { .. } => "unreachable",
            Error::Body { .. } | Error::Gzip { .. } => "broken",
            Error::TooLarge { .. } => "too_large",
            Error::Status { status, .. } if status.is_server_error() => "server_error",
            Error::Status { .. } if self.is_denied() => "denied",
            Error::Status { .. } => "refused",
            Error::Client(_) | Error::Tls(_) | Error::Header(_) => "invalid",
        }
    }
}
