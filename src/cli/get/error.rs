//! Why there is no answer to show.

use std::io;

/// Why there is no answer to show.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Error {
    /// The argument is no URL of HTTP.
    #[error("{0:?} is no address of an admin; write it as http://127.0.0.1:8081")]
    Address(String),
    /// There is no answer, or only a part of one.
    #[error("no Portolan answers on {url}; start one, or name the admin address of another with --admin")]
    Ask {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// There is no answer in time.
    #[error("{url} does not answer within {seconds} s; it may be overloaded, or no Portolan: check the address")]
    Late { url: String, seconds: u64 },
    /// The answer is a refusal.
    #[error("{url} answers {status}: {text}")]
    Refused { url: String, status: u16, text: String },
    /// The answer is none of Portolan's.
    #[error("{url} does not answer as Portolan does; check the address")]
    Format {
        url: String,
        #[source]
        source: serde_json::Error,
    },
    /// The answer cannot be written as YAML.
    #[error("cannot write the answer as YAML")]
    Yaml(#[source] serde_saphyr::ser::Error),
    /// Standard output cannot be written.
    #[error("cannot print the answer")]
    Print(#[source] io::Error),
    /// The system gives no resources to ask with.
    #[error("cannot start")]
    Start(#[source] io::Error),
}
