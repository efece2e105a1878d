//! What tells proxies apart, and what those are that say nothing.

use crate::{
    model::{GrpcLibrary, Proxy, ProxyKind, Text},
    resource::Dialect,
};
use std::collections::BTreeSet;

/// What tells proxies apart: what rules ask about them. What none asks about makes no view of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classes {
    /// The namespace of proxies that name none.
    pub namespace: Text,
    /// Whether there is any rule.
    pub ruled: bool,
    /// Labels that some selector names, with their values.
    pub labels: BTreeSet<(Text, Text)>,
    /// Namespaces that some rule stands in, or names.
    pub namespaces: BTreeSet<Text>,
    /// Services are for some namespaces only, so that each one counts.
    pub all_namespaces: bool,
}

/// The class of clients of a dialect that say nothing: an Envoy is a gateway that may have listeners of its own.
pub fn plain(dialect: Dialect, namespace: &Text) -> Proxy {
    match dialect {
        Dialect::Grpc => Proxy::new(ProxyKind::Grpc(GrpcLibrary::Other), namespace.clone()),
        Dialect::Envoy | Dialect::Istio => {
            Proxy { all_clusters: true, ..Proxy::new(ProxyKind::Router, namespace.clone()) }
        }
    }
}
