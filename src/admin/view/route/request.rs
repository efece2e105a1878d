//! The request that `/api/v1/route` is asked about.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The parameters of `/api/v1/route`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Query {
    /// `HOST` or `HOST:PORT`, as in the header `host`.
    pub(super) host: String,
    #[serde(default = "root")]
    pub(super) path: String,
    #[serde(default = "get")]
    pub(super) method: String,
    /// `NAME:VALUE`, several with a line break between them.
    #[serde(default)]
    pub(super) headers: String,
    /// The port that the request comes to, if that is not the one of `host`.
    pub(super) port: Option<u32>,
    /// The key of the view. `None`: the one that has everything.
    pub(in crate::admin) view: Option<String>,
}

fn root() -> String {
    "/".into()
}

fn get() -> String {
    "GET".into()
}

/// A request as Envoy's matchers see it.
#[derive(Debug)]
pub(super) struct Request {
    /// The host in small letters, without its port.
    pub(super) host: String,
    pub(super) authority: String,
    pub(super) port: Option<u32>,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: BTreeMap<String, String>,
}

impl Request {
    pub(super) fn of(query: &Query) -> Request {
        let (host, port) = match query.host.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && port.parse::<u32>().is_ok() => (host, port.parse().ok()),
            _ => (&*query.host, None),
        };
        let (path, rest) = query.path.split_once('?').unwrap_or((&query.path, ""));
        let parameters = rest.split('&').filter(|part| !part.is_empty());
        let parameter = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (name.to_owned(), value.to_owned())
        };
        let headers = query.headers.lines().filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        let own =
            [(":method", &*query.method), (":authority", &*query.host), (":path", &*query.path), (":scheme", "http")];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Request {
            host: host.to_ascii_lowercase(),
            authority: query.host.to_ascii_lowercase(),
            port: query.port.or(port),
            path: path.to_owned(),
            query: parameters.map(parameter).collect(),
            headers: headers.chain(own).collect(),
        }
    }
}
