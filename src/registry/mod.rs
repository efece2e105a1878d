//! Registries: each keeps a connection and tells what it hears as [`Update`]s of the neutral model.
//!
//! A registry knows nothing of the other registries, of publishing policy, or of what is served. Failures are updates,
//! too; they never remove anything. `app` starts each with [`spawn`]: a task of its own with a channel of its own, so
//! that one that hangs, panics or floods delays nobody else.

mod catalogue;
mod dubbo;
pub mod eureka;
pub mod file;
mod metadata;
mod metrics;
pub mod nacos;
mod outbox;
mod rounds;
mod supervise;
pub mod transport;
mod update;
pub mod zookeeper;

pub use metrics::{Metrics, RegistryLabel};
pub use update::{Cost, ManifestUpdate, Scope, Update};

use crate::{
    model::Text,
    util::{backoff, error},
};
use std::error::Error;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// A registry to be read.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Its name in the configuration; every service of it carries the name.
    pub name: Text,
    /// What it is, and how it is read.
    pub kind: Kind,
}

/// The kinds of registries.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one for each registry")]
pub enum Kind {
    /// Catalogue files.
    File(file::Config),
    /// Nacos servers.
    Nacos(nacos::Config),
    /// Eureka servers.
    Eureka(eureka::Config),
    /// ZooKeeper servers.
    Zookeeper(zookeeper::Config),
}

impl Kind {
    /// The word in configuration, logs and admin.
    pub const fn name(&self) -> &'static str {
        match self {
            Kind::File(_) => "file",
            Kind::Nacos(_) => "nacos",
            Kind::Eureka(_) => "eureka",
            Kind::Zookeeper(_) => "zookeeper",
        }
    }
}

/// Starts reading a registry. Its updates go to `out`; when that is full, the reading waits, because the newest state is
/// read again anyway. The task ends when `stop` is cancelled or `out` is closed, never by itself: after a panic or an
/// early end it says [`Update::Failed`] of the whole registry and starts the reading anew, later each time. What it
/// hears of manifests goes to `manifests`, where that is given.
pub fn spawn(
    registry: Registry,
    out: mpsc::Sender<Update>,
    manifests: Option<mpsc::Sender<ManifestUpdate>>,
    metrics: Metrics,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let Registry { name, kind } = registry;
    let updates = out.clone();
    let counted = metrics.clone();
    let reading = {
        let (name, manifests) = (name.clone(), manifests.clone());
        move || {
            let (name, kind, out, metrics) = (name.clone(), kind.clone(), updates.clone(), counted.clone());
            let manifests = manifests.clone();
            async move {
                match kind {
                    Kind::File(config) => file::run(name, config, out).await,
                    Kind::Nacos(config) => nacos::run(name, config, out, manifests, metrics).await,
                    Kind::Eureka(config) => eureka::run(name, config, out, metrics).await,
                    Kind::Zookeeper(config) => zookeeper::run(name, config, out, metrics).await,
                }
            }
        }
    };
    tokio::spawn(supervise::supervise(name, out, manifests, metrics, stop, reading))
}

/// An error with all its causes, for people.
fn chain(error: &dyn Error) -> Text {
    error::chain(error).into()
}
