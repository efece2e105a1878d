//! The task that keeps the call model, and the handle through which others read it and say whose consumers are read.

use super::{Metrics, Model, Options, book::Book};
use crate::{
    model::{CallUpdate, Text},
    util::{fan_in::FanIn, lock::lock, time::until},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::SystemTime,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// The most updates that wait in the channel of one registry. A full channel makes its reading wait.
const CHANNEL: usize = 16;

/// The task that alone changes the call model.
#[derive(Debug)]
pub struct Store {
    book: Book,
    shared: Arc<Shared>,
    updates: FanIn<Text, CallUpdate>,
    out: watch::Sender<Arc<Model>>,
    metrics: Metrics,
}

/// Reads the call model, and changes whose consumers are read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    models: watch::Receiver<Arc<Model>>,
    options: watch::Receiver<Options>,
    shared: Arc<Shared>,
}

/// What handles leave for the task, which is woken by `changed`.
#[derive(Debug)]
struct Shared {
    wanted: Mutex<Wanted>,
    options: watch::Sender<Options>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Wanted {
    registries: BTreeSet<Text>,
    /// Readings that have begun; a newer one of a registry takes the place of an older.
    begun: Vec<(Text, mpsc::Receiver<CallUpdate>)>,
}

impl Store {
    /// A store that reads the consumers of `registries`; `before` is the model from before a restart.
    pub fn new(
        registries: BTreeSet<Text>,
        options: Options,
        before: Option<&Model>,
        metrics: Metrics,
    ) -> (Store, Handle) {
        let (sender, receiver) = watch::channel(options);
        let (wanted, changed) = (Mutex::new(Wanted { registries, begun: Vec::new() }), Notify::new());
        let shared = Arc::new(Shared { wanted, options: sender, changed });
        let out = watch::Sender::new(Arc::default());
        let handle = Handle { models: out.subscribe(), options: receiver, shared: shared.clone() };
        let mut book = Book::default();
        if let Some(before) = before {
            book.recall(before, SystemTime::now());
        }
        let mut store = Store { book, shared, updates: FanIn::default(), out, metrics };
        store.take_wanted();
        store.publish();
        (store, handle)
    }

    /// Keeps the model up to date until `shutdown` is cancelled.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let shared = self.shared.clone();
        loop {
            let left = |due: SystemTime| due.duration_since(SystemTime::now()).unwrap_or_default();
            let due = self.book.due().and_then(|due| Instant::now().checked_add(left(due)));
            // Receiving loses nothing when it is dropped, and the rest are timers and signals, which come first.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = until(due) => self.book.expire(SystemTime::now()),
                () = shared.changed.notified() => self.take_wanted(),
                (registry, update) = self.updates.next() => self.take(&registry, update),
            }
            self.publish();
        }
    }

    fn take(&mut self, registry: &Text, update: CallUpdate) {
        let failing = self.out.borrow().registries.get(registry).is_some_and(|reading| reading.error.is_some());
        match &update {
            CallUpdate::Failed(error) => self.metrics.failed(registry, error, failing),
            CallUpdate::Listed(..) if failing => self.metrics.recovered(registry),
            _ => {}
        }
        self.book.apply(registry, update, SystemTime::now());
    }

    fn take_wanted(&mut self) {
        let mut wanted = lock(&self.shared.wanted);
        for (registry, updates) in wanted.begun.drain(..) {
            self.updates.insert(registry, updates);
        }
        self.updates.retain(|registry| wanted.registries.contains(registry));
        let keep = self.shared.options.borrow().keep;
        self.book.configure(&wanted.registries, keep, SystemTime::now());
    }

    /// Publishes the present model, unless it has the number of the last one.
    fn publish(&mut self) {
        let kept = self.book.kept();
        let (model, metrics) = (self.book.model(), &self.metrics);
        self.out.send_if_modified(|last| {
            let differs = last.number != model.number;
            if differs {
                metrics.stands(last, model, kept);
                *last = Arc::new(model.clone());
            }
            differs
        });
    }
}

impl Handle {
    /// The present model; empty if nothing is known yet.
    pub fn load(&self) -> Arc<Model> {
        self.models.borrow().clone()
    }

    /// A receiver of the newest model; it wakes up at each change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Model>> {
        self.models.clone()
    }

    /// A receiver of the present [`Options`]; it wakes up at each change.
    pub fn options(&self) -> watch::Receiver<Options> {
        self.options.clone()
    }

    /// Sets the registries whose consumers are read, and the options.
    pub fn configure(&self, registries: BTreeSet<Text>, options: Options) {
        self.shared.options.send_if_modified(|now| std::mem::replace(now, options.clone()) != options);
        lock(&self.shared.wanted).registries = registries;
        self.shared.changed.notify_one();
    }

    /// The channel for a new reading of that registry; what an older reading sends is ignored from now on. `None` if
    /// the consumers of that registry are not read.
    pub fn feed(&self, registry: &str) -> Option<mpsc::Sender<CallUpdate>> {
        let mut wanted = lock(&self.shared.wanted);
        let name = wanted.registries.get(registry)?.clone();
        let (feed, updates) = mpsc::channel(CHANNEL);
        wanted.begun.push((name, updates));
        drop(wanted);
        self.shared.changed.notify_one();
        Some(feed)
    }
}
