//! `registries:`: what is read, and how its services are published.

use super::{istio, publish, select};
use crate::{
    catalog::{Addresses, Policy, Template},
    model::Text,
    registry::{KINDS, Kind, file},
    translate::istio::Rules,
    util::yaml::{Section, Value},
};
use std::collections::HashMap;

/// An entry of `registries:`.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// Its name (`name`), in metrics, labels and reasons: 1 to 63 of letters, digits, `.`, `_` and `-`.
    pub name: Text,
    /// What it is, and how it is reached (by one of the keys in [`KINDS`]).
    pub kind: Kind,
    /// How its services are published (`publish:`, `include:`, `exclude:` and `required:`).
    pub policy: Policy,
}

impl RegistryConfig {
    /// The built-in example catalogue.
    pub fn example() -> Self {
        let kind = Kind::File(file::Config::example());
        RegistryConfig { name: "example".into(), policy: default_policy(&kind, "example"), kind }
    }

    /// The registry, and how the entries of its services look.
    fn read(section: &mut Section<'_>, rules: &Rules) -> Option<(Self, Rules)> {
        let name = section.need("name", read_name);
        let kind = read_kind(section);
        let include = section.get("include", select::read_all).unwrap_or_default();
        let exclude = section.get("exclude", select::read_all).unwrap_or_default();
        let required = section.get("required", Value::bool).unwrap_or(true);
        // Without a name or kind there is no policy, but its mistakes are told all the same.
        let example = Kind::File(file::Config::example());
        let shown = kind.as_ref().unwrap_or(&example);
        let mut policy = default_policy(shown, name.as_deref().unwrap_or_default());
        policy.required = required;
        policy.select.include = include;
        policy.select.exclude = exclude;
        let mut rules = rules.clone();
        section.section("publish", |s| publish::read(s, shown, &mut policy, &mut rules));
        let rules = section.section("istio", |s| Some(istio::read_rules(s, rules.clone()))).unwrap_or(rules);
        Some((RegistryConfig { name: name?, kind: kind?, policy }, rules))
    }
}

/// Reads the list. That it is there and empty is a mistake: such a Portolan would serve nothing.
pub(super) fn read_all(list: &Value<'_>, rules: &Rules) -> Option<Vec<(RegistryConfig, Rules)>> {
    let items = list.list()?;
    if items.is_empty() {
        return list.problem("no registry; name at least one, or leave the key out to serve the example");
    }
    let mut first: HashMap<Text, Value<'_>> = HashMap::new();
    let mut read = Vec::new();
    for item in &items {
        let registry = item.section(|section| {
            // Even of a registry with other mistakes the name counts.
            if let Some(name) = section.take("name")
                && let Ok(text) = name.attempt(|name| Some(Text::from(name.text()?)))
            {
                report_twice(&name, &*first.entry(text).or_insert(name.clone()));
            }
            RegistryConfig::read(section, rules)
        });
        read.extend(registry);
    }
    Some(read)
}

/// Services, metrics and reasons tell registries apart by their names.
fn report_twice(name: &Value<'_>, first: &Value<'_>) {
    if !std::ptr::eq(name.node(), first.node()) {
        let (text, other) = (first.text().unwrap_or_default(), name.whereabouts(first));
        let twice = format!("the registry {text:?} is there twice, first {other}");
        name.problem::<()>(format!("{twice}; give one of them another name"));
    }
}

fn read_name(value: &Value<'_>) -> Option<Text> {
    value.parse(|name| {
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if (1..=63).contains(&name.len()) && name.chars().all(safe) {
            return Ok(Text::from(name));
        }
        Err(format!("{name:?} is no name for a registry: 1 to 63 letters, digits, '.', '_' and '-'"))
    })
}

/// What holds where `publish:` says nothing.
fn default_policy(kind: &Kind, registry: &str) -> Policy {
    let conventions = kind.adapter().conventions();
    let host = Template::parse(conventions.host).expect("the default templates are valid");
    let plain = Policy::new(registry, kind.name(), host);
    let addresses = if conventions.local_addresses { Addresses::KEPT } else { Addresses::default() };
    Policy { absent_lists: conventions.absent_lists, protocol: conventions.protocol, addresses, ..plain }
}

/// Exactly one of the kinds' keys.
fn read_kind(section: &mut Section<'_>) -> Option<Kind> {
    let mut given = Vec::new();
    for (key, read) in KINDS {
        let is_given = section.has(key);
        // `example:` has nothing behind it, and is there all the same.
        let kind = section.section(key, read).or((key == "example").then(|| Kind::File(file::Config::example())));
        if is_given {
            given.push((key, kind));
        }
    }
    let keys: Vec<&str> = given.iter().map(|(key, _)| *key).collect();
    match given.len() {
        1 => given.pop()?.1,
        0 => {
            let [keys @ .., last] = KINDS.map(|(key, _)| format!("`{key}:`"));
            section.value().problem(format!("not said what it is; add {} or {last}", keys.join(", ")))
        }
        _ => section.value().problem(format!("{} at once; make a registry of each", keys.join(" and "))),
    }
}
