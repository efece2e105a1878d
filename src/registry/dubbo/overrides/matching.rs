//! The conditions of Dubbo 3's rules (`match` of a configurator: `ConditionMatch`). Pure.

use super::target::{ANY_HOST, Side, Target};
use crate::model::Text;
use ipnet::IpNet;
use std::net::IpAddr;

/// The conditions of a rule. All that are present must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Match {
    /// Address of the side that applies the rule.
    pub(super) address: Option<AddressMatch>,
    /// Address of the provider, as `host:port`.
    pub(super) provider_address: Option<AddressMatch>,
    /// The service as `group/interface:version`; one of these must hold.
    pub(super) service: Option<Vec<StringMatch>>,
    /// Application of the side that applies the rule; one of these must hold.
    pub(super) application: Option<Vec<StringMatch>>,
    pub(super) parameters: Vec<(Text, StringMatch)>,
}

/// A condition on an address.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AddressMatch {
    Network(IpNet),
    /// A pattern in which the last `*` stands for any characters.
    Wildcard(Text),
    Exact(Text),
}

/// A condition on a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StringMatch {
    Exact(Text),
    Prefix(Text),
    /// `*` holds for any text, and anything else for an equal one.
    Wildcard(Text),
    Empty,
    NotEmpty,
}

impl Match {
    pub(super) fn names_consumers(&self) -> bool {
        self.application.is_some() || self.address.as_ref().is_some_and(|address| !address.is_any())
    }

    pub(super) fn holds(&self, side: Side, target: &Target<'_>, get: &dyn Fn(&str) -> Option<Text>) -> bool {
        let own = if side == Side::Provider { target.host } else { ANY_HOST };
        let application = if side == Side::Provider { target.application } else { None };
        let place = format!("{}:{}", target.host, target.port);
        let any = |all: &Option<Vec<StringMatch>>, text: Option<&str>| {
            all.as_ref().is_none_or(|all| all.iter().any(|one| one.holds(text)))
        };
        self.address.as_ref().is_none_or(|address| address.is_any() || address.holds(own))
            && self.provider_address.as_ref().is_none_or(|address| address.holds(&place))
            && any(&self.service, Some(&target.identity.key()))
            && any(&self.application, application)
            && self.parameters.iter().all(|(key, value)| value.holds(get(key).as_deref()))
    }
}

impl AddressMatch {
    fn is_any(&self) -> bool {
        matches!(self, AddressMatch::Wildcard(pattern) if matches!(&**pattern, "*" | ANY_HOST))
    }

    fn holds(&self, address: &str) -> bool {
        match self {
            AddressMatch::Network(network) => host(address).is_some_and(|host| network.contains(&host)),
            AddressMatch::Wildcard(_) if self.is_any() => true,
            AddressMatch::Wildcard(pattern) => match pattern.rsplit_once('*') {
                None => **pattern == *address,
                Some((before, behind)) => address.starts_with(before) && address.ends_with(behind),
            },
            AddressMatch::Exact(exact) => **exact == *address,
        }
    }
}

/// The IP address in an address with or without a port; `None` for a name.
fn host(address: &str) -> Option<IpAddr> {
    address.parse().ok().or_else(|| address.rsplit_once(':')?.0.parse().ok())
}

impl StringMatch {
    pub(super) fn holds(&self, text: Option<&str>) -> bool {
        match self {
            StringMatch::Exact(exact) => text == Some(exact),
            StringMatch::Prefix(prefix) => text.is_some_and(|text| text.starts_with(&**prefix)),
            StringMatch::Wildcard(pattern) => text.is_some_and(|text| **pattern == *"*" || text == &**pattern),
            StringMatch::Empty => text.is_none_or(str::is_empty),
            StringMatch::NotEmpty => text.is_some_and(|text| !text.is_empty()),
        }
    }
}
