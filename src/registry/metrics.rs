//! What reading registries counts. `app` registers it once and hands it to every registry.

use crate::{model::Text, telemetry::RegistryLabel};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::time::Duration;

/// Requests take from a millisecond to the longest timeout that makes sense.
const BUCKETS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];

/// Counters of all registries, by name.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Outcome, Counter>,
    durations: Family<RegistryLabel, Histogram>,
    restarts: Family<RegistryLabel, Counter>,
    pushes: Family<RegistryLabel, Counter>,
    push_connected: Family<RegistryLabel, Gauge>,
    reads: Family<How, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct How {
    registry: String,
    how: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    registry: String,
    outcome: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            restarts: Family::default(),
            pushes: Family::default(),
            push_connected: Family::default(),
            reads: Family::default(),
        }
    }
}

impl Metrics {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("registry_requests", "Requests to registries", self.requests.clone());
        registry.register(
            "registry_request_duration_seconds",
            "From a request to the end of its answer",
            self.durations.clone(),
        );
        registry.register(
            "registry_restarts",
            "Times that the reading of a registry panicked or ended and was started anew",
            self.restarts.clone(),
        );
        registry.register("registry_pushes", "Changes that registries have pushed", self.pushes.clone());
        registry.register(
            "registry_push_connected",
            "Whether the connection stands on which a registry pushes",
            self.push_connected.clone(),
        );
        registry.register(
            "registry_reads",
            "How registries that tell changes were read: full, delta, unchanged; mismatch: a delta that did not fit",
            self.reads.clone(),
        );
    }

    /// One request is over.
    pub(super) fn request(&self, registry: &Text, outcome: &'static str, took: Duration) {
        self.requests.get_or_create(&Outcome { registry: registry.to_string(), outcome }).inc();
        self.durations.get_or_create(&RegistryLabel::of(registry)).observe(took.as_secs_f64());
    }

    /// The reading of a registry starts anew.
    pub(super) fn restart(&self, registry: &Text) {
        self.restarts.get_or_create(&RegistryLabel::of(registry)).inc();
    }

    /// A registry has pushed something.
    pub(super) fn push(&self, registry: &Text) {
        self.pushes.get_or_create(&RegistryLabel::of(registry)).inc();
    }

    /// The connection on which a registry pushes stands, or does not.
    pub(super) fn push_connected(&self, registry: &Text, stands: bool) {
        self.push_connected.get_or_create(&RegistryLabel::of(registry)).set(stands.into());
    }

    /// A registry that tells changes was read in this way.
    pub(super) fn read(&self, registry: &Text, how: &'static str) {
        self.reads.get_or_create(&How { registry: registry.to_string(), how }).inc();
    }
}
