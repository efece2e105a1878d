//! Reports that something in some folders may have changed. This is only a hint: the receiver compares the files
//! itself, and does so from time to time also without a hint. Where there are many files, hints may name those to look
//! at.
//!
//! *Folders* are watched, also for a single file: editors and ConfigMaps replace files by renaming, and a watch on a
//! file stays with the old one.

use crate::util::lock::lock;
use notify::{
    Event, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, EventKind},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tracing::debug;

/// How often files are compared without a hint: on some file systems no watch works.
const POLL: Duration = Duration::from_secs(5);

/// How long files must stay the same before they are used, so that a file which is being written is complete.
const QUIET: Duration = Duration::from_millis(100);

/// How many times [`QUIET`] files that keep changing are waited for.
const MOST_LOOKS: u32 = 20;

/// The most names in a hint; if more files have changed, it names none.
const MOST_NAMES: usize = 64;

/// A watch on folders, with its hints.
#[derive(Debug)]
pub struct Watch {
    folders: Folders,
    hints: Hints,
}

/// What was seen so far of files that are not settled yet.
#[derive(Debug)]
pub struct Looks<T> {
    last: T,
    number: u32,
    /// When to look again.
    next: Instant,
}

/// The folders of a watch; one that was replaced under its name is watched anew. Setting them up may block.
#[derive(Debug)]
pub struct Folders {
    by_path: BTreeMap<PathBuf, Folder>,
    hint: Hint,
}

/// Receives the hints of a watch.
#[derive(Debug)]
pub struct Hints {
    hints: mpsc::Receiver<()>,
    /// Keeps the channel open, even if [`Folders`] is dropped.
    hint: Hint,
}

/// The sending side of hints.
#[derive(Debug, Clone)]
struct Hint {
    hint: mpsc::Sender<()>,
    names: Arc<Mutex<Names>>,
}

/// The names that may have changed since the last [`Hints::take`].
#[derive(Debug, Default)]
struct Names {
    names: BTreeSet<OsString>,
    /// Whether a file without a known name may have changed, too.
    others: bool,
}

/// The watch on one folder. `None`: the folder is not there, or cannot be watched.
#[derive(Debug, Default)]
struct Folder {
    /// Device and inode of the folder that is watched.
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

    /// The same, but returns after 5 s at the latest: on some file systems no watch works.
    pub async fn changed_or_time(&mut self) {
        // The time being over is a reason to look, too.
        let _ = timeout(POLL, self.changed()).await;
    }

    /// Looks again until two results are the same, or one is `before`; files that never stop changing are waited for 2
    /// s. `look` gets the result of the last look. Safe to cancel: with the same `looks` the next call goes on.
    pub async fn settled<T, F>(&mut self, looks: &mut Option<Looks<T>>, before: &T, look: impl Fn(T) -> F) -> T
    where
        T: Clone + PartialEq,
        F: Future<Output = T>,
    {
        loop {
            if let Some(looks) = looks {
                sleep_until(looks.next).await;
            }
            // What is about to be looked at anyway needs no hint.
            self.hints.forget();
            let (last, number) = looks.as_ref().map_or((before, 0), |looks| (&looks.last, looks.number));
            let now = look(last.clone()).await;
            if now == *before || number == MOST_LOOKS || (number > 0 && now == *last) {
                *looks = None;
                return now;
            }
            *looks = Some(Looks { last: now, number: number + 1, next: Instant::now() + QUIET });
        }
    }
}

impl Folders {
    /// A watch without folders, and its hints: for a reader that sets up folders on a blocking thread, and waits for
    /// hints elsewhere.
    pub fn new() -> (Self, Hints) {
        let (hint, hints) = mpsc::channel(1);
        let hint = Hint { hint, names: Arc::default() };
        (Folders { by_path: BTreeMap::new(), hint: hint.clone() }, Hints { hints, hint })
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

    /// Forgets all hints so far, before a look at all files.
    pub fn forget(&mut self) {
        drop(self.take());
    }

    /// The names, within the folders, of what may have changed; `None`: anything may have. Later hints are of later changes.
    pub fn take(&mut self) -> Option<BTreeSet<OsString>> {
        // Names are noted before the hint of them is given: none is left behind.
        while self.hints.try_recv().is_ok() {}
        let Names { names, others } = std::mem::take(&mut *lock(&self.hint.names));
        (!others).then_some(names)
    }
}

impl Hint {
    fn give(&self, event: &notify::Result<Event>) {
        let names = match event {
            Ok(event) if !is_change(event) => return,
            Ok(event) if !event.need_rescan() => &event.paths[..],
            _ => &[],
        };
        let mut told = lock(&self.names);
        told.others |= names.is_empty();
        for path in names.iter().filter(|path| !is_hidden(path)) {
            match path.file_name() {
                Some(name) => drop(told.names.insert(name.into())),
                None => told.others = true,
            }
        }
        if told.others || told.names.len() > MOST_NAMES {
            *told = Names { names: BTreeSet::new(), others: true };
        }
        drop(told);
        // Full: a hint is waiting already.
        let _ = self.hint.try_send(());
    }
}

impl Folder {
    fn renew(&mut self, path: &Path, hint: &Hint) {
        let present = std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
        if present == self.watched && self.watcher.is_some() == present.is_some() {
            return;
        }
        self.watched = present;
        self.watcher = present.and_then(|_| {
            let hint = hint.clone();
            let started = notify::recommended_watcher(move |event: notify::Result<Event>| hint.give(&event));
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

/// Whether an event is a change. Reading is an event, too, which each look would cause. Hidden files of editors do not
/// count; names with two dots belong to ConfigMaps, whose links change what files are.
fn is_change(event: &Event) -> bool {
    if !event.paths.is_empty() && event.paths.iter().all(|path| is_hidden(path)) {
        return false;
    }
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") && !name.starts_with(b"..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, Flag, ModifyKind};
    use std::future::ready;

    fn event(kind: EventKind, names: &[&str]) -> notify::Result<Event> {
        Ok(names.iter().fold(Event::new(kind), |event, name| event.add_path(Path::new("/folder").join(name))))
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_cut_off_again_and_again_sees_what_is_settled_all_the_same() {
        let (mut watch, mut looks) = (Watch::new([]), None);
        let mut settled = None;
        for _ in 0..20 {
            let now = timeout(QUIET / 10, watch.settled(&mut looks, &0, |_| ready(1))).await;
            settled = settled.or(now.ok());
        }
        assert_eq!(settled, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_is_looked_at_until_it_is_settled_but_not_for_ever() {
        let (mut watch, started) = (Watch::new([]), Instant::now());
        let waits = || started.elapsed().as_millis() / QUIET.as_millis();
        let look = |last: u32| ready((last + 1).min(3));
        assert_eq!(watch.settled(&mut None, &0, look).await, 3);
        assert_eq!(waits(), 3);
        assert_eq!(watch.settled(&mut None, &3, look).await, 3);
        assert_eq!(waits(), 3, "nothing has changed");
        watch.settled(&mut None, &0, |last| ready(last + 1)).await;
        assert_eq!(waits(), 3 + u128::from(MOST_LOOKS));
    }

    #[test]
    fn hints_tell_the_names_of_what_may_have_changed() {
        let (folders, mut hints) = Folders::new();
        let give = |event: notify::Result<Event>| folders.hint.give(&event);
        let (created, written) = (EventKind::Create(CreateKind::File), EventKind::Modify(ModifyKind::Any));
        let names = |names: &[&str]| Some(names.iter().map(OsString::from).collect::<BTreeSet<_>>());
        // A hidden file that takes the place of ours is told as ours; read files and hidden ones alone are not.
        give(event(written, &[".new", "a.yaml"]));
        give(event(written, &["b.yaml"]));
        give(event(EventKind::Access(AccessKind::Read), &["c.yaml"]));
        give(event(created, &[".d.yaml.swp"]));
        assert_eq!(hints.take(), names(&["a.yaml", "b.yaml"]));
        assert_eq!(hints.take(), names(&[]), "they were told");
        // A ConfigMap's links are no file of ours, but the reader sees that by their names.
        give(event(created, &["..data"]));
        assert_eq!(hints.take(), names(&["..data"]));
        // What is lost, broken or too much may be anything.
        let lost = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        for anything in [Ok(lost), Err(notify::Error::generic("broken")), event(written, &[])] {
            give(event(written, &["a.yaml"]));
            give(anything);
            give(event(written, &["b.yaml"]));
            assert_eq!(hints.take(), None);
        }
        (0..=MOST_NAMES).for_each(|number| give(event(written, &[&format!("{number}.yaml")])));
        assert_eq!(hints.take(), None);
        give(event(written, &["a.yaml"]));
        hints.forget();
        assert_eq!(hints.take(), names(&[]));
    }
}
