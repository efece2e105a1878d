//! The answers of `/meshregistry/...`: what is served to Istiods, in the forms of Slime's meshregistry.

use super::service_entry;
use crate::{
    admin::Client,
    catalog::{Catalog, State},
    model::{Address, DUBBO_SERVICE, Hostname, PublishedEndpoint, PublishedService},
    pb::istio::{mcp::v1alpha1::Resource as Envelope, networking::v1alpha3::ServiceEntry},
    resource::{Kind, Resource, ViewGeneration},
};
use prost::Message;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The type under which Slime keeps entries, whatever API version an Istiod asks for.
pub(in crate::admin) const TYPE: &str = "networking.istio.io/v1alpha3/ServiceEntry";

/// The filters of `/meshregistry/xdsCache`; an empty text restricts nothing.
#[derive(Debug, Default)]
pub(in crate::admin) struct Wanted {
    pub(in crate::admin) namespace: Option<String>,
    pub(in crate::admin) name: Option<String>,
    /// A type, in any API version, or its kind alone.
    pub(in crate::admin) of_type: Option<String>,
    /// A version that the caller already has: entries of it are left out.
    pub(in crate::admin) other_than: Option<String>,
}

/// How an entry is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) enum Form {
    /// As Slime keeps it.
    Cached,
    /// As Kubernetes shows it (`k8sRsc`).
    Kubernetes,
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

/// The entries that are wanted, one by one.
pub(in crate::admin) fn cached(view: Arc<ViewGeneration>, wanted: Wanted, form: Form) -> impl Iterator<Item = Value> {
    let resources: Vec<Arc<Resource>> = view.get(Kind::ServiceEntry).iter().cloned().collect();
    let envelopes = resources.into_iter().filter_map(|resource| Envelope::decode(resource.body()).ok());
    envelopes.filter(move |envelope| wanted.wants(envelope)).map(move |envelope| match form {
        Form::Cached => as_cached(&envelope),
        Form::Kubernetes => as_kubernetes(&envelope),
    })
}

/// An entry with the field names of Istio's internal configuration objects.
fn as_cached(envelope: &Envelope) -> Value {
    let (metadata, spec) = parts(envelope);
    let mut item = Map::new();
    item.insert("type".into(), TYPE.into());
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
    let metadata = envelope.metadata.as_ref().map(service_entry::metadata).unwrap_or_default();
    (metadata.as_object().cloned().unwrap_or_default(), service_entry::spec(envelope))
}

/// Why new Istiods are not answered, in Slime's words. `None`: they are.
pub(in crate::admin) fn unready(
    catalog: &Catalog,
    served: bool,
    manifests: &[String],
    stopping: bool,
) -> Option<String> {
    if stopping {
        return Some("stopping".into());
    }
    if served {
        return None;
    }
    let waits =
        |r: &&Arc<crate::catalog::RegistryStatus>| r.required && !matches!(r.state, State::Synced | State::Stale);
    let registries = catalog.registries.iter().filter(waits).map(|r| &*r.name);
    let names: Vec<&str> = registries.chain(manifests.iter().map(|registry| &**registry)).collect();
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

/// A stream: its number, and its peer with the versions that it was sent and has acknowledged.
pub(in crate::admin) fn client(client: &Client) -> (String, Value) {
    let status: Map<String, Value> = client
        .types
        .iter()
        .map(|of| {
            let version = |version: Option<&String>| version.cloned().unwrap_or_default();
            let pushed = version(of.sent.as_ref().map(|sent| &sent.version));
            let accepted = version(of.acknowledged.as_ref().map(|acknowledged| &acknowledged.version));
            (of.type_url.clone(), json!({ "PushVer": pushed, "AckVer": accepted }))
        })
        .collect();
    let id = client.stream.to_string();
    let value = json!({ "ClientId": client.node.id, "ConnId": id, "Addr": client.peer, "PushStatus": status });
    (id, value)
}

/// The registries of a kind, with their state. Their addresses are configuration, which no page shows.
pub(in crate::admin) fn registries(catalog: &Catalog, kind: &str) -> Vec<Value> {
    let of_kind = catalog.registries.iter().filter(|registry| registry.kind == kind);
    of_kind.map(|registry| json!({ "registry_id": &*registry.name, "state": registry.state.name() })).collect()
}

/// The entries of all services that registries of a kind feed, by their names; each name once.
pub(in crate::admin) fn entries_of(
    catalog: &Catalog,
    view: &ViewGeneration,
    kind: &str,
) -> impl Iterator<Item = (String, Value)> + use<> {
    let entries: BTreeMap<String, Arc<Resource>> = fed(catalog, view, kind).map(|f| (f.name, f.entry)).collect();
    entries.into_iter().map(|(name, entry)| (name, spec_of(&entry)))
}

/// Dubbo's interfaces: for each, its hosts and their entries.
pub(in crate::admin) fn interfaces(
    catalog: &Catalog,
    view: &ViewGeneration,
    interface: Option<&str>,
) -> impl Iterator<Item = (String, Value)> + use<> {
    let mut cache: BTreeMap<String, BTreeMap<String, Fed>> = BTreeMap::new();
    for fed in fed(catalog, view, "zookeeper") {
        let of = interface_of(&fed.service);
        if interface.is_none_or(|wanted| wanted == of) {
            cache.entry(of).or_default().insert(fed.host.clone(), fed);
        }
    }
    let entry = |(host, Fed { service, entry, .. }): (String, Fed)| {
        let meta: BTreeMap<&str, &str> = service.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
        (host, json!({ "ServiceEntry": spec_of(&entry), "Meta": meta }))
    };
    cache.into_iter().map(move |(of, hosts)| (of, hosts.into_iter().map(entry).collect::<Map<_, _>>().into()))
}

/// The instances of Dubbo's interfaces, service by service.
pub(in crate::admin) fn instances(catalog: &Catalog, interface: Option<&str>) -> impl Iterator<Item = Value> + use<> {
    let services = catalog.services.values().filter(|service| feeds(catalog, service, "zookeeper"));
    let services = services.filter(|service| interface.is_none_or(|wanted| wanted == interface_of(service)));
    let services: Vec<Arc<PublishedService>> = services.cloned().collect();
    let instance = |service: &PublishedService, endpoint: &PublishedEndpoint| {
        let metadata: BTreeMap<&str, &str> = endpoint.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
        let address = match &endpoint.address {
            Address::Ip(ip) => ip.to_string(),
            other => other.to_string(),
        };
        let port = endpoint.ports.first().map(|(_, port)| port.get());
        json!({ "interface": interface_of(service), "address": address, "port": port, "metadata": metadata })
    };
    services
        .into_iter()
        .flat_map(move |service| service.endpoints.iter().map(|e| instance(&service, e)).collect::<Vec<_>>())
}

/// How many instances each of Dubbo's services has, by interface, group and version as Slime writes them; and how many
/// interfaces there are in all.
pub(in crate::admin) fn counts(catalog: &Catalog, interface: Option<&str>) -> Map<String, Value> {
    let (mut counts, mut interfaces) = (BTreeMap::<String, usize>::new(), BTreeSet::new());
    for service in catalog.services.values().filter(|service| feeds(catalog, service, "zookeeper")) {
        let of = interface_of(service);
        if interface.is_none_or(|wanted| wanted == of) {
            let source = service.sources.first().map_or(&*of, |source| &*source.name);
            let name = service.labels.get(DUBBO_SERVICE).map_or(source, |name| &**name);
            *counts.entry(name.to_owned()).or_default() += service.endpoints.len();
        }
        interfaces.insert(of);
    }
    let counts = counts.into_iter().map(|(name, count)| (name, count.into()));
    counts.chain([("count-iface".to_owned(), interfaces.len().into())]).collect()
}

/// The Dubbo interface of a service: its name in the registry without group and version, which stand behind colons.
fn interface_of(service: &PublishedService) -> String {
    let name = service.sources.first().map_or("", |source| &*source.name);
    name.split(':').next().unwrap_or_default().to_owned()
}

fn feeds(catalog: &Catalog, service: &PublishedService, kind: &str) -> bool {
    let of_kind = |name: &str| catalog.registries.iter().any(|r| *r.name == *name && r.kind == kind);
    service.sources.iter().any(|source| of_kind(&source.registry))
}

/// An entry, and the service that it is of.
struct Fed {
    service: Arc<PublishedService>,
    host: String,
    /// The name of the entry, without its namespace.
    name: String,
    entry: Arc<Resource>,
}

/// Every entry of a service that registries of a kind feed.
fn fed<'a>(catalog: &'a Catalog, view: &'a ViewGeneration, kind: &str) -> impl Iterator<Item = Fed> + use<'a> {
    let mut services: BTreeMap<&Hostname, &Arc<PublishedService>> = BTreeMap::new();
    for service in catalog.services.values().filter(|service| feeds(catalog, service, kind)) {
        services.extend(service.ports.iter().map(|port| (&port.host, service)));
        services.extend(service.aliases.iter().map(|alias| (alias, service)));
    }
    view.get(Kind::ServiceEntry).iter().filter_map(move |resource| {
        let envelope = Envelope::decode(resource.body()).ok()?;
        let spec = ServiceEntry::decode(&*envelope.body.as_ref()?.value).ok()?;
        let host = spec.hosts.into_iter().next()?;
        let name = envelope.metadata.as_ref()?.name.split_once('/')?.1.to_owned();
        let service = services.get(&Hostname::new(&host).ok()?).copied()?.clone();
        Some(Fed { service, host, name, entry: resource.clone() })
    })
}

fn spec_of(entry: &Resource) -> Value {
    Envelope::decode(entry.body()).map(|envelope| service_entry::spec(&envelope)).unwrap_or_default()
}
