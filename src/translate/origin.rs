//! Where a service is, to Istio.

use crate::model::Text;

/// Where a service comes from, as Istio sees it: what its ServiceEntry says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The namespace of its entry.
    pub namespace: Text,
    /// Who sees it; empty: what the mesh has as default.
    pub export_to: Vec<Text>,
}
