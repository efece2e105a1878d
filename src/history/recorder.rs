//! The task that notes what is published, and writes entries down.

use super::{
    Entry, Handle,
    book::Book,
    entry::{State, TOGETHER},
    file,
};
use crate::{
    catalog::{self, Cause, Published},
    manifests::{self, Snapshot},
    state,
};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::SystemTime};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Notes what is published.
#[derive(Debug)]
pub struct Recorder {
    handle: Handle,
    published: mpsc::Receiver<Published>,
    manifests: watch::Receiver<Arc<Snapshot>>,
    options: watch::Receiver<state::Options>,
    catalog: catalog::Handle,
    /// When what is noted is written, although nothing else comes.
    due: Option<Instant>,
    failing: bool,
}

impl Recorder {
    /// Notes the catalogs that come from `published`. Entries of before a restart are read, if there is a folder.
    pub fn new(
        options: watch::Receiver<state::Options>,
        catalog: catalog::Handle,
        published: mpsc::Receiver<Published>,
        manifests: manifests::Handle,
    ) -> (Recorder, Handle) {
        let mut book = Book::default();
        let dir = options.borrow().dir.clone();
        match dir.as_deref().map(file::read) {
            Some(Ok(entries)) => book.recall(entries),
            Some(Err(error)) => warn!(%error, "Cannot read the history of before the restart; it begins anew."),
            None => {}
        }
        let snapshots = manifests.subscribe();
        let handle = Handle::new(catalog.clone(), manifests, book);
        let (due, failing) = Default::default();
        let recorder =
            Recorder { handle: handle.clone(), published, manifests: snapshots, options, catalog, due, failing };
        (recorder, handle)
    }

    /// Notes until `stop`, and writes what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let shared = self.handle.shared.clone();
        loop {
            let due = self.due;
            // All are safe to cancel.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = shared.noted.notified() => self.write(true).await,
                () = crate::util::time::until(due) => self.write(false).await,
                Some(Published { catalog, at, causes }) = self.published.recv() => {
                    let state = State { services: catalog.services.clone(), manifests: self.manifests.borrow().clone() };
                    self.note(state, causes.iter().map(word).collect(), at);
                }
                changed = self.manifests.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.take_manifests();
                }
            }
        }
        let left = self.handle.shared.book().take_all();
        self.append(left, true).await;
    }

    fn take_manifests(&mut self) {
        let manifests = self.manifests.borrow_and_update().clone();
        let before = self.handle.shared.book().newest().cloned().unwrap_or_default();
        let statuses = |snapshot: &Snapshot| -> BTreeSet<(String, String)> {
            let of = |status: &manifests::Status| (status.id.registry.to_string(), format!("{status:?}"));
            snapshot.manifests.iter().map(of).collect()
        };
        let (old, new) = (statuses(&before.manifests), statuses(&manifests));
        let registries: BTreeSet<String> =
            old.symmetric_difference(&new).map(|(registry, _)| format!("manifests of {registry}")).collect();
        let services = self.catalog.load().services.clone();
        // Its services come by the journal; without those of before there is nothing to compare with.
        let services = if before.services.is_empty() { services } else { before.services };
        self.note(State { services, manifests }, registries.into_iter().collect(), SystemTime::now());
    }

    fn note(&mut self, state: State, causes: Vec<String>, at: SystemTime) {
        self.handle.shared.book().published(state, causes, at);
        self.due = self.due.or_else(|| Some(Instant::now() + TOGETHER));
    }

    /// Writes what will not change any more.
    async fn write(&mut self, sync: bool) {
        let (closed, open) = {
            let mut book = self.handle.shared.book();
            (book.take_closed(SystemTime::now()), book.is_open())
        };
        self.due = open.then(|| Instant::now() + TOGETHER);
        self.append(closed, sync).await;
    }

    async fn append(&mut self, entries: Vec<Entry>, sync: bool) {
        let dir: Option<PathBuf> = self.options.borrow().dir.clone();
        let Some(dir) = dir.filter(|_| !entries.is_empty()) else { return };
        let written = spawn_blocking(move || file::append(&dir, &entries, sync)).await;
        let failed = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(broken) => Some(broken.to_string()),
        };
        match (&failed, self.failing) {
            (Some(why), false) => error!(why, "Cannot write the history; it goes on in memory."),
            (None, true) => info!("The history can be written again."),
            _ => {}
        }
        self.failing = failed.is_some();
    }
}

fn word(cause: &Cause) -> String {
    match cause {
        Cause::Registry(name) => format!("registry {name}"),
        Cause::Configuration => "configuration".into(),
        Cause::Resolution => "resolution of host names".into(),
        Cause::Time => "time".into(),
        Cause::Request => "request".into(),
    }
}
