//! Pages of long lists.

use serde::Deserialize;

/// The most items of one page.
const MAX_ITEMS: usize = 10_000;

/// How many items a page has by default.
const ITEMS: usize = 1_000;

/// How many items a page may have (`limit`): 1 to 10,000, 1,000 by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub(in crate::admin) struct Limit(usize);

impl Default for Limit {
    fn default() -> Self {
        Limit(ITEMS)
    }
}

impl TryFrom<usize> for Limit {
    type Error = String;

    fn try_from(items: usize) -> Result<Self, String> {
        match items {
            1..=MAX_ITEMS => Ok(Limit(items)),
            _ => Err(format!("`limit` is from 1 to {MAX_ITEMS}; ask for the rest with `continue`")),
        }
    }
}

/// One page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::admin) struct Page<T> {
    pub(in crate::admin) items: Vec<T>,
    /// How many items the list has, with those of other pages.
    pub(in crate::admin) total: usize,
    /// Whether items follow behind this page.
    pub(in crate::admin) more: bool,
}

impl<T> Page<T> {
    /// The page of an ordered list that begins behind the items that are `before` it, and leaves `offset` more out.
    pub(super) fn of(
        list: impl Iterator<Item = T>,
        before: impl Fn(&T) -> bool,
        offset: usize,
        Limit(limit): Limit,
    ) -> Self {
        let (mut page, mut skipped) = (Page { items: Vec::new(), total: 0, more: false }, 0);
        for item in list {
            page.total += 1;
            if before(&item) {
                continue;
            }
            if skipped < offset {
                skipped += 1;
            } else if page.items.len() < limit {
                page.items.push(item);
            } else {
                page.more = true;
            }
        }
        page
    }

    /// The token for the next page, made from the last item of this one; `None`: this one is the last.
    pub(super) fn next(&self, token: impl Fn(&T) -> String) -> Option<String> {
        self.items.last().filter(|_| self.more).map(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let page = |after: Option<i32>, offset, limit| {
            Page::of(0..10, move |item| after.is_some_and(|after| *item <= after), offset, Limit(limit))
        };
        assert_eq!(page(None, 0, 4), Page { items: vec![0, 1, 2, 3], total: 10, more: true });
        assert_eq!(page(Some(3), 0, 4).items, [4, 5, 6, 7]);
        assert_eq!(page(Some(7), 0, 4), Page { items: vec![8, 9], total: 10, more: false });
        assert_eq!(page(None, 8, 2), Page { items: vec![8, 9], total: 10, more: false });
        assert_eq!(page(None, 0, 4).next(ToString::to_string).as_deref(), Some("3"));
        assert_eq!(page(Some(7), 0, 4).next(ToString::to_string), None);
    }

    #[test]
    fn a_limit_is_neither_nothing_nor_everything() {
        assert!(Limit::try_from(0).is_err() && Limit::try_from(MAX_ITEMS + 1).is_err());
        assert_eq!(Limit::try_from(1), Ok(Limit(1)));
    }
}
