//! Which names are looked up, where, and how often: plain values with defaults, read from the section `dns`.

use crate::{
    model::{Port, Protocol, Text},
    util::{
        host_port::HostPort,
        yaml::{Section, Value},
    },
};
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

/// Everything about one registry of kind `dns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The names to look up; each is a service. Never empty.
    pub names: Vec<Name>,
    /// Name servers; if empty, those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// The shortest and the longest time until a name is looked up again. Between them the TTL of its answer counts.
    pub ttl: (Duration, Duration),
    /// Timeout of one query to a name server.
    pub timeout: Duration,
}

/// A name to look up, and the service that it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name to look up, such as `_http._tcp.web.example`.
    pub name: Text,
    /// Name of the service; by default `name` without a dot at its end.
    pub service: Text,
    /// The records to look up.
    pub asked: Asked,
    /// Protocol of the instances; `None` if the configuration does not name one.
    pub protocol: Option<Protocol>,
}

/// The records that are looked up for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SRV records, which have hosts and ports.
    Srv,
    /// A and AAAA records; every address listens on this port.
    Addresses(Port),
}

impl Config {
    /// A configuration with these names, and the default for every other key.
    pub fn new(names: Vec<Name>) -> Self {
        Config {
            names,
            servers: Vec::new(),
            ttl: (Duration::from_secs(5), Duration::from_secs(300)),
            timeout: Duration::from_secs(3),
        }
    }

    /// Reads the section `dns`; `None` after it has reported what is wrong with it.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let seconds = Duration::from_secs;
        let names = section.need("names", |v| {
            let names = v.one_or_each(Name::read)?;
            let mut services = BTreeSet::new();
            if let Some(twice) = names.iter().find(|name| !services.insert(&name.service)) {
                return v.problem(format!("two names for the service {:?}; say another by `service`", &*twice.service));
            }
            if names.is_empty() && v.is_list() && v.list()?.is_empty() {
                v.problem("names nothing")
            } else {
                Some(names)
            }
        });
        let servers = section.get("servers", |v| v.one_or_each(|v| v.parse(server)));
        let min_ttl = section.get("min_ttl", |v| v.duration(Duration::from_millis(100)..=seconds(3600)));
        let max_ttl = section.get("max_ttl", |v| v.duration(Duration::from_millis(100)..=seconds(24 * 3600)));
        let timeout = section.get("timeout", |v| v.duration(Duration::from_millis(10)..=seconds(60)));
        let defaults = Config::new(names?);
        let (min, max) = (min_ttl.unwrap_or(defaults.ttl.0), max_ttl.unwrap_or(defaults.ttl.1));
        if min > max {
            return section.value().problem("`min_ttl` is longer than `max_ttl`");
        }
        Some(Config {
            servers: servers.unwrap_or_default(),
            ttl: (min, max),
            timeout: timeout.unwrap_or(defaults.timeout),
            names: defaults.names,
        })
    }
}

impl Name {
    /// Reads a name. Without a port, such as a text alone, its SRV records are looked up.
    fn read(value: &Value<'_>) -> Option<Self> {
        if !value.is_map() {
            let name = value.parse(checked)?;
            return Some(Name { service: bare(&name), name, asked: Asked::Srv, protocol: None });
        }
        value.section(|s| {
            let name = s.need("name", |v| v.parse(checked));
            let service = s.get("service", Value::string).map(Text::from);
            let port = s.get("port", |v| v.check(Port::new(v.integer(1..=65_535_i64)?)));
            let protocol = s.get("protocol", |v| {
                v.parse(|text| Protocol::parse(text).ok_or_else(|| format!("{text:?} is no protocol that is known")))
            });
            let name = name?;
            let service = service.unwrap_or_else(|| bare(&name));
            Some(Name { service, name, asked: port.map_or(Asked::Srv, Asked::Addresses), protocol })
        })
    }
}

fn bare(name: &Text) -> Text {
    name.trim_end_matches('.').into()
}

fn checked(text: &str) -> Result<Text, String> {
    let labels = text.trim_end_matches('.').split('.');
    let good = |label: &str| {
        (1..=63).contains(&label.len()) && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    match text.len() <= 254 && labels.into_iter().all(good) {
        true => Ok(text.into()),
        false => Err(format!("{text:?} is no name of DNS")),
    }
}

/// A name server: `10.0.0.53`, or with a port; 53 without one.
fn server(text: &str) -> Result<SocketAddr, String> {
    let read = HostPort::parse(text).map_err(|error| error.to_string())?.or_port(53);
    read.socket().ok_or_else(|| format!("{text:?} is no address; a name server is known by one, such as 10.0.0.53"))
}
