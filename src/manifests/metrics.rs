//! What is counted and logged of manifests. One function per event does both.

use super::{State, Status};
use crate::{
    model::{ManifestId, Scope, Text},
    telemetry::RegistryLabel,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::collections::BTreeMap;
use tracing::{debug, info, warn};

/// Counters and gauges of manifests. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    manifests: Family<Of, Gauge>,
    failures: Family<RegistryLabel, Counter>,
    holds: Family<RegistryLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    registry: String,
    state: &'static str,
}

impl Metrics {
    /// Makes them readable.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("manifests", "Manifests, by registry and state", self.manifests.clone());
        registry.register("manifest_failures", "Lists of manifests that could not be had", self.failures.clone());
        registry.register("manifest_holds", "Losses of all manifests of a scope that were held", self.holds.clone());
    }

    /// So many manifests are in each state now.
    pub(super) fn stands(&self, registries: &[&Text], manifests: &[Status]) {
        let states = State::ALL.into_iter().flat_map(|state| registries.iter().map(move |r| ((*r, state), 0)));
        let mut counts: BTreeMap<(&Text, State), i64> = states.collect();
        for status in manifests {
            *counts.entry((&status.id.registry, status.state)).or_default() += 1;
        }
        for ((registry, state), count) in counts {
            self.manifests.get_or_create(&Of { registry: registry.to_string(), state: state.name() }).set(count);
        }
    }

    /// A text was read.
    pub(super) fn read(&self, manifest: &ManifestId, resources: usize, was_wrong: bool) {
        match was_wrong {
            true => info!(%manifest, resources, "A manifest is right again."),
            false => debug!(%manifest, resources, "Read a manifest."),
        }
    }

    /// A text is wrong.
    pub(super) fn wrong(&self, manifest: &ManifestId, first: &str, problems: usize, stays: usize) {
        warn!(%manifest, first, problems, stays, "A manifest is wrong; what its last good text gave stays.");
    }

    /// Something of a manifest is another's already.
    pub(super) fn conflicts(&self, manifest: &ManifestId, error: &Text) {
        warn!(%manifest, %error, "Left a resource of a manifest out.");
    }

    /// A list could not be had.
    pub(super) fn failed(&self, registry: &Text, scope: Option<&Scope>, error: &Text) {
        self.failures.get_or_create(&RegistryLabel::of(registry)).inc();
        let scope = scope.map_or_else(|| "all".to_owned(), ToString::to_string);
        warn!(%registry, scope, %error, "Cannot read manifests; the last ones stay.");
    }

    /// Everything of a scope is gone at once.
    pub(super) fn held(&self, registry: &Text, scope: &Scope, manifests: usize) {
        self.holds.get_or_create(&RegistryLabel::of(registry)).inc();
        warn!(%registry, %scope, manifests, "All manifests are gone at once; they stay until that has lasted for 60 s.");
    }

    /// It stayed so.
    pub(super) fn let_go(&self, registry: &Text, scope: &Scope, manifests: usize) {
        warn!(%registry, %scope, manifests, "All manifests are gone for 60 s; they are deleted.");
    }

    /// Services' entries wait no longer.
    pub(super) fn overdue(&self) {
        warn!(
            "Some registry's manifests cannot be read for 60 s; ServiceEntries of services go to Istiods without theirs."
        );
    }
}
