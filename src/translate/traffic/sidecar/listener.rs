//! What a sidecar listens on, for its program.

use super::{
    routes::HTTP_PROXY,
    scope::{Part, Scope},
};
use crate::{
    pb::{
        envoy::config::{
            core::v3::{CidrRange, TrafficDirection},
            listener::v3::{Filter, FilterChain, FilterChainMatch, Listener},
        },
        google::protobuf::UInt32Value,
        istio::networking::v1alpha3::VirtualService,
    },
    resource::{Kind, Name, Resource},
    translate::traffic::{
        destination::selects,
        finding::Finding,
        host::{MESH, matches},
        http::{Lookup, Target},
        manager::{self, From},
        mesh::OutboundPolicy,
        message::{boolean, number, socket},
        object::{Id, Object},
        protocol::{Protocol, is_http},
        shape::{Shape, ShapePort},
        statics::{BLACK_HOLE, PASSTHROUGH},
        tcp,
    },
};
use prost::Message;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// Where a sidecar listens for its own program only.
const LOOPBACK: &str = "127.0.0.1";

const ANY_ADDRESS: &str = "0.0.0.0";

/// Where machines redirect connections to.
const REDIRECTED: u32 = 15_001;

/// A listener, and the configurations of routes that it asks for.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) resource: (Kind, Resource),
    pub(super) routes: Vec<String>,
}

/// Address and port of a listener.
type At = (String, u16);

/// What a listener has so far.
#[derive(Debug, Default)]
struct Open {
    routes: Option<String>,
    protocol: Option<Protocol>,
    /// The first service that has it to itself.
    owner: Option<String>,
    chains: Vec<FilterChain>,
    is_bound: bool,
}

/// All listeners of a sidecar.
pub(super) fn listeners(
    lookup: &Lookup<'_>,
    scope: &Scope<'_>,
    services: &[&Arc<Object<VirtualService>>],
    clusters: &mut BTreeSet<Name>,
    findings: &mut Vec<Finding>,
) -> Vec<Made> {
    let policy = scope.policy(lookup.mesh.outbound_policy);
    let mut making = Making { lookup, services, clusters, findings, open: BTreeMap::new() };
    for opened in scope.opened() {
        let address = opened.bind.unwrap_or(if opened.is_bound || lookup.proxy.bound { LOOPBACK } else { ANY_ADDRESS });
        let is_bound = opened.is_bound || lookup.proxy.bound;
        making.services_of(&opened.part, Some((address, opened.port, opened.protocol, is_bound)));
    }
    making.services_of(&scope.general(), None);
    let open = std::mem::take(&mut making.open);
    let mut made: Vec<Made> = open.into_iter().map(|(at, open)| listener(&at, open, policy, lookup)).collect();
    if !lookup.proxy.bound {
        made.push(redirected(policy, lookup));
    }
    let port = lookup.proxy.http_proxy.or(lookup.mesh.proxy_http_port);
    made.extend(port.map(|port| http_proxy(port.get().into(), lookup)));
    clusters.insert(BLACK_HOLE.into());
    if policy == OutboundPolicy::AllowAny {
        clusters.insert(PASSTHROUGH.into());
    }
    made
}

struct Making<'a, 'b> {
    lookup: &'a Lookup<'a>,
    services: &'a [&'a Arc<Object<VirtualService>>],
    clusters: &'b mut BTreeSet<Name>,
    findings: &'b mut Vec<Finding>,
    open: BTreeMap<At, Open>,
}

impl Making<'_, '_> {
    /// The listeners of services; `said`: the address, port and protocol that a `Sidecar` says for them.
    fn services_of(&mut self, part: &Part<'_>, said: Option<(&str, u16, Protocol, bool)>) {
        let lookup = self.lookup;
        if let Some((address, port, protocol, is_bound)) = said.filter(|(_, _, protocol, _)| protocol.is_http()) {
            self.http((address.to_owned(), port), protocol, is_bound);
            return;
        }
        let seen = |shape: &&Arc<Shape>| part.has(shape) && lookup.service(&shape.host).is_some();
        let shapes: Vec<&Arc<Shape>> = lookup.shapes.iter().filter(seen).collect();
        for shape in shapes {
            for port in &shape.ports {
                match said {
                    Some((address, number, _, is_bound)) if !is_http(port.protocol) => {
                        self.bytes(shape, port, (address.to_owned(), number), is_bound);
                    }
                    Some(_) => {}
                    None => self.service(shape, port),
                }
            }
        }
    }

    fn service(&mut self, shape: &Arc<Shape>, port: &ShapePort) {
        let is_bound = self.lookup.proxy.bound;
        let any = if is_bound { LOOPBACK } else { ANY_ADDRESS };
        if is_http(port.protocol) {
            self.http((any.to_owned(), port.number), Protocol::Http, is_bound);
            return;
        }
        // A machine that redirects nothing knows no virtual addresses.
        let own = shape.addresses.iter().find(|_| !is_bound).map(IpAddr::to_string);
        let at = (own.unwrap_or_else(|| any.to_owned()), port.number);
        self.bytes(shape, port, at, is_bound);
    }

    fn http(&mut self, at: At, protocol: Protocol, is_bound: bool) {
        let open = self.open.entry(at.clone()).or_default();
        if open.routes.is_none() {
            open.routes = Some(at.1.to_string());
            open.protocol = Some(protocol);
            open.is_bound = is_bound;
        }
    }

    fn bytes(&mut self, shape: &Arc<Shape>, port: &ShapePort, at: At, is_bound: bool) {
        let is_tls = matches!(port.protocol, crate::model::Protocol::Https | crate::model::Protocol::Tls);
        let is_shared = at.0 == ANY_ADDRESS || at.0 == LOOPBACK;
        let open = self.open.entry(at.clone()).or_default();
        // Without an address of its own, and without a name in a handshake, only one service can have the port.
        if !is_tls && is_shared && *open.owner.get_or_insert_with(|| shape.host.to_string()) != *shape.host {
            return;
        }
        open.is_bound = is_bound;
        let mut chains = match is_tls {
            true => self.tls_chains(shape, port, at.1, is_shared),
            false => self.tcp_chains(shape, port, at.1),
        };
        let open = self.open.entry(at).or_default();
        chains.retain(|chain| open.chains.iter().all(|other| other.filter_chain_match != chain.filter_chain_match));
        open.chains.extend(chains);
    }

    /// VirtualServices that are for the host.
    fn of_host(&self, host: &str) -> Vec<Arc<Object<VirtualService>>> {
        let is_for = |service: &&&Arc<Object<VirtualService>>| service.spec.hosts.iter().any(|own| matches(own, host));
        self.services.iter().filter(is_for).map(|service| Arc::clone(service)).collect()
    }

    fn tls_chains(&mut self, shape: &Arc<Shape>, port: &ShapePort, listening: u16, by_name: bool) -> Vec<FilterChain> {
        let (mut chains, mut handled) = (Vec::new(), BTreeSet::new());
        let services = self.of_host(&shape.host);
        for service in &services {
            for (index, route) in service.spec.tls.iter().enumerate() {
                for m in &route.r#match {
                    let fits = self.fits(m.port, &m.gateways, &m.source_labels, &m.source_namespace, listening);
                    if !fits || !handled.insert((m.sni_hosts.clone(), m.destination_subnets.clone())) {
                        continue;
                    }
                    let routed = tcp::routed(&route.route, self.lookup, listening.into(), &service.id);
                    let Some((filter, targets)) = routed else { continue };
                    self.reach(targets, &service.id, &format!("tls[{index}]"));
                    chains.push(chain(&m.destination_subnets, &m.sni_hosts, filter));
                }
            }
        }
        if chains.is_empty() {
            self.clusters.insert(port.cluster.clone());
            let names = if by_name { vec![shape.host.to_string()] } else { Vec::new() };
            chains.push(chain(&[], &names, tcp::single(&port.cluster, &shape.host, self.lookup)));
        }
        chains
    }

    fn tcp_chains(&mut self, shape: &Arc<Shape>, port: &ShapePort, listening: u16) -> Vec<FilterChain> {
        let mut chains = Vec::new();
        let services = self.of_host(&shape.host);
        for service in &services {
            for (index, route) in service.spec.tcp.iter().enumerate() {
                let fitting: Vec<_> = route
                    .r#match
                    .iter()
                    .filter(|m| self.fits(m.port, &m.gateways, &m.source_labels, &m.source_namespace, listening))
                    .collect();
                if fitting.is_empty() && !route.r#match.is_empty() {
                    continue;
                }
                let routed = tcp::routed(&route.route, self.lookup, listening.into(), &service.id);
                let Some((filter, targets)) = routed else { continue };
                self.reach(targets, &service.id, &format!("tcp[{index}]"));
                // A match without subnets is for all: what stands behind it is never reached.
                if fitting.is_empty() || fitting.iter().any(|m| m.destination_subnets.is_empty()) {
                    chains.push(chain(&[], &[], filter));
                    return chains;
                }
                let subnets: Vec<String> = fitting.iter().flat_map(|m| m.destination_subnets.iter().cloned()).collect();
                chains.push(chain(&subnets, &[], filter));
            }
        }
        self.clusters.insert(port.cluster.clone());
        chains.push(chain(&[], &[], tcp::single(&port.cluster, &shape.host, self.lookup)));
        chains
    }

    fn fits(
        &self,
        port: u32,
        gateways: &[String],
        labels: &BTreeMap<String, String>,
        namespace: &str,
        listening: u16,
    ) -> bool {
        let proxy = self.lookup.proxy;
        (port == 0 || port == u32::from(listening))
            && (gateways.is_empty() || gateways.iter().any(|gateway| gateway == MESH))
            && selects(labels, proxy)
            && (namespace.is_empty() || *namespace == *proxy.namespace)
    }

    fn reach(&mut self, targets: Vec<Target>, id: &Id, place: &str) {
        for target in targets {
            if let Some((code, text)) = target.fault {
                let (kind, name) = (Kind::VirtualService, id.full());
                self.findings.push(Finding { kind, name, place: place.into(), code, text: text.into() });
            }
            self.clusters.insert(target.cluster);
        }
    }
}

fn listener(at: &At, open: Open, policy: OutboundPolicy, lookup: &Lookup<'_>) -> Made {
    let (address, port) = (at.0.as_str(), at.1);
    let name = format!("{address}_{port}");
    let mut listener = base(&name, address, port.into(), open.is_bound);
    let reads_names =
        |chain: &FilterChain| chain.filter_chain_match.as_ref().is_some_and(|m| !m.server_names.is_empty());
    if open.chains.iter().any(reads_names) {
        listener.listener_filters.push(manager::tls_inspector());
    }
    let (general, particular): (Vec<_>, Vec<_>) =
        open.chains.into_iter().partition(|chain| chain.filter_chain_match.is_none());
    listener.filter_chains = particular;
    let mut otherwise = general.into_iter().next();
    if let Some(routes) = &open.routes {
        let protocol = open.protocol.unwrap_or(Protocol::Http);
        let filter = manager::http(routes, &format!("outbound_{name}"), From::Program, protocol, lookup.mesh);
        if open.is_bound && listener.filter_chains.is_empty() && otherwise.is_none() {
            listener.filter_chains.push(FilterChain { filters: vec![filter], ..FilterChain::default() });
        } else {
            let of = FilterChainMatch {
                application_protocols: ["http/1.0", "http/1.1", "h2c"].map(str::to_owned).to_vec(),
                transport_protocol: "raw_buffer".to_owned(),
                ..FilterChainMatch::default()
            };
            let chain = FilterChain { filter_chain_match: Some(of), filters: vec![filter], ..FilterChain::default() };
            listener.filter_chains.push(chain);
            listener.listener_filters.push(manager::http_inspector());
            otherwise = otherwise.or_else(|| Some(unknown(policy, lookup)));
        }
    }
    match listener.filter_chains.is_empty() {
        true => listener.filter_chains.extend(otherwise),
        false => listener.default_filter_chain = otherwise,
    }
    made(listener, open.routes.into_iter().collect())
}

/// What is not known: where it was meant to go, or nowhere.
fn unknown(policy: OutboundPolicy, lookup: &Lookup<'_>) -> FilterChain {
    let cluster = if policy == OutboundPolicy::AllowAny { PASSTHROUGH } else { BLACK_HOLE };
    FilterChain { filters: vec![tcp::plain(cluster, lookup)], name: cluster.to_owned(), ..FilterChain::default() }
}

/// Where redirected connections come to: each goes to the listener of the address that it was meant for.
fn redirected(policy: OutboundPolicy, lookup: &Lookup<'_>) -> Made {
    let mut listener = base("virtualOutbound", ANY_ADDRESS, REDIRECTED, true);
    listener.use_original_dst = boolean(true);
    let own = FilterChainMatch { destination_port: number(REDIRECTED), ..FilterChainMatch::default() };
    listener.filter_chains = vec![
        FilterChain {
            filter_chain_match: Some(own),
            filters: vec![tcp::plain(BLACK_HOLE, lookup)],
            name: "virtualOutbound-trap".to_owned(),
            ..FilterChain::default()
        },
        FilterChain { name: "virtualOutbound-catchall-tcp".to_owned(), ..unknown(policy, lookup) },
    ];
    made(listener, Vec::new())
}

fn http_proxy(port: u32, lookup: &Lookup<'_>) -> Made {
    let mut listener = base(&format!("{LOOPBACK}_{port}"), LOOPBACK, port, true);
    let filter = manager::http(HTTP_PROXY, HTTP_PROXY, From::ProgramByProxy, Protocol::Http, lookup.mesh);
    listener.filter_chains = vec![FilterChain { filters: vec![filter], ..FilterChain::default() }];
    made(listener, vec![HTTP_PROXY.to_owned()])
}

fn base(name: &str, address: &str, port: u32, is_bound: bool) -> Listener {
    Listener {
        name: name.to_owned(),
        address: socket(address, port),
        traffic_direction: TrafficDirection::Outbound.into(),
        bind_to_port: boolean(is_bound),
        ..Listener::default()
    }
}

fn made(listener: Listener, routes: Vec<String>) -> Made {
    let resource = Resource::new(Kind::Listener, listener.name.as_str().into(), &listener.encode_to_vec(), None);
    Made { resource: (Kind::Listener, resource), routes }
}

fn chain(subnets: &[String], names: &[String], filter: Filter) -> FilterChain {
    let server_names = if names.iter().any(|name| name == "*") { Vec::new() } else { names.to_vec() };
    let prefix_ranges = subnets.iter().filter_map(|subnet| range(subnet)).collect();
    let of = FilterChainMatch { server_names, prefix_ranges, ..FilterChainMatch::default() };
    FilterChain {
        filter_chain_match: (of != FilterChainMatch::default()).then_some(of),
        filters: vec![filter],
        ..FilterChain::default()
    }
}

fn range(subnet: &str) -> Option<CidrRange> {
    let net = match subnet.parse::<IpAddr>() {
        Ok(address) => ipnet::IpNet::from(address),
        Err(_) => subnet.parse().ok()?,
    };
    let length = UInt32Value { value: net.prefix_len().into() };
    Some(CidrRange { address_prefix: net.network().to_string(), prefix_len: Some(length) })
}
