//! What is known of a service besides what is published.

use super::Beyond;
use crate::model::Text;
use ipnet::IpNet;

/// Where a service comes from, as Istio sees it: what its ServiceEntry says; and what the configuration asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The namespace of its entry.
    pub namespace: Text,
    /// Who sees it; empty: what the mesh has as default.
    pub export_to: Vec<Text>,
    /// The addresses that the entry itself says.
    pub addresses: Vec<IpNet>,
    /// Nobody looks for its endpoints: connections go to where they were meant to go (`resolution: NONE`).
    pub is_passed_through: bool,
    /// What Istio has no field for.
    pub beyond: Beyond,
}
