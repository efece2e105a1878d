//! How a Eureka registry is reached and read: plain values with defaults, read from the section `eureka`.

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
use percent_encoding::percent_decode_str;
use reqwest::{Url, header::HeaderValue};
use std::time::Duration;

/// The zone whose servers stand in for a zone that has none, as with Eureka's own clients.
const DEFAULT_ZONE: &str = "defaultZone";

/// Why a server's address is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a URL that HTTP can ask.
    #[error(
        "server {address:?} is no address: {why}; write http://host:8761, with the path behind it if it is not /eureka, and nothing else"
    )]
    NotHttp {
        /// The address without anything that may be a secret.
        address: String,
        /// What is wrong with the address, such as that it has no host.
        why: String,
    },
    /// Not such a URL, and there is an `@` in it: it may hold a password, and is therefore not shown.
    #[error(
        "a server with a user name is no address: write http://name:password@host:8761, with % codes for other characters than letters and digits, or write `username` and `password`"
    )]
    NotHttpWithLogin,
}

/// Everything about one Eureka registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Servers that replicate each other, those of the own zone first. Never empty.
    pub servers: Vec<Server>,
    /// How many servers at the beginning of `servers` are of the own zone.
    pub own_zone: usize,
    /// Time from one reading to the next; at least [`Config::MIN_PERIOD`].
    pub period: Duration,
    /// Once the whole list is known, only changes are asked for (`/apps/delta`).
    pub delta: bool,
    /// Time after which the whole list is read again, although changes are asked for.
    pub full_period: Duration,
    /// How long lists that contradict their hash are refused and read again, before that counts as a failure. It has no
    /// key: a stock server makes its answers anew in half of it.
    pub patience: Duration,
    /// Which address of an instance is published.
    pub address: AddressOf,
    /// The region of instances that do not name one.
    pub region: Option<Text>,
    /// Login for servers whose address has none.
    pub login: Option<Login>,
    /// Bearer token, sent where there is no login.
    pub token: Option<Secret>,
    /// Headers, TLS and timeout of every request.
    pub connection: Connection,
    /// What one whole reading may bring at most.
    pub limits: Limits,
}

/// A server with the login that its address has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The base URL without a user, such as `http://host:8761/eureka`.
    pub url: Url,
    /// User and password from the address; `None` if it has no user.
    pub login: Option<Login>,
}

/// Which address of an instance is published. One that lacks it gets the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressOf {
    /// What the instance has as `ipAddr`.
    Ip,
    /// What the instance has as `hostName`.
    Hostname,
}

impl Config {
    /// Polling more often than this only burdens the server.
    pub const MIN_PERIOD: Duration = Duration::from_millis(200);

    /// A configuration with these servers, and the default for every other key.
    pub fn new(servers: Vec<Server>) -> Self {
        Config {
            own_zone: servers.len(),
            servers,
            period: Duration::from_secs(5),
            delta: true,
            full_period: Duration::from_secs(300),
            patience: Duration::from_secs(60),
            address: AddressOf::Ip,
            region: None,
            login: None,
            token: None,
            connection: Connection::default(),
            limits: Limits::default(),
        }
    }

    /// Reads the section `eureka`: `servers`, `zone`, `period`, `delta`, `full_period`, `address`, `region`, `username`,
    /// `password`, `token`, `limits` and the keys of a [`Connection`].
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let seconds = Duration::from_secs;
        let servers = read_servers(section);
        let period = section.get("period", |v| v.duration(Config::MIN_PERIOD..=seconds(3600)));
        let delta = section.get("delta", Value::bool);
        let full_period = section.get("full_period", |v| v.duration(seconds(1)..=seconds(24 * 3600)));
        let address = [("ip", AddressOf::Ip), ("hostname", AddressOf::Hostname)];
        let address = section.get("address", |v| v.word(&address));
        let region = section.get("region", Value::string);
        let login = Login::read(section);
        let token = section.get("token", read_token);
        if section.has("token") && section.has("username") {
            section.value().problem::<()>("`token` and `username` at once; servers take one of them");
        }
        let (connection, limits) = (Connection::read(section), Limits::read(section));
        let (servers, own_zone) = servers?;
        let defaults = Config::new(servers);
        Some(Config {
            own_zone,
            period: period.unwrap_or(defaults.period),
            delta: delta.unwrap_or(defaults.delta),
            full_period: full_period.unwrap_or(defaults.full_period),
            address: address.unwrap_or(defaults.address),
            patience: defaults.patience,
            region: region.map(Text::from),
            login: login?,
            token,
            connection,
            limits,
            servers: defaults.servers,
        })
    }
}

impl Server {
    /// Reads an address, which may have a user and a password. An address without a path gets `/eureka`.
    ///
    /// # Errors
    /// If it is no address by HTTP.
    pub fn parse(address: &str) -> Result<Self, AddressError> {
        let refused = |why: String| match address.contains('@') {
            // What stands before an @ may be a password, and not even an error shows it.
            true => AddressError::NotHttpWithLogin,
            false => AddressError::NotHttp { address: redact::address(address), why },
        };
        let mut url = addresses::http(address).map_err(refused)?;
        let plain = |text: &str| {
            let text = percent_decode_str(text).decode_utf8().map(String::from);
            text.map_err(|_| AddressError::NotHttpWithLogin)
        };
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            (username, password) => Some(Login {
                username: plain(username)?.into(),
                password: Secret::new(plain(password.unwrap_or_default())?),
            }),
        };
        url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| AddressError::NotHttpWithLogin)?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(if path.is_empty() { "/eureka" } else { &path });
        Ok(Server { url, login })
    }
}

/// The servers, the own zone's first, and how many those are.
fn read_servers(section: &mut Section<'_>) -> Option<(Vec<Server>, usize)> {
    let zone = section.take("zone");
    section.need("servers", |v| {
        if !v.is_map() {
            if let Some(zone) = &zone {
                return zone.problem("names one of several zones: write `servers` as a mapping of zones to servers");
            }
            let servers = addresses::read(v, Server::parse)?;
            let count = servers.len();
            return Some((servers, count));
        }
        let zones: Vec<(&str, Option<Vec<Server>>)> =
            v.entries()?.into_iter().map(|(name, v)| (name, addresses::read(&v, Server::parse))).collect();
        let own = match &zone {
            Some(zone) => own_zone(zone, &zones)?,
            None => zones.iter().position(|(name, _)| *name == DEFAULT_ZONE).unwrap_or(0),
        };
        let (mut servers, mut others) = (Vec::new(), Vec::new());
        for (place, (_, listed)) in zones.into_iter().enumerate() {
            if place == own { &mut servers } else { &mut others }.extend(listed?);
        }
        let count = servers.len();
        servers.extend(others);
        if servers.is_empty() { v.problem("names no server") } else { Some((servers, count)) }
    })
}

fn own_zone(zone: &Value<'_>, zones: &[(&str, Option<Vec<Server>>)]) -> Option<usize> {
    let name = zone.string()?;
    let position = |wanted: &str| zones.iter().position(|(name, _)| *name == wanted);
    position(&name).or_else(|| position(DEFAULT_ZONE)).or_else(|| {
        let known: Vec<&str> = zones.iter().map(|(name, _)| *name).collect();
        zone.problem(format!("{name:?} has no servers; there are some for {}", known.join(", ")))
    })
}

fn read_token(value: &Value<'_>) -> Option<Secret> {
    let token = value.secret()?;
    if HeaderValue::from_str(token.expose()).is_err() {
        return value.problem("the token has characters that no header may have, such as an end of line");
    }
    Some(token)
}
