//! Which clients a rule is about.

use crate::{
    identity::{Identity, NamePattern},
    model::Text,
    resource::Dialect,
    xds::{MetadataValue, Node},
};
use ipnet::IpNet;
use std::{fmt, net::IpAddr};
use wildmatch::WildMatch;

/// A client, as the rules of `scopes:` see it.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// What it says of itself in its first request.
    pub node: &'a Node,
    /// The other side's address; `None`: it came by a Unix socket.
    pub address: Option<IpAddr>,
    /// The name of the listener that it came in by.
    pub listener: &'a str,
    /// Who it has proved to be; `None`: nobody.
    pub identity: Option<&'a Identity>,
    /// Which resources it can take.
    pub dialect: Dialect,
}

/// What a client must be. All that is given must fit. A value that was too long to be kept fits nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Condition {
    /// The name of the listener that it came in by.
    pub listener: Option<Text>,
    /// One of these fits one of the names that it has proved.
    pub names: Vec<NamePattern>,
    /// Which kind of client it is: Envoy, gRPC or Istiod.
    pub program: Option<Dialect>,
    /// Pattern with `*` and `?` for `node.id`.
    pub id: Option<Text>,
    /// Pattern with `*` and `?` for `node.cluster`.
    pub cluster: Option<Text>,
    /// Path of keys in `node.metadata` and pattern for the value there: a text, number, `true` or `false`, or one of a
    /// list.
    pub metadata: Vec<(Vec<Text>, Text)>,
    /// One of these has its address; a client by a Unix socket is in none.
    pub networks: Vec<IpNet>,
}

impl Condition {
    /// Whether a client fits all that is given.
    pub fn fits(&self, client: &Client<'_>) -> bool {
        let Client { node, address, listener, identity, dialect } = client;
        let text =
            |pattern: &Option<Text>, value: &str| pattern.as_deref().is_none_or(|p| WildMatch::new(p).matches(value));
        let named = self.id.is_some() || self.cluster.is_some();
        let proved = |pattern: &NamePattern| {
            identity.is_some_and(|identity| identity.names().iter().any(|name| pattern.fits(name)))
        };
        self.listener.as_deref().is_none_or(|own| own == *listener)
            && (self.names.is_empty() || self.names.iter().any(proved))
            && self.program.is_none_or(|program| program == *dialect)
            && !(named && node.cut)
            && text(&self.id, &node.id)
            && text(&self.cluster, &node.cluster)
            && self.metadata.iter().all(|(way, pattern)| has(node, way, &WildMatch::new(pattern)))
            && (self.networks.is_empty()
                || address.is_some_and(|address| self.networks.iter().any(|network| network.contains(&address))))
    }
}

/// Whether the metadata has a value at that path that fits, or a list with one that does.
fn has(node: &Node, way: &[Text], pattern: &WildMatch) -> bool {
    let fits = |value| match value {
        MetadataValue::Text(text) => pattern.matches(text),
        MetadataValue::Number(number) => pattern.matches(&number.to_string()),
        MetadataValue::Bool(yes) => pattern.matches(if yes { "true" } else { "false" }),
        MetadataValue::Null | MetadataValue::Struct(_) | MetadataValue::List(_) => false,
    };
    match node.metadata.get(way.iter().map(|key| &**key)) {
        Some(MetadataValue::List(list)) => list.iter().any(fits),
        Some(value) => fits(value),
        None => false,
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.listener.as_ref().map(|listener| format!("listener {listener}")));
        parts.extend(self.names.iter().map(|name| format!("name {name}")));
        parts.extend(self.program.map(|program| format!("client {}", program.name())));
        parts.extend(self.id.as_ref().map(|id| format!("id {id:?}")));
        parts.extend(self.cluster.as_ref().map(|cluster| format!("cluster {cluster:?}")));
        parts.extend(self.metadata.iter().map(|(way, pattern)| format!("metadata {} {pattern:?}", way.join("."))));
        parts.extend(self.networks.iter().map(|network| format!("network {network}")));
        f.write_str(&parts.join(", "))
    }
}
