//! What every kind of registry brings, and where it sends what it reads.

use super::{Metrics, Written};
use crate::model::{CallUpdate, ManifestUpdate, Protocol, Text, Update};
use futures_util::future::BoxFuture;
use std::fmt;
use tokio::sync::mpsc;

/// What a kind of registry brings. Implemented by the `Config` of each folder.
pub trait Adapter: fmt::Debug {
    /// The key of the kind in the configuration, such as `nacos`; also in logs, metrics and the admin API.
    fn name(&self) -> &'static str;

    /// Host template, protocol and the like for its services, where the configuration says nothing else.
    fn conventions(&self) -> Conventions;

    /// Where it reads, shown by `portolan check`. Holds no secret.
    fn address(&self) -> String;

    /// What is read, and from where: what was kept of a registry is used where this is the same. It should not change with
    /// keys that decide only how it is read. Holds no secret.
    fn identity(&self) -> String {
        format!("{} {}", self.name(), self.address())
    }

    /// True if clients write its services through Portolan's own API, so that Portolan alone keeps them.
    fn is_written(&self) -> bool {
        false
    }

    /// Istio's namespace of manifests that name none, if this registry keeps manifests.
    fn manifest_namespace(&self) -> Option<Text> {
        None
    }

    /// True if it is configured to read what consumers need, which goes to [`Feed::calls`].
    fn reads_consumers(&self) -> bool {
        false
    }

    /// Reads until `feed.updates` is closed.
    ///
    /// # Errors
    /// If reading cannot go on, such as for want of a TLS library. It is started again.
    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>>;
}

/// Defaults of one kind of registry, as its users expect them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conventions {
    /// The template of hosts. Empty parts vanish together with their dot.
    pub host: &'static str,
    /// The protocol of instances that do not name one.
    pub protocol: Protocol,
    /// How many lists in a row must lack a service before it is gone: 1 where a list is whole or an error.
    pub absent_lists: u32,
    /// Whether loopback and link-local addresses are published: whoever writes a catalogue by hand knows what they mean.
    pub local_addresses: bool,
}

/// Where a reading sends what it reads.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The name of the registry in the configuration; every service of it carries the name.
    pub registry: Text,
    /// Channel of reports on services. When it is full, the reading waits.
    pub updates: mpsc::Sender<Update>,
    /// Channel of reports on manifests; `None` if nobody wants them.
    pub manifests: Option<mpsc::Sender<ManifestUpdate>>,
    /// Channel of reports on what consumers need; `None` if nobody wants them.
    pub calls: Option<mpsc::Sender<CallUpdate>>,
    /// Counters of all registries; requests and restarts are counted here under `registry`.
    pub metrics: Metrics,
    /// The stores of all registries whose services are written through the API.
    pub written: Written,
}
