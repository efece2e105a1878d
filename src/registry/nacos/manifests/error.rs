//! Why manifests could not be had: which step, of which, and what to do.

use super::super::error;
use crate::model::Text;
use std::time::Duration;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Nacos(#[from] error::Error),
    #[error(
        "the server lists its configuration in no way that is known, or not to this user: the right to read the group \
         {group} is needed. Tried: {tried}"
    )]
    NoWay { group: Text, tried: String },
    #[error("manifest {name} could not be read")]
    One {
        name: Text,
        #[source]
        source: error::Error,
    },
    #[error("the list of {path} shows {name} without its content")]
    NoContent { path: &'static str, name: Text },
    #[error("{count} manifests are meant, and no more than {max} are read; narrow `data_ids`")]
    TooMany { count: usize, max: usize },
}

impl Error {
    /// Another interface may be there now.
    pub(super) fn asks_again(&self) -> bool {
        match self {
            Error::Nacos(error) | Error::One { source: error, .. } => error.is_server_lost() || error.is_not_offered(),
            _ => false,
        }
    }

    /// How long the server asked to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Nacos(error) | Error::One { source: error, .. } => error.retry_after(),
            _ => None,
        }
    }
}
