//! Labels that several parts' metrics share.

use prometheus_client::encoding::EncodeLabelSet;

/// The label `registry`, of metrics that are counted for each registry and by nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RegistryLabel {
    registry: String,
}

impl RegistryLabel {
    /// The label of a registry, by its name in the configuration.
    pub fn of(registry: &str) -> Self {
        RegistryLabel { registry: registry.to_owned() }
    }
}
