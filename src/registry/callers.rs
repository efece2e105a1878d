//! What the consumers of a registry say, place by place, as it was last reported. A place that cannot be read keeps its
//! last value, and an equal value keeps its `Arc`.

use crate::model::{CallUpdate, Needs, Text};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

#[derive(Debug, Default)]
pub(super) struct Callers {
    known: BTreeMap<Text, Arc<Needs>>,
    /// Places whose last reading failed. Their entries in `known` stay as they are.
    unread: BTreeSet<Text>,
    /// Every place was read since the last [`Callers::fail`], so a change of one place can be told by itself.
    listed: bool,
}

impl Callers {
    /// Every place was read since the last failure, so a change of one place can be told by itself.
    #[cfg(any(test, feature = "zookeeper"))]
    pub(super) fn are_listed(&self) -> bool {
        self.listed
    }

    /// Some place is still to be read again, because it failed or because the last reading as a whole did.
    #[cfg(any(test, feature = "zookeeper"))]
    pub(super) fn are_lacking(&self) -> bool {
        !self.listed || !self.unread.is_empty()
    }

    /// What a place said last; `None` if it was never read, or was absent from the last list.
    pub(super) fn of(&self, place: &str) -> Option<&Arc<Needs>> {
        self.known.get(place)
    }

    /// What a place says. If it is equal to the last value, this is the same `Arc`.
    pub(super) fn same(&self, place: &str, said: Needs) -> Arc<Needs> {
        self.of(place).filter(|known| ***known == said).cloned().unwrap_or_else(|| Arc::new(said))
    }

    /// Takes a list: every place was read, except `unread`. Returns the update to send, or `None` if nothing has
    /// changed.
    pub(super) fn list(&mut self, read: BTreeMap<Text, Arc<Needs>>, unread: BTreeSet<Text>) -> Option<CallUpdate> {
        // What a list does not have is over, but what could not be read is as it was.
        let kept = self.known.iter().filter(|(place, _)| unread.contains(*place));
        let known: BTreeMap<_, _> =
            read.iter().chain(kept).map(|(place, said)| (place.clone(), said.clone())).collect();
        let same = self.listed && self.known == known;
        (self.known, self.unread, self.listed) = (known, unread.clone(), true);
        (!same).then_some(CallUpdate::Listed(read, unread))
    }

    /// Takes one place, with `None` if it could not be read. Returns the update to send, or `None` if nothing has
    /// changed.
    #[cfg(any(test, feature = "zookeeper"))]
    pub(super) fn change(&mut self, place: Text, said: Option<Needs>) -> Option<CallUpdate> {
        let Some(said) = said else {
            self.unread.insert(place);
            return None;
        };
        self.unread.remove(&place);
        let said = self.same(&place, said);
        let before = self.known.insert(place.clone(), said.clone());
        before.is_none_or(|before| !Arc::ptr_eq(&before, &said)).then_some(CallUpdate::Applied(place, said))
    }

    /// Takes a failure of the whole registry, and returns the update to send.
    pub(super) fn fail(&mut self, why: Text) -> CallUpdate {
        self.listed = false;
        CallUpdate::Failed(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Need;

    fn said(application: &str) -> Needs {
        let need = Need { interface: "a.A".into(), group: Text::default(), version: Text::default() };
        Needs { needs: BTreeMap::from([(application.into(), BTreeSet::from([need]))]), notes: Vec::new() }
    }

    /// As it is told: each place with its applications, then those that could not be read.
    fn shown(update: Option<CallUpdate>) -> String {
        let one = |(place, said): (&Text, &Arc<Needs>)| {
            let names: Vec<&str> = said.needs.keys().map(|name| &**name).collect();
            format!("{place}: {}", names.join(" "))
        };
        match update {
            None => "nothing".into(),
            Some(CallUpdate::Failed(why)) => format!("failed: {why}"),
            Some(CallUpdate::Applied(place, said)) => one((&place, &said)),
            Some(CallUpdate::Listed(read, unread)) => {
                let unread = unread.iter().map(|place| format!("{place}?"));
                read.iter().map(one).chain(unread).collect::<Vec<_>>().join(", ")
            }
        }
    }

    #[test]
    fn what_is_as_it_was_is_told_once_and_what_cannot_be_read_stays() {
        let mut callers = Callers::default();
        assert!(callers.are_lacking() && !callers.are_listed());
        let list = |callers: &mut Callers, places: &[(&str, &str)], unread: &[&str]| {
            let read = places.iter().map(|(place, by)| (Text::from(*place), callers.same(place, said(by))));
            let read: BTreeMap<_, _> = read.collect();
            shown(callers.list(read, unread.iter().map(|place| Text::from(*place)).collect()))
        };
        let both = [("a", "cart"), ("b", "shop")];
        assert_eq!(list(&mut callers, &both, &[]), "a: cart, b: shop");
        assert_eq!(list(&mut callers, &both, &[]), "nothing");
        assert_eq!(shown(callers.change("a".into(), Some(said("cart")))), "nothing");
        assert_eq!(shown(callers.change("a".into(), Some(said("late")))), "a: late");
        assert_eq!(shown(callers.change("b".into(), None)), "nothing");
        assert!(callers.are_lacking() && callers.are_listed());
        assert_eq!(list(&mut callers, &[("a", "late")], &["b"]), "nothing");
        assert_eq!(shown(callers.change("b".into(), Some(said("shop")))), "nothing", "it is as it was told");
        assert!(!callers.are_lacking());
        assert_eq!(list(&mut callers, &[("b", "shop")], &[]), "b: shop");
        assert_eq!(callers.of("a"), None);
        assert_eq!(shown(Some(callers.fail("lost".into()))), "failed: lost");
        assert_eq!(list(&mut callers, &[("b", "shop")], &[]), "b: shop", "after a failure all is told");
    }
}
