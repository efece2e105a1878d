//! How a Consul is reached and read: plain values with defaults, read from the section `consul`.

use crate::{
    model::Text,
    registry::{
        Limits, addresses,
        transport::{Connection, Tls},
    },
    util::{
        redact,
        secret::Secret,
        yaml::{Section, Value},
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{
    Url,
    header::{AUTHORIZATION, HeaderValue},
};
use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

/// The most bytes that are read of a token's file. A token is a UUID, so this is ample.
const MAX_TOKEN: u64 = 64 << 10;

/// Everything about one registry of kind `consul`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Agents or servers of one Consul; each gives the same. Never empty.
    pub servers: Vec<Server>,
    /// Datacenters to read; each is a scope. If empty, the datacenter of the servers is read, and names do not have it.
    pub datacenters: Vec<Text>,
    /// Consul Enterprise's namespace (`ns=`); `None` elsewhere.
    pub namespace: Option<Text>,
    /// Consul Enterprise's admin partition (`partition=`); `None` elsewhere.
    pub partition: Option<Text>,
    /// The peer whose imported services are read (`peer=`); `None` reads the local services.
    pub peer: Option<Text>,
    /// The ACL token, sent as `X-Consul-Token`.
    pub token: Option<Secret>,
    /// Which servers may answer.
    pub consistency: Consistency,
    /// The longest time for which a server may hold a blocking query back (`wait=`).
    pub wait: Duration,
    /// The period after which everything is read again, even if no change was reported.
    pub resync: Duration,
    /// The most services that are asked for at the same time, of all datacenters together.
    pub concurrency: usize,
    /// Which instances are taken, and what is made of them.
    pub rules: Rules,
    /// Headers, TLS and timeouts of every request.
    pub connection: Connection,
    /// What one whole reading may bring at most.
    pub limits: Limits,
}

/// An agent or a server, by its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The URL before `/v1`.
    pub url: Url,
    /// Unix socket of an agent on this machine; the URL's host is then unused.
    pub socket: Option<PathBuf>,
}

/// Which servers of a Consul may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// The leader, as far as the answering server knows (Consul's `default`).
    Default,
    /// Any server, without asking the leader, so what is read may be old (`stale`).
    Stale,
    /// The leader, after it has made sure that it still leads (`consistent`).
    Consistent,
}

/// Which instances are taken, and what is made of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Which address of an instance is published.
    pub address: AddressOf,
    /// How an instance counts whose worst check is `warning`.
    pub warning: Serves,
    /// Whether sidecars and gateways of Consul's own mesh are taken.
    pub proxies: bool,
    /// Whether Consul's own service `consul`, its servers, is taken.
    pub itself: bool,
    /// An instance must have one of these tags, if there are any.
    pub include_tags: Vec<Text>,
    /// An instance must have none of these tags.
    pub exclude_tags: Vec<Text>,
}

/// How an instance with a warning counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// It counts as healthy.
    Yes,
    /// It counts as unhealthy.
    No,
}

/// Which address of an instance is published. One that lacks the wanted address gets the plain one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressOf {
    /// `Address` of the service, or of its node.
    Plain,
    /// `TaggedAddresses` of this name.
    Tagged(&'static str),
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            address: AddressOf::Plain,
            warning: Serves::Yes,
            proxies: false,
            itself: false,
            include_tags: Vec::new(),
            exclude_tags: Vec::new(),
        }
    }
}

impl Config {
    /// A configuration with these servers, and the default for every other key.
    pub fn new(servers: Vec<Server>) -> Self {
        Config {
            servers,
            datacenters: Vec::new(),
            namespace: None,
            partition: None,
            peer: None,
            token: None,
            consistency: Consistency::Default,
            wait: Duration::from_secs(55),
            resync: Duration::from_secs(300),
            concurrency: 16,
            rules: Rules::default(),
            connection: Connection::default(),
            limits: Limits::default(),
        }
    }

    /// Reads the section `consul`; `None` after it has reported what is wrong with it.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let seconds = Duration::from_secs;
        let environment = section.get("environment", Value::bool).unwrap_or(false);
        let found = environment.then(|| Environment::read(section.value()));
        let servers = match &found {
            Some(found) if !section.has("servers") => found.server(section.value()),
            _ => section.need("servers", |v| addresses::read(v, server)),
        };
        let datacenters = section.get("datacenters", |v| v.one_or_each(word));
        let [namespace, partition, peer] = ["namespace", "partition", "peer"].map(|key| section.get(key, word));
        let token = section.get("token", read_token);
        let consistency =
            [("default", Consistency::Default), ("stale", Consistency::Stale), ("consistent", Consistency::Consistent)];
        let consistency = section.get("consistency", |v| v.word(&consistency));
        let wait = section.get("wait", |v| v.duration(seconds(1)..=seconds(600)));
        let resync = section.get("resync", |v| v.duration(seconds(1)..=seconds(24 * 3600)));
        let concurrency = section.get("concurrency", |v| v.integer(1..=256_i64));
        let rules = Rules::read(section);
        let has_tls = section.has("tls");
        let (mut connection, limits) = (Connection::read(section), Limits::read(section));
        let found = match found {
            Some(found) if has_tls => Some(found),
            Some(found) => {
                connection.tls = found.tls(section.value())?;
                Some(found)
            }
            None => None,
        };
        let found = found.unwrap_or_default();
        let is_written = connection.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(AUTHORIZATION.as_str()));
        connection
            .headers
            .extend(found.login.filter(|_| !is_written).map(|login| (AUTHORIZATION.as_str().into(), login)));
        let defaults = Config::new(servers?);
        Some(Config {
            datacenters: datacenters.unwrap_or_default(),
            namespace: namespace.or(found.namespace),
            partition: partition.or(found.partition),
            peer,
            token: token.or(found.token),
            consistency: consistency.unwrap_or(defaults.consistency),
            wait: wait.unwrap_or(defaults.wait),
            resync: resync.unwrap_or(defaults.resync),
            concurrency: concurrency.map_or(defaults.concurrency, |n| n as usize),
            rules,
            connection,
            limits,
            servers: defaults.servers,
        })
    }
}

/// The variables that Consul's own commands read, such as `CONSUL_HTTP_ADDR`.
#[derive(Debug, Default)]
struct Environment {
    address: Option<String>,
    ssl: bool,
    token: Option<Secret>,
    /// Value of the header `Authorization`, from `CONSUL_HTTP_AUTH`, for a proxy in front of Consul.
    login: Option<Secret>,
    namespace: Option<Text>,
    partition: Option<Text>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Environment {
    /// Reads the variables. Mistakes in them are reported at `value`.
    fn read(value: &Value<'_>) -> Self {
        let path = |name| value.variable(name).map(PathBuf::from);
        let truth = |name| value.variable(name).map(|text| matches!(&*text, "1" | "t" | "true" | "TRUE" | "True"));
        let file = path("CONSUL_HTTP_TOKEN_FILE").filter(|_| value.variable("CONSUL_HTTP_TOKEN").is_none());
        let written = value.variable("CONSUL_HTTP_TOKEN").or_else(|| value.text_at(&file?, MAX_TOKEN));
        if truth("CONSUL_HTTP_SSL_VERIFY") == Some(false) {
            value.problem::<()>("CONSUL_HTTP_SSL_VERIFY is false, but certificates are always verified; name the authority by CONSUL_CACERT");
        }
        for (name, instead) in [
            ("CONSUL_CAPATH", "name a file of authorities by CONSUL_CACERT"),
            ("CONSUL_TLS_SERVER_NAME", "name the server as its certificate does in CONSUL_HTTP_ADDR"),
        ] {
            if value.variable(name).is_some() {
                value.problem::<()>(format!("{name} is not read; {instead}"));
            }
        }
        Environment {
            address: value.variable("CONSUL_HTTP_ADDR"),
            ssl: truth("CONSUL_HTTP_SSL").unwrap_or(false),
            token: written.and_then(|text| checked_token(value, &text)),
            login: value.variable("CONSUL_HTTP_AUTH").map(|login| login_header(&login)),
            namespace: value.variable("CONSUL_NAMESPACE").map(Text::from),
            partition: value.variable("CONSUL_PARTITION").map(Text::from),
            ca: path("CONSUL_CACERT"),
            cert: path("CONSUL_CLIENT_CERT"),
            key: path("CONSUL_CLIENT_KEY"),
        }
    }

    fn server(&self, value: &Value<'_>) -> Option<Vec<Server>> {
        let address = self.address.as_deref().unwrap_or("127.0.0.1:8500");
        let scheme = if self.ssl { "https" } else { "http" };
        // Its own commands take a host with a port, and add what is missing.
        let whole = match address.split_once("://") {
            Some(("http", rest)) if self.ssl => format!("https://{rest}"),
            Some(_) => address.to_owned(),
            None => format!("{scheme}://{address}"),
        };
        let read = server(&whole).map_err(|why| format!("CONSUL_HTTP_ADDR: {why}"));
        value.check(read).map(|server| vec![server])
    }

    fn tls(&self, value: &Value<'_>) -> Option<Tls> {
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some([&**cert, &**key]),
            (None, None) => None,
            _ => return value.problem("CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY go together"),
        };
        Tls::of_files(value, self.ca.as_deref(), identity)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(path) => write!(f, "unix://{}", Path::display(path)),
            None => self.url.fmt(f),
        }
    }
}

impl Rules {
    fn read(section: &mut Section<'_>) -> Self {
        const TAGGED: [&str; 6] = ["lan", "wan", "lan_ipv4", "lan_ipv6", "wan_ipv4", "wan_ipv6"];
        let mut addresses = vec![("service", AddressOf::Plain)];
        addresses.extend(TAGGED.map(|name| (name, AddressOf::Tagged(name))));
        let address = section.get("address", |v| v.word(&addresses));
        let warning = section.get("warning", |v| v.word(&[("healthy", Serves::Yes), ("unhealthy", Serves::No)]));
        let [proxies, itself] = ["proxies", "itself"].map(|key| section.get(key, Value::bool));
        let tags = section.section("tags", |s| {
            let mut list = |key| s.get(key, |v| v.one_or_each(word)).unwrap_or_default();
            Some((list("include"), list("exclude")))
        });
        let (include_tags, exclude_tags) = tags.unwrap_or_default();
        let defaults = Rules::default();
        Rules {
            address: address.unwrap_or(defaults.address),
            warning: warning.unwrap_or(defaults.warning),
            proxies: proxies.unwrap_or(defaults.proxies),
            itself: itself.unwrap_or(defaults.itself),
            include_tags,
            exclude_tags,
        }
    }
}

fn word(value: &Value<'_>) -> Option<Text> {
    value.string().map(Text::from)
}

/// The address of an agent: `http://host:8500`, with the path before `/v1` if there is one, or `unix:///run/consul.sock`.
///
/// # Errors
/// If it is no such address; the text says why, and what to write.
pub fn server(address: &str) -> Result<Server, String> {
    let refused = |why: String| {
        match address.contains('@') {
        // What stands before an @ may be a password, and not even an error shows it.
        true => "a server with a user name is no address; write http://host:8500, and `token`, or `headers` for a proxy before it".into(),
        false => format!("server {:?} is no address: {why}; write http://host:8500 or unix:///path", redact::address(address)),
    }
    };
    if address.contains('@') {
        return Err(refused(String::new()));
    }
    if let Some(path) = address.strip_prefix("unix://") {
        if !path.starts_with('/') {
            return Err(format!("{address:?} is no address of a socket: write unix:///run/consul/http.sock"));
        }
        let url = Url::parse("http://localhost/").map_err(|error| error.to_string())?;
        return Ok(Server { url, socket: Some(path.into()) });
    }
    let mut url = addresses::http(address).map_err(refused)?;
    let path = url.path().trim_end_matches('/').trim_end_matches("/v1").to_owned();
    url.set_path(&path);
    Ok(Server { url, socket: None })
}

/// The value of `Authorization` for `NAME:PASSWORD`; the colon may be missing.
fn login_header(login: &str) -> Secret {
    let whole = if login.contains(':') { login.to_owned() } else { format!("{login}:") };
    Secret::new(format!("Basic {}", STANDARD.encode(whole)))
}

fn read_token(value: &Value<'_>) -> Option<Secret> {
    // A file that holds a token mostly ends with a line.
    checked_token(value, value.secret()?.expose())
}

fn checked_token(value: &Value<'_>, text: &str) -> Option<Secret> {
    let token = Secret::new(text.trim());
    if token.expose().is_empty() {
        return value.problem("must not be empty");
    }
    if HeaderValue::from_str(token.expose()).is_err() {
        return value.problem("the token has characters that no header may have, such as an end of line");
    }
    Some(token)
}
