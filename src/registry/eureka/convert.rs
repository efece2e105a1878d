//! Eureka's instances to the model. Pure; what cannot be read is noted, and its neighbours serve.

use super::{
    config::AddressOf,
    wire::{Instance, WirePort},
};
use crate::{
    model::{Address, Endpoint, EndpointPort, Health, Labels, Locality, Note, Port, Protocol, Reason, Text},
    registry::{
        lenient::{self, Loose},
        metadata::{self, grpc_port, label, labels},
    },
};
use serde_json::{Value, value::RawValue};

/// Settings by which every instance is read.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) address: AddressOf,
    /// The region of instances that do not name one.
    pub(super) region: Option<Text>,
}

/// An instance with an id, as one answer has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: Text,
    pub(super) status: Status,
    /// `lastDirtyTimestamp`: when it last changed, in milliseconds by its own clock; 0 if it does not say.
    pub(super) changed: u64,
    /// `None` if the instance cannot be used; then a note says why.
    pub(super) endpoint: Option<Endpoint>,
    /// It cannot be read. One that is known keeps its last good endpoint.
    pub(super) unreadable: bool,
    pub(super) notes: Vec<Note>,
    pub(super) vip: Text,
    pub(super) secure_vip: Text,
    /// Only in a delta: the instance is gone (`actionType` is `DELETED`).
    pub(super) deleted: bool,
}

/// The status of an instance. In alphabetical order, in which the server's hash counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    Down,
    OutOfService,
    Starting,
    /// Also any that is not known here, as Eureka's own clients take it.
    Unknown,
    Up,
}

impl Status {
    const ALL: [Status; 5] = [Status::Down, Status::OutOfService, Status::Starting, Status::Unknown, Status::Up];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Status::Down => "DOWN",
            Status::OutOfService => "OUT_OF_SERVICE",
            Status::Starting => "STARTING",
            Status::Unknown => "UNKNOWN",
            Status::Up => "UP",
        }
    }

    fn read(text: &str) -> Status {
        let known = Status::ALL.into_iter().find(|status| status.name().eq_ignore_ascii_case(text.trim()));
        known.unwrap_or(Status::Unknown)
    }

    /// The status after an operator has set `by`. That counts only if the instance itself could serve: nobody brings up
    /// from outside what is down or starting.
    fn overridden(self, by: Status) -> Status {
        match (self, by) {
            (Status::Up | Status::OutOfService, by) if by != Status::Unknown => by,
            _ => self,
        }
    }

    /// The health for a status. `OUT_OF_SERVICE` is healthy, since its endpoint is disabled instead.
    const fn health(self) -> Health {
        match self {
            Status::Up | Status::OutOfService => Health::Healthy,
            Status::Down | Status::Starting | Status::Unknown => Health::Unhealthy,
        }
    }
}

/// Why an instance has no endpoint.
#[derive(Debug)]
enum Unusable {
    /// The instance says so itself, such as by ports that are all switched off.
    Off(String),
    /// Its address or its ports cannot be read.
    Unreadable(String),
}

/// Reads an instance. If it has no id, the error has its status, which the server counts, and a note.
pub(super) fn entry(raw: &RawValue, rules: &Rules) -> Result<Entry, (Status, Note)> {
    let shown = || raw.get().chars().take(80).collect::<String>();
    let invalid = |status, why: String| (status, Note::new(Reason::EntryInvalid, shown(), why));
    let read = serde_json::from_str(raw.get());
    let mut instance: Instance<'_> = read.map_err(|error| invalid(Status::Unknown, error.to_string()))?;
    let status = text(&instance.status).map_or(Status::Unknown, Status::read);
    let id = id(&instance).ok_or_else(|| invalid(status, "it has neither instanceId nor hostName".into()))?;
    let mut notes = Vec::new();
    let mut note = |problem| notes.push(Note::new(Reason::EntryInvalid, id.clone(), problem));
    let (endpoint, unreadable) = match endpoint(&mut instance, status, rules) {
        Ok((endpoint, problems)) => {
            problems.into_iter().for_each(note);
            (Some(endpoint), false)
        }
        Err(Unusable::Off(why)) => {
            note(why);
            (None, false)
        }
        Err(Unusable::Unreadable(why)) => {
            note(why);
            (None, true)
        }
    };
    let name = |field: &Option<Loose<'_>>| text(field).map(Text::from).unwrap_or_default();
    Ok(Entry {
        status,
        changed: text(&instance.last_dirty_timestamp).and_then(|t| t.parse().ok()).unwrap_or_default(),
        endpoint,
        unreadable,
        notes,
        vip: name(&instance.vip_address),
        secure_vip: name(&instance.secure_vip_address),
        deleted: text(&instance.action_type).is_some_and(|action| action.eq_ignore_ascii_case("DELETED")),
        id,
    })
}

/// The identity of an instance in its application, as the server has it (`InstanceInfo.getId`): `instanceId`; else, on AWS, the id
/// of the machine; else `hostName`.
fn id(instance: &Instance<'_>) -> Option<Text> {
    let machine = instance.data_center_info.pointer("/metadata/instance-id").and_then(Value::as_str);
    let machine = machine.map(str::trim).filter(|id| !id.is_empty());
    text(&instance.instance_id).or(machine).or(text(&instance.host_name)).map(Text::from)
}

/// The endpoint, and the problems of fields that were left out of it.
fn endpoint(instance: &mut Instance<'_>, status: Status, rules: &Rules) -> Result<(Endpoint, Vec<String>), Unusable> {
    let address = address(instance, rules.address).map_err(Unusable::Unreadable)?;
    let mut labels = match instance.metadata.take() {
        Value::Object(metadata) => labels(metadata),
        _ => Labels::new(),
    };
    // What Java's serialiser says of its map.
    labels.remove("@class");
    let mut problems = Vec::new();
    let (ports, secure) = ports(instance, &labels, &mut problems)?;
    // Eureka has no weights of its own; Spring Cloud's balancer reads this label, whose default is 1.
    let written = label(&labels, "weight").map(|text| Value::from(&*text));
    let weight = lenient::weight(written.as_ref(), 1.0, &mut problems);
    let override_ = text(&instance.overridden_status).map_or(Status::Unknown, Status::read);
    let status = status.overridden(override_);
    let endpoint = Endpoint {
        address,
        ports: ports.into(),
        weight,
        health: status.health(),
        enabled: status != Status::OutOfService,
        locality: locality(instance, &labels, rules),
        labels,
        secure,
    };
    Ok((endpoint, problems))
}

fn address(instance: &Instance<'_>, wanted: AddressOf) -> Result<Address, String> {
    let (ip, host) = (text(&instance.ip_addr), text(&instance.host_name));
    let written = match wanted {
        AddressOf::Ip => ip.or(host),
        AddressOf::Hostname => host.or(ip),
    };
    let written = written.ok_or("it has neither ipAddr nor hostName")?;
    // Nor is it a path: whoever may register would lead proxies to any socket of their own machine.
    Address::parse(written)
        .filter(|address| !matches!(address, Address::Unix(_)))
        .ok_or_else(|| format!("{written:?} is neither an address nor a host name"))
}

/// The ports that are switched on, and `true` if only the port with TLS is.
fn ports(
    instance: &Instance<'_>,
    labels: &Labels,
    problems: &mut Vec<String>,
) -> Result<(Vec<EndpointPort>, bool), Unusable> {
    let spoken = labels.get("protocol").and_then(|p| Protocol::parse(p));
    let safely = if spoken.is_some_and(Protocol::is_http2) { Protocol::Tls } else { Protocol::Https };
    let mut ports = Vec::with_capacity(1);
    let mut add = |port: Option<Result<Port, String>>, protocol| match port {
        Some(Ok(number)) => {
            ports.push(EndpointPort { number, protocol, name: None });
            true
        }
        Some(Err(problem)) => {
            problems.push(problem);
            false
        }
        None => false,
    };
    // The defaults of Eureka's own clients: the one is on, the other off.
    let plain = add(open(&instance.port, "port", true), spoken);
    let secure = add(open(&instance.secure_port, "securePort", false), Some(safely));
    match grpc_port(labels) {
        Some(Ok(port)) => ports.push(port),
        Some(Err(problem)) => problems.push(problem),
        None => {}
    }
    if !ports.is_empty() {
        return Ok((ports, secure && !plain));
    }
    match problems.is_empty() {
        true => Err(Unusable::Off("both of its ports are switched off".into())),
        false => Err(Unusable::Unreadable(std::mem::take(problems).join("; "))),
    }
}

/// The number of a port; `None` if the port is absent or switched off.
fn open(port: &Option<WirePort<'_>>, name: &str, default: bool) -> Option<Result<Port, String>> {
    let WirePort { number, enabled } = port.as_ref()?;
    if !enabled.unwrap_or(default) {
        return None;
    }
    let read = number.as_ref().ok_or_else(|| "it has no number".to_owned()).and_then(Loose::port);
    Some(read.map_err(|problem| format!("{name}: {problem}")))
}

/// The locality from metadata, else from the cloud's availability zone, whose name begins with its region's.
fn locality(instance: &Instance<'_>, labels: &Labels, rules: &Rules) -> Locality {
    let offered = instance.data_center_info.pointer("/metadata/availability-zone").and_then(Value::as_str);
    let offered = offered.filter(|zone| !zone.is_empty());
    let around = offered.map(|zone| Text::from(region_of(zone)));
    let region = rules.region.clone().or(around).unwrap_or_default();
    metadata::locality(labels, Locality::new(region, offered.unwrap_or_default(), ""))
}

/// The region of an availability zone. AWS: up to the first part that begins with a digit, without its letter
/// (`eu-west-1a`; the local zone `us-west-2-lax-1a` belongs to `us-west-2`). Others add a letter (`us-central1-a`).
fn region_of(zone: &str) -> &str {
    let mut end = 0;
    for part in zone.split('-') {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 0 {
            return &zone[..end + digits];
        }
        end += part.len() + 1;
    }
    match zone.rsplit_once('-') {
        Some((region, letter)) if letter.len() == 1 => region,
        _ => "",
    }
}

/// The trimmed text of a field; `None` if it is absent or empty.
fn text<'a>(field: &'a Option<Loose<'_>>) -> Option<&'a str> {
    field.as_ref().and_then(Loose::text)
}
