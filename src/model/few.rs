//! A list that nearly always has one item.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

/// A list that takes no allocation for one item, and no room to spare for more: every instance has its ports twice, as its
/// registry has them and as they are published, and nearly every one has a single port. It reads as the slice that it is.
#[derive(Clone)]
pub struct Few<T>(Inner<T>);

#[derive(Clone)]
enum Inner<T> {
    One(T),
    /// None, or more than one.
    Others(Box<[T]>),
}

impl<T> Few<T> {
    /// Adds an item at the end. All items move to new memory.
    pub fn push(&mut self, item: T) {
        let mut items = std::mem::take(self).into_vec();
        items.push(item);
        *self = items.into();
    }

    /// Keeps the items for which `holds` is true.
    pub fn retain(&mut self, holds: impl FnMut(&T) -> bool) {
        let mut items = std::mem::take(self).into_vec();
        items.retain(holds);
        *self = items.into();
    }

    fn into_vec(self) -> Vec<T> {
        match self.0 {
            Inner::One(item) => vec![item],
            Inner::Others(items) => items.into_vec(),
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Few(Inner::Others(Box::default()))
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(mut items: Vec<T>) -> Self {
        match items.pop() {
            Some(item) if items.is_empty() => Few(Inner::One(item)),
            last => {
                items.extend(last);
                Few(Inner::Others(items.into_boxed_slice()))
            }
        }
    }
}

impl<T, const N: usize> From<[T; N]> for Few<T> {
    fn from(items: [T; N]) -> Self {
        items.into_iter().collect()
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut items = items.into_iter();
        match (items.next(), items.next()) {
            (None, _) => Few::default(),
            (Some(one), None) => Few(Inner::One(one)),
            (Some(first), Some(second)) => [first, second].into_iter().chain(items).collect::<Vec<T>>().into(),
        }
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Inner::One(item) => std::slice::from_ref(item),
            Inner::Others(items) => items,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Inner::One(item) => std::slice::from_mut(item),
            Inner::Others(items) => items,
        }
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: PartialEq> PartialEq for Few<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Few<T> {}

impl<T: PartialOrd> PartialOrd for Few<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (**self).partial_cmp(&**other)
    }
}

impl<T: Ord> Ord for Few<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl<T: fmt::Debug> fmt::Debug for Few<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EndpointPort, Port, Text};

    #[test]
    fn it_is_what_a_vector_is_however_it_came_about() {
        for length in 0..4 {
            let items: Vec<u8> = (0..length).collect();
            let mut few = Few::from(items.clone());
            assert_eq!((&*few, few == items.iter().copied().collect()), (&*items, true));
            few.push(9);
            few.iter_mut().for_each(|item| *item += 1);
            assert_eq!(few.last(), Some(&10));
            few.retain(|item| *item != 10);
            assert!(few.iter().copied().eq(1..=length), "{few:?}");
        }
        assert!(Few::from([1, 2]) > Few::from([1]) && Few::from([2]) > Few::from([1, 2]));
    }

    #[test]
    fn it_takes_no_more_room_than_its_one() {
        assert_eq!(size_of::<Few<EndpointPort>>(), size_of::<EndpointPort>());
        assert_eq!(size_of::<Few<(Text, Port)>>(), size_of::<(Text, Port)>());
    }
}
