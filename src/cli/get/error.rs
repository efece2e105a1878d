//! Why there is no answer to show.

use crate::cli::ask;
use std::io;

/// Why there is no answer to show.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Error {
    /// The request has failed.
    #[error(transparent)]
    Ask(#[from] ask::Error),
    /// The answer cannot be written as YAML.
    #[error("cannot write the answer as YAML")]
    Yaml(#[source] serde_saphyr::ser::Error),
    /// Standard output cannot be written.
    #[error("cannot print the answer")]
    Print(#[source] io::Error),
}
