//! `scopes:`: which clients see which services. The fields of [`Rule`] and [`Condition`] say what each key means.

use super::{
    names::{each_named, one_of, read_name},
    select,
};
use crate::{
    catalog::Select,
    identity::NamePattern,
    model::{Nearness, Text},
    resource::Dialect,
    scope::{ALL, Calls, Condition, Declared, Level, NONE, Rule, Unmatched, Way},
    util::yaml::{Section, Value},
};
use std::collections::BTreeSet;

const EVERY_CLIENT: &str = "every client would fit";

/// The names of the scopes, with that of clients which fit none, for values that refer to them. Mistakes are reported
/// where scopes are read.
pub(super) fn names(list: Option<&Value<'_>>) -> BTreeSet<Text> {
    let name = |item: &Value<'_>| item.attempt(name_of).ok();
    let names = |list: &Value<'_>| Some(list.list()?.iter().filter_map(name).collect());
    let named: BTreeSet<Text> = list.and_then(|list| list.attempt(names).ok()).unwrap_or_default();
    named.into_iter().chain([ALL.into()]).collect()
}

fn name_of(item: &Value<'_>) -> Option<Text> {
    item.entries()?.into_iter().find(|(key, _)| *key == "name")?.1.text().map(Text::from)
}

/// Reads the list. `registries` and `listeners` are the names that a scope may refer to.
pub(super) fn read_all(list: &Value<'_>, registries: &BTreeSet<Text>, listeners: &BTreeSet<Text>) -> Option<Vec<Rule>> {
    each_named("scope", list, |section| read(section, registries, listeners))
}

fn read(section: &mut Section<'_>, registries: &BTreeSet<Text>, listeners: &BTreeSet<Text>) -> Option<Rule> {
    let name = section.need("name", |v| {
        let name = read_name(v)?;
        match &*name {
            ALL | NONE => v.problem(format!("{name:?} is what clients have that no scope fits; choose another name")),
            _ => Some(name),
        }
    });
    let conditions = |v: &Value<'_>| v.one_or_each(|v| v.section(|s| condition(s, listeners)));
    let clients = section.narrow("match", EVERY_CLIENT, conditions).unwrap_or_default();
    let registries = section.written("registries", "the scope has all of them").and_then(|v| {
        if v.is_list() && v.is_empty() {
            return v.problem("names none, so the scope has nothing; leave the key out for all");
        }
        v.one_or_each(|v| one_of("registry", v, registries))
    });
    let include = select::include(section);
    let exclude = select::exclude(section);
    let declared_services = section.get("declared", declared).flatten();
    let calls = section.section("calls", calls);
    if declared_services.is_some() && calls.is_some() {
        section.value().problem::<()>("declared and calls at once; make a scope of each");
    }
    let levels = Level::ALL.map(|level| (level.name(), level));
    Some(Rule {
        clients,
        registries,
        select: Select { include, exclude },
        aliases: section.get("aliases", Value::bool).unwrap_or(true),
        level: section.get("level", |v| v.word(&levels)).unwrap_or_default(),
        nearness: section.get("nearness", |v| v.word(&Nearness::ALL.map(|nearness| (nearness.name(), nearness)))),
        declared: declared_services,
        calls,
        name: name?,
    })
}

/// `true`, or a mapping: `undeclared` (`none`; `all`, `refuse`), `services` (none), `wildcard` (true), `tags` (`tags`).
fn declared(value: &Value<'_>) -> Option<Option<Declared>> {
    let default = Declared::default();
    if !value.is_map() {
        return value.bool().map(|yes| yes.then_some(default));
    }
    let words = Unmatched::ALL.map(|word| (word.name(), word));
    value.section(|section| {
        Some(Some(Declared {
            undeclared: section.get("undeclared", |v| v.word(&words)).unwrap_or(default.undeclared),
            always: section
                .get("services", |v| v.one_or_each(|v| v.string().map(Text::from)))
                .unwrap_or(default.always),
            wildcard: section.get("wildcard", Value::bool).unwrap_or(default.wildcard),
            tags: section.get("tags", Value::string).map_or(default.tags, Text::from),
        }))
    })
}

/// Keys: `application` (`cluster`, or `metadata.KEYS`), `unknown` (`all`; `none`, `refuse`) and `services` (none).
fn calls(section: &mut Section<'_>) -> Option<Calls> {
    let words = Unmatched::ALL.map(|word| (word.name(), word));
    let application = section.need("application", |v| v.parse(way));
    let unknown = section.get("unknown", |v| v.word(&words)).unwrap_or_default();
    let always = section.get("services", |v| v.one_or_each(|v| v.string().map(Text::from))).unwrap_or_default();
    Some(Calls { application: application?, unknown, always })
}

fn way(text: &str) -> Result<Way, String> {
    match text.strip_prefix("metadata.") {
        _ if text == "cluster" => Ok(Way::Cluster),
        Some(keys) if keys.split('.').all(|key| !key.is_empty()) => {
            Ok(Way::Metadata(keys.split('.').map(Text::from).collect()))
        }
        _ => Err(format!("must be `cluster`, or `metadata.` and the keys that lead to the name, not {text:?}")),
    }
}

fn condition(section: &mut Section<'_>, listeners: &BTreeSet<Text>) -> Option<Condition> {
    if section.is_empty() {
        let remedy =
            "give `listener`, `name`, `client`, `id`, `cluster`, `metadata` or `networks`, or leave `match` out";
        return section.value().problem(format!("would fit every client; {remedy}"));
    }
    let programs = Dialect::ALL.map(|dialect| (dialect.name(), dialect));
    let metadata = section.narrow("metadata", EVERY_CLIENT, Value::texts).unwrap_or_default();
    let networks = |v: &Value<'_>| v.one_or_each(|v| v.parse(select::network));
    let way = |keys: &str| keys.split('.').map(Text::from).collect();
    let pattern = |v: &Value<'_>| Some(NamePattern::new(&v.string()?));
    Some(Condition {
        listener: section.narrow("listener", EVERY_CLIENT, |v| one_of("listener", v, listeners)),
        names: section.narrow("name", EVERY_CLIENT, |v| v.one_or_each(pattern)).unwrap_or_default(),
        program: section.narrow("client", EVERY_CLIENT, |v| v.word(&programs)),
        id: section.narrow("id", EVERY_CLIENT, Value::string).map(Text::from),
        cluster: section.narrow("cluster", EVERY_CLIENT, Value::string).map(Text::from),
        metadata: metadata.into_iter().map(|(keys, pattern)| (way(&keys), pattern.into())).collect(),
        networks: section.narrow("networks", EVERY_CLIENT, networks).unwrap_or_default(),
    })
}
