//! Nacos' services to the model. Pure; what cannot be read costs as little as [`instances`] says, and is named in a note.

use crate::{
    model::{
        Address, CLUSTER, Endpoint, EndpointPort, Health, Locality, Note, OTHER_CLUSTER, Port, Protocol, Reason,
        Service, ServiceId, Text, Weight,
    },
    registry::{
        dubbo,
        instances::{Instances, Place, Unreadable},
        lenient::{self, Loose},
        metadata,
        nacos::{
            api::wire::{Detail, Instance, Named},
            name::group_and_name,
        },
    },
};
use serde_json::{
    Value,
    value::{Map, RawValue},
};

const DEFAULT_CLUSTER: &str = "DEFAULT";
/// Nacos' own default, to which weights are relative.
const DEFAULT_WEIGHT: f64 = 1.0;
/// Metadata of instances that a gateway has put into Nacos by itself: to serve them again would lead in a circle.
const SKIP_MARK: (&str, &str) = ("register-resource", "mcp-bridge");
/// The most characters of an entry that a note shows.
const SHOWN: usize = 80;

/// Which of a service's enabled instances serve: what its protection threshold depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vitality {
    /// All of them, or there are none: a threshold changes nothing.
    All,
    /// Some serve and some do not, so a threshold may decide.
    Some,
    /// None serves, so even a threshold of 0 may decide.
    None,
}

/// The id of a service from its name.
pub(crate) fn id(registry: &Text, namespace: &Text, named: &Named<'_>) -> ServiceId {
    let (group, name) = group_and_name(&named.service_name, named.group_name.as_deref());
    ServiceId::new(registry.clone(), namespace.clone(), group, name)
}

/// A service of a bulk list, whose health is the true one. Its threshold is read elsewhere; until then nothing protects it.
/// `last` is its last good value.
///
/// # Errors
/// If it has instances and none can be read; the text says why.
pub(crate) fn listed(id: ServiceId, detail: Detail<'_>, last: Option<&Service>) -> Result<Service, Text> {
    let (mut instances, is_dubbo) = (Instances::default(), dubbo::is_provider(&id.name));
    for (name, cluster) in &detail.cluster_map {
        cluster.hosts.iter().for_each(|host| add(&mut instances, host, Some(name), is_dubbo));
    }
    let mut service = service(id, instances, last)?;
    let (metadata, _) = fields(detail.metadata);
    service.labels.extend(metadata::labels(metadata));
    Ok(service)
}

/// A service from a list of its instances. `protected` is true if the server has applied its threshold to the health.
///
/// # Errors
/// As for [`listed`].
pub(crate) fn asked(
    id: ServiceId,
    hosts: &[&RawValue],
    protected: bool,
    last: Option<&Service>,
) -> Result<Service, Text> {
    let (mut instances, is_dubbo) = (Instances::default(), dubbo::is_provider(&id.name));
    hosts.iter().for_each(|host| add(&mut instances, host, None, is_dubbo));
    Ok(Service { protected, ..service(id, instances, last)? })
}

pub(crate) fn vitality(service: &Service) -> Vitality {
    let (mut serve, mut do_not) = (false, false);
    for endpoint in service.endpoints.iter().filter(|endpoint| endpoint.enabled) {
        serve |= endpoint.health.serves();
        do_not |= !endpoint.health.serves();
    }
    match (serve, do_not) {
        (_, false) => Vitality::All,
        (true, true) => Vitality::Some,
        (false, true) => Vitality::None,
    }
}

fn service(id: ServiceId, instances: Instances, last: Option<&Service>) -> Result<Service, Text> {
    let (endpoints, notes) = instances.finish(last)?;
    // What instances say goes before positions in the name; while there are none, it is what they last said.
    let parameters = endpoints.first().map(|endpoint| &endpoint.labels).or(last.map(|last| &last.labels));
    let parameters = parameters.cloned().unwrap_or_default();
    let provided = dubbo::Identity::of_name(&id.name, dubbo::in_metadata(&parameters));
    let mut service = Service::new(id, endpoints);
    service.labels = provided.map(|identity| identity.labels()).unwrap_or_default();
    service.notes = notes;
    Ok(service)
}

fn add(instances: &mut Instances, host: &RawValue, cluster: Option<&str>, is_dubbo: bool) {
    let instance = match serde_json::from_str::<Instance>(host.get()) {
        Ok(instance) => instance,
        Err(error) => {
            let subject = host.get().chars().take(SHOWN).collect();
            return instances.unreadable(Unreadable { subject, why: error.to_string(), place: None });
        }
    };
    let (key, value) = SKIP_MARK;
    if instance.metadata.get(key).and_then(Value::as_str) == Some(value) {
        let subject = subject(&instance).unwrap_or_default();
        return instances.left_out(Note::new(Reason::Excluded, subject, format!("its metadata has {key}={value}")));
    }
    match endpoint(instance, cluster) {
        Ok((mut endpoint, mut problems)) => {
            if is_dubbo {
                problems.extend(as_provider(&mut endpoint));
            }
            instances.read(endpoint, problems);
        }
        Err(mut unreadable) => {
            if unreadable.subject.is_empty() {
                unreadable.subject = host.get().chars().take(SHOWN).collect();
            }
            instances.unreadable(unreadable);
        }
    }
}

/// Applies Dubbo's own parameters to an instance, such as its weight, and returns what of them cannot be read.
fn as_provider(endpoint: &mut Endpoint) -> Option<String> {
    let (weight, problem) = dubbo::weight(dubbo::in_metadata(&endpoint.labels));
    let weight = Weight::relative(endpoint.weight.get() * weight.get(), DEFAULT_WEIGHT);
    endpoint.weight = weight.unwrap_or(endpoint.weight);
    endpoint.enabled &= !dubbo::is_disabled(dubbo::in_metadata(&endpoint.labels));
    problem
}

/// The endpoint, with the problems of fields that could not be read.
fn endpoint(instance: Instance, cluster: Option<&str>) -> Result<(Endpoint, Vec<String>), Unreadable> {
    let (address, number) = place(&instance)?;
    let mut problems = Vec::new();
    let truth = |value: &Value| Loose::of(value)?.truth();
    let flag = |key, value, problems: &mut _| lenient::field(key, Some(value), truth, problems);
    let weight = lenient::weight(Some(&instance.weight), DEFAULT_WEIGHT, &mut problems);
    let healthy = flag("healthy", &instance.healthy, &mut problems);
    let healthy = healthy.or_else(|| flag("valid", &instance.valid, &mut problems));
    let enabled = flag("enabled", &instance.enabled, &mut problems).unwrap_or(true);
    let own = |value: &Value| value.as_str().map(Text::from);
    let own = lenient::field("clusterName", Some(&instance.cluster_name), own, &mut problems);
    let cluster = own.or(cluster.map(Text::from)).filter(|cluster| !cluster.is_empty());
    let (metadata, problem) = fields(instance.metadata);
    problems.extend(problem);
    let mut labels = metadata::labels(metadata);
    let mut ports =
        vec![EndpointPort { number, protocol: labels.get("protocol").and_then(|p| Protocol::parse(p)), name: None }];
    if let Some((protocol, others)) = dubbo::endpoints(&labels, number) {
        ports[0].protocol = ports[0].protocol.or(protocol);
        ports.extend(others);
    }
    match metadata::grpc_port(&labels) {
        Some(Ok(port)) => ports.push(port),
        Some(Err(problem)) => problems.push(problem),
        None => {}
    }
    // The cluster, which people name after data centres, is the zone where the metadata does not say it.
    let zone = cluster.clone().filter(|cluster| **cluster != *DEFAULT_CLUSTER).unwrap_or_default();
    let locality = metadata::locality(&labels, Locality::new("", zone, ""));
    if let Some(cluster) = cluster {
        let key = if labels.contains_key(CLUSTER) { OTHER_CLUSTER } else { CLUSTER };
        labels.entry(key.into()).or_insert(cluster);
    }
    let health = match healthy {
        Some(true) => Health::Healthy,
        Some(false) => Health::Unhealthy,
        None => Health::Unknown,
    };
    let secure = labels.get("secure").is_some_and(|s| s.eq_ignore_ascii_case("true"));
    let ports = ports.into();
    Ok((Endpoint { address, ports, weight, health, enabled, locality, labels, secure }, problems))
}

/// Address and port of an instance. The address is no path: whoever may register would lead proxies to any socket of
/// their own machine.
fn place(instance: &Instance) -> Result<(Address, Port), Unreadable> {
    let subject = subject(instance).unwrap_or_default();
    let address = instance.ip.as_str().and_then(Address::parse).filter(|a| !matches!(a, Address::Unix(_)));
    let Some(address) = address else {
        let why = format!("ip {} is neither an address nor a host name", instance.ip);
        return Err(Unreadable { subject, why, place: None });
    };
    let number = Loose::of(&instance.port).and_then(|port| port.integer());
    let port = number.ok_or_else(|| format!("port {} is no number", instance.port));
    match port.and_then(|number| Port::new(number).map_err(|error| error.to_string())) {
        Ok(port) => Ok((address, port)),
        Err(why) => Err(Unreadable { subject, why, place: Some(Place { address, port: None }) }),
    }
}

/// Address and port of an instance as they stand in its entry, by which people find it. `None` without an address.
fn subject(instance: &Instance) -> Option<String> {
    let ip = instance.ip.as_str()?;
    let ip = if ip.contains(':') && !ip.starts_with('[') { format!("[{ip}]") } else { ip.to_owned() };
    Some(match &instance.port {
        Value::Null => ip,
        Value::String(port) => format!("{ip}:{port}"),
        port => format!("{ip}:{port}"),
    })
}

/// The fields of metadata, and what is wrong with it. Some languages write an empty map as an empty list.
fn fields(metadata: Value) -> (Map<String, Value>, Option<String>) {
    match metadata {
        Value::Object(fields) => (fields, None),
        Value::Null => (Map::new(), None),
        Value::Array(list) if list.is_empty() => (Map::new(), None),
        _ => (Map::new(), Some("metadata is no map".to_owned())),
    }
}
