//! Reports that something in some folders may have changed. A hint only: its receiver looks for itself, and looks from time
//! to time without a hint.
//!
//! *Folders* are watched, also for a single file: editors and ConfigMaps replace files by renaming, and a watch on a
//! file stays with the old one.

use notify::{
    Event, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, EventKind},
};
use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use tokio::sync::mpsc;
use tracing::debug;

/// A watch on folders, each set up again when there is another one under its name.
#[derive(Debug)]
pub struct Watch {
    folders: BTreeMap<PathBuf, Folder>,
    hints: mpsc::Receiver<()>,
    hint: mpsc::Sender<()>,
}

/// What is watched under a folder's name.
#[derive(Debug, Default)]
struct Folder {
    /// Device and inode.
    watched: Option<(u64, u64)>,
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches these folders, whether they are there yet or not.
    pub fn new<'p>(folders: impl IntoIterator<Item = &'p Path>) -> Self {
        let (hint, hints) = mpsc::channel(1);
        let mut watch = Watch { folders: BTreeMap::new(), hints, hint };
        watch.set(folders);
        watch
    }

    /// Watches these folders and no others from now on.
    pub fn set<'p>(&mut self, folders: impl IntoIterator<Item = &'p Path>) {
        let mut before = std::mem::take(&mut self.folders);
        for path in folders {
            let folder = before.remove(path).unwrap_or_default();
            self.folders.insert(path.into(), folder);
        }
        self.renew();
    }

    /// Watches the folders that are there now. Called after each look, because a folder may be removed and come back.
    pub fn renew(&mut self) {
        for (path, folder) in &mut self.folders {
            folder.renew(path, &self.hint);
        }
    }

    /// Returns when something may have changed. Safe to cancel: the hint stays.
    pub async fn changed(&mut self) {
        // `hint` lives here, so the channel never ends.
        self.hints.recv().await;
    }

    /// Forgets the hints of what is about to be looked at anyway.
    pub fn forget(&mut self) {
        while self.hints.try_recv().is_ok() {}
    }
}

impl Folder {
    fn renew(&mut self, path: &Path, hint: &mpsc::Sender<()>) {
        let present = std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
        if present == self.watched && self.watcher.is_some() == present.is_some() {
            return;
        }
        self.watched = present;
        self.watcher = present.and_then(|_| {
            let hint = hint.clone();
            let started = notify::recommended_watcher(move |event: notify::Result<Event>| {
                if event.as_ref().map_or(true, is_change) {
                    // Full: a hint is waiting already.
                    let _ = hint.try_send(());
                }
            });
            let watching = started.and_then(|mut watcher| {
                watcher.watch(path, RecursiveMode::NonRecursive)?;
                Ok(watcher)
            });
            watching
                .inspect_err(
                    |error| debug!(folder = %path.display(), %error, "Cannot watch a folder; looking now and then."),
                )
                .ok()
        });
    }
}

/// Reading a file is an event, too, and would follow upon each look. So are the hidden files that editors and careful
/// writers make beside ours; names with two dots are a ConfigMap's, whose links change what ours are.
fn is_change(event: &Event) -> bool {
    let hidden = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        name.starts_with(b".") && !name.starts_with(b"..")
    };
    if !event.paths.is_empty() && event.paths.iter().all(hidden) {
        return false;
    }
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}
