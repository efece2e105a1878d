//! Any JSON, read by a few paths. Pure.
//!
//! A service whose name cannot be read costs the whole list, because then nobody could say what is absent. An instance that
//! cannot be read costs itself, and keeps its last good value.

use super::config::{Mapping, Path};
use crate::{
    model::{Address, Endpoint, EndpointPort, Health, Labels, Port, Protocol, Text},
    registry::{
        instances::{self, Instances, Unreadable},
        lenient::{self, Loose},
        metadata,
    },
    util::host_port::{Host, HostPort, HostPortError},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Where an instance listens, as far as one text says it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: Address,
    /// `None` where there is none; an error says why it cannot be read.
    pub(super) port: Result<Option<Port>, String>,
    /// True for a URL with `https://`.
    pub(super) secure: bool,
}

/// The values in which fields are looked for: an instance, then its service. Each has its key, if it is in an object.
#[derive(Debug, Clone, Copy)]
struct Found<'v> {
    instance: (Option<&'v str>, &'v Value),
    service: (Option<&'v str>, &'v Value),
}

/// Reads the instances of each service.
///
/// # Errors
/// If a path leads to no list, or a name cannot be read; the text says which.
pub(super) fn read(json: &Value, mapping: &Mapping) -> Result<BTreeMap<Text, Instances>, String> {
    let mut services: BTreeMap<Text, Instances> = BTreeMap::new();
    for service in items(json, &mapping.services)? {
        let Some(path) = &mapping.instances else {
            let found = Found { instance: service, service };
            let instances = services.entry(found.name(&mapping.name)?).or_default();
            instances.add(found.endpoint(mapping));
            continue;
        };
        let name = Found { instance: service, service }.name(&mapping.name)?;
        // A service without instances is one all the same.
        let instances = services.entry(name.clone()).or_default();
        let listed = items(service.1, path).map_err(|why| format!("service {name:?}: {why}"))?;
        listed.into_iter().for_each(|instance| instances.add(Found { instance, service }.endpoint(mapping)));
    }
    Ok(services)
}

/// The values of a list, or those of an object with their keys.
fn items<'v>(value: &'v Value, path: &Path) -> Result<Vec<(Option<&'v str>, &'v Value)>, String> {
    match path.of(value) {
        Some(Value::Array(items)) => Ok(items.iter().map(|item| (None, item)).collect()),
        Some(Value::Object(map)) => Ok(map.iter().map(|(key, item)| (Some(key.as_str()), item)).collect()),
        Some(_) => Err(format!("{path} is neither a list nor a mapping")),
        None => Err(format!("there is no {path}")),
    }
}

impl Instances {
    fn add(&mut self, instance: Result<(Endpoint, Vec<String>), Unreadable>) {
        match instance {
            Ok((endpoint, problems)) => self.read(endpoint, problems),
            Err(unreadable) => self.unreadable(unreadable),
        }
    }
}

impl<'v> Found<'v> {
    fn field(&self, path: &Path) -> Option<&'v Value> {
        [self.instance, self.service].into_iter().find_map(|(_, value)| path.of(value).filter(|value| !value.is_null()))
    }

    fn text(&self, path: &Path) -> Option<String> {
        if path.is_key() {
            return self.instance.0.or(self.service.0).map(str::to_owned);
        }
        Loose::of(self.field(path)?)?.text().map(str::to_owned)
    }

    fn name(&self, path: &Path) -> Result<Text, String> {
        let name = self.text(path).map(Text::from);
        name.ok_or_else(|| format!("a service has no {path} for its name; it is {}", shown(self.service.1)))
    }

    fn endpoint(&self, mapping: &Mapping) -> Result<(Endpoint, Vec<String>), Unreadable> {
        let wrong = |why: &str| unreadable(self.instance.1, why);
        let written = self.text(&mapping.address).ok_or_else(|| wrong(&format!("it has no {}", mapping.address)))?;
        let Place { address, port, secure } = place(&written).map_err(|why| wrong(&why))?;
        let read = mapping.port.as_ref().and_then(|path| self.text(path)).map(|text| Loose(text.into()).port());
        // The field goes before what the address says.
        let number = match read.map_or(port, |read| read.map(Some)) {
            Ok(Some(number)) => number,
            Ok(None) => return Err(without_port(self.instance.1, address, "nothing says its port")),
            Err(why) => return Err(without_port(self.instance.1, address, &why)),
        };
        let labels = self.labels(mapping);
        let mut problems = Vec::new();
        let weight = mapping.weight.as_ref().and_then(|path| self.field(path));
        let weight = lenient::weight(weight, 1.0, &mut problems);
        let healthy = mapping.healthy.as_ref().and_then(|path| self.field(path));
        let healthy = lenient::field("healthy", healthy, is_healthy, &mut problems);
        let spoken = mapping.protocol.as_ref().and_then(|path| Protocol::parse(&self.text(path)?));
        let protocol = spoken.or(secure.then_some(Protocol::Https));
        let endpoint = Endpoint {
            ports: [EndpointPort { number, protocol, name: None }].into(),
            weight,
            health: if healthy.unwrap_or(true) { Health::Healthy } else { Health::Unhealthy },
            locality: metadata::locality(&labels, Default::default()),
            labels,
            secure,
            ..Endpoint::new(address, number)
        };
        Ok((endpoint, problems))
    }

    fn labels(&self, mapping: &Mapping) -> Labels {
        let found = mapping.labels.as_ref().and_then(|path| self.field(path)).and_then(Value::as_object);
        metadata::labels(found.cloned().unwrap_or_default())
    }
}

/// True for `true`, `up`, `ok` and the like, false for their opposites; `None` for any other value.
fn is_healthy(value: &Value) -> Option<bool> {
    let loose = Loose::of(value)?;
    let is = |words: &[&str]| words.iter().any(|word| loose.0.trim().eq_ignore_ascii_case(word));
    match () {
        () if is(&["true", "up", "healthy", "passing", "ok", "1"]) => Some(true),
        () if is(&["false", "down", "unhealthy", "critical", "out_of_service", "0"]) => Some(false),
        () => None,
    }
}

/// Reads `10.0.0.1`, `10.0.0.1:80`, `[::1]:80`, `node-1:80` or `https://node-1:443/path`.
pub(super) fn place(text: &str) -> Result<Place, String> {
    let wrong = || format!("{text:?} is neither an address nor a host name");
    let scheme = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let (secure, rest) = match (scheme("https://"), scheme("http://")) {
        (true, _) => (true, &text[8..]),
        (_, true) => (false, &text[7..]),
        _ => (false, text),
    };
    let is_url = rest.len() < text.len();
    let rest = if is_url { rest.split(['/', '?', '#']).next().unwrap_or_default() } else { rest };
    // Nor is it a path: whoever gives the list would lead proxies to any socket of their own machine.
    let plain = |text: &str| Address::parse(text).filter(|address| !matches!(address, Address::Unix(_)));
    if let Some(address) = plain(rest) {
        let port = is_url.then(|| if secure { Protocol::Https } else { Protocol::Http }.default_port());
        return Ok(Place { address, port: Ok(port), secure });
    }
    let (host, port) = match HostPort::parse(rest) {
        Ok(HostPort { host, port }) => {
            let port = port.map(|port| Port::new(port.into())).transpose();
            (host, port.map_err(|error| error.to_string()))
        }
        // Only the port is wrong, and nothing else stands in its place, such as an address behind a scheme.
        Err(why @ HostPortError::Port(_)) if is_word(rest.rsplit(':').next().unwrap_or_default()) => {
            let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
            (HostPort::parse(host).map_err(|_| wrong())?.host, Err(why.to_string()))
        }
        Err(_) => return Err(wrong()),
    };
    let address = match host {
        Host::Ip(ip) => Address::Ip(ip),
        Host::Name(name) => plain(&name).ok_or_else(wrong)?,
    };
    Ok(Place { address, port, secure })
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// An instance whose address cannot be read. Its text, cut to 80 characters, is the subject.
pub(super) fn unreadable(value: &Value, why: &str) -> Unreadable {
    Unreadable { subject: shown(value), why: why.into(), place: None }
}

/// An instance whose port cannot be read, or is not there. Its address says which last good values are kept.
pub(super) fn without_port(value: &Value, address: Address, why: &str) -> Unreadable {
    Unreadable { place: Some(instances::Place { address, port: None }), ..unreadable(value, why) }
}

fn shown(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}
