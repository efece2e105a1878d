//! Whom to read again: what the lists of names, checks and nodes say now, beside what they said before. Pure.
//!
//! Consul tells that something has changed in a list, not what. From two states of the checks and of the nodes it follows
//! exactly: each has all that is said of it. The list of names has the tags of a service and nothing of its instances, but
//! its index grows with every change of any instance: what its two states do not explain may be anywhere, so then
//! everything is looked at once ([`Whom::all`]), what names explain before the rest.

use super::wire::{Checks, Names, Nodes};
use crate::model::Text;
use std::collections::{BTreeMap, BTreeSet};

/// The services that have an instance on each node.
pub(super) type OnNodes<'a> = BTreeMap<&'a Text, Vec<&'a Text>>;

/// The services to be read again after a list has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Whom {
    /// Services to be read again, by name.
    pub(super) services: BTreeSet<Text>,
    /// What changed may concern any service, so all are to be read again.
    pub(super) all: bool,
}

impl Whom {
    /// Services came, went, or have other tags; any instance may have changed, too.
    pub(super) fn names(before: &Names, after: &Names) -> Whom {
        Whom { services: differing(before, after).cloned().collect(), all: true }
    }

    /// Checks came, went, or changed; those of a node concern every service that is there.
    pub(super) fn checks(before: &Checks, after: &Checks, there: &OnNodes<'_>) -> Whom {
        let (mut whom, mut nodes) = (Whom::default(), BTreeSet::new());
        for key in differing(before, after) {
            for check in [before.get(key), after.get(key)].into_iter().flatten() {
                match check.service.is_empty() {
                    true => drop(nodes.insert(&key.0)),
                    false => drop(whom.services.insert(check.service.clone())),
                }
            }
        }
        whom.services.extend(on(nodes, there));
        whom
    }

    /// Nodes came, went, or changed.
    pub(super) fn nodes(before: &Nodes, after: &Nodes, there: &OnNodes<'_>) -> Whom {
        Whom { services: on(differing(before, after), there).collect(), all: false }
    }

    /// Adds what another list says.
    pub(super) fn and(&mut self, other: Whom) {
        self.services.extend(other.services);
        self.all |= other.all;
    }
}

/// The services that have an instance on one of these nodes.
fn on<'a>(nodes: impl IntoIterator<Item = &'a Text>, there: &OnNodes<'_>) -> impl Iterator<Item = Text> {
    nodes.into_iter().filter_map(|node| there.get(node)).flatten().map(|service| (*service).clone())
}

/// The keys that only one of the maps has, or that have another value in each.
fn differing<'a, K: Ord, V: PartialEq>(
    before: &'a BTreeMap<K, V>,
    after: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let other = after.iter().filter(|(key, value)| before.get(*key) != Some(*value)).map(|(key, _)| key);
    gone.chain(other)
}
