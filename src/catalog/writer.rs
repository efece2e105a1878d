//! The one task that changes the catalog, and the handle through which all others read it.
//!
//! Each registry has a channel of its own, and one update is taken from each in turn: a registry that floods, hangs or
//! dies delays no other. A full channel makes its registry wait. The first change is swapped in and signalled at once;
//! what follows within a short window goes together.

use super::{
    Catalog, Core, Desired, Held, Metrics, Now, Options, Order, Outcome, Override, Reading, Refused, Remembered,
    journal::{Cause, Journal, Published},
};
use crate::{
    model::{Hostname, Text, Update},
    util::{fan_in::FanIn, time::until},
};
use arc_swap::ArcSwap;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Updates that a registry may be ahead of the catalog.
const CHANNEL: usize = 64;

/// The window after a publication is so many times as long as it took, within the bounds: the catalog spends at most
/// about a tenth of its time on publishing.
const WINDOW_PER_COST: u32 = 10;

/// The only writer of the catalog.
#[derive(Debug)]
pub struct Writer {
    core: Core,
    options: Options,
    metrics: Metrics,
    updates: FanIn<Reading, Update>,
    commands: mpsc::Receiver<Command>,
    shared: Arc<ArcSwap<Catalog>>,
    changed: watch::Sender<u64>,
    wanted: watch::Sender<Arc<BTreeMap<Text, Arc<[IpAddr]>>>>,
    touched: watch::Sender<u64>,
    journal: Journal,
    /// No change is published before this.
    window_until: Instant,
    /// What the changes that wait have cost so far.
    cost: Duration,
}

/// Reads the catalog. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<ArcSwap<Catalog>>,
    changed: watch::Receiver<u64>,
    wanted: watch::Receiver<Arc<BTreeMap<Text, Arc<[IpAddr]>>>>,
    touched: watch::Receiver<u64>,
    commands: mpsc::Sender<Command>,
}

/// A configuration that the catalog follows.
#[derive(Debug)]
#[must_use]
pub struct Configured {
    /// Where the readings that begin send their updates.
    pub feeds: Vec<Feed>,
    /// Which readings begin and end, and what is held back.
    pub outcome: Outcome,
}

/// Where a reading sends its updates. Closed when the reading is replaced or its registry is removed.
#[derive(Debug)]
pub struct Feed {
    /// The reading whose updates are taken from the channel.
    pub reading: Reading,
    /// A full channel makes the reading wait.
    pub updates: mpsc::Sender<Update>,
}

/// Which holds are to be ended or prolonged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldPart {
    /// Everything that is held back of the registry with this name.
    Registry(Text),
    /// The services that feed this host.
    Service(Hostname),
}

impl std::fmt::Display for HeldPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HeldPart::Registry(name) => write!(f, "registry {name}"),
            HeldPart::Service(host) => write!(f, "{host}"),
        }
    }
}

#[derive(Debug)]
enum Command {
    Configure { desired: Desired, force: bool, done: oneshot::Sender<Configured> },
    TryOut { desired: Desired, force: bool, done: oneshot::Sender<Vec<Held>> },
    Remember { after: u64, done: oneshot::Sender<Remembered> },
    Release(Text),
    Prolong { of: HeldPart, time: Duration, done: oneshot::Sender<Option<SystemTime>> },
    ReleaseService { host: Hostname, done: oneshot::Sender<bool> },
    Lay { order: Order, done: oneshot::Sender<Result<Override, Refused>> },
    Lift { is_meant: Meant, by: Text, done: oneshot::Sender<Vec<Override>> },
    Resolved(Text, Vec<IpAddr>),
}

/// Tells the overrides that are to be lifted.
struct Meant(Box<dyn Fn(&Override) -> bool + Send>);

impl std::fmt::Debug for Meant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meant")
    }
}

impl Writer {
    /// Without any registry. Grace begins now, and nothing is complete before the first configuration.
    pub fn new(options: Options, metrics: Metrics) -> (Writer, Handle) {
        let mut core = Core::new(options.grace, now());
        let (sender, commands) = mpsc::channel(CHANNEL);
        let first = core.snapshot();
        let changed = watch::Sender::new(first.number);
        let shared = Arc::new(ArcSwap::new(first));
        let wanted = watch::Sender::new(Arc::default());
        let touched = watch::Sender::new(0);
        let handle = Handle {
            touched: touched.subscribe(),
            shared: shared.clone(),
            changed: changed.subscribe(),
            wanted: wanted.subscribe(),
            commands: sender,
        };
        let writer = Writer {
            core,
            options,
            metrics,
            updates: FanIn::default(),
            commands,
            shared,
            changed,
            wanted,
            touched,
            journal: Journal::default(),
            window_until: Instant::now(),
            cost: Duration::ZERO,
        };
        (writer, handle)
    }

    /// Restores overrides from before a restart. To be called before the first configuration.
    pub fn recall_overrides(&mut self, all: &[Override]) {
        self.measured(|core, now| core.recall_overrides(all, now));
    }

    /// From now on, each catalog whose services or overrides differ from those before, with what has led to it. Where
    /// nobody reads, causes are collected until somebody does, and catalogs in between are left out.
    pub fn journal(&mut self) -> mpsc::Receiver<Published> {
        self.journal.open()
    }

    /// Follows a configuration; all that it changes is in one catalog. `force`: also where that takes many endpoints away.
    pub fn configure(&mut self, desired: Desired, force: bool) -> Configured {
        self.options = desired.options;
        self.journal.note(Cause::Configuration);
        let outcome = self.measured(|core, now| core.configure(desired, force, now));
        for registry in &outcome.ended {
            self.updates.retain(|reading| reading.registry != *registry);
        }
        let mut feeds = Vec::with_capacity(outcome.begun.len());
        for reading in &outcome.begun {
            let (sender, updates) = mpsc::channel(CHANNEL);
            self.updates.insert(reading.clone(), updates);
            feeds.push(Feed { reading: reading.clone(), updates: sender });
        }
        self.publish();
        Configured { feeds, outcome }
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
                () = until(due) => {
                    self.journal.note(Cause::Time);
                    self.measured(|core, now| core.tick(now));
                }
                Some(command) = self.commands.recv() => self.obey(command),
                (reading, update) = self.updates.next() => {
                    self.metrics.received(&reading.registry);
                    self.journal.note(Cause::Registry(reading.registry.clone()));
                    self.measured(|core, now| core.apply(&reading, update, now));
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            // Whoever asked may be gone; the configuration is followed all the same.
            Command::Configure { desired, force, done } => drop(done.send(self.configure(desired, force))),
            Command::TryOut { desired, force, done } => {
                // Nothing of the copy is published.
                drop(done.send(self.core.clone().configure(desired, force, now()).held));
            }
            Command::Remember { after, done } => drop(done.send(self.core.remember(after, now()))),
            Command::Release(registry) => {
                self.journal.note(Cause::Request);
                self.measured(|core, now| core.release(&registry, now));
            }
            Command::ReleaseService { host, done } => {
                self.journal.note(Cause::Request);
                let released = self.measured(|core, now| core.release_service(&host, now));
                // Whoever asked may be gone.
                let _ = done.send(released);
            }
            Command::Prolong { of, time, done } => {
                self.journal.note(Cause::Request);
                let until = self.measured(|core, now| match &of {
                    HeldPart::Registry(registry) => core.prolong(registry, time, now),
                    HeldPart::Service(host) => core.prolong_service(host, time, now),
                });
                // Whoever asked may be gone.
                let _ = done.send(until);
            }
            Command::Lay { order, done } => {
                self.journal.note(Cause::Request);
                // The order means what is published now, so nothing may wait.
                self.publish();
                let laid = self.measured(|core, now| core.lay(order, now));
                self.publish();
                drop(done.send(laid));
            }
            Command::Lift { is_meant, by, done } => {
                self.journal.note(Cause::Request);
                let lifted = self.measured(|core, now| core.lift(&is_meant.0, &by, now));
                self.publish();
                drop(done.send(lifted));
            }
            Command::Resolved(name, addresses) => {
                self.journal.note(Cause::Resolution);
                self.measured(|core, now| core.resolved(&name, addresses, now));
            }
        }
    }

    /// Changes the core, and counts what that costs as part of the next publication.
    fn measured<T>(&mut self, change: impl FnOnce(&mut Core, Now) -> T) -> T {
        let start = std::time::Instant::now();
        let result = change(&mut self.core, now());
        self.cost += start.elapsed();
        for event in self.core.take_events() {
            self.metrics.happened(&event);
        }
        let touches = self.core.touches();
        self.touched.send_if_modified(|number| std::mem::replace(number, touches) != touches);
        if self.core.take_wanted_changed() {
            self.wanted.send_replace(Arc::new(self.core.wanted_names()));
        }
        result
    }

    /// Swaps the newest catalog in; signals if it differs in more than statuses.
    fn publish(&mut self) {
        let start = std::time::Instant::now();
        let catalog = self.core.snapshot();
        let before = self.shared.swap(catalog.clone());
        let signal = catalog.number != before.number;
        if signal {
            self.changed.send_replace(catalog.number);
        }
        self.journal.published(&before, &catalog);
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
    /// The newest catalog. Never waits.
    pub fn load(&self) -> Arc<Catalog> {
        self.shared.load_full()
    }

    /// Signals the number of each new catalog whose services or completeness are new.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// The host names to be resolved, as they change, each with the answer that it had then; no addresses without one.
    pub fn wanted_names(&self) -> watch::Receiver<Arc<BTreeMap<Text, Arc<[IpAddr]>>>> {
        self.wanted.clone()
    }

    /// Follows a configuration, as [`Writer::configure`] does. `None`: the catalog has ended.
    pub async fn configure(&self, desired: Desired, force: bool) -> Option<Configured> {
        let (done, configured) = oneshot::channel();
        self.commands.send(Command::Configure { desired, force, done }).await.ok()?;
        configured.await.ok()
    }

    /// What would be held back of a configuration, if it were followed now. `None`: the catalog has ended.
    pub async fn try_out(&self, desired: Desired, force: bool) -> Option<Vec<Held>> {
        let (done, held) = oneshot::channel();
        self.commands.send(Command::TryOut { desired, force, done }).await.ok()?;
        held.await.ok()
    }

    /// Signals a number that rises with each change of what is kept over a restart.
    pub fn touched(&self) -> watch::Receiver<u64> {
        self.touched.clone()
    }

    /// What is known of the registries that have changed after that number. `None`: the catalog has ended.
    pub async fn remember(&self, after: u64) -> Option<Remembered> {
        let (done, remembered) = oneshot::channel();
        self.commands.send(Command::Remember { after, done }).await.ok()?;
        remembered.await.ok()
    }

    /// Takes in what a host name resolves to; no addresses: it certainly has none. A failure is not to be reported: the
    /// last answer stays.
    pub async fn resolved(&self, name: Text, addresses: Vec<IpAddr>) {
        // Fails only when the writer has ended; then nobody wants to know any more.
        let _ = self.commands.send(Command::Resolved(name, addresses)).await;
    }

    /// Makes an override, which is published when this returns. `None`: the catalog has ended.
    pub async fn lay(&self, order: Order) -> Option<Result<Override, Refused>> {
        let (done, laid) = oneshot::channel();
        self.commands.send(Command::Lay { order, done }).await.ok()?;
        laid.await.ok()
    }

    /// Removes the overrides for which `is_meant` is true, and returns them. `None`: the catalog has ended.
    pub async fn lift(&self, is_meant: impl Fn(&Override) -> bool + Send + 'static, by: Text) -> Option<Vec<Override>> {
        let (done, lifted) = oneshot::channel();
        let is_meant = Meant(Box::new(is_meant));
        self.commands.send(Command::Lift { is_meant, by, done }).await.ok()?;
        lifted.await.ok()
    }

    /// Ends the holds of the services that feed a host at once. `false` if there are none; `None`: the catalog has
    /// ended.
    pub async fn release_service(&self, host: Hostname) -> Option<bool> {
        let (done, released) = oneshot::channel();
        self.commands.send(Command::ReleaseService { host, done }).await.ok()?;
        released.await.ok()
    }

    /// Makes a hold last at least `time` from now. The inner value is when it ends, or `None` if nothing is held back;
    /// an outer `None` means that the catalog has ended.
    pub async fn prolong(&self, of: HeldPart, time: Duration) -> Option<Option<SystemTime>> {
        let (done, prolonged) = oneshot::channel();
        self.commands.send(Command::Prolong { of, time, done }).await.ok()?;
        prolonged.await.ok()
    }

    /// Ends all holds of a registry at once. `false` if it has none, or there is no such registry.
    pub fn release(&self, registry: &str) -> bool {
        let catalog = self.load();
        let held = catalog.registries.iter().find(|status| &*status.name == registry && status.hold.is_some());
        held.is_some_and(|status| self.commands.try_send(Command::Release(status.name.clone())).is_ok())
    }
}

fn now() -> Now {
    Now { instant: Instant::now().into_std(), wall: SystemTime::now() }
}
