//! Overrides as a message, and back.

use super::{Known, Shared, Tables, WireError, endpoint_message, hostname, id_message, note, number, protocol, time};
use crate::{
    catalog::{Deed, Override, Services, Target},
    manifests::{self, Snapshot},
    model::{
        Endpoint, EndpointPort, Fraction, ManifestId, Nearness, Note, Port, PublishedEndpoint, PublishedService,
        ServiceId, ServicePort, Text, Weight,
    },
    pb::state as pb,
    resource::{Kind, Name, Resource},
    util::time::unix_millis,
};
use std::sync::Arc;

/// What is kept of overrides over a restart.
#[derive(Debug, Clone, Default)]
pub struct Laid {
    /// All overrides that are in force.
    pub overrides: Arc<[Override]>,
    /// Istio's resources, where everything is pinned.
    pub manifests: Option<Arc<Snapshot>>,
}

const PIN_ALL: &str = "pin_all";

/// The message of overrides: equal ones give equal messages.
pub(in crate::state) fn encode(laid: &Laid) -> pb::Overrides {
    let mut tables = Tables::default();
    let overrides = laid.overrides.iter().map(|over| override_message(over, &mut tables)).collect();
    let manifests = laid.manifests.iter().flat_map(|snapshot| manifest_messages(snapshot)).collect();
    pb::Overrides { overrides, labels: tables.labels, localities: tables.localities, manifests }
}

fn override_message(over: &Override, tables: &mut Tables) -> pb::Override {
    let (weight, services): (u64, Vec<&Arc<PublishedService>>) = match &over.deed {
        Deed::PinAll(services) => (0, services.values().collect()),
        Deed::Pin(service) => (0, service.iter().collect()),
        Deed::Keep(service) => (0, vec![service]),
        Deed::Weight(weight) => (weight.millionths(), Vec::new()),
        Deed::Drain | Deed::Disable => (0, Vec::new()),
    };
    let place = match &over.of {
        Target::Instance(_, place) => Some(place.to_string()),
        _ => None,
    };
    pb::Override {
        id: over.id,
        host: over.of.host().map(ToString::to_string).unwrap_or_default(),
        place,
        deed: if matches!(over.deed, Deed::PinAll(_)) { PIN_ALL } else { over.deed.name() }.into(),
        since: unix_millis(over.since),
        until: unix_millis(over.until),
        by: over.by.to_string(),
        why: over.why.to_string(),
        weight,
        services: services.into_iter().map(|service| published_message(service, tables)).collect(),
    }
}

fn published_message(service: &PublishedService, tables: &mut Tables) -> pb::Published {
    let source = |id: &ServiceId| pb::Source { registry: id.registry.to_string(), id: Some(id_message(id)) };
    let port = |port: &ServicePort| pb::PublishedPort {
        name: port.name.to_string(),
        number: port.number.get().into(),
        protocol: port.protocol.name().into(),
        host: port.host.to_string(),
    };
    let note = |note: &Note| pb::Note {
        reason: note.reason.code().into(),
        subject: note.subject.to_string(),
        detail: note.detail.to_string(),
    };
    pb::Published {
        host: service.host.to_string(),
        spelling: service.spelling.as_ref().map(ToString::to_string),
        aliases: service.aliases.iter().map(ToString::to_string).collect(),
        sources: service.sources.iter().map(source).collect(),
        ports: service.ports.iter().map(port).collect(),
        endpoints: service.endpoints.iter().map(|endpoint| published_endpoint(endpoint, tables)).collect(),
        instance_ports: service.instance_ports.iter().map(named_port).collect(),
        labels: tables.labels(&service.labels),
        protected: service.protected,
        protect_threshold: service.protect_threshold.map(Fraction::millionths),
        dns: service.dns,
        nearness: service.nearness.name().into(),
        notes: service.notes.iter().map(note).collect(),
    }
}

fn named_port((name, number): &(Text, Port)) -> pb::DeclaredPort {
    pb::DeclaredPort { name: name.to_string(), number: number.get().into(), protocol: String::new() }
}

fn published_endpoint(endpoint: &PublishedEndpoint, tables: &mut Tables) -> pb::PublishedEndpoint {
    // Of a registry's endpoint it has all but the ports' protocols.
    let plain = Endpoint {
        address: endpoint.address.clone(),
        ports: Vec::<EndpointPort>::new().into(),
        weight: endpoint.weight,
        health: endpoint.health,
        enabled: true,
        locality: endpoint.locality.clone(),
        labels: endpoint.labels.clone(),
        secure: endpoint.secure,
    };
    pb::PublishedEndpoint {
        endpoint: Some(endpoint_message(&plain, tables)),
        ports: endpoint.ports.iter().map(named_port).collect(),
        priority: endpoint.priority,
        source: endpoint.source,
    }
}

fn manifest_messages(snapshot: &Snapshot) -> Vec<pb::PinnedManifest> {
    let resource = |key: &(Kind, Name)| {
        let resource = snapshot.resources.get(key)?;
        Some(pb::PinnedResource {
            kind: key.0.name().into(),
            name: key.1.to_string(),
            body: resource.body().to_vec().into(),
            version: resource.version(),
            revision: resource.revision().map(str::to_owned),
        })
    };
    let manifest = |status: &manifests::Status| pb::PinnedManifest {
        registry: status.id.registry.to_string(),
        id: Some(pb::Id {
            namespace: status.id.namespace.to_string(),
            group: status.id.group.to_string(),
            name: status.id.name.to_string(),
        }),
        resources: status.resources.iter().filter_map(resource).collect(),
    };
    snapshot.manifests.iter().map(manifest).collect()
}

/// The overrides of a message.
///
/// # Errors
/// If something in it is not possible, such as an unknown deed.
pub(in crate::state) fn decode(message: pb::Overrides) -> Result<Laid, WireError> {
    let nobody = Text::default();
    let shared = Shared::new(message.labels, message.localities);
    let mut known = Known::new(&nobody, &shared);
    let overrides = message.overrides.into_iter().map(|over| known.laid(over)).collect::<Result<Vec<_>, _>>()?;
    let everything = overrides.iter().any(|over| matches!(over.deed, Deed::PinAll(_)));
    let manifests = everything.then(|| snapshot(message.manifests)).transpose()?.map(Arc::new);
    Ok(Laid { overrides: overrides.into(), manifests })
}

fn snapshot(manifests: Vec<pb::PinnedManifest>) -> Result<Snapshot, WireError> {
    let mut snapshot = Snapshot::default();
    for pb::PinnedManifest { registry, id, resources } in manifests {
        let id = id.ok_or(WireError("a manifest without a name"))?;
        let id = ManifestId {
            registry: registry.into(),
            namespace: id.namespace.into(),
            group: id.group.into(),
            name: id.name.into(),
        };
        let mut keys = Vec::with_capacity(resources.len());
        for pb::PinnedResource { kind, name, body, version, revision } in resources {
            let kind = Kind::ALL.into_iter().find(|known| known.name() == kind).ok_or(WireError("a kind"))?;
            let name = Name::from(name);
            let resource = Resource::versioned(kind, name.clone(), version, &body, None);
            let resource = resource.for_revision(revision.map(Name::from));
            keys.push((kind, name.clone()));
            snapshot.resources.insert((kind, name), Arc::new(resource));
        }
        let state = manifests::State::Good;
        snapshot.manifests.push(manifests::Status { id, state, resources: keys, error: None });
    }
    Ok(snapshot)
}

impl Known<'_> {
    fn laid(&mut self, message: pb::Override) -> Result<Override, WireError> {
        let pb::Override { id, host, place, deed, since, until, by, why, weight, services } = message;
        let services = services.into_iter().map(|service| self.published(service));
        let mut services = services.collect::<Result<Vec<_>, _>>()?;
        let of = match (&*host, place) {
            ("", _) => Target::Everything,
            (host, None) => Target::Service(hostname(host)?),
            (host, Some(place)) => Target::Instance(hostname(host)?, place.into()),
        };
        let deed = match &*deed {
            PIN_ALL => {
                let all: Services = services.into_iter().map(|service| (service.host.clone(), service)).collect();
                Deed::PinAll(all)
            }
            "pin" => Deed::Pin(services.pop()),
            "keep" => Deed::Keep(services.pop().ok_or(WireError("a service that is kept"))?),
            "drain" => Deed::Drain,
            "disable" => Deed::Disable,
            "weight" => Deed::Weight(Weight::of_millionths(weight)),
            _ => return Err(WireError("a deed")),
        };
        Ok(Override { id, of, deed, since: time(since), until: time(until), by: by.into(), why: why.into() })
    }

    fn published(&mut self, message: pb::Published) -> Result<Arc<PublishedService>, WireError> {
        let endpoints = message.endpoints.into_iter().map(|endpoint| self.published_endpoint(endpoint));
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        let ports = message.ports.into_iter().map(|port| {
            let (number, protocol) = (number(port.number)?, protocol(&port.protocol)?);
            Ok(ServicePort { name: self.text(port.name), number, protocol, host: hostname(&port.host)? })
        });
        let ports = ports.collect::<Result<Vec<_>, _>>()?;
        let mut service = PublishedService::new(hostname(&message.host)?, ports, endpoints);
        service.spelling = message.spelling.map(Into::into);
        service.aliases = message.aliases.iter().map(|alias| hostname(alias)).collect::<Result<_, _>>()?;
        let sources = message.sources.into_iter().map(|source| {
            let id = source.id.ok_or(WireError("a service without a name"))?;
            let (namespace, group) = (self.text(id.namespace), self.text(id.group));
            Ok(ServiceId::new(self.text(source.registry), namespace, group, id.name))
        });
        service.sources = sources.collect::<Result<_, _>>()?;
        service.instance_ports = self.named_ports(message.instance_ports)?;
        service.labels = self.labels(message.labels)?;
        service.protected = message.protected;
        service.protect_threshold = message.protect_threshold.map(Fraction::of_millionths);
        service.dns = message.dns;
        let nearness = Nearness::ALL.into_iter().find(|nearness| nearness.name() == message.nearness);
        service.nearness = nearness.ok_or(WireError("a word of nearness"))?;
        service.notes = message.notes.into_iter().filter_map(note).collect();
        if service.ports.is_empty() {
            return Err(WireError("a service without a port"));
        }
        Ok(Arc::new(service))
    }

    fn published_endpoint(&mut self, message: pb::PublishedEndpoint) -> Result<PublishedEndpoint, WireError> {
        let endpoint = self.endpoint(message.endpoint.ok_or(WireError("an endpoint"))?)?;
        Ok(PublishedEndpoint {
            address: endpoint.address,
            ports: self.named_ports(message.ports)?.into(),
            weight: endpoint.weight,
            health: endpoint.health,
            locality: endpoint.locality,
            labels: endpoint.labels,
            secure: endpoint.secure,
            priority: message.priority,
            source: message.source,
        })
    }

    fn named_ports(&mut self, ports: Vec<pb::DeclaredPort>) -> Result<Vec<(Text, Port)>, WireError> {
        ports.into_iter().map(|port| Ok((self.text(port.name), number(port.number)?))).collect()
    }
}
