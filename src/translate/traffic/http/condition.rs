//! Conditions of routes: which requests a route is for.

use crate::{
    pb::{
        envoy::{
            config::route::v3::{
                HeaderMatcher, QueryParameterMatcher, RouteMatch, header_matcher::HeaderMatchSpecifier,
                query_parameter_matcher::QueryParameterMatchSpecifier, route_match::PathSpecifier,
            },
            r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern},
        },
        istio::networking::v1alpha3::{HttpMatchRequest, StringMatch, string_match::MatchType},
    },
    translate::traffic::message::boolean,
};

/// The conditions that a request decides; `None`: all requests.
pub(super) fn route_match(of: Option<&HttpMatchRequest>) -> RouteMatch {
    let path_specifier = Some(PathSpecifier::Prefix("/".to_owned()));
    let Some(of) = of else { return RouteMatch { path_specifier, ..RouteMatch::default() } };
    let wanted = of.headers.iter().map(|(name, value)| header(name, value));
    let mut headers: Vec<HeaderMatcher> =
        wanted.chain(of.without_headers.iter().map(|(n, v)| unwanted(n, v))).collect();
    headers.sort_by(|a, b| a.name.cmp(&b.name));
    for (name, value) in [(":method", &of.method), (":authority", &of.authority), (":scheme", &of.scheme)] {
        headers.extend(value.as_ref().map(|value| header(name, value)));
    }
    RouteMatch {
        path_specifier: of.uri.as_ref().and_then(path).or(path_specifier),
        case_sensitive: boolean(!of.ignore_uri_case),
        headers,
        query_parameters: of.query_params.iter().map(|(name, value)| parameter(name, value)).collect(),
        ..RouteMatch::default()
    }
}

/// Whether it is for all requests: a prefix `/` or any path, and nothing else.
pub(super) fn takes_everything(of: &RouteMatch) -> bool {
    let any_path = match &of.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => prefix == "/",
        Some(PathSpecifier::SafeRegex(regex)) => regex.regex == ".*",
        _ => false,
    };
    any_path && of.headers.is_empty() && of.query_parameters.is_empty()
}

fn path(uri: &StringMatch) -> Option<PathSpecifier> {
    Some(match uri.match_type.as_ref()? {
        MatchType::Exact(path) => PathSpecifier::Path(path.clone()),
        MatchType::Prefix(prefix) => PathSpecifier::Prefix(prefix.clone()),
        MatchType::Regex(regex) => PathSpecifier::SafeRegex(RegexMatcher { regex: regex.clone() }),
    })
}

/// Whether the header or parameter needs only to be present, with any value.
fn only_present(value: &StringMatch) -> bool {
    match &value.match_type {
        None => true,
        Some(MatchType::Regex(regex)) => regex == "*",
        Some(_) => false,
    }
}

fn header(name: &str, value: &StringMatch) -> HeaderMatcher {
    let specifier = match string_matcher(value) {
        Some(matcher) if !only_present(value) => HeaderMatchSpecifier::StringMatch(matcher),
        _ => HeaderMatchSpecifier::PresentMatch(true),
    };
    HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(specifier), ..HeaderMatcher::default() }
}

/// A header that is missing counts as empty, and so as different.
fn unwanted(name: &str, value: &StringMatch) -> HeaderMatcher {
    HeaderMatcher { invert_match: true, treat_missing_header_as_empty: !only_present(value), ..header(name, value) }
}

fn parameter(name: &str, value: &StringMatch) -> QueryParameterMatcher {
    let specifier = match string_matcher(value) {
        Some(matcher) if !only_present(value) => QueryParameterMatchSpecifier::StringMatch(matcher),
        _ => QueryParameterMatchSpecifier::PresentMatch(true),
    };
    QueryParameterMatcher { name: name.to_owned(), query_parameter_match_specifier: Some(specifier) }
}

/// The condition on a text. `None`: none is set, so any text will do.
pub(super) fn string_matcher(value: &StringMatch) -> Option<StringMatcher> {
    let pattern = match value.match_type.as_ref()? {
        MatchType::Exact(text) => MatchPattern::Exact(text.clone()),
        MatchType::Prefix(text) => MatchPattern::Prefix(text.clone()),
        MatchType::Regex(regex) => MatchPattern::SafeRegex(RegexMatcher { regex: regex.clone() }),
    };
    Some(StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() })
}
