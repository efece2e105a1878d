//! The routes of one VirtualService, or of a service without any, encoded.

use super::{
    action::{self, Port, apply},
    condition::{route_match, takes_everything},
    destination::{Lookup, Target},
    filter, hash, retry,
};
use crate::{
    model::Text,
    pb::{
        envoy::config::route::v3::{Route, RouteAction, route::Action, route_action::ClusterSpecifier},
        istio::networking::v1alpha3::{HttpMatchRequest, HttpRoute, VirtualService},
    },
    resource::{Kind, Name, put_field},
    translate::traffic::{
        destination::selects,
        finding::{Code, Finding},
        grpc,
        host::MESH,
        limit::{self, Buckets},
        message::{VIRTUAL_SERVICE, source},
        object::Object,
        shape::Shape,
    },
};
use prost::Message;
use std::collections::BTreeSet;

/// The name of the route of a service without a VirtualService.
const DEFAULT_ROUTE: &str = "default";

/// The field number of `VirtualHost.routes`.
const ROUTES: u32 = 3;

/// The gateway or sidecar, and the port, for which routes are made.
#[derive(Debug, Clone, Copy)]
pub(in crate::translate::traffic) struct Place<'a> {
    pub(in crate::translate::traffic) lookup: Lookup<'a>,
    /// The gateway's `namespace/name`, or `mesh` for sidecars and gRPC programs.
    pub(in crate::translate::traffic) gateway: &'a str,
    /// The port that clients ask for; 0 on a sidecar's HTTP proxy, where it can be any.
    pub(in crate::translate::traffic) port: u32,
    /// Whether clients speak TLS to the port.
    pub(in crate::translate::traffic) is_tls: bool,
    /// For gRPC programs the cluster of the service that is called; else empty.
    pub(in crate::translate::traffic) own: &'a str,
}

/// The routes of one VirtualService or service, as they stand in a virtual host.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::translate::traffic) struct RouteList {
    /// Encoded entries of the virtual host.
    pub(in crate::translate::traffic) routes: Vec<u8>,
    /// The same for the route that takes everything; it stands behind those of all VirtualServices.
    pub(in crate::translate::traffic) last: Vec<u8>,
    /// The clusters to which the routes lead, also those that do not exist.
    pub(in crate::translate::traffic) clusters: BTreeSet<Name>,
    /// The buckets in which requests are counted, with their limits.
    pub(in crate::translate::traffic) buckets: Buckets,
    /// The services, with ports, whose requests are counted.
    pub(in crate::translate::traffic) counted: BTreeSet<(Text, u32)>,
    pub(in crate::translate::traffic) findings: Vec<Finding>,
}

impl RouteList {
    /// Whether there is no route at all.
    pub(in crate::translate::traffic) fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.last.is_empty()
    }

    /// Makes Envoy count the requests of a route whose destinations have limits. gRPC programs cannot count.
    fn count(&mut self, route: &mut Route, targets: &[(String, Target)], place: &Place<'_>) {
        let Some(Action::Route(action)) = &mut route.action else { return };
        if place.lookup.proxy.kind.is_grpc() {
            return;
        }
        let counted = |name: &str| {
            let target = targets.iter().map(|(_, target)| target).find(|target| *target.cluster == *name);
            target.and_then(|target| target.counted.as_ref())
        };
        self.buckets.extend(limit::count(action, counted));
        let counted = targets.iter().filter_map(|(_, target)| target.counted.as_ref());
        self.counted.extend(counted.map(|counted| (counted.service.clone(), counted.port)));
    }

    fn push(&mut self, route: &Route) -> bool {
        let is_last = route.r#match.as_ref().is_some_and(takes_everything);
        let list = if is_last { &mut self.last } else { &mut self.routes };
        put_field(list, ROUTES, &route.encode_to_vec());
        is_last
    }
}

/// The routes of a VirtualService. What stands behind one that takes everything is left out.
pub(in crate::translate::traffic) fn routes(service: &Object<VirtualService>, place: &Place<'_>) -> RouteList {
    let (mut list, mut told) = (RouteList::default(), BTreeSet::new());
    let gateway = Some(place.gateway).filter(|gateway| *gateway != MESH);
    let metadata = source(VIRTUAL_SERVICE, &service.id, gateway);
    let any = [None];
    'all: for (index, route) in service.spec.http.iter().enumerate() {
        let matches: Vec<Option<&HttpMatchRequest>> = route.r#match.iter().map(Some).collect();
        let matches = if matches.is_empty() { &any[..] } else { &matches };
        for of in matches.iter().copied().filter(|of| of.is_none_or(|of| is_for(of, place))) {
            let finding = |place: &str, code, text: String| {
                let place = if place.is_empty() { format!("http[{index}]") } else { format!("http[{index}].{place}") };
                let (kind, name) = (Kind::VirtualService, service.id.full());
                Finding { kind, name, place: place.into(), code, text: text.into() }
            };
            let (mut made, targets) = one(route, of, place);
            made.metadata = Some(metadata.clone());
            for (at, target) in &targets {
                if let Some((code, text)) = &target.fault
                    && told.insert((index, at.clone()))
                {
                    list.findings.push(finding(at, *code, text.clone()));
                }
            }
            let (mut made, lost) = match place.lookup.proxy.kind.is_grpc() {
                true => grpc::usable(made, place.own),
                false => (vec![made], Vec::new()),
            };
            let lost = lost.into_iter().filter(|text| told.insert((index, (*text).to_owned())));
            list.findings.extend(lost.map(|text| finding("", Code::GrpcUnusable, text.into())));
            if made.is_empty() {
                continue;
            }
            let mut is_last = false;
            for route in &mut made {
                list.count(route, &targets, place);
                is_last |= list.push(route);
            }
            list.clusters.extend(targets.into_iter().map(|(_, target)| target.cluster));
            if is_last {
                if index + 1 < service.spec.http.len() {
                    let text = format!("it stands behind http[{index}], which takes everything");
                    let finding = finding("", Code::RouteUnreachable, text);
                    list.findings.push(Finding { place: format!("http[{}]", index + 1).into(), ..finding });
                }
                break 'all;
            }
        }
        // An entry without conditions ends the list, even where it gives no route.
        if route.r#match.is_empty() {
            break;
        }
    }
    list
}

/// The one route to a service without a VirtualService. Empty: the service does not have the port.
pub(in crate::translate::traffic) fn default_route(shape: &Shape, port: u32, place: &Place<'_>) -> RouteList {
    let lookup = &place.lookup;
    let Some(cluster) = shape.port(port).map(|port| port.cluster.clone()) else { return RouteList::default() };
    let mut action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_string())),
        retry_policy: retry::policy(lookup.mesh.default_retries.as_ref(), false),
        hash_policy: lookup.service_hash(&shape.host, port).and_then(hash::policy).into_iter().collect(),
        ..RouteAction::default()
    };
    let is_grpc = lookup.proxy.kind.is_grpc();
    action::timeouts(&mut action, None, is_grpc);
    let mut route = Route {
        name: DEFAULT_ROUTE.to_owned(),
        r#match: Some(route_match(None)),
        action: Some(Action::Route(action)),
        ..Route::default()
    };
    let mut list = RouteList { clusters: BTreeSet::from([cluster.clone()]), ..RouteList::default() };
    let counted = shape.counted(port);
    list.count(&mut route, &[(String::new(), Target { cluster: cluster.clone(), fault: None, counted })], place);
    let routes = if is_grpc { grpc::usable(route, &cluster).0 } else { vec![route] };
    routes.iter().for_each(|route| _ = list.push(route));
    list
}

/// Whether the conditions hold that do not depend on a request: port, gateway, and the labels and namespace of the
/// proxy.
fn is_for(of: &HttpMatchRequest, place: &Place<'_>) -> bool {
    if of.port != 0 && of.port != place.port {
        return false;
    }
    let proxy = place.lookup.proxy;
    match of.gateways.is_empty() {
        false => of.gateways.iter().any(|gateway| gateway == place.gateway),
        true => {
            let own = of.source_namespace.is_empty() || *of.source_namespace == *proxy.namespace;
            own && selects(&of.source_labels, proxy)
        }
    }
}

fn one(route: &HttpRoute, of: Option<&HttpMatchRequest>, place: &Place<'_>) -> (Route, Vec<(String, Target)>) {
    let name = match of.map(|of| &*of.name).filter(|name| !name.is_empty()) {
        Some(name) => format!("{}.{name}", route.name),
        None => route.name.clone(),
    };
    let mut made = Route {
        name,
        r#match: Some(route_match(of)),
        stat_prefix: of.map(|of| of.stat_prefix.clone()).unwrap_or_default(),
        typed_per_filter_config: filter::of_route(route),
        ..Route::default()
    };
    let mut targets = Vec::new();
    let port = Port { number: place.port, is_tls: place.is_tls };
    apply(&mut made, route, &place.lookup, port, &mut targets);
    (made, targets)
}
