//! The task that keeps a view up with the catalog, and the handle through which others read it. A reader that is slow
//! misses generations in between, never the last one.

use super::{Builder, Metrics, Translation, manifests::Manifests};
use crate::{
    catalog::{Catalog, Handle},
    manifests,
    resource::{Kind, KindReadiness, Name, Readiness, Resource, ViewGeneration},
    translate::{Rejected, Why},
};
use arc_swap::ArcSwap;
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Instant,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Follows the catalog with one view: everything, for everyone.
#[derive(Debug)]
pub struct Follower<T> {
    builder: Builder<T>,
    catalog: Handle,
    generations: watch::Sender<Arc<ViewGeneration>>,
    readiness: watch::Sender<Readiness>,
    rejected: Arc<ArcSwap<Vec<Rejected>>>,
    manifests: Option<Manifests>,
    taken: Arc<ArcSwap<BTreeSet<Name>>>,
    metrics: Metrics,
}

/// Reads the view. Cheap to clone.
#[derive(Debug, Clone)]
pub struct View {
    generations: watch::Receiver<Arc<ViewGeneration>>,
    readiness: watch::Receiver<Readiness>,
    rejected: Arc<ArcSwap<Vec<Rejected>>>,
    taken: Arc<ArcSwap<BTreeSet<Name>>>,
}

impl<T: Translation> Follower<T> {
    /// Nothing is seen before it runs.
    pub fn new(translation: T, catalog: Handle, metrics: Metrics) -> (Self, View) {
        let unbuilt = ViewGeneration::unbuilt(KindReadiness::of(T::KINDS.iter().copied(), Readiness::Waiting));
        let generations = watch::Sender::new(Arc::new(unbuilt));
        let readiness = watch::Sender::new(Readiness::Waiting);
        let rejected: Arc<ArcSwap<Vec<Rejected>>> = Arc::default();
        let taken: Arc<ArcSwap<BTreeSet<Name>>> = Arc::default();
        let view = View {
            generations: generations.subscribe(),
            readiness: readiness.subscribe(),
            rejected: rejected.clone(),
            taken: taken.clone(),
        };
        metrics.rejected(T::VIEW, &[]);
        let builder = Builder::new(translation);
        (Follower { builder, catalog, generations, readiness, rejected, manifests: None, taken, metrics }, view)
    }

    /// Also shows what manifests give. Before it runs, so that nobody takes them for nothing.
    pub fn with_manifests(self, manifests: manifests::Handle) -> Self {
        if manifests.load().readiness.is_none() {
            return self;
        }
        let manifests = Manifests::new(manifests);
        let readiness = manifests.readiness(self.generations.borrow().readiness());
        self.generations.send_replace(Arc::new(ViewGeneration::unbuilt(readiness)));
        Follower { manifests: Some(manifests), ..self }
    }

    /// Follows until told to stop, or until the catalog has no writer any more.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut changed = self.catalog.changed();
        loop {
            // Before the catalog is loaded: a change in between is signalled again.
            changed.mark_unchanged();
            self.load_manifests();
            self.follow(&self.catalog.load());
            // Both may be dropped at any moment: neither holds anything.
            tokio::select! {
                () = shutdown.cancelled() => return,
                signal = changed.changed() => if signal.is_err() { return },
                signal = manifests_changed(self.manifests.as_mut()) => if signal.is_err() { return },
            }
        }
    }

    /// Makes the next generation, if something differs.
    pub(super) fn follow(&mut self, catalog: &Catalog) {
        let start = Instant::now();
        let changes = self.builder.update(catalog);
        self.report_rejected();
        let mut resources = changes.map(|changes| changes.resources).unwrap_or_default();
        self.merge(&mut resources);
        let services = KindReadiness::of(T::KINDS.iter().copied(), self.builder.readiness());
        let readiness = self.manifests.as_ref().map_or(services, |manifests| manifests.readiness(services));
        let kinds: Vec<_> = resources.iter().map(|(kind, _, _)| *kind).collect();
        let next = self.generations.borrow().next(readiness, resources);
        let Some(next) = next else { return };
        debug!(generation = next.number(), catalog = catalog.number, changes = kinds.len(), "Made a generation.");
        self.metrics.made(&kinds, &next, start.elapsed());
        self.generations.send_replace(Arc::new(next));
        self.readiness.send_replace(self.builder.readiness());
    }

    /// Takes the newest snapshot of manifests.
    pub(super) fn load_manifests(&mut self) {
        if let Some(manifests) = &mut self.manifests {
            manifests.load();
        }
    }

    /// Adds what differs of manifests to what differs of services, whose names go first.
    fn merge(&mut self, changes: &mut Vec<(Kind, Name, Option<Resource>)>) {
        let Some(manifests) = &mut self.manifests else { return };
        let services_changed = changes.iter().any(|(kind, _, _)| kind.is_istio());
        changes.extend(manifests.update(services_changed, |kind, name| self.builder.serves(kind, name)));
        let before = self.taken.load();
        if **before != *manifests.taken() {
            for name in manifests.taken().difference(&before) {
                warn!(%name, "Left a ServiceEntry of a manifest out: a service's has its name.");
            }
            self.taken.store(Arc::new(manifests.taken().clone()));
        }
    }

    /// Logs each rejection once: when it appears. Labels cost nothing but themselves, and there may be thousands.
    fn report_rejected(&self) {
        if !self.builder.rejected_differs() {
            return;
        }
        let before = self.rejected.load();
        let known: HashSet<&Rejected> = before.iter().collect();
        let rejected: Vec<Rejected> = self.builder.rejected().cloned().collect();
        for Rejected { host, subject, why } in rejected.iter().filter(|r| !known.contains(r)) {
            match why {
                Why::LabelRefused => debug!(%host, %subject, reason = why.code(), "Left a label out."),
                _ => warn!(%host, %subject, reason = why.code(), %why, "Left a part of a service out."),
            }
        }
        self.metrics.rejected(T::VIEW, &rejected);
        self.rejected.store(Arc::new(rejected));
    }
}

impl View {
    /// Each generation as it comes.
    pub fn subscribe(&self) -> watch::Receiver<Arc<ViewGeneration>> {
        self.generations.clone()
    }

    /// How far the registries have reported.
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.clone()
    }

    /// The newest generation.
    pub fn load(&self) -> Arc<ViewGeneration> {
        self.generations.borrow().clone()
    }

    /// The names of manifests' ServiceEntries that services' have.
    pub fn taken(&self) -> Arc<BTreeSet<Name>> {
        self.taken.load_full()
    }

    /// What is not served, and why.
    pub fn rejected(&self) -> Arc<Vec<Rejected>> {
        self.rejected.load_full()
    }
}

/// Waits for ever where there are none.
async fn manifests_changed(manifests: Option<&mut Manifests>) -> Result<(), watch::error::RecvError> {
    match manifests {
        Some(manifests) => manifests.changed().await,
        None => std::future::pending().await,
    }
}
