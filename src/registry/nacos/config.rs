//! How a Nacos registry is reached and read: plain values with defaults, read from the section `nacos`.

use crate::{
    model::Text,
    registry::{
        addresses, dubbo,
        transport::{Connection, Login},
    },
    util::{
        label::is_label,
        redact,
        secret::Secret,
        yaml::{Section, Value},
    },
};
use reqwest::Url;
use std::time::Duration;

/// The context path of servers whose address has none.
const CONTEXT_PATH: &str = "/nacos";

/// Why a server's address is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a URL that HTTP can ask.
    #[error(
        "server {address:?} is no address: {why}; write http://host:8848, with the context path behind it if it is not /nacos, and nothing else"
    )]
    NotHttp {
        /// The address without anything that may be a secret.
        address: String,
        /// What is wrong with the address, such as that it has no host.
        why: String,
    },
    /// There is an `@` in the address. Logs show addresses, so they must hold no secret.
    #[error("a server's address holds a user name or a password: write them as `username` and `password`")]
    Credentials,
}

/// Everything about one Nacos registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Servers of one cluster, tried in this order; the first that answers is kept. Made by [`Config::server`]; empty
    /// only where an address server names them.
    pub servers: Vec<Url>,
    /// The address that lists the servers, one in each line; `None` if `servers` names them.
    pub address_server: Option<Url>,
    /// The path that is added to servers whose address has none; `/nacos` by default.
    pub context_path: Text,
    /// Which namespaces are read; the public one by default.
    pub namespaces: Namespaces,
    /// Patterns with `*` and `?` for groups; empty: all of them where the server's bulk list shows them, else
    /// `DEFAULT_GROUP`.
    pub groups: Vec<Text>,
    /// How changes are noticed.
    pub mode: Mode,
    /// Time from one list to the next; at least [`Config::MIN_PERIOD`]. With push, from one list of names to the next.
    pub period: Duration,
    /// With push, the time from one whole list to the next. In every mode, also the time until a better interface is
    /// first looked for, if it is less than 5 s.
    pub resync: Duration,
    /// The gRPC port of all servers; `None` for 1000 above the port of HTTP.
    pub grpc_port: Option<u16>,
    /// The most requests that are in flight at the same time.
    pub concurrency: usize,
    /// The most services in one page of a list.
    pub page_size: usize,
    /// Headers, TLS and timeout of every request.
    pub connection: Connection,
    /// User and password for the login; `None` to ask without one.
    pub login: Option<Login>,
    /// The key by which requests are signed, as Alibaba's hosted Nacos wants it.
    pub access_key: Option<AccessKey>,
    /// Which manifests are read from Nacos' configuration; `None` by default.
    pub manifests: Option<Manifests>,
    /// How Dubbo's applications are read beside its interfaces; `None` if they are services like any other.
    pub applications: Option<dubbo::Applications>,
    /// Dubbo's override rules are applied to its interfaces.
    pub overrides: bool,
    /// Dubbo's consumers are read for the call model.
    pub consumers: bool,
}

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By push where it can be had, and by polling meanwhile and elsewhere.
    Auto,
    /// By push. Where it cannot be had the registry counts as failed, and is read no more often than with push.
    Push,
    /// Lists are read each `period`; no connection for push is opened.
    Poll,
}

/// Which namespaces of a Nacos are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    /// Every namespace that the server lists.
    All,
    /// These, by id or by name, or by a pattern with `*` and `?` for either.
    Named(Vec<Text>),
}

/// A key of Alibaba's access management.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The public part, which names the key; from `access_key`.
    pub access_key: Text,
    /// The secret part, by which requests are signed; from `secret_key`.
    pub secret_key: Secret,
}

/// Which manifests are read from Nacos' configuration, in the same namespaces as the services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifests {
    /// The one group that is listed for them; never a pattern.
    pub group: Text,
    /// Patterns with `*` and `?` for their dataIds; one that fits is enough.
    pub data_ids: Vec<Text>,
    /// Istio's namespace for resources that name none.
    pub namespace: Text,
}

impl Mode {
    /// The values of the key `mode`.
    const WORDS: [(&str, Mode); 3] = [("auto", Mode::Auto), ("push", Mode::Push), ("poll", Mode::Poll)];
}

impl Config {
    /// Polling more often than this only burdens the server.
    pub const MIN_PERIOD: Duration = Duration::from_millis(200);

    /// True if Dubbo's rules are read: they hold for interfaces, so these must be published.
    pub(super) fn reads_rules(&self) -> bool {
        self.overrides && self.applications.as_ref().is_none_or(|applications| applications.publish.has_interfaces())
    }

    /// A configuration with these servers, and the default for every other key.
    pub fn new(servers: Vec<Url>) -> Self {
        Config {
            servers,
            namespaces: Namespaces::Named(vec![super::name::PUBLIC.into()]),
            groups: Vec::new(),
            mode: Mode::Auto,
            period: Duration::from_secs(5),
            resync: Duration::from_secs(60),
            grpc_port: None,
            concurrency: 16,
            page_size: 500,
            connection: Connection::default(),
            address_server: None,
            context_path: CONTEXT_PATH.into(),
            login: None,
            access_key: None,
            manifests: None,
            applications: None,
            overrides: false,
            consumers: false,
        }
    }

    /// Reads a server's address; without a path the context path is `/nacos`.
    ///
    /// # Errors
    /// If it is no address by HTTP, or has a user, a query or a fragment in it.
    pub fn server(address: &str) -> Result<Url, AddressError> {
        Self::server_below(address, CONTEXT_PATH)
    }

    /// Reads a server's address; without a path it gets `context_path`.
    pub(crate) fn server_below(address: &str, context_path: &str) -> Result<Url, AddressError> {
        let mut url = Self::address(address)?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(if path.is_empty() { context_path.trim_end_matches('/') } else { &path });
        Ok(url)
    }

    fn address(address: &str) -> Result<Url, AddressError> {
        // What stands before an @ may be a password, and not even an error shows it.
        if address.contains('@') {
            return Err(AddressError::Credentials);
        }
        addresses::http(address).map_err(|why| AddressError::NotHttp { address: redact::address(address), why })
    }

    /// Reads the section `nacos`: `servers` or `address_server`, `context_path`, `namespaces` (ids or names, or `"*"`
    /// for all), `groups`, `mode`, `period`, `resync`, `grpc_port`, `concurrency`, `page_size`, `username` and
    /// `password`, `access_key` and `secret_key`, `manifests`, `dubbo` (`applications`, `overrides`, `consumers`), and
    /// the keys of a [`Connection`].
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let seconds = Duration::from_secs;
        let context_path = section.get("context_path", |v| v.parse(read_path)).unwrap_or(CONTEXT_PATH.into());
        let address_server = section.get("address_server", |v| v.parse(Config::address));
        let read_servers = |v: &Value<'_>| addresses::read(v, |address| Config::server_below(address, &context_path));
        let servers = match (section.has("servers"), section.has("address_server")) {
            (true, true) => section.value().problem("`servers` and `address_server` at once; keep one of them"),
            // What is wrong with it is reported already.
            (false, true) => address_server.is_some().then(Vec::new),
            _ => section.need("servers", read_servers),
        };
        let namespaces = section.get("namespaces", |v| v.one_or_each(Value::string));
        let groups = section.get("groups", |v| v.one_or_each(Value::string));
        let period = section.get("period", |v| v.duration(Config::MIN_PERIOD..=seconds(3600)));
        let mode = section.get("mode", |v| v.word(&Mode::WORDS));
        let resync = section.get("resync", |v| v.duration(Config::MIN_PERIOD..=seconds(24 * 3600)));
        let grpc_port = section.get("grpc_port", |v| v.integer(1..=65_535_i64));
        let concurrency = section.get("concurrency", |v| v.integer(1..=256_i64));
        let page_size = section.get("page_size", |v| v.integer(1..=10_000_i64));
        let login = Login::read(section);
        let access_key = read_access_key(section);
        let manifests = section.section("manifests", Manifests::read);
        let dubbo = section.section("dubbo", |s| {
            let overrides = s.get("overrides", Value::bool);
            let read = s.section("applications", |s| Some(dubbo::Applications::read(s)));
            // Nothing behind the key is all of the defaults.
            let read = s.has("applications").then(|| read.unwrap_or_default());
            Some((read, overrides.unwrap_or_default(), s.get("consumers", Value::bool).unwrap_or_default()))
        });
        let connection = Connection::read(section);
        let defaults = Config::new(servers?);
        let (applications, overrides, consumers) = dubbo.unwrap_or_default();
        let texts = |list: Vec<String>| list.into_iter().map(Text::from).collect::<Vec<_>>();
        Some(Config {
            namespaces: match namespaces {
                Some(names) if names.iter().any(|n| n == "*") => Namespaces::All,
                Some(names) if !names.is_empty() => Namespaces::Named(texts(names)),
                _ => defaults.namespaces,
            },
            groups: groups.map_or(defaults.groups, texts),
            mode: mode.unwrap_or(defaults.mode),
            period: period.unwrap_or(defaults.period),
            resync: resync.unwrap_or(defaults.resync),
            grpc_port: grpc_port.map(|port| port as u16),
            concurrency: concurrency.map_or(defaults.concurrency, |n| n as usize),
            page_size: page_size.map_or(defaults.page_size, |n| n as usize),
            connection,
            address_server,
            context_path,
            login: login?,
            access_key: access_key?,
            manifests,
            applications,
            overrides,
            consumers,
            servers: defaults.servers,
        })
    }
}

impl Manifests {
    /// Istio's namespace of resources that name none, where nothing else is said.
    pub const NAMESPACE: &'static str = "portolan";

    /// Reads the section `manifests`: `group`, `data_ids` and `namespace`.
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let group = section.need("group", |v| v.parse(read_group));
        let data_ids = section.get("data_ids", |v| v.one_or_each(Value::string)).unwrap_or_default();
        let namespace = section.get("namespace", |v| v.parse(read_label)).unwrap_or(Self::NAMESPACE.into());
        let data_ids = if data_ids.is_empty() { vec!["*".into()] } else { data_ids };
        Some(Manifests { group: group?, data_ids: data_ids.into_iter().map(Text::from).collect(), namespace })
    }
}

/// Reads the name of one group; a pattern is refused, since lists are asked for by the name.
fn read_group(group: &str) -> Result<Text, String> {
    match group {
        "" => Err("the group has no name".into()),
        _ if group.contains(['*', '?']) => {
            Err(format!("{group:?} is a pattern; manifests stand in one group, name it"))
        }
        _ => Ok(group.into()),
    }
}

/// Reads a DNS label, as every namespace of Kubernetes and Istio is one.
fn read_label(name: &str) -> Result<Text, String> {
    match name {
        _ if is_label(name) => Ok(name.into()),
        _ => Err(format!("{name:?} is no namespace: it has 1 to 63 of a-z, 0-9 and `-`, the latter only inside")),
    }
}

fn read_path(path: &str) -> Result<Text, String> {
    match path.strip_prefix('/') {
        Some(_) if !path.contains(['?', '#', ' ']) => Ok(path.into()),
        _ => Err(format!("{:?} is no path: write /nacos, or / for none", redact::address(path))),
    }
}

/// Reads `access_key` and `secret_key`: both or neither.
fn read_access_key(section: &mut Section<'_>) -> Option<Option<AccessKey>> {
    let given = section.has("access_key") || section.has("secret_key");
    let access_key = section.get("access_key", Value::string);
    let secret_key = section.get("secret_key", Value::secret);
    match (access_key, secret_key) {
        (Some(access_key), Some(secret_key)) => Some(Some(AccessKey { access_key: access_key.into(), secret_key })),
        _ if given => section.value().problem("`access_key` and `secret_key` go together"),
        _ => Some(None),
    }
}
