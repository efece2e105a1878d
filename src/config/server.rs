//! `xds:` and `admin:`: where Portolan listens, and the limits of clients.

use super::{
    bounds::DAY,
    listeners::{self, Listener},
};
use crate::{
    identity::TlsFiles,
    model::{Hostname, Text},
    resource::Family,
    scope::{Rollout, Share, Unmatched},
    util::{
        secret::Secret,
        yaml::{Section, Value},
    },
    xds::{Address, MemoryLimits, Options},
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

/// The settings of the xDS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xds {
    /// The addresses that clients connect to (`listeners`, or `listen` for one without TLS). `127.0.0.1:16010` by
    /// default; port 0 takes any that is free.
    pub listeners: Vec<Listener>,
    /// Over how long streams end when Portolan stops (`drain`). 1 s by default, 0 to 10 min.
    pub drain: Duration,
    /// At what age a connection is ended, give or take some, so that clients spread over replicas
    /// (`max_connection_age`). Never by default; 1 min to 7 days.
    pub max_connection_age: Option<Duration>,
    /// What clients get that no scope fits (`unmatched`). By default everything, unless a listener asks who they are: then
    /// they are refused.
    pub unmatched: Unmatched,
    /// The limits of clients (`limits`).
    pub limits: Limits,
    /// How changed output settings come to nodes in steps (`rollout`). `None`, the default: to all at once.
    pub rollout: Option<Rollout>,
}

/// The most steps of a rollout.
const STEPS: usize = 20;

/// The range of the limits of memory, in bytes.
const BYTES_HELD: RangeInclusive<usize> = 1 << 20..=64 << 30;

/// The limits of clients, each of which refuses what is more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once (`connections`). 20,000 by default, 1 to 1 million.
    pub connections: usize,
    /// Streams at once, on all connections together (`streams`). 20,000 by default, 1 to 1 million.
    pub streams: usize,
    /// Streams on one connection (`streams_per_connection`). 100 by default, 1 to 10,000.
    pub streams_per_connection: u32,
    /// Resource names that one stream subscribes to, over all types (`names_per_stream`). 200,000 by default, 1 to 10
    /// million.
    pub names_per_stream: usize,
    /// Bytes of one request (`request`). 16 MiB by default, 64 KiB to 1 GiB: Envoy repeats all that it has when it
    /// connects again.
    pub request_bytes: usize,
    /// How long a request may take from its first byte to its last, and a stream to its first request
    /// (`request_time`). 30 s by default, 1 s to 1 h.
    pub request_time: Duration,
    /// Connections at once from one address (`connections_per_peer`). 5,000 by default, 1 to 1 million.
    pub connections_per_peer: usize,
    /// Streams at once from one address (`streams_per_peer`). 5,000 by default, 1 to 1 million.
    pub streams_per_peer: usize,
    /// To how many streams first answers are sent at a time (`first_answers`). 100 by default, 1 to 1 million.
    pub first_answers: usize,
    /// Bytes of unfinished requests and subscriptions, of all clients (`memory`). 256 MiB by default, 1 MiB to 64 GiB.
    pub memory: usize,
    /// Bytes of unfinished requests and subscriptions of one address (`memory_per_peer`). 128 MiB by default.
    pub memory_per_peer: usize,
    /// Bytes of unfinished requests and subscriptions of one stream (`memory_per_stream`). 64 MiB by default.
    pub memory_per_stream: usize,
}

impl Default for Xds {
    fn default() -> Self {
        Xds {
            listeners: vec![Listener::plain((Ipv4Addr::LOCALHOST, 16010).into())],
            drain: Duration::from_secs(1),
            max_connection_age: None,
            unmatched: Unmatched::default(),
            limits: Limits::default(),
            rollout: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 20_000,
            streams: 20_000,
            streams_per_connection: 100,
            names_per_stream: 200_000,
            request_bytes: 16 << 20,
            request_time: Duration::from_secs(30),
            connections_per_peer: 5_000,
            streams_per_peer: 5_000,
            first_answers: 100,
            memory: 256 << 20,
            memory_per_peer: 128 << 20,
            memory_per_stream: 64 << 20,
        }
    }
}

impl Xds {
    /// The names that scopes may refer to by `listener`.
    pub(super) fn listener_names(&self) -> BTreeSet<Text> {
        self.listeners.iter().map(|listener| listener.name.clone()).collect()
    }

    /// The TCP addresses of all listeners, each with the path of its key, such as `xds.listen`.
    pub fn tcp(&self) -> impl Iterator<Item = (String, SocketAddr)> {
        self.listeners.iter().filter_map(|listener| match listener.address {
            Address::Tcp(address) => Some((listener.key("listen"), address)),
            Address::Unix { .. } => None,
        })
    }

    /// The address of the first TCP listener that is for clients of a family. `None`: there is none.
    pub fn address_for(&self, family: Family) -> Option<SocketAddr> {
        self.listeners.iter().filter(|l| l.clients.is_none_or(|clients| clients == family)).find_map(|l| {
            match l.address {
                Address::Tcp(address) => Some(address),
                Address::Unix { .. } => None,
            }
        })
    }

    /// The settings that the server takes as [`Options`]; listeners, scopes and rollout are not part of them.
    pub fn options(&self) -> Options {
        let limits = &self.limits;
        Options {
            max_request_bytes: limits.request_bytes,
            max_names: limits.names_per_stream,
            max_streams: limits.streams,
            max_streams_per_connection: limits.streams_per_connection,
            max_connections: limits.connections,
            max_connections_per_peer: limits.connections_per_peer,
            max_streams_per_peer: limits.streams_per_peer,
            request_time: limits.request_time,
            first_answers: limits.first_answers,
            memory: MemoryLimits {
                stream: limits.memory_per_stream,
                peer: limits.memory_per_peer,
                server: limits.memory,
            },
            drain: self.drain,
            max_connection_age: self.max_connection_age,
            ..Options::default()
        }
    }

    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let default = Xds::default();
        let unmatched = Unmatched::ALL.map(|u| (u.name(), u));
        let listeners = listeners::read(section);
        let authenticates = listeners.iter().flatten().any(|listener| listener.credentials.authenticates());
        let otherwise = if authenticates { Unmatched::Refuse } else { Unmatched::default() };
        Some(Xds {
            listeners: listeners.unwrap_or(default.listeners),
            drain: section.get("drain", |v| v.duration(Duration::ZERO..=DAY / 144)).unwrap_or(default.drain),
            max_connection_age: section.get("max_connection_age", |v| v.duration(DAY / 1440..=DAY * 7)),
            unmatched: section.get("unmatched", |v| v.word(&unmatched)).unwrap_or(otherwise),
            limits: section.section("limits", Limits::read).unwrap_or_default(),
            rollout: section.section("rollout", read_rollout),
        })
    }
}

/// Keys: `steps` (5%, 25%, 100%), `wait` (60 s, 1 s to 1 day) and `refusals` (1, 1 to 1,000).
fn read_rollout(section: &mut Section<'_>) -> Option<Rollout> {
    let steps = section.get("steps", |v| {
        let steps: Vec<Share> = v.each(Value::fraction)?.into_iter().map(Share::new).collect();
        let rises = steps.first() > Some(&Share::NONE) && steps.windows(2).all(|pair| pair[0] < pair[1]);
        if !rises || steps.last() != Some(&Share::ALL) || steps.len() > STEPS {
            return v.problem(format!("must be 1 to {STEPS} shares, each more than the one before, and the last 100%"));
        }
        Some(steps)
    });
    Some(Rollout {
        steps: steps.unwrap_or_else(|| [0.05, 0.25, 1.0].map(Share::new).into()),
        wait: section.get("wait", |v| v.duration(DAY / 86_400..=DAY)).unwrap_or(DAY / 1440),
        refusals: section.get("refusals", |v| v.integer(1..=1_000)).unwrap_or(1),
    })
}

impl Limits {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let default = Limits::default();
        let million = 1_000_000;
        Some(Limits {
            connections: section.get("connections", |v| v.integer(1..=million)).unwrap_or(default.connections),
            streams: section.get("streams", |v| v.integer(1..=million)).unwrap_or(default.streams),
            streams_per_connection: section
                .get("streams_per_connection", |v| v.integer(1..=10_000))
                .unwrap_or(default.streams_per_connection),
            names_per_stream: section
                .get("names_per_stream", |v| v.integer(1..=10 * million))
                .unwrap_or(default.names_per_stream),
            request_bytes: section.get("request", |v| v.bytes(64 << 10..=1 << 30)).unwrap_or(default.request_bytes),
            request_time: section
                .get("request_time", |v| v.duration(DAY / 86_400..=DAY / 24))
                .unwrap_or(default.request_time),
            connections_per_peer: section
                .get("connections_per_peer", |v| v.integer(1..=million))
                .unwrap_or(default.connections_per_peer),
            streams_per_peer: section
                .get("streams_per_peer", |v| v.integer(1..=million))
                .unwrap_or(default.streams_per_peer),
            first_answers: section.get("first_answers", |v| v.integer(1..=million)).unwrap_or(default.first_answers),
            memory: section.get("memory", |v| v.bytes(BYTES_HELD)).unwrap_or(default.memory),
            memory_per_peer: section.get("memory_per_peer", |v| v.bytes(BYTES_HELD)).unwrap_or(default.memory_per_peer),
            memory_per_stream: section
                .get("memory_per_stream", |v| v.bytes(BYTES_HELD))
                .unwrap_or(default.memory_per_stream),
        })
    }
}

/// The settings of the admin API (`admin:`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Address and port (`listen`). `127.0.0.1:8081` by default; port 0 takes any that is free. An address that other
    /// machines reach needs `allow_remote: true`, and `tokens` or `tls`.
    pub listen: SocketAddr,
    /// Names and addresses that requests may name as their host, beside those of loopback and `listen` (`hosts`). None
    /// by default. Other requests are refused, because a page of another site may have sent them.
    pub hosts: Vec<String>,
    /// Tokens that allow to read (`tokens.read`). None by default: reading needs no token.
    pub read: Vec<Secret>,
    /// Tokens that allow everything (`tokens.change`), with their names for the history. Where there are some, a change
    /// needs one of these.
    pub change: Vec<(Text, Secret)>,
    /// The certificate and key for TLS (`tls`). `None`, the default: plain HTTP.
    pub tls: Option<TlsFiles>,
}

impl Default for Admin {
    fn default() -> Self {
        let listen = (Ipv4Addr::LOCALHOST, 8081).into();
        Admin { listen, hosts: Vec::new(), read: Vec::new(), change: Vec::new(), tls: None }
    }
}

impl Admin {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let allowed = section.get("allow_remote", |v| v.bool()).unwrap_or(false);
        let tls = section.narrow("tls", "HTTP would be plain", |v| listeners::read_own_tls(v));
        let tokens = |v: &Value<'_>| v.section(read_tokens);
        let (read, change) = section.narrow("tokens", listeners::NO_TOKEN, tokens).unwrap_or_default();
        let listen = section.get("listen", |v| {
            let address = v.socket_address()?;
            match (address.ip().is_loopback(), allowed) {
                (true, _) => {}
                (false, false) => {
                    return v.problem(format!(
                        "{address} can be reached from other machines; listen on 127.0.0.1, or add `allow_remote: true` with `tokens` or `tls`"
                    ));
                }
                (false, true) if read.is_empty() && tls.is_none() => {
                    return v.problem(format!(
                        "{address} would show everything to other machines; add `tokens`, or `tls` at least"
                    ));
                }
                (false, true) if read.is_empty() => {
                    v.warn(format!("{address} shows everything, without authentication, to other machines; add `tokens`"));
                }
                (false, true) if tls.is_none() => {
                    v.warn(format!("{address} can be reached from other machines, without encryption: tokens can be read on the way; add `tls`"));
                }
                (false, true) => {}
            }
            Some(address)
        });
        let default = Admin::default();
        Some(Admin {
            listen: listen.unwrap_or(default.listen),
            hosts: section.get("hosts", |v| v.each(host)).unwrap_or(default.hosts),
            read,
            change,
            tls,
        })
    }
}

/// Tokens with their names.
type Named = Vec<(Text, Secret)>;

/// Tokens for reading, and for changes.
fn read_tokens(section: &mut Section<'_>) -> Option<(Vec<Secret>, Named)> {
    let read = section.narrow("read", listeners::NO_TOKEN, |v| v.one_or_each(listeners::token)).unwrap_or_default();
    let change = match read.is_empty() {
        true => section.narrow("change", listeners::NO_TOKEN, changing),
        // Whoever may read may change nothing then.
        false => section.get("change", changing),
    };
    let change = change.unwrap_or_default();
    if change.iter().any(|(_, token)| read.contains(token)) {
        return section.value().problem("`read` and `change` have the same token; give each its own");
    }
    Some((read, change))
}

/// A mapping of names to tokens; or tokens without names, which are named by their place: `admin.tokens.change[0]`.
fn changing(value: &Value<'_>) -> Option<Named> {
    if !value.is_map() {
        let tokens = value.one_or_each(listeners::token)?;
        let name = |(place, token)| (format!("admin.tokens.change[{place}]").into(), token);
        return Some(tokens.into_iter().enumerate().map(name).collect());
    }
    let named = value.entries()?.into_iter();
    Some(named.filter_map(|(name, value)| Some((name.into(), listeners::token(&value)?))).collect())
}

/// A host as browsers and scripts name it: a name or an address, without a port.
fn host(value: &Value<'_>) -> Option<String> {
    let text = value.string()?;
    match (text.parse::<IpAddr>(), Hostname::new(&text.to_ascii_lowercase())) {
        (Ok(ip), _) => Some(ip.to_string()),
        (_, Ok(name)) => Some(name.to_string()),
        _ => value.problem(format!("{text:?} is neither a host name nor an address; write it without a port")),
    }
}
