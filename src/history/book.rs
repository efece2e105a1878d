//! The entries, and what is kept of each: a value, without files and tasks.

use super::Difference;
use crate::{
    catalog::Services,
    manifests::Snapshot,
    model::{PublishedService, Text},
    util::time::unix_millis,
};
use imbl::ordmap::DiffItem;
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// So many entries are kept.
const ENTRIES: usize = 500;
/// So many generations are kept whole, at most.
const WHOLE: usize = 256;
/// What older generations may hold of what the newest has not.
const BYTES: usize = 64 << 20;
/// Changes with the same causes within this time are one generation.
pub(super) const TOGETHER: Duration = Duration::from_secs(1);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Each has a higher one than those before, also over restarts where there is a folder.
    pub number: u64,
    /// When, as RFC 3339.
    pub at: String,
    /// The same in milliseconds since 1970, for comparing.
    #[serde(default)]
    pub millis: u64,
    /// What it was.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum What {
    /// Something else is published.
    Published {
        /// What has led to it: `registry nacos`, `configuration`, ...
        causes: Vec<String>,
        /// What differs from what was published before.
        difference: Difference,
    },
    /// A configuration was read.
    Configuration {
        /// Why it was read: `start`, `file`, `signal`, `request`.
        cause: String,
        /// `reloaded` or `refused`.
        result: String,
        /// The hash of its texts.
        hash: Option<String>,
        /// What it has changed. No value of it.
        changes: Vec<String>,
    },
    /// Somebody has asked for something: the audit log.
    Request {
        /// `pin`, `unpin`, `rollback`, `drain`, ...
        action: String,
        /// What for.
        of: String,
        /// Who, by his own word.
        by: String,
        /// Why.
        why: String,
        /// Until when it holds, if it does.
        until: Option<String>,
        /// What came of it.
        result: String,
    },
}

/// What was published at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) services: Services,
    pub(super) manifests: Arc<Snapshot>,
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    /// What is published from then on; of some entries it is no longer known.
    state: Option<State>,
    /// What of the state before is held for its sake alone, by estimate.
    bytes: usize,
}

/// The entries, oldest first.
#[derive(Debug, Default)]
pub(super) struct Book {
    kept: VecDeque<Kept>,
    last_number: u64,
    /// The newest state; `None`: nothing was published yet.
    newest: Option<State>,
    /// What was published before the last generation.
    base: State,
    /// How many of the last entries were not taken to be written.
    unwritten: usize,
    whole: usize,
    bytes: usize,
}

impl Book {
    /// Entries of before a restart.
    pub(super) fn recall(&mut self, entries: Vec<Entry>) {
        self.last_number = entries.iter().map(|entry| entry.number).max().unwrap_or(0);
        self.kept = entries.into_iter().map(|entry| Kept { entry, state: None, bytes: 0 }).collect();
        self.bound();
    }

    /// What is published now. Whether an entry is new, and not the last one with more in it.
    pub(super) fn published(&mut self, state: State, causes: Vec<String>, at: SystemTime) -> bool {
        let before = self.newest.clone().unwrap_or_default();
        let difference =
            Difference::between((&before.services, &before.manifests), (&state.services, &state.manifests));
        if difference.is_empty() && self.newest.is_some() {
            self.newest = Some(state);
            return false;
        }
        let bytes = held(&before.services, &state.services);
        self.newest = Some(state.clone());
        if let Some(last) = self.kept.back_mut()
            && let What::Published { causes: known, difference } = &mut last.entry.what
            && *known == causes
            && last.state.is_some()
            && unix_millis(at).saturating_sub(last.entry.millis) < TOGETHER.as_millis() as u64
        {
            *difference =
                Difference::between((&self.base.services, &self.base.manifests), (&state.services, &state.manifests));
            last.state = Some(state);
            return false;
        }
        self.base = before;
        let number = self.number();
        self.push(Entry::new(number, at, What::Published { causes, difference }), Some(state), bytes);
        true
    }

    /// Something else happened.
    pub(super) fn note(&mut self, what: What, at: SystemTime) -> Entry {
        let number = self.number();
        let entry = Entry::new(number, at, what);
        // What is published then can be gone back to by its number, too.
        let state = self.newest.clone();
        self.push(entry.clone(), state, 0);
        entry
    }

    /// Whether that is what became of the last configuration.
    pub(super) fn ends_with(&self, what: &What) -> bool {
        let is_configuration = |kept: &&Kept| matches!(kept.entry.what, What::Configuration { .. });
        self.kept.iter().rev().find(is_configuration).is_some_and(|kept| kept.entry.what == *what)
    }

    /// The entries that were not taken yet and will not change any more.
    pub(super) fn take_closed(&mut self, now: SystemTime) -> Vec<Entry> {
        let open = self.kept.back().is_some_and(|last| {
            let published = matches!(last.entry.what, What::Published { .. });
            published && unix_millis(now).saturating_sub(last.entry.millis) < TOGETHER.as_millis() as u64
        });
        let from = self.kept.len().saturating_sub(self.unwritten);
        let to = self.kept.len() - usize::from(open && self.unwritten > 0);
        self.unwritten = self.kept.len() - to;
        self.kept.range(from..to).map(|kept| kept.entry.clone()).collect()
    }

    /// Whether some were not taken yet.
    pub(super) fn is_open(&self) -> bool {
        self.unwritten > 0
    }

    /// All that were not taken yet.
    pub(super) fn take_all(&mut self) -> Vec<Entry> {
        let from = self.kept.len().saturating_sub(std::mem::take(&mut self.unwritten));
        self.kept.range(from..).map(|kept| kept.entry.clone()).collect()
    }

    /// The entries from then on, oldest first.
    pub(super) fn since(&self, since: Option<SystemTime>, host: Option<&str>) -> Vec<Entry> {
        let since = since.map_or(0, unix_millis);
        let concerns = |entry: &&Entry| match (&entry.what, host) {
            (_, None) => true,
            (What::Published { difference, .. }, Some(host)) => difference.hosts.iter().any(|of| of.host == host),
            (What::Request { of, .. }, Some(host)) => of.split(' ').next() == Some(host) || of == "everything",
            (What::Configuration { .. }, Some(_)) => false,
        };
        self.kept.iter().map(|kept| &kept.entry).filter(|e| e.millis >= since).filter(concerns).cloned().collect()
    }

    /// The entry of that number.
    pub(super) fn entry(&self, number: u64) -> Option<&Entry> {
        self.kept.iter().map(|kept| &kept.entry).find(|entry| entry.number == number)
    }

    /// What was published from that entry on, if that is still known.
    pub(super) fn state(&self, number: u64) -> Option<&State> {
        self.kept.iter().find(|kept| kept.entry.number == number)?.state.as_ref()
    }

    /// What is published.
    pub(super) fn newest(&self) -> Option<&State> {
        self.newest.as_ref()
    }

    /// The last generation that differs from the newest one: what was published before the last change.
    pub(super) fn before(&self) -> Option<u64> {
        let mut published = self.kept.iter().rev().filter(|k| matches!(k.entry.what, What::Published { .. }));
        published.next()?;
        published.find(|kept| kept.state.is_some()).map(|kept| kept.entry.number)
    }

    fn number(&mut self) -> u64 {
        self.last_number = self.last_number.saturating_add(1);
        self.last_number
    }

    fn push(&mut self, entry: Entry, state: Option<State>, bytes: usize) {
        self.whole += usize::from(state.is_some());
        self.bytes += bytes;
        self.unwritten += 1;
        self.kept.push_back(Kept { entry, state, bytes });
        self.bound();
    }

    fn bound(&mut self) {
        while self.kept.len() > ENTRIES {
            if let Some(gone) = self.kept.pop_front() {
                self.forget(gone);
            }
        }
        let mut place = 0;
        // The newest is held anyway.
        while (self.whole > WHOLE || self.bytes > BYTES) && place + 1 < self.kept.len() {
            if let Some(kept) = self.kept.get_mut(place) {
                let (state, bytes) = (kept.state.take(), std::mem::take(&mut kept.bytes));
                self.whole -= usize::from(state.is_some());
                self.bytes -= bytes;
            }
            place += 1;
        }
    }

    fn forget(&mut self, gone: Kept) {
        self.whole -= usize::from(gone.state.is_some());
        self.bytes -= gone.bytes;
    }
}

impl Entry {
    fn new(number: u64, at: SystemTime, what: What) -> Self {
        Entry { number, at: humantime::format_rfc3339_millis(at).to_string(), millis: unix_millis(at), what }
    }
}

/// What the one before is held for, by estimate.
fn held(before: &Services, after: &Services) -> usize {
    let size = |service: &PublishedService| {
        let labels = |labels: &crate::model::Labels| {
            labels.iter().map(|(k, v): (&Text, &Text)| k.len() + v.len() + 64).sum::<usize>()
        };
        600 + service.endpoints.iter().map(|endpoint| 200 + labels(&endpoint.labels)).sum::<usize>()
    };
    let old = before.diff(after).map(|item| match item {
        DiffItem::Add(..) => 0,
        DiffItem::Remove(_, old) | DiffItem::Update { old: (_, old), .. } => size(old),
    });
    old.sum()
}
