//! How a Nacos registry is reached and read. Plain values with defaults; whoever reads configuration fills them.

use crate::{
    model::Text,
    util::{
        secret::Secret,
        yaml::{Section, Value},
    },
};
use reqwest::{
    Url,
    header::{HeaderName, HeaderValue},
};
use std::time::Duration;

/// Why a server's address is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a URL that HTTP can ask.
    #[error("server {0:?} is no address: write http://host:8848, with the context path behind it if it is not /nacos")]
    NotHttp(String),
    /// Logs show addresses, so they hold no secret.
    #[error("a server's address holds a user name or a password: write them as `username` and `password`")]
    Credentials,
}

/// Everything about one Nacos registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Servers of one cluster, tried in this order; the first that answers is kept. Never empty; made by
    /// [`Config::server`].
    pub servers: Vec<Url>,
    /// Which namespaces.
    pub namespaces: Namespaces,
    /// Patterns with `*` and `?` for groups; empty: all of them where the server's bulk list shows them, else
    /// `DEFAULT_GROUP`.
    pub groups: Vec<Text>,
    /// From one list to the next; at least [`Config::MIN_PERIOD`].
    pub period: Duration,
    /// For one request, from connecting to the last byte.
    pub timeout: Duration,
    /// Requests in flight.
    pub concurrency: usize,
    /// Services asked for at once.
    pub page_size: usize,
    /// A longer body is refused; counted after decompression.
    pub max_body_bytes: usize,
    /// Whom to log in as.
    pub login: Option<Login>,
    /// Sent with every request.
    pub headers: Vec<(Text, Secret)>,
}

/// Which namespaces are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    /// Every one that the server lists.
    All,
    /// These, by id or by name.
    Named(Vec<Text>),
}

/// A user of Nacos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub username: Text,
    /// The password.
    pub password: Secret,
}

impl Config {
    /// Polling more often than this only burdens the server.
    pub const MIN_PERIOD: Duration = Duration::from_millis(200);

    /// The defaults.
    pub fn new(servers: Vec<Url>) -> Self {
        Config {
            servers,
            namespaces: Namespaces::Named(vec![super::PUBLIC.into()]),
            groups: Vec::new(),
            period: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            concurrency: 16,
            page_size: 500,
            max_body_bytes: 64 << 20,
            login: None,
            headers: Vec::new(),
        }
    }

    /// Reads a server's address; without a path the context path is `/nacos`.
    pub fn server(address: &str) -> Result<Url, AddressError> {
        // What stands before an @ may be a password, and not even an error shows it.
        if address.contains('@') {
            return Err(AddressError::Credentials);
        }
        let refused = || AddressError::NotHttp(address.into());
        let mut url = Url::parse(address).map_err(|_| refused())?;
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
            return Err(refused());
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(if path.is_empty() { "/nacos" } else { &path });
        Ok(url)
    }

    /// Reads the section `nacos`: `servers`, `namespaces` (ids or names, or `"*"` for all), `groups`, `period`, `timeout`,
    /// `concurrency`, `page_size`, `max_body`, `username`, `password` and `headers`.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let seconds = Duration::from_secs;
        let servers = section.need("servers", |v| {
            let servers = v.one_or_each(|v| v.parse(Config::server))?;
            if servers.is_empty() { v.problem("names no server") } else { Some(servers) }
        });
        let namespaces = section.get("namespaces", |v| v.one_or_each(Value::string));
        let groups = section.get("groups", |v| v.one_or_each(Value::string));
        let period = section.get("period", |v| v.duration(Config::MIN_PERIOD..=seconds(3600)));
        let timeout = section.get("timeout", |v| v.duration(Duration::from_millis(10)..=seconds(300)));
        let concurrency = section.get("concurrency", |v| v.integer(1..=256_i64));
        let page_size = section.get("page_size", |v| v.integer(1..=10_000_i64));
        let max_body_bytes = section.get("max_body", |v| v.bytes(1024..=1 << 30));
        let login = read_login(section);
        let headers = section.get("headers", |v| {
            let entries = v.entries()?.into_iter();
            Some(entries.filter_map(|(name, v)| read_header(name, &v)).collect())
        });
        let defaults = Config::new(servers?);
        let texts = |list: Vec<String>| list.into_iter().map(Text::from).collect::<Vec<_>>();
        Some(Config {
            namespaces: match namespaces {
                Some(names) if names.iter().any(|n| n == "*") => Namespaces::All,
                Some(names) if !names.is_empty() => Namespaces::Named(texts(names)),
                _ => defaults.namespaces,
            },
            groups: groups.map_or(defaults.groups, texts),
            period: period.unwrap_or(defaults.period),
            timeout: timeout.unwrap_or(defaults.timeout),
            concurrency: concurrency.map_or(defaults.concurrency, |n| n as usize),
            page_size: page_size.map_or(defaults.page_size, |n| n as usize),
            max_body_bytes: max_body_bytes.unwrap_or(defaults.max_body_bytes),
            login: login?,
            headers: headers.unwrap_or(defaults.headers),
            servers: defaults.servers,
        })
    }
}

fn read_header(name: &str, value: &Value<'_>) -> Option<(Text, Secret)> {
    let secret = value.secret()?;
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return value.problem(format!("{name:?} is no name for a header; letters, digits and '-' are"));
    }
    if HeaderValue::from_str(secret.expose()).is_err() {
        return value.problem("the value has characters that no header may have, such as an end of line");
    }
    Some((name.into(), secret))
}

/// Both or neither.
fn read_login(section: &mut Section<'_>) -> Option<Option<Login>> {
    let given = section.has("username") || section.has("password");
    let username = section.get("username", Value::string);
    let password = section.get("password", Value::secret);
    match (username, password) {
        (Some(username), Some(password)) => Some(Some(Login { username: username.into(), password })),
        _ if given => section.value().problem("`username` and `password` go together"),
        _ => Some(None),
    }
}
