//! Actions of routes: where requests go, or how they are answered.

use super::{
    destination::{Lookup, Target},
    hash,
    header::Changes,
    retry,
};
use crate::{
    pb::{
        envoy::{
            config::{
                core::v3::{DataSource, RuntimeFractionalPercent, data_source},
                route::v3::{
                    DirectResponseAction, RedirectAction, Route, RouteAction, WeightedCluster,
                    redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
                    route::Action,
                    route_action::{ClusterSpecifier, HostRewriteSpecifier, MaxStreamDuration, RequestMirrorPolicy},
                    weighted_cluster::ClusterWeight,
                },
            },
            r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher},
        },
        google::protobuf::Duration,
        istio::networking::v1alpha3::{
            Destination, HttpDirectResponse, HttpRedirect, HttpRetry, HttpRewrite, HttpRoute, Percent, http_body,
            http_redirect::{RedirectPort, RedirectPortSelection},
        },
    },
    translate::traffic::message::{NO_TIME, boolean, fraction, number, percent, whole_percent},
};

/// The port of the listener for which a route is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port {
    /// The port that clients ask for; 0 on a sidecar's HTTP proxy, where it can be any.
    pub(super) number: u32,
    /// Whether clients speak TLS to the port.
    pub(super) is_tls: bool,
}

/// Sets the action of a route and its changes of headers. `targets` gets the destinations, with their place in the
/// route.
pub(super) fn apply(
    out: &mut Route,
    route: &HttpRoute,
    lookup: &Lookup<'_>,
    port: Port,
    targets: &mut Vec<(String, Target)>,
) {
    let changes = Changes::of(route.headers.as_ref());
    let authority = changes.authority.clone();
    append(out, changes);
    out.action = Some(if let Some(redirect) = &route.redirect {
        Action::Redirect(redirected(redirect, port))
    } else if let Some(response) = &route.direct_response {
        Action::DirectResponse(answered(response))
    } else {
        Action::Route(routed(out, route, authority, lookup, port, targets))
    });
}

fn append(out: &mut Route, changes: Changes) {
    out.request_headers_to_add.extend(changes.request_add);
    out.request_headers_to_remove.extend(changes.request_remove);
    out.response_headers_to_add.extend(changes.response_add);
    out.response_headers_to_remove.extend(changes.response_remove);
}

/// Sets the timeouts of a route. `None` means no limit, as in Istio: Envoy's own would be 15 s.
pub(super) fn timeouts(action: &mut RouteAction, timeout: Option<Duration>, grpc: bool) {
    let timeout = timeout.unwrap_or(NO_TIME);
    action.timeout = Some(timeout);
    match grpc {
        true => {
            let max_stream_duration = Some(timeout);
            action.max_stream_duration = Some(MaxStreamDuration { max_stream_duration, grpc_timeout_header_max: None });
        }
        false => action.max_grpc_timeout = Some(timeout),
    }
}

fn routed(
    out: &mut Route,
    route: &HttpRoute,
    authority: Option<String>,
    lookup: &Lookup<'_>,
    port: Port,
    targets: &mut Vec<(String, Target)>,
) -> RouteAction {
    let mut action = RouteAction::default();
    timeouts(&mut action, route.timeout, lookup.proxy.kind.is_grpc());
    let authority = rewrite(&mut action, route.rewrite.as_ref()).or(authority);
    action.host_rewrite_specifier = authority.map(HostRewriteSpecifier::HostRewriteLiteral);
    action.request_mirror_policies = mirrors(route, lookup, port, targets);
    let mut target = |place: String, destination: Option<&Destination>| {
        let none = Destination::default();
        let target = lookup.target(destination.unwrap_or(&none), port.number);
        let cluster = target.cluster.to_string();
        targets.push((place, target));
        cluster
    };
    let mut hashed = false;
    let mut hash = |destination: Option<&Destination>| {
        let hash = lookup.hash(destination?);
        hashed |= hash.is_some();
        hash.and_then(hash::policy)
    };
    if let [only] = &route.route[..] {
        let cluster = target("route[0]".into(), only.destination.as_ref());
        action.cluster_specifier = Some(ClusterSpecifier::Cluster(cluster));
        let changes = Changes::of(only.headers.as_ref());
        if let (None, Some(host)) = (&action.host_rewrite_specifier, &changes.authority) {
            action.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewriteLiteral(host.clone()));
        }
        append(out, changes);
        action.hash_policy.extend(hash(only.destination.as_ref()));
    } else {
        let mut clusters = Vec::with_capacity(route.route.len());
        for (index, part) in route.route.iter().enumerate().filter(|(_, part)| part.weight > 0) {
            let changes = Changes::of(part.headers.as_ref());
            clusters.push(ClusterWeight {
                name: target(format!("route[{index}]"), part.destination.as_ref()),
                weight: number(part.weight.unsigned_abs()),
                request_headers_to_add: changes.request_add,
                request_headers_to_remove: changes.request_remove,
                response_headers_to_add: changes.response_add,
                response_headers_to_remove: changes.response_remove,
                host_rewrite_literal: changes.authority.unwrap_or_default(),
                ..ClusterWeight::default()
            });
            action.hash_policy.extend(hash(part.destination.as_ref()));
        }
        action.cluster_specifier = Some(ClusterSpecifier::WeightedClusters(WeightedCluster { clusters }));
        // Of several destinations Istio asks none whether the endpoint follows from the request.
        hashed = false;
    }
    let retries: Option<&HttpRetry> = route.retries.as_ref().or(lookup.mesh.default_retries.as_ref());
    action.retry_policy = retry::policy(retries, hashed);
    action
}

/// Sets the rewrite of the path. Returns the new host, if the rule has one.
fn rewrite(action: &mut RouteAction, rewrite: Option<&HttpRewrite>) -> Option<String> {
    let rewrite = rewrite?;
    if let Some(regex) = &rewrite.uri_regex_rewrite {
        action.regex_rewrite = Some(RegexMatchAndSubstitute {
            pattern: Some(RegexMatcher { regex: regex.r#match.clone() }),
            substitution: regex.rewrite.clone(),
        });
    } else {
        action.prefix_rewrite.clone_from(&rewrite.uri);
    }
    (!rewrite.authority.is_empty()).then(|| rewrite.authority.clone())
}

fn mirrors(
    route: &HttpRoute,
    lookup: &Lookup<'_>,
    port: Port,
    targets: &mut Vec<(String, Target)>,
) -> Vec<RequestMirrorPolicy> {
    let mut policies = Vec::new();
    let mut mirror = |place: String, destination: &Destination, share: Option<RuntimeFractionalPercent>| {
        let Some(share) = share else { return };
        let target = lookup.target(destination, port.number);
        policies.push(RequestMirrorPolicy {
            cluster: target.cluster.to_string(),
            runtime_fraction: Some(share),
            trace_sampled: boolean(false),
            disable_shadow_host_suffix_append: true,
        });
        targets.push((place, target));
    };
    if let Some(destination) = &route.mirror {
        let share = match (&route.mirror_percentage, &route.mirror_percent) {
            (Some(share), _) => exact(share),
            (None, Some(whole)) => (whole.value > 0).then(|| fraction(whole_percent(whole.value))).flatten(),
            (None, None) => fraction(whole_percent(100)),
        };
        mirror("mirror".into(), destination, share);
    }
    for (index, policy) in route.mirrors.iter().enumerate() {
        let Some(destination) = &policy.destination else { continue };
        let share = policy.percentage.as_ref().map_or_else(|| fraction(whole_percent(100)), exact);
        mirror(format!("mirrors[{index}]"), destination, share);
    }
    policies
}

/// The share of requests to mirror. `None`: 0 percent, so no mirror.
fn exact(share: &Percent) -> Option<RuntimeFractionalPercent> {
    (share.value > 0.0).then(|| fraction(percent(share.value))).flatten()
}

fn redirected(redirect: &HttpRedirect, port: Port) -> RedirectAction {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let path = text(&redirect.prefix_rewrite)
        .map(PathRewriteSpecifier::PrefixRewrite)
        .or_else(|| text(&redirect.uri).map(PathRewriteSpecifier::PathRedirect));
    let port_redirect = match redirect.redirect_port {
        Some(RedirectPort::Port(port)) => port,
        // Envoy cannot take it from the request, but it is the port that the route is made for.
        Some(RedirectPort::DerivePort(derived)) if derived == RedirectPortSelection::FromRequestPort as i32 => {
            port.number
        }
        _ => 0,
    };
    let own = if port.is_tls { "https" } else { "http" };
    let is_default =
        matches!((text(&redirect.scheme).as_deref().unwrap_or(own), port_redirect), ("http", 80) | ("https", 443));
    let response_code = match redirect.redirect_code {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    RedirectAction {
        host_redirect: redirect.authority.clone(),
        path_rewrite_specifier: path,
        scheme_rewrite_specifier: text(&redirect.scheme).map(SchemeRewriteSpecifier::SchemeRedirect),
        port_redirect: if is_default { 0 } else { port_redirect },
        response_code: response_code.into(),
        ..RedirectAction::default()
    }
}

fn answered(response: &HttpDirectResponse) -> DirectResponseAction {
    let specifier = response.body.as_ref().and_then(|body| body.specifier.as_ref()).map(|body| match body {
        http_body::Specifier::String(text) => data_source::Specifier::InlineString(text.clone()),
        http_body::Specifier::Bytes(bytes) => data_source::Specifier::InlineBytes(bytes.clone()),
    });
    let body = specifier.map(|specifier| DataSource { specifier: Some(specifier) });
    DirectResponseAction { status: response.status, body }
}
