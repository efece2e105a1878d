//! The resources of manifests, beside those of services.

use super::producer::{Producer, Sources, Step};
use crate::{
    manifests::Snapshot,
    resource::{Kind, KindReadiness, Name, Readiness, Resource},
};
use std::sync::Arc;

/// What stands in the last snapshot.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    snapshot: Arc<Snapshot>,
}

impl Producer for Manifests {
    fn update(&mut self, step: &mut Step<'_>) {
        let before = std::mem::replace(&mut self.snapshot, step.sources.manifests.clone());
        if Arc::ptr_eq(&before, &self.snapshot) {
            return;
        }
        let (old, new) = (&before.resources, &self.snapshot.resources);
        let differs = |key, resource: &Arc<Resource>| new.get(key).is_none_or(|now| !Arc::ptr_eq(now, resource));
        let gone = old.iter().filter(|(key, resource)| differs(*key, resource));
        let come = new.keys().filter(|key| !old.contains_key(*key));
        step.touched.extend(gone.map(|(key, _)| key).chain(come).cloned());
    }

    fn get(&self, kind: Kind, name: &Name) -> Option<&Arc<Resource>> {
        self.snapshot.resources.get(&(kind, name.clone()))
    }

    /// A list that lacks a manifest's entry deletes it, so entries of services wait for manifests, but not for ever: a
    /// source of manifests that never answers must not keep the mesh from changes of instances.
    fn readiness(&self, sources: &Sources, so_far: KindReadiness) -> KindReadiness {
        let Some(readiness) = sources.manifests.readiness else { return so_far };
        let of_entries = if readiness == Readiness::Waiting { readiness } else { Readiness::Complete };
        let of = |kind| if kind == Kind::ServiceEntry { of_entries } else { readiness };
        Kind::istio().fold(so_far, |all, kind| all.and(kind, of(kind)))
    }
}
