//! Changes of instances' labels, with their patterns compiled once.

use super::{Relabel, Template};
use crate::model::{Labels, ServiceId, Text};
use std::{borrow::Cow, collections::BTreeMap};
use wildmatch::WildMatch;

/// Compiled [`Relabel`]s, applied in order.
#[derive(Debug)]
pub(super) struct Relabeling(Vec<Step>);

#[derive(Debug)]
enum Step {
    Set(Text, Template),
    Rename(Text, Text),
    Map(Text, BTreeMap<Text, Text>),
    Drop(WildMatch),
    Keep(Vec<WildMatch>),
}

impl Relabeling {
    pub(super) fn new(changes: &[Relabel]) -> Self {
        Relabeling(
            changes
                .iter()
                .map(|change| match change {
                    Relabel::Set(key, value) => Step::Set(key.clone(), value.clone()),
                    Relabel::Rename(from, to) => Step::Rename(from.clone(), to.clone()),
                    Relabel::Map(key, values) => Step::Map(key.clone(), values.clone()),
                    Relabel::Drop(pattern) => Step::Drop(WildMatch::new(pattern)),
                    Relabel::Keep(patterns) => Step::Keep(patterns.iter().map(|p| WildMatch::new(p)).collect()),
                })
                .collect(),
        )
    }

    /// The labels after all changes; borrowed if there are none.
    pub(super) fn apply<'a>(&self, id: &ServiceId, service: &Labels, labels: &'a Labels) -> Cow<'a, Labels> {
        if self.0.is_empty() {
            return Cow::Borrowed(labels);
        }
        let mut labels = labels.clone();
        for step in &self.0 {
            step.apply(id, service, &mut labels);
        }
        Cow::Owned(labels)
    }
}

impl Step {
    fn apply(&self, id: &ServiceId, service: &Labels, labels: &mut Labels) {
        match self {
            Step::Set(key, value) => {
                let value = value.render(id, service, labels);
                labels.insert(key.clone(), value.into());
            }
            Step::Rename(from, to) => {
                if let Some(value) = labels.remove(from) {
                    labels.insert(to.clone(), value);
                }
            }
            Step::Map(key, values) => {
                if let Some(other) = labels.get(key).and_then(|value| values.get(value)) {
                    labels.insert(key.clone(), other.clone());
                }
            }
            Step::Drop(pattern) => labels.retain(|key, _| !pattern.matches(key)),
            Step::Keep(patterns) => labels.retain(|key, _| patterns.iter().any(|pattern| pattern.matches(key))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| (Text::from(*k), Text::from(*v))).collect()
    }

    #[test]
    fn changes_apply_in_order() {
        let id = ServiceId::new("r", "ns", "g", "orders");
        let set = |key: &str, value: &str| Relabel::Set(key.into(), Template::parse(value).unwrap());
        let start = [("ver", "2"), ("preserved.source", "x"), ("zone", "a")];
        for (changes, expected) in [
            (vec![], labels(&start)),
            (
                vec![Relabel::Rename("ver".into(), "version".into()), set("tag", "{service}-{label:version}")],
                labels(&[("preserved.source", "x"), ("tag", "orders-2"), ("version", "2"), ("zone", "a")]),
            ),
            (
                vec![
                    Relabel::Map("zone".into(), [("a".into(), "hz-a".into()), ("hz-a".into(), "no".into())].into()),
                    Relabel::Map("ver".into(), [("1".into(), "old".into())].into()),
                    Relabel::Map("none".into(), [("".into(), "some".into())].into()),
                ],
                labels(&[("preserved.source", "x"), ("ver", "2"), ("zone", "hz-a")]),
            ),
            (vec![Relabel::Drop("preserved.*".into())], labels(&[("ver", "2"), ("zone", "a")])),
            (vec![Relabel::Keep(vec!["z*".into(), "none".into()])], labels(&[("zone", "a")])),
            (vec![Relabel::Rename("none".into(), "zone".into())], labels(&start)),
        ] {
            let after = Relabeling::new(&changes).apply(&id, &Labels::new(), &labels(&start)).into_owned();
            assert_eq!(after, expected, "{changes:?}");
        }
    }
}
