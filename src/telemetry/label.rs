//! Labels that several parts' metrics share.

use prometheus_client::encoding::EncodeLabelSet;

/// The name of a registry in the configuration, where nothing else tells figures apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RegistryLabel {
    registry: String,
}

impl RegistryLabel {
    /// Of the registry of that name.
    pub fn of(registry: &str) -> Self {
        RegistryLabel { registry: registry.to_owned() }
    }
}
