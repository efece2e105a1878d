//! What is counted and logged of the call model. One function per event does both.

use super::Model;
use crate::{
    model::Text,
    telemetry::{RegistryLabel, count},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tracing::{debug, info, warn};

/// Counters and gauges of the call model. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    applications: Gauge,
    needs: Family<Of, Gauge>,
    notes: Gauge,
    read: Family<RegistryLabel, Gauge>,
    failures: Family<RegistryLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    state: &'static str,
}

impl Metrics {
    /// Adds the counters to what `/metrics` shows.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("calls_applications", "Applications whose needs are known", self.applications.clone());
        registry.register("calls_needs", "What they need, by whether a consumer says it now", self.needs.clone());
        registry.register("calls_notes", "What could not be read of consumers", self.notes.clone());
        let help = "1 if the consumers of a registry were read, and can be read now";
        registry.register("calls_registry_read", help, self.read.clone());
        let help = "Readings of the consumers of a registry that failed";
        registry.register("calls_failures", help, self.failures.clone());
    }

    /// Sets the gauges to the model `now`, which replaces `before`; `kept` needs are said by nobody any more.
    pub(super) fn stands(&self, before: &Model, now: &Model, kept: usize) {
        let all: usize = now.applications.values().map(|application| application.needs.len()).sum();
        self.applications.set(count(now.applications.len()));
        self.needs.get_or_create(&Of { state: "said" }).set(count(all.saturating_sub(kept)));
        self.needs.get_or_create(&Of { state: "kept" }).set(count(kept));
        self.notes.set(count(now.notes.len()));
        for gone in before.registries.keys().filter(|name| !now.registries.contains_key(*name)) {
            self.read.remove(&RegistryLabel::of(gone));
        }
        for (name, reading) in &now.registries {
            let good = reading.listed && reading.error.is_none();
            self.read.get_or_create(&RegistryLabel::of(name)).set(good.into());
        }
    }

    /// One reading failed. If `again` is true the one before failed too, and this is logged for debugging only.
    pub(super) fn failed(&self, registry: &Text, error: &Text, again: bool) {
        self.failures.get_or_create(&RegistryLabel::of(registry)).inc();
        match again {
            true => debug!(%registry, %error, "Cannot read who calls whom still."),
            false => warn!(%registry, %error, "Cannot read who calls whom; what is known stays."),
        }
    }

    pub(super) fn recovered(&self, registry: &Text) {
        info!(%registry, "Who calls whom can be read again.");
    }
}
