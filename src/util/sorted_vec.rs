//! Sets and maps of very few members, of which there are tens of thousands: sorted vectors without spare room. The
//! smallest node of a B-tree has room for eleven.

use std::borrow::Borrow;

/// A set as a sorted vector; inserting is slow for many members.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortedSet<T>(Vec<T>);

impl<T: Ord> SortedSet<T> {
    /// The smallest member; `None` of an empty set.
    pub fn first(&self) -> Option<&T> {
        self.0.first()
    }

    /// All members, from the smallest to the largest.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True without any member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Looks for a member by binary search.
    pub fn contains(&self, member: &T) -> bool {
        self.0.binary_search(member).is_ok()
    }

    /// Adds a member; `false` if it was there.
    pub fn insert(&mut self, member: T) -> bool {
        let Err(at) = self.0.binary_search(&member) else { return false };
        self.0.reserve_exact(1);
        self.0.insert(at, member);
        true
    }

    /// Removes a member; `false` if it was not there.
    pub fn remove(&mut self, member: &T) -> bool {
        self.0.binary_search(member).map(|at| self.0.remove(at)).is_ok()
    }
}

impl<T> Default for SortedSet<T> {
    fn default() -> Self {
        SortedSet(Vec::new())
    }
}

impl<T: Ord> FromIterator<T> for SortedSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(members: I) -> Self {
        let mut members: Vec<T> = members.into_iter().collect();
        members.sort();
        members.dedup();
        members.shrink_to_fit();
        SortedSet(members)
    }
}

impl<T> IntoIterator for SortedSet<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a SortedSet<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// A map as a vector sorted by key; inserting is slow for many entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortedMap<K, V>(Vec<(K, V)>);

impl<K: Ord, V> SortedMap<K, V> {
    /// All entries, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// True without any member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key; `None` if it is not there.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|at| &self.0[at].1)
    }

    /// All values, mutable, in the order of the keys.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// The value of a key, mutable; `None` if it is not there.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|at| &mut self.0[at].1)
    }

    /// Sets the value of a key, and returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(known, _)| known.borrow().cmp(key))
    }
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        SortedMap(Vec::new())
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = SortedMap::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn they_are_what_b_trees_are(steps in prop::collection::vec((any::<bool>(), 0u8..12), 0..60)) {
            let (mut set, mut model) = (SortedSet::default(), BTreeSet::new());
            let (mut map, mut pairs) = (SortedMap::default(), BTreeMap::new());
            for (at, (add, member)) in steps.into_iter().enumerate() {
                if add {
                    prop_assert_eq!(set.insert(member), model.insert(member));
                    prop_assert_eq!(map.insert(member, at), pairs.insert(member, at));
                } else {
                    prop_assert_eq!(set.remove(&member), model.remove(&member));
                }
                prop_assert_eq!(set.contains(&member), model.contains(&member));
                prop_assert_eq!(map.get(&member), pairs.get(&member));
            }
            prop_assert!(set.iter().eq(model.iter()) && set.first() == model.first() && set.len() == model.len());
            prop_assert!(map.iter().eq(pairs.iter()) && map.keys().eq(pairs.keys()));
            prop_assert_eq!(set, model.into_iter().rev().collect());
            prop_assert_eq!(map, pairs.into_iter().rev().collect());
        }
    }
}
