//! The task that keeps manifests, and the handle through which others read what stands.

use super::{Metrics, Snapshot, Source, core::Core};
use crate::{
    model::{ManifestUpdate, Text},
    util::{fan_in::FanIn, moment::until},
};
use std::sync::Arc;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Updates that a registry may be ahead. A full channel makes its reading wait, as the newest state is read again anyway.
const CHANNEL: usize = 16;

/// The only one who decides what stands.
#[derive(Debug)]
pub struct Keeper {
    core: Core,
    feeds: Vec<(Text, mpsc::Sender<ManifestUpdate>)>,
    updates: FanIn<usize, ManifestUpdate>,
    out: watch::Sender<Arc<Snapshot>>,
}

/// Reads what stands. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl Keeper {
    /// For these registries. `create_time` is when Istio takes all resources to be created, in seconds since 1970.
    pub fn new(sources: Vec<Source>, create_time: i64, metrics: Metrics) -> (Keeper, Handle) {
        let names: Vec<Text> = sources.iter().map(|source| source.registry.clone()).collect();
        let mut core = Core::new(sources, create_time, metrics, Instant::now());
        let (mut feeds, mut updates) = (Vec::new(), FanIn::default());
        for (place, name) in names.into_iter().enumerate() {
            let (feed, channel) = mpsc::channel(CHANNEL);
            updates.insert(place, channel);
            feeds.push((name, feed));
        }
        let out = watch::Sender::new(Arc::new(core.snapshot()));
        let handle = Handle { snapshots: out.subscribe() };
        (Keeper { core, feeds, updates, out }, handle)
    }

    /// Where the registry of that name tells of manifests, if it keeps any.
    pub fn feed(&self, registry: &str) -> Option<mpsc::Sender<ManifestUpdate>> {
        self.feeds.iter().find(|(name, _)| **name == *registry).map(|(_, feed)| feed.clone())
    }

    /// Keeps them until told to stop.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let due = self.core.due();
            // Receiving loses nothing when it is dropped, and the rest are timers, which come first.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = until(due) => self.core.tick(Instant::now()),
                (source, update) = self.updates.next() => {
                    self.core.apply(source, update, Instant::now());
                }
            }
            self.publish();
        }
    }

    /// Hands out what stands, if it differs.
    fn publish(&mut self) {
        let next = self.core.snapshot();
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
        Handle { snapshots }
    }

    /// What stands now.
    pub fn load(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    /// Each snapshot as it comes.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }
}
