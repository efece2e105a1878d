//! Why something could not be had from Consul: which step, of which address, and what to do.

use crate::registry::{
    limits::Exceeded,
    transport::{self, Remedies},
};
use reqwest::StatusCode;
use std::time::Duration;

/// What to do about answers that HTTP itself refuses.
pub(super) const REMEDIES: Remedies = Remedies { too_large: "raise `max_body`", status: remedy };

/// What went wrong. Addresses in it carry no secret: those travel in headers.
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
    /// Nobody answers at all, or not to the end.
    pub(super) fn is_unreachable(&self) -> bool {
        match self {
            Error::Http(error) => error.is_unreachable(),
            Error::EveryServer { .. } => true,
            _ => false,
        }
    }

    /// Concerns everything, and not the one service that was asked for: what comes too late or breaks off is that one's alone.
    pub(super) fn is_general(&self) -> bool {
        match self {
            Error::Http(error) => error.is_nobody() || error.is_denied(),
            Error::EveryServer { is_general, .. } => *is_general,
            Error::Exceeded(_) => true,
            _ => false,
        }
    }

    /// How long the server asked to be left alone.
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
