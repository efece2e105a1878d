//! Protects admin, also where it needs no token, from pages of other sites that a browser on this machine shows.
//!
//! Listening on loopback is not enough: `evil.example` can resolve to 127.0.0.1 (DNS rebinding), and a form can be posted
//! here. So every request must name a host of ours, exactly; a request that changes something must come from a page of ours
//! or from no page, with a content type that no form can send. Probes name any address; they show no secret and change
//! nothing, so every host is accepted for them.

use super::{answer::refusal, changes::Changes, tokens::Tokens};
use arc_swap::ArcSwap;
use axum::{
    extract::Request,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
        header::{self, HOST, ORIGIN},
        uri::Authority,
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Paths for which every host is accepted: probes, and the page that also answers for the service of the example.
const OPEN: [&str; 5] = ["/healthz", "/ready", "/metrics", "/meshregistry/ready", "/"];

/// Paths for which no token is needed: probes have none, and the page has only links.
const WITHOUT_TOKEN: [&str; 4] = ["/healthz", "/ready", "/meshregistry/ready", "/"];

/// Headers of every answer: no frames, no guessed types, no caches, no use in pages of other sites.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Names and addresses that requests may name as their host, beside those of loopback and the one that admin listens on. They
/// may change while it answers; all clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// The hosts in lower case, without ports.
    list: Arc<ArcSwap<Vec<String>>>,
}

impl Hosts {
    /// A list that has these hosts for now.
    pub fn new(hosts: &[String]) -> Self {
        let all = Hosts::default();
        all.set(hosts);
        all
    }

    /// Replaces the names, in lower case, for requests from now on.
    pub fn set(&self, hosts: &[String]) {
        self.list.store(Arc::new(hosts.iter().map(|host| host.to_ascii_lowercase()).collect()));
    }
}

/// The checks that each request must pass: its host, its token, and for changes its origin.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    /// The address that admin listens on, if it is a single one.
    own: Option<String>,
    hosts: Hosts,
    tokens: Tokens,
    changes: Changes,
}

/// The text for changes that come when none are taken.
const CLOSED: &str = "no more changes are taken: this process is about to end, or another one is about to take over; ask again in a moment";

impl Guard {
    pub(super) fn new(listen: SocketAddr, hosts: Hosts, tokens: Tokens, changes: Changes) -> Self {
        Guard { own: (!listen.ip().is_unspecified()).then(|| listen.ip().to_string()), hosts, tokens, changes }
    }

    /// The refusal, if the request must not be answered.
    fn refusal(&self, request: &Request, local: Option<IpAddr>) -> Option<Response> {
        let path = request.uri().path();
        let changes = changes(request);
        if WITHOUT_TOKEN.contains(&path) {
            return None;
        }
        if OPEN.contains(&path) {
            return self.tokens.refusal(request.headers(), false);
        }
        let host = match host_of(request) {
            Ok(host) => host,
            Err(text) => return Some(refusal(StatusCode::BAD_REQUEST, text)),
        };
        if let Some(host) = host.as_ref().filter(|host| !self.is_ours(host, local)) {
            let text = format!(
                "{:?} is none of the hosts of this admin; ask it by its address, or name the host in `admin.hosts`",
                host.host()
            );
            return Some(refusal(StatusCode::MISDIRECTED_REQUEST, &text));
        }
        if let Some(refused) = self.tokens.refusal(request.headers(), changes) {
            return Some(refused);
        }
        if changes { change(request.headers(), host.as_ref()) } else { None }
    }

    /// Whether a host is one of loopback, one of the configuration, or the address that the peer has connected to.
    fn is_ours(&self, authority: &Authority, local: Option<IpAddr>) -> bool {
        let host = authority.host().to_ascii_lowercase();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        let by_address = bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || Some(ip) == local);
        let is_named = |ours: &String| ours == bare;
        by_address
            || bare == "localhost"
            || self.own.as_ref().is_some_and(is_named)
            || self.hosts.list.load().iter().any(is_named)
    }
}

/// The host that a request names. `None`: a request of HTTP/1.0 without one; no browser sends such.
fn host_of(request: &Request) -> Result<Option<Authority>, &'static str> {
    let mut named = request.headers().get_all(HOST).iter();
    let header = match (named.next(), named.next()) {
        (None, _) => None,
        (Some(host), None) => {
            let authority = Authority::try_from(host.as_bytes()).map_err(|_| "the header `host` is malformed")?;
            Some(authority).filter(|authority| !authority.as_str().contains('@'))
        }
        (Some(_), Some(_)) => return Err("the header `host` stands there twice"),
    };
    // A target with a host has precedence over the header.
    match request.uri().authority().cloned().or(header) {
        None if request.version() != Version::HTTP_10 => Err("the header `host` is missing or malformed"),
        host => Ok(host),
    }
}

/// The refusal of a request that changes something, if it comes from a page of another site or has not JSON's content
/// type.
fn change(headers: &HeaderMap, host: Option<&Authority>) -> Option<Response> {
    let is = |name: &str, right: &dyn Fn(&[u8]) -> bool| headers.get_all(name).iter().all(|v| right(v.as_bytes()));
    let own = |origin: &[u8]| {
        let authority = std::str::from_utf8(origin).ok().and_then(|text| text.split_once("://")).map(|(_, rest)| rest);
        authority.is_some_and(|of| host.is_some_and(|host| host.as_str().eq_ignore_ascii_case(of)))
    };
    if !is("sec-fetch-site", &|site| matches!(site, b"same-origin" | b"none")) || !is(ORIGIN.as_str(), &own) {
        return Some(refusal(StatusCode::FORBIDDEN, "a page of another site must not change anything here"));
    }
    let json = headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    // No form can send it.
    (!json).then(|| refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the header `content-type: application/json`"))
}

/// Whether a request is to change something.
fn changes(request: &Request) -> bool {
    !matches!(*request.method(), Method::GET | Method::HEAD)
}

/// The middleware around every path.
pub(super) async fn guard(guard: Guard, request: Request, next: Next) -> Response {
    let local = request.extensions().get::<Local>().map(|Local(address)| address.ip().to_canonical());
    let mut response = match guard.refusal(&request, local) {
        Some(refused) => refused,
        None => answer(&guard, request, next).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The answer to a request that may be answered.
async fn answer(guard: &Guard, mut request: Request, next: Next) -> Response {
    // Held until it is answered: whoever is told that a change was made finds it made.
    let right = changes(&request).then(|| guard.changes.begin());
    if matches!(right, Some(None)) {
        return ([(header::RETRY_AFTER, "5")], refusal(StatusCode::SERVICE_UNAVAILABLE, CLOSED)).into_response();
    }
    let caller = guard.tokens.caller(request.headers());
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// The address to which the client has connected, put into the request by the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local(pub(super) SocketAddr);
