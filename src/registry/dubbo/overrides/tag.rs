//! Dynamic tags: which providers of an application have a tag, by an administrator's rule (`APPLICATION.tag-router`). Pure.
//!
//! Dubbo routes requests by them (`TagStateRouter`); here they are labels, by which a mesh can route. A tag of the rule goes
//! before the one that a provider says itself.

use super::{
    matching::StringMatch,
    target::{ANY_HOST, Target},
    tree::{LIMITS, get, is_true, items, scalar, string, texts},
};
use crate::{model::Text, util::yaml::Document};
use ipnet::IpNet;
use std::net::IpAddr;

/// The label that has the tag of a provider.
pub(super) const TAG: &str = "dubbo.tag";

/// Reported for rules without `force: true`, for which a mesh does otherwise than Dubbo.
const NO_FORCE: &str = "without `force: true` Dubbo sends a request to providers without a tag where nobody has its own; \
                        a route of a VirtualService does not";

/// The label of providers without a tag, where their application has a rule.
pub(super) const UNTAGGED: &str = "dubbo.untagged";

/// The tag rule of an application.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Tags {
    tags: Vec<Tag>,
    pub(super) problems: Vec<String>,
}

#[derive(Debug, PartialEq)]
struct Tag {
    name: Text,
    addresses: Vec<Text>,
    /// Parameters that a provider must have for the tag. They count only if there are no addresses.
    parameters: Vec<(Text, StringMatch)>,
}

impl Tags {
    pub(super) fn read(name: &str, text: &[u8]) -> Tags {
        let document = match Document::parse(name, text, &LIMITS) {
            Ok(document) => document,
            Err(problem) => return Tags { tags: Vec::new(), problems: vec![problem.to_string()] },
        };
        let root = document.root();
        let word = |key| get(root, key).and_then(scalar);
        let mut tags = Tags::default();
        if !word("enabled").is_none_or(is_true) {
            return tags;
        }
        let is_third = word("configVersion").is_some_and(|version| version.starts_with("v3.0"));
        for item in items(root, "tags") {
            let Some(name) = get(item, "name").and_then(scalar) else {
                tags.problems.push("a tag has no `name`".into());
                continue;
            };
            let parameters = items(item, "match").filter(|_| is_third).map(|node| {
                let key = get(node, "key").and_then(scalar).ok_or("a `match` has no `key`")?;
                let value = get(node, "value").ok_or("a `match` has no `value`")?;
                Ok::<_, String>((Text::from(key), string(value)?))
            });
            match parameters.collect::<Result<Vec<_>, _>>() {
                Ok(parameters) => {
                    tags.tags.push(Tag { name: name.into(), addresses: texts(item, "addresses"), parameters });
                }
                Err(why) => tags.problems.push(format!("tag {name}: {why}")),
            }
        }
        if !tags.tags.is_empty() && !word("force").is_some_and(is_true) {
            tags.problems.push(NO_FORCE.into());
        }
        tags
    }

    /// The first tag that the rule gives a provider; `None` if it gives none.
    pub(super) fn of(&self, target: &Target<'_>, get: impl Fn(&str) -> Option<Text>) -> Option<Text> {
        let has = |tag: &&Tag| {
            if tag.addresses.is_empty() {
                let holds = |(key, value): &(Text, StringMatch)| value.holds(get(key).as_deref());
                return !tag.parameters.is_empty() && tag.parameters.iter().all(holds);
            }
            tag.addresses.iter().any(|address| is_there(address, target))
        };
        self.tags.iter().find(has).map(|tag| tag.name.clone())
    }
}

/// True if the provider is at this address, such as `10.0.0.1`, `10.0.0.1:20880`, `10.0.0.*:20880`, `10.0.0.1-9`,
/// `10.0.0.0/24` or `0.0.0.0:20880`.
fn is_there(address: &str, target: &Target<'_>) -> bool {
    if let Ok(network) = address.parse::<IpNet>() {
        return target.host.parse::<IpAddr>().is_ok_and(|host| network.contains(&host));
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (address, None),
    };
    let is_port = port.is_none_or(|port| port == "*" || port.parse() == Ok(target.port));
    let is_any = host == "*" || (host == ANY_HOST && port.is_some());
    is_port && (is_any || host == target.host || is_in_range(host, target.host))
}

/// True if an IPv4 address fits a pattern of four parts, each a number, `*`, or two numbers with `-` between them.
fn is_in_range(pattern: &str, host: &str) -> bool {
    let (pattern, host): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), host.split('.').collect());
    let holds = |(pattern, part): (&&str, &&str)| {
        let Ok(part) = part.parse::<u8>() else { return false };
        match pattern.split_once('-') {
            Some((from, to)) => {
                from.parse().is_ok_and(|from: u8| from <= part) && to.parse().is_ok_and(|to: u8| part <= to)
            }
            None => *pattern == "*" || pattern.parse() == Ok(part),
        }
    };
    pattern.len() == 4 && host.len() == 4 && pattern.iter().zip(&host).all(holds)
}
