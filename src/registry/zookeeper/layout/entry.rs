//! The entries below a service's node, and what both layouts make of them: services, and notes about entries that are
//! left out while their neighbours serve.

use crate::model::{Endpoint, Labels, Note, Reason, Service, ServiceId, Text};
use std::{
    collections::{BTreeMap, HashSet},
    time::SystemTime,
};

/// So much of a bad entry is shown.
const SHOWN: usize = 80;

/// One child of a service's node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    /// Its name, as it is in the tree.
    pub(crate) name: String,
    /// What it holds, where that matters.
    pub(crate) data: Vec<u8>,
}

/// Where entries stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) registry: &'a Text,
    /// The root, without its first slash.
    pub(crate) namespace: &'a Text,
    /// The name of the service's node, as it is in the tree.
    pub(crate) node: &'a str,
}

/// What entries amount to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Converted {
    /// Sorted by id.
    pub(crate) services: Vec<Service>,
    /// When they amount to something else though none of them changes.
    pub(crate) until: Option<SystemTime>,
    /// The instances by the names of their entries, where these outlive what they hold.
    pub(crate) known: Known,
    /// Why no instance can be read, though there are some.
    pub(crate) unreadable: Option<Text>,
}

/// Instances by the names of their entries.
pub(crate) type Known = BTreeMap<Box<str>, Endpoint>;

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

impl Place<'_> {
    pub(crate) fn id(&self, group: &str, name: &str) -> ServiceId {
        ServiceId::new(self.registry.clone(), self.namespace.clone(), group, name)
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

/// That of all these entries none can be read.
pub(super) fn unreadable(notes: &[Note]) -> Text {
    let first = notes.first().map(|note| format!(": {} {}", note.subject, note.detail)).unwrap_or_default();
    format!("none of its {} instances can be read{first}", notes.len()).into()
}
