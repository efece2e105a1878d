//! The set of views: who subscribes, which views there are, and when one is dropped.
//!
//! A view is made at its first subscription. Its receivers are what keeps it: when the last one is gone, its idle time
//! begins, and at the end of that the task drops it with all that was kept for it. The same key gives the same content
//! again, byte for byte.

use super::{
    Callers, Classes, Metrics, Part, Report, Selection, Traffic, ViewKey,
    given::Book,
    order::readiness,
    shared::{Full, Shared, ViewStatus, is_ready},
    task::Task,
    translation::Translation,
};
use crate::{
    catalog, manifests,
    resource::{Dialect, Kind, KindReadiness, Readiness, Resource, ViewGeneration},
    translate::{envoy, istio},
    util::lock::lock,
};
use arc_swap::ArcSwap;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// How services become resources, and how long views are kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// How services become Envoy's resources.
    pub envoy: envoy::Options,
    /// How services become Istio's entries.
    pub istio: istio::Options,
    /// How proxies are served besides.
    pub traffic: Traffic,
    /// A view that nobody sees is dropped after so long.
    pub idle: Duration,
    /// How many views of a dialect there may be.
    pub most: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            envoy: envoy::Options::default(),
            istio: istio::Options::default(),
            traffic: Traffic::default(),
            // A client that reconnects, or a restarted one, finds its view as it was.
            idle: Duration::from_secs(300),
            most: 1_000,
        }
    }
}

/// All views. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Set {
    dialects: [Arc<Shared>; Dialect::ALL.len()],
    translation: watch::Sender<Translation>,
    callers: watch::Sender<Arc<Callers>>,
    classes: Arc<ArcSwap<Classes>>,
    access: watch::Sender<u64>,
}

/// What a view has at one moment.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// All that it serves, immutable.
    pub generation: Arc<ViewGeneration>,
    /// What it does not serve.
    pub report: Arc<Report>,
}

impl Set {
    /// No views, and for each dialect the task that makes them.
    pub fn new(
        options: Options,
        catalog: catalog::Handle,
        manifests: manifests::Handle,
        metrics: Metrics,
    ) -> (Set, [Task; Dialect::ALL.len()]) {
        let Options { envoy, istio, traffic, idle, most } = options;
        let traffic_namespace = traffic.namespace.clone();
        let translation = watch::Sender::new(Translation { revision: 0, envoy, istio, traffic });
        let classes = Classes { namespace: traffic_namespace, ..Classes::default() };
        let (book, classes) = (Arc::<Mutex<Book>>::default(), Arc::new(ArcSwap::from_pointee(classes)));
        let access = watch::Sender::new(0);
        let callers = watch::Sender::new(Arc::default());
        let dialects = Dialect::ALL.map(|dialect| {
            Arc::new(Shared {
                dialect,
                catalog: catalog.clone(),
                manifests: manifests.clone(),
                callers: callers.subscribe(),
                book: book.clone(),
                classes: classes.clone(),
                access: access.clone(),
                wanted: Notify::new(),
                readiness: watch::Sender::new(Readiness::Waiting),
                idle,
                most,
                entries: Mutex::default(),
            })
        });
        let tasks = dialects.clone().map(|shared| Task::new(shared, translation.subscribe(), metrics.clone()));
        (Set { dialects, translation, callers, classes, access }, tasks)
    }

    /// Subscribes to a view, or a part of it, which is made if it is not there. The selection must be the key's.
    ///
    /// # Errors
    /// If as many views are in use as there may be.
    pub fn subscribe(
        &self,
        key: &ViewKey,
        selection: &Selection,
        part: &Part,
    ) -> Result<watch::Receiver<Arc<ViewGeneration>>, Full> {
        self.of(key.dialect).subscribe(key, selection, part).map(|entry| entry.1)
    }

    /// What a view has now; one that has everything is made for that. `None`: there is no such view.
    pub async fn load(&self, key: &ViewKey) -> Option<Loaded> {
        let shared = self.of(key.dialect);
        let (report, mut generations) = match shared.find(key) {
            Some(found) => found,
            None if key.scope.is_none() => shared.subscribe(key, &Selection::default(), &Part::default()).ok()?,
            None => return None,
        };
        // Fails when the view is gone, with the process.
        let generation = generations.wait_for(|generation| generation.number() > 0).await.ok()?.clone();
        Some(Loaded { generation, report: report.load_full() })
    }

    /// What a view does not serve; `None`: it is not there.
    pub fn report(&self, key: &ViewKey) -> Option<Arc<Report>> {
        self.of(key.dialect).find(key).map(|(report, _)| report.load_full())
    }

    /// Every view that there is, by key.
    pub fn views(&self) -> Vec<ViewStatus> {
        self.dialects.iter().flat_map(|shared| shared.views()).collect()
    }

    /// How far what a dialect's clients get has reported. Rises only after it is served.
    pub fn readiness(&self, dialect: Dialect) -> watch::Receiver<Readiness> {
        self.of(dialect).readiness.subscribe()
    }

    /// Whether new clients of a dialect can be answered.
    pub fn is_ready(&self, dialect: Dialect) -> bool {
        is_ready(dialect, *self.of(dialect).readiness.borrow())
    }

    /// How far the sources of each kind of a dialect have reported.
    pub fn sources(&self, dialect: Dialect) -> KindReadiness {
        readiness(dialect, &self.of(dialect).sources())
    }

    /// From the catalog on that bears the revision which this returns, resources are made in this way; until then views stay as
    /// they are. Views go on under one generation each; what comes out as it was is not sent again.
    #[must_use = "views stand still until a catalog bears it"]
    pub fn configure(&self, envoy: envoy::Options, istio: istio::Options, traffic: Traffic) -> u64 {
        self.translation.send_if_modified(|now| {
            let differs = (&now.envoy, &now.istio, &now.traffic) != (&envoy, &istio, &traffic);
            if differs {
                *now = Translation { revision: now.revision + 1, envoy, istio, traffic };
            }
            differs
        });
        self.translation.borrow().revision
    }

    /// From now on so many callers are connected.
    pub fn set_callers(&self, now: Callers) {
        self.callers.send_if_modified(|callers| {
            let differs = **callers != now;
            if differs {
                *callers = Arc::new(now);
            }
            differs
        });
    }

    /// What the gateways of the configuration are in Istio's own resources, by kind and name.
    pub fn gateways(&self) -> Vec<(Kind, Arc<Resource>)> {
        let given = lock(&self.of(Dialect::Envoy).book).given();
        given.gateways.iter().chain(given.expansions.values().flat_map(|all| all.iter())).cloned().collect()
    }

    /// What tells proxies apart now. It changes before a view does for it, and that is signalled to [`Set::access`].
    pub fn classes(&self) -> Arc<Classes> {
        self.classes.load_full()
    }

    /// Signals that clients may see another view.
    pub fn access(&self) -> watch::Receiver<u64> {
        self.access.subscribe()
    }

    /// Clients may see another view from now on.
    pub fn access_changed(&self) {
        self.access.send_modify(|number| *number += 1);
    }

    /// Gives each view that there is the selection that its key has now, in one step of each dialect.
    pub fn select(&self, selection: impl Fn(&ViewKey) -> Option<Selection>) {
        self.dialects.iter().for_each(|shared| shared.select(&selection));
    }

    fn of(&self, dialect: Dialect) -> &Shared {
        &self.dialects[dialect as usize]
    }
}
