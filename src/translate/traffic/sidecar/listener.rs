//! Listeners of sidecars, for the connections of their programs.

use super::{
    routes::HTTP_PROXY,
    scope::{Opened, Part, Scope},
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
    resource::{Kind, Resource},
    translate::traffic::{
        destination::selects,
        finding::Finding,
        host::{MESH, matches},
        http::{Lookup, Target},
        manager::{self, From},
        mesh::OutboundPolicy,
        message::{NO_TIME, VIRTUAL_SERVICE, boolean, number, socket, source},
        object::{Id, Object},
        protocol::{Protocol, is_http},
        shape::{Shape, ShapePort},
        statics::{BLACK_HOLE, PASSTHROUGH},
        tcp,
        virtual_host::Reach,
    },
};
use ipnet::IpNet;
use prost::Message;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// The address of listeners that only programs on the same machine reach.
const LOOPBACK: &str = "127.0.0.1";

const ANY_ADDRESS: &str = "0.0.0.0";

/// The port to which a machine redirects connections, as set up by Istio's tools.
const REDIRECTED: u32 = 15_001;

/// A listener, and the configurations of routes that it asks for.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) resource: (Kind, Resource),
    pub(super) routes: Vec<String>,
}

/// The address and port of a listener.
type At = (String, u16);

/// A listener in the making.
#[derive(Debug, Default)]
struct Open {
    chains: Vec<FilterChain>,
    /// The name of its route configuration. `None`: it has no HTTP.
    routes: Option<String>,
    /// Whether the chain for HTTP was added: one serves all hosts.
    has_http: bool,
    is_bound: bool,
    /// Whether a `Sidecar` names the port: then services that it does not import there get no chain.
    is_closed: bool,
}

impl Open {
    /// Adds the chains whose match no chain has yet. Returns whether all were added.
    fn add(&mut self, chains: Vec<FilterChain>) -> bool {
        let before = self.chains.len() + chains.len();
        for chain in chains {
            if self.chains.iter().all(|other| other.filter_chain_match != chain.filter_chain_match) {
                self.chains.push(chain);
            }
        }
        self.chains.len() == before
    }
}

/// All listeners of a sidecar, with the names of their route configurations.
pub(super) fn listeners(
    lookup: &Lookup<'_>,
    scope: &Scope<'_>,
    services: &[&Arc<Object<VirtualService>>],
    reach: &mut Reach,
    findings: &mut Vec<Finding>,
) -> Vec<Made> {
    let policy = scope.policy(lookup.mesh.outbound_policy);
    let mut making = Making { lookup, services: Vec::new(), reach, findings, open: BTreeMap::new() };
    for opened in scope.opened() {
        making.services = services.iter().filter(|service| opened.part.imports(service)).copied().collect();
        making.opened(&opened);
    }
    making.open.values_mut().for_each(|open| open.is_closed = true);
    let general = scope.general();
    making.services = services.iter().filter(|service| general.imports(service)).copied().collect();
    making.all(&general);
    let open = std::mem::take(&mut making.open);
    let mut made: Vec<Made> = open.into_iter().map(|(at, open)| listener(&at, open, policy, lookup)).collect();
    if !lookup.proxy.bound {
        made.push(redirected(policy, lookup));
    }
    let port = lookup.proxy.http_proxy.or(lookup.mesh.proxy_http_port);
    made.extend(port.map(|port| http_proxy(port.get().into(), lookup)));
    reach.clusters.insert(BLACK_HOLE.into());
    if policy == OutboundPolicy::AllowAny {
        reach.clusters.insert(PASSTHROUGH.into());
    }
    made
}

struct Making<'a, 'b> {
    lookup: &'a Lookup<'a>,
    /// The VirtualServices that the part in hand imports.
    services: Vec<&'a Arc<Object<VirtualService>>>,
    reach: &'b mut Reach,
    findings: &'b mut Vec<Finding>,
    open: BTreeMap<At, Open>,
}

impl<'a> Making<'a, '_> {
    /// The services of a part in the order in which they get ports: those that only some namespaces see go first.
    fn seen(&self, part: &Part<'_>) -> Vec<&'a Arc<Shape>> {
        let lookup = self.lookup;
        let all = lookup.shapes.iter().filter(|shape| part.has(shape) && lookup.service(&shape.host).is_some());
        let mut seen: Vec<_> = all.collect();
        seen.sort_by_key(|shape| shape.is_public(&lookup.mesh.service_export_to));
        seen
    }

    /// Makes the listener of a port that a `Sidecar` names, for those of its services that have the port.
    fn opened(&mut self, opened: &Opened<'_>) {
        let is_bound = opened.is_bound || self.lookup.proxy.bound;
        let bind = opened.bind.or(is_bound.then_some(LOOPBACK));
        let is_proxy = opened.protocol == Protocol::HttpProxy;
        for shape in self.seen(&opened.part) {
            let port = shape.port(opened.port.into());
            if opened.protocol.is_http() && (port.is_some() || is_proxy) {
                let at = (bind.unwrap_or(ANY_ADDRESS).to_owned(), opened.port);
                self.http(at, opened.protocol, is_bound);
            } else if let Some(port) = port.filter(|_| !opened.protocol.is_http()) {
                let is_tls = matches!(opened.protocol, Protocol::Https | Protocol::Tls);
                self.bytes(shape, port, bind, is_bound, is_tls);
            }
        }
    }

    /// Makes the listeners of all ports that services have.
    fn all(&mut self, part: &Part<'_>) {
        let is_bound = self.lookup.proxy.bound;
        // A machine that redirects nothing knows no virtual addresses.
        let bind = is_bound.then_some(LOOPBACK);
        for shape in self.seen(part) {
            for port in &shape.ports {
                if is_http(port.protocol) {
                    let at = (bind.unwrap_or(ANY_ADDRESS).to_owned(), port.number);
                    self.http(at, Protocol::Http, is_bound);
                } else {
                    let is_tls = matches!(port.protocol, crate::model::Protocol::Https | crate::model::Protocol::Tls);
                    self.bytes(shape, port, bind, is_bound, is_tls);
                }
            }
        }
    }

    /// Adds the chain for HTTP to a listener. It serves all hosts: routes tell services apart.
    fn http(&mut self, at: At, protocol: Protocol, is_bound: bool) {
        let open = self.open.entry(at.clone()).or_default();
        if open.is_closed || std::mem::replace(&mut open.has_http, true) {
            return;
        }
        open.is_bound = is_bound;
        let (routes, prefix) = (at.1.to_string(), format!("outbound_{}_{}", at.0, at.1));
        let filter = manager::http(&routes, &prefix, From::Program, protocol, self.lookup.mesh);
        // Where connections may have been meant for any address, not all that come are requests.
        let of = (at.0 == ANY_ADDRESS && protocol != Protocol::HttpProxy).then(|| FilterChainMatch {
            application_protocols: ["http/1.0", "http/1.1", "h2c"].map(str::to_owned).to_vec(),
            transport_protocol: "raw_buffer".to_owned(),
            ..FilterChainMatch::default()
        });
        let chain = FilterChain { filter_chain_match: of, filters: vec![filter], ..FilterChain::default() };
        if open.add(vec![chain]) {
            open.routes = Some(routes);
        }
    }

    /// Adds the chains of a service without HTTP. Connections are told apart by the service's address or the name in
    /// their TLS handshake; without both the first service has the port.
    fn bytes(&mut self, shape: &Arc<Shape>, port: &ShapePort, bind: Option<&str>, is_bound: bool, is_tls: bool) {
        for (address, blocks, by_name) in places(&shape.addresses, bind) {
            let at = (address, port.number);
            if self.open.get(&at).is_some_and(|open| open.is_closed) {
                continue;
            }
            let chains = match is_tls {
                true => self.tls_chains(shape, port, at.1, by_name, &blocks),
                false => self.tcp_chains(shape, port, at.1, &blocks),
            };
            let open = self.open.entry(at).or_default();
            open.is_bound = is_bound;
            open.add(chains);
        }
    }

    fn of_host(&self, host: &str) -> Vec<&'a Arc<Object<VirtualService>>> {
        let is_for = |service: &&Arc<Object<VirtualService>>| service.spec.hosts.iter().any(|own| matches(own, host));
        self.services.iter().copied().filter(is_for).collect()
    }

    fn tls_chains(
        &mut self,
        shape: &Arc<Shape>,
        port: &ShapePort,
        listening: u16,
        by_name: bool,
        blocks: &[String],
    ) -> Vec<FilterChain> {
        let (mut chains, mut handled) = (Vec::new(), BTreeSet::new());
        for service in self.of_host(&shape.host) {
            for (index, route) in service.spec.tls.iter().enumerate() {
                for m in &route.r#match {
                    let fits = self.fits(m.port, &m.gateways, &m.source_labels, &m.source_namespace, listening);
                    if !fits || !handled.insert((m.sni_hosts.clone(), m.destination_subnets.clone())) {
                        continue;
                    }
                    let routed = tcp::routed(&route.route, self.lookup, listening.into(), &service.id);
                    let Some((filter, targets)) = routed else { continue };
                    self.reach(targets, &service.id, &format!("tls[{index}]"));
                    let own = &m.destination_subnets;
                    let blocks = if own.is_empty() { blocks } else { own };
                    chains.push(chain(blocks, &m.sni_hosts, filter, Some(&service.id)));
                }
            }
        }
        if chains.is_empty() {
            self.reach.clusters.insert(port.cluster.clone());
            let names = if by_name { vec![shape.host.to_string()] } else { Vec::new() };
            chains.push(chain(blocks, &names, tcp::single(&port.cluster, &shape.host, self.lookup), None));
        }
        chains
    }

    fn tcp_chains(
        &mut self,
        shape: &Arc<Shape>,
        port: &ShapePort,
        listening: u16,
        blocks: &[String],
    ) -> Vec<FilterChain> {
        let mut chains = Vec::new();
        for service in self.of_host(&shape.host) {
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
                    chains.push(chain(blocks, &[], filter, Some(&service.id)));
                    return chains;
                }
                let subnets: Vec<String> = fitting.iter().flat_map(|m| m.destination_subnets.iter().cloned()).collect();
                chains.push(chain(&subnets, &[], filter, Some(&service.id)));
            }
        }
        self.reach.clusters.insert(port.cluster.clone());
        chains.push(chain(blocks, &[], tcp::single(&port.cluster, &shape.host, self.lookup), None));
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
            self.reach.clusters.insert(target.cluster);
        }
    }
}

/// The listeners for a service's addresses: each with its address, the blocks of addresses that its chain must match,
/// and whether the chain must match the name in the handshake. A single address has a listener of its own; a block is a
/// part of the listener for all addresses.
fn places(addresses: &[IpNet], bind: Option<&str>) -> Vec<(String, Vec<String>, bool)> {
    let address = bind.unwrap_or(ANY_ADDRESS);
    if addresses.is_empty() {
        return vec![(address.to_owned(), Vec::new(), address == ANY_ADDRESS)];
    }
    let place = |net: &IpNet| {
        let is_block = net.prefix_len() != net.max_prefix_len();
        match bind {
            Some(bind) => (bind.to_owned(), Vec::new(), is_block),
            None if is_block => (ANY_ADDRESS.to_owned(), vec![net.to_string()], true),
            None => (net.addr().to_string(), Vec::new(), false),
        }
    };
    addresses.iter().map(place).collect()
}

fn listener(at: &At, open: Open, policy: OutboundPolicy, lookup: &Lookup<'_>) -> Made {
    let (address, port) = (at.0.as_str(), at.1);
    let mut listener = inspecting(&format!("{address}_{port}"), address, port.into(), open.is_bound);
    let (particular, general): (Vec<_>, Vec<_>) =
        open.chains.into_iter().partition(|chain| chain.filter_chain_match.is_some());
    let reads = |what: fn(&FilterChainMatch) -> bool| {
        particular.iter().filter_map(|chain| chain.filter_chain_match.as_ref()).any(what)
    };
    if reads(|of| !of.server_names.is_empty()) {
        listener.listener_filters.push(manager::tls_inspector());
    }
    if reads(|of| !of.application_protocols.is_empty()) {
        listener.listener_filters.push(manager::http_inspector());
    }
    match particular.is_empty() {
        true => listener.filter_chains = general,
        false => {
            listener.filter_chains = particular;
            let otherwise = general.into_iter().next().unwrap_or_else(|| unknown(policy, lookup));
            listener.default_filter_chain = Some(otherwise);
        }
    }
    made(listener, open.routes.into_iter().collect())
}

/// The chain for connections to unknown addresses: to their original destination, or nowhere.
fn unknown(policy: OutboundPolicy, lookup: &Lookup<'_>) -> FilterChain {
    let cluster = if policy == OutboundPolicy::AllowAny { PASSTHROUGH } else { BLACK_HOLE };
    FilterChain { filters: vec![tcp::plain(cluster, lookup)], name: cluster.to_owned(), ..FilterChain::default() }
}

/// The listener to which the machine redirects connections: it hands each to the listener of its original address.
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
    let mut listener = inspecting(&format!("{LOOPBACK}_{port}"), LOOPBACK, port, true);
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
        max_connections_to_accept_per_socket_event: number(1).filter(|_| is_bound),
        ..Listener::default()
    }
}

/// A listener whose filters wait for the client's first bytes, without a limit: in some protocols the server speaks
/// first.
fn inspecting(name: &str, address: &str, port: u32, is_bound: bool) -> Listener {
    Listener {
        listener_filters_timeout: Some(NO_TIME),
        continue_on_listener_filters_timeout: true,
        ..base(name, address, port, is_bound)
    }
}

fn made(listener: Listener, routes: Vec<String>) -> Made {
    let resource = Resource::new(Kind::Listener, listener.name.as_str().into(), &listener.encode_to_vec(), None);
    Made { resource: (Kind::Listener, resource), routes }
}

/// `of` is the VirtualService that the chain was made from, if there is one.
fn chain(subnets: &[String], names: &[String], filter: Filter, of: Option<&Id>) -> FilterChain {
    // Sorted, so that what is for the same connections is the same.
    let mut server_names = if names.iter().any(|name| name == "*") { Vec::new() } else { names.to_vec() };
    server_names.sort();
    server_names.dedup();
    let mut prefix_ranges: Vec<CidrRange> = subnets.iter().filter_map(|subnet| range(subnet)).collect();
    prefix_ranges.sort_by_key(|range| (range.address_prefix.clone(), range.prefix_len.as_ref().map(|len| len.value)));
    prefix_ranges.dedup();
    let fits = FilterChainMatch { server_names, prefix_ranges, ..FilterChainMatch::default() };
    FilterChain {
        filter_chain_match: (fits != FilterChainMatch::default()).then_some(fits),
        filters: vec![filter],
        metadata: of.map(|id| source(VIRTUAL_SERVICE, id, None)),
        ..FilterChain::default()
    }
}

fn range(subnet: &str) -> Option<CidrRange> {
    let net = match subnet.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => subnet.parse().ok()?,
    };
    let length = UInt32Value { value: net.prefix_len().into() };
    Some(CidrRange { address_prefix: net.network().to_string(), prefix_len: Some(length) })
}
