//! Says when something in a folder may have changed. A hint only: who is told looks for himself, and looks now and then
//! without being told.
//!
//! The *folder* is watched, also for a single file: editors and ConfigMaps replace files by renaming, and a watch on a
//! file stays with the old one.

use notify::{
    Event, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, EventKind},
};
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use tokio::sync::mpsc;
use tracing::debug;

/// A watch on one folder, set up again when the folder is another one.
#[derive(Debug)]
pub(super) struct Watch {
    folder: PathBuf,
    /// Device and inode of the folder that is watched.
    watched: Option<(u64, u64)>,
    watcher: Option<RecommendedWatcher>,
    told: mpsc::Receiver<()>,
    tell: mpsc::Sender<()>,
}

impl Watch {
    pub(super) fn new(folder: &Path) -> Self {
        let (tell, told) = mpsc::channel(1);
        let mut watch = Watch { folder: folder.into(), watched: None, watcher: None, told, tell };
        watch.renew();
        watch
    }

    /// Watches the folder that is there now. Called after each look, because a folder may be removed and come back.
    pub(super) fn renew(&mut self) {
        let present = std::fs::metadata(&self.folder).ok().map(|m| (m.dev(), m.ino()));
        if present == self.watched && self.watcher.is_some() == present.is_some() {
            return;
        }
        self.watched = present;
        self.watcher = present.and_then(|_| {
            let tell = self.tell.clone();
            let started = notify::recommended_watcher(move |event: notify::Result<Event>| {
                if event.as_ref().map_or(true, is_change) {
                    // Full: a hint is waiting already.
                    let _ = tell.try_send(());
                }
            });
            let watching = started.and_then(|mut watcher| {
                watcher.watch(&self.folder, RecursiveMode::NonRecursive)?;
                Ok(watcher)
            });
            watching
                .inspect_err(
                    |error| debug!(folder = %self.folder.display(), %error, "Cannot watch; looking now and then."),
                )
                .ok()
        });
    }

    /// Returns when something may have changed. Safe to cancel: the hint stays.
    pub(super) async fn changed(&mut self) {
        // `tell` lives here, so the channel never ends.
        self.told.recv().await;
    }

    /// Forgets the hints of what is about to be looked at anyway.
    pub(super) fn forget(&mut self) {
        while self.told.try_recv().is_ok() {}
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
