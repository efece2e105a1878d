//! What the catalog measures of itself. One function per event writes the log and counts.

use super::{Catalog, Contest, Deed, Event, HoldEvent, Override, RegistryStatus, State};
use crate::{
    model::{Readiness, Reason, Text},
    telemetry::{RegistryLabel, count},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use std::time::Duration;
use tracing::{debug, info, warn};

/// The catalog's metrics. Clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    services: Family<RegistryLabel, Gauge>,
    endpoints: Family<RegistryLabel, Gauge>,
    held_endpoints: Family<RegistryLabel, Gauge>,
    state: Family<StateLabels, Gauge>,
    updates: Family<RegistryLabel, Counter>,
    failures: Family<RegistryLabel, Counter>,
    holds: Family<RegistryLabel, Counter>,
    notes: Family<ReasonLabel, Gauge>,
    publish: Histogram,
    number: Gauge,
    published: Gauge,
    sync: Family<SyncLabel, Gauge>,
    overrides: Family<DeedLabel, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeedLabel {
    deed: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    registry: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SyncLabel {
    sync: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            services: Family::default(),
            endpoints: Family::default(),
            held_endpoints: Family::default(),
            state: Family::default(),
            updates: Family::default(),
            failures: Family::default(),
            holds: Family::default(),
            notes: Family::default(),
            // 10 µs (one change) to 2.6 s (a first list of everything).
            publish: Histogram::new(exponential_buckets(0.000_01, 4.0, 10)),
            number: Gauge::default(),
            published: Gauge::default(),
            sync: Family::default(),
            overrides: Family::default(),
        }
    }
}

impl Metrics {
    /// Registers the metrics under their names, `catalog_...`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("catalog_services", "Services that a registry lists", self.services.clone());
        registry.register("catalog_endpoints", "Endpoints that a registry has", self.endpoints.clone());
        let help = "Endpoints that a registry no longer has and that are served on";
        registry.register("catalog_held_endpoints", help, self.held_endpoints.clone());
        registry.register("catalog_registry_state", "1 for the state that a registry is in", self.state.clone());
        registry.register("catalog_updates", "Updates received from a registry", self.updates.clone());
        registry.register("catalog_failures", "Failed readings of a registry", self.failures.clone());
        registry.register("catalog_holds", "Large drops of a registry that were held back", self.holds.clone());
        registry.register("catalog_notes", "Notes on services, by reason", self.notes.clone());
        let help = "From a change to the catalog that has it";
        registry.register("catalog_publish_duration_seconds", help, self.publish.clone());
        registry.register("catalog_number", "Number of the newest catalog", self.number.clone());
        registry.register("catalog_sync", "1 for how completely the registries were listed", self.sync.clone());
        let help = "What people have laid over what is published: pins, and edits by hand";
        registry.register("catalog_overrides", help, self.overrides.clone());
        registry.register("catalog_published_services", "Services published", self.published.clone());
    }

    /// Counts an update that was received, before it is applied.
    pub(super) fn received(&self, registry: &Text) {
        self.updates.get_or_create(&RegistryLabel::of(registry)).inc();
    }

    /// Logs an event; failures and holds are counted, too.
    pub(super) fn happened(&self, event: &Event) {
        match event {
            Event::Failed { registry, scope, error, first } => {
                self.failures.get_or_create(&RegistryLabel::of(registry)).inc();
                let scope = scope.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string);
                if *first {
                    warn!(%registry, scope, %error, "Cannot read the registry; its last services are served on.");
                } else {
                    debug!(%registry, scope, %error, "Still cannot read the registry.");
                }
            }
            Event::Synced { registry } => info!(%registry, "The whole registry was listed for the first time."),
            Event::Hold { registry, event } => self.hold(registry, *event),
            Event::Contested { registry, number, example: Contest { host, loser, owner } } => {
                warn!(
                    %registry, services = number, %host, service = %loser, %owner,
                    "Services are not published under their host, because another service has it. \
                     To serve both there, set `merge: host` under `publish` of each registry."
                );
            }
            Event::Laid(over) => {
                let Override { id, of, deed, until, by, why, .. } = &**over;
                let until = humantime::format_rfc3339_seconds(*until);
                warn!(id, %of, deed = deed.name(), %until, %by, %why, "Something was laid over what is published.");
            }
            Event::Lifted { over, by: Some(by) } => {
                let Override { id, of, deed, .. } = &**over;
                warn!(id, %of, deed = deed.name(), %by, "Lifted what was laid over what is published.");
            }
            Event::Lifted { over, by: None } => {
                let Override { id, of, deed, .. } = &**over;
                warn!(id, %of, deed = deed.name(), "The time is over of what was laid over what is published.");
            }
            Event::Forgotten { registry } => {
                self.forget(registry);
                info!(%registry, "Forgot the registry, which is no longer in the configuration.");
            }
        }
    }

    /// Sets the gauges to a catalog that was swapped in. `notes`: how many it has of each reason.
    pub(super) fn swapped(&self, catalog: &Catalog, notes: impl Iterator<Item = (Reason, usize)>) {
        self.number.set(count(catalog.number));
        self.published.set(catalog.services.len() as i64);
        for sync in Readiness::ALL {
            self.sync.get_or_create(&SyncLabel { sync: sync.name() }).set(i64::from(sync == catalog.sync));
        }
        for deed in Deed::WORDS {
            let number = catalog.overrides.iter().filter(|over| over.deed.name() == deed).count();
            self.overrides.get_or_create(&DeedLabel { deed }).set(number as i64);
        }
        catalog.registries.iter().for_each(|status| self.status(status));
        for (reason, number) in notes {
            self.notes.get_or_create(&ReasonLabel { reason: reason.code() }).set(number as i64);
        }
    }

    /// Records how long a catalog with changes took to make, in seconds.
    pub(super) fn published(&self, cost: Duration) {
        self.publish.observe(cost.as_secs_f64());
    }

    fn hold(&self, registry: &Text, event: HoldEvent) {
        match event {
            HoldEvent::Began { missing, of } => {
                self.holds.get_or_create(&RegistryLabel::of(registry)).inc();
                warn!(%registry, missing, of, "Many endpoints vanished at once; they are served on until that is certain.");
            }
            HoldEvent::Withheld { missing, of } => {
                self.holds.get_or_create(&RegistryLabel::of(registry)).inc();
                warn!(
                    %registry, missing, of,
                    "The new configuration would take many endpoints away; what it says of this registry waits. \
                     Take it back, or release the registry to follow at once."
                );
            }
            HoldEvent::Recovered => info!(%registry, "The vanished endpoints are back; following the registry again."),
            HoldEvent::Expired => warn!(%registry, "The endpoints stayed away; following the registry again."),
            HoldEvent::Prolonged => info!(%registry, "What is held back was prolonged by hand."),
            HoldEvent::Released => info!(%registry, "The drop was released by hand; following the registry again."),
        }
    }

    /// Removes the metrics of a registry that is gone.
    fn forget(&self, registry: &Text) {
        let label = RegistryLabel::of(registry);
        for family in [&self.services, &self.endpoints, &self.held_endpoints] {
            family.remove(&label);
        }
        for family in [&self.updates, &self.failures, &self.holds] {
            family.remove(&label);
        }
        for state in State::ALL {
            self.state.remove(&StateLabels { registry: registry.to_string(), state: state.name() });
        }
    }

    fn status(&self, status: &RegistryStatus) {
        let label = RegistryLabel::of(&status.name);
        self.services.get_or_create(&label).set(status.services as i64);
        self.endpoints.get_or_create(&label).set(status.endpoints as i64);
        let held = status.hold.as_ref().map_or(0, |hold| hold.endpoints);
        self.held_endpoints.get_or_create(&label).set(held as i64);
        for state in State::ALL {
            let labels = StateLabels { registry: status.name.to_string(), state: state.name() };
            self.state.get_or_create(&labels).set(i64::from(state == status.state));
        }
    }
}
