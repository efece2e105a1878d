//! Which producers a dialect's views have, and in which order: of several that have a name the first one's is served.

use super::{
    Selection, ViewKey,
    manifests::Manifests,
    producer::{Producer, Sources},
    proxies::Proxies,
    services::Services,
};
use crate::resource::{Dialect, KindReadiness};

/// The producers of a view, in the order in which names are theirs.
pub(super) fn producers(key: &ViewKey, selection: &Selection) -> Vec<Box<dyn Producer>> {
    let selection = selection.clone();
    match key.dialect {
        Dialect::Envoy | Dialect::Grpc => {
            vec![Box::new(Proxies::new(key.dialect, key.class.proxy.clone(), selection))]
        }
        Dialect::Istio => {
            vec![Box::new(Services::new(key.dialect, selection.clone())), Box::new(Manifests::new(selection))]
        }
    }
}

/// How far what a dialect's views are made of has reported, kind by kind.
pub(super) fn readiness(dialect: Dialect, sources: &Sources) -> KindReadiness {
    let producers = producers(&ViewKey::whole(dialect), &Selection::default());
    producers.iter().fold(KindReadiness::default(), |so_far, producer| producer.readiness(sources, so_far))
}
