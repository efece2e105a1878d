//! The lookup of one name in DNS, and the instances that its answer has.

use super::config::{Asked, Config, Name};
use crate::{
    model::{Address, Endpoint, EndpointPort, Note, Port, Reason, Service, Text, Weight},
    registry::chain,
    util::{
        backoff::random,
        resolv::{self, Addresses, Asker, Family},
    },
};
use futures_util::{StreamExt, stream};
use hickory_resolver::{
    config::{NameServerConfig, ResolverConfig, ResolverOpts},
    net::NetError,
    proto::rr::{RData, Record, RecordType, rdata::SRV},
};
use std::{future::ready, net::IpAddr, time::Duration};
use tokio::time::{Instant, timeout_at};

/// The label of an instance that has the host from its SRV record.
const TARGET: &str = "target";
/// The most hosts of one SRV name. More are taken for a mistake or an attack.
const MAX_TARGETS: usize = 1000;
/// The most hosts of one name that are looked up at the same time.
const CONCURRENCY: usize = 16;
/// The longest time for one name with all its hosts, in timeouts of one question.
const TIMEOUTS: u32 = 10;

/// Looks up names at the configured servers, without a cache.
#[derive(Debug)]
pub(super) struct Resolver {
    asker: Asker,
    /// The longest time for one name.
    limit: Duration,
}

/// Why a name has no instances.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{name} cannot be looked up")]
    Lookup {
        name: Text,
        #[source]
        source: Box<NetError>,
    },
    #[error("{name} cannot be looked up within {limit:?}")]
    Slow { name: Text, limit: Duration },
    #[error("{name} names {count} hosts, of which {MAX_TARGETS} are too many")]
    Many { name: Text, count: usize },
}

/// The instances of a name, from one lookup.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) notes: Vec<Note>,
    /// Shortest TTL of the records; zero if there are none, or some instances are those of an earlier lookup.
    pub(super) ttl: Duration,
}

/// A name that is being looked up.
#[derive(Debug, Clone, Copy)]
struct Asking<'a> {
    name: &'a Name,
    /// The service as it was found last.
    last: Option<&'a Service>,
    /// What has no answer by then keeps what it has.
    deadline: Instant,
}

impl Resolver {
    /// # Errors
    /// If the system gives no resolver; why.
    pub(super) fn new(config: &Config) -> Result<Self, Text> {
        let (servers, mut options) = match config.servers.is_empty() {
            true => resolv::system(),
            false => (named(config), ResolverOpts::default()),
        };
        options.timeout = config.timeout;
        // What is known and for how long, the reader knows.
        options.cache_size = 0;
        let asker = Asker::new(servers, options).map_err(|error| Text::from(error.to_string()))?;
        Ok(Resolver { asker, limit: config.timeout * TIMEOUTS })
    }

    /// Looks up the instances of a name. A host, or one family of it, that cannot be looked up now keeps the instances that it
    /// has in `last`.
    pub(super) async fn find(&self, name: &Name, last: Option<&Service>) -> Result<Found, Error> {
        let asking = Asking { name, last, deadline: Instant::now() + self.limit };
        let mut found = match name.asked {
            Asked::Addresses(port) => {
                let addresses = self.addresses(&name.name, asking.deadline).await?;
                let mut found = Found { ttl: addresses.ttl, ..Found::default() };
                found.endpoints.extend(addresses.ips.iter().map(|ip| endpoint(*ip, port, name)));
                if let Some((family, error)) = addresses.unknown {
                    found.keep_family(asking.last(|_| true), family, &name.name, &error);
                }
                found
            }
            Asked::Srv => self.srv(asking).await?,
        };
        // Servers change the order of records from one answer to the next.
        found.endpoints.sort();
        found.endpoints.dedup();
        found.notes.sort();
        Ok(found)
    }

    async fn srv(&self, asking: Asking<'_>) -> Result<Found, Error> {
        let name = &asking.name.name;
        let answer = self.in_time(name, asking.deadline, self.asker.records(name, RecordType::SRV)).await?;
        let records: Vec<(&SRV, u32)> = answer.iter().filter_map(srv).collect();
        if records.len() > MAX_TARGETS {
            return Err(Error::Many { name: name.clone(), count: records.len() });
        }
        // Those of a larger number are for when all of the smallest are down, which only a client knows.
        let first = records.iter().map(|(srv, _)| srv.priority).min();
        let ttl = records.iter().map(|(_, ttl)| *ttl).min().unwrap_or_default();
        let all_zero = records.iter().all(|(srv, _)| srv.weight == 0);
        let targets = records.iter().filter(|(srv, _)| Some(srv.priority) == first && !srv.target.is_root());
        let mut targets: Vec<SRV> = targets.map(|(srv, _)| (*srv).clone()).collect();
        // Else those behind many that do not answer would never have a turn.
        let first = (random() * targets.len() as f64) as usize;
        let first = first.min(targets.len());
        targets.rotate_left(first);
        let targets = stream::iter(targets).map(|srv| self.target(srv, all_zero, asking)).buffered(CONCURRENCY);
        let found = Found { ttl: Duration::from_secs(ttl.into()), ..Found::default() };
        Ok(targets.fold(found, |found, target| ready(found.with(target))).await)
    }

    /// Looks up the host of one SRV record.
    async fn target(&self, srv: SRV, all_zero: bool, asking: Asking<'_>) -> Found {
        let target = Text::from(srv.target.to_utf8().trim_end_matches('.'));
        let mut found = Found { ttl: Duration::MAX, ..Found::default() };
        let Ok(port) = Port::new(srv.port.into()) else {
            found.notes.push(Note::new(Reason::EntryInvalid, target, "its SRV record has port 0"));
            return found;
        };
        let of_target = |e: &Endpoint| e.labels.get(TARGET) == Some(&target);
        match self.addresses(&absolute(&target), asking.deadline).await {
            Ok(Addresses { ips, ttl, unknown }) => {
                if ips.is_empty() {
                    found.notes.push(Note::new(Reason::HostnameUnresolved, target.clone(), "it has no address"));
                }
                found.ttl = ttl;
                // Of several, one with weight 0 gets hardly anything, and not nothing (RFC 2782).
                let share = if all_zero { 1.0 } else { f64::from(srv.weight.max(1)) };
                let weight = Weight::relative(share, 1.0).unwrap_or(Weight::DEFAULT);
                let each = |ip| {
                    let mut endpoint = Endpoint { weight, ..endpoint(ip, port, asking.name) };
                    endpoint.labels.insert(TARGET.into(), target.clone());
                    endpoint
                };
                found.endpoints.extend(ips.into_iter().map(each));
                if let Some((family, error)) = unknown {
                    found.keep_family(asking.last(of_target), family, &target, &error);
                }
            }
            Err(error) => {
                let why = format!("{}; its last addresses stay", chain(&error));
                found.endpoints.extend(asking.last(of_target).cloned());
                found.notes.push(Note::new(Reason::HostnameUnresolved, target.clone(), why));
                found.ttl = Duration::ZERO;
            }
        }
        found
    }

    async fn addresses(&self, name: &Text, deadline: Instant) -> Result<Addresses, Error> {
        self.in_time(name, deadline, self.asker.addresses(name)).await
    }

    async fn in_time<T>(
        &self,
        name: &Text,
        deadline: Instant,
        answer: impl Future<Output = Result<T, NetError>>,
    ) -> Result<T, Error> {
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(Error::Lookup { name: name.clone(), source: Box::new(source) }),
            Err(_elapsed) => Err(Error::Slow { name: name.clone(), limit: self.limit }),
        }
    }
}

impl<'a> Asking<'a> {
    /// The instances of the last lookup of which this holds.
    fn last(&self, holds: impl Fn(&Endpoint) -> bool) -> impl Iterator<Item = &'a Endpoint> {
        self.last.into_iter().flat_map(|last| &last.endpoints).filter(move |endpoint| holds(endpoint))
    }
}

impl Found {
    /// Adds the instances and notes of one host.
    fn with(mut self, host: Found) -> Self {
        self.endpoints.extend(host.endpoints);
        self.notes.extend(host.notes);
        Found { ttl: self.ttl.min(host.ttl), ..self }
    }

    /// Keeps those of a host's last instances that have an address of this family, which cannot be looked up.
    fn keep_family<'a>(
        &mut self,
        last: impl Iterator<Item = &'a Endpoint>,
        family: Family,
        host: &Text,
        error: &NetError,
    ) {
        let of_family = |e: &&Endpoint| matches!(e.address, Address::Ip(ip) if family.has(ip));
        let kept: Vec<Endpoint> = last.filter(of_family).cloned().collect();
        if !kept.is_empty() {
            let why = format!("{}: {}; its last addresses stay", family.name(), chain(error));
            self.notes.push(Note::new(Reason::HostnameUnresolved, host.clone(), why));
            self.endpoints.extend(kept);
            self.ttl = Duration::ZERO;
        }
    }
}

/// An SRV record, and its TTL.
fn srv(record: &Record) -> Option<(&SRV, u32)> {
    match &record.data {
        RData::SRV(srv) => Some((srv, record.ttl)),
        _ => None,
    }
}

/// The host of an SRV record, which no search list completes (RFC 2782). Some have an address there.
fn absolute(target: &Text) -> Text {
    if target.parse::<IpAddr>().is_ok() { target.clone() } else { format!("{target}.").into() }
}

fn endpoint(ip: IpAddr, number: Port, name: &Name) -> Endpoint {
    let ports = [EndpointPort { number, protocol: name.protocol, name: None }].into();
    Endpoint { ports, ..Endpoint::new(Address::Ip(ip), number) }
}

/// The servers of the configuration, and no search list.
fn named(config: &Config) -> ResolverConfig {
    let server = |address: &std::net::SocketAddr| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        server.connections.iter_mut().for_each(|connection| connection.port = address.port());
        server
    };
    ResolverConfig::from_parts(None, Vec::new(), config.servers.iter().map(server).collect::<Vec<_>>())
}
