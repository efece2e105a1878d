//! Consul's instances to the model. Pure; what cannot be read is noted, and its neighbours serve.

use super::{
    config::{AddressOf, Rules, Serves},
    wire::{self, Instance, InstanceCheck, Node, Registration, text},
};
use crate::{
    model::{
        Address, Endpoint, EndpointPort, Health, Labels, Locality, Note, Port, Protocol, Reason, Service, ServiceId,
        Text, Weight,
    },
    registry::{
        instances::{Instances, Place, Unreadable},
        lenient::{self, Loose},
        metadata::{self, grpc_port, label, labels},
    },
};
use serde_json::{Map, Value, value::RawValue};
use std::collections::BTreeSet;

/// The id of the check that puts a node into maintenance.
const NODE_MAINTENANCE: &str = "_node_maintenance";
/// The beginning of the id of the check that puts an instance into maintenance.
const SERVICE_MAINTENANCE: &str = "_service_maintenance";
/// The label that has all tags of an instance, joined by commas.
const TAGS: &str = "tags";

/// What the instances of one service are converted to.
#[derive(Debug, Default)]
pub(super) struct Converted {
    /// The service; `None` if it has no instance that is taken, or none can be read.
    pub(super) service: Option<Service>,
    /// The nodes of all its instances, also of those that are not taken.
    pub(super) nodes: BTreeSet<Text>,
    /// Why none of its instances can be read; `None` if one can be read, or there is none.
    pub(super) unreadable: Option<Text>,
}

/// What one instance is converted to.
#[derive(Debug)]
enum Taken {
    Endpoint(Endpoint, Vec<String>),
    /// It is left out on purpose; the note says why.
    LeftOut(Note),
    /// It is not one that the rules take, such as a sidecar or one with another tag. No note is made.
    Foreign,
}

/// A service with its instances; `last` is its last good value.
pub(super) fn service(id: &ServiceId, list: &[&RawValue], rules: &Rules, last: Option<&Service>) -> Converted {
    let (mut instances, mut nodes, mut any) = (Instances::default(), BTreeSet::new(), false);
    for raw in list {
        let instance: Instance<'_> = match serde_json::from_str(raw.get()) {
            Ok(instance) => instance,
            Err(error) => {
                let subject = raw.get().chars().take(80).collect();
                instances.unreadable(Unreadable { subject, why: error.to_string(), place: None });
                any = true;
                continue;
            }
        };
        nodes.insert(wire::whole(&instance.node.node));
        match taken(&instance, rules) {
            Ok(Taken::Endpoint(endpoint, problems)) => instances.read(endpoint, problems),
            Ok(Taken::LeftOut(note)) => instances.left_out(note),
            Ok(Taken::Foreign) => continue,
            Err(unreadable) => instances.unreadable(unreadable),
        }
        any = true;
    }
    if !any {
        return Converted { service: None, nodes, unreadable: None };
    }
    match instances.finish(last) {
        Err(why) => Converted { service: None, nodes, unreadable: Some(why) },
        Ok((endpoints, notes)) => {
            let service = Service { notes, ..Service::new(id.clone(), endpoints) };
            Converted { service: Some(service), nodes, unreadable: None }
        }
    }
}

fn taken(instance: &Instance<'_>, rules: &Rules) -> Result<Taken, Unreadable> {
    let Instance { node, service, checks } = instance;
    // `connect-proxy`, `mesh-gateway`, ...: they speak for a service, and only to each other.
    let is_proxy = text(&service.kind).is_some_and(|kind| kind != "typical");
    let tags = wire::texts(&service.tags);
    let has_one = |wanted: &[Text]| wanted.iter().any(|tag| tags.contains(tag));
    if (is_proxy && !rules.proxies)
        || has_one(&rules.exclude_tags)
        || !(rules.include_tags.is_empty() || has_one(&rules.include_tags))
    {
        return Ok(Taken::Foreign);
    }
    let subject = format!("{} on {}", text(&service.id).unwrap_or("?"), text(&node.node).unwrap_or("?"));
    if let Some(path) = text(&service.socket_path) {
        // Whoever may register would lead proxies to any socket of their own machine.
        let why = format!("it is reached by the socket {path:?}, which is one of its own machine");
        return Ok(Taken::LeftOut(Note::new(Reason::AddressInvalid, subject, why)));
    }
    let unreadable = |why, place| Unreadable { subject: subject.clone(), why, place };
    let (address, port) = address(node, service, rules.address).map_err(|why| unreadable(why, None))?;
    let port = match port.as_ref().map(Loose::port) {
        Some(Ok(port)) => port,
        None => return Ok(Taken::LeftOut(no_port(subject))),
        Some(Err(_)) if port.as_ref().and_then(Loose::integer) == Some(0) => {
            return Ok(Taken::LeftOut(no_port(subject)));
        }
        Some(Err(why)) => return Err(unreadable(why, Some(Place { address, port: None }))),
    };
    let mut problems = Vec::new();
    let labels = labels_of(service, &tags);
    let (health, enabled, warned) = health(checks.as_deref().unwrap_or_default(), rules);
    let weight = weight(service, &tags, &labels, warned, &mut problems);
    let endpoint = Endpoint {
        address,
        ports: ports(port, &labels, &tags, &mut problems).into(),
        weight,
        health,
        enabled,
        locality: locality(node, service, &labels),
        secure: labels.get("secure").is_some_and(|said| said.eq_ignore_ascii_case("true")),
        labels,
    };
    Ok(Taken::Endpoint(endpoint, problems))
}

fn no_port(subject: String) -> Note {
    Note::new(Reason::EntryInvalid, subject, "it is registered without a port")
}

/// The address of the instance, or of its node if the instance has none, and the port that belongs to it.
fn address<'a>(
    node: &Node<'_>,
    service: &'a Registration<'_>,
    wanted: AddressOf,
) -> Result<(Address, Option<Loose<'a>>), String> {
    let mut port = service.port.clone();
    let mut written = None;
    if let AddressOf::Tagged(name) = wanted {
        let own = service.tagged_addresses.get(name);
        if let Some(address) = own.and_then(|own| Loose::of(own.get("Address")?)) {
            written = address.text().map(str::to_owned);
            // One without a port of its own is at that of the service.
            let own = own.and_then(|own| Loose::of(own.get("Port")?)).filter(|port| port.integer() != Some(0));
            port = own.filter(|_| written.is_some()).or(port);
        }
        if written.is_none() && text(&service.address).is_none() {
            let nodes = node.tagged_addresses.get(name).and_then(Loose::of);
            written = nodes.and_then(|address| address.text().map(str::to_owned));
        }
    }
    let written = written.or_else(|| Some(text(&service.address).or(text(&node.address))?.to_owned()));
    let written = written.ok_or("neither it nor its node has an address")?;
    let address = Address::parse(&written)
        .filter(|address| !matches!(address, Address::Unix(_)))
        .ok_or_else(|| format!("{written:?} is neither an address nor a host name"))?;
    Ok((address, port))
}

/// The labels: metadata, then tags of the form `key=value` for keys that metadata lacks, and all tags as [`TAGS`].
fn labels_of(service: &Registration<'_>, tags: &BTreeSet<Text>) -> Labels {
    let pairs = tags.iter().filter_map(|tag| tag.split_once('=')).map(|(key, value)| (key.trim(), value.trim()));
    let mut labels_: Labels =
        pairs.filter(|(key, _)| !key.is_empty()).map(|(key, value)| (key.into(), value.into())).collect();
    if !tags.is_empty() {
        let all: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
        labels_.insert(TAGS.into(), all.join(",").into());
    }
    labels_.extend(labels(service.meta.clone()));
    labels_
}

/// The health by the worst of all checks, as Consul judges it; then `false` if it is in maintenance, and `true` if a
/// check warns.
fn health(checks: &[InstanceCheck<'_>], rules: &Rules) -> (Health, bool, bool) {
    let (mut critical, mut warned, mut enabled) = (false, false, true);
    for check in checks {
        let id = text(&check.id).unwrap_or_default();
        match text(&check.status).unwrap_or_default() {
            "passing" => {}
            "warning" => warned = true,
            _ if id == NODE_MAINTENANCE || id.starts_with(SERVICE_MAINTENANCE) => enabled = false,
            _ => critical = true,
        }
    }
    let health = match (critical, warned, rules.warning) {
        (true, ..) | (false, true, Serves::No) => Health::Unhealthy,
        (false, true, Serves::Yes) => Health::Healthy,
        (false, false, _) if checks.is_empty() => Health::Unknown,
        (false, false, _) => Health::Healthy,
    };
    (health, enabled, warned)
}

/// The weight from a tag `weight:5`, else from the label `weight`, else from `Weights`, which Consul's own DNS uses.
fn weight(
    service: &Registration<'_>,
    tags: &BTreeSet<Text>,
    labels: &Labels,
    warned: bool,
    problems: &mut Vec<String>,
) -> Weight {
    let tagged = tags.iter().find_map(|tag| tag.strip_prefix("weight:")).map(Value::from);
    let labelled = || label(labels, "weight").map(|text| Value::from(&*text));
    let word = if warned { "Warning" } else { "Passing" };
    let written = tagged.or_else(labelled).or_else(|| service.weights.get(word).cloned());
    lenient::weight(written.as_ref(), 1.0, problems)
}

/// The instance's port, and a second one for gRPC if the label `gRPC_port` has one.
fn ports(number: Port, labels: &Labels, tags: &BTreeSet<Text>, problems: &mut Vec<String>) -> Vec<EndpointPort> {
    let mut spoken = tags.iter().filter_map(|tag| Protocol::parse(tag));
    let tagged = spoken.next().filter(|_| spoken.next().is_none());
    let protocol = labels.get("protocol").and_then(|protocol| Protocol::parse(protocol)).or(tagged);
    let mut ports = vec![EndpointPort { number, protocol, name: None }];
    match grpc_port(labels) {
        Some(Ok(port)) => ports.push(port),
        Some(Err(problem)) => problems.push(problem),
        None => {}
    }
    ports
}

/// The locality from labels, else from `Locality` of the instance or its node, else from the node's metadata. Without a
/// region there, the datacenter is the region.
fn locality(node: &Node<'_>, service: &Registration<'_>, own: &Labels) -> Locality {
    let said = |map: &Map<String, Value>| {
        let part = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Locality::new(part("Region"), part("Zone"), "")
    };
    let datacenter = text(&node.datacenter).unwrap_or_default();
    let of_node = metadata::locality(&labels(node.meta.clone()), Locality::new(datacenter, "", ""));
    let declared = [said(&service.locality), said(&node.locality)].into_iter().find(|locality| !locality.is_empty());
    metadata::locality(own, declared.unwrap_or(of_node))
}
