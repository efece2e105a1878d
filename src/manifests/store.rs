//! The task that keeps manifests, and the handle through which others read what stands and say which registries keep
//! manifests.

use super::{Memories, Metrics, Snapshot, Source, core::Core};
use crate::{
    model::{ManifestUpdate, Text},
    util::{fan_in::FanIn, lock::lock, time::until},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Updates that a registry may be ahead. A full channel makes its reading wait, as the newest state is read again anyway.
const CHANNEL: usize = 16;

/// The task that decides which resources of manifests are served.
pub struct ManifestStore {
    core: Core,
    metrics: Metrics,
    shared: Arc<Shared>,
    /// What registries send, each by its name and the number of its reading.
    updates: FanIn<(Text, u64), ManifestUpdate>,
    out: watch::Sender<Arc<Snapshot>>,
    memories: watch::Sender<Arc<Memories>>,
    /// What is served instead of the registries' manifests, and until when.
    pinned: Option<(Arc<Snapshot>, Instant)>,
}

/// Reads what stands, and changes whose manifests are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    memories: watch::Receiver<Arc<Memories>>,
    shared: Arc<Shared>,
}

/// What handles leave for the task.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<Wanted>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Wanted {
    /// Registries, and when Istio takes all resources to be created; `None`: as before.
    sources: Option<(Vec<Source>, i64)>,
    /// By registry: the number of its newest reading. Updates of an older one are passed over.
    readings: BTreeMap<Text, u64>,
    /// A pin that was asked for, with its end; an inner `None` ends the pin. `None`: nothing was asked for.
    pinned: Option<Option<(Arc<Snapshot>, Instant)>>,
    /// Readings that have begun.
    begun: Vec<(Text, u64, mpsc::Receiver<ManifestUpdate>)>,
}

impl ManifestStore {
    /// A store for these registries. `create_time` is when Istio takes all resources to be created, in seconds since
    /// 1970.
    pub fn new(sources: Vec<Source>, create_time: i64, metrics: Metrics) -> (ManifestStore, Handle) {
        let (out, shared) = (watch::Sender::new(Arc::default()), Arc::new(Shared::default()));
        let memories = watch::Sender::new(Arc::default());
        let handle = Handle { snapshots: out.subscribe(), memories: memories.subscribe(), shared: shared.clone() };
        handle.configure(sources, create_time);
        let core = Core::new(Instant::now());
        let mut store = ManifestStore { core, metrics, shared, updates: FanIn::default(), out, memories, pinned: None };
        store.take_wanted();
        store.publish();
        (store, handle)
    }

    /// Another handle, to read snapshots and to configure the store.
    pub fn handle(&self) -> Handle {
        let (snapshots, memories) = (self.out.subscribe(), self.memories.subscribe());
        Handle { snapshots, memories, shared: self.shared.clone() }
    }

    /// Takes updates and publishes snapshots until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let shared = self.shared.clone();
        loop {
            let ends = self.pinned.as_ref().map(|(_, until)| *until);
            let due = [self.core.due(), ends].into_iter().flatten().min();
            // Receiving loses nothing when it is dropped, and the rest are timers and signals, which come first.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = until(due) => self.tick(Instant::now()),
                () = shared.changed.notified() => self.take_wanted(),
                ((registry, reading), update) = self.updates.next() => {
                    if self.is_newest(&registry, reading) {
                        self.core.apply(&registry, update, Instant::now());
                    }
                }
            }
            self.publish();
        }
    }

    /// Ends holds, waits and the pin whose time is over.
    fn tick(&mut self, now: Instant) {
        self.core.tick(now);
        if self.pinned.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.pinned = None;
        }
    }

    /// Takes over what handles have asked for: other registries, new readings, a pin.
    fn take_wanted(&mut self) {
        let shared = self.shared.clone();
        let mut wanted = shared.lock();
        for (registry, reading, updates) in wanted.begun.drain(..) {
            self.updates.insert((registry, reading), updates);
        }
        self.updates.retain(|(registry, reading)| wanted.readings.get(registry) == Some(reading));
        if let Some(pinned) = wanted.pinned.take() {
            self.pinned = pinned;
        }
        if let Some((sources, create_time)) = wanted.sources.take() {
            self.core.configure(sources, create_time);
        }
    }

    fn is_newest(&self, registry: &str, reading: u64) -> bool {
        self.shared.lock().readings.get(registry) == Some(&reading)
    }

    /// Hands out what stands, if it differs.
    fn publish(&mut self) {
        let mut next = self.core.snapshot();
        self.core.take_events().iter().for_each(|event| self.metrics.happened(event));
        self.metrics.stands(self.core.registries(), &next.manifests);
        if let Some((then, _)) = &self.pinned {
            // Whose each resource is must go with it: it decides who may see it.
            let (resources, manifests) = (then.resources.clone(), then.manifests.clone());
            let (readiness, pending, recalled) = (next.readiness, next.pending.clone(), next.recalled);
            next =
                Snapshot { number: 0, readiness, pending, recalled, resources, manifests, below: Some(Arc::new(next)) };
        }
        let memories = self.core.remember();
        self.memories.send_if_modified(|last| {
            let differs = **last != memories;
            if differs {
                *last = Arc::new(memories);
            }
            differs
        });
        self.out.send_if_modified(|last| {
            let next = Snapshot { number: last.number, ..next };
            if next == **last {
                return false;
            }
            *last = Arc::new(Snapshot { number: next.number + 1, ..next });
            true
        });
    }
}

impl Handle {
    /// Reads what a test hands out.
    #[cfg(test)]
    pub(crate) fn of(snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        let memories = watch::Sender::new(Arc::default()).subscribe();
        Handle { snapshots, memories, shared: Arc::default() }
    }

    /// The newest snapshot. It is not waited for: before the first one everything is pending.
    pub fn load(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    /// The newest snapshot, with a signal at each new one.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Serves what that snapshot has until then, whatever registries say; `None`: what they say, again. What stands is followed
    /// meanwhile.
    pub fn pin(&self, then: Option<(Arc<Snapshot>, Instant)>) {
        self.shared.lock().pinned = Some(then);
        self.shared.changed.notify_one();
    }

    /// What is to be kept over a restart, as it changes.
    pub fn memories(&self) -> watch::Receiver<Arc<Memories>> {
        self.memories.clone()
    }

    /// From now on these registries keep manifests, and no others. What a new one has is awaited; what one had that is
    /// not named any more is gone at once.
    pub fn configure(&self, sources: Vec<Source>, create_time: i64) {
        let mut wanted = self.shared.lock();
        let known = std::mem::take(&mut wanted.readings);
        let reading = |source: &Source| {
            let number = known.get(&source.registry).copied().unwrap_or_default();
            (source.registry.clone(), number)
        };
        wanted.readings = sources.iter().map(reading).collect();
        wanted.sources = Some((sources, create_time));
        drop(wanted);
        self.shared.changed.notify_one();
    }

    /// Where a new reading of that registry sends its manifests; what an older reading of it sends is passed over from now
    /// on. `None`: it keeps none.
    pub fn feed(&self, registry: &str) -> Option<mpsc::Sender<ManifestUpdate>> {
        let mut wanted = self.shared.lock();
        let (name, reading) = wanted.readings.get_key_value(registry)?;
        let (name, reading) = (name.clone(), reading + 1);
        let (feed, updates) = mpsc::channel(CHANNEL);
        wanted.readings.insert(name.clone(), reading);
        wanted.begun.push((name, reading, updates));
        drop(wanted);
        self.shared.changed.notify_one();
        Some(feed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        lock(&self.state)
    }
}
