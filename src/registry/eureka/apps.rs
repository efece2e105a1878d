//! What a server has, application by application: from a whole list, or from the last state and what has changed since.
//!
//! A delta repeats every change of the last minutes, so it is applied as what it is, the newest state of some instances:
//! applying it twice gives the same as once. Whether the outcome is what the server has is told by a hash, which counts the
//! instances of each status and nothing else.
//!
//! Applications that do not change are the same `Arc`s in the states before and after, and so are equal services.

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
pub(super) struct Apps(BTreeMap<Text, Arc<App>>);

#[derive(Debug, Clone)]
struct App {
    entries: BTreeMap<Text, Entry>,
    /// About instances without a name.
    notes: BTreeSet<Note>,
    service: Arc<Service>,
}

/// What instances are read for.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) registry: Text,
    pub(super) rules: Rules,
}

impl Apps {
    /// A whole list.
    pub(super) fn whole(source: &Source, listing: &Listing<'_>, before: &Apps) -> Apps {
        let mut apps: BTreeMap<Text, App> = BTreeMap::new();
        for application in &listing.applications {
            let name = Text::from(&*application.name);
            let app = apps.entry(name.clone()).or_insert_with(|| App::new(source, &name));
            app.list(application, &source.rules);
        }
        let settled = |(name, app): (Text, App)| {
            let known = before.0.get(&name).map(|app| app.service.clone());
            let app = Arc::new(app.settled(known));
            (name, app)
        };
        Apps(apps.into_iter().map(settled).collect())
    }

    /// This state with a delta applied to it.
    pub(super) fn changed(&self, source: &Source, listing: &Listing<'_>) -> Apps {
        let mut apps = self.0.clone();
        for application in &listing.applications {
            let name = Text::from(&*application.name);
            let app = match apps.remove(&name) {
                Some(app) => Arc::unwrap_or_clone(app),
                None => App::new(source, &name),
            };
            let known = app.service.clone();
            let app = app.changed(application, &source.rules);
            // An application without instances is none; a whole list does not have it either.
            if !app.entries.is_empty() || !app.notes.is_empty() {
                apps.insert(name, Arc::new(app.settled(Some(known))));
            }
        }
        Apps(apps)
    }

    /// How many instances of each status there are, as the server writes it.
    pub(super) fn hash(&self) -> String {
        let mut counts: BTreeMap<Status, usize> = BTreeMap::new();
        for entry in self.0.values().flat_map(|app| app.entries.values()) {
            *counts.entry(entry.status).or_default() += 1;
        }
        counts.into_iter().map(|(status, count)| format!("{}_{count}_", status.name())).collect()
    }

    /// The services, in order of their names.
    pub(super) fn services(&self) -> Vec<Arc<Service>> {
        self.0.values().map(|app| app.service.clone()).collect()
    }

    /// Those that `after` no longer has.
    pub(super) fn gone<'a>(&'a self, after: &'a Apps) -> impl Iterator<Item = &'a ServiceId> {
        self.0.iter().filter(|(name, _)| !after.0.contains_key(*name)).map(|(_, app)| &app.service.id)
    }
}

impl App {
    fn new(source: &Source, name: &Text) -> Self {
        let (namespace, group) = Default::default();
        let id = ServiceId { registry: source.registry.clone(), namespace, group, name: name.clone() };
        let service = Arc::new(Service::new(id, Vec::new()));
        App { entries: BTreeMap::new(), notes: BTreeSet::new(), service }
    }

    fn list(&mut self, application: &Application<'_>, rules: &Rules) {
        for raw in &application.instances {
            match convert::entry(raw, rules) {
                Ok(entry) => self.add(entry),
                Err(note) => drop(self.notes.insert(note)),
            }
        }
    }

    /// Of two with one id the one that changed last, so that their order does not matter.
    fn add(&mut self, mut entry: Entry) {
        match self.entries.entry(entry.id.clone()) {
            btree_map::Entry::Vacant(free) => drop(free.insert(entry)),
            btree_map::Entry::Occupied(mut taken) => {
                let detail = "its instance id is there twice; the one that changed last is taken";
                let note = Note::new(Reason::Duplicate, entry.id.clone(), detail);
                let order = |e: &Entry| (e.changed, e.endpoint.clone());
                if order(&entry) < order(taken.get()) {
                    std::mem::swap(&mut entry, taken.get_mut());
                }
                if !entry.notes.contains(&note) {
                    entry.notes.push(note);
                }
                taken.insert(entry);
            }
        }
    }

    fn changed(mut self, application: &Application<'_>, rules: &Rules) -> Self {
        for raw in &application.instances {
            match convert::entry(raw, rules) {
                Ok(entry) if entry.deleted => drop(self.entries.remove(&entry.id)),
                Ok(entry) => drop(self.entries.insert(entry.id.clone(), entry)),
                Err(note) => drop(self.notes.insert(note)),
            }
        }
        self
    }

    /// With the service that the instances make; the known one if that is equal.
    fn settled(mut self, known: Option<Arc<Service>>) -> Self {
        let endpoints = self.entries.values().filter_map(|entry| entry.endpoint.clone()).collect();
        let mut service = Service::new(self.service.id.clone(), endpoints);
        // The very same instance under two ids says nothing more than once.
        service.endpoints.dedup();
        service.labels = self.labels();
        let noted = self.entries.values().flat_map(|entry| entry.notes.iter().cloned());
        service.notes = noted.chain(self.notes.iter().cloned()).collect();
        service.notes.sort();
        self.service = known.filter(|known| **known == service).unwrap_or_else(|| Arc::new(service));
        self
    }

    /// The names that clients look instances up by, for aliases.
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
