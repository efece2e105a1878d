//! Route configurations of sidecars: one for each port of services, and one for the sidecar as an HTTP proxy.

use super::scope::{Part, Scope};
use crate::{
    model::Text,
    pb::{
        envoy::config::route::v3::{
            DirectResponseAction, Route, RouteAction, RouteMatch, route::Action, route_action::ClusterSpecifier,
            route_match::PathSpecifier,
        },
        istio::networking::v1alpha3::VirtualService,
    },
    resource::{Kind, Resource, put_field},
    translate::traffic::{
        finding::{Code, Finding},
        host::{MESH, is_wildcard, matches},
        http::{Lookup, Place, RouteList},
        memo::Memo,
        mesh::OutboundPolicy,
        message::NO_TIME,
        object::Object,
        protocol::is_http,
        shape::Shape,
        statics::PASSTHROUGH,
        virtual_host::{Hosts, Reach, configuration, reached, with_port},
        visible::Nearest,
    },
};
use prost::Message;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The name of the route configuration for the sidecar as an HTTP proxy.
pub(super) const HTTP_PROXY: &str = "http_proxy";

/// The VirtualServices that the proxy sees, in the order in which they are looked at.
pub(super) type Services<'a> = [&'a Arc<Object<VirtualService>>];

/// The route configuration of a name: the number of a port, or [`HTTP_PROXY`].
pub(super) fn configuration_of(
    name: &str,
    lookup: &Lookup<'_>,
    scope: &Scope<'_>,
    services: &Services<'_>,
    memo: &mut Memo,
    reach: &mut Reach,
    findings: &mut Vec<Finding>,
) -> (Kind, Resource) {
    let number = name.parse::<u16>().ok();
    let part = number.map_or_else(|| scope.general(), |port| scope.of_port(port));
    let port = number.filter(|port| !scope.is_proxy(*port));
    let hosts = virtual_hosts(port, lookup, &part, services, memo, findings);
    reached(&hosts, reach);
    let last = otherwise(scope.policy(lookup.mesh.outbound_policy));
    reach.clusters.extend(last.routes.iter().flat_map(|list| list.clusters.iter().cloned()));
    // Where requests may be for any port, domains have ports.
    configuration(name, hosts, Some(last), port.is_some())
}

/// The virtual hosts of one port; with `None` those of all ports, for a sidecar as an HTTP proxy.
fn virtual_hosts(
    port: Option<u16>,
    lookup: &Lookup<'_>,
    part: &Part<'_>,
    services: &Services<'_>,
    memo: &mut Memo,
    findings: &mut Vec<Finding>,
) -> Vec<Hosts> {
    let lookup = Lookup { only: port, ..*lookup };
    let has_port = |shape: &Shape| port.is_none_or(|port| shape.port(port.into()).is_some());
    let seen = |shape: &&Arc<Shape>| part.has(shape) && lookup.service(&shape.host).is_some() && has_port(shape);
    let known: BTreeMap<Text, &Arc<Shape>> =
        lookup.shapes.iter().filter(seen).map(|shape| (shape.host.clone(), shape)).collect();
    let place = Place { lookup, gateway: MESH, port: port.map_or(0, u32::from), is_tls: false, own: "" };
    // What is not imported is not nearer to any host.
    let services: Vec<_> = services.iter().copied().filter(|service| part.imports(service)).collect();
    let nearest = Nearest::new(&services);
    let mut making = Making { port, lookup, domains: BTreeSet::new(), names: BTreeSet::new(), hosts: Vec::new() };
    let mut served = BTreeSet::new();
    for service in services {
        let matched = matched(service, &known, &nearest);
        // On port 80 hosts are served that are no services.
        if port != Some(80) && matched.services.is_empty() {
            continue;
        }
        let list = memo.routes(service, &place);
        if list.is_empty() {
            continue;
        }
        findings.extend(list.findings.iter().cloned());
        for number in making.ports(&matched.services) {
            for host in &matched.others {
                making.add(host, None, number, &list, Some((service, findings)));
            }
            let has_port = |shape: &&&Arc<Shape>| shape.port(number.into()).is_some_and(|port| is_http(port.protocol));
            for shape in matched.services.iter().filter(has_port) {
                making.add(&shape.host, Some(shape), number, &list, Some((service, findings)));
                served.insert(shape.host.clone());
            }
        }
    }
    for shape in known.values().filter(|shape| !served.contains(&shape.host)) {
        for number in making.ports(&[shape]) {
            if shape.port(number.into()).is_some_and(|port| is_http(port.protocol)) {
                let list = memo.default_route(shape, &Place { port: number.into(), ..place });
                making.add(&shape.host, Some(shape), number, &list, None);
            }
        }
    }
    making.hosts
}

/// The virtual host of one service's port, for a gRPC program, with the routes of a VirtualService or the default
/// route.
pub(in crate::translate::traffic) fn hosts_of(
    shape: &Arc<Shape>,
    port: u16,
    lookup: &Lookup<'_>,
    services: &Services<'_>,
    nearest: &Nearest<'_>,
    memo: &mut Memo,
) -> Hosts {
    let lookup = Lookup { only: Some(port), ..*lookup };
    let own = shape.port(port.into()).map_or("", |port| &*port.cluster);
    let place = Place { lookup, gateway: MESH, port: port.into(), is_tls: false, own };
    let exact = services.iter().copied().filter(|service| service.spec.hosts.iter().any(|host| **host == *shape.host));
    let mut lists = exact.chain(nearest.of(&shape.host)).map(|service| memo.routes(service, &place));
    let list = lists.find(|list| !list.is_empty());
    let list = list.unwrap_or_else(|| memo.default_route(shape, &place));
    let name = with_port(&shape.host, port.into());
    let domains = vec![shape.host.to_string(), name.clone()];
    Hosts { name, domains, routes: vec![list], needs_tls: false, limit: None }
}

/// The hosts of a VirtualService for which it is used.
struct Matched<'a> {
    services: Vec<&'a Arc<Shape>>,
    /// Hosts that are no services which the sidecar sees on the port.
    others: Vec<String>,
}

fn matched<'a>(
    service: &Object<VirtualService>,
    known: &BTreeMap<Text, &'a Arc<Shape>>,
    nearest: &Nearest<'_>,
) -> Matched<'a> {
    let mut found = Matched { services: Vec::new(), others: Vec::new() };
    for host in service.spec.hosts.iter().filter(|host| !is_wildcard(host)) {
        match known.get(&**host) {
            Some(shape) => found.services.push(shape),
            None => found.others.push(host.clone()),
        }
    }
    for host in service.spec.hosts.iter().filter(|host| is_wildcard(host)) {
        let within: Vec<_> = known.values().filter(|shape| matches(&shape.host, host)).collect();
        if within.is_empty() {
            found.others.push(host.clone());
        }
        found.services.extend(within.into_iter().filter(|shape| nearest.is_by_wildcard(&shape.host, service)));
    }
    found
}

/// Virtual hosts in the making. The first one to use a name or a domain has it: Envoy refuses doubles.
struct Making<'a> {
    port: Option<u16>,
    lookup: Lookup<'a>,
    domains: BTreeSet<String>,
    names: BTreeSet<String>,
    hosts: Vec<Hosts>,
}

impl Making<'_> {
    /// The ports for which virtual hosts are made. 80 is first, because clients need not write it.
    fn ports(&self, services: &[&Arc<Shape>]) -> Vec<u16> {
        if let Some(port) = self.port {
            let is_http = |shape: &&Arc<Shape>| shape.port(port.into()).is_some_and(|port| is_http(port.protocol));
            // On port 80 also hosts that are no services are served.
            return if port == 80 || services.iter().any(is_http) { vec![port] } else { Vec::new() };
        }
        let all = services.iter().flat_map(|shape| &shape.ports).filter(|port| is_http(port.protocol));
        let ports: BTreeSet<u16> = all.map(|port| port.number).collect();
        let (web, others): (Vec<u16>, Vec<u16>) = ports.into_iter().partition(|port| *port == 80);
        [web, others].concat()
    }

    fn add(
        &mut self,
        host: &str,
        shape: Option<&Arc<Shape>>,
        port: u16,
        list: &Arc<RouteList>,
        of: Option<(&Arc<Object<VirtualService>>, &mut Vec<Finding>)>,
    ) {
        let name = with_port(host, port.into());
        let is_new = self.names.insert(name.clone());
        let mut domains = if is_new { self.domains_of(host, shape, port) } else { Vec::new() };
        domains.retain(|domain| self.domains.insert(domain.to_ascii_lowercase()));
        if let Some((service, findings)) = of.filter(|_| !is_new) {
            findings.push(Finding {
                kind: Kind::VirtualService,
                name: service.id.full(),
                place: "hosts".into(),
                code: Code::HostTaken,
                text: format!("an earlier VirtualService has {host:?} for sidecars; only one counts: join them").into(),
            });
        }
        // Without its port a host is that of port 80.
        if self.port.is_none() && port != 80 {
            domains.retain(|domain| domain.contains(':'));
        }
        if !domains.is_empty() {
            self.hosts.push(Hosts { name, domains, routes: vec![list.clone()], needs_tls: false, limit: None });
        }
    }

    fn domains_of(&self, host: &str, shape: Option<&Arc<Shape>>, port: u16) -> Vec<String> {
        let with_ports = self.port.is_none();
        let mut domains = Vec::new();
        let mut add = |domain: &str| {
            domains.push(if domain.contains(':') { format!("[{domain}]") } else { domain.to_owned() });
            if with_ports {
                domains.push(with_port(domain, port.into()));
            }
        };
        add(host);
        let Some(shape) = shape else { return domains };
        if host.parse::<std::net::IpAddr>().is_err() {
            add(&format!("{host}."));
        }
        short_names(host, &self.lookup).iter().for_each(|name| add(name));
        let single = shape.addresses.iter().filter(|net| net.prefix_len() == net.max_prefix_len());
        single.for_each(|net| add(&net.addr().to_string()));
        domains
    }
}

/// The shorter names of a Kubernetes service, such as `orders.shop.svc` of `orders.shop.svc.cluster.local`.
fn short_names(host: &str, lookup: &Lookup<'_>) -> Vec<String> {
    let Some(domain) = &lookup.mesh.domain_suffix else { return Vec::new() };
    let Some(inside) = host.strip_suffix(&format!(".svc.{domain}")) else { return Vec::new() };
    let Some((name, namespace)) = inside.split_once('.') else { return Vec::new() };
    let mut names = vec![inside.to_owned(), format!("{inside}.svc")];
    // A wildcard without its namespace would stand for every host.
    if *namespace == *lookup.proxy.namespace && !is_wildcard(name) {
        names.push(name.to_owned());
    }
    names
}

/// The virtual host for requests to unknown hosts.
fn otherwise(policy: OutboundPolicy) -> Hosts {
    let (name, action) = match policy {
        OutboundPolicy::AllowAny => {
            let action = RouteAction {
                cluster_specifier: Some(ClusterSpecifier::Cluster(PASSTHROUGH.to_owned())),
                timeout: Some(NO_TIME),
                max_grpc_timeout: Some(NO_TIME),
                ..RouteAction::default()
            };
            ("allow_any", Action::Route(action))
        }
        OutboundPolicy::RegistryOnly => {
            ("block_all", Action::DirectResponse(DirectResponseAction { status: 502, body: None }))
        }
    };
    let everything =
        RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..RouteMatch::default() };
    let route = Route { name: name.to_owned(), r#match: Some(everything), action: Some(action), ..Route::default() };
    let mut list = RouteList::default();
    put_field(&mut list.last, 3, &route.encode_to_vec());
    if policy == OutboundPolicy::AllowAny {
        list.clusters.insert(PASSTHROUGH.into());
    }
    Hosts {
        name: name.to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![Arc::new(list)],
        needs_tls: false,
        limit: None,
    }
}
