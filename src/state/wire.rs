//! What the catalog remembers of a registry, as messages, and back.
//!
//! Labels and localities stand once each. What cannot be read back (an impossible port, a word that is unknown) is an error
//! of the whole: such a file was not written by us.

pub(super) mod calls;
pub(super) mod manifests;
pub(super) mod overrides;
pub(super) mod parts;

use crate::{
    catalog::{HoldMemory, HostMemory, LostMemory, Memory, PortMemory, ScopeMemory, ServiceMemory},
    model::{
        Address, DeclaredPort, Endpoint, EndpointPort, Fraction, Health, Hostname, Labels, Locality, Note, Port,
        Protocol, Reason, Scope, Service, ServiceId, Text, Weight,
    },
    pb::state as pb,
    util::time::unix_millis,
};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is damaged: {0} means nothing")]
pub struct WireError(&'static str);

/// Why bytes are no memory.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The bytes are no message of protobuf.
    #[error("it is damaged: {0}")]
    Message(#[from] prost::DecodeError),
    /// A message has a value that is not possible.
    #[error("{0}")]
    Wire(#[from] WireError),
}

/// Reads what [`unix_millis`] gives. What is beyond any clock is the beginning.
pub(super) fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH)
}

/// A memory as a message: equal memories in any order give equal messages.
pub(super) fn encode(memory: &Memory) -> pb::Registry {
    let mut tables = Tables::default();
    let mut services: Vec<&ServiceMemory> = memory.services.iter().collect();
    services.sort_by(|a, b| (&a.service.id, a.scope).cmp(&(&b.service.id, b.scope)));
    let mut hosts: Vec<&HostMemory> = memory.hosts.iter().collect();
    hosts.sort_by(|a, b| (&a.service, &a.host).cmp(&(&b.service, &b.host)));
    let scope = |memory: &ScopeMemory| pb::Scope {
        name: memory.scope.0.to_string(),
        listed: memory.listed_at.map(unix_millis),
    };
    let name = |(name, addresses): &(Text, Vec<IpAddr>)| pb::Name {
        name: name.to_string(),
        addresses: addresses.iter().map(|address| ip_bytes(address).into()).collect(),
    };
    pb::Registry {
        scopes: memory.scopes.iter().map(scope).collect(),
        services: services.into_iter().map(|memory| service_message(memory, &mut tables)).collect(),
        hosts: hosts.into_iter().map(host_message).collect(),
        hold: Some(hold_message(&memory.holds)),
        lost: memory.holds.lost.iter().map(|lost| lost_message(lost, &mut tables)).collect(),
        parts: memory.parts.iter().map(|part| part_message(part, &mut tables)).collect(),
        names: memory.names.iter().map(name).collect(),
        labels: tables.labels,
        localities: tables.localities,
    }
}

fn scope(message: pb::Scope) -> ScopeMemory {
    ScopeMemory { scope: Scope(message.name.into()), listed_at: message.listed.map(time) }
}

fn name(message: pb::Name) -> Result<(Text, Vec<IpAddr>), WireError> {
    let addresses = message.addresses.into_iter().map(|bytes| ip(&bytes)).collect::<Result<_, _>>()?;
    Ok((message.name.into(), addresses))
}

/// Labels and localities of a message: each stands once, and is named by its place, from 1 on; 0 is an empty one.
#[derive(Default)]
struct Tables {
    labels: Vec<pb::Labels>,
    label_places: HashMap<Labels, u32>,
    localities: Vec<pb::Locality>,
    locality_places: HashMap<Locality, u32>,
}

impl Tables {
    fn labels(&mut self, labels: &Labels) -> u32 {
        if labels.is_empty() {
            return 0;
        }
        if let Some(place) = self.label_places.get(labels) {
            return *place;
        }
        let label = |(key, value): (&Text, &Text)| pb::Label { key: key.to_string(), value: value.to_string() };
        self.labels.push(pb::Labels { labels: labels.iter().map(label).collect() });
        let place = u32::try_from(self.labels.len()).unwrap_or(0);
        self.label_places.insert(labels.clone(), place);
        place
    }

    fn locality(&mut self, locality: &Locality) -> u32 {
        if locality.is_empty() {
            return 0;
        }
        if let Some(place) = self.locality_places.get(locality) {
            return *place;
        }
        self.localities.push(pb::Locality {
            region: locality.region().into(),
            zone: locality.zone().into(),
            sub_zone: locality.sub_zone().into(),
        });
        let place = u32::try_from(self.localities.len()).unwrap_or(0);
        self.locality_places.insert(locality.clone(), place);
        place
    }
}

fn service_message(memory: &ServiceMemory, tables: &mut Tables) -> pb::Service {
    let service = &*memory.service;
    let note = |note: &Note| pb::Note {
        reason: note.reason.code().into(),
        subject: note.subject.to_string(),
        detail: note.detail.to_string(),
    };
    pb::Service {
        id: Some(id_message(&service.id)),
        scope: u32::try_from(memory.scope).unwrap_or(u32::MAX),
        unread: !memory.read,
        unreadable: memory.unreadable.as_ref().map(ToString::to_string),
        absent: memory.absent,
        gone: memory.gone.map(unix_millis),
        host: service.host.as_ref().map(ToString::to_string).unwrap_or_default(),
        ports: service.ports.iter().map(declared_message).collect(),
        labels: tables.labels(&service.labels),
        protect_threshold: service.protect_threshold.map(Fraction::millionths),
        protected: service.protected,
        endpoints: service.endpoints.iter().map(|endpoint| endpoint_message(endpoint, tables)).collect(),
        notes: service.notes.iter().map(note).collect(),
    }
}

fn id_message(id: &ServiceId) -> pb::Id {
    pb::Id { namespace: id.namespace.to_string(), group: id.group.to_string(), name: id.name.to_string() }
}

fn declared_message(port: &DeclaredPort) -> pb::DeclaredPort {
    let number = port.number.get().into();
    pb::DeclaredPort { name: port.name.to_string(), number, protocol: port.protocol.name().into() }
}

fn endpoint_message(endpoint: &Endpoint, tables: &mut Tables) -> pb::Endpoint {
    let mut message = pb::Endpoint::default();
    match &endpoint.address {
        Address::Ip(ip) => message.ip = ip_bytes(ip).into(),
        Address::Host(name) => message.host = name.to_string(),
        Address::Unix(path) => message.unix = path.to_string(),
    }
    let port = |port: &EndpointPort| pb::Port {
        number: port.number.get().into(),
        protocol: port.protocol.map(|protocol| protocol.name().into()).unwrap_or_default(),
        name: port.name.as_ref().map(ToString::to_string),
    };
    let health = match endpoint.health {
        Health::Healthy => pb::Health::Healthy,
        Health::Unhealthy => pb::Health::Unhealthy,
        Health::Draining => pb::Health::Draining,
        Health::Unknown => pb::Health::Unknown,
    };
    message.ports = endpoint.ports.iter().map(port).collect();
    message.weight = endpoint.weight.millionths().cast_signed() - Weight::DEFAULT.millionths().cast_signed();
    message.health = health.into();
    message.disabled = !endpoint.enabled;
    message.locality = tables.locality(&endpoint.locality);
    message.labels = tables.labels(&endpoint.labels);
    message.secure = endpoint.secure;
    message
}

fn host_message(host: &HostMemory) -> pb::Host {
    let learned = |port: &PortMemory| pb::LearnedPort {
        held: port.held,
        beside: port.beside,
        name: port.name.to_string(),
        protocol: port.protocol.name().into(),
    };
    let port = |(name, number): &(Text, Port)| pb::DeclaredPort {
        name: name.to_string(),
        number: number.get().into(),
        protocol: String::new(),
    };
    pb::Host {
        service: Some(id_message(&host.service)),
        host: host.host.to_string(),
        learned: host.learned.iter().map(learned).collect(),
        emptied: host.emptied.map(unix_millis),
        rewritten: host.rewritten,
        spelled: host.spelled,
        cased: host.cased.as_ref().map(ToString::to_string).unwrap_or_default(),
        ports: host.ports.iter().map(port).collect(),
        owned: host.owned,
    }
}

fn hold_message(memory: &HoldMemory) -> pb::Hold {
    let HoldMemory { since, until, returned, before, lost: _ } = memory;
    let count =
        |(until, serving): &(SystemTime, usize)| pb::Before { until: unix_millis(*until), serving: *serving as u64 };
    pb::Hold {
        since: since.map(|(since, _)| unix_millis(since)),
        base: since.map_or(0, |(_, base)| base as u64),
        before: before.iter().map(count).collect(),
        returned: returned.map(unix_millis),
        until: until.map(unix_millis),
    }
}

fn part_message((key, holds): &(Text, HoldMemory), tables: &mut Tables) -> pb::Part {
    pb::Part {
        key: key.to_string(),
        hold: Some(hold_message(holds)),
        lost: holds.lost.iter().map(|lost| lost_message(lost, tables)).collect(),
    }
}

fn lost_message(lost: &LostMemory, tables: &mut Tables) -> pb::Lost {
    pb::Lost {
        service: Some(id_message(&lost.service)),
        endpoints: lost.endpoints.iter().map(|endpoint| endpoint_message(endpoint, tables)).collect(),
        has_any: lost.has_any,
        absent: lost.absent,
        emptied: lost.emptied.map(unix_millis),
        prolonged_since: lost.prolonged.map(|(since, _)| unix_millis(since)),
        prolonged_until: lost.prolonged.map(|(_, until)| unix_millis(until)),
        early: lost.early as u64,
    }
}

fn ip_bytes(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn ip(bytes: &[u8]) -> Result<IpAddr, WireError> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(v4.into());
    }
    <[u8; 16]>::try_from(bytes).map(IpAddr::from).map_err(|_| WireError("an address"))
}

/// Labels and localities that were read of a message, and are named by their place in it.
struct Shared {
    labels: Vec<Labels>,
    localities: Vec<Locality>,
}

impl Shared {
    fn new(labels: Vec<pb::Labels>, localities: Vec<pb::Locality>) -> Self {
        let set = |set: pb::Labels| set.labels.into_iter().map(|l| (l.key.into(), l.value.into())).collect();
        let locality = |l: pb::Locality| Locality::new(l.region, l.zone, l.sub_zone);
        let labels = labels.into_iter().map(set).collect();
        let localities = localities.into_iter().map(locality).collect();
        Shared { labels, localities }
    }
}

/// What all parts of a message share while they are read.
struct Known<'a> {
    registry: &'a Text,
    shared: &'a Shared,
    /// Namespaces, groups and names of ports: few, and each kept once.
    texts: HashMap<String, Text>,
}

impl<'a> Known<'a> {
    fn new(registry: &'a Text, shared: &'a Shared) -> Self {
        Known { registry, shared, texts: HashMap::new() }
    }

    fn text(&mut self, text: String) -> Text {
        if let Some(known) = self.texts.get(&text) {
            return known.clone();
        }
        let shared = Text::from(&*text);
        self.texts.insert(text, shared.clone());
        shared
    }

    fn id(&mut self, id: Option<pb::Id>) -> Result<ServiceId, WireError> {
        let id = id.ok_or(WireError("a service without a name"))?;
        let (namespace, group) = (self.text(id.namespace), self.text(id.group));
        Ok(ServiceId::new(self.registry.clone(), namespace, group, id.name))
    }

    fn id_of(&mut self, id: Option<pb::Id>, services: &[ServiceMemory]) -> Result<ServiceId, WireError> {
        let id = id.ok_or(WireError("a service without a name"))?;
        let place = services.binary_search_by(|known| {
            let known = &known.service.id;
            let parts = (&*known.namespace, &*known.group, &*known.name);
            parts.cmp(&(&*id.namespace, &*id.group, &*id.name))
        });
        place.map_or_else(|_| self.id(Some(id)), |place| Ok(services[place].service.id.clone()))
    }

    fn labels(&self, place: u32) -> Result<Labels, WireError> {
        match (place as usize).checked_sub(1) {
            None => Ok(Labels::new()),
            Some(place) => self.shared.labels.get(place).cloned().ok_or(WireError("a place of labels")),
        }
    }

    fn locality(&self, place: u32) -> Result<Locality, WireError> {
        match (place as usize).checked_sub(1) {
            None => Ok(Locality::default()),
            Some(place) => self.shared.localities.get(place).cloned().ok_or(WireError("a place of a locality")),
        }
    }

    fn service(&mut self, message: pb::Service, scopes: usize) -> Result<ServiceMemory, WireError> {
        let scope = message.scope as usize;
        if scope >= scopes {
            return Err(WireError("a place of a scope"));
        }
        let endpoints = message.endpoints.into_iter().map(|endpoint| self.endpoint(endpoint));
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        // They share equal labels as they were written.
        let mut service = Service::of_shared(self.id(message.id)?, endpoints);
        service.host = match &*message.host {
            "" => None,
            host => Some(hostname(host)?),
        };
        service.ports = message.ports.into_iter().map(|port| self.declared(port)).collect::<Result<_, _>>()?;
        service.labels = self.labels(message.labels)?;
        service.protect_threshold = message.protect_threshold.map(Fraction::of_millionths);
        service.protected = message.protected;
        service.notes = message.notes.into_iter().filter_map(note).collect();
        Ok(ServiceMemory {
            scope,
            service: Arc::new(service),
            read: !message.unread,
            unreadable: message.unreadable.map(Text::from),
            absent: message.absent,
            gone: message.gone.map(time),
        })
    }

    fn declared(&mut self, port: pb::DeclaredPort) -> Result<DeclaredPort, WireError> {
        let (number, protocol) = (number(port.number)?, protocol(&port.protocol)?);
        Ok(DeclaredPort { name: self.text(port.name), number, protocol })
    }

    fn endpoint(&mut self, message: pb::Endpoint) -> Result<Endpoint, WireError> {
        let address = match (message.ip.is_empty(), &*message.host) {
            (false, _) => Address::Ip(ip(&message.ip)?),
            (true, "") => Address::Unix(message.unix.as_str().into()),
            (true, host) => Address::Host(host.into()),
        };
        let health = match message.health() {
            pb::Health::Healthy => Health::Healthy,
            pb::Health::Unhealthy => Health::Unhealthy,
            pb::Health::Draining => Health::Draining,
            pb::Health::Unknown => Health::Unknown,
        };
        let weight = message.weight.checked_add(Weight::DEFAULT.millionths().cast_signed());
        let weight = weight.and_then(|weight| u64::try_from(weight).ok()).ok_or(WireError("a weight"))?;
        let (locality, labels) = (self.locality(message.locality)?, self.labels(message.labels)?);
        let ports = message.ports.into_iter().map(|port| {
            let spoken = Some(&*port.protocol).filter(|word| !word.is_empty()).map(protocol);
            let name = port.name.map(|name| self.text(name));
            Ok(EndpointPort { number: number(port.number)?, protocol: spoken.transpose()?, name })
        });
        Ok(Endpoint {
            address,
            ports: ports.collect::<Result<_, _>>()?,
            weight: Weight::of_millionths(weight),
            health,
            enabled: !message.disabled,
            locality,
            labels,
            secure: message.secure,
        })
    }

    /// `services` are those that were read before it, in the order of their ids: one that is there already is kept once.
    fn host(&mut self, message: pb::Host, services: &[ServiceMemory]) -> Result<HostMemory, WireError> {
        let learned = message.learned.into_iter().map(|port| {
            let (held, beside) = (port.held, port.beside);
            Ok(PortMemory { held, beside, protocol: protocol(&port.protocol)?, name: self.text(port.name) })
        });
        let learned = learned.collect::<Result<_, _>>()?;
        let ports = message.ports.into_iter().map(|port| Ok((self.text(port.name), number(port.number)?)));
        let ports = ports.collect::<Result<_, _>>()?;
        Ok(HostMemory {
            service: self.id_of(message.service, services)?,
            host: hostname(&message.host)?,
            learned,
            emptied: message.emptied.map(time),
            rewritten: message.rewritten,
            spelled: message.spelled,
            cased: Some(Text::from(message.cased)).filter(|cased| !cased.is_empty()),
            ports,
            owned: message.owned,
        })
    }

    fn holds(&mut self, hold: Option<pb::Hold>, lost: Vec<pb::Lost>) -> Result<HoldMemory, WireError> {
        let hold = hold.unwrap_or_default();
        let count = |number: u64| usize::try_from(number).map_err(|_| WireError("a number of endpoints"));
        let before = hold.before.iter().map(|before| Ok((time(before.until), count(before.serving)?)));
        let since = hold.since.map(|since| Ok((time(since), count(hold.base)?)));
        Ok(HoldMemory {
            since: since.transpose()?,
            until: hold.until.map(time),
            returned: hold.returned.map(time),
            before: before.collect::<Result<_, _>>()?,
            lost: lost.into_iter().map(|lost| self.lost(lost)).collect::<Result<_, _>>()?,
        })
    }

    fn lost(&mut self, message: pb::Lost) -> Result<LostMemory, WireError> {
        let endpoints = message.endpoints.into_iter().map(|endpoint| self.endpoint(endpoint));
        let endpoints = endpoints.collect::<Result<_, _>>()?;
        let (has_any, absent, emptied) = (message.has_any, message.absent, message.emptied.map(time));
        let prolonged = message.prolonged_since.zip(message.prolonged_until);
        let prolonged = prolonged.map(|(since, until)| (time(since), time(until)));
        let early = usize::try_from(message.early).unwrap_or(usize::MAX);
        Ok(LostMemory { service: self.id(message.service)?, endpoints, has_any, absent, emptied, early, prolonged })
    }
}

fn hostname(text: &str) -> Result<Hostname, WireError> {
    Hostname::new(text).map_err(|_| WireError("a host"))
}

fn number(number: u32) -> Result<Port, WireError> {
    Port::new(number.into()).map_err(|_| WireError("a port"))
}

fn protocol(word: &str) -> Result<Protocol, WireError> {
    Protocol::ALL.into_iter().find(|protocol| protocol.name() == word).ok_or(WireError("a protocol"))
}

/// A reason that is unknown is one of a newer Portolan: the next reading tells what there is to tell.
fn note(note: pb::Note) -> Option<Note> {
    let reason = Reason::ALL.into_iter().find(|reason| reason.code() == note.reason)?;
    Some(Note::new(reason, note.subject, note.detail))
}
