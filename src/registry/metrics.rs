//! What reading registries counts. `app` registers it once and hands it to every registry.

use crate::{model::Text, telemetry::RegistryLabel, util::lock::lock};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// Requests take from a millisecond to the longest timeout that makes sense.
const BUCKETS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];

/// Counters of all registries; each has the label `registry`. Clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Outcome, Counter>,
    durations: Family<RegistryLabel, Histogram>,
    restarts: Family<RegistryLabel, Counter>,
    pushes: Family<RegistryLabel, Counter>,
    push_connected: Family<RegistryLabel, Gauge>,
    reads: Family<How, Counter>,
    /// Every value of the labels `outcome` and `how` so far, so that [`Metrics::forget`] finds them all.
    words: Arc<Mutex<BTreeSet<&'static str>>>,
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
            words: Arc::default(),
        }
    }
}

impl Metrics {
    /// Adds the counters to what `/metrics` shows.
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
            "How registries that tell changes were read: full, delta, unchanged; mismatch: a delta that did not fit; contradiction: a list that did not fit itself",
            self.reads.clone(),
        );
    }

    /// Removes all counters of a registry that is no longer read.
    pub fn forget(&self, registry: &Text) {
        let label = RegistryLabel::of(registry);
        for word in self.words().iter() {
            self.requests.remove(&Outcome { registry: registry.to_string(), outcome: word });
            self.reads.remove(&How { registry: registry.to_string(), how: word });
        }
        self.durations.remove(&label);
        self.restarts.remove(&label);
        self.pushes.remove(&label);
        self.push_connected.remove(&label);
    }

    /// One request has ended; `outcome` is a word such as `ok` or `timeout`.
    pub(super) fn request(&self, registry: &Text, outcome: &'static str, took: Duration) {
        let label = Outcome { registry: registry.to_string(), outcome };
        if self.requests.get(&label).is_none() {
            self.words().insert(outcome);
        }
        self.requests.get_or_create(&label).inc();
        self.durations.get_or_create(&RegistryLabel::of(registry)).observe(took.as_secs_f64());
    }

    /// The reading of a registry starts anew.
    pub(super) fn restart(&self, registry: &Text) {
        self.restarts.get_or_create(&RegistryLabel::of(registry)).inc();
    }

    /// Counts one change that a registry has pushed.
    pub(super) fn push(&self, registry: &Text) {
        self.pushes.get_or_create(&RegistryLabel::of(registry)).inc();
    }

    /// The connection on which a registry pushes stands, or does not.
    pub(super) fn push_connected(&self, registry: &Text, stands: bool) {
        self.push_connected.get_or_create(&RegistryLabel::of(registry)).set(stands.into());
    }

    fn words(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        lock(&self.words)
    }

    /// One reading of a registry that tells changes; `how` is a word such as `full`, `delta` or `mismatch`.
    pub(super) fn read(&self, registry: &Text, how: &'static str) {
        self.words().insert(how);
        self.reads.get_or_create(&How { registry: registry.to_string(), how }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_a_registry_that_is_forgotten() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        for name in ["stays", "goes"].map(Text::from) {
            metrics.request(&name, "ok", Duration::ZERO);
            metrics.request(&name, "timeout", Duration::ZERO);
            metrics.restart(&name);
            metrics.push(&name);
            metrics.push_connected(&name, true);
            metrics.read(&name, "full");
        }
        metrics.forget(&"goes".into());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("stays") && !text.contains("goes"), "{text}");
    }
}
