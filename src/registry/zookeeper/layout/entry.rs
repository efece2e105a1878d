//! The entries below a service's node, and what both layouts make of them: services, and notes about entries that are
//! left out while their neighbours serve.

use crate::model::{Endpoint, Labels, Note, Reason, Service, ServiceId, Text};
use std::{
    collections::{BTreeMap, HashSet},
    time::SystemTime,
};

/// The most characters of a bad entry that a note shows.
const SHOWN: usize = 80;

/// One child of a service's node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    /// The name of the node. With Dubbo it is an encoded URL.
    pub(crate) name: String,
    /// The node's data; empty with Dubbo, whose entries say everything in their names.
    pub(crate) data: Vec<u8>,
}

/// The node of a service, whose children are entries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) registry: &'a Text,
    /// The root, without its first slash.
    pub(crate) namespace: &'a Text,
    /// The name of the service's node, as it is in the tree.
    pub(crate) node: &'a str,
}

/// What the entries of a node are converted to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Converted {
    /// Sorted by id.
    pub(crate) services: Vec<Service>,
    /// When the same entries give something else, since a weight grows; `None` if never.
    pub(crate) until: Option<SystemTime>,
    /// Instances by the names of their entries, to be kept if an entry cannot be read later. Empty with Dubbo.
    pub(crate) known: Known,
    /// Why none of its instances can be read; `None` if one can, or there is none.
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

pub(super) fn service(id: ServiceId, labels: Labels, endpoints: Vec<Endpoint>, notes: Vec<Note>) -> Service {
    Service { labels, notes, ..Service::new(id, endpoints) }
}

/// The note that an entry, or something of it, is left out.
pub(super) fn invalid(entry: &str, problem: impl ToString) -> Note {
    let subject: String = entry.chars().take(SHOWN).collect();
    Note::new(Reason::EntryInvalid, subject, problem.to_string())
}

/// The text that none of these entries can be read; it quotes the first one.
pub(super) fn unreadable(notes: &[Note]) -> Text {
    let first = notes.first().map(|note| format!(": {} {}", note.subject, note.detail)).unwrap_or_default();
    format!("none of its {} instances can be read{first}", notes.len()).into()
}
