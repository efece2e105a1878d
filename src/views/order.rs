//! Which producers a family's views have, and in which order: of several that have a name the first one's is served.

use super::{
    Selection,
    manifests::Manifests,
    producer::{Producer, Sources},
    services::Services,
};
use crate::resource::{Family, KindReadiness};

/// The producers of a view, in the order in which names are theirs.
pub(super) fn producers(family: Family, selection: &Selection) -> Vec<Box<dyn Producer>> {
    let services = Box::new(Services::new(family, selection.clone()));
    match family {
        Family::Envoy => vec![services],
        Family::Istio => vec![services, Box::new(Manifests::default())],
    }
}

/// How far what a family's views are made of has reported, kind by kind.
pub(super) fn readiness(family: Family, sources: &Sources) -> KindReadiness {
    let producers = producers(family, &Selection::default());
    producers.iter().fold(KindReadiness::default(), |so_far, producer| producer.readiness(sources, so_far))
}
