//! One instance, as its registry has it.

use super::{Few, Labels, Port, Protocol, Text, Weight};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Where an instance listens. Registries do hold host names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An address literal, without any zone (`%eth0` is stripped).
    Ip(IpAddr),
    /// A name to be resolved; what becomes of it is policy.
    Host(Text),
    /// The path of a unix socket.
    Unix(Text),
}

impl Address {
    /// Reads an address as registries write it: `10.0.0.1`, `::1`, `[::1]`, `fe80::1%eth0`, `unix:/run/x.sock`,
    /// `/run/x.sock`, or a host name. `None` for what can be none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
            return path.starts_with('/').then(|| Address::Unix(path.into()));
        }
        if text.starts_with('/') {
            return Some(Address::Unix(text.into()));
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        let bare = bare.split_once('%').map_or(bare, |(address, _zone)| address);
        if let Ok(ip) = bare.parse() {
            return Some(Address::Ip(ip));
        }
        // An underscore is no part of a host name, but resolvers accept it and container networks use it.
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let plausible =
            !text.is_empty() && text.len() <= 253 && text.chars().all(named) && !text.starts_with(['-', '.']);
        let numeric = text.rsplit('.').find(|l| !l.is_empty()).is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
        (plausible && !numeric).then(|| Address::Host(text.to_ascii_lowercase().into()))
    }
}

impl Address {
    /// The address with a port, as in URLs: IPv6 in brackets.
    pub fn with_port(&self, port: Port) -> String {
        match self {
            Address::Ip(ip) => SocketAddr::new(*ip, port.get()).to_string(),
            Address::Host(_) | Address::Unix(_) => format!("{self}:{port}"),
        }
    }

    /// How notes name a place: the address with its port, or alone where no port is known.
    pub fn place(&self, port: Option<Port>) -> String {
        port.map_or_else(|| self.to_string(), |port| self.with_port(port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(ip) => ip.fmt(f),
            Address::Host(name) => f.write_str(name),
            Address::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// What the registry says of an instance's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Health {
    /// Passes its checks, or sends its heartbeats.
    Healthy,
    /// Fails its checks, or its heartbeats stay away.
    Unhealthy,
    /// Asked to take no new work.
    Draining,
    /// The registry does not check.
    #[default]
    Unknown,
}

impl Health {
    /// The word in the admin API and in catalogue files, such as `healthy`.
    pub const fn name(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
            Health::Draining => "draining",
            Health::Unknown => "unknown",
        }
    }

    /// Reads what [`Health::name`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        [Health::Healthy, Health::Unhealthy, Health::Draining, Health::Unknown].into_iter().find(|h| h.name() == text)
    }

    /// Whether it counts as able to serve: healthy, or not known to be otherwise.
    pub const fn serves(self) -> bool {
        matches!(self, Health::Healthy | Health::Unknown)
    }
}

/// Where an instance runs, from large to small: region, zone, sub-zone. Empty parts are unknown.
///
/// Most say nothing, or what their neighbours say: a clone is the same value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Locality(Option<Arc<[Text; 3]>>);

impl Locality {
    /// For example `cn-hangzhou`, `cn-hangzhou-h`, and a rack or a room; an empty part is unknown.
    pub fn new(region: impl Into<Text>, zone: impl Into<Text>, sub_zone: impl Into<Text>) -> Self {
        let parts = [region.into(), zone.into(), sub_zone.into()];
        Locality(parts.iter().any(|part| !part.is_empty()).then(|| Arc::new(parts)))
    }

    /// Reads `region/zone/sub-zone`; missing parts are empty.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, '/').map(str::trim);
        let mut part = || parts.next().unwrap_or_default();
        Locality::new(part(), part(), part())
    }

    /// The first part, `eu-west` of `eu-west/a/rack-7`; empty if nothing is known.
    pub fn region(&self) -> &str {
        self.part(0)
    }

    /// The second part, `a` of `eu-west/a/rack-7`; empty if it is unknown.
    pub fn zone(&self) -> &str {
        self.part(1)
    }

    /// The third part, `rack-7` of `eu-west/a/rack-7`; empty if it is unknown.
    pub fn sub_zone(&self) -> &str {
        self.part(2)
    }

    fn part(&self, at: usize) -> &str {
        self.0.as_ref().map_or("", |parts| &parts[at])
    }

    /// Shares the memory of the other value, if both are equal.
    pub(super) fn share(&mut self, other: &Locality) {
        if self == other {
            self.clone_from(other);
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}/{}/{}", self.region(), self.zone(), self.sub_zone());
        f.write_str(text.trim_end_matches('/'))
    }
}

/// A port of an instance, as far as the registry tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointPort {
    /// The number on which the instance listens; clients may ask for another, the service's.
    pub number: Port,
    /// What it speaks, if the instance says; else the registry's default holds.
    pub protocol: Option<Protocol>,
    /// Which port of the service it is, if the instance says; else it is named after its protocol.
    pub name: Option<Text>,
}

impl EndpointPort {
    /// A port of which only the number is known.
    pub fn plain(number: Port) -> Self {
        EndpointPort { number, protocol: None, name: None }
    }
}

/// An instance of a service, with everything its registry says of it, whether it may be served or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// As the registry has it: policy decides later what becomes of a host name or of loopback.
    pub address: Address,
    /// Its ports; at least one, except for unix sockets.
    pub ports: Few<EndpointPort>,
    /// Its share of traffic, relative to the registry's default; 0: it takes none.
    pub weight: Weight,
    /// As the registry says it, before any protection.
    pub health: Health,
    /// An instance switched off in the registry is never served.
    pub enabled: bool,
    /// Where it runs; clients prefer what is near.
    pub locality: Locality,
    /// All metadata, kept whole.
    pub labels: Labels,
    /// Whether it wants TLS.
    pub secure: bool,
}

impl Endpoint {
    /// An enabled, healthy instance of weight 1 of which nothing else is known.
    pub fn new(address: Address, port: Port) -> Self {
        Endpoint {
            address,
            ports: [EndpointPort::plain(port)].into(),
            weight: Weight::DEFAULT,
            health: Health::Healthy,
            enabled: true,
            locality: Locality::default(),
            labels: Labels::new(),
            secure: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_registries_write_them() {
        let ip = |text: &str| Some(Address::Ip(text.parse().unwrap()));
        for (text, expected) in [
            ("10.0.0.1", ip("10.0.0.1")),
            (" 10.0.0.1 ", ip("10.0.0.1")),
            ("[::1]", ip("::1")),
            ("fe80::1%eth0", ip("fe80::1")),
            ("unix:/run/a.sock", Some(Address::Unix("/run/a.sock".into()))),
            ("/run/a.sock", Some(Address::Unix("/run/a.sock".into()))),
            ("Node-1.internal", Some(Address::Host("node-1.internal".into()))),
            ("", None),
            ("10.0.0.256", None),
            ("a b", None),
            ("unix:relative", None),
        ] {
            assert_eq!(Address::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn localities_read_and_print_from_large_to_small() {
        assert_eq!(Locality::parse("cn/hz/a").to_string(), "cn/hz/a");
        assert_eq!(Locality::parse("cn").to_string(), "cn");
        assert!(Locality::parse("").is_empty() && Locality::parse("/ /").is_empty());
        assert!(Locality::default() < Locality::parse("cn"));
    }
}
