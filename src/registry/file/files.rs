//! The files of a registry: which there are, what each said last, and what is to be told after a look.
//!
//! Per file: the stamp of what was read, its last good services, its last error. A file that fails keeps its services; a
//! file that is gone is no longer named among the scopes, and the catalog's rules of absence hold.

use crate::{
    model::{Service, ServiceId, Text},
    registry::{
        Cost, Scope, Update,
        catalogue::{self, Catalogue},
    },
    util::yaml::Problems,
};
use std::{
    collections::BTreeMap,
    fs::{self, DirEntry, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tracing::{info, warn};

const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Why files cannot be read.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read {path}: {source}; check that it exists and may be read")]
    Read { path: String, source: io::Error },
    #[error("{path} is no regular file, and reading it might never end")]
    Special { path: String },
    #[error("{path} has {bytes} bytes; at most {limit} are read. Split it, or raise `max_file`")]
    Size { path: String, bytes: u64, limit: usize },
    #[error("folder {path} holds no *.yaml, *.yml or *.json; for no services at all, a file says `services: []`")]
    NoFiles { path: String },
    #[error("{0}")]
    Catalogue(#[from] Problems),
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp(u64, u64, u64, i64, i64, i64, i64);

impl Stamp {
    fn of(m: &Metadata) -> Self {
        Stamp(m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
    }
}

#[derive(Debug, Default)]
struct Known {
    /// Of the last attempt whose outcome depends on the content alone.
    stamp: Option<Stamp>,
    services: BTreeMap<ServiceId, Arc<Service>>,
    unreadable: BTreeMap<ServiceId, Text>,
    error: Option<Text>,
    /// Services have vanished: the list is told once more at the next look, as the catalog asks for two in a row.
    confirm: bool,
}

/// All files of a registry.
#[derive(Debug)]
pub(super) struct Files {
    registry: Text,
    path: PathBuf,
    max_bytes: usize,
    known: BTreeMap<Text, Known>,
    told: Option<Vec<Scope>>,
    error: Option<Text>,
}

impl Files {
    pub(super) fn new(registry: Text, path: PathBuf, max_bytes: usize) -> Self {
        Files { registry, path, max_bytes, known: BTreeMap::new(), told: None, error: None }
    }

    /// Looks at all files, reads those that have changed, and gives what is new.
    pub(super) fn look(&mut self) -> Vec<Update> {
        let (started, mut updates, mut cost) = (Instant::now(), Vec::new(), Cost::default());
        match self.names() {
            Ok(names) => {
                if self.error.take().is_some() {
                    // What was told of the whole is over once each file is told anew.
                    self.known.values_mut().for_each(|known| (known.stamp, known.error) = (None, None));
                }
                let scopes: Vec<Scope> = names.iter().map(|(name, _)| Scope(name.clone())).collect();
                self.announce(&scopes, &mut updates);
                for (name, path) in names {
                    self.look_at(&name, &path, &mut updates, &mut cost);
                }
                self.tell_scopes(scopes, &mut updates);
            }
            Err(error) => {
                let error = Text::from(error.to_string());
                if self.error.as_ref() != Some(&error) {
                    self.error = Some(error.clone());
                    updates.push(Update::Failed { scope: None, error });
                }
            }
        }
        if cost.requests > 0 {
            cost.duration = started.elapsed();
            updates.push(Update::Cost(cost));
        }
        updates
    }

    /// The files by name, sorted. Names that begin with a dot are not ours: editors' and ConfigMaps' own.
    fn names(&self) -> Result<Vec<(Text, PathBuf)>, Error> {
        let path = self.path.display().to_string();
        let failed = |source| Error::Read { path: path.clone(), source };
        if !fs::metadata(&self.path).map_err(failed)?.is_dir() {
            let name = self.path.file_name().map_or_else(|| path.clone(), |n| n.to_string_lossy().into_owned());
            return Ok(vec![(name.into(), self.path.clone())]);
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            let ours = path.extension().and_then(|e| e.to_str()).is_some_and(|e| ENDINGS.contains(&e));
            // What cannot be looked at, such as a link to nowhere, is a file that fails, not one that is absent.
            if ours && !name.starts_with('.') && !is_folder(&entry) {
                names.push((name.into(), path));
            }
        }
        names.sort();
        if names.is_empty() { Err(Error::NoFiles { path }) } else { Ok(names) }
    }

    /// New files are named before what is in them is told. Those that are gone stay until then: a file that only has
    /// another name now takes its services along.
    fn announce(&mut self, scopes: &[Scope], updates: &mut Vec<Update>) {
        let told = self.told.clone().unwrap_or_default();
        let mut all: Vec<Scope> = told.iter().chain(scopes).cloned().collect();
        all.sort();
        all.dedup();
        self.tell_scopes(all, updates);
    }

    fn tell_scopes(&mut self, scopes: Vec<Scope>, updates: &mut Vec<Update>) {
        if self.told.as_ref() != Some(&scopes) {
            self.known.retain(|known, _| scopes.iter().any(|Scope(name)| name == known));
            self.told = Some(scopes.clone());
            updates.push(Update::Scopes(scopes));
        }
    }

    fn look_at(&mut self, name: &Text, path: &Path, updates: &mut Vec<Update>, cost: &mut Cost) {
        let known = self.known.entry(name.clone()).or_default();
        let scope = Scope(name.clone());
        match read(path, self.max_bytes, &mut known.stamp, cost) {
            Ok(None) if known.confirm => {
                known.confirm = false;
                updates.push(known.listed(scope));
            }
            Ok(None) => {}
            Ok(Some(text)) => match catalogue::parse(&self.registry, name, &text, self.max_bytes) {
                Ok(catalogue) => {
                    known.take(catalogue);
                    note_reading(&self.registry, name, known);
                    updates.push(known.listed(scope));
                }
                Err(problems) => known.fail(scope, &problems.into(), updates),
            },
            Err(error) => known.fail(scope, &error, updates),
        }
    }
}

impl Known {
    /// Services equal to those before stay the same `Arc`s.
    fn take(&mut self, catalogue: Catalogue) {
        let old = std::mem::take(&mut self.services);
        let keep = |(id, service): (ServiceId, Service)| {
            let service = old.get(&id).filter(|o| ***o == service).cloned().unwrap_or_else(|| Arc::new(service));
            (id, service)
        };
        self.services = catalogue.services.into_iter().map(keep).collect();
        self.unreadable = catalogue.unreadable;
        // A name that is there twice, once good and once not, is not unreadable.
        self.unreadable.retain(|id, _| !self.services.contains_key(id));
        self.confirm = old.keys().any(|id| !self.services.contains_key(id) && !self.unreadable.contains_key(id));
        self.error = None;
    }

    fn listed(&self, scope: Scope) -> Update {
        Update::Listed {
            scope,
            services: self.services.values().cloned().collect(),
            unreadable: self.unreadable.iter().map(|(id, why)| (id.clone(), why.clone())).collect(),
        }
    }

    /// Told once; the catalog logs and counts it.
    fn fail(&mut self, scope: Scope, error: &Error, updates: &mut Vec<Update>) {
        let error = Text::from(error.to_string());
        self.confirm = false;
        if self.error.as_ref() != Some(&error) {
            self.error = Some(error.clone());
            updates.push(Update::Failed { scope: Some(scope), error });
        }
    }
}

/// The content, if it may have changed since `stamp`. The stamp is taken before reading: what changes meanwhile is read
/// again at the next look.
/// The folder's own list says so of all but links: with thousands of files that saves half of the system calls.
fn is_folder(entry: &DirEntry) -> bool {
    match entry.file_type() {
        Ok(kind) if !kind.is_symlink() => kind.is_dir(),
        _ => entry.path().is_dir(),
    }
}

fn read(path: &Path, limit: usize, stamp: &mut Option<Stamp>, cost: &mut Cost) -> Result<Option<Vec<u8>>, Error> {
    let shown = path.display().to_string();
    let metadata = fs::metadata(path).map_err(|source| {
        *stamp = None;
        Error::Read { path: shown.clone(), source }
    })?;
    // A pipe that nobody writes to would keep the reading waiting for ever.
    if !metadata.is_file() {
        *stamp = None;
        return Err(Error::Special { path: shown });
    }
    let now = Some(Stamp::of(&metadata));
    if *stamp == now {
        return Ok(None);
    }
    cost.requests += 1;
    *stamp = None;
    let mut text = Vec::new();
    if metadata.len() <= limit as u64 {
        let bounded = |file: File| file.take(limit as u64 + 1).read_to_end(&mut text);
        File::open(path).and_then(bounded).map_err(|source| Error::Read { path: shown.clone(), source })?;
    }
    let bytes = metadata.len().max(text.len() as u64);
    cost.bytes += text.len() as u64;
    *stamp = now;
    if bytes > limit as u64 { Err(Error::Size { path: shown, bytes, limit }) } else { Ok(Some(text)) }
}

fn note_reading(registry: &Text, file: &Text, known: &Known) {
    info!(%registry, %file, services = known.services.len(), refused = known.unreadable.len(), "Read a catalogue file.");
    for (id, error) in &known.unreadable {
        warn!(%registry, %file, service = %id, %error, "A service is mistaken; its last good value stays.");
    }
}
