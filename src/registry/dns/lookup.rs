//! The lookup of one name in DNS, and the instances that its answer has.

use super::config::{Asked, Config, Name};
use crate::{
    model::{Address, Endpoint, EndpointPort, Note, Port, Reason, Service, Text, Weight},
    registry::chain,
    util::resolv,
};
use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType, rdata::SRV},
};
use std::{net::IpAddr, time::Duration};

/// The label of an instance that has the host from its SRV record.
const TARGET: &str = "target";
/// The most hosts of one SRV name. More are taken for a mistake or an attack.
const MAX_TARGETS: usize = 1000;

/// Looks up names at the configured servers, without a cache.
#[derive(Debug)]
pub(super) struct Resolver {
    resolver: TokioResolver,
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
    #[error("{name} names {count} hosts, of which {MAX_TARGETS} are too many")]
    Many { name: Text, count: usize },
}

/// The instances of a name, from one lookup.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) notes: Vec<Note>,
    /// Shortest TTL of the records; zero if there are none, or one host could not be looked up.
    pub(super) ttl: Duration,
}

impl Resolver {
    /// # Errors
    /// If the system gives no resolver; why.
    pub(super) fn new(config: &Config) -> Result<Self, Text> {
        let (servers, mut options) = match config.servers.is_empty() {
            true => resolv::system(),
            false => (named(config), ResolverOpts::default()),
        };
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = config.timeout;
        // What is known and for how long, the reader knows.
        options.cache_size = 0;
        let builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build().map_err(|error| Text::from(error.to_string()))?;
        Ok(Resolver { resolver })
    }

    /// Looks up the instances of a name. A host that cannot be looked up now keeps the instances that it has in `last`.
    pub(super) async fn find(&self, name: &Name, last: Option<&Service>) -> Result<Found, Error> {
        match name.asked {
            Asked::Addresses(port) => {
                let (addresses, ttl) = self.addresses(&name.name).await?;
                let endpoints = addresses.into_iter().map(|ip| endpoint(ip, port, name)).collect();
                Ok(Found { endpoints, ttl, notes: Vec::new() })
            }
            Asked::Srv => self.srv(name, last).await,
        }
    }

    async fn srv(&self, name: &Name, last: Option<&Service>) -> Result<Found, Error> {
        let failed = |source| Error::Lookup { name: name.name.clone(), source: Box::new(source) };
        let answer = match self.resolver.lookup(&*name.name, RecordType::SRV).await {
            Ok(answer) => answer,
            Err(error) if error.is_no_records_found() => return Ok(Found::default()),
            Err(error) => return Err(failed(error)),
        };
        let records = answer.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some((srv, record.ttl)),
            _ => None,
        });
        let records: Vec<(&SRV, u32)> = records.collect();
        if records.len() > MAX_TARGETS {
            return Err(Error::Many { name: name.name.clone(), count: records.len() });
        }
        // Those of a larger number are for when all of the smallest are down, which only a client knows.
        let first = records.iter().map(|(srv, _)| srv.priority).min();
        let mut found = Found { ttl: seconds(records.iter().map(|(_, ttl)| *ttl).min()), ..Found::default() };
        let all_zero = records.iter().all(|(srv, _)| srv.weight == 0);
        for (srv, _) in records.iter().filter(|(srv, _)| Some(srv.priority) == first && !srv.target.is_root()) {
            self.target(srv, all_zero, name, last, &mut found).await;
        }
        found.endpoints.sort();
        found.endpoints.dedup();
        Ok(found)
    }

    /// Looks up the host of one SRV record, and adds its instances.
    async fn target(&self, srv: &SRV, all_zero: bool, name: &Name, last: Option<&Service>, found: &mut Found) {
        let target = Text::from(srv.target.to_utf8().trim_end_matches('.'));
        let Ok(port) = Port::new(srv.port.into()) else {
            let why = "its SRV record has port 0";
            found.notes.push(Note::new(Reason::EntryInvalid, target, why));
            return;
        };
        match self.addresses(&target).await {
            Ok((addresses, ttl)) => {
                if addresses.is_empty() {
                    found.notes.push(Note::new(Reason::HostnameUnresolved, target.clone(), "it has no address"));
                }
                found.ttl = found.ttl.min(ttl);
                // Of several, one with weight 0 gets hardly anything, and not nothing (RFC 2782).
                let share = if all_zero { 1.0 } else { f64::from(srv.weight.max(1)) };
                let weight = Weight::relative(share, 1.0).unwrap_or(Weight::DEFAULT);
                let each = |ip| {
                    let mut endpoint = Endpoint { weight, ..endpoint(ip, port, name) };
                    endpoint.labels.insert(TARGET.into(), target.clone());
                    endpoint
                };
                found.endpoints.extend(addresses.into_iter().map(each));
            }
            Err(error) => {
                let kept = last.into_iter().flat_map(|last| &last.endpoints);
                let kept = kept.filter(|e| e.labels.get(TARGET) == Some(&target)).cloned();
                found.endpoints.extend(kept);
                let why = format!("{}; its last addresses stay", chain(&error));
                found.notes.push(Note::new(Reason::HostnameUnresolved, target, why));
                found.ttl = Duration::ZERO;
            }
        }
    }

    async fn addresses(&self, name: &Text) -> Result<(Vec<IpAddr>, Duration), Error> {
        match self.resolver.lookup_ip(&**name).await {
            Ok(found) => {
                let ttl = found.as_lookup().answers().iter().map(|record| record.ttl).min();
                let mut addresses: Vec<IpAddr> = found.iter().collect();
                addresses.sort();
                addresses.dedup();
                Ok((addresses, seconds(ttl)))
            }
            Err(error) if error.is_no_records_found() => Ok((Vec::new(), Duration::ZERO)),
            Err(source) => Err(Error::Lookup { name: name.clone(), source: Box::new(source) }),
        }
    }
}

fn seconds(ttl: Option<u32>) -> Duration {
    Duration::from_secs(ttl.unwrap_or_default().into())
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
