//! What manifests add to a view, and what of it gives way to services.

use crate::{
    manifests::{Handle, Snapshot},
    resource::{Kind, KindReadiness, Name, Readiness, Resource},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::watch;

/// Follows manifests. What is served of them after [`Manifests::update`] is what stands, without what services have.
#[derive(Debug)]
pub(super) struct Manifests {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    loaded: Arc<Snapshot>,
    /// The number of the snapshot that was merged last.
    merged: Option<u64>,
    /// Versions.
    served: BTreeMap<(Kind, Name), u64>,
    taken: BTreeSet<Name>,
}

impl Manifests {
    pub(super) fn new(handle: Handle) -> Self {
        let (snapshots, loaded) = (handle.subscribe(), handle.load());
        Manifests { snapshots, loaded, merged: None, served: BTreeMap::new(), taken: BTreeSet::new() }
    }

    /// Takes the newest snapshot.
    pub(super) fn load(&mut self) {
        self.loaded = self.snapshots.borrow_and_update().clone();
    }

    /// Waits for another one.
    pub(super) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.snapshots.changed().await
    }

    /// How far their sources have reported, with what is known of services.
    ///
    /// A list that lacks a manifest's entry deletes it, so entries of services wait for manifests, but not for ever: a
    /// source of manifests that never answers must not keep the mesh from changes of instances.
    pub(super) fn readiness(&self, services: KindReadiness) -> KindReadiness {
        let Some(readiness) = self.loaded.readiness else { return services };
        let of_entries = if readiness == Readiness::Waiting { readiness } else { Readiness::Complete };
        let of = |kind| if kind == Kind::ServiceEntry { of_entries } else { readiness };
        Kind::istio().fold(services, |all, kind| all.and(kind, of(kind)))
    }

    /// The names that services have.
    pub(super) fn taken(&self) -> &BTreeSet<Name> {
        &self.taken
    }

    /// What differs; to be applied after what differs of services, which are `others` now.
    pub(super) fn update(
        &mut self,
        others_changed: bool,
        others: impl Fn(Kind, &Name) -> bool,
    ) -> Vec<(Kind, Name, Option<Resource>)> {
        if self.merged == Some(self.loaded.number) && !others_changed {
            return Vec::new();
        }
        self.merged = Some(self.loaded.number);
        self.taken.clear();
        let (mut changes, mut served) = (Vec::new(), BTreeMap::new());
        for ((kind, name), resource) in &self.loaded.resources {
            if others(*kind, name) {
                self.taken.insert(name.clone());
                continue;
            }
            let key = (*kind, name.clone());
            if self.served.remove(&key) != Some(resource.version()) {
                changes.push((*kind, name.clone(), Some(resource.clone())));
            }
            served.insert(key, resource.version());
        }
        let gone = std::mem::replace(&mut self.served, served);
        let gone = gone.into_keys().filter(|(kind, name)| !others(*kind, name));
        changes.extend(gone.map(|(kind, name)| (kind, name, None)));
        changes
    }
}
