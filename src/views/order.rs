//! Which producers a dialect's views have, and in which order: of several that have a name the first one's is served.

use super::{
    Selection,
    manifests::Manifests,
    producer::{Producer, Sources},
    services::Services,
};
use crate::resource::{Dialect, KindReadiness};

/// The producers of a view, in the order in which names are theirs.
pub(super) fn producers(dialect: Dialect, selection: &Selection) -> Vec<Box<dyn Producer>> {
    let services = Box::new(Services::new(dialect, selection.clone()));
    match dialect {
        Dialect::Envoy | Dialect::Grpc => vec![services],
        Dialect::Istio => vec![services, Box::new(Manifests::new(selection.clone()))],
    }
}

/// How far what a dialect's views are made of has reported, kind by kind.
pub(super) fn readiness(dialect: Dialect, sources: &Sources) -> KindReadiness {
    let producers = producers(dialect, &Selection::default());
    producers.iter().fold(KindReadiness::default(), |so_far, producer| producer.readiness(sources, so_far))
}
