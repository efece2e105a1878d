//! What a server has, application by application: from a whole list, or from the last state and what has changed since.
//!
//! A delta repeats every change of the last minutes, so it is applied as what it is, the newest state of some instances:
//! applying it twice gives the same as once. A hash, which counts the instances of each status and nothing else, says
//! whether the outcome is what the server has.
//!
//! An instance that cannot be read keeps its last good endpoint. An application none of whose instances can be read is
//! unreadable as a whole. Applications that do not change are the same `Arc`s in the states before and after, and so are
//! equal services.

use super::{
    convert::{self, Entry, Rules, Status},
    wire::{Application, Listing},
};
use crate::model::{Labels, Note, Reason, Service, ServiceId, Text};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    sync::Arc,
};

/// Everything that a server has.
#[derive(Debug, Clone, Default)]
pub(super) struct Apps {
    named: BTreeMap<Text, Arc<App>>,
    /// How many applications of the last whole list have no name.
    nameless: usize,
    /// How often each status is in the last whole list, also among instances that share an id or cannot be read.
    listed: Counts,
}

type Counts = BTreeMap<Status, usize>;

#[derive(Debug, Clone)]
struct App {
    entries: BTreeMap<Text, Entry>,
    /// Notes about instances whose id cannot be read.
    notes: BTreeSet<Note>,
    /// The last whole list had no list of instances for it. A delta does not make up for that.
    incomplete: bool,
    service: Arc<Service>,
    /// Why none of its instances can be read; then `service` is the last good one.
    unreadable: Option<Text>,
}

/// The registry that instances are read for, with the rules of reading.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) registry: Text,
    pub(super) rules: Rules,
}

impl Apps {
    /// The state of a whole list. An instance that cannot be read keeps its endpoint of `before`.
    pub(super) fn whole(source: &Source, listing: &Listing<'_>, before: &Apps) -> Apps {
        let (mut named, mut listed): (BTreeMap<Text, App>, Counts) = Default::default();
        for application in &listing.applications {
            let name = Text::from(application.name.trim());
            let app = named.entry(name.clone()).or_insert_with(|| App::new(source, &name));
            app.list(application, &source.rules, &mut listed);
        }
        let finished = |(name, app): (Text, App)| {
            let app = Arc::new(app.finished(before.named.get(&name).map(|app| &**app)));
            (name, app)
        };
        Apps { named: named.into_iter().map(finished).collect(), nameless: listing.nameless, listed }
    }

    /// This state with a delta applied to it.
    pub(super) fn changed(&self, source: &Source, listing: &Listing<'_>) -> Apps {
        let mut named = self.named.clone();
        for application in &listing.applications {
            let name = Text::from(application.name.trim());
            let before = named.remove(&name);
            let app = match &before {
                Some(app) => App::clone(app),
                None => App::new(source, &name),
            };
            let app = app.changed(application, &source.rules);
            // An application without instances is none; a whole list does not have it either.
            if !app.entries.is_empty() || !app.notes.is_empty() || app.incomplete {
                named.insert(name, Arc::new(app.finished(before.as_deref())));
            }
        }
        Apps { named, nameless: self.nameless, listed: self.listed.clone() }
    }

    pub(super) fn count(&self) -> usize {
        self.named.len()
    }

    /// The number of instances of each status, as the server's hash has it, such as `DOWN_1_UP_3_`.
    pub(super) fn hash(&self) -> String {
        let mut counts = Counts::new();
        for entry in self.named.values().flat_map(|app| app.entries.values()) {
            *counts.entry(entry.status).or_default() += 1;
        }
        written(&counts)
    }

    /// The same for the last whole list, with the instances that share an id or cannot be read.
    pub(super) fn hash_as_listed(&self) -> String {
        written(&self.listed)
    }

    /// The services that can be read, in order of their names.
    pub(super) fn services(&self) -> Vec<Arc<Service>> {
        let readable = self.named.values().filter(|app| app.unreadable.is_none());
        readable.map(|app| app.service.clone()).collect()
    }

    /// The services that cannot be read, with the reason. Applications without a name are one of them, with an empty
    /// name.
    pub(super) fn unreadable(&self, source: &Source) -> Vec<(ServiceId, Text)> {
        let nameless = (self.nameless > 0).then(|| {
            let why = format!("{} applications have no name, and are left out", self.nameless);
            (source.id(&Text::default()), why.into())
        });
        let named = self.named.values().filter_map(|app| Some((app.service.id.clone(), app.unreadable.clone()?)));
        nameless.into_iter().chain(named).collect()
    }

    /// The services that `after` no longer has.
    pub(super) fn gone<'a>(&'a self, after: &'a Apps) -> impl Iterator<Item = &'a ServiceId> {
        self.named.iter().filter(|(name, _)| !after.named.contains_key(*name)).map(|(_, app)| &app.service.id)
    }
}

impl Source {
    fn id(&self, name: &Text) -> ServiceId {
        ServiceId::new(self.registry.clone(), "", "", name.clone())
    }
}

fn written(counts: &Counts) -> String {
    counts.iter().map(|(status, count)| format!("{}_{count}_", status.name())).collect()
}

impl App {
    fn new(source: &Source, name: &Text) -> Self {
        let service = Arc::new(Service::new(source.id(name), Vec::new()));
        App { entries: BTreeMap::new(), notes: BTreeSet::new(), incomplete: false, service, unreadable: None }
    }

    fn list(&mut self, application: &Application<'_>, rules: &Rules, listed: &mut Counts) {
        let Some(instances) = &application.instances else {
            self.incomplete = true;
            return;
        };
        for raw in instances {
            let status = match convert::entry(raw, rules) {
                Ok(entry) => {
                    let status = entry.status;
                    self.add(entry);
                    status
                }
                Err((status, note)) => {
                    self.notes.insert(note);
                    status
                }
            };
            *listed.entry(status).or_default() += 1;
        }
    }

    /// Adds an instance. Of two with one id the one that changed last stays, so that their order does not matter.
    fn add(&mut self, mut entry: Entry) {
        match self.entries.entry(entry.id.clone()) {
            btree_map::Entry::Vacant(free) => drop(free.insert(entry)),
            btree_map::Entry::Occupied(mut known) => {
                let detail = "two instances have this id; the one that changed last counts";
                let note = Note::new(Reason::Duplicate, entry.id.clone(), detail);
                let order = |e: &Entry| (e.changed, e.endpoint.clone());
                if order(&entry) < order(known.get()) {
                    std::mem::swap(&mut entry, known.get_mut());
                }
                if !entry.notes.contains(&note) {
                    entry.notes.push(note);
                }
                known.insert(entry);
            }
        }
    }

    fn changed(mut self, application: &Application<'_>, rules: &Rules) -> Self {
        for raw in application.instances.iter().flatten() {
            match convert::entry(raw, rules) {
                Ok(entry) if entry.deleted => drop(self.entries.remove(&entry.id)),
                Ok(entry) => drop(self.entries.insert(entry.id.clone(), entry)),
                Err((_, note)) => drop(self.notes.insert(note)),
            }
        }
        self
    }

    /// This application with the service made of its instances. If that equals the one in `before`, it is the same
    /// `Arc`.
    fn finished(mut self, before: Option<&App>) -> Self {
        self.unreadable = self.problem();
        for entry in self.entries.values_mut().filter(|entry| entry.unreadable) {
            let last = before.and_then(|app| app.entries.get(&entry.id));
            entry.endpoint = last.and_then(|last| last.endpoint.clone());
        }
        if self.unreadable.is_some() {
            self.service = before.map_or(self.service, |app| app.service.clone());
            return self;
        }
        let endpoints = self.entries.values().filter_map(|entry| entry.endpoint.clone()).collect();
        let mut service = Service::new(self.service.id.clone(), endpoints);
        // The very same instance under two ids says nothing more than once.
        service.endpoints.dedup();
        service.labels = self.labels();
        let noted = self.entries.values().flat_map(|entry| entry.notes.iter().cloned());
        service.notes = noted.chain(self.notes.iter().cloned()).collect();
        service.notes.sort();
        let known = before.map(|app| &app.service).filter(|known| ***known == service);
        self.service = known.cloned().unwrap_or_else(|| Arc::new(service));
        self
    }

    /// Why nothing of the application can be read; `None` if something can.
    fn problem(&self) -> Option<Text> {
        if self.incomplete {
            return Some("its list of instances is missing".into());
        }
        let readable = self.entries.values().any(|entry| !entry.unreadable);
        let notes = || self.entries.values().flat_map(|entry| &entry.notes).chain(&self.notes);
        let first = notes().find(|note| note.reason == Reason::EntryInvalid).filter(|_| !readable)?;
        Some(format!("none of its instances can be read: {}: {}", first.subject, first.detail).into())
    }

    /// Labels `vip` and `secure_vip`: the names by which clients look instances up. Aliases can be made of them.
    fn labels(&self) -> Labels {
        let joined = |name: fn(&Entry) -> &Text| {
            let lists = self.entries.values().map(name);
            let names: BTreeSet<&str> =
                lists.flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty()).collect();
            names.into_iter().collect::<Vec<_>>().join(",")
        };
        let all = [("vip", joined(|entry| &entry.vip)), ("secure_vip", joined(|entry| &entry.secure_vip))];
        all.into_iter().filter(|(_, names)| !names.is_empty()).map(|(key, names)| (key.into(), names.into())).collect()
    }
}
