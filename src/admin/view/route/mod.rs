//! The answer of `/api/v1/route`: which listener, virtual host, route and clusters of a view take a request, and which
//! resource each route comes from. Pure; it decides as Envoy does, from what is served.

mod matching;
mod request;

pub(in crate::admin) use request::Query;

use crate::{
    pb::{
        envoy::{
            config::{
                cluster::v3::Cluster,
                core::v3::Metadata,
                listener::v3::{FilterChain, Listener},
                route::v3::{
                    RouteAction, RouteConfiguration, VirtualHost, route::Action, route_action::ClusterSpecifier,
                    virtual_host::TlsRequirementType,
                },
            },
            extensions::filters::network::{
                http_connection_manager::v3::{HttpConnectionManager, http_connection_manager::RouteSpecifier},
                tcp_proxy::v3::{TcpProxy, tcp_proxy},
            },
        },
        google::protobuf::Any,
    },
    resource::{Kind, ViewGeneration},
};
use matching::{chain, domain, is_matched, time_text};
use prost::{Message, Name};
use request::Request;
use serde::Serialize;

/// What one listener does with the request.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(in crate::admin) struct Decision {
    listener: String,
    address: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    chain: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    route_configuration: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    virtual_host: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    route: String,
    /// The Istio resource that the route comes from, such as `virtual-service shop/orders`.
    #[serde(skip_serializing_if = "String::is_empty")]
    source: String,
    /// The Gateway by which the request came in, where that is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    gateway: String,
    /// `route`, `redirect`, `response`, `tcp` or `none`.
    action: &'static str,
    /// What happens, in words.
    what: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clusters: Vec<Share>,
}

/// A cluster, and its share of the requests.
#[derive(Debug, PartialEq, Serialize)]
pub(in crate::admin) struct Share {
    cluster: String,
    weight: u32,
    /// The share of the requests that take this route, 0 to 100.
    percent: f64,
    /// Whether the view has the cluster; without it requests get 503.
    known: bool,
    /// How many endpoints it has. `None`: it is unknown, or has no EDS.
    endpoints: Option<usize>,
    /// The DestinationRule whose settings the cluster has.
    #[serde(skip_serializing_if = "String::is_empty")]
    rule: String,
}

/// The decision of each listener of a view to which the request may come.
pub(in crate::admin) fn decide(view: &ViewGeneration, query: &Query) -> Vec<Decision> {
    let request = Request::of(query);
    let listeners = view.get(Kind::Listener).iter().filter_map(|r| Listener::decode(r.body()).ok());
    let on_port: Vec<Listener> = listeners.filter(|listener| comes_to(&request, listener)).collect();
    on_port.iter().map(|listener| in_listener(view, listener, &request)).collect()
}

/// Whether a request may come to the listener: its port is the same, or the request has none. A gRPC program's listener
/// has no address, so its name is compared.
fn comes_to(request: &Request, listener: &Listener) -> bool {
    match (address(listener), request.port) {
        (None, _) => [&request.host, &request.authority].contains(&&listener.name),
        (Some((_, port)), Some(wanted)) => port == wanted,
        (Some(_), None) => true,
    }
}

fn address(listener: &Listener) -> Option<(String, u32)> {
    use crate::pb::envoy::config::core::v3::address::Address;
    match listener.address.as_ref()?.address.as_ref()? {
        Address::SocketAddress(socket) => Some((socket.address.clone(), socket.port_value)),
        Address::Pipe(_) => None,
    }
}

fn in_listener(view: &ViewGeneration, listener: &Listener, request: &Request) -> Decision {
    let address = address(listener).map(|(ip, port)| format!("{ip}:{port}")).unwrap_or_default();
    let mut decision = Decision { listener: listener.name.clone(), address, action: "none", ..Decision::default() };
    if let Some(api) = listener.api_listener.as_ref().and_then(|api| api.api_listener.as_ref()) {
        http(view, api, request, &mut decision);
        return decision;
    }
    let Some(chain) = chain(listener, request) else {
        decision.what = "no chain of filters takes it: the connection is closed".into();
        return decision;
    };
    decision.chain.clone_from(&chain.name);
    decision.is_of(chain.metadata.as_ref());
    filters(view, chain, request, &mut decision);
    decision
}

fn filters(view: &ViewGeneration, chain: &FilterChain, request: &Request, decision: &mut Decision) {
    for any in chain.filters.iter().filter_map(|filter| filter.typed_config.as_ref()) {
        if any.type_url == HttpConnectionManager::type_url() {
            return http(view, any, request, decision);
        }
        if let Ok(proxy) = TcpProxy::decode(&*any.value)
            && any.type_url == TcpProxy::type_url()
        {
            return tcp(view, &proxy, decision);
        }
    }
    decision.what = "the chain has no filter that is known here".into();
}

fn tcp(view: &ViewGeneration, proxy: &TcpProxy, decision: &mut Decision) {
    let clusters = match &proxy.cluster_specifier {
        Some(tcp_proxy::ClusterSpecifier::Cluster(name)) => vec![(name.clone(), 1)],
        Some(tcp_proxy::ClusterSpecifier::WeightedClusters(all)) => {
            all.clusters.iter().map(|cluster| (cluster.name.clone(), cluster.weight)).collect()
        }
        None => Vec::new(),
    };
    (decision.action, decision.clusters) = ("tcp", shares(view, clusters));
    decision.what = "bytes are passed on".into();
}

fn http(view: &ViewGeneration, any: &Any, request: &Request, decision: &mut Decision) {
    let Ok(manager) = HttpConnectionManager::decode(&*any.value) else {
        decision.what = "its filter cannot be read".into();
        return;
    };
    let routes = match manager.route_specifier {
        Some(RouteSpecifier::RouteConfig(routes)) => Some(routes),
        Some(RouteSpecifier::Rds(rds)) => {
            decision.route_configuration.clone_from(&rds.route_config_name);
            let found = view.get(Kind::Route).get(&rds.route_config_name);
            found.and_then(|resource| RouteConfiguration::decode(resource.body()).ok())
        }
        None => None,
    };
    let Some(routes) = routes else {
        decision.what = "its routes are not there: 404".into();
        return;
    };
    decision.route_configuration.clone_from(&routes.name);
    let ports = routes.ignore_port_in_host_matching;
    let Some(host) = domain(&routes, if ports { &request.host } else { &request.authority }) else {
        decision.what = "no virtual host has the host: 404".into();
        return;
    };
    decision.virtual_host.clone_from(&host.name);
    in_host(view, host, request, decision);
}

fn in_host(view: &ViewGeneration, host: &VirtualHost, request: &Request, decision: &mut Decision) {
    if host.require_tls() == TlsRequirementType::All {
        (decision.action, decision.what) = ("redirect", "301 to https, unless it comes with TLS".into());
        return;
    }
    let Some(route) = host.routes.iter().find(|route| is_matched(route.r#match.as_ref(), request)) else {
        decision.what = "no route fits: 404".into();
        return;
    };
    decision.route.clone_from(&route.name);
    decision.is_of(route.metadata.as_ref());
    match &route.action {
        Some(Action::Route(action)) => {
            let clusters = match &action.cluster_specifier {
                Some(ClusterSpecifier::Cluster(name)) => vec![(name.clone(), 1)],
                Some(ClusterSpecifier::WeightedClusters(all)) => {
                    let weight = |w: Option<&crate::pb::google::protobuf::UInt32Value>| w.map_or(1, |w| w.value);
                    all.clusters.iter().map(|c| (c.name.clone(), weight(c.weight.as_ref()))).collect()
                }
                None => Vec::new(),
            };
            (decision.action, decision.clusters) = ("route", shares(view, clusters));
            decision.what = told(action);
        }
        Some(Action::Redirect(redirect)) => {
            decision.action = "redirect";
            decision.what = format!("{:?} {}", redirect.response_code(), redirect.host_redirect).trim_end().to_owned();
        }
        Some(Action::DirectResponse(response)) => {
            (decision.action, decision.what) = ("response", format!("{} from the proxy", response.status));
        }
        None => decision.what = "the route does nothing: 404".into(),
    }
}

impl Decision {
    fn is_of(&mut self, metadata: Option<&Metadata>) {
        self.source = source(metadata);
        self.gateway = of_istio(metadata, "gateway");
    }
}

fn of_istio(metadata: Option<&Metadata>, key: &str) -> String {
    let value = metadata.and_then(|m| m.filter_metadata.get("istio")?.fields.get(key)?.string_value.clone());
    value.unwrap_or_default()
}

/// The resource in Istio's metadata, `/apis/networking.istio.io/v1/namespaces/NAMESPACE/virtual-service/NAME`, as
/// `virtual-service NAMESPACE/NAME`.
fn source(metadata: Option<&Metadata>) -> String {
    let path = of_istio(metadata, "config");
    let mut words = path.rsplit('/');
    match (words.next(), words.next(), words.next()) {
        (Some(name), Some(kind), Some(namespace)) if !kind.is_empty() => format!("{kind} {namespace}/{name}"),
        _ => path,
    }
}

/// What a route does to a request: rewrites, timeout, retries, mirrors.
fn told(action: &RouteAction) -> String {
    let mut parts = Vec::new();
    if !action.prefix_rewrite.is_empty() {
        parts.push(format!("path rewritten to {}", action.prefix_rewrite));
    }
    if action.regex_rewrite.is_some() {
        parts.push("path rewritten by a pattern".into());
    }
    if let Some(timeout) = action.timeout.as_ref().filter(|t| (t.seconds, t.nanos) != (0, 0)) {
        parts.push(format!("timeout {}", time_text(timeout.seconds, timeout.nanos)));
    }
    if let Some(retries) = &action.retry_policy {
        let count = retries.num_retries.as_ref().map_or(1, |n| n.value);
        parts.push(format!("{count} retries on {}", retries.retry_on));
    }
    for mirror in &action.request_mirror_policies {
        parts.push(format!("copied to {}", mirror.cluster));
    }
    parts.join(", ")
}

fn shares(view: &ViewGeneration, clusters: Vec<(String, u32)>) -> Vec<Share> {
    let sum: u64 = clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let share = |(cluster, weight): (String, u32)| {
        let found = view.get(Kind::Cluster).get(&cluster);
        let endpoints = found.and_then(|found| found.refers_to()).map(|name| endpoints(view, name));
        let percent = if sum == 0 { 0.0 } else { f64::from(weight) * 10_000.0 / sum as f64 };
        let message = found.and_then(|found| Cluster::decode(found.body()).ok());
        let rule = source(message.as_ref().and_then(|cluster| cluster.metadata.as_ref()));
        Share { known: found.is_some(), endpoints, percent: percent.round() / 100.0, cluster, weight, rule }
    };
    clusters.into_iter().map(share).collect()
}

fn endpoints(view: &ViewGeneration, assignment: &str) -> usize {
    use crate::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
    let found = view.get(Kind::Endpoint).get(assignment);
    let assignment = found.and_then(|resource| ClusterLoadAssignment::decode(resource.body()).ok());
    assignment.map_or(0, |a| a.endpoints.iter().map(|group| group.lb_endpoints.len()).sum())
}
