//! The catalogue: Portolan's own form of a list of services, in YAML or JSON. Pure; `file` reads it from files.
//!
//! A mistake in one service costs that service only: it is reported with its place, and keeps its last good value. A
//! mistake in what holds the services, or in a service's name, costs the whole text, because then nobody could say what
//! is absent.

#[cfg(test)]
mod tests;

use crate::{
    model::{
        Address, DeclaredPort, Endpoint, EndpointPort, Few, Fraction, Health, Hostname, Labels, Locality, Note, Port,
        Protocol, Reason, Service, ServiceId, Text, Weight,
    },
    util::yaml::{Document, Limits, Problems, Section, Value},
};
use std::{collections::BTreeMap, sync::Arc};

/// The services of one catalogue, readable and unreadable.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Catalogue {
    /// Services that can be read. Of several with the same id the first is kept, with a note.
    pub(super) services: BTreeMap<ServiceId, Service>,
    /// Services whose name can be read and whose rest cannot, with the reason.
    pub(super) unreadable: BTreeMap<ServiceId, Text>,
}

/// Reads the text of a catalogue of at most `max_bytes`; `file` is its name in problems.
///
/// # Errors
/// If the text is no YAML, has no list of services, or has a service without a name.
pub(super) fn parse(registry: &Text, file: &str, text: &[u8], max_bytes: usize) -> Result<Catalogue, Problems> {
    let limits = Limits { bytes: max_bytes, ..Limits::default() };
    let document = Document::parse(file, text, &limits)?;
    let mut catalogue = Catalogue::default();
    let reading = document.read(None, |root| {
        root.section(|section| {
            let items = section.need("services", Value::list)?;
            items.iter().for_each(|item| catalogue.add(registry, item));
            Some(())
        })
    });
    reading.finish().map(|()| catalogue)
}

/// A field of a service's entry that is no part of its id. [`Store::patch`](crate::registry::Store::patch) changes
/// those that the text has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Host,
    Ports,
    Labels,
    ProtectThreshold,
    Endpoints,
}

/// Reads the entry of one service whose id is known, of at most `max_bytes`, and which fields the text has.
///
/// # Errors
/// If the text is no YAML, or no entry of this service.
pub(super) fn one(id: &ServiceId, text: &[u8], max_bytes: usize) -> Result<(Service, Vec<Field>), Problems> {
    let limits = Limits { bytes: max_bytes, ..Limits::default() };
    let document = Document::parse("body", text, &limits)?;
    let reading = document.read(None, |root| {
        root.section(|section| {
            let fields = [
                ("host", Field::Host),
                ("ports", Field::Ports),
                ("labels", Field::Labels),
                ("protect_threshold", Field::ProtectThreshold),
                ("endpoints", Field::Endpoints),
            ];
            let fields = fields.into_iter().filter(|(key, _)| section.has(key)).map(|(_, field)| field).collect();
            for (key, own) in [("name", &id.name), ("namespace", &id.namespace), ("group", &id.group)] {
                if let Some(value) = section.take(key)
                    && value.text().is_some_and(|text| text != **own)
                {
                    value.problem::<()>(format!("another {key} than the path has, which is {:?}", &**own));
                }
            }
            let host = section.get("host", hostname);
            Some((described(section, id.clone(), host), fields))
        })
    });
    reading.finish()
}

/// Gives the instances' ports the protocols that the service's own ports say, for a service that was put together of two
/// texts: it becomes what the whole in one text is.
///
/// # Errors
/// If an instance has a port that the service has not; the text says which.
pub(super) fn declare(service: &mut Service) -> Result<(), String> {
    for port in service.endpoints.iter_mut().flat_map(|endpoint| endpoint.ports.iter_mut()) {
        if let Some(name) = &port.name {
            port.protocol = spoken(name, &service.ports)?;
        }
    }
    service.endpoints.sort();
    service.endpoints.dedup();
    Ok(())
}

impl Catalogue {
    /// Its services, as the very values that were known before where they are equal to those.
    pub(super) fn shared(
        services: BTreeMap<ServiceId, Service>,
        known: &BTreeMap<ServiceId, Arc<Service>>,
    ) -> BTreeMap<ServiceId, Arc<Service>> {
        let share = |(id, service): (ServiceId, Service)| {
            let same = known.get(&id).filter(|known| ***known == service).cloned();
            (id, same.unwrap_or_else(|| Arc::new(service)))
        };
        services.into_iter().map(share).collect()
    }

    fn add(&mut self, registry: &Text, item: &Value<'_>) {
        match item.attempt(|item| item.section(|s| service(registry, s))) {
            Ok(service) => self.insert(service, item),
            Err(problems) => match id_of(registry, item) {
                Some(id) => drop(self.unreadable.insert(id, problems.to_string().into())),
                // Once more, so that its problems become the file's.
                None => drop(item.section(|s| service(registry, s))),
            },
        }
    }

    /// Of two services with one id the first stays, with a note that the second is left out.
    fn insert(&mut self, service: Service, item: &Value<'_>) {
        let id = service.id.clone();
        match self.services.get_mut(&id) {
            None => drop(self.services.insert(id, service)),
            Some(first) => {
                let detail = format!("there once more on line {}; that one is left out", item.place().line);
                first.notes.push(Note::new(Reason::Duplicate, "", detail));
            }
        }
    }
}

/// The id of a service whose other fields may have mistakes.
fn id_of(registry: &Text, item: &Value<'_>) -> Option<ServiceId> {
    let mut id = None;
    // What is mistaken has been reported; here only the name counts.
    let _ = item.attempt(|item| {
        item.section(|section| {
            id = names(registry, section).map(|(id, _)| id);
            Some(())
        })
    });
    id
}

/// The id and the host of a service, from `host`, or from `name` with `namespace` and `group`. Without `name` the host
/// is the name.
fn names(registry: &Text, section: &mut Section<'_>) -> Option<(ServiceId, Option<Hostname>)> {
    let host = section.take("host");
    let name = section.get("name", Value::string);
    let namespace = section.get("namespace", Value::string).unwrap_or_default();
    let group = section.get("group", Value::string).unwrap_or_default();
    let host = match host {
        Some(value) => Some(hostname(&value)?),
        None => None,
    };
    let name = match (&host, name) {
        (_, Some(name)) => Text::from(name),
        (Some(host), None) => host.text().clone(),
        (None, None) => return section.value().problem("neither `host` nor `name` says what the service is called"),
    };
    let id = ServiceId::new(registry.clone(), namespace, group, name);
    Some((id, host))
}

fn hostname(value: &Value<'_>) -> Option<Hostname> {
    value.parse(|text| Hostname::new(&text.to_ascii_lowercase()))
}

fn service(registry: &Text, section: &mut Section<'_>) -> Option<Service> {
    let names = names(registry, section);
    // Without a name, its other mistakes are told all the same.
    let (id, host) = names.clone().unwrap_or_else(|| (ServiceId::new(registry.clone(), "", "", ""), None));
    let service = described(section, id, host);
    names.map(|_| service)
}

/// The service, with the fields that are no part of its id.
fn described(section: &mut Section<'_>, id: ServiceId, host: Option<Hostname>) -> Service {
    let ports = section.get("ports", ports).unwrap_or_default();
    let labels = section.get("labels", labels).unwrap_or_default();
    let threshold =
        section.get("protect_threshold", |v| v.fraction().and_then(|fraction| v.check(Fraction::new(fraction))));
    let endpoints = section.get("endpoints", |v| v.each(|v| endpoint(v, &ports))).unwrap_or_default();
    let mut service = Service::new(id, endpoints);
    service.endpoints.dedup();
    service.endpoints.shrink_to_fit();
    Service { host, ports, labels, protect_threshold: threshold, ..service }
}

fn ports(value: &Value<'_>) -> Option<Vec<DeclaredPort>> {
    let mut ports: Vec<DeclaredPort> = Vec::new();
    for item in value.list()? {
        let Some(port) = item.section(declared_port) else { continue };
        if let Some(other) = ports.iter().find(|p| p.name == port.name || p.number == port.number) {
            item.problem::<()>(format!("has the name or the number of port {} ({})", other.name, other.number));
            continue;
        }
        ports.push(port);
    }
    Some(ports)
}

fn declared_port(section: &mut Section<'_>) -> Option<DeclaredPort> {
    let name = section.get("name", Value::string).map(Text::from);
    let number = section.need("port", number);
    let protocol = section.get("protocol", protocol);
    let protocol = protocol.or_else(|| Protocol::parse(name.as_deref()?)).unwrap_or(Protocol::Http);
    Some(DeclaredPort { name: name.unwrap_or_else(|| protocol.name().into()), number: number?, protocol })
}

fn protocol(value: &Value<'_>) -> Option<Protocol> {
    value.parse(|text| {
        Protocol::parse(text).ok_or_else(|| {
            let known: Vec<&str> = Protocol::ALL.iter().map(|p| p.name()).collect();
            format!("must be one of {}, not {text:?}", known.join(", "))
        })
    })
}

fn number(value: &Value<'_>) -> Option<Port> {
    let number = value.integer(1..=65_535_i64)?;
    value.check(Port::new(number))
}

fn labels(value: &Value<'_>) -> Option<Labels> {
    Some(value.texts()?.into_iter().map(|(key, text)| (key.into(), text.into())).collect())
}

/// An instance. A mapping is the long form; a single value is the short form.
fn endpoint(value: &Value<'_>, declared: &[DeclaredPort]) -> Option<Endpoint> {
    if value.is_map() { value.section(|s| long(s, declared)) } else { value.parse(short) }
}

/// The short form of an instance: `10.0.0.1:8080`, `[::1]:8080`, `node-1:8080` or `unix:/run/x.sock`.
fn short(text: &str) -> Result<Endpoint, String> {
    let wrong = || format!("must be address:port, such as 10.0.0.1:8080 or [::1]:8080, not {text:?}");
    if let Some(address @ Address::Unix(_)) = Address::parse(text) {
        return Ok(at_path(address));
    }
    let (address, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    if address.contains(':') && !address.starts_with('[') {
        return Err(wrong());
    }
    let port = port.parse().map_err(|_| wrong()).and_then(|n| Port::new(n).map_err(|e| e.to_string()))?;
    Ok(Endpoint::new(Address::parse(address).ok_or_else(wrong)?, port))
}

/// A unix socket has no ports.
fn at_path(address: Address) -> Endpoint {
    Endpoint { ports: Few::default(), ..Endpoint::new(address, Protocol::Http.default_port()) }
}

fn long(section: &mut Section<'_>, declared: &[DeclaredPort]) -> Option<Endpoint> {
    let address = section.need("address", |v| {
        v.parse(|text| Address::parse(text).ok_or_else(|| format!("{text:?} is neither an address nor a host name")))
    });
    let port = section.get("port", |v| number(v).map(EndpointPort::plain));
    let named = section.get("ports", |v| named_ports(v, declared));
    let weight = section.get("weight", |v| {
        let weight = v.number(0.0..=1_000_000.0)?;
        v.check(Weight::relative(weight, 1.0))
    });
    let health = section.get("health", |v| {
        v.parse(|text| {
            Health::parse(text)
                .ok_or_else(|| format!("must be one of healthy, unhealthy, draining, unknown, not {text:?}"))
        })
    });
    let enabled = section.get("enabled", Value::bool);
    let locality = section.get("locality", |v| Some(Locality::parse(&v.text()?)));
    let labels = section.get("labels", labels);
    let secure = section.get("secure", Value::bool);
    let has_port = section.has("port") || section.has("ports");
    let address = address?;
    if !has_port && !matches!(address, Address::Unix(_)) {
        return section.value().problem("neither `port` nor `ports` says where the instance listens");
    }
    Some(Endpoint {
        ports: port.into_iter().chain(named.unwrap_or_default()).collect(),
        weight: weight.unwrap_or(Weight::DEFAULT),
        health: health.unwrap_or(Health::Healthy),
        enabled: enabled.unwrap_or(true),
        locality: locality.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        secure: secure.unwrap_or(false),
        ..at_path(address)
    })
}

/// Ports by the names that the service gives them, if it gives any.
fn named_ports(value: &Value<'_>, declared: &[DeclaredPort]) -> Option<Vec<EndpointPort>> {
    let mut ports = Vec::new();
    for (name, value) in value.entries()? {
        let protocol = match spoken(name, declared) {
            Ok(protocol) => protocol,
            Err(why) => {
                value.problem::<()>(why);
                continue;
            }
        };
        ports.extend(number(&value).map(|number| EndpointPort { number, protocol, name: Some(name.into()) }));
    }
    if ports.is_empty() { value.problem("has no port") } else { Some(ports) }
}

/// What an instance speaks at its port of that name.
fn spoken(name: &str, declared: &[DeclaredPort]) -> Result<Option<Protocol>, String> {
    match declared.iter().find(|port| &*port.name == name) {
        Some(port) => Ok(Some(port.protocol)),
        None if declared.is_empty() => Ok(Protocol::parse(name)),
        None => Err(format!("the service has no port {name:?}")),
    }
}
