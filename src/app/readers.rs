//! The readings of registries: started and stopped one by one, as the catalog asks for them.

use super::parts::Parts;
use crate::{
    calls,
    catalog::{Catalog, Configured, Desired, Registry},
    config::Config,
    manifests,
    model::{FILES, Text},
    registry::{self, Feed, Kind, Written},
    state::{self, Store},
};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::SystemTime};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The running readings, and what each registry is connected to.
#[derive(Debug)]
pub(super) struct Readers {
    parts: Parts,
    /// By registry: the token that ends its reading.
    running: BTreeMap<Text, CancellationToken>,
    /// The token that ends the reading of Istio's resources in files, and the paths of these files.
    files: Option<(CancellationToken, Vec<PathBuf>)>,
    connections: Connections,
    metrics: registry::Metrics,
    state_metrics: state::Metrics,
    /// The registries of kind `api`, to which services can be written.
    written: Written,
    /// The address of the admin API, which is an instance in the built-in example.
    admin: SocketAddr,
}

/// A number for the connection of each registry. It changes whenever the registry is read from elsewhere or in another
/// way.
#[derive(Debug, Clone, Default)]
struct Connections {
    known: BTreeMap<Text, (Kind, u64)>,
    last: u64,
}

impl Connections {
    fn desired(&mut self, config: &Config) -> Desired {
        self.known.retain(|name, _| config.registries.iter().any(|registry| registry.name == *name));
        let registries = config.registries.iter().map(|registry| Registry {
            policy: registry.policy.clone(),
            connection: self.number(&registry.name, &registry.kind),
            identity: registry.kind.adapter().identity().into(),
            memory: None,
        });
        Desired { registries: registries.collect(), options: config.catalog, ..Desired::default() }
    }

    fn number(&mut self, registry: &Text, kind: &Kind) -> u64 {
        match self.known.get(registry) {
            Some((known, number)) if known == kind => *number,
            _ => {
                self.last += 1;
                self.known.insert(registry.clone(), (kind.clone(), self.last));
                self.last
            }
        }
    }
}

impl Readers {
    /// Holds no reading yet. All readings end when `stop` is cancelled.
    pub(super) fn new(
        metrics: registry::Metrics,
        state_metrics: state::Metrics,
        written: Written,
        admin: SocketAddr,
        stop: CancellationToken,
    ) -> Self {
        let (running, files, connections) = Default::default();
        Readers { parts: Parts::new(stop), running, files, connections, metrics, state_metrics, written, admin }
    }

    /// The registries that the catalog must have by this configuration, where it has those of `known`. For one that is
    /// not read yet, what was known before a restart is read from disk.
    pub(super) fn desired(&mut self, config: &Config, known: &Catalog) -> Desired {
        let mut desired = self.connections.desired(config);
        let store = Store::new(config.state.clone(), self.state_metrics.clone());
        for registry in desired.registries.iter_mut().filter(|r| !self.running.contains_key(&r.policy.registry)) {
            let memory = store.read(&registry.policy.registry, &registry.identity, SystemTime::now());
            registry.memory = memory.map(Arc::new);
        }
        self.open_written(config, &desired, known);
        desired
    }

    /// Opens the stores of registries of kind `api`. A new one gets the services that were kept on disk before a
    /// restart. That of a registry that left stays closed for as long as the catalog has it: who takes that back finds
    /// what there was. One that is of another kind now was meant to lose it.
    fn open_written(&self, config: &Config, desired: &Desired, known: &Catalog) {
        let named = |name: &str| config.registries.iter().find(|registry| *registry.name == *name);
        let is_written = |name: &str| named(name).is_some_and(|registry| registry.kind.adapter().is_written());
        self.written.close(|name| is_written(name));
        let is_known = |name: &str| known.registries.iter().any(|status| *status.name == *name);
        self.written.forget(|name| is_known(name) && (is_written(name) || named(name).is_none()));
        for registry in desired.registries.iter().filter(|r| is_written(&r.policy.registry)) {
            let name = &registry.policy.registry;
            let is_new = !self.written.has(name);
            let store = self.written.open(name);
            if is_new {
                let kept = registry.memory.iter().flat_map(|memory| &memory.services);
                let kept = kept.filter(|kept| kept.gone.is_none() && kept.read).map(|kept| kept.service.clone());
                store.restore(kept, Instant::now());
            }
        }
    }

    /// The same for a dry run, which reads nothing from disk and changes nothing.
    pub(super) fn tried_out(&self, config: &Config) -> Desired {
        self.connections.clone().desired(config)
    }

    /// Starts the readings that the catalog asks for, then stops those that have ended.
    pub(super) fn follow(
        &mut self,
        config: &Config,
        configured: Configured,
        manifests: &manifests::Handle,
        calls: &calls::Handle,
    ) {
        self.follow_files(config, manifests);
        let Configured { feeds, outcome } = configured;
        let ended: Vec<CancellationToken> = outcome.ended.iter().filter_map(|name| self.running.remove(name)).collect();
        for feed in feeds {
            let name = feed.reading.registry;
            let Some(registry) = config.registries.iter().find(|registry| registry.name == name) else { continue };
            let kind = registry.kind.clone().with_admin(self.admin);
            let feed = Feed {
                registry: name.clone(),
                updates: feed.updates,
                manifests: manifests.feed(&name),
                calls: calls.feed(&name),
                metrics: self.metrics.clone(),
                written: self.written.clone(),
            };
            let part = format!("registry {name}");
            let stop = self.parts.start(part, |stop| registry::read(kind, feed, stop));
            self.running.insert(name, stop);
        }
        ended.iter().for_each(CancellationToken::cancel);
        for name in outcome.ended.iter().filter(|name| !self.running.contains_key(*name)) {
            self.metrics.forget(name);
        }
    }

    /// Reads Istio's resources from the files of this configuration, and from no others.
    fn follow_files(&mut self, config: &Config, manifests: &manifests::Handle) {
        let paths = &config.traffic.paths;
        if self.files.as_ref().map_or(&[][..], |(_, paths)| paths) == *paths {
            return;
        }
        let before = self.files.take();
        if let Some(out) = manifests.feed(FILES).filter(|_| !paths.is_empty()) {
            let paths = paths.clone();
            let reading = paths.clone();
            let stop = self.parts.start("traffic", |stop| manifests::files::run(FILES.into(), reading, out, stop));
            self.files = Some((stop, paths));
        }
        before.iter().for_each(|(stop, _)| stop.cancel());
    }

    /// The reading that has broken, as in [`Parts::broken`].
    pub(super) async fn broken(&mut self) -> String {
        self.parts.broken().await
    }

    /// Stops all, and waits until they have ended.
    pub(super) async fn end(self) {
        self.parts.end().await;
    }
}
