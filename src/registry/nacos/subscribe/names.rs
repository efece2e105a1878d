//! Which services there are, as the server reports it by fuzzy watch (Nacos 3): patterns of ours, and the names that it has
//! sent for each. Pure; [`super::pending`] holds it.
//!
//! A watch is *whole* while every new service is reported: the server has taken it, has sent all names that there were, and
//! has room for more. It stops without a word at its limit (500 names for each pattern, by default), and says so only when
//! it is asked: so it is asked again after names were added.
//!
//! In 3.1.0 a pattern is `NAMESPACE>>GROUP>>NAME` with `*` at the beginning or the end of a part. By its sources 20 patterns
//! are taken of all clients together, and equal ones count once; names come in tens. Measured: a new service is named, read
//! and published 70 ms to 1.2 s after it was registered.

use crate::model::Text;
use std::collections::{BTreeMap, BTreeSet};

/// The most patterns for one namespace. With more groups all are watched, as the server takes few patterns.
const MAX_GROUPS: usize = 4;
/// The most names that are kept for a pattern. A server that sends more counts as full.
const MAX_KEYS: usize = 10_000;

/// The answer of a server to a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The list of names is followed.
    Taken,
    /// The server's limits are reached, of names or of patterns: no more are sent.
    Full,
    /// The server does not take it.
    Refused,
}

/// What has happened to the service of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Deleted,
}

/// The watches of one connection, by pattern.
#[derive(Debug, Default)]
pub(crate) struct Names {
    watches: BTreeMap<Text, Watch>,
}

#[derive(Debug)]
struct Watch {
    /// The last answer of the server; `None` before the first.
    answer: Option<Answer>,
    /// The server has sent all names that there were.
    complete: bool,
    /// Names have come since the server was last asked whether it has room.
    grown: bool,
    keys: BTreeSet<Text>,
}

impl Names {
    /// True if every new service of these patterns is reported.
    pub(crate) fn cover(&self, patterns: &BTreeSet<Text>) -> bool {
        let whole =
            |watch: &Watch| watch.answer == Some(Answer::Taken) && watch.complete && watch.keys.len() < MAX_KEYS;
        !patterns.is_empty() && patterns.iter().all(|pattern| self.watches.get(pattern).is_some_and(whole))
    }

    /// The patterns that the server was asked for.
    pub(crate) fn watched(&self) -> impl Iterator<Item = &Text> {
        self.watches.keys()
    }

    /// The names that the server has sent for a pattern.
    pub(crate) fn keys(&self, pattern: &Text) -> Vec<Text> {
        self.watches.get(pattern).into_iter().flat_map(|watch| &watch.keys).cloned().collect()
    }

    /// True if the server is to be asked if it has room for more names.
    pub(crate) fn has_grown(&self, pattern: &Text) -> bool {
        self.watches.get(pattern).is_some_and(|watch| watch.grown && watch.answer == Some(Answer::Taken))
    }

    /// Notes that a pattern is about to be asked for: names may come before the answer does.
    pub(crate) fn ask(&mut self, pattern: &Text) {
        let fresh = || Watch { answer: None, complete: false, grown: false, keys: BTreeSet::new() };
        self.watches.entry(pattern.clone()).or_insert_with(fresh).grown = false;
    }

    /// Notes the answer of the server. `true` if it is another one than before.
    pub(crate) fn answer(&mut self, pattern: &Text, answer: Answer) -> bool {
        let Some(watch) = self.watches.get_mut(pattern) else { return false };
        watch.answer.replace(answer) != Some(answer)
    }

    /// Forgets a pattern that is not watched any more.
    pub(crate) fn leave(&mut self, pattern: &Text) {
        self.watches.remove(pattern);
    }

    /// Notes that the server has sent all names of a pattern.
    pub(crate) fn complete(&mut self, pattern: &str) {
        if let Some(watch) = self.watches.get_mut(pattern) {
            watch.complete = true;
        }
    }

    /// Notes a name that the server has sent; for one pattern, or without one for each that it fits.
    pub(crate) fn receive(&mut self, pattern: Option<&str>, key: &str, change: Change) {
        for (_, watch) in self.watches.iter_mut().filter(|(own, _)| match pattern {
            Some(pattern) => ***own == *pattern,
            None => fits(own, key),
        }) {
            match change {
                Change::Added if watch.keys.len() < MAX_KEYS => watch.grown |= watch.keys.insert(key.into()),
                Change::Added => {}
                Change::Deleted => drop(watch.keys.remove(key)),
            }
        }
    }
}

/// The patterns that show the services of a namespace. `groups` has our own patterns of groups; it is empty for all.
pub(crate) fn patterns(namespace: &str, groups: &BTreeSet<Text>) -> BTreeSet<Text> {
    let all = || BTreeSet::from(["*".into()]);
    let known = !groups.is_empty() && groups.len() <= MAX_GROUPS && groups.iter().all(|group| is_understood(group));
    let groups = if known { groups.clone() } else { all() };
    groups.iter().map(|group| format!("{namespace}>>{group}>>*").into()).collect()
}

/// True if Nacos takes a pattern of groups to mean what it means to us.
fn is_understood(group: &str) -> bool {
    let inner = group.strip_prefix('*').unwrap_or(group);
    let inner = inner.strip_suffix('*').unwrap_or(inner);
    !inner.contains(['*', '?', '>']) && !group.is_empty()
}

/// Namespace, group and service of a name; `None` if the name has another form.
pub(crate) fn parts(key: &str) -> Option<(&str, &str, &str)> {
    let (namespace, rest) = key.split_once("@@")?;
    let (group, name) = rest.split_once("@@")?;
    Some((namespace, group, name))
}

fn fits(pattern: &str, key: &str) -> bool {
    let (Some((namespace, group, _)), Some((own, rest))) = (parts(key), pattern.split_once(">>")) else { return false };
    let groups = rest.strip_suffix(">>*").unwrap_or(rest);
    own == namespace && wildmatch::WildMatch::new(groups).matches(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> BTreeSet<Text> {
        texts.iter().map(|text| Text::from(*text)).collect()
    }

    #[test]
    fn patterns_are_as_narrow_as_nacos_understands_them() {
        for (groups, expected) in [
            (&[][..], &["ns>>*>>*"][..]),
            (&["a", "shop-*", "*-x", "*m*"], &["ns>>a>>*", "ns>>shop-*>>*", "ns>>*-x>>*", "ns>>*m*>>*"]),
            (&["a*b"], &["ns>>*>>*"]),
            (&["a?"], &["ns>>*>>*"]),
            (&["a", "b", "c", "d", "e"], &["ns>>*>>*"]),
        ] {
            assert_eq!(patterns("ns", &set(groups)), set(expected), "{groups:?}");
        }
    }

    #[test]
    fn a_watch_covers_once_it_is_taken_and_complete_and_until_it_is_full() {
        let wanted = set(&["ns>>*>>*"]);
        let pattern = wanted.first().unwrap();
        let mut names = Names::default();
        assert!(!names.cover(&wanted) && !names.cover(&set(&[])));
        names.ask(pattern);
        names.receive(Some(pattern), "ns@@g@@a", Change::Added);
        names.complete(pattern);
        assert!(!names.cover(&wanted));
        assert!(names.answer(pattern, Answer::Taken));
        assert!(names.cover(&wanted) && !names.cover(&set(&["ns>>*>>*", "other>>*>>*"])));
        // The first names count, too: they may fill it.
        assert!(names.has_grown(pattern));
        names.ask(pattern);
        assert!(!names.answer(pattern, Answer::Taken) && !names.has_grown(pattern));
        names.receive(None, "ns@@g@@a", Change::Added);
        assert!(!names.has_grown(pattern));
        names.receive(None, "ns@@g@@b", Change::Added);
        assert!(names.has_grown(pattern));
        assert_eq!(names.keys(pattern), ["ns@@g@@a".into(), "ns@@g@@b".into()]);
        names.ask(pattern);
        assert!(names.answer(pattern, Answer::Full));
        assert!(!names.cover(&wanted) && !names.has_grown(pattern));
        names.receive(None, "ns@@g@@b", Change::Deleted);
        names.receive(None, "else@@g@@c", Change::Added);
        assert_eq!(names.keys(pattern).len(), 1);
        names.leave(pattern);
        assert_eq!(names.watched().count(), 0);
    }
}
