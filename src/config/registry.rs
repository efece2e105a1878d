//! `registries:`: what is read, and how its services are published.

use super::{istio, publish, select};
use crate::{
    catalog::{Policy, Template},
    model::{Protocol, Text},
    registry::{eureka, file, nacos, zookeeper},
    translate::istio::Rules,
    util::yaml::{Place, Section, Value},
};
use std::collections::HashMap;

/// One registry.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// Its name (`name`), in metrics, labels and reasons: 1 to 63 of letters, digits, `.`, `_` and `-`.
    pub name: Text,
    /// What it is, and how it is reached (`nacos:`, `eureka:`, `zookeeper:`, `file:` or `example:`).
    pub kind: Kind,
    /// How its services are published (`publish:`, `include:`, `exclude:` and `required:`).
    pub policy: Policy,
}

/// What a registry is, and how it is reached.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one for each registry")]
pub enum Kind {
    /// Nacos servers.
    Nacos(nacos::Config),
    /// Eureka servers.
    Eureka(eureka::Config),
    /// ZooKeeper servers.
    Zookeeper(zookeeper::Config),
    /// Catalogue files.
    File(file::Config),
    /// The built-in example catalogue.
    Example,
}

impl Kind {
    /// The word in configuration, logs and admin.
    pub const fn name(&self) -> &'static str {
        match self {
            Kind::Nacos(_) => "nacos",
            Kind::Eureka(_) => "eureka",
            Kind::Zookeeper(_) => "zookeeper",
            Kind::File(_) => "file",
            Kind::Example => "example",
        }
    }

    /// What hosts are called where `publish.host` does not say. Catalogue files mostly give hosts themselves; what they
    /// give by name ends in `.file`. Empty parts vanish together with their dot.
    fn default_host(&self) -> Template {
        let host = match self {
            Kind::Nacos(_) => "{service}.{group}.{namespace}.nacos",
            Kind::Eureka(_) => "{service}.eureka",
            Kind::Zookeeper(zookeeper::Config { layout: zookeeper::Layout::Dubbo, .. }) => {
                "{label:interface}.{label:group}.{label:version}.dubbo"
            }
            Kind::Zookeeper(_) => "{service}.zookeeper",
            Kind::File(_) | Kind::Example => "{service}.{namespace}.file",
        };
        Template::parse(host).expect("the default templates are valid")
    }

    /// What holds where `publish:` says nothing. A catalogue file is read whole or not at all, and ZooKeeper gives each list
    /// whole, so what it lacks is gone at once; who asks for two lists gets the second from the next look.
    fn default_policy(&self, registry: &str) -> Policy {
        let absent_lists = match self {
            Kind::Nacos(_) | Kind::Eureka(_) => 2,
            Kind::Zookeeper(_) | Kind::File(_) | Kind::Example => 1,
        };
        let plain = Policy::new(registry, self.name(), self.default_host());
        let protocol = match self {
            Kind::Zookeeper(zookeeper::Config { layout: zookeeper::Layout::Dubbo, .. }) => Protocol::Dubbo,
            _ => plain.protocol,
        };
        Policy { absent_lists, protocol, ..plain }
    }
}

impl RegistryConfig {
    /// The built-in example catalogue.
    pub fn example() -> Self {
        let kind = Kind::Example;
        RegistryConfig { name: "example".into(), policy: kind.default_policy("example"), kind }
    }

    /// The registry, and how the entries of its services look.
    fn read(section: &mut Section<'_>, rules: &Rules) -> Option<(Self, Rules)> {
        let name = section.need("name", read_name);
        let kind = read_kind(section);
        let include = section.get("include", select::read_all).unwrap_or_default();
        let exclude = section.get("exclude", select::read_all).unwrap_or_default();
        let required = section.get("required", Value::bool).unwrap_or(true);
        // Without a name or kind there is no policy, but its mistakes are told all the same.
        let shown = kind.as_ref().unwrap_or(&Kind::Example);
        let mut policy = shown.default_policy(name.as_deref().unwrap_or_default());
        policy.required = required;
        policy.select.include = include;
        policy.select.exclude = exclude;
        let mut rules = rules.clone();
        section.section("publish", |s| publish::read(s, &mut policy, &mut rules));
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
    let mut first: HashMap<Text, Place> = HashMap::new();
    let read = |item: &Value<'_>| {
        item.section(|section| {
            // Even of a registry with other mistakes the name counts.
            if let Some(name) = section.take("name")
                && let Ok(text) = name.attempt(|name| Some(Text::from(name.text()?)))
                && let Some(other) = first.insert(text.clone(), name.place())
            {
                let twice = format!("the registry {:?} is there twice, first on line {}", &*text, other.line);
                name.problem::<()>(format!("{twice}; give one of them another name"));
            }
            RegistryConfig::read(section, rules)
        })
    };
    Some(items.iter().filter_map(read).collect())
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

/// Exactly one of the kinds' keys.
fn read_kind(section: &mut Section<'_>) -> Option<Kind> {
    let given = ["nacos", "eureka", "zookeeper", "file", "example"]
        .into_iter()
        .filter(|key| section.has(key))
        .collect::<Vec<_>>();
    let nacos = section.section("nacos", nacos::Config::read).map(Kind::Nacos);
    let eureka = section.section("eureka", eureka::Config::read).map(Kind::Eureka);
    let zookeeper = section.section("zookeeper", zookeeper::Config::read).map(Kind::Zookeeper);
    let file = section.section("file", file::Config::read).map(Kind::File);
    section.section("example", |_| Some(()));
    match given.as_slice() {
        [] => {
            section.value().problem("not said what it is; add `nacos:`, `eureka:`, `zookeeper:`, `file:` or `example:`")
        }
        ["example"] => Some(Kind::Example),
        [_] => nacos.or(eureka).or(zookeeper).or(file),
        several => section.value().problem(format!("{} at once; make a registry of each", several.join(" and "))),
    }
}
