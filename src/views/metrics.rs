//! What views count.

use crate::{
    resource::{Kind, ViewGeneration},
    translate::{Rejected, Why},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{collections::BTreeMap, time::Duration};

/// From 10 µs, one changed service, to some seconds, a first list of hundreds of thousands.
const BUCKETS: [f64; 10] = [0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.1, 1.0, 10.0];

/// Counters and gauges of the views.
#[derive(Debug, Clone)]
pub struct Metrics {
    resources: Family<OfKind, Gauge>,
    rejected: Family<For, Gauge>,
    changes: Family<OfKind, Counter>,
    generations: Counter,
    vips_moved: Counter,
    update: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct For {
    view: &'static str,
    reason: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            resources: Family::default(),
            rejected: Family::default(),
            changes: Family::default(),
            generations: Counter::default(),
            vips_moved: Counter::default(),
            update: Histogram::new(BUCKETS),
        }
    }
}

impl Metrics {
    /// Makes them readable.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("views");
        registry.register("resources", "Resources that can be served", self.resources.clone());
        registry.register(
            "rejected",
            "Parts of services that cannot be sent, by view and reason",
            self.rejected.clone(),
        );
        registry.register("resource_changes", "Resources that were added, changed or removed", self.changes.clone());
        registry.register("generations", "Generations that were made", self.generations.clone());
        registry.register("vips_moved", "Virtual addresses that gave way to others", self.vips_moved.clone());
        registry.register_with_unit(
            "generation",
            "From a signalled catalog to the generation that has it",
            Unit::Seconds,
            self.update.clone(),
        );
    }

    /// A generation was made: with so many changes of each kind, in that time.
    pub(super) fn made(&self, changes: &[Kind], made: &ViewGeneration, took: Duration) {
        self.generations.inc();
        self.update.observe(took.as_secs_f64());
        for kind in changes {
            self.changes.get_or_create(&OfKind { kind: kind.name() }).inc();
        }
        for kind in Kind::ALL.into_iter().filter(|kind| made.readiness_of(*kind).is_some()) {
            let count = i64::try_from(made.get(kind).len()).unwrap_or(i64::MAX);
            self.resources.get_or_create(&OfKind { kind: kind.name() }).set(count);
        }
    }

    /// A virtual address gave way to another host's, or came back.
    pub(super) fn vip_moved(&self) {
        self.vips_moved.inc();
    }

    /// So much of a view is rejected now.
    pub(super) fn rejected(&self, view: &'static str, rejected: &[Rejected]) {
        let mut counts: BTreeMap<&'static str, i64> = Why::CODES.into_iter().map(|code| (code, 0)).collect();
        for rejected in rejected {
            *counts.entry(rejected.why.code()).or_default() += 1;
        }
        for (reason, count) in counts {
            self.rejected.get_or_create(&For { view, reason }).set(count);
        }
    }
}
