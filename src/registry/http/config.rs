//! Where a list stands and how it is read: plain values with defaults, read from the section `http`.

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
    /// Addresses of the list; several are replicas of each other. Never empty.
    pub urls: Vec<Url>,
    /// In which form the server gives the list.
    pub form: Form,
    /// Time from one reading to the next.
    pub period: Duration,
    /// Name and password for basic authentication.
    pub login: Option<Login>,
    /// Bearer token, sent if there is no login.
    pub token: Option<Secret>,
    /// Headers, TLS and timeout of every request.
    pub connection: Connection,
    /// What one whole reading may bring at most.
    pub limits: Limits,
}

/// The form in which a server gives its list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Portolan's own catalogue, in YAML or JSON.
    Catalogue,
    /// Prometheus' HTTP service discovery.
    Prometheus {
        /// The label that names the service of a group, by default `job`.
        name: Text,
    },
    /// Any JSON; paths say where each field is.
    Mapped(Mapping),
}

/// Where each field is in a JSON text. Fields of an instance are looked for in the instance, then in its service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapping {
    /// The services, or the instances of all of them: a list, or a mapping.
    pub services: Path,
    /// The instances in a service; `None` if `services` leads to instances.
    pub instances: Option<Path>,
    /// The name of the service. If one has no name, the whole list is refused.
    pub name: Path,
    /// An address, alone or with its port, or a URL.
    pub address: Path,
    /// The port. It goes before a port in the address.
    pub port: Option<Path>,
    /// The weight, where 1 is the default.
    pub weight: Option<Path>,
    /// The labels: an object of texts.
    pub labels: Option<Path>,
    /// The health, as a truth or a word such as `UP` or `critical`; healthy if it is absent.
    pub healthy: Option<Path>,
    /// The protocol that the instance speaks, such as `grpc`.
    pub protocol: Option<Path>,
}

/// A path in JSON: keys, or positions in a list, with dots between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(Vec<Text>);

impl Path {
    /// Stands for the key under which a value is in its object.
    const KEY: &str = "$key";

    /// Reads `data.items`; empty or `.` is the value itself, and `$key` is the key under which it is in its object.
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

    /// The value to which the path leads from `value`; `None` if there is none. A number is the position in a list,
    /// from 0.
    pub(super) fn of<'v>(&self, value: &'v serde_json::Value) -> Option<&'v serde_json::Value> {
        self.0.iter().try_fold(value, |value, key| match value {
            serde_json::Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            _ => value.get(&**key),
        })
    }

    /// True for `$key`, which is no field of the value.
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
    /// A configuration with these addresses, and the default for every other key.
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

    /// Reads the section `http`; `None` after it has reported what is wrong with it.
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
/// If it is no such address; the text says why, and shows nothing that may be a secret.
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
