//! Rules as they stand in a configuration centre: `ConfiguratorConfig` in YAML, or a list of URLs in JSON. Pure.
//!
//! What Dubbo does not know is left aside, as it does; what it could not read, or we cannot, costs the one item that has it.

use super::{
    matching::{AddressMatch, Match},
    rule::Rule,
    target::{ANY_HOST, Side},
    tree::{LIMITS, get, is_true, items, scalar, string, texts},
};
use crate::{
    model::Text,
    registry::dubbo::{Identity, url::Url},
    util::yaml::{Document, Node, Shape},
};

/// The configurators of a text, and what is wrong with it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Read {
    pub(super) rules: Vec<Rule>,
    pub(super) problems: Vec<String>,
}

/// One item of `configs`, with the fields of the whole text that it needs.
struct Item<'a> {
    node: &'a Node,
    is_application: bool,
    key: &'a str,
    enabled: bool,
    /// `configVersion` begins with `v3.0`, so `match` counts.
    is_third: bool,
}

/// Reads the configurators of a text. What cannot be read costs the one item that has it.
pub(super) fn read(name: &str, text: &[u8]) -> Read {
    let document = match Document::parse(name, text, &LIMITS) {
        Ok(document) => document,
        Err(problem) => return Read { rules: Vec::new(), problems: vec![problem.to_string()] },
    };
    let root = document.root();
    let mut read = Read::default();
    if let Shape::List(urls) = root.shape() {
        for url in urls.iter().filter_map(scalar) {
            let rule = Url::parse_rule(url).map_err(|error| error.to_string()).and_then(|url| Rule::of_url(&url));
            match rule {
                Ok(rule) => read.rules.extend(rule),
                Err(why) => read.problems.push(format!("{url}: {why}")),
            }
        }
        return read;
    }
    let word = |key| get(root, key).and_then(scalar);
    let enabled = word("enabled").is_none_or(is_true);
    let is_application = word("scope") == Some("application");
    let is_third = word("configVersion").is_some_and(|version| version.starts_with("v3.0"));
    let Some(key) = word("key") else {
        read.problems.push("has no `key`".into());
        return read;
    };
    // Without a version Dubbo reads them as those of 2.6, which have no sides.
    let is_old = word("configVersion").is_none_or(str::is_empty);
    for (at, node) in items(root, "configs").enumerate() {
        let item = Item { node, is_application, key, enabled, is_third };
        match item.rules() {
            Ok(rules) => read.rules.extend(rules.into_iter().map(|rule| old(rule, is_old))),
            Err(why) => read.problems.push(format!("item {}: {why}", at + 1)),
        }
    }
    read
}

fn old(rule: Rule, is_old: bool) -> Rule {
    if is_old { Rule { side: Side::Both, ..rule } } else { rule }
}

impl Item<'_> {
    fn rules(&self) -> Result<Vec<Rule>, String> {
        let item = self.node;
        let word = |key| get(item, key).and_then(scalar);
        let general = word("type").is_none_or(|kind| kind == "general");
        let enabled = if general { self.enabled } else { word("enabled").is_some_and(is_true) };
        if !enabled {
            return Ok(Vec::new());
        }
        let values = self.values()?;
        let side = match word("side") {
            Some("provider") => Side::Provider,
            Some("consumer") => Side::Consumer,
            _ => return Err("says no `side`, so neither side of Dubbo applies it".into()),
        };
        let matching = get(item, "match").filter(|_| self.is_third).map(matching).transpose()?;
        let mut addresses = texts(item, "addresses");
        if addresses.is_empty() {
            addresses.push(ANY_HOST.into());
        }
        let mut providers = texts(item, "providerAddresses");
        if providers.is_empty() && side == Side::Provider {
            providers.clone_from(&addresses);
        }
        let (services, applications) = self.named();
        let mut rules = Vec::new();
        for address in &addresses {
            let host: Text = address.rsplit_once(':').map_or(&**address, |(host, _)| host).into();
            for service in &services {
                for application in &applications {
                    rules.push(Rule {
                        side,
                        host: host.clone(),
                        port: None,
                        service: service.clone(),
                        application: application.clone(),
                        providers: providers.clone(),
                        conditions: Vec::new(),
                        matching: matching.clone(),
                        values: values.clone(),
                        only_absent: false,
                        priority: 0,
                    });
                }
            }
        }
        Ok(rules)
    }

    /// The services and applications that the item is for; `None` stands for all.
    fn named(&self) -> (Vec<Option<Identity>>, Vec<Option<Text>>) {
        let named = |text: &Text| (**text != *"*").then(|| text.clone());
        if self.is_application {
            let services = texts(self.node, "services");
            let services = services.iter().map(|service| named(service).map(|key| Identity::of_key(&key)));
            let services: Vec<_> = services.collect();
            let all = if services.is_empty() { vec![None] } else { services };
            return (all, vec![Some(self.key.into())]);
        }
        let applications: Vec<_> = texts(self.node, "applications").iter().map(named).collect();
        let all = if applications.is_empty() { vec![None] } else { applications };
        (vec![Some(Identity::of_key(self.key))], all)
    }

    fn values(&self) -> Result<Vec<(Text, Text)>, String> {
        let Some(Shape::Map(entries)) = get(self.node, "parameters").map(Node::shape) else {
            return Err("has no `parameters`".into());
        };
        let values = entries.iter().filter_map(|(key, value)| Some((key.text().into(), scalar(value)?.into())));
        let values: Vec<(Text, Text)> = values.collect();
        if values.is_empty() { Err("has no `parameters`".into()) } else { Ok(values) }
    }
}

fn matching(node: &Node) -> Result<Match, String> {
    let address = |key| get(node, key).map(address).transpose();
    let one_of = |key| get(node, key).map(|list| items(list, "oneof").map(string).collect()).transpose();
    let parameters = items(node, "param").map(|param| {
        let key = get(param, "key").and_then(scalar).ok_or("a `param` has no `key`")?;
        let value = get(param, "value").ok_or("a `param` has no `value`")?;
        Ok::<_, String>((Text::from(key), string(value)?))
    });
    Ok(Match {
        address: address("address")?,
        provider_address: address("providerAddress")?,
        service: one_of("service")?,
        application: one_of("app")?,
        parameters: parameters.collect::<Result<_, _>>()?,
    })
}

fn address(node: &Node) -> Result<AddressMatch, String> {
    let word = |key| get(node, key).and_then(scalar);
    // So it is spelled.
    if let Some(network) = word("cird") {
        let parsed = network.parse().map(AddressMatch::Network);
        return parsed.or_else(|_| match network.parse::<std::net::IpAddr>() {
            Ok(_) => Ok(AddressMatch::Exact(network.into())),
            Err(_) => Err(format!("the network {network:?} is none that is understood here")),
        });
    }
    let wildcard = word("wildcard").map(|pattern| AddressMatch::Wildcard(pattern.into()));
    let exact = || word("exact").map(|exact| AddressMatch::Exact(exact.into()));
    wildcard.or_else(exact).ok_or_else(|| "an address has neither `wildcard`, `cird` nor `exact`".into())
}
