//! Why something could not be had from Consul: which step, of which address, and what to do.

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
        "the answer of {url} is not what Consul answers; it begins with {start:?}. Is the address that of Consul's HTTP API?"
    )]
    Decode {
        url: String,
        start: String,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "{url} lists no service at all{hint}: that is a token that may read nothing, and no empty registry, which has at least Consul itself; check `token`, which needs service:read and node:read"
    )]
    NothingVisible { url: String, hint: &'static str },
    #[error(
        "{url} shows no instance, and says that some are hidden by ACLs: the token may not read this service or its nodes. What is known of it stays"
    )]
    Hidden { url: String },
    #[error("{0}")]
    Exceeded(#[from] Exceeded),
    #[error("of {all} services that are to be read {read} are by now, and the others follow: {limit}")]
    Unfinished { read: usize, all: usize, limit: Exceeded },
    #[error("none of the {count} servers answered: {tried}")]
    EveryServer { count: usize, tried: String, retry_after: Option<Duration>, is_general: bool },
}

impl Error {
    /// True if no server answers, or an answer breaks off.
    pub(super) fn is_unreachable(&self) -> bool {
        match self {
            Error::Http(error) => error.is_unreachable(),
            Error::EveryServer { .. } => true,
            _ => false,
        }
    }

    /// True if every request would fail this way. An answer that is late or breaks off concerns the one service alone.
    pub(super) fn is_general(&self) -> bool {
        match self {
            Error::Http(error) => error.is_nobody() || error.is_denied(),
            Error::EveryServer { is_general, .. } => *is_general,
            Error::Exceeded(_) => true,
            _ => false,
        }
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
        300..=399 => ": that is not Consul's API; check the address, and whether it is https",
        401 | 403 => ": check `token`; Consul may have been given another, or this one is expired or deleted",
        404 => ": check the address's path, which is what stands before /v1",
        429 => ": Consul asks for fewer requests; lower `concurrency`",
        500 | 503 => ": Consul has no leader at the moment, or does not reach the datacenter",
        _ => "",
    }
}
