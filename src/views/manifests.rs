//! The resources of manifests, beside those of services.

use super::{
    Selection,
    producer::{Producer, Sources, Step},
};
use crate::{
    manifests::Snapshot,
    resource::{Kind, KindReadiness, Name, Readiness, Resource},
};
use std::{collections::BTreeSet, sync::Arc};

/// The producer of manifests' resources: those in the last snapshot, of the registries that the view has.
#[derive(Debug)]
pub(super) struct Manifests {
    selection: Selection,
    snapshot: Arc<Snapshot>,
    /// Resources of the snapshot that the view does not have.
    hidden: BTreeSet<(Kind, Name)>,
    reselected: bool,
}

impl Manifests {
    pub(super) fn new(selection: Selection) -> Self {
        Manifests { selection, snapshot: Arc::default(), hidden: BTreeSet::new(), reselected: false }
    }
}

impl Producer for Manifests {
    fn update(&mut self, step: &mut Step<'_>) {
        let before = std::mem::replace(&mut self.snapshot, step.sources.manifests.clone());
        if Arc::ptr_eq(&before, &self.snapshot) && !self.reselected {
            return;
        }
        self.reselected = false;
        let hidden = self.selection.hidden(&self.snapshot);
        let turned = self.hidden.symmetric_difference(&hidden).cloned();
        step.touched.extend(turned);
        self.hidden = hidden;
        let (old, new) = (&before.resources, &self.snapshot.resources);
        let differs = |key, resource: &Arc<Resource>| new.get(key).is_none_or(|now| !Arc::ptr_eq(now, resource));
        let gone = old.iter().filter(|(key, resource)| differs(*key, resource));
        let come = new.keys().filter(|key| !old.contains_key(*key));
        step.touched.extend(gone.map(|(key, _)| key).chain(come).cloned());
    }

    fn get(&self, kind: Kind, name: &Name) -> Option<&Arc<Resource>> {
        let key = (kind, name.clone());
        self.snapshot.resources.get(&key).filter(|_| !self.hidden.contains(&key))
    }

    fn select(&mut self, selection: &Selection) {
        (self.selection, self.reselected) = (selection.clone(), true);
    }

    /// A list that lacks a manifest's entry deletes it, so entries of services wait for manifests, but not for ever: a
    /// source of manifests that never answers must not keep the mesh from changes of instances.
    fn readiness(&self, sources: &Sources, so_far: KindReadiness) -> KindReadiness {
        let Some(readiness) = sources.manifests.known() else { return so_far };
        let of_entries = if readiness == Readiness::Waiting { readiness } else { Readiness::Complete };
        let of = |kind| if kind == Kind::ServiceEntry { of_entries } else { readiness };
        Kind::istio().fold(so_far, |all, kind| all.and(kind, of(kind)))
    }
}
