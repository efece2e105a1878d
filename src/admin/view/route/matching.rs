//! Envoy's matching of requests: filter chains, domains, routes, headers.

use super::request::Request;
use crate::pb::envoy::{
    config::{
        listener::v3::{FilterChain, Listener},
        route::v3::{
            HeaderMatcher, QueryParameterMatcher, RouteConfiguration, RouteMatch, VirtualHost,
            header_matcher::HeaderMatchSpecifier, query_parameter_matcher::QueryParameterMatchSpecifier,
            route_match::PathSpecifier,
        },
    },
    r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
};
use regex_automata::{
    Anchored, Input,
    dfa::{Automaton, dense},
    util::syntax,
};

/// The most memory, in bytes, for a regular expression, so that a request to the admin API cannot use more.
const DFA_BYTES: usize = 4 << 20;

/// The chain of a listener that takes the request: by the name in TLS's handshake, which is taken to be the host, the closest
/// first; else one without a condition of names.
pub(super) fn chain<'l>(listener: &'l Listener, request: &Request) -> Option<&'l FilterChain> {
    let names = |chain: &&FilterChain| {
        let names = chain.filter_chain_match.as_ref().map_or(&[][..], |m| &m.server_names);
        let fits = names.iter().filter_map(|name| closeness(name, &request.host)).max();
        if names.is_empty() { Some(0) } else { fits }
    };
    let best = listener.filter_chains.iter().rev().max_by_key(names).filter(|chain| names(chain).is_some());
    best.or(listener.default_filter_chain.as_ref())
}

/// The virtual host of a host: the same name, the longest `*.name`, the longest `name*`, `*`.
pub(super) fn domain<'r>(routes: &'r RouteConfiguration, host: &str) -> Option<&'r VirtualHost> {
    let of = |vhost: &'r VirtualHost| vhost.domains.iter().filter_map(|domain| closeness(domain, host)).max();
    let all = routes.virtual_hosts.iter().filter_map(|vhost| Some((of(vhost)?, vhost)));
    // Of several that are as close the first counts; domains are there once.
    all.rev().max_by_key(|(closeness, _)| *closeness).map(|(_, vhost)| vhost)
}

/// How exactly a pattern fits a name; larger is closer. `None`: it does not fit.
fn closeness(pattern: &str, name: &str) -> Option<usize> {
    const SAME: usize = 1 << 30;
    const SUFFIX: usize = 1 << 20;
    let pattern = pattern.to_ascii_lowercase();
    match (&*pattern, pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        ("*", ..) => Some(1),
        (_, Some(end), _) if name.len() > end.len() && name.ends_with(end) => Some(SUFFIX + end.len()),
        (_, _, Some(start)) if name.len() > start.len() && name.starts_with(start) => Some(1 + start.len()),
        _ => (pattern == name).then_some(SAME),
    }
}

/// Whether a route takes the request: path, headers and query must fit.
pub(super) fn is_matched(of: Option<&RouteMatch>, request: &Request) -> bool {
    let Some(of) = of else { return false };
    let exact = of.case_sensitive.as_ref().is_none_or(|exact| exact.value);
    let lower = |text: &str| if exact { text.to_owned() } else { text.to_ascii_lowercase() };
    let path = match &of.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => lower(&request.path).starts_with(&lower(prefix)),
        Some(PathSpecifier::Path(path)) => lower(&request.path) == lower(path),
        Some(PathSpecifier::SafeRegex(pattern)) => is_whole(&pattern.regex, &request.path),
        None => false,
    };
    path && of.headers.iter().all(|header| header_fits(header, request))
        && of.query_parameters.iter().all(|parameter| parameter_fits(parameter, request))
}

fn header_fits(matcher: &HeaderMatcher, request: &Request) -> bool {
    let value = request.headers.get(&matcher.name.to_ascii_lowercase()).map(String::as_str);
    let value = value.or(matcher.treat_missing_header_as_empty.then_some(""));
    let fits = match &matcher.header_match_specifier {
        Some(HeaderMatchSpecifier::PresentMatch(present)) => value.is_some() == *present,
        // Of a header that is missing nothing but its presence can be said, whichever way it is turned.
        _ if value.is_none() => return false,
        Some(HeaderMatchSpecifier::StringMatch(of)) => value.is_some_and(|value| text_fits(of, value)),
        None => value.is_some(),
    };
    fits != matcher.invert_match
}

fn parameter_fits(matcher: &QueryParameterMatcher, request: &Request) -> bool {
    let value = request.query.iter().find(|(name, _)| *name == matcher.name).map(|(_, value)| value.as_str());
    match &matcher.query_parameter_match_specifier {
        Some(QueryParameterMatchSpecifier::StringMatch(of)) => value.is_some_and(|value| text_fits(of, value)),
        Some(QueryParameterMatchSpecifier::PresentMatch(present)) => value.is_some() == *present,
        None => value.is_some(),
    }
}

fn text_fits(matcher: &StringMatcher, value: &str) -> bool {
    let lower = |text: &str| if matcher.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let value = &lower(value);
    match &matcher.match_pattern {
        Some(MatchPattern::Exact(text)) => *value == lower(text),
        Some(MatchPattern::Prefix(text)) => value.starts_with(&lower(text)),
        Some(MatchPattern::Suffix(text)) => value.ends_with(&lower(text)),
        Some(MatchPattern::Contains(text)) => value.contains(&lower(text)),
        Some(MatchPattern::SafeRegex(pattern)) => is_whole(&pattern.regex, value),
        None => false,
    }
}

/// Whether a regular expression fits the whole text. Classes are of ASCII, as in RE2. One that needs more than
/// [`DFA_BYTES`] fits nothing.
fn is_whole(pattern: &str, text: &str) -> bool {
    let config = dense::Config::new().dfa_size_limit(Some(DFA_BYTES)).determinize_size_limit(Some(DFA_BYTES));
    let mut builder = dense::Builder::new();
    builder.configure(config).syntax(syntax::Config::new().unicode(false).utf8(false));
    let Ok(pattern) = builder.build(&format!("(?:{pattern})$")) else { return false };
    let input = Input::new(text).anchored(Anchored::Yes);
    pattern.try_search_fwd(&input).is_ok_and(|found| found.is_some())
}

/// A time with units, such as `1m 30s`.
pub(super) fn time_text(seconds: i64, nanos: i32) -> String {
    let (seconds, nanos) = (u64::try_from(seconds).unwrap_or_default(), u32::try_from(nanos).unwrap_or_default());
    humantime::format_duration(std::time::Duration::new(seconds, nanos)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{envoy::r#type::matcher::v3::RegexMatcher, google::protobuf::BoolValue};

    fn request(path: &str, headers: &[(&str, &str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let query = crate::admin::view::route::Query {
            host: "Shop.example:8080".into(),
            path: path.into(),
            headers,
            ..Default::default()
        };
        Request::of(&query)
    }

    #[test]
    fn paths_are_compared_as_envoy_does_it() {
        let prefix = |text: &str| Some(PathSpecifier::Prefix(text.into()));
        let path = |text: &str| Some(PathSpecifier::Path(text.into()));
        let regex = |text: &str| Some(PathSpecifier::SafeRegex(RegexMatcher { regex: text.into() }));
        for (path_specifier, exact, asked, expected) in [
            (prefix("/foo"), true, "/foobar", true),
            (prefix("/foo"), true, "/Foo", false),
            (prefix("/foo"), false, "/Foo/x", true),
            (path("/foo"), true, "/foo?a=b", true),
            (path("/foo"), true, "/foo/", false),
            (regex("/o+"), true, "/ooo", true),
            (regex("/o+"), true, "/ooo/x", false),
            (regex("/a|/b"), true, "/b", true),
        ] {
            let case_sensitive = Some(BoolValue { value: exact });
            let of = RouteMatch { path_specifier, case_sensitive, ..Default::default() };
            assert_eq!(is_matched(Some(&of), &request(asked, &[])), expected, "{of:?} {asked}");
        }
    }

    #[test]
    fn headers_that_are_missing_fit_nothing_but_their_absence() {
        let exact = |text: &str| {
            let of = StringMatcher { match_pattern: Some(MatchPattern::Exact(text.into())), ..Default::default() };
            Some(HeaderMatchSpecifier::StringMatch(of))
        };
        let present = Some(HeaderMatchSpecifier::PresentMatch(true));
        let gray = [("X-Gray", "yes")];
        for (header_match_specifier, invert_match, treat_missing_header_as_empty, headers, expected) in [
            (exact("yes"), false, false, &gray[..], true),
            (exact("no"), false, false, &gray, false),
            (exact("yes"), false, false, &[], false),
            (exact("yes"), true, true, &[], true),
            (exact("yes"), true, false, &[], false),
            (present.clone(), false, false, &gray, true),
            (present, true, false, &[], true),
        ] {
            let name = "x-gray".into();
            let of = HeaderMatcher { name, header_match_specifier, invert_match, treat_missing_header_as_empty };
            assert_eq!(header_fits(&of, &request("/", headers)), expected, "{of:?} {headers:?}");
        }
    }

    #[test]
    fn the_closest_domain_wins() {
        let vhost = |name: &str, domains: &[&str]| VirtualHost {
            name: name.into(),
            domains: domains.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        let virtual_hosts =
            vec![vhost("all", &["*"]), vhost("end", &["*.example", "*.a.example"]), vhost("same", &["x.a.example"])];
        let routes = RouteConfiguration { virtual_hosts, ..Default::default() };
        for (host, expected) in
            [("x.a.example", "same"), ("y.a.example", "end"), ("y.example", "end"), ("example", "all")]
        {
            assert_eq!(domain(&routes, host).map(|found| &*found.name), Some(expected), "{host}");
        }
    }
}
