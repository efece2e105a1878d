//! Registries: each keeps a connection and sends what it receives as [`Update`]s of the neutral model.
//!
//! A registry knows nothing of the other registries, of publishing policy, or of what is served. Failures are updates,
//! too; they never remove anything. `app` starts each with [`read`]: a task of its own with a channel of its own, so
//! that one that hangs, panics or floods delays nobody else.

mod catalogue;
mod dubbo;
pub mod eureka;
pub mod file;
mod instances;
mod kind;
mod lenient;
mod limits;
mod metadata;
mod metrics;
pub mod nacos;
mod outbox;
mod rounds;
mod supervise;
pub mod transport;
pub mod zookeeper;

pub use crate::model::{Cost, ManifestUpdate, Scope, Update};
pub use kind::{Adapter, Conventions, Feed, KINDS, Kind, ReadKind};
pub use limits::Limits;
pub use metrics::Metrics;

use crate::{model::Text, util::error};
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

/// Reads a registry. When a channel of the feed is full, the reading waits, because the newest state is read again anyway.
/// Returns when `stop` is cancelled or the channel of updates is closed, never by itself: after a panic or an early end it
/// sends [`Update::Failed`] for the whole registry and starts the reading anew, later each time.
pub async fn read(kind: Kind, feed: Feed, stop: CancellationToken) {
    let given = feed.clone();
    supervise::supervise(feed, stop, move || kind.adapter().read(given.clone())).await;
}

/// The same as a task of its own.
pub fn spawn(
    registry: Registry,
    out: mpsc::Sender<Update>,
    manifests: Option<mpsc::Sender<ManifestUpdate>>,
    metrics: Metrics,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let Registry { name, kind } = registry;
    tokio::spawn(read(kind, Feed { registry: name, updates: out, manifests, metrics }, stop))
}

/// An error with all its causes, for people.
fn chain(error: &dyn Error) -> Text {
    error::chain(error).into()
}
