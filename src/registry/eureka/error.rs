//! Why something could not be had from Eureka: which step, of which address, and what to do.

use crate::registry::{
    limits::Exceeded,
    transport::{self, Remedies},
};
use reqwest::StatusCode;
use std::time::Duration;

/// Advice at the end of messages about errors of HTTP.
pub(super) const REMEDIES: Remedies = Remedies { too_large: "raise `max_body`", status: remedy };

/// Why something could not be had. The URLs in it carry no secret: secrets travel in headers.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Http(#[from] transport::Error),
    #[error(
        "the answer of {url} is not what Eureka answers; it begins with {start:?}. Is the address that of Eureka's API?"
    )]
    Decode {
        url: String,
        start: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the answer of {url} has neither applications nor the hash of them: it is no list")]
    NoList { url: String },
    #[error(
        "{url} answers in XML though it was asked for JSON: does something before it take the header `Accept` away, or is it older than Eureka 1.1?"
    )]
    Xml { url: String },
    #[error("the {count} applications in the answer of {url} have no name, so none can be read")]
    NoNames { url: String, count: usize },
    #[error(
        "the answer of {url} contradicts itself: it says that it has {expected:?} (instances by status), and has {found:?}. The last list stays"
    )]
    Contradiction {
        url: String,
        expected: String,
        found: String,
        /// No other list has come for a while, so this is reported as a failure.
        lasting: bool,
    },
    #[error("{limit}; the list of {url} is refused")]
    Exceeded { url: String, limit: Exceeded },
    #[error("none of the {count} servers gave a list: {tried}")]
    EveryServer { count: usize, tried: String, retry_after: Option<Duration> },
}

impl Error {
    /// True if the server answers without offering this: it refuses the request, or gives no list.
    pub(super) fn is_not_offered(&self) -> bool {
        match self {
            Error::Http(error) => {
                error.status().is_some_and(|status| status.is_client_error() || status.is_redirection())
            }
            Error::Decode { .. } | Error::NoList { .. } | Error::NoNames { .. } | Error::Xml { .. } => true,
            Error::Contradiction { .. } | Error::Exceeded { .. } | Error::EveryServer { .. } => false,
        }
    }

    /// True if one list contradicts itself, as happens when the server makes it while an instance changes: the next may
    /// be right.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Error::Contradiction { lasting: false, .. })
    }

    /// The pause that the server asks for in `Retry-After`.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Http(error) => error.retry_after(),
            Error::EveryServer { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What to do about a status, as a half sentence.
fn remedy(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => ": that is not Eureka's API; check the address and its path",
        401 | 403 => ": check `username` and `password`, or `token`",
        404 | 410 => ": check the address's path; it is /eureka in Spring Cloud, /eureka/v2 in Netflix' own server",
        406 => ": the server cannot answer in JSON, which Portolan reads",
        429 => ": the server asks for fewer requests; raise `period`",
        503 => ": the server is starting, and has not yet heard of its peers",
        _ => "",
    }
}
