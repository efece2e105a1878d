//! The one place that sees every part: binds, joins, runs and ends them.
//!
//! Ports are taken before anything runs, so that a taken one is told at once and tests can use port 0. Every part is a
//! task in one set; one that ends before it is told to ends the whole with an error, because a Portolan without one of
//! its parts would serve stale data in silence.
//!
//! The end goes against the direction of the data: first not ready, then the streams end themselves, then the rest.

mod banner;
mod sources;

use crate::{
    admin, catalog,
    config::{self, Config, RegistryConfig},
    manifests, registry, resolver,
    resource::Readiness,
    telemetry,
    translate::envoy,
    views, xds,
};
use anyhow::Context;
use sources::Handles;
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
};
use tokio::{signal::unix, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// A Portolan that has its ports and does not run yet.
pub struct App {
    writer: catalog::Writer,
    catalog: catalog::Handle,
    envoys: views::Follower<envoy::Options>,
    istiods: views::Follower<views::Istio>,
    manifests: manifests::Keeper,
    registries: Vec<registry::Registry>,
    registry_metrics: registry::Metrics,
    xds: xds::Server,
    admin: admin::Server,
    stopping: Arc<AtomicBool>,
}

/// Serves until the process is told to end (SIGTERM, SIGINT).
///
/// # Errors
/// If a port cannot be had, or a part ends before it is told to.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let example = config.registries.iter().any(|r| r.kind.is_example());
    let read: Vec<String> = config.registries.iter().map(|r| format!("{} ({})", r.name, r.kind.name())).collect();
    let app = App::bind(config).await?;
    banner::print(banner::text(app.xds_addr(), app.admin_addr(), &read, example));
    let shutdown = CancellationToken::new();
    let running = app.run(shutdown.clone());
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return ended,
        signal = told_to_end() => info!(signal = signal?, "Ending."),
    }
    shutdown.cancel();
    running.await
}

impl App {
    /// Takes the ports, and joins the parts.
    ///
    /// # Errors
    /// If a port cannot be had.
    pub async fn bind(config: Config) -> anyhow::Result<App> {
        let mut metrics = telemetry::registry();
        let catalog_metrics = catalog::Metrics::default();
        let registry_metrics = registry::Metrics::default();
        let view_metrics = views::Metrics::default();
        let xds_metrics = xds::Metrics::default();
        let manifest_metrics = manifests::Metrics::default();
        catalog_metrics.register(&mut metrics);
        registry_metrics.register(&mut metrics);
        view_metrics.register(&mut metrics);
        xds_metrics.register(&mut metrics);
        manifest_metrics.register(&mut metrics);

        let policies = config.registries.iter().map(|registry| registry.policy.clone()).collect();
        let (writer, catalog) = catalog::Writer::new(policies, config.catalog, catalog_metrics);
        let (envoys, envoy) = views::Follower::new(config.envoy, catalog.clone(), view_metrics.clone());
        let sources = config.registries.iter().filter_map(manifests_of).collect();
        let (manifests, kept) = manifests::Keeper::new(sources, config.istio.create_time, manifest_metrics);
        let entries = views::Istio::new(config.istio, view_metrics.clone());
        let (istiods, istio) = views::Follower::new(entries, catalog.clone(), view_metrics);
        let istiods = istiods.with_manifests(kept.clone());
        let views = Views { envoy, istio };
        let xds = xds::Server::bind(xds_options(&config.xds), Arc::new(views.clone()), xds_metrics.clone())?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (clients, stopping_too) = (xds.clients(), stopping.clone());
        let handles =
            Handles { catalog: catalog.clone(), views, manifests: kept, clients, xds_metrics, stopping: stopping_too };
        let admin =
            admin::Server::bind(config.admin.listen, &config.admin.hosts, Arc::new(handles), Arc::new(metrics)).await?;
        let address = admin.local_addr();
        let registries = config.registries.into_iter();
        let registries = registries.map(|r| registry::Registry { name: r.name, kind: r.kind.with_admin(address) });
        let registries = registries.collect();
        Ok(App { writer, catalog, envoys, istiods, manifests, registries, registry_metrics, xds, admin, stopping })
    }

    /// Where clients connect.
    pub fn xds_addr(&self) -> SocketAddr {
        self.xds.local_addr()
    }

    /// Where people ask.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// Serves until `shutdown`, then drains and ends.
    ///
    /// # Errors
    /// If a part ends before it is told to.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let App { writer, catalog, envoys, istiods, manifests, registries, registry_metrics, xds, admin, stopping } =
            self;
        let rest = CancellationToken::new();
        let mut parts: JoinSet<&'static str> = JoinSet::new();
        let mut spawn = |name, part: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            parts.spawn(async move {
                part.await;
                name
            });
        };
        for (place, registry) in registries.into_iter().enumerate() {
            let kept = manifests.feed(&registry.name);
            let task = registry::spawn(registry, writer.feed(place), kept, registry_metrics.clone(), rest.clone());
            spawn("registry", Box::pin(async move { drop(task.await) }));
        }
        spawn("catalog", Box::pin(writer.run(rest.clone())));
        spawn("resolver", Box::pin(resolver::run(resolver::System::new(), catalog, rest.clone())));
        spawn("the view of Envoys", Box::pin(envoys.run(rest.clone())));
        spawn("manifests", Box::pin(manifests.run(rest.clone())));
        spawn("the view of Istiods", Box::pin(istiods.run(rest.clone())));
        spawn("admin", Box::pin(admin.run(rest.clone())));

        let serving = xds.run(shutdown.clone());
        tokio::pin!(serving);
        tokio::select! {
            // First: without connections, serving ends in the same moment as it is cancelled.
            biased;
            () = shutdown.cancelled() => {}
            () = &mut serving => anyhow::bail!("serving xDS ended by itself"),
            Some(ended) = parts.join_next() => {
                let part = ended.context("a part of Portolan broke")?;
                anyhow::bail!("the part {part:?} ended by itself");
            }
        }
        stopping.store(true, Ordering::Relaxed);
        serving.await;
        rest.cancel();
        while parts.join_next().await.is_some() {}
        Ok(())
    }
}

/// Everyone sees everything, in the form that it understands.
#[derive(Clone)]
struct Views {
    envoy: views::View,
    istio: views::View,
}

impl xds::Views for Views {
    fn subscribe(&self, client: &xds::Subscriber<'_>) -> Result<xds::Subscription, xds::Refused> {
        let generations = match client.dialect {
            xds::Dialect::Envoy => self.envoy.subscribe(),
            xds::Dialect::Istio => self.istio.subscribe(),
        };
        Ok(xds::Subscription { view: client.dialect.name().into(), generations })
    }

    fn readiness(&self) -> watch::Receiver<Readiness> {
        self.envoy.readiness()
    }
}

/// The manifests that it keeps, if it keeps any.
fn manifests_of(config: &RegistryConfig) -> Option<manifests::Source> {
    let namespace = config.kind.adapter().manifest_namespace()?;
    Some(manifests::Source { registry: config.name.clone(), namespace })
}

fn xds_options(config: &config::Xds) -> xds::Options {
    xds::Options {
        address: config.listen,
        max_request_bytes: config.limits.request_bytes,
        max_names: config.limits.names_per_stream,
        max_streams: config.limits.streams,
        max_streams_per_connection: config.limits.streams_per_connection,
        max_connections: config.limits.connections,
        drain: config.drain,
        max_connection_age: config.max_connection_age,
        ..xds::Options::default()
    }
}

async fn told_to_end() -> std::io::Result<&'static str> {
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}
