//! The one task that changes the catalog, and the handle through which all others read it.
//!
//! Each registry has a channel of its own, and one update is taken from each in turn: a registry that floods, hangs or
//! dies delays no other. A full channel makes its registry wait. The first change is swapped in and signalled at once;
//! what follows within a short window goes together.

use super::{Catalog, Core, Metrics, Now, Policy};
use crate::{
    model::{Text, Update},
    util::{inboxes::Inboxes, moment::until},
};
use arc_swap::ArcSwap;
use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Updates that a registry may be ahead of the catalog.
const CHANNEL: usize = 64;

/// The window after a publication is so many times as long as it took, within the bounds: the catalog spends at most
/// about a tenth of its time on publishing.
const WINDOW_PER_COST: u32 = 10;

/// When the catalog publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long answers wait for a required registry that stays down.
    pub grace: Duration,
    /// The shortest window in which further changes go together.
    pub debounce_min: Duration,
    /// The longest.
    pub debounce_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            grace: Duration::from_secs(30),
            debounce_min: Duration::from_millis(10),
            debounce_max: Duration::from_millis(100),
        }
    }
}

/// The only writer of the catalog.
#[derive(Debug)]
pub struct Writer {
    core: Core,
    names: Vec<Text>,
    options: Options,
    metrics: Metrics,
    feeds: Vec<mpsc::Sender<Update>>,
    inboxes: Inboxes<Update>,
    commands: mpsc::Receiver<Command>,
    shared: Arc<ArcSwap<Catalog>>,
    changed: watch::Sender<u64>,
    wanted: watch::Sender<Arc<BTreeSet<Text>>>,
    /// No change goes out before.
    window_until: Instant,
    /// What the changes that wait have cost so far.
    cost: Duration,
}

/// Reads the catalog. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<ArcSwap<Catalog>>,
    changed: watch::Receiver<u64>,
    wanted: watch::Receiver<Arc<BTreeSet<Text>>>,
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
enum Command {
    Release(usize),
    Resolved(Text, Vec<IpAddr>),
}

impl Writer {
    /// For registries with these policies, in the order of ownership. Grace begins now.
    pub fn new(policies: Vec<Policy>, options: Options, metrics: Metrics) -> (Writer, Handle) {
        let names: Vec<Text> = policies.iter().map(|policy| policy.registry.clone()).collect();
        let mut core = Core::new(policies, options.grace, now());
        let (feeds, inboxes) = names.iter().map(|_| mpsc::channel(CHANNEL)).unzip();
        let (sender, commands) = mpsc::channel(CHANNEL);
        let first = core.snapshot();
        let changed = watch::Sender::new(first.number);
        let shared = Arc::new(ArcSwap::new(first));
        let wanted = watch::Sender::new(Arc::default());
        let handle = Handle {
            shared: shared.clone(),
            changed: changed.subscribe(),
            wanted: wanted.subscribe(),
            commands: sender,
        };
        let writer = Writer {
            core,
            names,
            options,
            metrics,
            feeds,
            inboxes: Inboxes::new(inboxes),
            commands,
            shared,
            changed,
            wanted,
            window_until: Instant::now(),
            cost: Duration::ZERO,
        };
        (writer, handle)
    }

    /// Where the registry of that place in the configuration sends its updates.
    ///
    /// # Panics
    /// If there is no such registry.
    pub fn feed(&self, registry: usize) -> mpsc::Sender<Update> {
        self.feeds[registry].clone()
    }

    /// Writes until told to stop.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let publish = self.core.is_restated().then_some(self.window_until);
            let due = self.core.due().map(Instant::from_std);
            // Every branch is safe to cancel: receiving loses nothing, and the rest are timers. Timers come first, so
            // that a flood cannot hold up what is due.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = until(publish) => self.publish(),
                () = until(due) => self.measured(|core, now| core.tick(now)),
                Some(command) = self.commands.recv() => self.obey(command),
                (registry, update) = self.inboxes.next() => {
                    self.metrics.heard(&self.names[registry]);
                    self.measured(|core, now| core.apply(registry, update, now));
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Release(registry) => self.measured(|core, now| {
                core.release(registry, now);
            }),
            Command::Resolved(name, addresses) => self.measured(|core, now| core.resolved(&name, addresses, now)),
        }
    }

    /// Changes the core, and counts what that costs as part of the next publication.
    fn measured(&mut self, change: impl FnOnce(&mut Core, Now)) {
        let start = std::time::Instant::now();
        change(&mut self.core, now());
        self.cost += start.elapsed();
        for event in self.core.take_events() {
            self.metrics.happened(&event);
        }
        if self.core.take_wanted_changed() {
            self.wanted.send_replace(Arc::new(self.core.wanted_names()));
        }
    }

    /// Swaps the newest catalog in; signals if it differs in more than statuses.
    fn publish(&mut self) {
        let start = std::time::Instant::now();
        let signal = self.core.is_changed();
        let catalog = self.core.snapshot();
        self.shared.store(catalog.clone());
        if signal {
            self.changed.send_replace(catalog.number);
        }
        let cost = std::mem::take(&mut self.cost) + start.elapsed();
        if signal {
            self.metrics.published(cost);
        }
        self.metrics.swapped(&catalog, self.core.notes());
        let Options { debounce_min, debounce_max, .. } = self.options;
        let window = (cost * WINDOW_PER_COST).min(debounce_max).max(debounce_min);
        self.window_until = Instant::now() + window;
    }
}

impl Handle {
    /// The newest catalog.
    pub fn load(&self) -> Arc<Catalog> {
        self.shared.load_full()
    }

    /// Signals the number of each new catalog whose services or completeness are new.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// The host names to be resolved, as they change.
    pub fn wanted_names(&self) -> watch::Receiver<Arc<BTreeSet<Text>>> {
        self.wanted.clone()
    }

    /// Tells what a host name resolves to. Without an answer nothing is to be told: the last one stays.
    pub async fn resolved(&self, name: Text, addresses: Vec<IpAddr>) {
        // Fails only when the writer has ended; then nobody wants to know any more.
        let _ = self.commands.send(Command::Resolved(name, addresses)).await;
    }

    /// Follows at once what is held back of a registry. `false` if nothing is, or there is no such registry.
    pub fn release(&self, registry: &str) -> bool {
        let catalog = self.load();
        let place = catalog.registries.iter().position(|status| &*status.name == registry && status.hold.is_some());
        place.is_some_and(|place| self.commands.try_send(Command::Release(place)).is_ok())
    }
}

fn now() -> Now {
    Now { instant: Instant::now().into_std(), wall: SystemTime::now() }
}
