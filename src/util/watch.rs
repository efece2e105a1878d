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
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tracing::debug;

/// From one look to the next without a hint: on some file systems no watch works.
const POLL: Duration = Duration::from_secs(5);

/// Files count when they have stayed the same for so long: whoever writes them piece by piece is done.
const QUIET: Duration = Duration::from_millis(100);

/// Whoever writes without end is waited for this many times [`QUIET`].
const MOST_LOOKS: u32 = 20;

/// A watch on folders, with its hints.
#[derive(Debug)]
pub struct Watch {
    folders: Folders,
    hints: Hints,
}

/// The folders of a watch, each set up again when there is another one under its name. To set them up may block, as
/// everything that a file system is asked.
#[derive(Debug)]
pub struct Folders {
    by_path: BTreeMap<PathBuf, Folder>,
    hint: mpsc::Sender<()>,
}

/// The hints of a watch.
#[derive(Debug)]
pub struct Hints {
    hints: mpsc::Receiver<()>,
    /// Keeps the channel open, wherever the folders are.
    _hint: mpsc::Sender<()>,
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
        let (mut watched, hints) = Folders::new();
        watched.set(folders);
        Watch { folders: watched, hints }
    }

    /// Watches these folders and no others from now on.
    pub fn set<'p>(&mut self, folders: impl IntoIterator<Item = &'p Path>) {
        self.folders.set(folders);
    }

    /// Watches the folders that are there now. Called after each look, because a folder may be removed and come back.
    pub fn renew(&mut self) {
        self.folders.renew();
    }

    /// Returns when something may have changed. Safe to cancel: the hint stays.
    pub async fn changed(&mut self) {
        self.hints.changed().await;
    }

    /// The same, at the latest after the time in which one looks without a hint.
    pub async fn changed_or_time(&mut self) {
        // The time being over is a reason to look, too.
        let _ = timeout(POLL, self.changed()).await;
    }

    /// What a look gives once it stays so, or is what there was before. `look` is told what the last one gave.
    pub async fn settled<T, F>(&mut self, before: &T, look: impl Fn(T) -> F) -> T
    where
        T: Clone + PartialEq,
        F: Future<Output = T>,
    {
        // What is about to be looked at anyway needs no hint.
        self.hints.forget();
        let mut now = look(before.clone()).await;
        for _ in 0..MOST_LOOKS {
            if now == *before {
                break;
            }
            sleep(QUIET).await;
            self.hints.forget();
            let again = look(now.clone()).await;
            if std::mem::replace(&mut now, again) == now {
                break;
            }
        }
        now
    }
}

impl Folders {
    /// None yet, and the hints of those to come: for a reader that sets folders up where it may block, and waits elsewhere.
    pub fn new() -> (Self, Hints) {
        let (hint, hints) = mpsc::channel(1);
        (Folders { by_path: BTreeMap::new(), hint: hint.clone() }, Hints { hints, _hint: hint })
    }

    /// Watches these folders and no others from now on, as far as they are there.
    pub fn set<'p>(&mut self, folders: impl IntoIterator<Item = &'p Path>) {
        let mut before = std::mem::take(&mut self.by_path);
        for path in folders {
            let folder = before.remove(path).unwrap_or_default();
            self.by_path.insert(path.into(), folder);
        }
        self.renew();
    }

    fn renew(&mut self) {
        for (path, folder) in &mut self.by_path {
            folder.renew(path, &self.hint);
        }
    }
}

impl Hints {
    /// Returns when something may have changed. Safe to cancel: the hint stays.
    pub async fn changed(&mut self) {
        // A sender lives here, so the channel never ends.
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
