//! One configurator: for which providers it holds, and what it sets. Pure.
//!
//! Dubbo applies configurators at both sides (`AbstractConfigurator`, 3.2 and 3.3): a provider to what it registers, a
//! consumer to what it finds. A mesh serves all consumers alike, so a rule for single consumers holds for nobody here; that
//! it is one is said once ([`Rule::is_for_some_consumers`]).

use super::{
    matching::Match,
    target::{ANY_HOST, Side, Target},
};
use crate::{
    model::Text,
    registry::dubbo::{Identity, url::Url},
};

/// Parameters by which a configurator describes itself; they are not set.
const ITS_OWN: [&str; 14] = [
    "category",
    "check",
    "dynamic",
    "enabled",
    "group",
    "version",
    "application",
    "side",
    "configVersion",
    "compatible_config",
    "interfaces",
    "interface",
    "providerAddresses",
    "priority",
];

/// One configurator, from a URL or from an item of a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(super) side: Side,
    pub(super) host: Text,
    /// Port of the provider at `host`; only in rules of Dubbo 2.6.
    pub(super) port: Option<u16>,
    /// The service that it is for; `None` for all services.
    pub(super) service: Option<Identity>,
    /// Application of the side that applies it; `None` for all applications.
    pub(super) application: Option<Text>,
    /// The providers that it is for, as `host:port`, `host`, `0.0.0.0` or `0.0.0.0:port`. Empty for all.
    pub(super) providers: Vec<Text>,
    /// Parameters that the provider must have, in rules of Dubbo 2.
    pub(super) conditions: Vec<(Text, Text)>,
    /// Conditions of Dubbo 3; `None` if there are none.
    pub(super) matching: Option<Match>,
    pub(super) values: Vec<(Text, Text)>,
    /// Only parameters that are absent are set (`absent://`).
    pub(super) only_absent: bool,
    pub(super) priority: i64,
}

impl Rule {
    /// The rule that a URL is; `None` if it is disabled, or sets nothing.
    ///
    /// # Errors
    /// If the URL is no configurator, or names no side though it must.
    pub(crate) fn of_url(url: &Url) -> Result<Option<Rule>, String> {
        let only_absent = match &*url.scheme {
            "override" => false,
            "absent" => true,
            "empty" => return Ok(None),
            other => return Err(format!("{other}:// is no configurator")),
        };
        let get = |key: &str| url.parameters.get(key).map(|v| v.trim()).filter(|v| !v.is_empty());
        if get("enabled").is_some_and(|enabled| !enabled.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let side = match (get("configVersion"), get("side")) {
            (None, _) => Side::Both,
            (Some(_), Some("provider")) => Side::Provider,
            (Some(_), Some("consumer")) => Side::Consumer,
            (Some(_), _) => return Err("says no side, so neither side of Dubbo applies it".into()),
        };
        let interface = get("interface").unwrap_or(&url.path);
        let service = (interface != "*")
            .then(|| Identity::new(interface, get("group").unwrap_or_default(), get("version").unwrap_or_default()));
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        for (key, value) in &url.parameters {
            if let Some(key) = key.strip_prefix('~') {
                conditions.push((key.into(), value.as_str().into()));
            } else if !ITS_OWN.contains(&&**key) && key != "anyhost" {
                values.push((key.as_str().into(), value.as_str().into()));
            }
        }
        // What stands there decides for whom of both it is.
        if let (Side::Both, Some(side)) = (side, get("side")) {
            conditions.push(("side".into(), side.into()));
        }
        if values.is_empty() {
            return Ok(None);
        }
        let list = |text: &str| text.split(',').map(str::trim).filter(|a| !a.is_empty()).map(Text::from).collect();
        Ok(Some(Rule {
            side,
            host: url.host.as_str().into(),
            port: (side == Side::Both).then(|| u16::try_from(url.port).ok()).flatten().filter(|port| *port != 0),
            service,
            application: get("application").filter(|application| *application != "*").map(Text::from),
            providers: get("providerAddresses").map(list).unwrap_or_default(),
            conditions,
            matching: None,
            values,
            only_absent,
            priority: get("priority").and_then(|priority| priority.parse().ok()).unwrap_or_default(),
        }))
    }

    /// True if it names consumers. It is then not applied, since a mesh serves all consumers alike.
    pub(super) fn is_for_some_consumers(&self) -> bool {
        let is_any = &*self.host == ANY_HOST;
        match self.side {
            Side::Provider => false,
            Side::Both => self.port.is_none() && !is_any,
            Side::Consumer => {
                let names = self.matching.as_ref().is_some_and(Match::names_consumers);
                !is_any || self.application.is_some() || names
            }
        }
    }

    /// True if it holds for a provider when `side` applies it. `get` gives the parameters so far.
    pub(super) fn holds(&self, side: Side, target: &Target<'_>, get: &dyn Fn(&str) -> Option<Text>) -> bool {
        self.is_of(side, target) && self.is_for(side, target) && self.matches(side, target, get)
    }

    /// True if `side` applies it, by side, host and port.
    fn is_of(&self, side: Side, target: &Target<'_>) -> bool {
        let is_any = &*self.host == ANY_HOST;
        match (self.side, side, self.port) {
            (Side::Both, _, Some(port)) => port == target.port && (is_any || *self.host == *target.host),
            (Side::Both, _, None) => is_any,
            (Side::Provider, Side::Provider, _) => is_any || *self.host == *target.host,
            (Side::Consumer, Side::Consumer, _) => is_any,
            _ => false,
        }
    }

    /// True if it is for this service, application and provider.
    fn is_for(&self, side: Side, target: &Target<'_>) -> bool {
        let application = self.application.as_deref();
        let is_its_own = side == Side::Provider && application == target.application;
        let is_there = |address: &Text| {
            let (host, port) = address.rsplit_once(':').unwrap_or((address, "*"));
            let is_port = port == "*" || port.parse() == Ok(target.port);
            (host == ANY_HOST || host == target.host) && is_port
        };
        self.service.as_ref().is_none_or(|service| service == target.identity)
            && (application.is_none() || is_its_own)
            && (self.providers.is_empty() || self.providers.iter().any(is_there))
    }

    fn matches(&self, side: Side, target: &Target<'_>, get: &dyn Fn(&str) -> Option<Text>) -> bool {
        let own = if side == Side::Provider { "provider" } else { "consumer" };
        let is_so = |(key, value): &(Text, Text)| match &**value {
            "*" => true,
            value if &**key == "side" => value == own,
            value => get(key).as_deref() == Some(value),
        };
        self.conditions.iter().all(is_so)
            && self.matching.as_ref().is_none_or(|matching| matching.holds(side, target, get))
    }
}
