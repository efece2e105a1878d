//! The task that keeps a view up with the catalog, and the handle through which others read it.

use super::Builder;
use crate::{
    catalog::Handle,
    resource::ViewGeneration,
    translate::{Rejected, envoy},
};
use arc_swap::ArcSwap;
use prometheus_client::{
    metrics::{gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{sync::Arc, time::Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Follows the catalog with one view: everything, for everyone.
#[derive(Debug)]
pub struct Follower {
    builder: Builder,
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

/// What views cost, and what is not in them.
#[derive(Debug, Clone)]
pub struct Metrics {
    seconds: Histogram,
    rejected: Gauge,
}

impl Follower {
    /// Nothing is seen before it runs.
    pub fn new(options: envoy::Options, catalog: Handle, metrics: Metrics) -> (Follower, View) {
        let generations = watch::Sender::new(Arc::new(ViewGeneration::empty()));
        let rejected: Arc<ArcSwap<Vec<Rejected>>> = Arc::default();
        let view = View { generations: generations.subscribe(), rejected: rejected.clone() };
        (Follower { builder: Builder::new(options), catalog, generations, rejected, metrics }, view)
    }

    /// Follows until told to stop, or until the catalog has no writer any more.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut changed = self.catalog.changed();
        loop {
            changed.mark_unchanged();
            self.follow();
            tokio::select! {
                () = shutdown.cancelled() => return,
                signal = changed.changed() => if signal.is_err() { return },
            }
        }
    }

    fn follow(&mut self) {
        let start = Instant::now();
        let catalog = self.catalog.load();
        let Some(changes) = self.builder.update(&catalog) else { return };
        let next = self.generations.borrow().next(changes.readiness, changes.resources);
        if let Some(next) = next {
            self.generations.send_replace(Arc::new(next));
        }
        self.metrics.seconds.observe(start.elapsed().as_secs_f64());
        self.report_rejected();
    }

    /// Logs each rejection once: when it appears.
    fn report_rejected(&self) {
        let rejected: Vec<Rejected> = self.builder.rejected().cloned().collect();
        let before = self.rejected.load();
        if **before == rejected {
            return;
        }
        for new in rejected.iter().filter(|r| !before.contains(r)) {
            warn!(host = %new.host, subject = %new.subject, why = %new.why, "Left a resource out.");
        }
        self.metrics.rejected.set(i64::try_from(rejected.len()).unwrap_or(i64::MAX));
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

impl Default for Metrics {
    fn default() -> Self {
        let buckets = [0.000_1, 0.001, 0.01, 0.1, 1.0];
        Metrics { seconds: Histogram::new(buckets), rejected: Gauge::default() }
    }
}

impl Metrics {
    /// Makes them part of the text.
    pub fn register(&self, registry: &mut Registry) {
        let help = "From a signalled catalog to the generation that has it";
        registry.register("views_generation_seconds", help, self.seconds.clone());
        registry.register("views_rejected", "Resources that are left out", self.rejected.clone());
    }
}
