//! The form of a route that every gRPC library takes.
//!
//! Each library refuses something else, and always all routes of the host; what it does not refuse it may ignore or skip. So
//! what any of them refuses is put into another form or left out, and what all ignore is left out, so that it is told.

use super::message::{any, boolean, number, whole_percent};
use crate::pb::envoy::{
    config::route::v3::{
        HeaderMatcher, RetryPolicy, Route, RouteAction,
        header_matcher::HeaderMatchSpecifier,
        redirect_action::RedirectResponseCode,
        route::Action,
        route_action::{ClusterSpecifier, hash_policy::PolicySpecifier},
    },
    extensions::filters::http::fault::v3::{FaultAbort, HttpFault, fault_abort::ErrorType},
    r#type::matcher::v3::string_matcher::MatchPattern,
};
use std::mem::take;

/// The reasons for a retry that gRPC has.
const RETRY_ON: [&str; 5] = ["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"];

const FAULT: &str = "envoy.filters.http.fault";

/// The most headers of a route that must not have some value: each makes twice as many routes of it.
const MOST_DOUBLED: usize = 3;

/// The route as gRPC programs take it, which may be several, and texts of what is lost. `own` is the cluster of the
/// service itself: calls that must fail need a cluster, too.
pub(super) fn usable(mut route: Route, own: &str) -> (Vec<Route>, Vec<&'static str>) {
    let mut lost = Vec::new();
    let Some(of) = &mut route.r#match else { return (Vec::new(), lost) };
    // C-core compares them as they are with names in lower case.
    of.headers.iter_mut().for_each(|header| header.name.make_ascii_lowercase());
    // Java reads what is absent as "no".
    of.case_sensitive = of.case_sensitive.take().or(boolean(true));
    if !of.query_parameters.is_empty() {
        return (Vec::new(), vec!["gRPC has no parameters behind a path: the route is left out"]);
    }
    if of.headers.iter().any(is_unknown) {
        return (
            Vec::new(),
            vec![
                "gRPC programs do not compare `method`, `authority`, `scheme` and binary headers: the route is left out",
            ],
        );
    }
    let had = route.typed_per_filter_config.len();
    route.typed_per_filter_config.retain(|name, _| name == FAULT);
    if route.typed_per_filter_config.len() < had {
        lost.push("gRPC programs know no `corsPolicy`");
    }
    let headers = [&route.request_headers_to_add, &route.response_headers_to_add].iter().any(|list| !list.is_empty())
        || !route.request_headers_to_remove.is_empty()
        || !route.response_headers_to_remove.is_empty();
    if headers {
        lost.push("gRPC programs change no `headers`");
    }
    route.request_headers_to_add.clear();
    route.request_headers_to_remove.clear();
    route.response_headers_to_add.clear();
    route.response_headers_to_remove.clear();
    route.action = match route.action.take() {
        Some(Action::Route(action)) => Some(Action::Route(routed(action, &mut lost))),
        Some(Action::Redirect(redirect)) => {
            lost.push("gRPC has no redirects: calls fail");
            let status = match RedirectResponseCode::try_from(redirect.response_code).unwrap_or_default() {
                RedirectResponseCode::MovedPermanently => 301,
                RedirectResponseCode::Found => 302,
                RedirectResponseCode::SeeOther => 303,
                RedirectResponseCode::TemporaryRedirect => 307,
                RedirectResponseCode::PermanentRedirect => 308,
            };
            aborted(&mut route, status, own)
        }
        Some(Action::DirectResponse(response)) => {
            lost.push("gRPC programs make no answers of their own: calls fail with the status that stands for it");
            aborted(&mut route, response.status, own)
        }
        None => None,
    };
    let routes = if route.action.is_some() { doubled(route, &mut lost) } else { Vec::new() };
    (routes, lost)
}

/// Without the header a call fits no condition on its value, for gRPC not even one that is turned round. So there is one route
/// for calls that lack it, and one for those that have another value.
fn doubled(route: Route, lost: &mut Vec<&'static str>) -> Vec<Route> {
    let headers = route.r#match.as_ref().map_or(&[][..], |of| &of.headers[..]);
    let (mut places, mut is_lost) = (Vec::new(), false);
    for (place, header) in headers.iter().enumerate() {
        match fits_without(header) {
            Some(false) => {}
            Some(true) if places.len() < MOST_DOUBLED => places.push(place),
            Some(true) | None => is_lost = true,
        }
    }
    if is_lost {
        lost.push("for gRPC programs only calls that have the header can fit `withoutHeaders` with a value");
    }
    let mut routes = vec![route];
    for place in places {
        let lacking: Vec<Route> = routes.iter().map(|route| lacking(route, place)).collect();
        routes.extend(lacking);
    }
    routes
}

/// Whether calls without the header, which Envoy takes for an empty one, fit a condition that is turned round. False also for one
/// that gRPC reads in the same way. `None`: that is not known of a regular expression.
fn fits_without(header: &HeaderMatcher) -> Option<bool> {
    let of_value = header.invert_match && header.treat_missing_header_as_empty;
    let Some(HeaderMatchSpecifier::StringMatch(of)) = header.header_match_specifier.as_ref().filter(|_| of_value)
    else {
        return Some(false);
    };
    match of.match_pattern.as_ref()? {
        MatchPattern::Exact(text) | MatchPattern::Prefix(text) => Some(!text.is_empty()),
        _ => None,
    }
}

/// The same route for calls that lack the header at that place.
fn lacking(route: &Route, place: usize) -> Route {
    let mut route = route.clone();
    if let Some(header) = route.r#match.as_mut().and_then(|of| of.headers.get_mut(place)) {
        header.header_match_specifier = Some(HeaderMatchSpecifier::PresentMatch(true));
        header.treat_missing_header_as_empty = false;
    }
    route
}

fn is_unknown(header: &HeaderMatcher) -> bool {
    header.name.starts_with(':') || header.name.ends_with("-bin")
}

/// Makes the route fail all calls, by a fault, with the gRPC status that stands for this status of HTTP.
fn aborted(route: &mut Route, status: u32, own: &str) -> Option<Action> {
    // As in gRPC's own table for answers that are no gRPC.
    let code = match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    };
    let abort = FaultAbort { percentage: Some(whole_percent(100)), error_type: Some(ErrorType::GrpcStatus(code)) };
    let fault = HttpFault { delay: None, abort: Some(abort) };
    route.typed_per_filter_config.insert(FAULT.to_owned(), any(&fault));
    let cluster = ClusterSpecifier::Cluster(own.to_owned());
    Some(Action::Route(RouteAction { cluster_specifier: Some(cluster), ..RouteAction::default() }))
}

fn routed(mut action: RouteAction, lost: &mut Vec<&'static str>) -> RouteAction {
    let rewrites =
        !action.prefix_rewrite.is_empty() || action.regex_rewrite.is_some() || action.host_rewrite_specifier.is_some();
    if rewrites {
        lost.push("gRPC programs rewrite neither path nor host");
    }
    if !take(&mut action.request_mirror_policies).is_empty() {
        lost.push("gRPC programs mirror nothing");
    }
    let hashes = action.hash_policy.len();
    action.hash_policy.retain(|hash| matches!(hash.policy_specifier, Some(PolicySpecifier::Header(_))));
    if action.hash_policy.len() < hashes {
        lost.push("gRPC programs hash headers only");
    }
    for hash in &mut action.hash_policy {
        if let Some(PolicySpecifier::Header(header)) = &mut hash.policy_specifier {
            header.header_name.make_ascii_lowercase();
        }
    }
    if let Some(ClusterSpecifier::WeightedClusters(weighted)) = &mut action.cluster_specifier {
        for cluster in &mut weighted.clusters {
            cluster.request_headers_to_add.clear();
            cluster.request_headers_to_remove.clear();
            cluster.response_headers_to_add.clear();
            cluster.response_headers_to_remove.clear();
            cluster.host_rewrite_literal.clear();
        }
    }
    RouteAction {
        cluster_specifier: action.cluster_specifier,
        max_stream_duration: action.max_stream_duration,
        hash_policy: action.hash_policy,
        retry_policy: action.retry_policy.and_then(retried),
        ..RouteAction::default()
    }
}

/// The retry policy with the reasons that gRPC has. `None`: no such reason, so no retries.
fn retried(policy: RetryPolicy) -> Option<RetryPolicy> {
    let words: Vec<&str> = policy.retry_on.split(',').filter(|word| RETRY_ON.contains(word)).collect();
    let attempts = policy.num_retries.as_ref().map_or(2, |retries| retries.value);
    if words.is_empty() || attempts == 0 {
        return None;
    }
    Some(RetryPolicy {
        retry_on: words.join(","),
        num_retries: number(attempts),
        retry_back_off: policy.retry_back_off,
        ..RetryPolicy::default()
    })
}
