//! `registries:`: the registries that are read, and how their services are published.

use super::{
    istio,
    names::{each_named, one_of, read_name},
    publish, select,
};
use crate::{
    catalog::{Addresses, Policy, Template},
    model::{CALLS, FILES, Text},
    registry::{KINDS, Kind, file},
    translate::istio::Rules,
    util::yaml::{Section, Value},
};
use std::collections::BTreeSet;

/// An entry of `registries:`.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// Its name (`name`), in metrics, labels and reasons: 1 to 63 of letters, digits, `.`, `_` and `-`.
    pub name: Text,
    /// The kind of registry, with its own settings (one of the keys in [`KINDS`]).
    pub kind: Kind,
    /// The names of the scopes that see its services (`visible_to`). `None`: all.
    pub visible_to: Option<Vec<Text>>,
    /// How its services are published (`publish:`, `include:`, `exclude:` and `required:`).
    pub policy: Policy,
}

impl RegistryConfig {
    /// The registry `example`: a built-in catalogue, which is read if no registry is configured.
    pub fn example() -> Self {
        let kind = Kind::File(file::Config::example());
        RegistryConfig { name: "example".into(), policy: default_policy(&kind, "example"), visible_to: None, kind }
    }

    /// Reads a registry, and the rules for the ServiceEntries of its services.
    fn read(section: &mut Section<'_>, rules: &Rules, scopes: &BTreeSet<Text>) -> Option<(Self, Rules)> {
        let name = section.need("name", |v| match read_name(v)? {
            name if *name == *FILES => v.problem("is what Istio's resources in files are named; choose another name"),
            name if *name == *CALLS => {
                v.problem("is how Istio's resources of the call model are named; choose another name")
            }
            name => Some(name),
        });
        let kind = read_kind(section);
        let include = select::include(section);
        let exclude = select::exclude(section);
        let visible_to = section.written("visible_to", "every scope would see the registry");
        let visible_to = visible_to.and_then(|v| v.one_or_each(|v| one_of("scope", v, scopes)));
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
        Some((RegistryConfig { name: name?, kind: kind?, visible_to, policy }, rules))
    }
}

/// Reads the list. An empty list is a mistake, because nothing would be served.
pub(super) fn read_all(
    list: &Value<'_>,
    rules: &Rules,
    scopes: &BTreeSet<Text>,
) -> Option<Vec<(RegistryConfig, Rules)>> {
    if list.list()?.is_empty() {
        return list.problem("no registry; name at least one, or leave the key out to serve the example");
    }
    each_named("registry", list, |section| RegistryConfig::read(section, rules, scopes))
}

/// The policy of a registry without `publish:`, as its kind has it.
fn default_policy(kind: &Kind, registry: &str) -> Policy {
    let conventions = kind.adapter().conventions();
    let host = Template::parse(conventions.host).expect("the default templates are valid");
    let plain = Policy::new(registry, kind.name(), host);
    let addresses = if conventions.local_addresses { Addresses::KEPT } else { Addresses::default() };
    Policy { absent_lists: conventions.absent_lists, protocol: conventions.protocol, addresses, ..plain }
}

/// Reads the kind: exactly one of the keys in [`KINDS`] must be there.
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
