//! The task that writes: when something has changed and it is quiet, at the latest after twelve times that, and at the end.
//!
//! Asking the catalog costs it some milliseconds; encoding and writing are done on a thread of their own. A file that is
//! unchanged is written again only before it would be too old.

use super::{Metrics, Options, Store, store::Written};
use crate::{
    catalog::{Handle, Remembered},
    model::Text,
};
use std::collections::BTreeMap;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// Writes what the catalog knows.
#[derive(Debug)]
pub struct Keeper {
    catalog: Handle,
    metrics: Metrics,
    options: watch::Receiver<Options>,
    /// Up to which of the catalog's changes everything is written.
    number: u64,
    written: BTreeMap<Text, Written>,
    /// The last turn failed.
    failing: bool,
}

/// Changes what a [`Keeper`] does.
#[derive(Debug, Clone)]
pub struct Control(watch::Sender<Options>);

impl Control {
    /// From now on this holds.
    pub fn set(&self, options: Options) {
        self.0.send_if_modified(|now| std::mem::replace(now, options.clone()) != options);
    }
}

impl Keeper {
    /// Keeps what that catalog knows.
    pub fn new(options: Options, catalog: Handle, metrics: Metrics) -> (Keeper, Control) {
        let (sender, options) = watch::channel(options);
        let (number, written, failing) = Default::default();
        (Keeper { catalog, metrics, options, number, written, failing }, Control(sender))
    }

    /// Writes until `stop`, and then once more.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut touched = self.catalog.touched();
        loop {
            let options = self.options.borrow_and_update().clone();
            if options.dir.is_none() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = self.options.changed() => if changed.is_err() { return },
                }
                continue;
            }
            let again = if self.failing { options.at_most() } else { options.max_age / 4 };
            let again = Instant::now() + again;
            let changed = tokio::select! {
                () = stop.cancelled() => break,
                changed = touched.changed() => match changed {
                    Ok(()) => true,
                    Err(_) => return,
                },
                changed = self.options.changed() => {
                    if changed.is_err() { return }
                    // Another folder has none of the files yet.
                    (self.number, self.written) = Default::default();
                    continue;
                }
                () = sleep_until(again) => false,
            };
            if changed {
                self.quiet(&mut touched, &options, &stop).await;
            }
            self.turn(!changed).await;
            if stop.is_cancelled() {
                return;
            }
        }
        self.turn(false).await;
    }

    /// Waits until nothing has changed for a while; not for ever, and not beyond `stop`.
    async fn quiet(&self, touched: &mut watch::Receiver<u64>, options: &Options, stop: &CancellationToken) {
        let latest = Instant::now() + options.at_most();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                again = touched.changed() => if again.is_err() { return },
                () = sleep_until((Instant::now() + options.quiet).min(latest)) => return,
            }
        }
    }

    /// Writes what is new; `all`: also what is not.
    async fn turn(&mut self, all: bool) {
        let options = self.options.borrow().clone();
        let after = if all { 0 } else { self.number };
        let Some(remembered) = self.catalog.remember(after).await else { return };
        let number = remembered.number;
        let store = Store::new(options, self.metrics.clone());
        let written = std::mem::take(&mut self.written);
        let turn = spawn_blocking(move || write(&store, remembered, written, all)).await;
        let failed = match turn {
            Ok((written, failed)) => {
                self.written = written;
                failed
            }
            Err(broken) => Some(broken.to_string()),
        };
        let failed = failed.as_ref().map(|why| why as &dyn std::fmt::Display);
        self.metrics.turn(failed, self.failing);
        self.failing = failed.is_some();
        if !self.failing {
            self.number = number;
        }
    }
}

/// Writes each of them; and why one could not be.
fn write(
    store: &Store,
    remembered: Remembered,
    mut written: BTreeMap<Text, Written>,
    all: bool,
) -> (BTreeMap<Text, Written>, Option<String>) {
    // Whoever has it writes: at an upgrade that is the older process until it ends.
    let _lock = match store.lock() {
        Ok(Some(lock)) => lock,
        Ok(None) => return (written, Some("another process writes into the folder of `state.dir`".into())),
        Err(error) => return (written, Some(error.to_string())),
    };
    let mut failed = None;
    for (registry, identity, memory) in remembered.memories {
        match store.write(&registry, &identity, &memory, written.get(&registry).copied(), all) {
            Ok(Some(now)) => drop(written.insert(registry, now)),
            Ok(None) => {}
            Err(error) => failed = Some(error.to_string()),
        }
    }
    let gone: Vec<Text> =
        written.keys().filter(|registry| !remembered.registries.contains(registry)).cloned().collect();
    for registry in gone {
        written.remove(&registry);
        failed = failed.or(store.forget(&registry).err().map(|error| error.to_string()));
    }
    (written, failed)
}
