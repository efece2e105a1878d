//! What outlives the process: for each registry a file with what it said last, and one with the manifests that it keeps, so
//! that a Portolan that starts while its registries are gone serves what they had.
//!
//! [`Keeper`] asks the catalog and the manifests what is new and writes it when it is quiet; [`Store`] reads and writes the files;
//! `wire` turns what they remember into bytes and back, and `frame` closes them in a header and a checksum. Nothing here decides what
//! becomes of a memory: that is theirs.
//!
//! Invariant: a file that is damaged, of another registry, too old or of a newer Portolan is set aside and told; it never
//! keeps Portolan from starting.

mod content;
mod frame;
mod keeper;
mod metrics;
mod store;
#[cfg(test)]
mod tests;
mod wire;

pub use content::Content;
pub use keeper::{Control, Keeper};
pub use metrics::Metrics;
pub use store::Store;
pub use wire::{Unreadable, overrides::Laid};

use std::{path::PathBuf, time::Duration};

/// The name of files that are of no single registry, in place of the registry's.
pub const EVERYTHING: &str = "all";

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
