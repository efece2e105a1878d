//! What admin reads: the handles of the other parts, in admin's own words.

use super::{Views, status};
use crate::{
    admin::{self, Acknowledged, Client, Refused, Sent, Subscription},
    catalog::{self, Catalog},
    manifests,
    resource::{Kind, Name, Variant, ViewGeneration, version_text},
    xds,
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The read handles.
pub(super) struct Handles {
    pub(super) catalog: catalog::Handle,
    pub(super) views: Views,
    pub(super) manifests: manifests::Handle,
    pub(super) clients: Arc<xds::Clients>,
    pub(super) xds_metrics: xds::Metrics,
    pub(super) configuration: status::Handle,
    pub(super) stopping: Arc<AtomicBool>,
}

impl admin::Sources for Handles {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load()
    }

    fn view(&self) -> Arc<ViewGeneration> {
        self.views.envoy.load()
    }

    fn entries(&self) -> Arc<ViewGeneration> {
        self.views.istio.load()
    }

    fn lists_sent(&self) -> u64 {
        self.xds_metrics.answers_sent(Kind::ServiceEntry)
    }

    fn clients(&self) -> Vec<Client> {
        self.clients.list().into_iter().map(client).collect()
    }

    fn rejected(&self) -> Vec<admin::Rejected> {
        let shown = |view, rejected: &crate::translate::Rejected| admin::Rejected {
            view,
            host: rejected.host.to_string(),
            subject: rejected.subject.to_string(),
            code: rejected.why.code(),
            text: rejected.why.to_string(),
        };
        let (envoy, istio) = (self.views.envoy.rejected(), self.views.istio.rejected());
        let envoy = envoy.iter().map(|rejected| shown("envoy", rejected));
        envoy.chain(istio.iter().map(|rejected| shown("istio", rejected))).collect()
    }

    fn manifests(&self) -> Vec<admin::Manifest> {
        let (snapshot, taken) = (self.manifests.load(), self.views.istio.taken());
        snapshot.manifests.iter().map(|status| manifest(status, &taken)).collect()
    }

    fn release(&self, registry: &str) -> bool {
        self.catalog.release(registry)
    }

    fn configuration(&self) -> Option<&dyn admin::Configuration> {
        Some(&self.configuration)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// A manifest, whose ServiceEntries may have names that services' have.
fn manifest(status: &manifests::Status, taken: &BTreeSet<Name>) -> admin::Manifest {
    let lost = |(kind, name): &&(Kind, Name)| *kind == Kind::ServiceEntry && taken.contains(name);
    let mut state = status.state;
    let mut errors = Vec::from_iter(status.error.as_ref().map(ToString::to_string));
    for (_, name) in status.resources.iter().filter(lost) {
        state = state.max(manifests::State::Conflicting);
        errors.push(format!(
            "ServiceEntry {name} is a service's already; rename one, or let `istio: name` tell them apart"
        ));
    }
    let text = |(kind, name): &(Kind, Name)| format!("{}/{name}", kind.name());
    admin::Manifest {
        registry: status.id.registry.to_string(),
        namespace: status.id.namespace.to_string(),
        group: status.id.group.to_string(),
        name: status.id.name.to_string(),
        state: state.name(),
        resources: status.resources.iter().filter(|key| !lost(key)).map(text).collect(),
        error: (!errors.is_empty()).then(|| errors.join("\n")),
    }
}

fn client(client: xds::Client) -> Client {
    let node = client.node;
    let agent = format!("{} {}", node.user_agent, node.user_agent_version);
    Client {
        stream: client.stream,
        peer: client.peer.to_string(),
        variant: match client.variant {
            Variant::Sotw => "sotw",
            Variant::Delta => "delta",
        },
        connected_at: client.connected,
        node: admin::Node {
            id: node.id,
            cluster: node.cluster,
            locality: node.locality.join("/").trim_end_matches('/').into(),
            agent: agent.trim().into(),
        },
        types: client.types.into_iter().map(subscription).collect(),
    }
}

fn subscription(of: xds::ClientType) -> Subscription {
    Subscription {
        type_url: of.type_url.to_string(),
        wildcard: of.wildcard,
        names: of.names,
        sent: of.sent.map(|sent| Sent {
            version: version_text(sent.version),
            nonce: sent.nonce.to_string(),
            at: sent.at,
        }),
        acknowledged: of.acknowledged.map(|(version, at)| Acknowledged { version: version_text(version), at }),
        refused: of.refused.map(|refused| Refused {
            version: refused.version.map(version_text).unwrap_or_default(),
            message: refused.message,
            at: refused.at,
        }),
        resources_sent: of.resources,
        bytes_sent: of.bytes,
    }
}
