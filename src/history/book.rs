//! The entries: a value, without files and tasks.

use super::{
    entry::{Entry, State, What},
    kept::Kept,
};
use crate::util::time::unix_millis;
use std::time::SystemTime;

/// The entries, oldest first.
#[derive(Debug, Default)]
pub(super) struct Book {
    kept: Kept,
    last_number: u64,
    /// The newest state; `None`: nothing was published yet.
    newest: Option<State>,
    /// What was published before the last generation.
    base: State,
}

impl Book {
    /// Takes in entries from before a restart; new numbers go on after theirs.
    pub(super) fn recall(&mut self, entries: Vec<Entry>) {
        self.last_number = entries.iter().map(|entry| entry.number).max().unwrap_or(0);
        self.kept.recall(entries);
    }

    /// Notes what is published now. `true` if that is a new entry; `false` if nothing differs, or the last entry has
    /// got more in it.
    pub(super) fn published(&mut self, state: State, causes: Vec<String>, at: SystemTime) -> bool {
        let before = self.newest.replace(state.clone());
        if before.as_ref().is_some_and(|before| before.is_same(&state)) {
            return false;
        }
        if let Some(last) = self.kept.last()
            && let What::Published { causes: known, .. } = &last.what
            && *known == causes
            && last.is_open(at)
        {
            let difference = self.base.difference(&state);
            self.kept.amend(What::Published { causes, difference }, state);
            return false;
        }
        self.base = before.unwrap_or_default();
        let difference = self.base.difference(&state);
        let entry = Entry::new(self.number(), at, What::Published { causes, difference });
        self.kept.push(entry, Some(state));
        true
    }

    /// Adds an entry that changes nothing of what is published; returns it with its number.
    pub(super) fn note(&mut self, what: What, at: SystemTime) -> Entry {
        let entry = Entry::new(self.number(), at, what);
        self.kept.push(entry.clone(), None);
        entry
    }

    /// Whether the last entry of a configuration says the same.
    pub(super) fn ends_with(&self, what: &What) -> bool {
        let is_configuration = |entry: &&Entry| matches!(entry.what, What::Configuration { .. });
        self.kept.iter().rev().find(is_configuration).is_some_and(|entry| entry.what == *what)
    }

    /// The entries that were not taken yet and will not change any more.
    pub(super) fn take_closed(&mut self, now: SystemTime) -> Vec<Entry> {
        let open = self.kept.last().is_some_and(|last| last.is_open(now));
        self.kept.take(usize::from(open && self.is_open()))
    }

    /// Whether some entries were not taken yet, to be written.
    pub(super) fn is_open(&self) -> bool {
        self.kept.unwritten() > 0
    }

    /// All entries that were not taken yet, to be written.
    pub(super) fn take_all(&mut self) -> Vec<Entry> {
        self.kept.take(0)
    }

    /// The entries from `since` on, oldest first; with a host those that concern it.
    pub(super) fn since(&self, since: Option<SystemTime>, host: Option<&str>) -> Vec<Entry> {
        let since = since.map_or(0, unix_millis);
        let concerns = |entry: &&Entry| match (&entry.what, host) {
            (_, None) => true,
            (What::Published { difference, .. }, Some(host)) => difference.hosts.iter().any(|of| of.host == host),
            (What::Request { of, .. }, Some(host)) => of.split(' ').next() == Some(host) || of == "everything",
            (What::Configuration { .. }, Some(_)) => false,
        };
        self.kept.iter().filter(|entry| entry.millis >= since).filter(concerns).cloned().collect()
    }

    /// The entry with that number; `None` if there is none, or it is no longer kept.
    pub(super) fn entry(&self, number: u64) -> Option<&Entry> {
        self.kept.iter().find(|entry| entry.number == number)
    }

    /// What was published from that entry on, if that is still known.
    pub(super) fn state(&self, number: u64) -> Option<&State> {
        self.kept.state(number)
    }

    /// What was published last, as far as it was noted.
    pub(super) fn newest(&self) -> Option<&State> {
        self.newest.as_ref()
    }

    /// The last generation that differs from the newest one: what was published before the last change.
    pub(super) fn before(&self) -> Option<u64> {
        self.kept.before()
    }

    fn number(&mut self) -> u64 {
        self.last_number = self.last_number.saturating_add(1);
        self.last_number
    }
}
