//! What stands of all that registries sent, as a value: the clock is handed in.
//!
//! Each place of a registry is as it was last read. What the places say is counted for each application and service; when the
//! last one that said it no longer does, that is noted, and forgotten after a while.

use super::{Application, MOST_KEPT, MOST_NEEDS, Model, Reading};
use crate::model::{CallUpdate, Need, Needs, Note, Reason, Text};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

#[derive(Debug, Default)]
pub(super) struct Book {
    keep: Duration,
    registries: BTreeMap<Text, Registry>,
    applications: BTreeMap<Text, BTreeMap<Need, Said>>,
    /// Needs that no consumer says any more, with the time since then; the oldest first.
    gone: BTreeSet<(SystemTime, Text, Need)>,
    /// Applications that have changed since the last [`Book::model`].
    touched: BTreeSet<Text>,
    model: Model,
}

#[derive(Debug, Default)]
struct Registry {
    places: BTreeMap<Text, Arc<Needs>>,
    reading: Reading,
}

/// State of one need of one application.
#[derive(Debug, Default)]
struct Said {
    /// The number of places at which it is said.
    by: usize,
    /// The time since which it is said at no place; `None` while it is said.
    gone: Option<SystemTime>,
}

impl Book {
    /// Takes needs from before a restart, as if no consumer said them since. A time that lies after `now` becomes
    /// `now`.
    pub(super) fn recall(&mut self, known: &Model, now: SystemTime) {
        for (name, application) in &known.applications {
            for (need, gone) in &application.needs {
                let said = self.applications.entry(name.clone()).or_default().entry(need.clone()).or_default();
                let since = gone.unwrap_or(now).min(now);
                said.gone = Some(since);
                self.gone.insert((since, name.clone(), need.clone()));
            }
            self.touched.insert(name.clone());
        }
    }

    /// Sets the registries that are read. What any other registry said counts as no longer said.
    pub(super) fn configure(&mut self, registries: &BTreeSet<Text>, keep: Duration, now: SystemTime) {
        self.keep = keep;
        let gone: Vec<Text> = self.registries.keys().filter(|name| !registries.contains(*name)).cloned().collect();
        for name in gone {
            let places = self.registries.remove(&name).unwrap_or_default().places;
            places.values().for_each(|callers| self.count(callers, &Needs::default(), now));
        }
        for name in registries {
            self.registries.entry(name.clone()).or_default();
        }
        self.expire(now);
    }

    /// Takes an update of a registry. It is ignored if the registry is not read.
    pub(super) fn apply(&mut self, registry: &Text, update: CallUpdate, now: SystemTime) {
        let Some(known) = self.registries.get_mut(registry) else { return };
        let mut changes = Vec::new();
        match update {
            CallUpdate::Failed(error) => known.reading.error = Some(error),
            CallUpdate::Applied(place, callers) => changes.push((place, Some(callers))),
            CallUpdate::Listed(places, unread) => {
                known.reading = Reading { listed: true, error: None };
                let is_gone = |place: &&Text| !places.contains_key(*place) && !unread.contains(*place);
                changes.extend(known.places.keys().filter(is_gone).map(|place| (place.clone(), None)));
                changes.extend(places.into_iter().map(|(place, callers)| (place, Some(callers))));
            }
        }
        for (place, callers) in changes {
            self.replace(registry, place, callers, now);
        }
        self.expire(now);
    }

    fn replace(&mut self, registry: &Text, place: Text, callers: Option<Arc<Needs>>, now: SystemTime) {
        let Some(known) = self.registries.get_mut(registry) else { return };
        let callers = callers.filter(|callers| **callers != Needs::default());
        let before = match &callers {
            Some(callers) => known.places.insert(place, callers.clone()),
            None => known.places.remove(&place),
        };
        let (before, after) = (before.unwrap_or_default(), callers.unwrap_or_default());
        if before != after {
            self.count(&before, &after, now);
        }
    }

    /// One place says `after` instead of `before`.
    fn count(&mut self, before: &Needs, after: &Needs, now: SystemTime) {
        let all = |callers: &Needs| -> BTreeSet<(Text, Need)> {
            let of = |(name, needs): (&Text, &BTreeSet<Need>)| {
                let name = name.clone();
                needs.iter().map(move |need| (name.clone(), need.clone())).collect::<Vec<_>>()
            };
            callers.needs.iter().flat_map(of).collect()
        };
        let (before, after) = (all(before), all(after));
        for (name, need) in after.difference(&before) {
            let said = self.applications.entry(name.clone()).or_default().entry(need.clone()).or_default();
            said.by += 1;
            if let Some(since) = said.gone.take() {
                self.gone.remove(&(since, name.clone(), need.clone()));
            }
            self.touched.insert(name.clone());
        }
        for (name, need) in before.difference(&after) {
            let Some(said) = self.applications.get_mut(name).and_then(|needs| needs.get_mut(need)) else { continue };
            said.by = said.by.saturating_sub(1);
            if said.by == 0 {
                said.gone = Some(now);
                self.gone.insert((now, name.clone(), need.clone()));
                self.touched.insert(name.clone());
            }
        }
    }

    /// When the oldest need that nobody says is to be forgotten; `None` if there is no such need.
    pub(super) fn due(&self) -> Option<SystemTime> {
        self.gone.first().and_then(|(since, ..)| since.checked_add(self.keep))
    }

    /// Forgets needs that nobody has said for `keep`, and the oldest ones above [`MOST_KEPT`].
    pub(super) fn expire(&mut self, now: SystemTime) {
        // A clock that was set back makes nothing older.
        let is_over = |since: SystemTime, keep| now.duration_since(since).is_ok_and(|age| age >= keep);
        while self.gone.first().is_some_and(|(since, ..)| self.gone.len() > MOST_KEPT || is_over(*since, self.keep)) {
            let Some((_, name, need)) = self.gone.pop_first() else { return };
            if let Some(needs) = self.applications.get_mut(&name) {
                needs.remove(&need);
                if needs.is_empty() {
                    self.applications.remove(&name);
                }
            }
            self.touched.insert(name);
        }
    }

    /// The number of needs that are kept though nobody says them any more.
    pub(super) fn kept(&self) -> usize {
        self.gone.len()
    }

    /// The present model. It has the same number as before unless something has changed.
    pub(super) fn model(&mut self) -> &Model {
        let mut next = Model { number: self.model.number, ..Model::default() };
        next.applications = std::mem::take(&mut self.model.applications);
        let mut changed = false;
        for name in std::mem::take(&mut self.touched) {
            match self.applications.get(&name) {
                Some(needs) => {
                    let needs = needs.iter().map(|(need, said)| (need.clone(), said.gone)).collect();
                    let application = Arc::new(Application::new(needs));
                    changed |= next.applications.insert(name, application.clone()) != Some(application);
                }
                None => changed |= next.applications.remove(&name).is_some(),
            }
        }
        next.registries = self.registries.iter().map(|(name, known)| (name.clone(), known.reading.clone())).collect();
        for (name, known) in &self.registries {
            let notes = known.places.values().flat_map(|callers| &callers.notes);
            next.notes.extend(notes.map(|note| (name.clone(), note.clone())));
        }
        next.notes.extend(next.applications.iter().filter_map(|(name, application)| application.too_many(name)));
        changed |= (&next.registries, &next.notes) != (&self.model.registries, &self.model.notes);
        next.number += u64::from(changed);
        self.model = next;
        &self.model
    }
}

impl Application {
    /// The note that an application needs everything. It is of no registry, since the application may need something of
    /// each.
    fn too_many(&self, name: &Text) -> Option<(Text, Note)> {
        if !self.everything {
            return None;
        }
        let why = if self.needs.keys().any(Need::is_everything) {
            "says that it needs every service".to_owned()
        } else {
            format!("needs more than {MOST_NEEDS} services, so that it counts as one that needs all")
        };
        Some((Text::default(), Note::new(Reason::EntryInvalid, name.clone(), why)))
    }
}
