//! What is counted and logged of manifests. One function per event does both.

use super::{Event, State, Status};
use crate::{
    model::{Scope, Text},
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
    /// Registers the metrics under their names, `manifest...`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("manifests", "Manifests, by registry and state", self.manifests.clone());
        registry.register("manifest_failures", "Lists of manifests that could not be had", self.failures.clone());
        registry.register("manifest_holds", "Losses of all manifests of a scope that were held", self.holds.clone());
    }

    /// Sets the gauges to how many manifests of each registry are in each state now.
    pub(super) fn stands<'a>(&self, registries: impl Iterator<Item = &'a Text>, manifests: &'a [Status]) {
        let states = registries.flat_map(|registry| State::ALL.into_iter().map(move |state| ((registry, state), 0)));
        let mut counts: BTreeMap<(&Text, State), i64> = states.collect();
        for status in manifests {
            *counts.entry((&status.id.registry, status.state)).or_default() += 1;
        }
        for ((registry, state), count) in counts {
            self.manifests.get_or_create(&Of { registry: registry.to_string(), state: state.name() }).set(count);
        }
    }

    /// Removes the metrics of a registry that is read no longer.
    fn forget(&self, registry: &Text) {
        for state in State::ALL {
            self.manifests.remove(&Of { registry: registry.to_string(), state: state.name() });
        }
        let label = RegistryLabel::of(registry);
        for family in [&self.failures, &self.holds] {
            family.remove(&label);
        }
    }

    /// Logs and counts what happened.
    pub(super) fn happened(&self, event: &Event) {
        match event {
            Event::Read { manifest, resources, wrong_before: true } => {
                info!(%manifest, resources, "A manifest is right again.");
            }
            Event::Read { manifest, resources, .. } => debug!(%manifest, resources, "Read a manifest."),
            Event::Wrong { manifest, first, problems, stays } => {
                warn!(%manifest, first, problems, stays, "A manifest is wrong; what its last good text gave stays.");
            }
            Event::Conflict { manifest, error } => warn!(%manifest, %error, "Left a resource of a manifest out."),
            Event::Failed { registry, scope, error, again } => {
                self.failures.get_or_create(&RegistryLabel::of(registry)).inc();
                let scope = text(scope.as_ref());
                match again {
                    true => debug!(%registry, scope, %error, "Cannot read manifests still."),
                    false => warn!(%registry, scope, %error, "Cannot read manifests; the last ones stay."),
                }
            }
            Event::Recovered { registry, scope } => {
                info!(%registry, scope = text(scope.as_ref()), "Manifests can be read again.");
            }
            Event::Held { registry, scope, manifests } => {
                self.holds.get_or_create(&RegistryLabel::of(registry)).inc();
                warn!(
                    %registry, %scope, manifests,
                    "All manifests are gone at once; they stay until that has lasted for 60 s."
                );
            }
            Event::Released { registry, scope, manifests } => {
                warn!(%registry, %scope, manifests, "All manifests are gone for 60 s; they are deleted.");
            }
            Event::Gone { registry } => {
                self.forget(registry);
                info!(%registry, "A registry's manifests are read no longer.");
            }
            Event::Overdue { registries } => warn!(
                registries = registries.join(", "),
                "Some manifests cannot be read for 60 s; ServiceEntries of services go to Istiods without theirs."
            ),
        }
    }
}

/// The scope's name, or `all` where the whole registry is meant.
fn text(scope: Option<&Scope>) -> String {
    scope.map_or_else(|| "all".to_owned(), ToString::to_string)
}
