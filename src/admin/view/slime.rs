//! What is served to Istiods, in the shapes of Slime's meshregistry.

use super::service_entry;
use crate::{
    admin::Client,
    catalog::{Catalog, State},
    model::{Address, Hostname, PublishedService},
    pb::istio::{mcp::v1alpha1::Resource as Envelope, networking::v1alpha3::ServiceEntry},
    resource::{Kind, Readiness, ViewGeneration},
};
use prost::Message;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The name under which Slime keeps entries, whatever an Istiod asks for.
const TYPE: &str = "networking.istio.io/v1alpha3/ServiceEntry";

/// Which entries are asked for.
#[derive(Debug, Default)]
pub(in crate::admin) struct Wanted {
    pub(in crate::admin) namespace: Option<String>,
    pub(in crate::admin) name: Option<String>,
    /// A type, in any API version, or its kind alone.
    pub(in crate::admin) of_type: Option<String>,
    /// A version that is known already.
    pub(in crate::admin) other_than: Option<String>,
}

/// How entries are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) enum Layout {
    ByType,
    List,
    Plain,
}

/// What was put together.
#[derive(Debug)]
pub(in crate::admin) enum Cached {
    One(Value),
    Several(Vec<Value>),
}

impl Wanted {
    fn wants(&self, envelope: &Envelope) -> bool {
        let Some(metadata) = &envelope.metadata else { return false };
        let (namespace, name) = metadata.name.split_once('/').unwrap_or_default();
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|w| w.is_empty() || w == value);
        let of_type = self.of_type.as_deref().filter(|t| !t.is_empty());
        is(&self.namespace, namespace)
            && is(&self.name, name)
            && of_type.is_none_or(|t| t == "ServiceEntry" || Kind::of(t) == Some(Kind::ServiceEntry))
            && self.other_than.as_ref().is_none_or(|version| *version != metadata.version)
    }
}

/// The entries that are wanted.
pub(in crate::admin) fn cached(view: &ViewGeneration, wanted: &Wanted, kubernetes: bool, layout: Layout) -> Cached {
    let envelopes = view.get(Kind::ServiceEntry).iter().filter_map(|r| Envelope::decode(r.body()).ok());
    let form = if kubernetes { as_kubernetes } else { as_cached };
    let items: Vec<Value> = envelopes.filter(|envelope| wanted.wants(envelope)).map(|e| form(&e)).collect();
    match layout {
        Layout::ByType if items.is_empty() => Cached::One(json!({})),
        Layout::ByType => Cached::One(json!({ TYPE: items })),
        Layout::List => Cached::One(items.into()),
        Layout::Plain => Cached::Several(items),
    }
}

/// With the fields of Istio's own configuration objects.
fn as_cached(envelope: &Envelope) -> Value {
    let (metadata, spec) = parts(envelope);
    let mut item = Map::new();
    item.insert(
        "type".into(),
        json!({ "group": "networking.istio.io", "version": "v1alpha3", "kind": "ServiceEntry" }),
    );
    item.extend(metadata);
    item.insert("Spec".into(), spec);
    item.insert("Status".into(), Value::Null);
    item.into()
}

fn as_kubernetes(envelope: &Envelope) -> Value {
    let (metadata, spec) = parts(envelope);
    json!({ "apiVersion": "networking.istio.io/v1alpha3", "kind": "ServiceEntry", "metadata": metadata, "spec": spec })
}

fn parts(envelope: &Envelope) -> (Map<String, Value>, Value) {
    let mut value = service_entry::envelope(envelope).unwrap_or_default();
    let metadata = value["metadata"].as_object().cloned().unwrap_or_default();
    (metadata, value["spec"].take())
}

/// Why it is not ready, in Slime's words.
pub(in crate::admin) fn unready(catalog: &Catalog, stopping: bool) -> Option<String> {
    if stopping {
        return Some("stopping".into());
    }
    if catalog.sync != Readiness::Waiting {
        return None;
    }
    let waits = |r: &&std::sync::Arc<crate::catalog::RegistryStatus>| {
        r.required && !matches!(r.state, State::Synced | State::Stale)
    };
    let names: Vec<&str> = catalog.registries.iter().filter(waits).map(|r| &*r.name).collect();
    Some(format!("xds not ready source not ready {}", names.join(",")))
}

/// The metrics that users of Slime graph, by kind of registry, as lines of OpenMetrics.
pub(in crate::admin) fn metrics(catalog: &Catalog, pushes: u64) -> String {
    let kinds: BTreeSet<&str> = catalog.registries.iter().map(|registry| registry.kind).collect();
    let of = |kind: &str| -> [usize; 4] {
        let all: Vec<_> = catalog.registries.iter().filter(|registry| registry.kind == kind).collect();
        let count = |right: &dyn Fn(State) -> bool| all.iter().filter(|registry| right(registry.state)).count();
        let ready = count(&|state| matches!(state, State::Synced | State::Stale));
        let entries = catalog.services.values().filter(|service| feeds(catalog, service, kind)).count();
        [all.len(), usize::from(ready == all.len()), usize::from(count(&|s| s == State::Stale) == 0), entries]
    };
    let values: Vec<_> = kinds.iter().map(|kind| (kind, of(kind))).collect();
    let names = ["enabled_source", "source_ready", "source_connection_status", "service_entry_total"];
    let mut text = String::new();
    for (place, name) in names.iter().enumerate() {
        text += &format!("# TYPE meshregistry_{name} gauge\n");
        for (kind, values) in &values {
            text += &format!("meshregistry_{name}{{source=\"{kind}\"}} {}\n", values[place]);
        }
    }
    text + &format!("# TYPE meshregistry_mcp_push_count unknown\nmeshregistry_mcp_push_count {pushes}\n")
}

/// By stream: who it is, and what it was sent and took of each type.
pub(in crate::admin) fn clients(clients: &[Client]) -> BTreeMap<String, Value> {
    let client = |client: &Client| {
        let status: Map<String, Value> = client
            .types
            .iter()
            .map(|of| {
                let version = |version: Option<&String>| version.cloned().unwrap_or_default();
                let pushed = version(of.sent.as_ref().map(|sent| &sent.version));
                let taken = version(of.acknowledged.as_ref().map(|acknowledged| &acknowledged.version));
                (of.type_url.clone(), json!({ "PushVer": pushed, "AckVer": taken }))
            })
            .collect();
        let id = client.stream.to_string();
        let value = json!({ "ClientId": client.node.id, "ConnId": id, "Addr": client.peer, "PushStatus": status });
        (id, value)
    };
    clients.iter().map(client).collect()
}

/// The registries of a kind. Where they are is configuration, which no page shows.
pub(in crate::admin) fn registries(catalog: &Catalog, kind: &str) -> Vec<Value> {
    let of_kind = catalog.registries.iter().filter(|registry| registry.kind == kind);
    of_kind.map(|registry| json!({ "registry_id": &*registry.name, "state": registry.state.name() })).collect()
}

/// The entries of all services that registries of a kind feed, by their names.
pub(in crate::admin) fn entries_of(catalog: &Catalog, view: &ViewGeneration, kind: &str) -> BTreeMap<String, Value> {
    let entries = fed(catalog, view, kind).into_iter();
    entries.map(|(_, name, spec)| (name, spec)).collect()
}

/// Dubbo's interfaces: for each, its hosts and their entries.
pub(in crate::admin) fn interfaces(catalog: &Catalog, view: &ViewGeneration, interface: Option<&str>) -> Value {
    let mut cache: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (service, _, spec) in fed(catalog, view, "zookeeper") {
        let of = interface_of(service);
        if interface.is_none_or(|wanted| wanted == of) {
            let host = spec["hosts"][0].as_str().unwrap_or_default().to_owned();
            let meta: BTreeMap<&str, &str> = service.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
            cache.entry(of).or_default().insert(host, json!({ "ServiceEntry": spec, "Meta": meta }));
        }
    }
    json!({ "cache": cache })
}

/// The instances of Dubbo's interfaces.
pub(in crate::admin) fn instances(catalog: &Catalog, interface: Option<&str>) -> Vec<Value> {
    let services = catalog.services.values().filter(|service| feeds(catalog, service, "zookeeper"));
    let services = services.filter(|service| interface.is_none_or(|wanted| wanted == interface_of(service)));
    let instance = |service: &PublishedService, endpoint: &crate::model::PublishedEndpoint| {
        let metadata: BTreeMap<&str, &str> = endpoint.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
        let address = match &endpoint.address {
            Address::Ip(ip) => ip.to_string(),
            other => other.to_string(),
        };
        let port = endpoint.ports.first().map(|(_, port)| port.get());
        json!({ "interface": interface_of(service), "address": address, "port": port, "metadata": metadata })
    };
    services.flat_map(|service| service.endpoints.iter().map(move |e| instance(service, e))).collect()
}

/// The interface that the registry calls it by: without group and version, which Slime's key has behind colons.
fn interface_of(service: &PublishedService) -> String {
    let name = service.sources.first().map_or("", |source| &*source.name);
    name.split(':').next().unwrap_or_default().to_owned()
}

fn feeds(catalog: &Catalog, service: &PublishedService, kind: &str) -> bool {
    let of_kind = |name: &str| catalog.registries.iter().any(|r| *r.name == *name && r.kind == kind);
    service.sources.iter().any(|source| of_kind(&source.registry))
}

/// Every entry of such a service, with its name and what it says.
fn fed<'a>(catalog: &'a Catalog, view: &ViewGeneration, kind: &str) -> Vec<(&'a PublishedService, String, Value)> {
    let mut services: BTreeMap<&Hostname, &PublishedService> = BTreeMap::new();
    for service in catalog.services.values().filter(|service| feeds(catalog, service, kind)) {
        services.extend(service.ports.iter().map(|port| (&port.host, &**service)));
        services.extend(service.aliases.iter().map(|alias| (alias, &**service)));
    }
    let entry = |resource: &std::sync::Arc<crate::resource::Resource>| {
        let envelope = Envelope::decode(resource.body()).ok()?;
        let spec = ServiceEntry::decode(&*envelope.body.as_ref()?.value).ok()?;
        let host = Hostname::new(spec.hosts.first()?).ok()?;
        let name = envelope.metadata.as_ref()?.name.split_once('/')?.1.to_owned();
        Some((*services.get(&host)?, name, service_entry::spec(&spec)))
    };
    view.get(Kind::ServiceEntry).iter().filter_map(entry).collect()
}
