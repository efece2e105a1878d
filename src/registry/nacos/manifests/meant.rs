//! Which texts of the configuration are read.

use crate::{model::Text, registry::nacos::config::Manifests};

/// The texts of the configuration that are read.
#[derive(Debug, Clone)]
pub(crate) struct Meant {
    pub(crate) group: Text,
    /// Patterns for their dataIds; one that fits is enough.
    pub(crate) data_ids: Vec<Text>,
    /// The server is asked for each pattern, as the group has far more texts than are meant. If not, it is asked for
    /// the group.
    pub(crate) by_pattern: bool,
}

impl Meant {
    /// The manifests: Istio's resources in the configured group.
    pub(crate) fn manifests(config: &Manifests) -> Self {
        Meant { group: config.group.clone(), data_ids: config.data_ids.clone(), by_pattern: false }
    }

    /// Dubbo's rules. The descriptions of all interfaces stand in the same group.
    pub(crate) fn rules() -> Self {
        Meant { group: "dubbo".into(), data_ids: vec!["*.configurators".into(), "*-router".into()], by_pattern: true }
    }
}
