//! Dubbo's conventions, which are the same in every registry that Dubbo uses. Pure.
//!
//! A provider of an interface has a URL. ZooKeeper holds it as the name of a node; Nacos holds its parameters as the
//! metadata of an instance, and its identity in the name of the service (`providers:INTERFACE:VERSION:GROUP`). In both,
//! `$` of a nested class may be written otherwise. At the application level the metadata `dubbo.endpoints` says what each
//! port of an instance speaks. What consumers, routers and configurators register serves nobody.
//!
//! Parameters are given as a function from a key to its value, which is trimmed and not empty.

use crate::model::{EndpointPort, Labels, Port, Protocol, Text, Weight};
use serde::Deserialize;

/// Dubbo's own default, to which weights are relative.
const DEFAULT_WEIGHT: f64 = 100.0;

/// Schemes of URLs that stand beside providers and cannot be called from elsewhere.
const NO_PROVIDERS: [&str; 9] =
    ["consumer", "override", "route", "condition", "script", "tag", "empty", "absent", "injvm"];

/// With what the Nacos names of providers begin.
const PROVIDERS: &str = "providers:";

/// What providers of one service have in common. Dubbo compares all three.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    /// The Java interface; a nested one with `$`.
    pub(super) interface: Text,
    /// Empty: none.
    pub(super) group: Text,
    /// Empty: none.
    pub(super) version: Text,
}

impl Identity {
    /// An identity in its one spelling. Dubbo takes version `0.0.0` for none (`BaseServiceMetadata.buildServiceKey`), and
    /// some write `-` for no group.
    pub(super) fn new(interface: &str, group: &str, version: &str) -> Self {
        let (group, version) = (group.trim(), version.trim());
        Identity {
            interface: interface.trim().into(),
            group: if group == "-" { "" } else { group }.into(),
            version: if version == "0.0.0" { "" } else { version }.into(),
        }
    }

    /// Reads the name of a Nacos service; `None` if it is not that of a provider.
    ///
    /// Dubbo 2.6 leaves out what is absent, so `providers:Y:gray` may mean a version or a group: what the parameters of
    /// its instances say goes before the position.
    pub(super) fn of_name<'a>(name: &str, parameters: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let mut parts = name.strip_prefix(PROVIDERS)?.split(':').map(str::trim);
        let interface = parts.next()?.replace("___", "$");
        let (version, group) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (said_group, said_version) = (parameters("group"), parameters("version"));
        let ambiguous = group.is_empty() && said_group == Some(version);
        let version = said_version.unwrap_or(if ambiguous { "" } else { version });
        Some(Identity::new(&interface, said_group.unwrap_or(group), version))
    }

    /// `INTERFACE:GROUP:VERSION` without colons at its end: the name by which Dubbo's users know it.
    pub(super) fn service(&self) -> String {
        let Identity { interface, group, version } = self;
        format!("{interface}:{group}:{version}").trim_end_matches(':').to_owned()
    }

    /// The name that Nacos has for it since Dubbo 2.7: `providers:INTERFACE:VERSION:GROUP`.
    pub(super) fn nacos_name(&self) -> String {
        let Identity { interface, group, version } = self;
        format!("{PROVIDERS}{}:{version}:{group}", interface.replace('$', "___"))
    }

    /// As labels of the service; those without a value are left out.
    pub(super) fn labels(&self) -> Labels {
        let service = Text::from(self.service());
        let all = [
            ("interface", &self.interface),
            ("group", &self.group),
            ("version", &self.version),
            ("dubbo.service", &service),
        ];
        let said = all.into_iter().filter(|(_, value)| !value.is_empty());
        said.map(|(key, value)| (key.into(), value.clone())).collect()
    }
}

/// Whether a Nacos service of that name is that of an interface's providers.
pub(super) fn is_provider(name: &str) -> bool {
    name.starts_with(PROVIDERS)
}

/// Whether a Nacos service of that name has instances to be called.
pub(super) fn serves(name: &str) -> bool {
    !["consumers:", "routers:", "configurators:"].iter().any(|prefix| name.starts_with(prefix))
}

/// Why a URL is not that of a provider that can be called; `None` if it is one.
pub(super) fn no_provider<'a>(scheme: &str, parameters: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    if NO_PROVIDERS.contains(&scheme) {
        return Some(format!("{scheme}:// is no provider that can be called"));
    }
    let category = parameters("category").filter(|category| !category.split(',').any(|c| c.trim() == "providers"));
    let side = parameters("side").filter(|side| *side != "provider");
    let (key, value) = category.map(|value| ("category", value)).or(side.map(|value| ("side", value)))?;
    Some(format!("says {key}={value}, so it is no provider"))
}

/// What the scheme of a URL speaks. An unknown one is bytes.
pub(super) fn protocol(scheme: &str) -> Protocol {
    match scheme {
        // All of them are carried by HTTP.
        "hessian" | "webservice" | "jsonrpc" => Protocol::Http,
        _ => Protocol::parse(scheme).unwrap_or(Protocol::Tcp),
    }
}

/// The weight of a provider relative to Dubbo's default, and what is wrong with the text of it: then the default counts.
pub(super) fn weight<'a>(parameters: impl Fn(&str) -> Option<&'a str>) -> (Weight, Option<String>) {
    let Some(text) = parameters("weight") else { return (Weight::DEFAULT, None) };
    let number = text.parse::<f64>().map_err(|_| format!("weight {text:?} is no number"));
    match number.and_then(|n| Weight::relative(n, DEFAULT_WEIGHT).map_err(|error| error.to_string())) {
        Ok(weight) => (weight, None),
        Err(problem) => (Weight::DEFAULT, Some(format!("{problem}; the default counts"))),
    }
}

/// Whether a provider is switched off.
pub(super) fn is_disabled<'a>(parameters: impl Fn(&str) -> Option<&'a str>) -> bool {
    let is = |key: &str, value: &str| parameters(key).is_some_and(|v| v.eq_ignore_ascii_case(value));
    is("disabled", "true") || is("enabled", "false")
}

/// The parameters that stand in an instance's metadata.
pub(super) fn in_metadata<'a>(metadata: &'a Labels) -> impl Fn(&str) -> Option<&'a str> + use<'a> {
    |key| metadata.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
}

#[derive(Deserialize)]
struct Spoken {
    port: i64,
    protocol: String,
}

/// The protocol of the first port, and the other ports, of an instance of an application; `None` if its metadata does
/// not say them.
pub(super) fn endpoints(metadata: &Labels, first: Port) -> Option<(Option<Protocol>, Vec<EndpointPort>)> {
    let spoken: Vec<Spoken> = serde_json::from_str(metadata.get("dubbo.endpoints")?).ok()?;
    let (mut own, mut others) = (None, Vec::new());
    for Spoken { port, protocol } in spoken {
        let Ok(number) = Port::new(port) else { continue };
        let known = Protocol::parse(&protocol);
        if number == first {
            own = own.or(known);
        } else {
            others.push(EndpointPort { number, protocol: known, name: Some(Text::from(protocol)) });
        }
    }
    others.sort();
    others.dedup();
    Some((own, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters from `key=value&…`.
    fn of<'a>(query: &'a str) -> impl Fn(&str) -> Option<&'a str> {
        move |key| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    #[test]
    fn one_identity_has_one_spelling() {
        let read = |name: &str, query| Identity::of_name(name, of(query)).map(|identity| identity.service());
        for (name, query, expected) in [
            ("providers:a.B:1.0.0", "", "a.B::1.0.0"),
            ("providers:a.B:1.0.0:", "", "a.B::1.0.0"),
            ("providers:a.B:1.0.0:g", "", "a.B:g:1.0.0"),
            ("providers:a.B::g", "", "a.B:g"),
            ("providers:a.B::-", "", "a.B"),
            ("providers:a.B:0.0.0:", "", "a.B"),
            ("providers:a.B", "", "a.B"),
            ("providers:a.B___C::", "", "a.B$C"),
            ("providers:a.B:gray", "group=gray", "a.B:gray"),
            ("providers:a.B:gray", "version=gray", "a.B::gray"),
            ("providers:a.B:gray", "interface=a.B", "a.B::gray"),
            ("providers:a.B:1.0.0:g", "group=g&version=1.0.0", "a.B:g:1.0.0"),
            ("providers:a.B:1.0.0:1.0.0", "group=1.0.0&version=1.0.0", "a.B:1.0.0:1.0.0"),
        ] {
            assert_eq!(read(name, query).as_deref(), Some(expected), "{name} with {query}");
        }
        for name in ["orders", "consumers:a.B:1.0.0:g", "provider:a.B"] {
            assert_eq!(read(name, ""), None, "{name}");
        }
    }

    #[test]
    fn a_consumer_is_no_provider_wherever_it_stands() {
        for (scheme, query) in
            [("consumer", ""), ("dubbo", "category=consumers"), ("dubbo", "side=consumer"), ("override", "")]
        {
            assert!(no_provider(scheme, of(query)).is_some(), "{scheme}://?{query}");
        }
        for query in ["", "category=providers&side=provider", "category=providers,configurators"] {
            assert_eq!(no_provider("dubbo", of(query)), None, "{query}");
        }
    }
}
