//! What happened to manifests, for the log and for metrics.

use crate::model::{ManifestId, Scope, Text};

/// Something worth knowing. The core collects them; the store around it takes them out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A text was read.
    Read {
        manifest: ManifestId,
        /// How many it holds.
        resources: usize,
        /// Its last text was wrong.
        wrong_before: bool,
    },
    /// A text is wrong.
    Wrong {
        manifest: ManifestId,
        /// The first problem by position; the others stand in admin.
        first: String,
        /// How many there are.
        problems: usize,
        /// How many resources of its last good text are served on.
        stays: usize,
    },
    /// Something of a manifest is another's already.
    Conflict { manifest: ManifestId, error: Text },
    /// A registry, or one scope of it, cannot be read.
    Failed {
        registry: Text,
        scope: Option<Scope>,
        error: Text,
        /// It failed the last time for the same reason.
        again: bool,
    },
    /// It can be read again.
    Recovered { registry: Text, scope: Option<Scope> },
    /// Everything of a scope is gone at once; it stays for a time.
    Held { registry: Text, scope: Scope, manifests: usize },
    /// It stayed so, and is deleted.
    Released { registry: Text, scope: Scope, manifests: usize },
    /// Services' entries wait no longer for the manifests of these registries.
    Overdue { registries: Vec<Text> },
}
