//! What happened to manifests, for the log and for metrics.

use crate::model::{ManifestId, Scope, Text};

/// Something to be logged or counted. The core collects events; the store takes them out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A text was read, and all of it is right.
    Read {
        manifest: ManifestId,
        /// How many resources the text holds.
        resources: usize,
        /// Its last text was wrong.
        wrong_before: bool,
    },
    /// A text cannot be read, or is wrong; what its last good text gave stays.
    Wrong {
        manifest: ManifestId,
        /// The first problem by position; the admin API shows all of them.
        first: String,
        /// How many problems there are.
        problems: usize,
        /// How many resources of its last good text are served on.
        stays: usize,
    },
    /// A resource of a manifest has the name of another manifest's, and is left out.
    Conflict { manifest: ManifestId, error: Text },
    /// A registry, or one scope of it, cannot be read.
    Failed {
        registry: Text,
        scope: Option<Scope>,
        error: Text,
        /// It failed the last time for the same reason.
        again: bool,
    },
    /// The registry, or the scope of it, can be read again.
    Recovered { registry: Text, scope: Option<Scope> },
    /// Everything of a scope is gone at once; it stays for a time.
    Held { registry: Text, scope: Scope, manifests: usize },
    /// All manifests of a held scope stayed away, and are deleted.
    Released { registry: Text, scope: Scope, manifests: usize },
    /// A registry is read no longer, and its manifests are gone.
    Gone { registry: Text },
    /// Services' entries wait no longer for the manifests of these registries.
    Overdue { registries: Vec<Text> },
}
