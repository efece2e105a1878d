//! What the admin API reads: the handles of the other parts, whose values are turned into its own types.

use super::status;
use crate::{
    admin::{self, Acknowledged, Client, Refused, Sent, Subscription, Withheld},
    calls,
    catalog::{self, Catalog},
    history, manifests,
    registry::Written,
    resource::{Dialect, Kind, Name, Resource, Variant, version_text},
    views::{self, Loaded, ViewKey, ViewStatus},
    xds,
};
use futures_util::future::BoxFuture;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

pub(super) struct Handles {
    pub(super) catalog: catalog::Handle,
    pub(super) views: views::Set,
    pub(super) manifests: manifests::Handle,
    pub(super) calls: calls::Handle,
    pub(super) clients: Arc<xds::Clients>,
    pub(super) quarantine: Arc<xds::Quarantine>,
    pub(super) xds_metrics: xds::Metrics,
    pub(super) configuration: status::Handle,
    pub(super) history: history::Handle,
    pub(super) written: Written,
    pub(super) stopping: Arc<AtomicBool>,
}

impl admin::Sources for Handles {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load()
    }

    fn view<'a>(&'a self, key: &'a ViewKey) -> BoxFuture<'a, Option<Loaded>> {
        Box::pin(self.views.load(key))
    }

    fn views(&self) -> Vec<ViewStatus> {
        self.views.views()
    }

    fn is_ready(&self, dialect: Dialect) -> bool {
        self.views.is_ready(dialect)
    }

    fn lists_sent(&self) -> u64 {
        self.xds_metrics.answers_sent(Kind::ServiceEntry)
    }

    fn clients(&self) -> Vec<Client> {
        self.clients.list().into_iter().map(client).collect()
    }

    fn calls(&self) -> Arc<calls::Model> {
        self.calls.load()
    }

    fn quarantine(&self) -> Option<&xds::Quarantine> {
        Some(&self.quarantine)
    }

    fn manifests(&self, of_services: &BTreeSet<(Kind, Name)>) -> Vec<admin::Manifest> {
        self.manifests.load().statuses(of_services).into_iter().map(manifest).collect()
    }

    fn manifests_pending(&self) -> Vec<String> {
        self.manifests.load().pending.iter().map(ToString::to_string).collect()
    }

    fn gateways(&self) -> Vec<(Kind, Arc<Resource>)> {
        self.views.gateways()
    }

    fn history(&self) -> Option<&history::Handle> {
        Some(&self.history)
    }

    fn release(&self, registry: &str) -> bool {
        self.catalog.release(registry)
    }

    fn configuration(&self) -> Option<&dyn admin::Configuration> {
        Some(&self.configuration)
    }

    fn written(&self) -> Option<&Written> {
        Some(&self.written)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

fn manifest(status: manifests::Status) -> admin::Manifest {
    let text = |(kind, name): &(Kind, Name)| format!("{}/{name}", kind.name());
    admin::Manifest {
        registry: status.id.registry.to_string(),
        namespace: status.id.namespace.to_string(),
        group: status.id.group.to_string(),
        name: status.id.name.to_string(),
        state: status.state.name(),
        resources: status.resources.iter().map(text).collect(),
        error: status.error.as_ref().map(ToString::to_string),
    }
}

fn client(client: xds::Client) -> Client {
    let node = client.node;
    let agent = format!("{} {}", node.user_agent, node.user_agent_version);
    Client {
        stream: client.stream,
        peer: client.peer.to_string(),
        listener: client.listener.to_string(),
        identity: client.identity.map(|name| name.to_string()),
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
        view: client.view.as_ref().map(|(view, _)| view.to_string()).unwrap_or_default(),
        why: client.view.map(|(_, why)| why.to_string()).unwrap_or_default(),
        types: client.types.into_iter().map(subscription).collect(),
    }
}

fn subscription(of: xds::ClientType) -> Subscription {
    Subscription {
        type_url: of.type_url.to_string(),
        wildcard: of.wildcard,
        names: of.names.len(),
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
        withheld: of.withheld.iter().map(withheld).collect(),
        resources_sent: of.resources,
        bytes_sent: of.bytes,
    }
}

fn withheld((name, of): (&Name, &xds::Withheld)) -> Withheld {
    Withheld { name: name.to_string(), version: version_text(of.version), found: of.found.name() }
}
