//! Delegates of VirtualServices: the routes of both, joined.

use super::{
    check::MOST_FINDINGS,
    finding::{Code, Finding},
    object::{Id, Object},
};
use crate::{
    pb::istio::networking::v1alpha3::{
        HttpMatchRequest, HttpRoute, StringMatch, VirtualService, string_match::MatchType,
    },
    resource::Kind,
};
use prost::Message;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The most that the routes of all delegates of one VirtualService come to, in bytes: each stands there once for each route that
/// leads to it.
const LARGEST: usize = 16 << 20;

/// What a route takes besides its own bytes, at least.
const ROUTE: usize = 1 << 10;

/// Whether any of its routes leads to another VirtualService.
pub(super) fn is_root(service: &VirtualService) -> bool {
    service.http.iter().any(|route| route.delegate.is_some())
}

/// The VirtualService with the routes of its delegates in the place of the routes that lead to them. `visible`: whether a
/// delegate is for a namespace.
pub(super) fn merged(
    root: &Object<VirtualService>,
    delegates: &BTreeMap<Id, Arc<Object<VirtualService>>>,
    visible: &dyn Fn(&Object<VirtualService>, &str) -> bool,
    findings: &mut Vec<Finding>,
) -> Object<VirtualService> {
    let mut http = Vec::with_capacity(root.spec.http.len());
    let (mut room, told) = (LARGEST, findings.len());
    for (index, route) in root.spec.http.iter().enumerate() {
        let Some(delegate) = &route.delegate else {
            http.push(route.clone());
            continue;
        };
        let mut found = |code, text: String| {
            let place = format!("http[{index}].delegate").into();
            let (kind, name) = (Kind::VirtualService, root.id.full());
            if findings.len() - told < MOST_FINDINGS {
                findings.push(Finding { kind, name, place, code, text: text.into() });
            }
        };
        let namespace = if delegate.namespace.is_empty() { &root.id.namespace } else { &*delegate.namespace };
        let id = Id::new(namespace, &delegate.name);
        let Some(target) = delegates.get(&id).filter(|target| visible(target, &root.id.namespace)) else {
            found(Code::DelegateMissing, format!("{id} is no delegate, or not one for {}", root.id.namespace));
            continue;
        };
        let needed = target.spec.http.iter().try_fold(0_usize, |sum, leaf| {
            let sum = sum.saturating_add(size(route, leaf));
            (sum <= room).then_some(sum)
        });
        let Some(needed) = needed else {
            // Nor are those behind it, however small: which routes there are must be easy to say.
            room = 0;
            found(
                Code::DelegateConflict,
                format!("with the routes of {id} it would have more than {} MiB of routes", LARGEST >> 20),
            );
            continue;
        };
        room -= needed;
        for (inner, leaf) in target.spec.http.iter().enumerate() {
            match join(route, leaf) {
                Some(route) => http.push(route),
                None => found(
                    Code::DelegateConflict,
                    format!("http[{inner}] of {id} contradicts the match that leads to it"),
                ),
            }
        }
    }
    root.with(VirtualService { http, ..root.spec.clone() })
}

/// What the route of a delegate comes to below a route that leads to it, at most.
fn size(root: &HttpRoute, leaf: &HttpRoute) -> usize {
    let matches = root.r#match.len().max(1).saturating_mul(leaf.r#match.len().max(1));
    (root.encoded_len() + leaf.encoded_len() + ROUTE).saturating_mul(matches)
}

/// A delegate's route, with everything it leaves unset taken from the root's. `None`: their conditions contradict each
/// other.
fn join(root: &HttpRoute, leaf: &HttpRoute) -> Option<HttpRoute> {
    let or = |leaf: &str, root: &str| match (leaf, root) {
        ("", root) => root.to_owned(),
        (leaf, "") => leaf.to_owned(),
        (leaf, root) => format!("{root}-{leaf}"),
    };
    let (own, above) = (leaf.clone(), root.clone());
    Some(HttpRoute {
        r#match: join_matches(&root.r#match, &leaf.r#match)?,
        name: or(&leaf.name, &root.name),
        rewrite: own.rewrite.or(above.rewrite),
        direct_response: own.direct_response.or(above.direct_response),
        timeout: own.timeout.or(above.timeout),
        retries: own.retries.or(above.retries),
        fault: own.fault.or(above.fault),
        mirror: own.mirror.or(above.mirror),
        mirror_percent: own.mirror_percent.or(above.mirror_percent),
        mirror_percentage: own.mirror_percentage.or(above.mirror_percentage),
        cors_policy: own.cors_policy.or(above.cors_policy),
        mirrors: if own.mirrors.is_empty() { above.mirrors } else { own.mirrors },
        headers: own.headers.or(above.headers),
        delegate: None,
        ..own
    })
}

fn join_matches(roots: &[HttpMatchRequest], leaves: &[HttpMatchRequest]) -> Option<Vec<HttpMatchRequest>> {
    if roots.is_empty() || leaves.is_empty() {
        return Some([roots, leaves].concat());
    }
    let mut joined = Vec::new();
    for leaf in leaves {
        let before = joined.len();
        joined.extend(roots.iter().filter(|root| !conflict(root, leaf)).map(|root| join_match(root, leaf)));
        if joined.len() == before {
            return None;
        }
    }
    Some(joined)
}

fn join_match(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> HttpMatchRequest {
    let or = |leaf: &String, root: &String| if leaf.is_empty() { root.clone() } else { leaf.clone() };
    let either = |leaf: &Option<StringMatch>, root: &Option<StringMatch>| leaf.clone().or_else(|| root.clone());
    let name = match (&*leaf.name, &*root.name) {
        (leaf, "") => leaf.to_owned(),
        ("", root) => root.to_owned(),
        (leaf, root) => format!("{root}-{leaf}"),
    };
    HttpMatchRequest {
        uri: either(&leaf.uri, &root.uri),
        scheme: either(&leaf.scheme, &root.scheme),
        method: either(&leaf.method, &root.method),
        authority: either(&leaf.authority, &root.authority),
        headers: united(&root.headers, &leaf.headers),
        without_headers: united(&root.without_headers, &leaf.without_headers),
        query_params: united(&root.query_params, &leaf.query_params),
        source_labels: united(&root.source_labels, &leaf.source_labels),
        port: if leaf.port == 0 { root.port } else { leaf.port },
        gateways: if leaf.gateways.is_empty() { root.gateways.clone() } else { leaf.gateways.clone() },
        source_namespace: or(&leaf.source_namespace, &root.source_namespace),
        stat_prefix: or(&leaf.stat_prefix, &root.stat_prefix),
        ignore_uri_case: leaf.ignore_uri_case,
        name,
    }
}

fn united<T: Clone>(root: &BTreeMap<String, T>, leaf: &BTreeMap<String, T>) -> BTreeMap<String, T> {
    let mut all = root.clone();
    all.extend(leaf.clone());
    all
}

/// Whether a delegate's condition contradicts the root's, by Istio's rules.
fn conflict(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> bool {
    let texts = [
        (&root.uri, &leaf.uri),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let maps = [
        (&root.headers, &leaf.headers),
        (&root.without_headers, &leaf.without_headers),
        (&root.query_params, &leaf.query_params),
    ];
    let by_key = |(root, leaf): (&BTreeMap<String, StringMatch>, &BTreeMap<String, StringMatch>)| {
        leaf.iter().any(|(key, leaf)| texts_conflict(root.get(key), Some(leaf)))
    };
    let roots: BTreeSet<&String> = root.gateways.iter().collect();
    let gateways = !root.gateways.is_empty()
        && !leaf.gateways.is_empty()
        && (root.gateways.len() < leaf.gateways.len() || leaf.gateways.iter().any(|gateway| !roots.contains(gateway)));
    texts.into_iter().any(|(root, leaf)| texts_conflict(root.as_ref(), leaf.as_ref()))
        || maps.into_iter().any(by_key)
        || root.ignore_uri_case != leaf.ignore_uri_case
        || root.port != 0 && leaf.port != 0 && root.port != leaf.port
        || !root.source_namespace.is_empty() && leaf.source_namespace != root.source_namespace
        || leaf.source_labels.iter().any(|(key, value)| root.source_labels.get(key).is_some_and(|other| other != value))
        || gateways
}

/// A condition on a text. `Empty`: it is unset or has an empty text.
enum Condition<'a> {
    Exact(&'a str),
    Prefix(&'a str),
    Regex,
    Empty,
}

fn condition(of: &StringMatch) -> Condition<'_> {
    match &of.match_type {
        Some(MatchType::Exact(text)) if !text.is_empty() => Condition::Exact(text),
        Some(MatchType::Prefix(text)) if !text.is_empty() => Condition::Prefix(text),
        Some(MatchType::Regex(text)) if !text.is_empty() => Condition::Regex,
        _ => Condition::Empty,
    }
}

fn texts_conflict(root: Option<&StringMatch>, leaf: Option<&StringMatch>) -> bool {
    let (Some(root), Some(leaf)) = (root, leaf) else { return false };
    match (condition(root), condition(leaf)) {
        (Condition::Exact(root), Condition::Exact(leaf)) => root != leaf,
        (Condition::Prefix(root), Condition::Prefix(leaf) | Condition::Exact(leaf)) => !leaf.starts_with(root),
        // Two of which one is empty or a pattern, or a wider one below a narrower one.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: fn(String) -> MatchType, text: &str) -> Option<StringMatch> {
        Some(StringMatch { match_type: Some(kind(text.into())) })
    }

    #[test]
    fn texts_contradict_each_other_as_in_istio() {
        use MatchType::{Exact, Prefix, Regex};
        for (root, leaf, expected) in [
            (None, text(Exact, "/a"), false),
            (text(Exact, "/a"), None, false),
            (text(Exact, "/a"), text(Exact, "/a"), false),
            (text(Exact, "/a"), text(Exact, "/b"), true),
            (text(Exact, "/a"), text(Prefix, "/a"), true),
            (text(Prefix, "/a"), text(Prefix, "/a/b"), false),
            (text(Prefix, "/a/b"), text(Prefix, "/a"), true),
            (text(Prefix, "/a"), text(Exact, "/a/b"), false),
            (text(Prefix, "/a"), text(Exact, "/b"), true),
            (text(Regex, ".*"), text(Exact, "/b"), true),
            (text(Prefix, "/a"), text(Regex, ".*"), true),
            (text(Regex, ".*"), text(Regex, ".*"), true),
        ] {
            assert_eq!(texts_conflict(root.as_ref(), leaf.as_ref()), expected, "{root:?} {leaf:?}");
        }
    }
}
