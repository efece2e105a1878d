//! Metadata: texts by key, in order.

use super::Text;
use std::{
    collections::{BTreeMap, btree_map},
    fmt,
    hash::{Hash, Hasher},
    ops::{Deref, DerefMut},
    sync::Arc,
};

/// The label that says in which cluster of its registry an instance is.
pub const CLUSTER: &str = "cluster";
/// The label used instead of [`CLUSTER`] where the instance has a label of that name itself.
pub const OTHER_CLUSTER: &str = "nacos.cluster";

/// Metadata of a service or an endpoint, whole and in order. It reads and changes as the map that it is.
///
/// Of 100,000 instances most say what their neighbours say, and each is kept as its registry has it and as it is
/// published: so a clone is the same map, until one of them is changed.
#[derive(Clone, Default)]
pub struct Labels(Option<Arc<BTreeMap<Text, Text>>>);

static NONE: BTreeMap<Text, Text> = BTreeMap::new();

impl Labels {
    /// No labels; takes no memory.
    pub const fn new() -> Self {
        Labels(None)
    }

    /// Shares the map of another, if both are equal. `false` if they are not.
    pub(super) fn share(&mut self, other: &Labels) -> bool {
        let equal = self == other;
        if equal {
            *self = other.clone();
        }
        equal
    }
}

impl Deref for Labels {
    type Target = BTreeMap<Text, Text>;

    fn deref(&self) -> &Self::Target {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for Labels {
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl From<BTreeMap<Text, Text>> for Labels {
    fn from(map: BTreeMap<Text, Text>) -> Self {
        Labels((!map.is_empty()).then(|| Arc::new(map)))
    }
}

impl<const N: usize> From<[(Text, Text); N]> for Labels {
    fn from(pairs: [(Text, Text); N]) -> Self {
        BTreeMap::from(pairs).into()
    }
}

impl FromIterator<(Text, Text)> for Labels {
    fn from_iter<I: IntoIterator<Item = (Text, Text)>>(pairs: I) -> Self {
        BTreeMap::from_iter(pairs).into()
    }
}

impl IntoIterator for Labels {
    type Item = (Text, Text);
    type IntoIter = btree_map::IntoIter<Text, Text>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map(Arc::unwrap_or_clone).unwrap_or_default().into_iter()
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a Text, &'a Text);
    type IntoIter = btree_map::Iter<'a, Text, Text>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b)| Arc::ptr_eq(a, b);
        self.0.as_ref().zip(other.0.as_ref()).is_some_and(same) || **self == **other
    }
}

impl Eq for Labels {}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_shared_until_it_is_changed_and_an_equal_one_once_it_is_told() {
        let labels = Labels::from([("a".into(), "1".into())]);
        let mut other = labels.clone();
        assert!(std::ptr::eq(&*labels, &*other));
        other.insert("a".into(), "2".into());
        assert_eq!((&*labels["a"], &*other["a"]), ("1", "2"));
        assert!(!other.share(&labels));
        other.insert("a".into(), "1".into());
        assert!(!std::ptr::eq(&*labels, &*other) && other.share(&labels) && std::ptr::eq(&*labels, &*other));
    }

    #[test]
    fn none_is_none_however_it_came_about() {
        let mut emptied = Labels::from([("a".into(), "1".into())]);
        emptied.remove("a");
        assert_eq!(emptied, Labels::new());
        assert_eq!(emptied.cmp(&Labels::new()), std::cmp::Ordering::Equal);
    }
}
