//! The admin API over HTTP: what is known, what is published, what clients have, and why something is missing.
//!
//! `app` binds a [`Server`] and gives it [`Sources`], the read handles of the other parts. Everything here reads
//! immutable snapshots; what changes something (a release, a pin, an override, a reload, services
//! that are written) is asked of those parts. Formats are views of their own,
//! so that they do not change by accident, and hold no configuration, hence no secret.

mod answer;
mod calls;
mod changes;
mod client;
mod guard;
mod history;
mod holds;
mod meshregistry;
mod page;
mod quarantine;
mod reload;
mod reserve;
mod rollout;
mod routes;
mod server;
mod slots;
mod socket;
#[cfg(test)]
pub(crate) mod tests;
mod time;
mod tokens;
mod view;
mod written;

pub use changes::Changes;
pub use client::{Acknowledged, Client, Node, Refused, Sent, Subscription, Withheld};
pub use guard::Hosts;
pub use reload::{Attempt, Change, ConfigStatus, Configuration, HeldChange, Problem, Reload};
pub use rollout::{Refusing, RolloutStatus, Steer};
pub use server::{Protection, Server, ServerError};
pub use tokens::Tokens;

use crate::{
    calls::Model,
    catalog::Catalog,
    registry::Written,
    resource::{Dialect, Kind, Name, Resource},
    views::{Loaded, ViewKey, ViewStatus},
    xds::Quarantine,
};
use futures_util::future::BoxFuture;
use serde::Serialize;
use std::{collections::BTreeSet, sync::Arc};

/// What the admin API reads and changes. `app` implements it over the handles of the other parts.
pub trait Sources: Send + Sync + 'static {
    /// The newest catalog: all registries, their services, and what of them is published.
    fn catalog(&self) -> Arc<Catalog>;

    /// The newest generation of a view. A view with everything is made if it is not kept. `None`: there is no such
    /// view.
    fn view<'a>(&'a self, key: &'a ViewKey) -> BoxFuture<'a, Option<Loaded>>;

    /// The views that are kept now, by key.
    fn views(&self) -> Vec<ViewStatus>;

    /// Whether new clients of that dialect are answered.
    fn is_ready(&self, dialect: Dialect) -> bool;

    /// How many lists of ServiceEntries were sent to Istiods since the start of the process.
    fn lists_sent(&self) -> u64;

    /// The open streams, in order of their opening.
    fn clients(&self) -> Vec<Client>;

    /// Which application needs which services, as consumers of Dubbo register it.
    fn calls(&self) -> Arc<Model> {
        Arc::default()
    }

    /// The resources that clients refuse and are not sent. `None`: this process serves no clients.
    fn quarantine(&self) -> Option<&Quarantine> {
        None
    }

    /// The state of each manifest, by registry and name. `_of_services` are the resources of services: a manifest with
    /// one of these names conflicts.
    fn manifests(&self, _of_services: &BTreeSet<(Kind, Name)>) -> Vec<Manifest> {
        Vec::new()
    }

    /// The registries whose manifests were not read completely yet.
    fn manifests_pending(&self) -> Vec<String> {
        Vec::new()
    }

    /// The resources of Istio that are made of `gateways` in the configuration.
    fn gateways(&self) -> Vec<(Kind, Arc<Resource>)> {
        Vec::new()
    }

    /// The history of what was published, and its overrides. `None`: none is kept.
    fn history(&self) -> Option<&crate::history::Handle> {
        None
    }

    /// Follows a registry's held-back drop at once. `false` if there is none.
    fn release(&self, registry: &str) -> bool;

    /// The registries of kind `api`, to which services can be written. `None`: there is none.
    fn written(&self) -> Option<&Written> {
        None
    }

    /// The configuration of this process, if it follows one.
    fn configuration(&self) -> Option<&dyn Configuration> {
        None
    }

    /// Whether this process is about to end: it is not ready then.
    fn stopping(&self) -> bool {
        false
    }
}

/// A manifest: a text in a registry that holds resources of Istio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The name of the registry in the configuration.
    pub registry: String,
    /// The namespace in the registry, which is none of Istio's.
    pub namespace: String,
    /// The group in the registry; of Nacos' configuration the `group`.
    pub group: String,
    /// Its name in the registry; of Nacos' configuration the `dataId`.
    pub name: String,
    /// `good`, `conflicting`, `held` or `wrong`.
    pub state: &'static str,
    /// The resources of the manifest that are served, as `<kind>/<namespace>/<name>`.
    pub resources: Vec<String>,
    /// What is wrong, and what to do about it; a problem in each line.
    pub error: Option<String>,
}

/// Something of a published service that is not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The dialect of the view that lacks it: `envoy`, `grpc` or `istio`.
    pub view: &'static str,
    /// The host under which the service is published.
    pub host: String,
    /// What is not sent: an endpoint's address, a label, or a resource's name.
    pub subject: String,
    /// The stable code of the reason, for scripts and metrics: docs/admin.md lists them.
    pub code: &'static str,
    /// The reason, and what to do about it.
    pub text: String,
}
