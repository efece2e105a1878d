//! `xds.listeners`: the addresses that clients connect to, and how they authenticate. `xds.listen` is the short form
//! for one without TLS.

use super::{
    names::{each_named, read_name},
    select,
};
use crate::{
    identity::{
        JwtFiles, LoadError, MOST, NodeRule, SHORTEST, Settings, TlsFiles, is_trust_domain,
        jwt::{self, Algorithm},
    },
    model::Text,
    resource::Family,
    util::{
        error::chain,
        secret::Secret,
        yaml::{Section, Value},
    },
    xds::{Address, Listen},
};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};

/// The name of the listener that `xds.listen` makes.
const DEFAULT: &str = "default";

/// What `tokens` with nothing behind them would mean.
pub(super) const NO_TOKEN: &str = "nobody would be asked for a token";

/// A listener of xDS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name (`name`), for scopes, metrics and the log.
    pub name: Text,
    /// A TCP address, or the path of a Unix socket with its permissions (`listen`, and `socket_mode`).
    pub address: Address,
    /// The kind of clients that it is for (`for`). `None`: all.
    pub clients: Option<Family>,
    /// The networks from which clients may connect (`networks`). Empty: from anywhere.
    pub networks: Vec<IpNet>,
    /// How connections are encrypted, and how clients authenticate (`tls`, `tokens`, `jwt`, `node_id`).
    pub credentials: Settings,
}

impl Listener {
    /// The listener that `xds.listen` makes: TCP, without TLS, for all clients.
    pub(super) fn plain(address: SocketAddr) -> Self {
        let credentials = Settings::default();
        Listener {
            name: DEFAULT.into(),
            address: Address::Tcp(address),
            clients: None,
            networks: Vec::new(),
            credentials,
        }
    }

    /// The full path of one of its keys in the configuration, such as `xds.listeners[edge].tls`.
    pub fn key(&self, key: &str) -> String {
        if &*self.name == DEFAULT { format!("xds.{key}") } else { format!("xds.listeners[{}].{key}", self.name) }
    }

    /// The listener as the server takes it, with its files read.
    ///
    /// # Errors
    /// If one of the files cannot be used.
    pub fn load(&self) -> Result<Listen, LoadError> {
        let Listener { name, address, clients, networks, credentials } = self.clone();
        let policy = Arc::new(credentials.load(None, SystemTime::now())?);
        Ok(Listen { name, address, clients, networks, policy, socket: None })
    }
}

/// The listeners of `xds:`. `None`: neither key is there, or there are mistakes.
pub(super) fn read(section: &mut Section<'_>) -> Option<Vec<Listener>> {
    let plain = section.get("listen", |v| {
        let address = v.socket_address()?;
        warn_of_clear_text(v, &Address::Tcp(address), &Settings::default());
        Some(vec![Listener::plain(address)])
    });
    let listed = section.get("listeners", |list| {
        if plain.is_some() {
            return list.problem("`listen` and `listeners` are there at once; make a listener of the former");
        }
        if list.list()?.is_empty() {
            return list.problem("no listener; name at least one, or leave the key out for 127.0.0.1:16010");
        }
        let all = each_named("listener", list, read_one)?;
        report_shared(list, &all);
        Some(all)
    });
    listed.or(plain)
}

/// Reports listeners that share a port or a socket.
fn report_shared(list: &Value<'_>, all: &[Listener]) {
    let mut taken = BTreeSet::new();
    for listener in all {
        let free = matches!(listener.address, Address::Tcp(address) if address.port() == 0);
        if !free && !taken.insert(listener.address.to_string()) {
            let (name, address) = (&listener.name, &listener.address);
            list.problem::<()>(format!("another listener than {name:?} has {address}, too; give one of them another"));
        }
    }
}

fn read_one(section: &mut Section<'_>) -> Option<Listener> {
    let name = section.need("name", |v| {
        let name = read_name(v)?;
        match &*name {
            DEFAULT => v.problem(format!("{DEFAULT:?} is the name of what `xds.listen` makes; choose another one")),
            "admin" => v.problem("\"admin\" is what admin is called in metrics and the log; choose another name"),
            _ => Some(name),
        }
    });
    let mode = section.get("socket_mode", |v| v.parse(read_mode));
    let has_mode = section.has("socket_mode");
    let place = section.take("listen");
    let address = section.need("listen", |v| {
        let text = v.string()?;
        let Some(path) = text.strip_prefix("unix:") else {
            if has_mode {
                return v.problem("`socket_mode` is for a Unix socket: write `listen: unix:/path`");
            }
            return Some(Address::Tcp(v.socket_address()?));
        };
        if !path.starts_with('/') {
            return v.problem(format!("must be a whole path such as unix:/run/portolan/xds.sock, not {text:?}"));
        }
        Some(Address::Unix { path: path.into(), mode: mode.unwrap_or(0o600) })
    });
    let families = [("envoy", Some(Family::Envoy)), ("istio", Some(Family::Istio)), ("all", None)];
    let clients = section.narrow("for", "clients of all kinds would be served", |v| v.word(&families)).flatten();
    let networks = |v: &Value<'_>| v.one_or_each(|v| v.parse(select::network));
    let networks = section.narrow("networks", "everybody could connect", networks).unwrap_or_default();
    if let (Some(Address::Unix { .. }), false) = (&address, networks.is_empty()) {
        section
            .value()
            .problem::<()>("`networks` is for listeners of TCP: who may connect to a Unix socket says `socket_mode`");
    }
    let credentials = credentials(section);
    let address = address?;
    let credentials = credentials?;
    if let Some(place) = place {
        warn_of_clear_text(&place, &address, &credentials);
    }
    Some(Listener { name: name?, address, clients, networks, credentials })
}

/// Permissions in octal digits, as for `chmod`.
fn read_mode(text: &str) -> Result<u32, String> {
    let digits = text.trim_start_matches("0o");
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777 && digits.len() >= 3);
    mode.ok_or_else(|| format!("must be permissions in octal digits such as '0660', not {text:?}"))
}

fn warn_of_clear_text(place: &Value<'_>, address: &Address, credentials: &Settings) {
    let Address::Tcp(tcp) = address else { return };
    if tcp.ip().is_loopback() || credentials.tls.is_some() {
        return;
    }
    place.warn(match credentials.takes_tokens() {
        true => format!("{address} can be reached from other machines, without encryption: tokens can be read on the way; add `tls`"),
        false => format!(
            "{address} can be reached from other machines, without encryption or authentication; protect it by other means, or listen on 127.0.0.1"
        ),
    });
}

/// Reads the credentials of a listener; all files are tried, so that mistakes in them are reported.
fn credentials(section: &mut Section<'_>) -> Option<Settings> {
    let tls = optional(section, "tls", "connections would not be encrypted", read_tls);
    let tokens = section.narrow("tokens", NO_TOKEN, read_tokens).unwrap_or_default();
    let jwt = optional(section, "jwt", NO_TOKEN, read_jwt);
    let rule = section.narrow("node_id", "a client could have any node id", |v| v.parse(NodeRule::parse));
    let (Ok(tls), Ok(jwt)) = (tls, jwt) else { return None };
    let settings = Settings { tls, tokens, jwt, node_id: rule };
    if settings.node_id.is_some() && !settings.authenticates() {
        let remedy = "add `tls.client_authorities`, `tokens` or `jwt`, or leave it out";
        return section.value().problem(format!("`node_id` is about names, and nobody proves one here; {remedy}"));
    }
    let now = SystemTime::now();
    let loaded = section.value().check(settings.load(None, now).map_err(|error| chain(&error)))?;
    if let Some(until) = loaded.tls.and_then(|tls| tls.until).filter(|until| *until <= now) {
        let until = humantime::format_rfc3339_seconds(until);
        section
            .value()
            .warn(format!("its certificate ended at {until}, so clients refuse it; put a new one in its place"));
    }
    Some(settings)
}

/// A section that may be missing; `Err` if it has mistakes. `opens`: see [`Section::written`].
fn optional<'a, T>(
    section: &mut Section<'a>,
    key: &'static str,
    opens: &str,
    read: impl FnOnce(&mut Section<'a>) -> Option<T>,
) -> Result<Option<T>, ()> {
    match section.written(key, opens) {
        Some(value) => value.section(read).map(Some).ok_or(()),
        None if section.has(key) => Err(()),
        None => Ok(None),
    }
}

/// The path of a file that must exist. It is noted, so that its changes are followed.
fn file(value: &Value<'_>) -> Option<PathBuf> {
    value.file_text(MOST)?;
    value.path()
}

fn read_tls(section: &mut Section<'_>) -> Option<TlsFiles> {
    let certificate = section.need("certificate", file);
    let key = section.need("key", file);
    let has_authorities = section.has("client_authorities") || section.has("trust_domains");
    let client_authorities = section.get("client_authorities", file);
    let trust_domains = section.get("trust_domains", |v| {
        let domain = |(domain, bundle): (&str, Value<'_>)| {
            if !is_trust_domain(domain) {
                return bundle
                    .problem(format!("{domain:?} is no trust domain: lower-case letters, digits, '.', '-' and '_'"));
            }
            Some((Text::from(domain), file(&bundle)?))
        };
        let all = v.entries()?;
        let count = all.len();
        let read: BTreeMap<_, _> = all.into_iter().filter_map(domain).collect();
        (read.len() == count).then_some(read)
    });
    let trust_domains = trust_domains.unwrap_or_default();
    if has_authorities && client_authorities.is_none() && trust_domains.is_empty() {
        section.value().problem::<()>("no authority is named, so no client would be asked for a certificate");
    }
    let crls = section.narrow("crls", "no certificate would be revoked", |v| v.one_or_each(file));
    let required = section.take("require_client_certificate");
    if !has_authorities {
        for (key, value) in [("crls", section.take("crls")), ("require_client_certificate", required.clone())] {
            if let Some(value) = value {
                value.problem::<()>(format!(
                    "`{key}` is about clients' certificates; add `client_authorities` or `trust_domains`"
                ));
            }
        }
    }
    Some(TlsFiles {
        client_authorities,
        trust_domains,
        crls: crls.unwrap_or_default(),
        require_client_certificate: required.and_then(|v| v.bool()).unwrap_or(has_authorities),
        certificate: certificate?,
        key: key?,
    })
}

/// A certificate and its key, for a server that asks clients for no certificate.
pub(super) fn read_own_tls(value: &Value<'_>) -> Option<TlsFiles> {
    let files = value.section(|section| {
        let certificate = section.need("certificate", file);
        let key = section.need("key", file);
        Some(TlsFiles {
            certificate: certificate?,
            key: key?,
            client_authorities: None,
            trust_domains: BTreeMap::new(),
            crls: Vec::new(),
            require_client_certificate: false,
        })
    })?;
    let loaded = files.load(None, b"http/1.1", SystemTime::now());
    value.check(loaded.map_err(|error| chain(&error))).map(|_| files)
}

/// The tokens of a listener, each with the name that it stands for.
fn read_tokens(value: &Value<'_>) -> Option<Vec<(Text, Secret)>> {
    let mut tokens: Vec<(Text, Secret)> = Vec::new();
    for (name, value) in value.entries()? {
        if name.is_empty() {
            value.problem::<()>("a token needs a name that it stands for");
        }
        if value.is_list() && value.is_empty() {
            value.problem::<()>("names no token; leave the name out, too");
        }
        for token in value.one_or_each(token)? {
            if tokens.iter().any(|(_, other)| *other == token) {
                value.problem::<()>("another token here is the same; give each its own");
            }
            tokens.push((name.into(), token));
        }
    }
    Some(tokens)
}

/// A token: a secret that is long enough, of characters that a header can have.
pub(super) fn token(value: &Value<'_>) -> Option<Secret> {
    let token = value.secret()?;
    if token.expose().len() < SHORTEST {
        return value.problem(format!(
            "is too short for a token: make one of {SHORTEST} characters or more, such as by `openssl rand -hex 32`"
        ));
    }
    // A header cannot have anything else.
    if token.expose().contains(|c: char| !c.is_ascii_graphic()) {
        return value
            .problem("has characters that no header can carry: letters, digits and signs of ASCII, without spaces");
    }
    Some(token)
}

fn read_jwt(section: &mut Section<'_>) -> Option<JwtFiles> {
    let algorithms = Algorithm::ALL.map(|algorithm| (algorithm.name(), algorithm));
    let text = |v: &Value<'_>| v.string().map(Text::from);
    let listed = section.get("algorithms", |v| match v.one_or_each(|v| v.word(&algorithms))? {
        none if none.is_empty() => {
            v.problem("names none, so no token is accepted; leave the key out for RS256 and ES256")
        }
        all => Some(all),
    });
    let keys = section.need("keys", file);
    let issuer = section.need("issuer", text);
    let audiences = section.need("audiences", |v| match v.one_or_each(text)? {
        none if none.is_empty() => v.problem("names none, so no token is accepted"),
        all => Some(all),
    });
    let name = section.get("name", |v| v.one_or_each(text)).filter(|way| !way.is_empty());
    let rules = jwt::Rules {
        algorithms: listed.unwrap_or_else(|| vec![Algorithm::RS256, Algorithm::ES256]),
        issuer: issuer?,
        audiences: audiences?,
        name: name.unwrap_or_else(|| vec!["sub".into()]),
    };
    Some(JwtFiles { keys: keys?, rules })
}
