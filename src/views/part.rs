//! What of a view its client gets: all of it, or a part.
//!
//! A view is the configuration's choice; a part is made of what the client itself says. So a part costs no translation, claims
//! no name, and is gone with its last client: see `parts`.

use crate::model::{Labels, Locality, Text};
use std::sync::Arc;

/// What of a view a client gets. The default is all of it as it is. All who have an equal part share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Part {
    /// The services that it wants; `None`: all that the view has.
    pub wanted: Option<Arc<Wanted>>,
    /// Where it runs, if endpoints near it come first.
    pub locality: Option<Locality>,
    /// The cluster that it belongs to, if it asks for the endpoints of that.
    pub own: Option<Text>,
}

impl Part {
    /// Whether it is all of its view.
    pub fn is_whole(&self) -> bool {
        *self == Part::default()
    }
}

/// Which instances of a service are wanted; `None`: all.
pub type Pick = Option<Arc<Preference>>;

/// Services by name. Whatever order they came in, equal lists are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Wanted {
    /// Sorted by name, each name once.
    services: Box<[(Text, Pick)]>,
    /// Which instances of all services that are not named; `None`: these services are not wanted.
    rest: Option<Pick>,
}

/// Which instances of a service are preferred.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Preference {
    /// The label of instances that has their tags, with commas between them.
    pub label: Text,
    /// The tags in the order of preference: the first that any instance has decides.
    pub tags: Box<[Text]>,
    /// Whether all instances are taken where none has any of the tags; else none is.
    pub or_any: bool,
}

impl Wanted {
    /// These services; of two with one name the later counts. `rest` is for all that are not named.
    pub fn new(services: impl IntoIterator<Item = (Text, Pick)>, rest: Option<Pick>) -> Wanted {
        let mut services: Vec<(Text, Pick)> = services.into_iter().collect();
        // Stable: of equal names the last one stays last.
        services.sort_by(|(one, _), (other, _)| one.cmp(other));
        services.reverse();
        services.dedup_by(|(one, _), (other, _)| one == other);
        services.reverse();
        Wanted { services: services.into(), rest }
    }

    /// How many services are named.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// Whether none is wanted.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.rest.is_none()
    }

    /// Whether all services are wanted, named or not.
    pub fn has_all(&self) -> bool {
        self.rest.is_some()
    }

    /// Whether all services are wanted as they are.
    pub fn is_everything(&self) -> bool {
        self.rest == Some(None) && self.services.iter().all(|(_, pick)| pick.is_none())
    }

    /// The names of the services that are wanted by name, sorted.
    pub fn names(&self) -> impl Iterator<Item = &Text> {
        self.services.iter().map(|(name, _)| name)
    }

    /// Which instances are wanted of a service that has these names; `None`: it is not wanted. Of several names that are wanted
    /// the first decides.
    pub fn pick<'n>(&self, names: impl IntoIterator<Item = &'n Text>) -> Option<Pick> {
        let named = names.into_iter().find_map(|name| {
            let at = self.services.binary_search_by(|(known, _)| known.cmp(name)).ok()?;
            Some(self.services[at].1.clone())
        });
        named.or_else(|| self.rest.clone())
    }

    /// Memory in bytes, about, that it costs: its names, and what the part has of each service. A stream's account is
    /// charged with it.
    pub fn cost(&self) -> usize {
        const SERVICE: usize = 400;
        self.services.iter().map(|(name, _)| SERVICE + name.len()).sum::<usize>() + 4 * SERVICE
    }
}

/// Which instances a preference comes down to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chosen {
    All,
    Tagged { label: Text, tag: Text },
    None,
}

impl Chosen {
    /// Works it out for a service whose instances have these labels.
    pub(super) fn of<'l>(pick: &Pick, instances: impl Iterator<Item = &'l Labels> + Clone) -> Chosen {
        let Some(preference) = pick else { return Chosen::All };
        let label = &preference.label;
        for tag in &preference.tags {
            let mut having = instances.clone().map(|labels| has_tag(labels, label, tag));
            match (having.clone().any(|has| has), having.all(|has| has)) {
                (true, true) => return Chosen::All,
                (true, false) => return Chosen::Tagged { label: label.clone(), tag: tag.clone() },
                (false, _) => {}
            }
        }
        if preference.or_any { Chosen::All } else { Chosen::None }
    }

    /// Whether an instance with these labels is among them.
    pub(super) fn has(&self, labels: &Labels) -> bool {
        match self {
            Chosen::All => true,
            Chosen::Tagged { label, tag } => has_tag(labels, label, tag),
            Chosen::None => false,
        }
    }
}

fn has_tag(labels: &Labels, label: &Text, tag: &Text) -> bool {
    labels.get(label).is_some_and(|tags| tags.split(',').any(|one| one.trim() == &**tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preference(tags: &[&str], or_any: bool) -> Pick {
        let tags = tags.iter().map(|tag| Text::from(*tag)).collect();
        Some(Arc::new(Preference { label: "tags".into(), tags, or_any }))
    }

    #[test]
    fn of_two_with_one_name_the_later_counts_and_order_does_not() {
        let (v1, v2) = (preference(&["v1"], false), preference(&["v2"], false));
        let one = Wanted::new([("b".into(), v1.clone()), ("a".into(), None), ("b".into(), v2.clone())], None);
        let other = Wanted::new([("a".into(), None), ("b".into(), v2.clone())], None);
        assert_eq!((&one, one.len()), (&other, 2));
        let names = |names: &[&str]| names.iter().map(|name| Text::from(*name)).collect::<Vec<_>>();
        assert_eq!(one.pick(&names(&["x", "b", "a"])), Some(v2));
        assert_eq!(one.pick(&names(&["x"])), None);
        let all = Wanted::new([("a".into(), v1.clone())], Some(None));
        assert_eq!((all.pick(&names(&["x"])), all.pick(&names(&["a"]))), (Some(None), Some(v1)));
        assert!(!all.is_everything() && Wanted::new([("a".into(), None)], Some(None)).is_everything());
    }

    #[test]
    fn the_first_tag_that_any_instance_has_decides() {
        let labels = |tags: &str| Labels::from([("tags".into(), tags.into())]);
        let instances = [labels("v1, gray"), labels("v1"), Labels::new()];
        let chosen = |pick: &Pick| {
            let chosen = Chosen::of(pick, instances.iter());
            instances.iter().map(|labels| chosen.has(labels)).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&None), [true, true, true]);
        assert_eq!(chosen(&preference(&["none", "gray", "v1"], false)), [true, false, false]);
        assert_eq!(chosen(&preference(&["v1"], false)), [true, true, false]);
        assert_eq!(chosen(&preference(&["v2"], false)), [false, false, false]);
        assert_eq!(chosen(&preference(&["v2"], true)), [true, true, true]);
        assert_eq!(chosen(&preference(&[], false)), [false, false, false]);
        assert_eq!(
            Chosen::of(&preference(&["v1"], false), instances[..2].iter()),
            Chosen::All,
            "it takes nothing away"
        );
    }
}
