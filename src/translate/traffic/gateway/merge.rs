//! Gateways of one proxy, merged: which servers stand together, and which are left out.

use crate::{
    pb::istio::networking::v1alpha3::{
        Gateway, Server, ServerTlsSettings, VirtualService, server_tls_settings::TlSmode,
    },
    resource::Kind,
    translate::traffic::{
        finding::{Code, Finding},
        object::{Id, Object},
        protocol::Protocol,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// By gateway (`namespace/name`): its VirtualServices, in the order in which they are looked at.
pub(super) type Bound<'a> = BTreeMap<String, Vec<&'a Arc<Object<VirtualService>>>>;

/// A server of a gateway.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) gateway: &'a Id,
    /// Its index in `servers` of the gateway.
    pub(super) index: usize,
    pub(super) server: &'a Server,
    pub(super) protocol: Protocol,
    /// `hosts` of the server, with the gateway's namespace in the place of `.`, and without the namespace `*`.
    pub(super) hosts: Vec<String>,
    /// The name of its route configuration; empty for servers without HTTP.
    pub(super) routes: String,
    pub(super) port: u32,
}

impl Entry<'_> {
    pub(super) fn tls(&self) -> Option<&ServerTlsSettings> {
        self.server.tls.as_ref()
    }

    /// Whether it passes TLS on and does not end it.
    pub(super) fn is_passthrough(&self) -> bool {
        self.tls().is_some_and(|tls| {
            matches!(TlSmode::try_from(tls.mode), Ok(TlSmode::Passthrough | TlSmode::AutoPassthrough))
        })
    }

    /// Whether it speaks TLS; HTTP that is sent on to https does not.
    fn is_tls(&self) -> bool {
        self.tls().is_some() && !self.protocol.is_http()
    }

    /// Whether the gateway reads HTTP requests on it: plain HTTP, or HTTPS that it ends itself.
    pub(super) fn is_http(&self) -> bool {
        self.protocol.is_http() || self.protocol == Protocol::Https && !self.is_passthrough()
    }

    /// The names of TLS handshakes (SNI) that it serves: its hosts without their namespaces, sorted, each once.
    pub(super) fn names(&self) -> Vec<String> {
        let names: BTreeSet<String> = self
            .hosts
            .iter()
            .map(|host| host.split_once('/').map_or(host.as_str(), |(_, name)| name).to_owned())
            .collect();
        names.into_iter().collect()
    }

    /// Whether requests in plain HTTP are redirected to https.
    pub(super) fn redirects(&self) -> bool {
        self.tls().is_some_and(|tls| tls.https_redirect)
    }

    pub(super) fn finding(&self, code: Code, text: String) -> Finding {
        Finding {
            kind: Kind::Gateway,
            name: self.gateway.full(),
            place: format!("servers[{}]", self.index).into(),
            code,
            text: text.into(),
        }
    }
}

/// What servers that share a listener have in common: port number, protocol as written, and `bind`.
type PortKey = (u32, String, String);

/// The servers of one port and address that are of one protocol.
#[derive(Debug, Default)]
pub(super) struct Servers {
    /// Indexes in [`Merged::entries`].
    pub(super) entries: Vec<usize>,
    pub(super) routes: String,
}

/// The servers of all gateways of a proxy, without those that were left out.
#[derive(Debug, Default)]
pub(super) struct Merged<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    /// The keys of `servers`, in the order in which they came.
    pub(super) ports: Vec<PortKey>,
    pub(super) servers: BTreeMap<PortKey, Servers>,
    /// By the name of a route configuration: the servers that use it, as indexes in `entries`.
    pub(super) by_routes: BTreeMap<String, Vec<usize>>,
    seen: BTreeSet<u32>,
    /// By port: the last server without TLS that began a new key; later ones are compared with it.
    plain: BTreeMap<u32, PortKey>,
    /// By port: the addresses (`bind`) on which a server speaks TLS.
    bound: BTreeMap<u32, BTreeSet<String>>,
    /// By port: the hosts of servers with TLS, with their `bind`.
    hosts: BTreeMap<u32, BTreeMap<String, String>>,
}

impl<'a> Merged<'a> {
    /// Merges gateways, which are in Istio's order. What is left out is told in `findings`.
    pub(super) fn new(gateways: &[&'a Arc<Object<Gateway>>], findings: &mut Vec<Finding>) -> Self {
        let mut merged = Merged::default();
        for gateway in gateways {
            for (index, server) in gateway.spec.servers.iter().enumerate() {
                let Some(entry) = entry(&gateway.id, index, server) else { continue };
                if let Err(finding) = merged.add(entry) {
                    findings.push(finding);
                }
            }
        }
        merged
    }

    fn add(&mut self, entry: Entry<'a>) -> Result<(), Finding> {
        let (port, bind) = (entry.port, entry.server.bind.clone());
        let written = entry.server.port.as_ref().map_or("", |port| &port.protocol).to_owned();
        let key: PortKey = (port, written, bind.clone());
        self.take_hosts(&entry)?;
        if self.seen.insert(port) {
            self.add_new(key, entry);
            return Ok(());
        }
        let skipped = |text: &str| Err(entry.finding(Code::ServerSkipped, format!("on port {port} {text}")));
        let Some(current) = self.plain.get(&port).cloned() else { return self.add_to_tls(key, entry) };
        let here = Protocol::parse(&current.1);
        let together = entry.protocol.is_http() && here.is_some_and(Protocol::is_http);
        if current.2 == bind && !together {
            return skipped("stands an earlier server without TLS, beside which it cannot be");
        }
        if current.2 == bind {
            let routes = entry.routes.clone();
            let place = self.push(entry);
            self.servers.entry(current).or_default().entries.push(place);
            self.by_routes.entry(routes).or_default().push(place);
        } else if self.servers.contains_key(&key) {
            let routes = entry.routes.clone();
            let place = self.push(entry);
            let servers = self.servers.entry(key).or_default();
            servers.entries.push(place);
            servers.routes.clone_from(&routes);
            self.by_routes.entry(routes).or_default().push(place);
        } else {
            self.add_new(key, entry);
        }
        Ok(())
    }

    /// Notes the hosts of a server with TLS. Each may be there once, because only the names in handshakes tell them
    /// apart.
    fn take_hosts(&mut self, entry: &Entry<'_>) -> Result<(), Finding> {
        if entry.tls().is_none() {
            return Ok(());
        }
        let (known, bind) = (self.hosts.entry(entry.port).or_default(), &entry.server.bind);
        if let Some(host) = entry.hosts.iter().find(|host| known.get(*host) == Some(bind)) {
            let text = format!(
                "an earlier server of port {} has the host {host:?}; put the hosts into one server",
                entry.port
            );
            return Err(entry.finding(Code::ServerSkipped, text));
        }
        known.extend(entry.hosts.iter().map(|host| (host.clone(), bind.clone())));
        Ok(())
    }

    /// Adds a server to a port whose first server speaks TLS.
    fn add_to_tls(&mut self, key: PortKey, entry: Entry<'a>) -> Result<(), Finding> {
        if !entry.is_tls() {
            self.add_new(key, entry);
            return Ok(());
        }
        if entry.is_http() && self.by_routes.contains_key(&entry.routes) {
            let text = "an earlier server has the same port's name; give each its own".to_owned();
            return Err(entry.finding(Code::ServerSkipped, text));
        }
        self.bound.entry(key.0).or_default().insert(key.2.clone());
        let (is_http, routes) = (entry.is_http(), entry.routes.clone());
        let place = self.push(entry);
        if is_http {
            self.by_routes.insert(routes, vec![place]);
        }
        if !self.servers.contains_key(&key) {
            self.ports.push(key.clone());
        }
        self.servers.entry(key).or_default().entries.push(place);
        Ok(())
    }

    fn add_new(&mut self, key: PortKey, entry: Entry<'a>) {
        let (is_tls, is_http, routes) = (entry.is_tls(), entry.is_http(), entry.routes.clone());
        let place = self.push(entry);
        if !is_tls {
            self.plain.insert(key.0, key.clone());
        }
        if is_http {
            self.by_routes.insert(routes.clone(), vec![place]);
        }
        self.servers.insert(key.clone(), Servers { entries: vec![place], routes });
        self.ports.push(key);
    }

    fn push(&mut self, entry: Entry<'a>) -> usize {
        self.entries.push(entry);
        self.entries.len() - 1
    }
}

fn entry<'a>(gateway: &'a Id, index: usize, server: &'a Server) -> Option<Entry<'a>> {
    let port = server.port.as_ref()?;
    let protocol = Protocol::parse(&port.protocol)?;
    let mut entry = Entry {
        gateway,
        index,
        server,
        protocol,
        hosts: hosts(&server.hosts, gateway),
        routes: String::new(),
        port: port.number,
    };
    let bind = if server.bind.is_empty() { String::new() } else { format!(".{}", server.bind) };
    if protocol.is_http() {
        entry.routes = format!("http.{}{bind}", port.number);
    } else if entry.is_http() {
        entry.routes = format!("https.{}.{}.{}.{}{bind}", port.number, port.name, gateway.name, gateway.namespace);
    }
    Some(entry)
}

fn hosts(written: &[String], gateway: &Id) -> Vec<String> {
    if written.iter().any(|host| host == "*/*") {
        return vec!["*".to_owned()];
    }
    let host = |host: &String| match host.split_once('/') {
        Some((".", name)) => format!("{}/{name}", gateway.namespace),
        Some(("*", name)) => name.to_owned(),
        _ => host.clone(),
    };
    written.iter().map(host).collect()
}
