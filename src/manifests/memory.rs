//! What is kept of manifests beyond the life of the process: plain values, between the core and whoever writes them down.
//!
//! The core takes a memory for what an earlier reading has sent, after an outage: it is served, and nothing of it is gone
//! before the registry was listed again. A loss of everything that was held begins its time anew, as after any failure.

use crate::model::{ManifestId, Scope, Text};
use std::collections::BTreeMap;

/// What is known of the manifests of one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The manifests of each scope, in the order of the scopes' names.
    pub scopes: Vec<(Scope, Vec<ManifestMemory>)>,
}

/// A manifest's last good text, with where it came from, as the state on disk keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestMemory {
    /// Where the text is kept.
    pub id: ManifestId,
    /// The last text that was right.
    pub good: Option<Text>,
    /// The text as it was last sent, or why it could not be read.
    pub text: Result<Text, Text>,
}

/// What is known of all registries, each with its identity. None of one that was never listed whole.
pub type Memories = BTreeMap<Text, (Text, Memory)>;

impl Memory {
    /// How many manifests it has.
    pub fn len(&self) -> usize {
        self.scopes.iter().map(|(_, manifests)| manifests.len()).sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
