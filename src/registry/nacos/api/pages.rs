//! Lists that come page by page.
//!
//! Paging is no snapshot: an entry may move to a page that was read already. Then the count disagrees, or an entry stands
//! twice; all is read once more and the two readings are put together.

use crate::registry::nacos::error::Error;
use std::collections::BTreeMap;

/// More pages than this is a server that never ends.
pub(crate) const MAX_PAGES: usize = 10_000;

/// A page.
pub(crate) struct Page<K, V> {
    /// What of it is meant.
    pub(crate) entries: Vec<(K, V)>,
    /// How many entries stand on it.
    pub(crate) shown: usize,
    /// How many there are in all, as the server counts them.
    pub(crate) total: usize,
}

/// All pages, each once.
struct Reading<K, V> {
    entries: BTreeMap<K, V>,
    shown: usize,
    total: usize,
}

/// The list that `path` names, whole; `what` are its entries. `page` gives one page, counted from 1.
pub(crate) async fn whole<K, V, F, A, E>(what: &'static str, path: &'static str, page: F) -> Result<BTreeMap<K, V>, E>
where
    K: Ord,
    F: Fn(usize) -> A,
    A: Future<Output = Result<Page<K, V>, E>>,
    E: From<Error>,
{
    let Reading { mut entries, shown, mut total } = read(path, &page).await?;
    if entries.len() != total || shown != total {
        let again = read(path, &page).await?;
        entries.extend(again.entries);
        total = total.min(again.total);
    }
    if entries.len() < total {
        return Err(Error::Incomplete { what, path, listed: entries.len(), total }.into());
    }
    Ok(entries)
}

/// The same as its pages show it, whether they fit together or not.
pub(crate) async fn once<K, V, F, A, E>(path: &'static str, page: F) -> Result<BTreeMap<K, V>, E>
where
    K: Ord,
    F: Fn(usize) -> A,
    A: Future<Output = Result<Page<K, V>, E>>,
    E: From<Error>,
{
    read(path, &page).await.map(|reading| reading.entries)
}

async fn read<K, V, F, A, E>(path: &'static str, page: &F) -> Result<Reading<K, V>, E>
where
    K: Ord,
    F: Fn(usize) -> A,
    A: Future<Output = Result<Page<K, V>, E>>,
    E: From<Error>,
{
    let (mut entries, mut all) = (BTreeMap::new(), 0);
    for number in 1..=MAX_PAGES {
        let Page { entries: new, shown, total } = page(number).await?;
        let before = entries.len();
        all += shown;
        entries.extend(new);
        // A page that brings nothing new is one that was there before: the server does not turn pages.
        if all >= total || entries.len() == before {
            return Ok(Reading { entries, shown: all, total });
        }
    }
    Err(Error::Endless { path, pages: MAX_PAGES }.into())
}
