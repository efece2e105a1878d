//! Overrides: what administrators set for providers beside the providers themselves (Dubbo's configurators). Pure.
//!
//! They stand in three places, and are applied in this order, at the provider's side and then at the consumer's, so that of
//! two that contradict each other the last one counts: as URLs beside the providers (Dubbo 2.6), as rules of an application,
//! as rules of a service. Within one place they are sorted by host, so that one for a host goes before one for all, and
//! then by priority.
//!
//! A provider of Dubbo applies those of its side by itself, and registers what comes out. To apply them once more changes
//! nothing, and makes up for providers that do not.

mod apply;
mod matching;
mod rule;
mod tag;
mod target;
#[cfg(test)]
mod tests;
mod text;
mod tree;

pub(crate) use apply::overridden;
pub(crate) use rule::Rule;

use crate::model::Text;
use std::collections::{BTreeMap, BTreeSet};
use tag::{TAG, Tags, UNTAGGED};
use target::{Side, Target};

/// The end of the names of configurators.
const SUFFIX: &str = ".configurators";
const TAG_SUFFIX: &str = ".tag-router";
/// The ends of the names of routing rules, which are not applied, and what to write instead.
const ROUTERS: [(&str, &str); 3] = [
    (".condition-router", "conditions of Dubbo are not applied: write a VirtualService"),
    (".script-router", "scripts of Dubbo are not applied: write a VirtualService"),
    (".affinity-router", "affinity of Dubbo is not applied: nearness is configured for clients"),
];

/// All rules of a configuration centre.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    /// Configurators of services, by `INTERFACE:VERSION:GROUP`.
    services: BTreeMap<Text, Ruleset>,
    applications: BTreeMap<Text, Ruleset>,
    /// Tag rules, by application.
    tags: BTreeMap<Text, Tags>,
    /// The names of routing rules, which are reported and not applied.
    routers: BTreeSet<Text>,
    /// The number of routing rules of Dubbo 2.6 that stand beside the providers of an interface.
    routers_beside: BTreeMap<Text, usize>,
}

/// The configurators of one text.
#[derive(Debug, Default, PartialEq)]
struct Ruleset {
    /// In the order in which they are applied.
    rules: Vec<Rule>,
    /// What of the text is not applied, and why.
    findings: Vec<String>,
}

/// Whose services a change of a rule may change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Affected {
    /// The services of this interface.
    Interface(Text),
    /// All services that this application provides.
    Application(Text),
}

/// Puts rules into the order in which they are applied.
pub(crate) fn sort(rules: &mut [Rule]) {
    rules.sort_by(|a, b| (&a.host, a.priority).cmp(&(&b.host, b.priority)));
}

impl Overrides {
    /// True if a text of this name in a configuration centre is a rule.
    pub(crate) fn is_one(name: &str) -> bool {
        name.ends_with(SUFFIX) || name.ends_with(TAG_SUFFIX) || router(name).is_some()
    }

    /// True if no rule can change a provider.
    pub(crate) fn is_empty(&self) -> bool {
        self.services.is_empty() && self.applications.is_empty() && self.tags.is_empty()
    }

    /// The names of all texts with rules, also of those that are not applied.
    #[cfg(any(test, feature = "zookeeper"))]
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        let rules = self.services.keys().chain(self.applications.keys()).map(|key| format!("{key}{SUFFIX}"));
        let tags = self.tags.keys().map(|key| format!("{key}{TAG_SUFFIX}"));
        rules.chain(tags).chain(self.routers.iter().map(ToString::to_string))
    }

    /// Sets the text of a rule; `None` removes the rule. Returns whose services may change.
    pub(crate) fn put(&mut self, name: &str, text: Option<&[u8]>) -> Option<Affected> {
        if router(name).is_some() {
            if text.is_some() {
                self.routers.insert(name.into());
            } else {
                self.routers.remove(name);
            }
            return None;
        }
        if let Some(application) = name.strip_suffix(TAG_SUFFIX) {
            return self.put_tags(name, application, text);
        }
        let key = name.strip_suffix(SUFFIX)?;
        let interface = key.split_once(':').map(|(interface, _)| interface);
        let texts = if interface.is_some() { &mut self.services } else { &mut self.applications };
        let read = text.map(|text| Ruleset::read(name, text));
        if texts.get(key) == read.as_ref() {
            return None;
        }
        match read {
            Some(read) => drop(texts.insert(key.into(), read)),
            None => drop(texts.remove(key)),
        }
        Some(match interface {
            Some(interface) => Affected::Interface(interface.into()),
            None => Affected::Application(key.into()),
        })
    }

    fn put_tags(&mut self, name: &str, application: &str, text: Option<&[u8]>) -> Option<Affected> {
        let read = text.map(|text| Tags::read(name, text));
        if self.tags.get(application) == read.as_ref() {
            return None;
        }
        match read {
            Some(read) => drop(self.tags.insert(application.into(), read)),
            None => drop(self.tags.remove(application)),
        }
        Some(Affected::Application(application.into()))
    }

    /// Sets how many routing rules of Dubbo 2.6 stand beside the providers of an interface.
    #[cfg(any(test, feature = "zookeeper"))]
    pub(crate) fn put_routers(&mut self, interface: &str, count: usize) {
        if count == 0 {
            self.routers_beside.remove(interface);
        } else {
            self.routers_beside.insert(interface.into(), count);
        }
    }

    /// The parameters that rules set for a provider. `beside` has the sorted rules beside it, and `get` gives its own
    /// parameters.
    pub(crate) fn changes<'a>(
        &self,
        target: &Target<'_>,
        beside: &[Rule],
        get: impl Fn(&str) -> Option<&'a str>,
    ) -> BTreeMap<Text, Text> {
        let mut changes = BTreeMap::new();
        let application = rules_of(target.application.and_then(|key| self.applications.get(key)));
        let service = rules_of(self.services.get(&*target.identity.rule_key()));
        for side in [Side::Provider, Side::Consumer] {
            for rule in beside.iter().chain(application).chain(service) {
                let now = |key: &str| changes.get(key).cloned().or_else(|| get(key).map(Text::from));
                if !rule.holds(side, target, &now) {
                    continue;
                }
                let is_free = |key: &Text| !rule.only_absent || now(key).is_none();
                let set: Vec<_> = rule.values.iter().filter(|(key, _)| is_free(key)).cloned().collect();
                changes.extend(set);
            }
        }
        let now = |key: &str| changes.get(key).cloned().or_else(|| get(key).map(Text::from));
        if let Some(tags) = target.application.and_then(|application| self.tags.get(application)) {
            let own = now(TAG).filter(|tag| !tag.is_empty());
            match tags.of(target, now) {
                Some(tag) if own.as_ref() == Some(&tag) => None,
                Some(tag) => changes.insert(TAG.into(), tag),
                // A subset cannot be chosen by what instances lack.
                None if own.is_none() => changes.insert(UNTAGGED.into(), "true".into()),
                None => None,
            };
        }
        changes
    }

    /// What is not applied, with the name of the rule.
    pub(crate) fn findings(&self) -> impl Iterator<Item = (String, String)> {
        let rules = self.services.iter().chain(&self.applications).filter(|(_, text)| !text.findings.is_empty());
        let rules = rules.map(|(key, text)| (format!("{key}{SUFFIX}"), text.findings.join("; ")));
        let tags = self.tags.iter().filter(|(_, tags)| !tags.problems.is_empty());
        let tags = tags.map(|(key, tags)| (format!("{key}{TAG_SUFFIX}"), tags.problems.join("; ")));
        let routers = self.routers.iter().filter_map(|name| Some((name.to_string(), router(name)?.to_owned())));
        let beside = |(interface, count): (&Text, &usize)| {
            let why = format!("{count} routing rules of Dubbo 2.6 are not applied: write a VirtualService");
            (format!("{interface}/routers"), why)
        };
        rules.chain(tags).chain(routers).chain(self.routers_beside.iter().map(beside))
    }
}

/// Why a routing rule of this name is not applied; `None` if it is no routing rule.
fn router(name: &str) -> Option<&'static str> {
    ROUTERS.iter().find(|(suffix, _)| name.ends_with(suffix)).map(|(_, why)| *why)
}

fn rules_of(ruleset: Option<&Ruleset>) -> &[Rule] {
    ruleset.map_or(&[], |ruleset| &ruleset.rules)
}

impl Ruleset {
    fn read(name: &str, text: &[u8]) -> Self {
        let text::Read { mut rules, problems } = text::read(name, text);
        sort(&mut rules);
        let mut findings = problems;
        let some = rules.iter().filter(|rule| rule.is_for_some_consumers()).count();
        if some > 0 {
            findings.push(format!("{some} of its rules are for single consumers, and a mesh serves all alike"));
        }
        rules.retain(|rule| !rule.is_for_some_consumers());
        Ruleset { rules, findings }
    }
}
