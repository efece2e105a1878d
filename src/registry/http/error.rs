//! Why a list could not be had: which step, of which address, and what to do.

use crate::{
    registry::{
        limits::Exceeded,
        transport::{self, Remedies},
    },
    util::yaml::Problems,
};
use reqwest::StatusCode;
use std::time::Duration;

/// Advice at the end of messages about errors of HTTP.
pub(super) const REMEDIES: Remedies = Remedies { too_large: "raise `max_body`", status: remedy };

/// Why a list could not be had. The URLs in it carry no secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Http(#[from] transport::Error),
    #[error("what {url} gives is no catalogue (it begins with {start:?}): {problems}")]
    Catalogue { url: String, start: String, problems: Problems },
    #[error("what {url} gives is no JSON; it begins with {start:?}")]
    Json {
        url: String,
        start: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("what {url} gives has no list where one should be: {what}; it begins with {start:?}")]
    Form { url: String, start: String, what: String },
    #[error("{limit}; the list of {url} is refused")]
    Exceeded { url: String, limit: Exceeded },
    #[error("none of the {count} addresses gave a list: {tried}")]
    EveryUrl { count: usize, tried: String, retry_after: Option<Duration> },
}

impl Error {
    /// The pause that the server asks for in `Retry-After`.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Http(error) => error.retry_after(),
            Error::EveryUrl { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What to do about a status, as a half sentence.
fn remedy(status: StatusCode) -> &'static str {
    match status.as_u16() {
        304 => ": it was not asked whether something has changed; does a cache stand before it?",
        300..=399 => ": redirects are not followed; write the address that it leads to, if you trust it",
        401 | 403 => ": check `username` and `password`, `token`, or `headers`",
        404 | 410 => ": check the address's path",
        429 => ": the server asks for fewer requests; raise `period`",
        _ => "",
    }
}
