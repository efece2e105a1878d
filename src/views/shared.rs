//! What the task of a dialect shares with those who subscribe: which views there are, and since when nobody sees one.

use super::{
    Classes, Part, Report, Selection, ViewKey, given::Book, handles::Handles, order::readiness, producer::Callers,
    producer::Sources, stage::Place, translation::Translation,
};
use crate::{
    catalog, manifests,
    resource::{Dialect, Family, Readiness, ViewGeneration},
    util::lock::lock,
};
use arc_swap::ArcSwap;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

/// What a dialect's task shares with those who subscribe.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dialect: Dialect,
    pub(super) catalog: catalog::Handle,
    pub(super) manifests: manifests::Handle,
    pub(super) callers: watch::Receiver<Arc<Callers>>,
    /// Reads the rules of catalog and manifests, once for all dialects.
    pub(super) book: Arc<Mutex<Book>>,
    /// What tells proxies apart.
    pub(super) classes: Arc<ArcSwap<Classes>>,
    /// Signals that clients may see another view.
    pub(super) access: watch::Sender<u64>,
    /// Signals a view that is to be made.
    pub(super) wanted: Notify,
    /// How far the sources of the dialect have reported, after what they reported is served.
    pub(super) readiness: watch::Sender<Readiness>,
    /// Up to which revision of the configuration its views are made; the last one there is when its task has ended.
    pub(super) made: watch::Sender<u64>,
    /// Up to which giving of selections its views have theirs; the last one there is when its task has ended.
    pub(super) selected: watch::Sender<u64>,
    pub(super) idle: Duration,
    pub(super) most: usize,
    pub(super) entries: Mutex<Entries>,
}

/// The views of a dialect by key.
#[derive(Debug, Default)]
pub(super) struct Entries {
    by_key: BTreeMap<ViewKey, Entry>,
    /// Counts up with each view that is made.
    next: u64,
    /// Counts up whenever views are given selections.
    selections: u64,
}

/// A view, as those who read it have it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) selection: Selection,
    pub(super) generations: watch::Sender<Arc<ViewGeneration>>,
    pub(super) report: Arc<ArcSwap<Report>>,
    /// Those of its readers who have a part of it.
    pub(super) parts: Arc<Mutex<Handles>>,
    /// Since when nobody sees it; `None`: somebody does, or nobody has looked yet.
    idle_since: Option<Instant>,
}

/// No further view can be kept: all are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{most} views are in use, which is the limit")]
pub struct Full {
    /// How many views there may be.
    pub most: usize,
}

/// The state of a view, as the admin API shows it.
#[derive(Debug, Clone)]
pub struct ViewStatus {
    /// The key by which the admin API and logs name it.
    pub key: ViewKey,
    /// How many read it now: streams, and requests of admin.
    pub readers: usize,
    /// How many different parts of it they have.
    pub parts: usize,
    /// For how long nobody has read it; `None`: somebody does.
    pub idle: Option<Duration>,
    /// All that it serves now, immutable.
    pub generation: Arc<ViewGeneration>,
}

/// What a reader of a view holds: its report, and its generations.
pub(super) type Reading = (Arc<ArcSwap<Report>>, watch::Receiver<Arc<ViewGeneration>>);

impl Shared {
    /// The newest catalog, manifests and callers; no rules are read yet.
    pub(super) fn sources(&self) -> Sources {
        let callers = self.callers.borrow().clone();
        Sources { callers, ..Sources::plain(self.catalog.load(), self.manifests.load()) }
    }

    /// Reads what rules give with these sources, or with newer ones. Who gets which view is known before a view has it.
    pub(super) fn read_rules(&self, sources: &mut Sources, translation: &Translation) {
        if self.dialect.family() != Family::Envoy {
            return;
        }
        let (given, classes) = lock(&self.book).advance(&sources.catalog, &sources.manifests, translation);
        sources.given = given;
        if **self.classes.load() != classes {
            self.classes.store(Arc::new(classes));
            self.access.send_modify(|number| *number += 1);
        }
    }

    /// Reads a view without making it; `None`: there is no view of that key.
    pub(super) fn find(&self, key: &ViewKey) -> Option<Reading> {
        let mut entries = self.lock();
        Some(entries.by_key.get_mut(key)?.read(&Part::default()).0)
    }

    /// Reads a view, or a part of it; the view is made if it is not there. An error if no further one can be kept.
    pub(super) fn subscribe(&self, key: &ViewKey, selection: &Selection, part: &Part) -> Result<Reading, Full> {
        let mut entries = self.lock();
        if let Some(entry) = entries.by_key.get_mut(key) {
            let (reading, new) = entry.read(part);
            drop(entries);
            if new {
                self.wanted.notify_one();
            }
            return Ok(reading);
        }
        entries.make_room(self.most)?;
        let number = entries.next;
        entries.next += 1;
        let unbuilt = ViewGeneration::unbuilt(readiness(self.dialect, &self.sources()).waiting());
        let mut entry = Entry {
            number,
            selection: selection.clone(),
            generations: watch::Sender::new(Arc::new(unbuilt)),
            report: Arc::default(),
            parts: Arc::default(),
            idle_since: None,
        };
        let (reading, _) = entry.read(part);
        entries.by_key.insert(key.clone(), entry);
        drop(entries);
        self.wanted.notify_one();
        Ok(reading)
    }

    /// Gives each view another selection, if its key has one.
    pub(super) fn select(&self, selection: impl Fn(&ViewKey) -> Option<Selection>) {
        let mut entries = self.lock();
        entries.selections += 1;
        for (key, entry) in &mut entries.by_key {
            entry.selection = selection(key).unwrap_or_else(|| entry.selection.clone());
        }
        drop(entries);
        self.wanted.notify_one();
    }

    /// How often views were given selections: the number that [`Shared::selected`] will reach.
    pub(super) fn selections(&self) -> u64 {
        self.lock().selections
    }

    /// The views that are to be there, after those were dropped that nobody has seen for the idle time.
    pub(super) fn current(&self, now: Instant) -> BTreeMap<Place, Entry> {
        let mut entries = self.lock();
        entries.by_key.retain(|_, entry| {
            match entry.readers() {
                0 => drop(entry.idle_since.get_or_insert(now)),
                _ => entry.idle_since = None,
            }
            entry.idle_since.is_none_or(|since| now < since + self.idle)
        });
        entries.by_key.iter().map(|(key, entry)| ((key.clone(), entry.number), entry.clone())).collect()
    }

    /// Forgets all views. Who reads one keeps what it has.
    pub(super) fn clear(&self) {
        self.lock().by_key.clear();
        *lock(&self.book) = Book::default();
    }

    /// Drops the parts that nobody has any more.
    pub(super) fn sweep_parts(&self) {
        self.lock().by_key.values().for_each(|entry| lock(&entry.parts).sweep());
    }

    /// How often [`Shared::current`] must be asked for the idle time to be kept to, more or less.
    pub(super) fn period(&self) -> Duration {
        self.idle / 10
    }

    /// Every view, by key.
    pub(super) fn views(&self) -> Vec<ViewStatus> {
        let now = Instant::now();
        let status = |(key, entry): (&ViewKey, &Entry)| ViewStatus {
            key: key.clone(),
            readers: entry.readers(),
            parts: lock(&entry.parts).len(),
            idle: entry.idle_since.map(|since| now.saturating_duration_since(since)),
            generation: entry.generations.borrow().clone(),
        };
        self.lock().by_key.iter().map(status).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        lock(&self.entries)
    }
}

impl Entries {
    /// Drops the view that nobody has seen for longest, if there are as many as there may be.
    fn make_room(&mut self, most: usize) -> Result<(), Full> {
        if self.by_key.len() < most {
            return Ok(());
        }
        let idle = self.by_key.iter().filter(|(_, entry)| entry.readers() == 0);
        let longest = idle.min_by_key(|(_, entry)| (entry.idle_since.is_none(), entry.idle_since));
        let key = longest.map(|(key, _)| key.clone()).ok_or(Full { most })?;
        self.by_key.remove(&key);
        Ok(())
    }
}

impl Entry {
    /// Adds a reader of the view, or of a part. Returns what it holds, and whether the part is new.
    fn read(&mut self, part: &Part) -> (Reading, bool) {
        self.idle_since = None;
        if part.is_whole() {
            return ((self.report.clone(), self.generations.subscribe()), false);
        }
        let readiness = self.generations.borrow().readiness();
        let (generations, new) = lock(&self.parts).subscribe(part, || ViewGeneration::unbuilt(readiness.waiting()));
        ((self.report.clone(), generations), new)
    }

    /// How many read it, or a part of it.
    fn readers(&self) -> usize {
        self.generations.receiver_count() + lock(&self.parts).readers()
    }
}

/// Whether new clients of a dialect can be answered: an Istiod would delete what a list lacks, so it is sent nothing before
/// all is known; an Envoy is sent what there is.
pub(super) fn is_ready(dialect: Dialect, readiness: Readiness) -> bool {
    match dialect {
        Dialect::Envoy | Dialect::Grpc => readiness != Readiness::Waiting,
        Dialect::Istio => readiness == Readiness::Complete,
    }
}
