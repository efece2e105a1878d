//! The entries that are kept, and of some of them what was published: bounded in number and bytes, whatever comes.

use super::entry::{Entry, State, What};
use crate::{
    catalog::Services,
    model::{Labels, PublishedService, Text},
};
use imbl::ordmap::DiffItem;
use std::{collections::VecDeque, ops::RangeInclusive};

/// So many entries are kept; those that are whole are the last to go.
const ENTRIES: usize = 500;
/// So many names of hosts and endpoints are kept with entries. Beyond them the oldest entries have numbers only.
const NAMES: usize = 20_000;
/// So many generations are kept whole, at most.
const WHOLE: usize = 64;
/// So many of them are the newest ones, without a gap. The others lie the further apart the older they are.
const RECENT: usize = 32;
/// What older generations may hold of what the newest has not: half of what that one takes, within these.
const BYTES: RangeInclusive<usize> = 8 << 20..=64 << 20;
/// What a service in a map takes besides its endpoints, with the nodes of the map that its change makes anew: some 4 KB where
/// those next to it stay as they are.
const SERVICE: usize = 6_000;

/// The entries, oldest first.
#[derive(Debug, Default)]
pub(super) struct Kept {
    items: VecDeque<Item>,
    /// How many of the last entries were not taken to be written.
    unwritten: usize,
    /// How many items are whole. Those are generations, and the newest of them is always among them.
    whole: usize,
    /// What is held for the sake of older generations alone.
    bytes: usize,
    names: usize,
}

#[derive(Debug)]
struct Item {
    entry: Entry,
    /// Of a generation: what is published from then on, if it is whole.
    state: Option<State>,
    /// What its state takes, by estimate.
    size: usize,
    /// What of that the next whole one has not.
    bytes: usize,
}

impl Kept {
    /// Takes in entries from before a restart, of which nothing whole is known.
    pub(super) fn recall(&mut self, entries: Vec<Entry>) {
        self.names = entries.iter().map(Entry::names).sum();
        self.items = entries.into_iter().map(|entry| Item { entry, state: None, size: 0, bytes: 0 }).collect();
        self.bound();
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.items.iter().map(|item| &item.entry)
    }

    pub(super) fn last(&self) -> Option<&Entry> {
        self.items.back().map(|item| &item.entry)
    }

    /// What was published from that entry on, if it is still known.
    pub(super) fn state(&self, number: u64) -> Option<&State> {
        let place = self.items.iter().position(|item| item.entry.number == number)?;
        let mut until_then = self.items.range(..=place).rev();
        until_then.find(|item| item.entry.is_generation())?.state.as_ref()
    }

    /// The generation before the newest that is whole.
    pub(super) fn before(&self) -> Option<u64> {
        let mut whole = self.items.iter().rev().filter(|item| item.state.is_some());
        whole.nth(1).map(|item| item.entry.number)
    }

    /// Adds an entry; if it is a generation, with what is published.
    pub(super) fn push(&mut self, entry: Entry, state: Option<State>) {
        self.unwritten += 1;
        self.names += entry.names();
        let mut size = 0;
        if let Some(state) = &state {
            self.whole += 1;
            let place = self.places().next_back();
            let before = place.map(|place| &self.items[place]);
            let (gone, come) = weigh(before.and_then(|item| item.state.as_ref()), state);
            size = (before.map_or(0, |item| item.size) + come).saturating_sub(gone);
            self.hold(place, gone);
        }
        self.items.push_back(Item { entry, state, size, bytes: 0 });
        self.bound();
    }

    /// The last entry is a generation, and there is more in it.
    pub(super) fn amend(&mut self, what: What, state: State) {
        let Some(last) = self.items.back_mut() else { return };
        self.names -= last.entry.names();
        last.entry.what = what;
        self.names += last.entry.names();
        let known = (last.state.take(), last.size);
        self.whole -= usize::from(known.0.is_some());
        let place = self.places().next_back();
        let (before, size) = match place.map(|place| &self.items[place]) {
            Some(before) => (before.state.as_ref(), before.size),
            None => (known.0.as_ref(), known.1),
        };
        let (gone, come) = weigh(before, &state);
        let size = (size + come).saturating_sub(gone);
        self.hold(place, gone);
        if let Some(last) = self.items.back_mut() {
            (last.state, last.size) = (Some(state), size);
            self.whole += 1;
        }
        self.bound();
    }

    /// The entries that were not taken yet, but for the last `but`.
    pub(super) fn take(&mut self, but: usize) -> Vec<Entry> {
        let from = self.items.len().saturating_sub(self.unwritten);
        let to = (self.items.len() - but.min(self.items.len())).max(from);
        self.unwritten = self.items.len() - to;
        self.items.range(from..to).map(|item| item.entry.clone()).collect()
    }

    /// How many of the last entries were not taken yet.
    pub(super) fn unwritten(&self) -> usize {
        self.unwritten
    }

    fn bound(&mut self) {
        while self.items.len() > ENTRIES {
            self.remove();
        }
        while self.names > NAMES && self.forget_names() {}
        while self.whole > WHOLE
            && let Some(place) = self.most_crowded()
        {
            self.forget_state(place);
        }
        let most = self.items.back().map_or(0, |newest| newest.size / 2).clamp(*BYTES.start(), *BYTES.end());
        while self.bytes > most
            && let Some(place) = self.oldest_to_forget()
        {
            self.forget_state(place);
        }
    }

    /// The oldest whole one, but never the two newest nor the one before a loss: operators go back to those.
    fn oldest_to_forget(&self) -> Option<usize> {
        let before_loss = self.before_loss();
        let mut old = self.places().take(self.whole.saturating_sub(2));
        old.find(|place| Some(*place) != before_loss)
    }

    /// The last one of nearly the largest size, if that is a quarter more than there is now.
    fn before_loss(&self) -> Option<usize> {
        let size = |place: &usize| self.items[*place].size;
        let newest = self.places().next_back().map_or(0, |place| size(&place));
        let largest = self.places().map(|place| size(&place)).max().filter(|largest| *largest > newest + newest / 4)?;
        self.places().rev().find(|place| size(place) >= largest - largest / 10)
    }

    /// Removes the oldest entry that is not whole.
    fn remove(&mut self) {
        let place = self.items.iter().position(|item| item.state.is_none()).unwrap_or(0);
        self.forget_state(place);
        let written = self.items.len().saturating_sub(self.unwritten);
        if let Some(gone) = self.items.remove(place) {
            self.names -= gone.entry.names();
            self.unwritten -= usize::from(place >= written);
        }
    }

    /// Forgets what the oldest entry names that names something. Whether there was one.
    fn forget_names(&mut self) -> bool {
        let Some(item) = self.items.iter_mut().find(|item| item.entry.names() > 0) else { return false };
        self.names -= item.entry.names();
        item.entry.forget_names();
        true
    }

    /// The items that are whole, oldest first.
    fn places(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.items.iter().enumerate().filter(|(_, item)| item.state.is_some()).map(|(place, _)| place)
    }

    /// Of those that are neither recent nor the oldest nor from before a loss, the one whose neighbours lie closest together
    /// for its age.
    fn most_crowded(&self) -> Option<usize> {
        let places: Vec<usize> = self.places().collect();
        let at = |place: usize| self.items[place].entry.millis;
        let now = at(*places.last()?);
        let room = |three: &&[usize]| {
            let between = at(three[2]).saturating_sub(at(three[0]));
            let age = now.saturating_sub(at(three[1])).max(1);
            // In thousandths, so that whole numbers can be compared.
            u128::from(between) * 1_000 / u128::from(age)
        };
        let before_loss = self.before_loss();
        let old = places[..places.len().saturating_sub(RECENT)].windows(3);
        old.filter(|three| Some(three[1]) != before_loss).min_by_key(room).map(|three| three[1])
    }

    fn forget_state(&mut self, place: usize) {
        if self.items[place].state.take().is_some() {
            self.whole -= 1;
            self.hold(Some(place), 0);
            self.weigh_before(place);
        }
    }

    /// What the one before that place is held for, now that another is the next.
    fn weigh_before(&mut self, place: usize) {
        let before = (0..place).rev().find(|place| self.items[*place].state.is_some());
        let next = self.items.range(place..).find_map(|item| item.state.as_ref());
        let bytes = before.zip(next).map_or(0, |(before, next)| weigh(self.items[before].state.as_ref(), next).0);
        self.hold(before, bytes);
    }

    fn hold(&mut self, place: Option<usize>, bytes: usize) {
        if let Some(item) = place.and_then(|place| self.items.get_mut(place)) {
            self.bytes = self.bytes - item.bytes + bytes;
            item.bytes = bytes;
        }
    }
}

/// What only the one has and what only the other has, by estimate of bytes.
fn weigh(before: Option<&State>, after: &State) -> (usize, usize) {
    let labels = |labels: &Labels| labels.iter().map(|(k, v): (&Text, &Text)| k.len() + v.len() + 64).sum::<usize>();
    let size = |service: &PublishedService| {
        SERVICE + service.endpoints.iter().map(|endpoint| 200 + labels(&endpoint.labels)).sum::<usize>()
    };
    let nothing = Services::default();
    let before = before.map_or(&nothing, |state| &state.services);
    before.diff(&after.services).fold((0, 0), |(gone, come), item| match item {
        DiffItem::Add(_, new) => (gone, come + size(new)),
        DiffItem::Remove(_, old) => (gone + size(old), come),
        DiffItem::Update { old: (_, old), new: (_, new) } => (gone + size(old), come + size(new)),
    })
}
