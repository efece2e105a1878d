//! What every kind of registry brings, and where it sends what it reads.

use super::{Metrics, Written};
use crate::model::{CallUpdate, ManifestUpdate, Protocol, Text, Update};
use futures_util::future::BoxFuture;
use std::fmt;
use tokio::sync::mpsc;

/// What a kind of registry brings. Implemented by the `Config` of each folder.
pub trait Adapter: fmt::Debug {
    /// The word in configuration, logs, metrics and admin.
    fn name(&self) -> &'static str;

    /// What holds for its services where the configuration says nothing else.
    fn conventions(&self) -> Conventions;

    /// Where it reads, for people. Holds no secret.
    fn address(&self) -> String;

    /// What is read, and from where: what was kept of a registry is used where this is the same. It should not change with
    /// keys that decide only how it is read. Holds no secret.
    fn identity(&self) -> String {
        format!("{} {}", self.name(), self.address())
    }

    /// Whether its services are written by Portolan's own API, and kept by nobody else.
    fn is_written(&self) -> bool {
        false
    }

    /// Istio's namespace of manifests that name none, if this registry keeps manifests.
    fn manifest_namespace(&self) -> Option<Text> {
        None
    }

    /// Whether it says what consumers need, if it is asked to.
    fn reads_consumers(&self) -> bool {
        false
    }

    /// Reads until `feed.updates` is closed.
    ///
    /// # Errors
    /// If reading cannot go on, such as for want of a TLS library. It is started again.
    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>>;
}

/// What a kind's users take for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conventions {
    /// The template of hosts. Empty parts vanish together with their dot.
    pub host: &'static str,
    /// What instances speak that do not say.
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
    /// For services. When it is full, the reading waits.
    pub updates: mpsc::Sender<Update>,
    /// For manifests, if somebody wants them.
    pub manifests: Option<mpsc::Sender<ManifestUpdate>>,
    /// For what consumers need, if somebody wants that.
    pub calls: Option<mpsc::Sender<CallUpdate>>,
    /// Where requests and restarts are counted.
    pub metrics: Metrics,
    /// What is written by API, of all registries that are.
    pub written: Written,
}
