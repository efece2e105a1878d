//! The reading of catalogue files in rounds: a look at all files, then a pause until something may have changed.
//!
//! Where it is reported which files were written, these are looked at alone: of thousands all others are looked at with the
//! next poll, or when a file comes or goes.
//!
//! Files are looked at on threads of their own (`workers`), several at the same time, and what they give is sent in order of
//! their names. A file that does not answer fails after [`HANGS`]; its neighbours are read meanwhile, it keeps its thread,
//! and its services are sent when it answers after all.

use super::{
    files::Files,
    read::{self, Error, Job, Look},
    workers::{Workers, detached},
};
use crate::{
    model::{Cost, Text, Update},
    registry::{
        Limits,
        outbox::{Closed, Outbox},
        rounds::{Round, Rounds},
    },
    util::{
        files::folder_of,
        watch::{Folders, Hints},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout, timeout_at},
};

/// Pause from a reported change to the look at it, so that the writer has ended by then. Short enough for a reload
/// within 50 ms.
const SETTLE: Duration = Duration::from_millis(5);

/// A file, or the list of a folder, that takes longer does not answer. A large file is read and parsed within a second.
const HANGS: Duration = Duration::from_secs(10);

/// The most files that may hang at a time, since each holds a thread. With more, no other files are tried.
const MOST_HANGING: usize = 16;

type Names = Result<(bool, Vec<(Text, PathBuf)>), Error>;

/// Reads the files of one registry.
pub(super) struct Reader {
    registry: Text,
    path: PathBuf,
    max_file_bytes: usize,
    files: Files,
    outbox: Outbox<Update>,
    hints: Hints,
    /// Names of the files to look at in the next round; `None` for all.
    only: Option<BTreeSet<OsString>>,
    /// The files of the last look at all, sorted, and whether they are those of a folder.
    listed: (bool, Vec<(Text, PathBuf)>),
    /// When the last look at all files ended.
    looked: Option<Instant>,
    /// The folders that are watched; `None` while the thread that lists the files has them.
    watched: Option<Folders>,
    /// A listing that has not answered yet.
    listing: Option<oneshot::Receiver<(Folders, Names)>>,
    /// Files of former looks that have not answered yet, by their place in the look.
    hanging: Vec<(Workers, BTreeMap<usize, Text>)>,
    /// How a file is looked at. Tests set another function here, and another time below.
    pub(super) look: fn(&Text, &Job, usize) -> Look,
    pub(super) hangs: Duration,
}

impl Rounds for Reader {
    async fn round(&mut self) -> Result<Round, Closed> {
        self.late_answers().await?;
        let (started, mut cost) = (Instant::now(), Cost::default());
        if !self.look_at_some(&mut cost).await? {
            self.look_at_all(&mut cost).await?;
            self.looked = Some(Instant::now());
        }
        if cost.requests > 0 {
            cost.duration = started.elapsed();
            self.outbox.send(Update::Cost(cost)).await?;
        }
        Ok(Round::GOOD)
    }

    async fn rest(&mut self, pause: Duration) -> Result<(), Closed> {
        // However often something is reported.
        let left = pause.saturating_sub(self.looked.map_or(pause, |looked| looked.elapsed()));
        if !left.is_zero() && timeout(left, self.hints.changed()).await.is_ok() {
            sleep(SETTLE).await;
            self.only = self.hints.take();
        }
        Ok(())
    }
}

impl Reader {
    pub(super) fn new(
        registry: Text,
        path: PathBuf,
        max_file_bytes: usize,
        limits: Limits,
        outbox: Outbox<Update>,
    ) -> Self {
        let (watched, hints) = Folders::new();
        Reader {
            files: Files::new(registry.clone(), limits),
            only: None,
            listed: Default::default(),
            looked: None,
            watched: Some(watched),
            registry,
            path,
            max_file_bytes,
            outbox,
            hints,
            listing: None,
            hanging: Vec::new(),
            look: read::look,
            hangs: HANGS,
        }
    }

    /// Looks only at the files of which a change was reported. Returns `false` if all files are to be looked at
    /// instead: nothing was reported, or one is gone or new.
    async fn look_at_some(&mut self, cost: &mut Cost) -> Result<bool, Closed> {
        let Some(names) = self.only.take() else { return Ok(false) };
        let (listed, files) = &self.listed;
        let place = |name: &OsString| files.binary_search_by(|(_, path)| path.file_name().cmp(&Some(name))).ok();
        let files: Option<Vec<_>> = names.iter().map(|name| place(name).map(|place| files[place].clone())).collect();
        match files {
            Some(files) if files.is_empty() => Ok(true),
            Some(files) => {
                let jobs = self.jobs(*listed, &files);
                Ok(self.look_at(jobs, cost).await?.is_empty())
            }
            None => Ok(false),
        }
    }

    async fn look_at_all(&mut self, cost: &mut Cost) -> Result<(), Closed> {
        match self.names().await {
            Ok((listed, names)) => {
                self.outbox.scopes(self.files.scopes_with(&names)).await?;
                let jobs = self.jobs(listed, &names);
                let gone = self.look_at(jobs, cost).await?;
                let left = names.iter().map(|(name, _)| name).filter(|name| !gone.contains(*name)).cloned().collect();
                self.listed = (listed, names);
                self.outbox.scopes(self.files.scopes_of(&left)).await
            }
            Err(error) => {
                self.listed = Default::default();
                let update = self.files.failed(&error);
                self.send(update).await
            }
        }
    }

    /// The jobs for these files, without those of files that have not answered yet.
    fn jobs(&mut self, listed: bool, names: &[(Text, PathBuf)]) -> Vec<Job> {
        let hanging: BTreeSet<&Text> = self.hanging.iter().flat_map(|(_, names)| names.values()).collect();
        let mut jobs = self.files.jobs(listed, names);
        jobs.retain(|job| !hanging.contains(&job.name));
        jobs
    }

    /// The files that there are. The folder is watched before it is listed, so that no change falls in between.
    async fn names(&mut self) -> Names {
        let path = self.path.display().to_string();
        let mut listing = match self.listing.take() {
            Some(listing) => listing,
            None => {
                let path = self.path.clone();
                let mut watched = self.watched.take().unwrap_or_else(|| {
                    // The thread that had them panicked.
                    let (watched, hints) = Folders::new();
                    self.hints = hints;
                    watched
                });
                detached(move || {
                    watched.set([folder_of(&path)]);
                    let names = read::names(&path);
                    (watched, names)
                })
            }
        };
        match timeout(self.hangs, &mut listing).await {
            Ok(Ok((watched, names))) => {
                self.watched = Some(watched);
                names
            }
            Ok(Err(_)) => Err(Error::Panicked { path }),
            Err(_) => {
                self.listing = Some(listing);
                Err(Error::Hangs { path, after: self.hangs })
            }
        }
    }

    /// Looks at files, and sends what is new of each in their order. Gives those that are gone.
    async fn look_at(&mut self, jobs: Vec<Job>, cost: &mut Cost) -> Result<BTreeSet<Text>, Closed> {
        let paths: Vec<(Text, String)> = jobs.iter().map(|j| (j.name.clone(), j.path.display().to_string())).collect();
        let (look, registry, limit) = (self.look, self.registry.clone(), self.max_file_bytes);
        let workers = match Workers::start(jobs, move |job| look(&registry, job, limit)) {
            Ok(workers) => workers,
            Err(source) => {
                let error = Error::Read { path: self.path.display().to_string(), source };
                let update = self.files.failed(&error);
                self.send(update).await?;
                return Ok(BTreeSet::new());
            }
        };
        let mut hanging: BTreeMap<usize, Text> = BTreeMap::new();
        let (mut done, mut next, mut gone) = (BTreeMap::new(), 0, BTreeSet::new());
        while next < paths.len() {
            let oldest = workers.oldest().unwrap_or_else(Instant::now) + self.hangs;
            let answered = timeout_at(oldest.into(), workers.news()).await.is_ok();
            for (number, look) in workers.take() {
                if hanging.remove(&number).is_some() && number < next {
                    let update = self.files.seen(&paths[number].0, look);
                    self.send(update).await?;
                } else {
                    done.insert(number, look);
                }
            }
            if !answered {
                for number in workers.late(self.hangs) {
                    let (name, path) = paths[number].clone();
                    hanging.insert(number, name);
                    done.insert(number, Look::failed(Error::Hangs { path, after: self.hangs }));
                }
                let others = hanging.len() + self.hanging.iter().map(|(_, names)| names.len()).sum::<usize>();
                if others > MOST_HANGING || workers.add().is_err() {
                    for (number, job) in workers.cancel() {
                        let path = job.path.display().to_string();
                        done.insert(number, Look::failed(Error::Refused { path, others }));
                    }
                }
            }
            while let Some(look) = done.remove(&next) {
                let name = &paths[next].0;
                next += 1;
                match &look {
                    Look::Gone => drop(gone.insert(name.clone())),
                    Look::Read { bytes, stamp: Some(_), .. } => {
                        cost.requests += 1;
                        cost.bytes += bytes;
                    }
                    Look::Read { .. } | Look::Unchanged => {}
                }
                let update = self.files.seen(name, look);
                self.send(update).await?;
            }
        }
        if !hanging.is_empty() {
            self.hanging.push((workers, hanging));
        }
        Ok(gone)
    }

    /// Takes in the files of former looks that have answered since.
    async fn late_answers(&mut self) -> Result<(), Closed> {
        let mut answered = Vec::new();
        for (workers, names) in &mut self.hanging {
            for (number, look) in workers.take() {
                answered.extend(names.remove(&number).map(|name| (name, look)));
            }
        }
        self.hanging.retain(|(_, names)| !names.is_empty());
        for (name, look) in answered {
            let update = self.files.seen(&name, look);
            self.send(update).await?;
        }
        Ok(())
    }

    async fn send(&self, update: Option<Update>) -> Result<(), Closed> {
        match update {
            Some(update) => self.outbox.send(update).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        registry::rounds::{self, Pace},
        util::lock::lock,
    };
    use std::{
        fs,
        sync::{
            Mutex,
            atomic::{AtomicBool, Ordering},
        },
        thread,
    };
    use tokio::sync::mpsc;

    /// Whether `b.yaml` hangs.
    static B_HANGS: AtomicBool = AtomicBool::new(true);

    fn hanging_on_b(registry: &Text, job: &Job, limit: usize) -> Look {
        while &*job.name == "b.yaml" && B_HANGS.load(Ordering::Relaxed) {
            thread::park_timeout(Duration::from_millis(10));
        }
        read::look(registry, job, limit)
    }

    /// Reads the folder, and gives each list and failure as `scope: host` or `scope! error`.
    fn reading(folder: PathBuf) -> mpsc::Receiver<Update> {
        reading_by(folder, hanging_on_b, Duration::from_millis(50))
    }

    fn reading_by(folder: PathBuf, look: fn(&Text, &Job, usize) -> Look, poll: Duration) -> mpsc::Receiver<Update> {
        let (out, updates) = mpsc::channel(64);
        let mut reader = Reader::new("r".into(), folder, 1 << 20, Limits::default(), Outbox::new(out));
        (reader.look, reader.hangs) = (look, Duration::from_millis(300));
        tokio::spawn(async move { rounds::run(&mut reader, Pace::new(poll, poll, poll)).await });
        updates
    }

    async fn until(updates: &mut mpsc::Receiver<Update>, what: &str) -> String {
        let wanted = async {
            loop {
                let text = match updates.recv().await.expect("the reading goes on") {
                    Update::Listed { scope, services, .. } => {
                        format!("{scope}: {}", services.first().map(|s| s.id.to_string()).unwrap_or_default())
                    }
                    Update::Failed { scope: Some(scope), error } => format!("{scope}! {error}"),
                    Update::Failed { scope: None, error } => format!("! {error}"),
                    Update::Scopes(_) | Update::Cost(_) => continue,
                    other => panic!("{other:?}"),
                };
                if text.starts_with(what) {
                    return text;
                }
            }
        };
        timeout(Duration::from_secs(60), wanted).await.unwrap_or_else(|_| panic!("no {what:?}"))
    }

    #[tokio::test]
    async fn a_file_that_does_not_answer_fails_alone_and_is_taken_in_when_it_does() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            let text = format!("services: [{{ host: {name}.example, endpoints: ['10.0.0.1:80'] }}]");
            fs::write(folder.path().join(format!("{name}.yaml")), text).unwrap();
        }
        let mut updates = reading(folder.path().into());
        let error = until(&mut updates, "b.yaml!").await;
        assert!(error.contains("b.yaml does not answer: it is not read after 300ms"), "{error}");
        until(&mut updates, "c.yaml: r/c.example").await;
        // Neighbours are followed while it hangs.
        fs::write(folder.path().join("a.yaml"), "services: [{ host: a2.example }]").unwrap();
        until(&mut updates, "a.yaml: r/a2.example").await;
        B_HANGS.store(false, Ordering::Relaxed);
        until(&mut updates, "b.yaml: r/b.example").await;
    }

    /// How often each file was looked at.
    static LOOKS: Mutex<BTreeMap<Text, usize>> = Mutex::new(BTreeMap::new());

    fn counting(registry: &Text, job: &Job, limit: usize) -> Look {
        *lock(&LOOKS).entry(job.name.clone()).or_default() += 1;
        read::look(registry, job, limit)
    }

    #[tokio::test]
    async fn of_many_files_only_those_are_looked_at_that_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let replace = |name: &str, host: &str| {
            fs::write(folder.path().join(".new"), format!("services: [{{ host: {host} }}]")).unwrap();
            fs::rename(folder.path().join(".new"), folder.path().join(name)).unwrap();
        };
        for name in ["a.yaml", "b.yaml", "c.yaml"] {
            replace(name, &format!("{name}.example"));
        }
        // No poll comes in between.
        let mut updates = reading_by(folder.path().into(), counting, Duration::from_secs(3600));
        until(&mut updates, "c.yaml: r/c.yaml.example").await;
        let looks = |name: &str| lock(&LOOKS)[name];
        let before = looks("b.yaml");
        replace("a.yaml", "a2.example");
        until(&mut updates, "a.yaml: r/a2.example").await;
        replace("c.yaml", "c2.example");
        until(&mut updates, "c.yaml: r/c2.example").await;
        assert_eq!(looks("b.yaml"), before);
        // One that is new, and one that is gone: then all are.
        replace("d.yaml", "d.example");
        until(&mut updates, "d.yaml: r/d.example").await;
        let before = looks("b.yaml");
        fs::remove_file(folder.path().join("d.yaml")).unwrap();
        until_scopes(&mut updates, &["a.yaml", "b.yaml", "c.yaml"]).await;
        assert!(looks("b.yaml") > before);
    }

    async fn until_scopes(updates: &mut mpsc::Receiver<Update>, expected: &[&str]) {
        let wanted = async {
            loop {
                if let Update::Scopes(scopes) = updates.recv().await.expect("the reading goes on")
                    && scopes.iter().map(|scope| &*scope.0).eq(expected.iter().copied())
                {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(60), wanted).await.unwrap_or_else(|_| panic!("no {expected:?}"));
    }

    #[test]
    fn the_end_of_the_runtime_does_not_wait_for_what_hangs() {
        let (_held, hang) = std::sync::mpsc::channel::<()>();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let hanging =
            runtime.block_on(async move { timeout(Duration::from_millis(20), detached(move || hang.recv())).await });
        assert!(hanging.is_err());
        let (ended, end) = std::sync::mpsc::channel();
        thread::spawn(move || {
            drop(runtime);
            ended.send(()).unwrap();
        });
        end.recv_timeout(Duration::from_secs(60)).expect("the runtime ends");
    }

    #[test]
    fn a_file_that_is_deleted_after_it_was_listed_is_gone_and_a_link_to_nowhere_fails() {
        let folder = tempfile::tempdir().unwrap();
        let job = |name: &str, listed| {
            let path = folder.path().join(name);
            Job { name: name.into(), path, listed, stamp: None }
        };
        let look = |job: &Job| read::look(&"r".into(), job, 1 << 20);
        assert!(matches!(look(&job("gone.yaml", true)), Look::Gone));
        assert!(matches!(look(&job("gone.yaml", false)), Look::Read { outcome: Err(Error::Read { .. }), .. }));
        std::os::unix::fs::symlink("nowhere", folder.path().join("link.yaml")).unwrap();
        assert!(matches!(look(&job("link.yaml", true)), Look::Read { outcome: Err(Error::Read { .. }), .. }));
    }
}
