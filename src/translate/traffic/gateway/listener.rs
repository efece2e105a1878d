//! Listeners of a gateway. Only those without HTTP depend on VirtualServices.

use super::{
    merge::{Bound, Entry, Merged},
    tls,
};
use crate::{
    pb::{
        envoy::config::{
            core::v3::{Metadata, TrafficDirection, TransportSocket},
            listener::v3::{Filter, FilterChain, FilterChainMatch, Listener},
        },
        istio::networking::v1alpha3::VirtualService,
    },
    resource::{Kind, Name, Resource},
    translate::traffic::{
        finding::{Code, Finding},
        host::matches,
        http::{Lookup, Target},
        manager::{self, From},
        message::{VIRTUAL_SERVICE, boolean, number, seconds, socket, source},
        object::{Id, Object},
        protocol::Protocol,
        tcp,
        virtual_host::Reach,
    },
};
use prost::Message;
use std::collections::BTreeMap;

/// The address of a server without `bind`.
const ANY_ADDRESS: &str = "0.0.0.0";

/// How long a TLS handshake may take, in seconds.
const HANDSHAKE: i64 = 15;

/// The listeners of all ports that have a filter chain, and the secrets that they name.
pub(super) fn listeners(
    merged: &Merged<'_>,
    bound: &Bound<'_>,
    lookup: &Lookup<'_>,
    reach: &mut Reach,
    findings: &mut Vec<Finding>,
) -> Vec<(Kind, Resource)> {
    let mut making = Making { bound, lookup, reach, findings, names: BTreeMap::new(), secrets: BTreeMap::new() };
    let mut chains: BTreeMap<(String, u32), Vec<FilterChain>> = BTreeMap::new();
    for key in &merged.ports {
        let servers = &merged.servers[key];
        let bind = if key.2.is_empty() { ANY_ADDRESS.to_owned() } else { key.2.clone() };
        let chains = chains.entry((bind.clone(), key.0)).or_default();
        let entries = servers.entries.iter().map(|place| &merged.entries[*place]);
        let first = servers.entries.first().map(|place| &merged.entries[*place]);
        let made: Vec<(&Entry<'_>, FilterChain)> = match first.filter(|entry| entry.protocol.is_http()) {
            Some(entry) => vec![(entry, making.http(&servers.routes, &listener_name(&bind, key.0), entry))],
            None => {
                entries.flat_map(|entry| making.others(entry).into_iter().map(move |chain| (entry, chain))).collect()
            }
        };
        for (entry, chain) in made {
            // Envoy refuses a listener with two chains for the same connections.
            match chains.iter().any(|other| other.filter_chain_match == chain.filter_chain_match) {
                true => {
                    let text = format!("on port {} an earlier server takes the same connections", key.0);
                    making.findings.push(entry.finding(Code::ServerSkipped, text));
                }
                false => chains.push(chain),
            }
        }
    }
    let secrets = making.secrets;
    let served = chains.into_iter().filter(|(_, chains)| !chains.is_empty());
    served.map(|((bind, port), chains)| listener(&bind, port, chains, lookup)).chain(secrets.into_values()).collect()
}

fn listener_name(bind: &str, port: u32) -> String {
    format!("{bind}_{port}")
}

fn listener(bind: &str, port: u32, filter_chains: Vec<FilterChain>, lookup: &Lookup<'_>) -> (Kind, Resource) {
    let reads_tls = |chain: &FilterChain| {
        chain.transport_socket.is_some()
            || chain.filter_chain_match.as_ref().is_some_and(|m| !m.server_names.is_empty())
    };
    let inspector = filter_chains.iter().any(reads_tls).then(manager::tls_inspector);
    let from_balancer = lookup.mesh.proxy_protocol.then(manager::proxy_protocol);
    let name = listener_name(bind, port);
    let listener = Listener {
        name: name.clone(),
        address: socket(bind, port),
        filter_chains,
        listener_filters: from_balancer.into_iter().chain(inspector).collect(),
        traffic_direction: TrafficDirection::Outbound.into(),
        max_connections_to_accept_per_socket_event: number(1),
        bind_to_port: boolean(true),
        ..Listener::default()
    };
    (Kind::Listener, Resource::new(Kind::Listener, name.as_str().into(), &listener.encode_to_vec(), None))
}

/// Chains of servers, in the making.
struct Making<'a, 'b> {
    bound: &'a Bound<'a>,
    lookup: &'a Lookup<'a>,
    reach: &'b mut Reach,
    findings: &'b mut Vec<Finding>,
    /// By port: the names of handshakes (SNI) that chains already have, with the `bind` of their server.
    names: BTreeMap<u32, BTreeMap<String, String>>,
    /// The secrets that the chains name, each once.
    secrets: BTreeMap<Name, (Kind, Resource)>,
}

impl Making<'_, '_> {
    /// The one chain for all servers of a port that speak plain HTTP.
    fn http(&self, routes: &str, listener: &str, entry: &Entry<'_>) -> FilterChain {
        let stat_prefix = format!("outbound_{listener}");
        chain(None, Vec::new(), self.manager(routes, &stat_prefix, entry.protocol), None)
    }

    fn manager(&self, routes: &str, stat_prefix: &str, protocol: Protocol) -> Filter {
        manager::http(routes, stat_prefix, From::Outside, protocol, self.lookup.mesh)
    }

    /// The chains of a server that speaks TLS, or TCP.
    fn others(&mut self, entry: &Entry<'_>) -> Vec<FilterChain> {
        let tls = entry.tls().filter(|_| !entry.is_passthrough());
        let secrets = tls.into_iter().flat_map(tls::secrets);
        self.secrets.extend(secrets.map(|(kind, secret)| (secret.name().clone(), (kind, secret))));
        if entry.is_http() {
            let stat_prefix = match entry.server.name.as_str() {
                "" => format!("outbound_{}", entry.routes),
                name => name.to_owned(),
            };
            let manager = self.manager(&entry.routes, &stat_prefix, entry.protocol);
            return vec![chain(tls.and_then(tls::socket), entry.names(), manager, None)];
        }
        if entry.is_passthrough() {
            return self.passthrough(entry);
        }
        let names = if tls.is_some() { entry.names() } else { Vec::new() };
        let made = self.tcp(entry);
        made.map(|(filter, of)| chain(tls.and_then(tls::socket), names, filter, of)).into_iter().collect()
    }

    /// The filter that sends a server's connections on, by the first VirtualService with a fitting `tcp` route. `None`:
    /// there is none; a finding says so.
    fn tcp(&mut self, entry: &Entry<'_>) -> Option<(Filter, Option<Metadata>)> {
        let gateway = entry.gateway.to_string();
        let services = self.bound.get(&gateway).into_iter().flatten().filter(|service| is_for(entry, service));
        for service in services {
            for route in &service.spec.tcp {
                let fits = route.r#match.is_empty()
                    || route.r#match.iter().any(|m| l4_fits(entry, &gateway, m.port, &m.gateways));
                if !fits {
                    continue;
                }
                let (filter, targets) = tcp::routed(&route.route, self.lookup, entry.port, &service.id)?;
                self.reach(targets, &service.id, "tcp");
                return Some((filter, Some(source(VIRTUAL_SERVICE, &service.id, Some(&gateway)))));
            }
        }
        self.findings
            .push(entry.finding(Code::RuleUnused, "no VirtualService has `tcp` for it, so it is not served".into()));
        None
    }

    /// A chain for each `sniHosts` match of the VirtualServices; TLS is passed on.
    fn passthrough(&mut self, entry: &Entry<'_>) -> Vec<FilterChain> {
        let (gateway, mut chains) = (entry.gateway.to_string(), Vec::new());
        let bound = self.bound;
        for service in bound.get(&gateway).into_iter().flatten().filter(|service| is_for(entry, service)) {
            for (index, route) in service.spec.tls.iter().enumerate() {
                for m in route.r#match.iter().filter(|m| l4_fits(entry, &gateway, m.port, &m.gateways)) {
                    let (known, bind) = (self.names.entry(entry.port).or_default(), &entry.server.bind);
                    if let Some(name) = m.sni_hosts.iter().find(|name| known.get(*name) == Some(bind)) {
                        self.findings.push(Finding {
                            kind: Kind::VirtualService,
                            name: service.id.full(),
                            place: format!("tls[{index}]").into(),
                            code: Code::SniTaken,
                            text: format!("an earlier rule of port {} has the name {name:?}", entry.port).into(),
                        });
                        continue;
                    }
                    known.extend(m.sni_hosts.iter().map(|name| (name.clone(), bind.clone())));
                    let Some((filter, targets)) = tcp::routed(&route.route, self.lookup, entry.port, &service.id)
                    else {
                        continue;
                    };
                    self.reach(targets, &service.id, "tls");
                    let of = source(VIRTUAL_SERVICE, &service.id, Some(&gateway));
                    chains.push(chain(None, m.sni_hosts.clone(), filter, Some(of)));
                }
            }
        }
        if chains.is_empty() {
            let text = "no VirtualService has `tls` for it, so it is not served";
            self.findings.push(entry.finding(Code::RuleUnused, text.into()));
        }
        chains
    }

    fn reach(&mut self, targets: Vec<Target>, id: &Id, place: &str) {
        for target in targets {
            if let Some((code, text)) = target.fault {
                let (kind, name) = (Kind::VirtualService, id.full());
                self.findings.push(Finding { kind, name, place: place.into(), code, text: text.into() });
            }
            self.reach.clusters.insert(target.cluster);
        }
    }
}

fn chain(
    socket: Option<TransportSocket>,
    names: Vec<String>,
    filter: Filter,
    metadata: Option<Metadata>,
) -> FilterChain {
    // A name that stands for all is none.
    let server_names = if names.iter().any(|name| name == "*") { Vec::new() } else { names };
    let of = FilterChainMatch { server_names, ..FilterChainMatch::default() };
    FilterChain {
        filter_chain_match: (of != FilterChainMatch::default()).then_some(of),
        filters: vec![filter],
        metadata,
        transport_socket: socket,
        transport_socket_connect_timeout: seconds(HANDSHAKE),
        ..FilterChain::default()
    }
}

/// Whether the server admits one of the VirtualService's hosts.
fn is_for(entry: &Entry<'_>, service: &Object<VirtualService>) -> bool {
    let admits = |admitted: &String, host: &String| match admitted.split_once('/') {
        Some((namespace, _)) if *namespace != *service.id.namespace => false,
        Some((_, name)) => matches(name, host),
        None => matches(admitted, host),
    };
    service.spec.hosts.iter().any(|host| entry.hosts.iter().any(|admitted| admits(admitted, host)))
}

fn l4_fits(entry: &Entry<'_>, gateway: &str, port: u32, gateways: &[String]) -> bool {
    (port == 0 || port == entry.port) && (gateways.is_empty() || gateways.iter().any(|name| name == gateway))
}
