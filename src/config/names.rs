//! Lists whose items have names, and values that refer to such a name.

use crate::{
    model::Text,
    util::yaml::{Section, Value},
};
use std::collections::{BTreeSet, HashMap};

/// Reads the items of a list. Their names must be different.
pub(super) fn each_named<T>(
    what: &str,
    list: &Value<'_>,
    mut read: impl FnMut(&mut Section<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let items = list.list()?;
    let mut first: HashMap<Text, Value<'_>> = HashMap::new();
    let mut all = Vec::new();
    for item in &items {
        let one = item.section(|section| {
            // Even of one with other mistakes the name counts.
            if let Some(name) = section.take("name")
                && let Ok(text) = name.attempt(|name| Some(Text::from(name.text()?)))
            {
                report_twice(what, &name, &*first.entry(text).or_insert(name.clone()));
            }
            read(section)
        });
        all.extend(one);
    }
    Some(all)
}

/// Reports a name that an earlier item has: metrics and logs tell items apart by their names.
fn report_twice(what: &str, name: &Value<'_>, first: &Value<'_>) {
    if !std::ptr::eq(name.node(), first.node()) {
        let (text, other) = (first.text().unwrap_or_default(), name.whereabouts(first));
        let twice = format!("the {what} {text:?} is there twice, first {other}");
        name.problem::<()>(format!("{twice}; give one of them another name"));
    }
}

/// A name of 1 to 63 letters, digits, `.`, `_` and `-`.
pub(super) fn read_name(value: &Value<'_>) -> Option<Text> {
    value.parse(|name| {
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if (1..=63).contains(&name.len()) && name.chars().all(safe) {
            return Ok(Text::from(name));
        }
        Err(format!("{name:?} is no name: 1 to 63 letters, digits, '.', '_' and '-'"))
    })
}

/// A name that must be one of the known ones.
pub(super) fn one_of(what: &str, value: &Value<'_>, known: &BTreeSet<Text>) -> Option<Text> {
    let name = value.string()?;
    match known.get(name.as_str()) {
        Some(known) => Some(known.clone()),
        None => value.problem(format!("there is no {what} {name:?}; name one of {}", listed(known))),
    }
}

fn listed(names: &BTreeSet<Text>) -> String {
    names.iter().map(|name| &**name).collect::<Vec<_>>().join(", ")
}
