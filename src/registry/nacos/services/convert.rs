//! Nacos' services to the model. Pure; one bad instance is left out with a note, and its neighbours serve.

use crate::{
    model::{
        Address, Endpoint, EndpointPort, Fraction, Health, Locality, Note, Port, Protocol, Reason, Service, ServiceId,
        Text, Weight,
    },
    registry::{
        dubbo, metadata,
        nacos::{
            api::wire::{Detail, Instance, Named},
            name::group_and_name,
        },
    },
};
use serde_json::value::RawValue;

const DEFAULT_CLUSTER: &str = "DEFAULT";
/// Nacos' own default, to which weights are relative.
const DEFAULT_WEIGHT: f64 = 1.0;

/// The id of a service from its name.
pub(crate) fn id(registry: &Text, namespace: &Text, named: &Named<'_>) -> ServiceId {
    let (group, name) = group_and_name(&named.service_name, named.group_name.as_deref());
    ServiceId::new(registry.clone(), namespace.clone(), group, name)
}

/// A service of a bulk list, whose health is the true one. Its threshold is read elsewhere; until then it is Nacos'
/// default, 0.
pub(crate) fn listed(id: ServiceId, detail: Detail<'_>) -> Service {
    let mut parts = Parts::default();
    for (name, cluster) in detail.cluster_map.unwrap_or_default() {
        for host in cluster.and_then(|c| c.hosts).unwrap_or_default() {
            parts.add(host, Some(&name));
        }
    }
    let mut service = parts.service(id);
    service.labels.extend(metadata::labels(detail.metadata.into_iter().flatten()));
    service.protect_threshold = Some(Fraction::ZERO);
    service
}

/// A service of v1's list of instances. The server has applied its threshold to the health if it says so.
pub(crate) fn asked(id: ServiceId, hosts: &[&RawValue], protected: bool) -> Service {
    let mut parts = Parts::default();
    for host in hosts {
        parts.add(host, None);
    }
    let mut service = parts.service(id);
    service.protected = protected;
    service
}

/// Whether protection may depend on the threshold: with none or all healthy it does not.
pub(crate) fn is_mixed(service: &Service) -> bool {
    let mut enabled = service.endpoints.iter().filter(|e| e.enabled).map(|e| e.health.serves());
    let first = enabled.next();
    enabled.any(|serves| Some(serves) != first)
}

#[derive(Default)]
struct Parts {
    endpoints: Vec<Endpoint>,
    notes: Vec<Note>,
}

impl Parts {
    fn add(&mut self, host: &RawValue, cluster: Option<&str>) {
        match serde_json::from_str::<Instance>(host.get()) {
            Ok(instance) => {
                let subject = format!("{}:{}", instance.ip, instance.port);
                if let Some((key, value)) = skip_mark(&instance) {
                    self.notes.push(Note::new(Reason::Excluded, subject, format!("its metadata has {key}={value}")));
                    return;
                }
                match endpoint(instance, cluster) {
                    Ok((endpoint, problem)) => {
                        self.endpoints.push(endpoint);
                        self.notes.extend(problem.map(|p| Note::new(Reason::EntryInvalid, subject, p)));
                    }
                    Err(problem) => self.notes.push(Note::new(Reason::EntryInvalid, subject, problem)),
                }
            }
            Err(error) => {
                let subject: String = host.get().chars().take(80).collect();
                self.notes.push(Note::new(Reason::EntryInvalid, subject, error.to_string()));
            }
        }
    }

    fn service(mut self, id: ServiceId) -> Service {
        let first = self.endpoints.first().map(|endpoint| endpoint.labels.clone()).unwrap_or_default();
        let provided = dubbo::Identity::of_name(&id.name, dubbo::in_metadata(&first));
        let labels = provided.map(|identity| identity.labels()).unwrap_or_default();
        if !labels.is_empty() {
            self.endpoints.iter_mut().for_each(as_provider);
        }
        self.notes.sort();
        self.endpoints.sort();
        // The very same instance twice says nothing more than once.
        self.endpoints.dedup();
        let mut service = Service::new(id, self.endpoints);
        service.labels = labels;
        service.notes = self.notes;
        service
    }
}

/// The mark of what a gateway has put into Nacos by itself: to serve it again would lead in a circle.
const SKIP_MARK: (&str, &str) = ("register-resource", "mcp-bridge");

fn skip_mark(instance: &Instance) -> Option<(&'static str, &'static str)> {
    let (key, value) = SKIP_MARK;
    let found = instance.metadata.as_ref()?.get(key)?.as_str()?;
    (found == value).then_some(SKIP_MARK)
}

/// What Dubbo's own parameters say of an instance, beyond what Nacos says.
fn as_provider(endpoint: &mut Endpoint) {
    let weight = endpoint.weight.get() * dubbo::weight(dubbo::in_metadata(&endpoint.labels)).0.get();
    endpoint.weight = Weight::relative(weight, DEFAULT_WEIGHT).unwrap_or(endpoint.weight);
    endpoint.enabled &= !dubbo::is_disabled(dubbo::in_metadata(&endpoint.labels));
}

/// An endpoint, with what had to be left out of it.
fn endpoint(instance: Instance, cluster: Option<&str>) -> Result<(Endpoint, Option<String>), String> {
    // Nor is it a path: whoever may register would lead proxies to any socket of their own machine.
    let address = Address::parse(&instance.ip)
        .filter(|address| !matches!(address, Address::Unix(_)))
        .ok_or_else(|| format!("{:?} is neither an address nor a host name", instance.ip))?;
    let number = Port::new(instance.port).map_err(|e| e.to_string())?;
    let weight =
        Weight::relative(instance.weight.unwrap_or(DEFAULT_WEIGHT), DEFAULT_WEIGHT).map_err(|e| e.to_string())?;
    let cluster = instance.cluster_name.as_deref().or(cluster).filter(|c| !c.is_empty());
    let mut labels = metadata::labels(instance.metadata.into_iter().flatten());
    let mut ports =
        vec![EndpointPort { number, protocol: labels.get("protocol").and_then(|p| Protocol::parse(p)), name: None }];
    if let Some((protocol, others)) = dubbo::endpoints(&labels, number) {
        ports[0].protocol = ports[0].protocol.or(protocol);
        ports.extend(others);
    }
    let mut problem = None;
    match metadata::grpc_port(&labels) {
        Some(Ok(port)) => ports.push(port),
        Some(Err(text)) => problem = Some(text),
        None => {}
    }
    // The cluster, which people name after data centres, is the zone where the metadata does not say it.
    let zone = cluster.filter(|c| *c != DEFAULT_CLUSTER).map(Text::from).unwrap_or_default();
    let locality = metadata::locality(&labels, Locality { zone, ..Locality::default() });
    if let Some(cluster) = cluster {
        labels.entry("cluster".into()).or_insert_with(|| cluster.into());
    }
    let health = match instance.healthy.or(instance.valid) {
        Some(true) => Health::Healthy,
        Some(false) => Health::Unhealthy,
        None => Health::Unknown,
    };
    let secure = labels.get("secure").is_some_and(|s| s.eq_ignore_ascii_case("true"));
    let enabled = instance.enabled.unwrap_or(true);
    Ok((Endpoint { address, ports, weight, health, enabled, locality, labels, secure }, problem))
}
