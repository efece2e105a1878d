//! Collects the notes of one service or host; bounded, so that a service of 100,000 bad entries costs no more than one
//! of a hundred.

use crate::model::{Endpoint, Note, Reason, Text};

/// The most notes that are kept; further ones are only counted.
const NOTES_MAX: usize = 100;

/// The notes of one service or host, while it is evaluated.
#[derive(Debug, Default)]
pub(super) struct Notes {
    kept: Vec<Note>,
    more: usize,
}

impl Notes {
    pub(super) fn add(&mut self, reason: Reason, subject: impl Into<Text>, detail: impl Into<Text>) {
        self.push(|| Note::new(reason, subject, detail));
    }

    /// Adds a note about an instance.
    pub(super) fn instance(&mut self, reason: Reason, endpoint: &Endpoint, detail: &str) {
        self.push(|| Note::new(reason, endpoint.address.place(endpoint.ports.first().map(|port| port.number)), detail));
    }

    /// Adds notes made elsewhere.
    pub(super) fn extend<'a>(&mut self, notes: impl IntoIterator<Item = &'a Note>) {
        notes.into_iter().for_each(|note| self.push(|| note.clone()));
    }

    /// All of them in order, each once; if there were too many, the last says how many more.
    pub(super) fn finish(mut self) -> Vec<Note> {
        self.kept.sort();
        self.kept.dedup();
        if let (Some(last), true) = (self.kept.last(), self.more > 0) {
            self.kept.push(Note::new(last.reason, "", format!("and {} notes more", self.more)));
        }
        self.kept
    }

    fn push(&mut self, note: impl FnOnce() -> Note) {
        if self.kept.len() < NOTES_MAX {
            self.kept.push(note());
        } else {
            self.more += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_bounded_sorted_and_single() {
        let mut notes = Notes::default();
        for i in (0..150).rev() {
            notes.add(Reason::Disabled, format!("{i:03}"), "");
        }
        let notes = notes.finish();
        assert_eq!(notes.len(), NOTES_MAX + 1);
        assert_eq!(notes[0], Note::new(Reason::Disabled, "050", ""));
        assert_eq!(notes[NOTES_MAX], Note::new(Reason::Disabled, "", "and 50 notes more"));
        let mut twice = Notes::default();
        twice.add(Reason::Stale, "", "");
        twice.add(Reason::Stale, "", "");
        assert_eq!(twice.finish(), [Note::new(Reason::Stale, "", "")]);
    }
}
