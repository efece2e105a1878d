//! What makes the resources of a view. Each view has producers of its own, in an order: of several that have a resource of
//! one kind and name, the first one's is served.
//!
//! To add one (listeners and routes from gateways, say): implement [`Producer`] over what it reads, and name it in `order`,
//! at the place that says to whom it gives way.

use super::{
    Selection,
    given::Given,
    translations::{Translated, Translations},
};
use crate::{
    catalog::Catalog,
    manifests::Snapshot,
    model::{Hostname, Locality, PublishedService, Text},
    resource::{Dialect, Kind, KindReadiness, Name, Resource},
    translate::{Rejected, traffic::Finding},
};
use imbl::OrdMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// How many callers are connected from each place, by the cluster that they belong to.
pub type Callers = BTreeMap<Text, Arc<BTreeMap<Locality, usize>>>;

/// What views are made of: immutable snapshots.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The published services, with the readiness of the registries.
    pub catalog: Arc<Catalog>,
    /// What the last good texts of manifests give.
    pub manifests: Arc<Snapshot>,
    /// How many callers are connected from where, for the endpoints of clients' own clusters.
    pub callers: Arc<Callers>,
    /// Rules of these, and the services that proxies see.
    pub given: Arc<Given>,
}

impl Sources {
    /// A catalog and manifests, of which no rule is read.
    pub fn plain(catalog: Arc<Catalog>, manifests: Arc<Snapshot>) -> Self {
        let given = Arc::new(Given::plain(&catalog));
        Sources { catalog, manifests, callers: Arc::default(), given }
    }

    /// The services that views of a dialect have: Istiods read what manifests declare themselves.
    pub(super) fn services(&self, dialect: Dialect) -> &OrdMap<Hostname, Arc<PublishedService>> {
        match dialect {
            Dialect::Envoy | Dialect::Grpc => &self.given.services,
            Dialect::Istio => &self.catalog.services,
        }
    }
}

/// What a step changed of services: names of resources that may differ, by the hosts that have or had them.
pub(super) type Affected = BTreeMap<Hostname, BTreeSet<(Kind, Name)>>;

/// A step from the last sources to the next.
pub(super) struct Step<'a> {
    pub(super) dialect: Dialect,
    pub(super) sources: &'a Sources,
    /// Hosts whose services, or their translations, may differ. At a view's first step all.
    pub(super) changed: &'a BTreeSet<Hostname>,
    pub(super) translations: &'a mut Translations,
    /// What may differ now of what a producer has.
    pub(super) touched: BTreeSet<(Kind, Name)>,
    /// The services that these belong to; `None`: the view has no parts, and nobody needs to know.
    pub(super) affected: Option<Affected>,
}

impl Step<'_> {
    /// Notes that these resources of a service may differ.
    pub(super) fn affects<'n>(&mut self, host: &Hostname, resources: impl IntoIterator<Item = (Kind, &'n Name)>) {
        if let Some(affected) = &mut self.affected {
            let resources = resources.into_iter().map(|(kind, name)| (kind, name.clone()));
            affected.entry(host.clone()).or_default().extend(resources);
        }
    }
}

impl Step<'_> {
    /// The services that views of the dialect have.
    pub(super) fn services(&self) -> &OrdMap<Hostname, Arc<PublishedService>> {
        self.sources.services(self.dialect)
    }
}

/// Makes the resources of some kinds for one view. What it has after an update follows from the sources alone.
pub(super) trait Producer: fmt::Debug + Send {
    /// Goes on to the next sources, and notes in `step.touched` what may differ for that.
    fn update(&mut self, step: &mut Step<'_>);

    /// The resource that it has of that kind and name; `None`: it has none.
    fn get(&self, kind: Kind, name: &Name) -> Option<&Arc<Resource>>;

    /// Replaces the selection from the next update on, which gets all hosts as changed.
    fn select(&mut self, selection: &Selection);

    /// Adds how far its sources have reported, for each kind that it makes.
    fn readiness(&self, sources: &Sources, so_far: KindReadiness) -> KindReadiness;

    /// What it cannot send, by host; `None`: as at the last call.
    fn take_rejected(&mut self) -> Option<Vec<Rejected>> {
        None
    }

    /// What rules ask for and it cannot do; `None`: as at the last call.
    fn take_findings(&mut self) -> Option<Vec<Finding>> {
        None
    }

    /// The service that has that name; `None`: no service of this producer has.
    fn owner(&self, _kind: Kind, _name: &Name) -> Option<&Hostname> {
        None
    }

    /// What it makes of a service; `None`: it makes nothing of services, or nothing of this one.
    fn translated(&self, _host: &Hostname) -> Option<&Arc<Translated>> {
        None
    }

    /// What it would make of the same service with other endpoints. What comes out as it is, is the same value.
    fn translate(&self, _service: &Arc<PublishedService>, _translations: &mut Translations) -> Option<Arc<Translated>> {
        None
    }

    /// How many services it keeps something of.
    #[cfg(test)]
    fn held(&self) -> usize {
        0
    }
}
