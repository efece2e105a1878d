//! The task that writes: when something has changed and it is quiet, at the latest after twelve times that, on request, and
//! at the end. From the first time on the folder is its own until it ends: a process that takes over later writes only then.
//!
//! Asking the catalog costs it some milliseconds (manifests say by themselves what they have); encoding and writing are
//! done on a thread of their own. A file that is unchanged is written again, but only before it would be too old.

use super::{
    Content, EVERYTHING, Laid, Metrics, Options, Store,
    store::{Lock, Written},
};
use crate::{
    calls,
    catalog::{self, Handle, Override, Remembered},
    manifests::{self, Memories},
    model::Text,
    util::time::until,
};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::spawn_blocking,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Writes what the catalog, manifests and the call model know.
#[derive(Debug)]
pub struct Keeper {
    catalog: Handle,
    manifests: watch::Receiver<Arc<Memories>>,
    rules: manifests::Handle,
    calls: watch::Receiver<Arc<calls::Model>>,
    metrics: Metrics,
    options: watch::Receiver<Options>,
    requests: mpsc::Receiver<Request>,
    folder: Folder,
    /// The last turn failed.
    failing: bool,
}

/// Somebody waits for a turn, and is told whether all of it is on disk.
type Request = oneshot::Sender<bool>;

/// Why something is written.
enum Cause {
    /// There is something new.
    Change,
    /// Where or how it is written is another.
    Options,
    /// The files become too old.
    Age,
    Request(Request),
}

/// The folder that is written to, and what is known of it. Another folder has none of the files yet.
#[derive(Debug, Default)]
struct Folder {
    dir: Option<PathBuf>,
    /// Everything up to this change of the catalog is written; see [`catalog::Core::touches`].
    number: u64,
    written: Files,
    /// `None`: nothing was written yet.
    lock: Option<Lock>,
}

/// What was written, by registry.
#[derive(Debug, Default)]
struct Files {
    services: BTreeMap<Text, Written>,
    manifests: BTreeMap<Text, Written>,
    laid: BTreeMap<Text, Written>,
    /// The overrides as they were last written.
    overrides: Option<Arc<[Override]>>,
    calls: BTreeMap<Text, Written>,
    /// The call model as it was last written.
    model: Option<Arc<calls::Model>>,
}

/// Changes what a [`Keeper`] does.
#[derive(Debug, Clone)]
pub struct Control {
    options: watch::Sender<Options>,
    requests: mpsc::Sender<Request>,
}

impl Control {
    /// The options in force, as they change.
    pub fn options(&self) -> watch::Receiver<Options> {
        self.options.subscribe()
    }

    /// Puts these options in force.
    pub fn set(&self, options: Options) {
        self.options.send_if_modified(|now| std::mem::replace(now, options.clone()) != options);
    }

    /// Has what is known now written without waiting for quiet. Returns whether all of it is on disk, or nothing is
    /// kept.
    pub async fn write(&self) -> bool {
        let (done, written) = oneshot::channel();
        self.requests.send(done).await.is_ok() && written.await.unwrap_or(false)
    }
}

impl Keeper {
    /// Keeps what that catalog, those manifests and that call model know.
    pub fn new(
        options: Options,
        catalog: Handle,
        rules: &manifests::Handle,
        calls: &calls::Handle,
        metrics: Metrics,
    ) -> (Keeper, Control) {
        let folder = Folder { dir: options.dir.clone(), ..Folder::default() };
        let (sender, options) = watch::channel(options);
        let (asking, requests) = mpsc::channel(1);
        let (manifests, rules, mut calls) = (rules.memories(), rules.clone(), calls.subscribe());
        // What it begins with is nothing to be written: that is what was read, or nothing.
        calls.mark_unchanged();
        let failing = false;
        let keeper = Keeper { catalog, manifests, rules, calls, metrics, options, requests, folder, failing };
        (keeper, Control { options: sender, requests: asking })
    }

    /// Writes until `stop`, and then once more.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut touched = self.catalog.touched();
        loop {
            let options = self.options.borrow_and_update().clone();
            let again = if self.failing { options.at_most() } else { options.max_age / 4 };
            let again = options.dir.is_some().then(|| Instant::now() + again);
            let cause = tokio::select! {
                () = stop.cancelled() => break,
                cause = self.cause(&mut touched, again) => cause,
            };
            let (all, asked) = match cause {
                None => return,
                Some(Cause::Change) => (false, self.quiet(&mut touched, &options, &stop).await),
                Some(Cause::Options) => (false, None),
                Some(Cause::Age) => (true, None),
                Some(Cause::Request(done)) => (false, Some(done)),
            };
            self.turn(all).await;
            if let Some(done) = asked {
                // Whoever asked may have gone.
                let _ = done.send(!self.failing);
            }
            // What came during that turn is written by the last one.
            if stop.is_cancelled() {
                break;
            }
        }
        self.turn(false).await;
    }

    /// Waits for a reason to write, at `again` by age; without that nothing is kept, and changes are no reason. `None`:
    /// there will be none any more.
    async fn cause(&mut self, touched: &mut watch::Receiver<u64>, again: Option<Instant>) -> Option<Cause> {
        let is_kept = again.is_some();
        let (changed, cause) = tokio::select! {
            changed = touched.changed(), if is_kept => (changed, Cause::Change),
            changed = self.manifests.changed(), if is_kept => (changed, Cause::Change),
            changed = self.calls.changed(), if is_kept => (changed, Cause::Change),
            changed = self.options.changed() => (changed, Cause::Options),
            Some(done) = self.requests.recv() => (Ok(()), Cause::Request(done)),
            () = until(again) => (Ok(()), Cause::Age),
        };
        changed.is_ok().then_some(cause)
    }

    /// Waits until nothing has changed for a while; not for ever, and not beyond `stop`, other options, or a request, which
    /// is returned.
    async fn quiet(
        &mut self,
        touched: &mut watch::Receiver<u64>,
        options: &Options,
        stop: &CancellationToken,
    ) -> Option<Request> {
        let latest = Instant::now() + options.at_most();
        loop {
            let over = (Instant::now() + options.quiet).min(latest);
            let cause = tokio::select! {
                () = stop.cancelled() => return None,
                cause = self.cause(touched, Some(over)) => cause,
            };
            match cause {
                Some(Cause::Change) => {}
                Some(Cause::Request(done)) => return Some(done),
                Some(Cause::Options | Cause::Age) | None => return None,
            }
        }
    }

    /// Writes what is new; `all`: also what has not changed.
    async fn turn(&mut self, all: bool) {
        let options = self.options.borrow().clone();
        if options.dir != self.folder.dir {
            self.folder = Folder { dir: options.dir.clone(), ..Folder::default() };
        }
        if options.dir.is_none() {
            self.failing = false;
            return;
        }
        let after = if all { 0 } else { self.folder.number };
        let Some(remembered) = self.catalog.remember(after).await else { return };
        let (number, manifests) = (remembered.number, self.manifests.borrow_and_update().clone());
        let pinned = self.rules.load();
        let manifests_pinned = pinned.below.is_some().then_some(pinned);
        let calls = self.calls.borrow_and_update().clone();
        let laid = Laid { overrides: self.catalog.load().overrides.clone(), manifests: manifests_pinned };
        let store = Store::new(options, self.metrics.clone());
        let folder = std::mem::take(&mut self.folder);
        let turn = spawn_blocking(move || write(&store, remembered, &manifests, laid, calls, folder, all)).await;
        let failed = match turn {
            Ok((folder, failed)) => {
                self.folder = folder;
                failed
            }
            Err(broken) => Some(broken.to_string()),
        };
        let failed = failed.as_ref().map(|why| why as &dyn std::fmt::Display);
        self.metrics.turn(failed, self.failing);
        self.failing = failed.is_some();
        if !self.failing {
            self.folder.number = number;
        }
    }
}

/// Writes what is new, and removes the files of what is gone. Returns what was written, and an error if any failed.
fn write(
    store: &Store,
    remembered: Remembered,
    manifests: &Memories,
    laid: Laid,
    calls: Arc<calls::Model>,
    mut folder: Folder,
    all: bool,
) -> (Folder, Option<String>) {
    // Whoever has it writes: at an upgrade that is the older process until it ends.
    match store.lock(folder.lock.take()) {
        Ok(Some(lock)) => folder.lock = Some(lock),
        Ok(None) => return (folder, Some("another process writes into the folder of `state.dir`".into())),
        Err(error) => return (folder, Some(error.to_string())),
    }
    let (written, mut failed) = (&mut folder.written, None);
    for (registry, identity, memory) in &remembered.memories {
        failed = one(store, (registry, identity), memory, &mut written.services, all).or(failed);
    }
    for (registry, (identity, memory)) in manifests {
        failed = one(store, (registry, identity), memory, &mut written.manifests, all).or(failed);
    }
    failed = overrides(store, laid, written, all).or(failed);
    failed = called(store, calls, written, all).or(failed);
    let is_gone = |registry: &Text| !remembered.registries.contains(registry);
    failed = failed.or(forget::<catalog::Memory>(store, &mut written.services, is_gone));
    failed = failed.or(forget::<manifests::Memory>(store, &mut written.manifests, |r| !manifests.contains_key(r)));
    (folder, failed)
}

/// Writes the overrides, if they are new: a pin of everything is as large as everything. Returns the error if that
/// fails.
fn overrides(store: &Store, laid: Laid, written: &mut Files, all: bool) -> Option<String> {
    let same = written.overrides.as_ref().is_some_and(|known| Arc::ptr_eq(known, &laid.overrides));
    let is_empty = laid.overrides.is_empty();
    if same && (is_empty || !all) {
        return None;
    }
    let failed = of_everything(store, &laid, is_empty, &mut written.laid, all);
    written.overrides = failed.is_none().then_some(laid.overrides);
    failed
}

/// Writes the call model, if it is new. Returns the error if that fails.
fn called(store: &Store, model: Arc<calls::Model>, written: &mut Files, all: bool) -> Option<String> {
    let known = written.model.as_ref();
    let same = known.is_some_and(|known| Arc::ptr_eq(known, &model) || known.applications == model.applications);
    let is_empty = model.applications.is_empty();
    if same && (is_empty || !all) {
        return None;
    }
    let failed = of_everything(store, &*model, is_empty, &mut written.calls, all);
    written.model = failed.is_none().then_some(model);
    failed
}

/// Writes a memory of no single registry; if it is empty, its file is removed. Returns the error if that fails.
fn of_everything<M: Content>(
    store: &Store,
    memory: &M,
    is_empty: bool,
    written: &mut BTreeMap<Text, Written>,
    all: bool,
) -> Option<String> {
    let everything = Text::from(EVERYTHING);
    if !is_empty {
        return one(store, (&everything, &everything), memory, written, all);
    }
    // One of before may be there.
    written.insert(everything, Written::default());
    forget::<M>(store, written, |_| true)
}

/// Writes the memory of one registry, if it is new. Returns the error if that fails.
fn one<M: Content>(
    store: &Store,
    (registry, identity): (&Text, &Text),
    memory: &M,
    written: &mut BTreeMap<Text, Written>,
    all: bool,
) -> Option<String> {
    match store.write(registry, identity, memory, written.get(registry).copied(), all) {
        Ok(now) => written.extend(now.map(|now| (registry.clone(), now))),
        Err(error) => return Some(error.to_string()),
    }
    None
}

/// Removes the files of registries that are gone. Returns an error if any stays.
fn forget<M: Content>(
    store: &Store,
    written: &mut BTreeMap<Text, Written>,
    is_gone: impl Fn(&Text) -> bool,
) -> Option<String> {
    let gone: Vec<Text> = written.keys().filter(|registry| is_gone(registry)).cloned().collect();
    let mut failed = None;
    for registry in gone {
        written.remove(&registry);
        failed = store.forget::<M>(&registry).err().map(|error| error.to_string()).or(failed);
    }
    failed
}
