//! What outlives the process: for each registry a file with what it said last, so that a Portolan that starts while its
//! registries are gone serves what they had.
//!
//! [`Keeper`] asks the catalog what is new and writes it when it is quiet; [`Store`] reads and writes the files;
//! `wire` turns what the catalog remembers into bytes and back, and `frame` closes them in a header and a checksum. Nothing here decides what
//! becomes of a memory: that is the catalog's.
//!
//! Invariant: a file that is damaged, of another registry, too old or of a newer Portolan is set aside and told; it never
//! keeps Portolan from starting.

mod frame;
mod keeper;
mod metrics;
mod store;
#[cfg(test)]
mod tests;
mod wire;

pub use keeper::{Control, Keeper};
pub use metrics::Metrics;
pub use store::Store;

use std::{path::PathBuf, time::Duration};

/// Where and how long things are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The folder; `None`: nothing is kept.
    pub dir: Option<PathBuf>,
    /// What was written longer ago is not used.
    pub max_age: Duration,
    /// How long nothing must change before something is written.
    pub quiet: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { dir: None, max_age: Duration::from_secs(24 * 3600), quiet: Duration::from_secs(5) }
    }
}

impl Options {
    /// After so long it is written although it is not quiet.
    pub(crate) fn at_most(&self) -> Duration {
        self.quiet * 12
    }
}
