//! What makes the resources of a view. Each view has producers of its own, in an order: of several that have a resource of
//! one kind and name, the first one's is served.
//!
//! To add one (listeners and routes from gateways, say): implement [`Producer`] over what it reads, and name it in `order`,
//! at the place that says to whom it gives way.

use super::{Selection, translations::Translations};
use crate::{
    catalog::Catalog,
    manifests::Snapshot,
    model::Hostname,
    resource::{Kind, KindReadiness, Name, Resource},
    translate::Rejected,
};
use std::{collections::BTreeSet, fmt, sync::Arc};

/// What views are made of: immutable snapshots.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Published services.
    pub catalog: Arc<Catalog>,
    /// What the last good texts of manifests give.
    pub manifests: Arc<Snapshot>,
}

/// A step from the last sources to the next.
pub(super) struct Step<'a> {
    pub(super) sources: &'a Sources,
    /// Hosts whose services, or their translations, may differ. At a view's first step all.
    pub(super) changed: &'a BTreeSet<Hostname>,
    pub(super) translations: &'a mut Translations,
    /// What may differ now of what a producer has.
    pub(super) touched: BTreeSet<(Kind, Name)>,
}

/// Makes the resources of some kinds for one view. What it has after an update follows from the sources alone.
pub(super) trait Producer: fmt::Debug + Send {
    /// Goes on to the next sources, and notes in `step.touched` what may differ for that.
    fn update(&mut self, step: &mut Step<'_>);

    /// What it has of that kind and name.
    fn get(&self, kind: Kind, name: &Name) -> Option<&Arc<Resource>>;

    /// From the next update on it has what that selects. The update is told all hosts as changed.
    fn select(&mut self, selection: &Selection);

    /// Adds how far its sources have reported, for each kind that it makes.
    fn readiness(&self, sources: &Sources, so_far: KindReadiness) -> KindReadiness;

    /// What it cannot send, by host; `None`: as at the last call.
    fn take_rejected(&mut self) -> Option<Vec<Rejected>> {
        None
    }

    /// How many services it keeps something of.
    #[cfg(test)]
    fn held(&self) -> usize {
        0
    }
}
