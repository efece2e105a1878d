//! Configuration that a registry keeps for others: Istio's resources, as they are written down.

use super::Text;
use std::fmt;

/// The registry of manifests that stand in files: none that is configured has this name.
pub const FILES: &str = "traffic";

/// What a registry calls a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestId {
    /// The registry's name in the configuration.
    pub registry: Text,
    /// The namespace in the registry, which is none of Istio's.
    pub namespace: Text,
    /// The group in the registry; empty if it has none.
    pub group: Text,
    /// Its name there; Nacos' `dataId`.
    pub name: Text,
}

/// A text in YAML or JSON, which holds one or several resources. What it means is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Where the text is kept.
    pub id: ManifestId,
    /// As it is kept; or why it cannot be read, which is as good as a wrong text.
    pub text: Result<Text, Text>,
}

impl fmt::Display for ManifestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ManifestId { registry, namespace, group, name } = self;
        write!(f, "{registry}/{namespace}/{group}/{name}")
    }
}
