//! Sets of names and versions as clients send them, shared by all streams that sent the same.
//!
//! Thousands of streams subscribe to the same thousands of names, and repeat them with every acknowledgement. The
//! [`Interner`] keeps one set for all of them. It holds them weakly: a set lives as long as a subscription does that has it.
//! What all of them together cost is counted once, however many streams share them.

use super::fields::{Fields, Malformed};
use crate::{
    resource::{Name, name_hash, parse_version},
    util::lock::lock,
};
use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

/// Longest name of a resource that is accepted, in bytes.
pub const LONGEST_NAME: usize = 1024;
/// What an entry of a set or map costs beside its name, about.
const ENTRY: usize = 48;

/// A list of names as it came over the wire, and what it means.
#[derive(Debug)]
pub struct Names {
    /// The bytes: a run of length-delimited fields, each one name.
    pub raw: Bytes,
    /// The names, but for `*`.
    pub set: OrdSet<Name>,
    /// Whether `*` is among them.
    pub star: bool,
    /// The sum of [`name_hash`] over the set.
    pub digest: u64,
    cost: Cost,
}

/// Bytes that a shared value holds; counted in the interner's sum while it lives.
#[derive(Debug, Default)]
struct Cost {
    bytes: usize,
    sum: Arc<AtomicUsize>,
}

impl Cost {
    fn new(bytes: usize, sum: &Arc<AtomicUsize>) -> Self {
        sum.fetch_add(bytes, Ordering::Relaxed);
        Cost { bytes, sum: sum.clone() }
    }
}

impl Drop for Cost {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why a list of names is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamesError {
    /// The bytes are no field of protobuf.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A name is not UTF-8.
    #[error("a resource name is not UTF-8")]
    NotText,
    /// The list has more names than a stream may have.
    #[error("a subscription of more than {limit} names; raise xds.limits.names_per_stream, or subscribe to fewer")]
    TooMany {
        /// How many are accepted.
        limit: usize,
    },
    /// A name of more than 1,024 bytes.
    #[error("a resource name of {length} bytes; at most {LONGEST_NAME} are accepted")]
    Long {
        /// How long it is, in bytes.
        length: usize,
    },
}

impl Names {
    /// An empty name is passed over: it names nothing, and the list is not the wildcard either.
    fn read(
        raw: &[u8],
        limit: usize,
        known: impl Fn(&str) -> Option<Name>,
        sum: &Arc<AtomicUsize>,
    ) -> Result<Names, NamesError> {
        let (mut list, mut fields, mut star) = (Vec::new(), Fields::new(raw), false);
        let mut own = 0;
        while let Some((_, name)) = fields.next()? {
            if name.len() > LONGEST_NAME {
                return Err(NamesError::Long { length: name.len() });
            }
            match str::from_utf8(name).map_err(|_| NamesError::NotText)? {
                "" => {}
                "*" => star = true,
                _ if list.len() == limit => return Err(NamesError::TooMany { limit }),
                name => list.push(known(name).unwrap_or_else(|| {
                    own += name.len();
                    name.into()
                })),
            }
        }
        let set: OrdSet<Name> = list.into_iter().collect();
        let digest = set.iter().fold(0, |sum: u64, name| sum.wrapping_add(name_hash(name.as_bytes())));
        let cost = Cost::new(raw.len() + own + ENTRY * set.len(), sum);
        Ok(Names { raw: Bytes::copy_from_slice(raw), set, star, digest, cost })
    }

    /// Memory that it holds, in bytes, about.
    pub fn cost(&self) -> usize {
        self.cost.bytes
    }
}

/// What a reconnecting client has: name and version of each resource.
#[derive(Debug, Default)]
pub struct Versions {
    /// Version of each resource, by name; 0 where it is not one of ours.
    pub map: OrdMap<Name, u64>,
    cost: Cost,
}

impl Versions {
    /// A map that a generation holds anyway, and so costs nothing.
    pub fn held(map: OrdMap<Name, u64>) -> Self {
        Versions { map, cost: Cost::default() }
    }

    /// Memory that it holds, in bytes, about.
    pub fn cost(&self) -> usize {
        self.cost.bytes
    }
}

/// Hands out one shared value for equal lists. See the module.
#[derive(Debug, Default)]
pub struct Interner {
    names: Mutex<Table<Names>>,
    versions: Mutex<Table<Versions>>,
    /// Keeps a client from choosing a list whose key another's has.
    secret: RandomState,
    /// Bytes that all live lists and maps hold.
    sum: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Table<T> {
    entries: HashMap<u128, Weak<T>>,
    sweep_at: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { entries: HashMap::new(), sweep_at: 1024 }
    }
}

impl<T> Table<T> {
    fn get(&self, key: u128) -> Option<Arc<T>> {
        self.entries.get(&key).and_then(Weak::upgrade)
    }

    fn insert(&mut self, key: u128, value: &Arc<T>) {
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, value| value.strong_count() > 0);
            self.sweep_at = 1024.max(self.entries.len() * 2);
        }
        self.entries.insert(key, Arc::downgrade(value));
    }
}

impl Interner {
    /// Bytes that all live lists and maps hold, each counted once. The number follows them.
    pub fn held(&self) -> Arc<AtomicUsize> {
        self.sum.clone()
    }

    /// The set of a list. `known` finds the name where it is held already; only its memory is at stake.
    ///
    /// # Errors
    /// If there are more names, or longer ones, than a stream may have.
    pub fn names(
        &self,
        raw: &[u8],
        limit: usize,
        known: impl Fn(&str) -> Option<Name>,
    ) -> Result<Arc<Names>, NamesError> {
        let key = xxh3_128(raw);
        // Compared without the lock: a list may have megabytes.
        let found = lock(&self.names).get(key);
        if let Some(names) = found.filter(|names| names.raw == raw && names.set.len() <= limit) {
            return Ok(names);
        }
        let names = Arc::new(Names::read(raw, limit, known, &self.sum)?);
        lock(&self.names).insert(key, &names);
        Ok(names)
    }

    /// The map of what a client has. The lists of two clients that have the same come in different orders, so the key is
    /// a sum. A version that is not one of ours becomes 0, which is as different from the current one as any other.
    pub fn versions(&self, has: &[(&[u8], &[u8])], known: impl Fn(&str) -> Option<Name>) -> Arc<Versions> {
        let seed = self.secret.hash_one(has.len());
        let key = has.iter().fold(0, |sum: u128, (name, version)| {
            let version = xxh3_128_with_seed(version, seed);
            sum.wrapping_add(xxh3_128_with_seed(name, seed ^ version as u64))
        });
        if let Some(versions) = lock(&self.versions).get(key) {
            return versions;
        }
        let mut own = 0;
        let entry = |(name, version): &(&[u8], &[u8])| {
            let name = str::from_utf8(name).ok()?;
            let name = known(name).unwrap_or_else(|| {
                own += name.len();
                name.into()
            });
            Some((name, parse_version(version).unwrap_or(0)))
        };
        let map: OrdMap<_, _> = has.iter().filter_map(entry).collect();
        let cost = Cost::new(own + ENTRY * map.len(), &self.sum);
        let versions = Arc::new(Versions { map, cost });
        lock(&self.versions).insert(key, &versions);
        versions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::put_field;

    fn raw(names: &[&str]) -> Vec<u8> {
        let mut raw = Vec::new();
        names.iter().for_each(|n| put_field(&mut raw, 3, n.as_bytes()));
        raw
    }

    #[test]
    fn equal_lists_are_one_set_and_twice_the_same_name_is_one() {
        let interner = Interner::default();
        let one = interner.names(&raw(&["a", "b", "a", "*"]), 9, |_| None).unwrap();
        let two = interner.names(&raw(&["a", "b", "a", "*"]), 9, |_| None).unwrap();
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!((one.set.iter().map(|n| &**n).collect::<Vec<_>>(), one.star), (vec!["a", "b"], true));
        let other = interner.names(&raw(&["b", "a"]), 9, |_| None).unwrap();
        assert_eq!((&other.set, other.digest), (&one.set, one.digest));
    }

    #[test]
    fn too_many_names_and_names_that_are_no_text_are_refused() {
        let interner = Interner::default();
        assert_eq!(interner.names(&raw(&["a", "b"]), 1, |_| None).unwrap_err(), NamesError::TooMany { limit: 1 });
        assert_eq!(interner.names(b"\x1a\x01\xff", 9, |_| None).unwrap_err(), NamesError::NotText);
        assert!(interner.names(&raw(&["a", "b"]), 2, |_| None).is_ok());
        assert!(interner.names(&raw(&["a", "b"]), 1, |_| None).is_err(), "a shared set is no way around the limit");
    }

    #[test]
    fn an_empty_name_is_passed_over_and_is_no_wildcard() {
        let names = Interner::default().names(&raw(&["", "a", ""]), 1, |_| None).unwrap();
        assert_eq!((names.set.iter().map(|n| &**n).collect::<Vec<_>>(), names.star), (vec!["a"], false));
        assert_eq!(
            Interner::default().names(&raw(&[&"x".repeat(1_025)]), 1, |_| None).unwrap_err(),
            NamesError::Long { length: 1_025 }
        );
    }

    #[test]
    fn what_lists_and_maps_hold_is_counted_once_and_while_they_live() {
        let interner = Interner::default();
        let held = || interner.held().load(Ordering::Relaxed);
        let one = interner.names(&raw(&["a", "b"]), 9, |_| None).unwrap();
        let two = interner.names(&raw(&["a", "b"]), 9, |_| None).unwrap();
        assert_eq!((held(), one.cost()), (6 + 2 + 2 * ENTRY, held()));
        let versions = interner.versions(&[(b"abc", b"1")], |_| None);
        assert_eq!(held(), one.cost() + 3 + ENTRY);
        drop((one, versions));
        assert_eq!(held(), two.cost());
        drop(two);
        assert_eq!(held(), 0);
    }

    #[test]
    fn what_clients_have_is_shared_in_whatever_order_it_comes() {
        let interner = Interner::default();
        let [a, b]: [(&[u8], &[u8]); 2] = [(b"a", b"0000000000000001"), (b"b", b"v2")];
        let one = interner.versions(&[a, b], |_| None);
        assert!(Arc::ptr_eq(&one, &interner.versions(&[b, a], |_| None)));
        assert_eq!(one.map, OrdMap::from_iter([(Name::from("a"), 1u64), (Name::from("b"), 0)]));
        assert!(!Arc::ptr_eq(&one, &interner.versions(&[a], |_| None)));
    }

    #[test]
    fn sets_that_nobody_has_any_more_are_forgotten() {
        let interner = Interner::default();
        for i in 0..5_000 {
            interner.names(&raw(&[&format!("{i}")]), 9, |_| None).unwrap();
        }
        assert!(lock(&interner.names).entries.len() <= 1024);
    }
}
