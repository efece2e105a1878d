//! What Istio's rules need to know of a service besides what is published.

use super::Beyond;
use crate::model::Text;
use ipnet::IpNet;

/// Where a service comes from, as Istio sees it: what its ServiceEntry says; and what the configuration asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The namespace of its ServiceEntry.
    pub namespace: Text,
    /// Who sees the service: `exportTo` of its entry. Empty: the default of the mesh.
    pub export_to: Vec<Text>,
    /// Virtual addresses from `addresses` of a manifest's ServiceEntry; empty for services of registries.
    pub addresses: Vec<IpNet>,
    /// Whether connections keep their original destination, so that endpoints do not matter (`resolution: NONE`).
    pub is_passed_through: bool,
    /// Settings of the configuration that Istio has no field for.
    pub beyond: Beyond,
}
