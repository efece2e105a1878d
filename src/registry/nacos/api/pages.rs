//! Lists that come page by page.
//!
//! **The end of a list is an empty page, or one that brings nothing new.** No single figure is: Nacos 2.0 counts what stands on
//! the page and says that it is all, and a page may be shorter than was asked for.
//!
//! **A list is whole or an error.** Paging is no snapshot: an entry may move to a page that was read already. Then an entry
//! stands twice, or the server counts more than came: all is read once more, and the two readings are put together. If the
//! server still counts more, the list is not whole, and an error says so.

use super::budget::Budget;
use crate::registry::nacos::error::Error;
use std::collections::BTreeMap;

#[derive(Debug)]
pub(crate) struct Page<K, V> {
    /// The entries of the page; one may stand there several times.
    pub(crate) entries: Vec<(K, V)>,
    /// How many there are in all, if the server says it. Some servers count the entries of the page.
    pub(crate) total: Option<usize>,
    pub(crate) size: Size,
}

/// What a page costs of the budget.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    /// Bytes of the answer in which the page came.
    pub(crate) bytes: usize,
    /// What counts besides the entries, such as the instances of services.
    pub(crate) parts: usize,
}

/// The value of an entry in a list.
pub(crate) trait Value {
    /// `false` if a readable value of the same key replaces it.
    fn is_readable(&self) -> bool {
        true
    }
}

impl Value for () {}

/// A list that is read page by page, and what may be read of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List<'a> {
    /// What the entries are, for messages, such as `services`.
    pub(crate) what: &'static str,
    pub(crate) path: &'static str,
    pub(crate) budget: &'a Budget,
}

/// One reading of all pages.
struct Reading<K, V> {
    entries: BTreeMap<K, V>,
    /// How many entries stood on the pages; one that stood on two counts twice.
    shown: usize,
    /// The largest number that the server has counted.
    total: usize,
}

impl List<'_> {
    /// Reads the whole list. `page` gives one page, counted from 1.
    ///
    /// # Errors
    /// If a page cannot be read, if the list is not whole, or if it goes beyond the budget.
    pub(crate) async fn whole<K, V, F, A>(&self, page: F) -> Result<BTreeMap<K, V>, Error>
    where
        K: Ord,
        V: Value,
        F: Fn(usize) -> A,
        A: Future<Output = Result<Page<K, V>, Error>>,
    {
        let mut reading = self.read(&page).await?;
        if reading.is_torn() {
            let again = self.read(&page).await?;
            reading.total = reading.total.min(again.total);
            again.entries.into_iter().for_each(|(key, value)| reading.add(key, value));
        }
        let (listed, total) = (reading.entries.len(), reading.total);
        if listed < total {
            return Err(Error::Incomplete { what: self.what, path: self.path, listed, total });
        }
        Ok(reading.entries)
    }

    /// Reads the list once, even if its pages do not fit together.
    ///
    /// # Errors
    /// If a page cannot be read, or if the list goes beyond the budget.
    pub(crate) async fn once<K, V, F, A>(&self, page: F) -> Result<BTreeMap<K, V>, Error>
    where
        K: Ord,
        V: Value,
        F: Fn(usize) -> A,
        A: Future<Output = Result<Page<K, V>, Error>>,
    {
        Ok(self.read(&page).await?.entries)
    }

    async fn read<K, V, F, A>(&self, page: &F) -> Result<Reading<K, V>, Error>
    where
        K: Ord,
        V: Value,
        F: Fn(usize) -> A,
        A: Future<Output = Result<Page<K, V>, Error>>,
    {
        let mut reading = Reading { entries: BTreeMap::new(), shown: 0, total: 0 };
        let mut number = 1;
        loop {
            let Page { entries, total, size } = page(number).await?;
            self.budget.take(self.what, entries.len() + size.parts, size.bytes)?;
            let before = reading.entries.len();
            reading.shown += entries.len();
            reading.total = reading.total.max(total.unwrap_or_default());
            entries.into_iter().for_each(|(key, value)| reading.add(key, value));
            if reading.entries.len() == before {
                return Ok(reading);
            }
            number += 1;
        }
    }
}

impl<K: Ord, V: Value> Reading<K, V> {
    fn add(&mut self, key: K, value: V) {
        if value.is_readable() || !self.entries.contains_key(&key) {
            self.entries.insert(key, value);
        }
    }

    /// True if something has moved between two pages.
    fn is_torn(&self) -> bool {
        self.shown != self.entries.len() || self.total > self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::budget::Limits, *};
    use std::{cell::Cell, time::Duration};

    const WIDE: Limits = Limits { entries: 100, bytes: 1000, time: Duration::from_secs(60) };

    /// The list that these pages make, each with what the server counts; after the last ones come empty ones. And how many
    /// pages were asked for.
    async fn list(readings: &[&[(&[u32], Option<usize>)]], limits: Limits) -> (Result<Vec<u32>, String>, usize) {
        let (asked, reading) = (Cell::new(0), Cell::new(usize::MAX));
        let page = |number: usize| {
            asked.set(asked.get() + 1);
            if number == 1 {
                reading.set(reading.get().wrapping_add(1));
            }
            let pages = readings[reading.get().min(readings.len() - 1)];
            let (names, total) = pages.get(number - 1).copied().unwrap_or((&[], pages.last().and_then(|p| p.1)));
            let entries = names.iter().map(|name| (*name, ())).collect();
            async move { Ok(Page { entries, total, size: Size { bytes: 10, parts: 0 } }) }
        };
        let list = List { what: "services", path: "/list", budget: &Budget::new(limits) };
        let outcome = list.whole(page).await;
        (outcome.map(|entries| entries.into_keys().collect()).map_err(|error| error.to_string()), asked.get())
    }

    #[tokio::test]
    async fn no_single_figure_is_the_end() {
        for (pages, expected, asked) in [
            // Nacos 2.0 counts the page.
            (&[(&[1, 2, 3][..], Some(3)), (&[4, 5, 6], Some(3)), (&[7], Some(1))][..], 7, 4),
            // Pages that are shorter than they might be.
            (&[(&[1, 2], None), (&[3], None), (&[4, 5], None)], 5, 4),
            // The server does not turn pages: the second reading proves nothing more.
            (&[(&[1, 2], Some(2)), (&[1, 2], Some(2))], 2, 4),
            (&[], 0, 1),
        ] {
            let (list, pages_asked) = list(&[pages], WIDE).await;
            assert_eq!((list.unwrap(), pages_asked), ((1..=expected).collect(), asked), "{pages:?}");
        }
    }

    #[tokio::test]
    async fn what_moves_between_pages_is_found_by_a_second_reading() {
        let torn = &[(&[1, 2][..], Some(4)), (&[4], Some(4))][..];
        let whole = &[(&[1, 2][..], Some(4)), (&[3, 4], Some(4))][..];
        assert_eq!(list(&[torn, whole], WIDE).await.0, Ok(vec![1, 2, 3, 4]));
        let error = list(&[torn], WIDE).await.0.unwrap_err();
        assert!(error.contains("shows 3 services where it counts 4"), "{error}");
    }

    #[tokio::test]
    async fn a_list_that_never_ends_costs_no_more_than_its_budget() {
        let pages: Vec<[u32; 2]> = (0..400).map(|n| [2 * n, 2 * n + 1]).collect();
        let pages: Vec<(&[u32], Option<usize>)> = pages.iter().map(|page| (&page[..], None)).collect();
        for (limits, expected, most) in [
            (Limits { entries: 20, ..WIDE }, "20 entries", 11),
            (Limits { entries: 10_000, bytes: 100, ..WIDE }, "100 bytes", 11),
            (Limits { entries: 10_000, bytes: 100_000, time: Duration::ZERO }, "0 s in", 1),
        ] {
            let (list, asked) = list(&[&pages], limits).await;
            let error = list.unwrap_err();
            assert!(error.contains(expected) && asked <= most, "{error} {asked}");
        }
    }

    #[test]
    fn what_is_readable_goes_before_what_is_not() {
        #[derive(Debug, PartialEq)]
        struct Text(bool, u32);
        impl Value for Text {
            fn is_readable(&self) -> bool {
                self.0
            }
        }
        let mut reading = Reading { entries: BTreeMap::new(), shown: 0, total: 0 };
        for value in [Text(false, 1), Text(true, 2), Text(false, 3)] {
            reading.add("a", value);
        }
        assert_eq!(reading.entries["a"], Text(true, 2));
    }
}
