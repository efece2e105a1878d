//! The readings of registries: started and stopped one by one.

use super::parts::Parts;
use crate::{
    catalog,
    config::Config,
    manifests,
    registry::{self, Feed},
};
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

/// The running readings.
#[derive(Debug)]
pub(super) struct Readers {
    parts: Parts,
    metrics: registry::Metrics,
    /// Where admin listens, which the built-in example serves.
    admin: SocketAddr,
}

impl Readers {
    /// None yet. All of them end with `stop`.
    pub(super) fn new(metrics: registry::Metrics, admin: SocketAddr, stop: CancellationToken) -> Self {
        Readers { parts: Parts::new(stop), metrics, admin }
    }

    /// Starts one for each registry of a configuration.
    pub(super) fn start(&mut self, config: &Config, feeds: Vec<catalog::Feed>, manifests: &manifests::Keeper) {
        for (registry, feed) in config.registries.iter().zip(feeds) {
            let kind = registry.kind.clone().with_admin(self.admin);
            let feed = Feed {
                registry: registry.name.clone(),
                updates: feed.updates,
                manifests: manifests.feed(&registry.name),
                metrics: self.metrics.clone(),
            };
            self.parts.start(format!("registry {}", registry.name), |stop| registry::read(kind, feed, stop));
        }
    }

    /// As [`Parts::broken`].
    pub(super) async fn broken(&mut self) -> String {
        self.parts.broken().await
    }

    /// Stops all, and waits until they have ended.
    pub(super) async fn end(self) {
        self.parts.end().await;
    }
}
