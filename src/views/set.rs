//! The set of views: who subscribes, which views there are, and when one is dropped.
//!
//! A view is made at its first subscription. Its receivers are what keeps it: when the last one is gone, its idle time
//! begins, and at the end of that the task drops it with all that was kept for it. The same key gives the same content
//! again, byte for byte.

use super::{
    Callers, Classes, Metrics, Part, Report, Selection, ViewKey,
    given::Book,
    order::readiness,
    shared::{Full, Shared, ViewStatus, is_ready},
    task::Task,
    translation::{Outputs, Translation},
};
use crate::{
    catalog, manifests,
    resource::{Dialect, Kind, KindReadiness, Readiness, Resource, ViewGeneration},
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
    /// How services become resources.
    pub outputs: Outputs,
    /// A view that nobody sees is dropped after so long.
    pub idle: Duration,
    /// How many views of a dialect there may be.
    pub most: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            outputs: Outputs::default(),
            // A client that reconnects, or a restarted one, finds its view as it was.
            idle: Duration::from_secs(300),
            most: 1_000,
        }
    }
}

/// All views. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Set {
    /// The views made by the settings that hold for all.
    settled: Lane,
    /// The views made by settings that are being rolled out and that some clients have already.
    next: Lane,
    callers: watch::Sender<Arc<Callers>>,
    access: watch::Sender<u64>,
}

/// All views by the same settings.
#[derive(Debug, Clone)]
struct Lane {
    dialects: [Arc<Shared>; Dialect::ALL.len()],
    /// The settings in force; `None`: there are no views by them.
    translation: watch::Sender<Option<Translation>>,
    book: Arc<Mutex<Book>>,
    classes: Arc<ArcSwap<Classes>>,
}

/// One task for each dialect, in the order of [`Dialect::ALL`].
type Tasks = [Task; Dialect::ALL.len()];

/// What a view serves, and what it does not serve, at one moment.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// All that it serves, immutable.
    pub generation: Arc<ViewGeneration>,
    /// What of the view's sources is not served, with the reasons.
    pub report: Arc<Report>,
}

impl Set {
    /// No views, and for each dialect the tasks that make them: those by the settings that hold for all, and those by the
    /// settings that are being rolled out.
    pub fn new(
        options: Options,
        catalog: catalog::Handle,
        manifests: manifests::Handle,
        metrics: Metrics,
    ) -> (Set, [Tasks; 2]) {
        let Options { outputs, idle, most } = options;
        let (access, callers) = (watch::Sender::new(0), watch::Sender::new(Arc::default()));
        let lane = |outputs: Option<Outputs>, metrics: &Metrics| {
            let namespace = outputs.as_ref().map(|outputs| outputs.traffic.namespace.clone()).unwrap_or_default();
            let classes = Arc::new(ArcSwap::from_pointee(Classes { namespace, ..Classes::default() }));
            let book = Arc::<Mutex<Book>>::default();
            let translation = watch::Sender::new(outputs.map(|outputs| Translation { revision: 0, outputs }));
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
                    made: watch::Sender::new(0),
                    selected: watch::Sender::new(0),
                    idle,
                    most,
                    entries: Mutex::default(),
                })
            });
            let tasks = dialects.clone().map(|shared| Task::new(shared, translation.subscribe(), metrics.clone()));
            (Lane { dialects, translation, book, classes }, tasks)
        };
        let (settled, first) = lane(Some(outputs), &metrics);
        // What is measured of views is measured of those that most see.
        let (next, second) = lane(None, &Metrics::default());
        (Set { settled, next, callers, access }, [first, second])
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
        self.of(key).subscribe(key, selection, part).map(|entry| entry.1)
    }

    /// What a view has now. A view without a scope is made for that; `None`: there is no such view.
    pub async fn load(&self, key: &ViewKey) -> Option<Loaded> {
        let shared = self.of(key);
        let (report, mut generations) = match shared.find(key) {
            Some(found) => found,
            None if key.scope.is_none() && self.lane(key.class.next).is_used() => {
                shared.subscribe(key, &Selection::default(), &Part::default()).ok()?
            }
            None => return None,
        };
        // Fails when the view is gone, with the process.
        let generation = generations.wait_for(|generation| generation.number() > 0).await.ok()?.clone();
        Some(Loaded { generation, report: report.load_full() })
    }

    /// What a view does not serve; `None`: it is not there.
    pub fn report(&self, key: &ViewKey) -> Option<Arc<Report>> {
        self.of(key).find(key).map(|(report, _)| report.load_full())
    }

    /// Every view that there is, by key.
    pub fn views(&self) -> Vec<ViewStatus> {
        let all = self.settled.dialects.iter().chain(&self.next.dialects);
        all.flat_map(|shared| shared.views()).collect()
    }

    /// How far what a dialect's clients get has reported. Rises only after it is served.
    pub fn readiness(&self, dialect: Dialect) -> watch::Receiver<Readiness> {
        self.settled.of(dialect).readiness.subscribe()
    }

    /// Whether new clients of a dialect can be answered.
    pub fn is_ready(&self, dialect: Dialect) -> bool {
        is_ready(dialect, *self.settled.of(dialect).readiness.borrow())
    }

    /// How far the sources of each kind of a dialect have reported.
    pub fn sources(&self, dialect: Dialect) -> KindReadiness {
        readiness(dialect, &self.settled.of(dialect).sources())
    }

    /// The settings by which resources are made for all who have no part in a rollout.
    pub fn outputs(&self) -> Outputs {
        self.settled.translation.borrow().as_ref().map(|now| now.outputs.clone()).unwrap_or_default()
    }

    /// From the catalog on that bears the revision which this returns, resources are made in this way; until then views stay as
    /// they are. Views go on under one generation each; what comes out as it was is not sent again. `next` is for those who
    /// see views of the next settings; `None`: these stay as they are.
    #[must_use = "views stand still until a catalog bears it"]
    pub fn configure(&self, outputs: Outputs, next: Option<Outputs>) -> u64 {
        let before = self.settled.translation.borrow().as_ref().map_or(0, |now| now.revision);
        let rolls = next.as_ref().is_some_and(|next| !self.next.is_by(next));
        let revision = before + u64::from(rolls || !self.settled.is_by(&outputs));
        self.next.translation.send_if_modified(|now| {
            if now.is_none() && next.is_some() {
                *lock(&self.next.book) = lock(&self.settled.book).beside();
                self.next.classes.store(self.settled.classes.load_full());
            }
            let wanted = next.or_else(|| now.take().map(|now| now.outputs));
            let differs = wanted.is_some() && (rolls || revision != before);
            *now = wanted.map(|outputs| Translation { revision, outputs });
            differs
        });
        if revision != before {
            self.settled.translation.send_replace(Some(Translation { revision, outputs }));
        }
        revision
    }

    /// Waits until all views that hold for all are made by a revision.
    pub async fn made(&self, revision: u64) {
        for shared in &self.settled.dialects {
            reaches(&shared.made, revision).await;
        }
    }

    /// Ends the views of the next settings. Whoever saw one should have been given another before.
    pub fn end_next(&self) {
        self.next.translation.send_if_modified(|now| now.take().is_some());
    }

    /// Replaces the numbers of connected callers.
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
        let given = lock(&self.settled.book).given();
        given.gateways.iter().chain(given.expansions.values().flat_map(|all| all.iter())).cloned().collect()
    }

    /// What tells proxies apart now, by the settings that hold for all or by the next. It changes before a view does for it,
    /// and that is signalled to [`Set::access`].
    pub fn classes(&self, next: bool) -> Arc<Classes> {
        self.lane(next).classes.load_full()
    }

    /// Signals that clients may see another view.
    pub fn access(&self) -> watch::Receiver<u64> {
        self.access.subscribe()
    }

    /// Tells all streams that their clients may see another view from now on.
    pub fn access_changed(&self) {
        self.access.send_modify(|number| *number += 1);
    }

    /// Gives each view that there is the selection that its key has now, in one step of each dialect.
    pub fn select(&self, selection: impl Fn(&ViewKey) -> Option<Selection>) {
        let all = self.settled.dialects.iter().chain(&self.next.dialects);
        all.for_each(|shared| shared.select(&selection));
    }

    /// Waits until all views that hold for all have the selections that they were given.
    pub async fn selected(&self) {
        for shared in &self.settled.dialects {
            reaches(&shared.selected, shared.selections()).await;
        }
    }

    fn of(&self, key: &ViewKey) -> &Shared {
        self.lane(key.class.next).of(key.dialect)
    }

    fn lane(&self, next: bool) -> &Lane {
        if next { &self.next } else { &self.settled }
    }
}

/// Waits until the number in the channel is at least `number`.
async fn reaches(stands: &watch::Sender<u64>, number: u64) {
    // Fails when the process ends.
    let _ = stands.subscribe().wait_for(|now| *now >= number).await;
}

impl Lane {
    fn of(&self, dialect: Dialect) -> &Shared {
        &self.dialects[dialect as usize]
    }

    /// Whether it has settings, so that there may be views.
    fn is_used(&self) -> bool {
        self.translation.borrow().is_some()
    }

    /// Whether these are its settings.
    fn is_by(&self, outputs: &Outputs) -> bool {
        self.translation.borrow().as_ref().is_some_and(|now| now.outputs == *outputs)
    }
}
