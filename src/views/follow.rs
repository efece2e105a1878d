//! The task that keeps a view up with the catalog, and the handle through which others read it. A reader that is slow
//! misses generations in between, never the last one.

use super::{Builder, Metrics, Translation};
use crate::{
    catalog::{Catalog, Handle},
    resource::ViewGeneration,
    translate::{Rejected, Why},
};
use arc_swap::ArcSwap;
use std::{collections::HashSet, sync::Arc, time::Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Follows the catalog with one view: everything, for everyone.
#[derive(Debug)]
pub struct Follower<T> {
    builder: Builder<T>,
    catalog: Handle,
    generations: watch::Sender<Arc<ViewGeneration>>,
    rejected: Arc<ArcSwap<Vec<Rejected>>>,
    metrics: Metrics,
}

/// Reads the view. Cheap to clone.
#[derive(Debug, Clone)]
pub struct View {
    generations: watch::Receiver<Arc<ViewGeneration>>,
    rejected: Arc<ArcSwap<Vec<Rejected>>>,
}

impl<T: Translation> Follower<T> {
    /// Nothing is seen before it runs.
    pub fn new(translation: T, catalog: Handle, metrics: Metrics) -> (Self, View) {
        let generations = watch::Sender::new(Arc::new(ViewGeneration::empty()));
        let rejected: Arc<ArcSwap<Vec<Rejected>>> = Arc::default();
        let view = View { generations: generations.subscribe(), rejected: rejected.clone() };
        metrics.rejected(T::VIEW, &[]);
        (Follower { builder: Builder::new(translation), catalog, generations, rejected, metrics }, view)
    }

    /// Follows until told to stop, or until the catalog has no writer any more.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut changed = self.catalog.changed();
        loop {
            // Before the catalog is loaded: a change in between is signalled again.
            changed.mark_unchanged();
            self.follow(&self.catalog.load());
            // Both may be dropped at any moment: neither holds anything.
            tokio::select! {
                () = shutdown.cancelled() => return,
                signal = changed.changed() => if signal.is_err() { return },
            }
        }
    }

    /// Makes the next generation, if something differs.
    pub(super) fn follow(&mut self, catalog: &Catalog) {
        let start = Instant::now();
        let changes = self.builder.update(catalog);
        self.report_rejected();
        let Some(changes) = changes else { return };
        let kinds: Vec<_> = changes.resources.iter().map(|(kind, _, _)| *kind).collect();
        let next = self.generations.borrow().next(changes.readiness, changes.resources);
        let Some(next) = next else { return };
        debug!(generation = next.number(), catalog = catalog.number, changes = kinds.len(), "Made a generation.");
        self.generations.send_replace(Arc::new(next));
        self.metrics.made(&kinds, &self.builder, start.elapsed());
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

    /// The newest generation.
    pub fn load(&self) -> Arc<ViewGeneration> {
        self.generations.borrow().clone()
    }

    /// What is not served, and why.
    pub fn rejected(&self) -> Arc<Vec<Rejected>> {
        self.rejected.load_full()
    }
}
