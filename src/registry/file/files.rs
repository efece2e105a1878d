//! The files of a registry: what each had last, and what is sent after a look at it. Pure.
//!
//! Per file: the stamp of what was read, its last good services, its last error. A file that fails keeps its services; a
//! file that is gone is no longer named among the scopes, and the catalog's rules of absence hold.

use super::read::{Error, Job, Look, Stamp};
use crate::{
    model::{Scope, Service, ServiceId, Text, Update},
    registry::{catalogue::Catalogue, limits::Limits},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};
use tracing::{info, warn};

#[derive(Debug, Default)]
struct Known {
    /// The stamp of the last read whose outcome depends on the content alone; `None` if the file is to be read in any
    /// case.
    stamp: Option<Stamp>,
    /// Bytes of the content from which `services` come.
    bytes: u64,
    services: BTreeMap<ServiceId, Arc<Service>>,
    unreadable: BTreeMap<ServiceId, Text>,
    error: Option<Text>,
    /// Services have vanished: the list is sent once more after the next look, as the catalog may ask for two in a row.
    confirm: bool,
}

/// What the limits of a registry count.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    services: usize,
    bytes: u64,
}

/// The files of one registry, each with what was last read from it.
#[derive(Debug)]
pub(super) struct Files {
    registry: Text,
    limits: Limits,
    known: BTreeMap<Text, Known>,
    /// Services and bytes of all files that are named, for the limits.
    size: Size,
    /// The files whose last content was too much beside the others.
    exceeding: BTreeSet<Text>,
    /// Why the list of files cannot be had; `None` if it can.
    error: Option<Text>,
}

impl Files {
    pub(super) fn new(registry: Text, limits: Limits) -> Self {
        let (known, size, exceeding) = Default::default();
        Files { registry, limits, known, size, exceeding, error: None }
    }

    /// The jobs for these files, with the stamps that are known; `listed` is true for the files of a folder.
    pub(super) fn jobs(&mut self, listed: bool, names: &[(Text, PathBuf)]) -> Vec<Job> {
        if self.error.take().is_some() {
            // The failure of the whole is over when each file has been sent again.
            self.known.values_mut().for_each(|known| (known.stamp, known.error) = (None, None));
        }
        let job = |(name, path): &(Text, PathBuf)| {
            let stamp = self.known.get(name).and_then(|known| known.stamp.clone());
            Job { name: name.clone(), path: path.clone(), listed, stamp }
        };
        names.iter().map(job).collect()
    }

    /// The scopes while these files are read. Those that are gone stay until then: a file that only has another name now
    /// takes its services along. So the limits count only what these files have.
    pub(super) fn scopes_with(&mut self, names: &[(Text, PathBuf)]) -> Vec<Scope> {
        let names: BTreeSet<&Text> = names.iter().map(|(name, _)| name).collect();
        let named = self.known.iter().filter(|(name, _)| names.contains(name));
        let size = named.map(|(_, known)| known.size()).fold(Size::default(), Size::plus);
        self.resize(size);
        let all: BTreeSet<&Text> = self.known.keys().chain(names).collect();
        all.into_iter().cloned().map(Scope).collect()
    }

    /// The scopes of these files alone. All others are forgotten.
    pub(super) fn scopes_of(&mut self, names: &BTreeSet<Text>) -> Vec<Scope> {
        self.known.retain(|name, _| names.contains(name));
        self.exceeding.retain(|name| names.contains(name));
        self.resize(self.known.values().map(Known::size).fold(Size::default(), Size::plus));
        names.iter().cloned().map(Scope).collect()
    }

    /// Takes the outcome of a look at a file, and returns the update to send; `None` if there is nothing new.
    pub(super) fn seen(&mut self, name: &Text, look: Look) -> Option<Update> {
        let known = self.known.entry(name.clone()).or_default();
        let scope = Scope(name.clone());
        let outcome = match look {
            Look::Gone => return None,
            Look::Unchanged => return std::mem::take(&mut known.confirm).then(|| known.listed(scope)),
            Look::Read { stamp, bytes, outcome } => {
                known.stamp = stamp;
                self.exceeding.remove(name);
                outcome.and_then(|catalogue| {
                    let fresh = Size { services: catalogue.services.len() + catalogue.unreadable.len(), bytes };
                    let size = self.size.minus(known.size()).plus(fresh);
                    self.limits.check_services(size.services)?;
                    self.limits.check_bytes(size.bytes)?;
                    Ok((catalogue, bytes))
                })
            }
        };
        match outcome {
            Ok((catalogue, bytes)) => {
                let others = self.size.minus(known.size());
                known.replace(catalogue, bytes);
                let size = others.plus(known.size());
                note_reading(&self.registry, name, known);
                let update = known.listed(scope);
                self.resize(size);
                Some(update)
            }
            Err(error) => {
                if matches!(error, Error::Exceeded(_)) {
                    self.exceeding.insert(name.clone());
                }
                known.fail(scope, &error)
            }
        }
    }

    /// Sets what all files have together. If that is less than before, those that were too much are read again at the next
    /// look, though they have not changed.
    fn resize(&mut self, size: Size) {
        if size.services < self.size.services || size.bytes < self.size.bytes {
            for name in std::mem::take(&mut self.exceeding) {
                if let Some(known) = self.known.get_mut(&name) {
                    known.stamp = None;
                }
            }
        }
        self.size = size;
    }

    /// Takes a failure to list the files. Only a new error gives an update; the catalog logs and counts it.
    pub(super) fn failed(&mut self, error: &Error) -> Option<Update> {
        let error = Text::from(error.to_string());
        let news = self.error.as_ref() != Some(&error);
        self.error = Some(error.clone());
        news.then_some(Update::Failed { scope: None, error })
    }
}

impl Size {
    fn plus(self, other: Size) -> Size {
        Size { services: self.services + other.services, bytes: self.bytes + other.bytes }
    }

    /// The rest without a part. A file that was not counted, since it is not named any more, leaves nothing less than none.
    fn minus(self, part: Size) -> Size {
        let services = self.services.saturating_sub(part.services);
        Size { services, bytes: self.bytes.saturating_sub(part.bytes) }
    }
}

impl Known {
    fn size(&self) -> Size {
        Size { services: self.services.len() + self.unreadable.len(), bytes: self.bytes }
    }

    /// Services equal to those before stay the same `Arc`s.
    fn replace(&mut self, catalogue: Catalogue, bytes: u64) {
        let old = std::mem::take(&mut self.services);
        self.services = Catalogue::shared(catalogue.services, &old);
        self.unreadable = catalogue.unreadable;
        // A name that is there twice, once good and once not, is not unreadable.
        self.unreadable.retain(|id, _| !self.services.contains_key(id));
        self.confirm = old.keys().any(|id| !self.services.contains_key(id) && !self.unreadable.contains_key(id));
        (self.bytes, self.error) = (bytes, None);
    }

    fn listed(&self, scope: Scope) -> Update {
        Update::Listed {
            scope,
            services: self.services.values().cloned().collect(),
            unreadable: self.unreadable.iter().map(|(id, why)| (id.clone(), why.clone())).collect(),
        }
    }

    /// Takes a failure to read the file. Only a new error gives an update; the catalog logs and counts it.
    fn fail(&mut self, scope: Scope, error: &Error) -> Option<Update> {
        let error = Text::from(error.to_string());
        self.confirm = false;
        let news = self.error.as_ref() != Some(&error);
        self.error = Some(error.clone());
        news.then_some(Update::Failed { scope: Some(scope), error })
    }
}

fn note_reading(registry: &Text, file: &Text, known: &Known) {
    info!(%registry, %file, services = known.services.len(), refused = known.unreadable.len(), "Read a catalogue file.");
    for (id, error) in &known.unreadable {
        warn!(%registry, %file, service = %id, %error, "A service is mistaken; its last good value stays.");
    }
}
