//! Where a list stands and how it is read. Plain values with defaults; whoever reads configuration fills them.

use crate::{
    model::Text,
    registry::{
        Limits, addresses,
        transport::{Connection, Login},
    },
    util::{
        redact,
        secret::Secret,
        yaml::{Section, Value},
    },
};
use reqwest::{Url, header::HeaderValue};
use std::time::Duration;

/// Everything about one registry of kind `http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the list stands; several are replicas of one. Never empty.
    pub urls: Vec<Url>,
    /// What the list looks like.
    pub form: Form,
    /// From one reading to the next.
    pub period: Duration,
    /// Who we are.
    pub login: Option<Login>,
    /// The token that is shown instead.
    pub token: Option<Secret>,
    /// What holds for every request.
    pub connection: Connection,
    /// What a reading may bring at most.
    pub limits: Limits,
}

/// What a list looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Portolan's own, in YAML or JSON.
    Catalogue,
    /// Prometheus' HTTP service discovery.
    Prometheus {
        /// The label that names the service of a group.
        name: Text,
    },
    /// Any JSON, by paths.
    Mapped(Mapping),
}

/// Where in a JSON text what stands. Those of an instance are looked for in it, then in its service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapping {
    /// The services, or the instances of all of them: a list, or a mapping.
    pub services: Path,
    /// In a service, its instances; `None`: what `services` leads to are instances.
    pub instances: Option<Path>,
    /// The name of the service.
    pub name: Path,
    /// An address, alone or with its port, or a URL.
    pub address: Path,
    /// The port, where the address has none.
    pub port: Option<Path>,
    /// Its share of traffic; 1 where there is none.
    pub weight: Option<Path>,
    /// A mapping of labels.
    pub labels: Option<Path>,
    /// Whether it is healthy.
    pub healthy: Option<Path>,
    /// What it speaks.
    pub protocol: Option<Path>,
}

/// Keys from a value on, with dots between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(Vec<Text>);

impl Path {
    /// The key by which a value stands in a mapping.
    const KEY: &str = "$key";

    /// `data.items`; empty or `.`: the value itself; `$key`: the key by which it stands in a mapping.
    ///
    /// # Errors
    /// If there is nothing between two dots.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || text == "." {
            return Ok(Path::default());
        }
        let keys: Vec<Text> = text.split('.').map(Text::from).collect();
        if keys.iter().any(|key| key.is_empty()) {
            return Err(format!("{text:?} is no path: write keys with a dot between them, such as data.items"));
        }
        Ok(Path(keys))
    }

    /// What it leads to. A number is the place in a list.
    pub(super) fn of<'v>(&self, value: &'v serde_json::Value) -> Option<&'v serde_json::Value> {
        self.0.iter().try_fold(value, |value, key| match value {
            serde_json::Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            _ => value.get(&**key),
        })
    }

    /// Whether the key is meant by which something stands.
    pub(super) fn is_key(&self) -> bool {
        matches!(&self.0[..], [only] if **only == *Path::KEY)
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&str> = self.0.iter().map(|key| &**key).collect();
        f.write_str(if keys.is_empty() { "." } else { "" })?;
        f.write_str(&keys.join("."))
    }
}

impl Config {
    /// A configuration that has the default for every other key.
    pub fn new(urls: Vec<Url>) -> Self {
        Config {
            urls,
            form: Form::Catalogue,
            period: Duration::from_secs(5),
            login: None,
            token: None,
            connection: Connection::default(),
            limits: Limits::default(),
        }
    }

    /// Reads the section `http`.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let urls = section.need("url", |v| {
            let urls: Vec<Url> = v.one_or_each(|v| v.parse(source))?;
            if urls.is_empty() && v.is_list() { v.problem("names no address") } else { Some(urls) }
        });
        let period = section.get("period", |v| v.duration(Duration::from_millis(200)..=Duration::from_secs(24 * 3600)));
        let prometheus = section.section("prometheus", |s| {
            let name = s.get("name", Value::string).unwrap_or_else(|| "job".into());
            Some(Form::Prometheus { name: name.into() })
        });
        let mapped = section.section("map", |s| Mapping::read(s).map(Form::Mapped));
        if section.has("prometheus") && section.has("map") {
            section.value().problem::<()>("`prometheus` and `map` at once; a list has one form");
        }
        let login = Login::read(section);
        let token = section.get("token", read_token);
        if section.has("token") && section.has("username") {
            section.value().problem::<()>("`token` and `username` at once; servers take one of them");
        }
        let (connection, limits) = (Connection::read(section), Limits::read(section));
        let defaults = Config::new(urls.filter(|urls| !urls.is_empty())?);
        Some(Config {
            form: prometheus.or(mapped).unwrap_or(defaults.form),
            period: period.unwrap_or(defaults.period),
            login: login?,
            token,
            connection,
            limits,
            urls: defaults.urls,
        })
    }
}

impl Mapping {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let path = |v: &Value<'_>| v.parse(Path::parse);
        let services = section.get("services", path).unwrap_or_default();
        let [name, address] = ["name", "address"].map(|key| section.need(key, path));
        let [instances, port, weight, labels, healthy, protocol] =
            ["instances", "port", "weight", "labels", "healthy", "protocol"].map(|key| section.get(key, path));
        Some(Mapping { services, instances, name: name?, address: address?, port, weight, labels, healthy, protocol })
    }
}

/// The address of a list, with its query if it has one.
///
/// # Errors
/// If it is none; why, without anything that may be a secret.
pub fn source(address: &str) -> Result<Url, String> {
    if address.contains('@') {
        return Err("an address with a user name is none; write `username` and `password` apart from it".into());
    }
    let (place, query) = address.split_once('?').map_or((address, None), |(place, query)| (place, Some(query)));
    let refused = |why: String| format!("{:?} is no address: {why}", redact::address(place));
    let mut url = addresses::http(place).map_err(refused)?;
    url.set_query(query);
    Ok(url)
}

fn read_token(value: &Value<'_>) -> Option<Secret> {
    let token = value.secret()?;
    if HeaderValue::from_str(token.expose()).is_err() {
        return value.problem("the token has characters that no header may have, such as an end of line");
    }
    Some(token)
}
