//! What views count.

use super::ViewKey;
use crate::{
    resource::{Dialect, Kind, ViewGeneration},
    telemetry::count,
    translate::{Rejected, Why},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Bounds of the histogram, in seconds: from one changed service to a first list of hundreds of thousands.
const BUCKETS: [f64; 10] = [0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.1, 1.0, 10.0];

/// Counters and gauges of the views.
#[derive(Debug, Clone)]
pub struct Metrics {
    ready: Family<Client, Gauge>,
    kept: Family<OfDialect, Gauge>,
    parts: Family<OfDialect, Gauge>,
    part_generations: Family<OfDialect, Counter>,
    resources: Family<OfKind, Gauge>,
    rejected: Family<For, Gauge>,
    changes: Family<OfKind, Counter>,
    translations: Family<OfDialect, Counter>,
    generations: Counter,
    vips_moved: Counter,
    update: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Client {
    client: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDialect {
    dialect: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    dialect: &'static str,
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
            ready: Family::default(),
            kept: Family::default(),
            parts: Family::default(),
            part_generations: Family::default(),
            resources: Family::default(),
            rejected: Family::default(),
            changes: Family::default(),
            translations: Family::default(),
            generations: Counter::default(),
            vips_moved: Counter::default(),
            update: Histogram::new(BUCKETS),
        }
    }
}

impl Metrics {
    /// Adds them to what `/metrics` shows.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("views");
        registry.register("ready", "Whether new clients of that kind are answered", self.ready.clone());
        registry.register("kept", "Views that are kept, by dialect", self.kept.clone());
        registry.register("parts", "Parts of views that clients have, by dialect", self.parts.clone());
        registry.register(
            "part_generations",
            "Generations of parts that were made: each wakes the clients of that part",
            self.part_generations.clone(),
        );
        registry.register("resources", "Resources in the view that has everything", self.resources.clone());
        registry.register(
            "rejected",
            "Parts of services that cannot be sent, by view and reason",
            self.rejected.clone(),
        );
        registry.register("resource_changes", "Resources that were added, changed or removed", self.changes.clone());
        registry.register("translations", "Services that were translated and encoded", self.translations.clone());
        registry.register("generations", "Generations that were made", self.generations.clone());
        registry.register("vips_moved", "Virtual addresses that gave way to others", self.vips_moved.clone());
        registry.register_with_unit(
            "generation",
            "From a signalled catalog to the generation that has it",
            Unit::Seconds,
            self.update.clone(),
        );
    }

    /// Whether clients of that dialect can be answered, and how many views of it there are.
    pub(super) fn stands(&self, dialect: Dialect, ready: bool, views: usize) {
        self.ready.get_or_create(&Client { client: dialect.name() }).set(i64::from(ready));
        self.kept.get_or_create(&OfDialect { dialect: dialect.name() }).set(count(views));
    }

    /// Sets how many parts the views of a dialect have.
    pub(super) fn divided(&self, dialect: Dialect, parts: usize) {
        self.parts.get_or_create(&OfDialect { dialect: dialect.name() }).set(count(parts));
    }

    /// Counts the generations of parts that a step has made.
    pub(super) fn made_parts(&self, dialect: Dialect, parts: usize) {
        self.part_generations.get_or_create(&OfDialect { dialect: dialect.name() }).inc_by(parts as u64);
    }

    /// Counts the services that a step has translated.
    pub(super) fn translated(&self, dialect: Dialect, services: u64) {
        self.translations.get_or_create(&OfDialect { dialect: dialect.name() }).inc_by(services);
    }

    /// A generation was made, from that one, in that time.
    pub(super) fn made(&self, key: &ViewKey, before: &ViewGeneration, made: &ViewGeneration, took: Duration) {
        self.generations.inc();
        self.update.observe(took.as_secs_f64());
        if !key.is_whole() {
            return;
        }
        for kind in Kind::ALL.into_iter().filter(|kind| made.readiness_of(*kind).is_some()) {
            let label = OfKind { dialect: key.dialect.name(), kind: kind.name() };
            let (old, new) = (before.get(kind), made.get(kind));
            if !Arc::ptr_eq(old, new) {
                let changes = new.changes_since(old.versions()).count();
                self.changes.get_or_create(&label).inc_by(changes as u64);
            }
            self.resources.get_or_create(&label).set(count(new.len()));
        }
    }

    /// Removes what is measured of a view that was dropped.
    pub(super) fn dropped(&self, key: &ViewKey) {
        if key.is_whole() {
            for kind in Kind::of_family(key.dialect.family()) {
                self.resources.remove(&OfKind { dialect: key.dialect.name(), kind: kind.name() });
            }
            self.rejected(key.dialect, &[]);
        }
    }

    /// A virtual address gave way to another host's, or came back.
    pub(super) fn vip_moved(&self) {
        self.vips_moved.inc();
    }

    /// Sets, for each reason, how much of the view that has everything is rejected now.
    pub(super) fn rejected(&self, dialect: Dialect, rejected: &[Rejected]) {
        let mut counts: BTreeMap<&'static str, i64> = Why::CODES.into_iter().map(|code| (code, 0)).collect();
        for rejected in rejected {
            *counts.entry(rejected.why.code()).or_default() += 1;
        }
        for (reason, count) in counts {
            self.rejected.get_or_create(&For { view: dialect.name(), reason }).set(count);
        }
    }
}
