//! What stands below a node to services of the model. Pure; one bad entry is left out with a note, and its neighbours
//! serve.

use super::{Layout, curator, dubbo};
use crate::model::{Endpoint, Labels, Note, Reason, Service, ServiceId, Text};
use std::{collections::HashSet, time::SystemTime};

/// So much of a bad entry is shown.
const SHOWN: usize = 80;

/// One child of a service's node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Entry {
    /// Its name, as it is in the tree.
    pub(super) name: String,
    /// What it holds, where that matters.
    pub(super) data: Vec<u8>,
}

/// Where entries stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) registry: &'a Text,
    /// The root, without its first slash.
    pub(super) namespace: &'a Text,
    /// The name of the service's node, as it is in the tree.
    pub(super) node: &'a str,
}

/// What entries amount to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Converted {
    /// By id.
    pub(super) services: Vec<Service>,
    /// When they amount to something else though none of them changes.
    pub(super) until: Option<SystemTime>,
}

/// The texts of one node's entries, which repeat most of them; each is kept once.
#[derive(Debug, Default)]
pub(super) struct Texts(HashSet<Text>);

impl Texts {
    pub(super) fn share(&mut self, text: &str) -> Text {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let text = Text::from(text);
        self.0.insert(text.clone());
        text
    }
}

/// The services of a node, whose entries are sorted.
pub(super) fn services(layout: Layout, place: Place<'_>, entries: &[Entry], now: SystemTime) -> Converted {
    match layout {
        Layout::Dubbo => dubbo::services(place, entries, now),
        Layout::Spring => {
            Converted { services: curator::service_of(place, entries).into_iter().collect(), until: None }
        }
    }
}

impl Place<'_> {
    pub(super) fn id(&self, group: &str, name: &str) -> ServiceId {
        ServiceId {
            registry: self.registry.clone(),
            namespace: self.namespace.clone(),
            group: group.into(),
            name: name.into(),
        }
    }
}

/// A service with these instances and notes.
pub(super) fn service(id: ServiceId, labels: Labels, endpoints: Vec<Endpoint>, notes: Vec<Note>) -> Service {
    Service { labels, notes, ..Service::new(id, endpoints) }
}

/// That an entry is left out, or something of it.
pub(super) fn invalid(entry: &str, problem: impl ToString) -> Note {
    let subject: String = entry.chars().take(SHOWN).collect();
    Note::new(Reason::EntryInvalid, subject, problem.to_string())
}
