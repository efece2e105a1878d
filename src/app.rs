//! The one place that sees every part: binds, joins, runs and ends them.
//!
//! Ports are taken before anything runs, so that a taken one is reported at once and tests can use port 0. Every part is a
//! task with a stop of its own (`parts`); one that ends before it is stopped ends the whole with an error, because a Portolan
//! without one of its parts would serve stale data in silence. What the configuration says is kept to by `reload`.
//!
//! The end goes against the direction of the data: first not ready, then the streams end themselves, then the rest.

mod banner;
mod follow;
mod parts;
pub mod plan;
mod readers;
mod reload;
mod sources;
mod status;

use crate::{
    admin, catalog,
    config::{self, Files, Loaded, Reading, Sources},
    manifests, registry, resolver,
    resource::Readiness,
    telemetry::{self, LogLevel},
    translate::envoy,
    views, xds,
};
use follow::Follow;
use parts::Parts;
use readers::Readers;
use reload::{Reloader, manifest_sources};
use sources::Handles;
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// A Portolan that has its ports and does not run yet.
pub struct App {
    writer: catalog::Writer,
    feeds: Vec<catalog::Feed>,
    catalog: catalog::Handle,
    envoys: views::Follower<envoy::Options>,
    istiods: views::Follower<views::Istio>,
    manifests: manifests::Keeper,
    readers: Readers,
    reloader: Reloader,
    xds: xds::Server,
    admin: admin::Server,
    stopping: Arc<AtomicBool>,
    /// Ends all but serving.
    rest: CancellationToken,
}

/// What a Portolan starts with.
#[derive(Debug)]
pub struct Start {
    /// Where the configuration comes from.
    pub sources: Sources,
    /// What it is now.
    pub loaded: Loaded,
    /// The files that it depends on.
    pub files: Files,
    /// Whether it is read again when these change. Otherwise on SIGHUP and on request only.
    pub follow: bool,
    /// Changes the level of the log, where this process has one.
    pub log: Option<LogLevel>,
}

impl Start {
    /// Reads the configuration, which is to be followed.
    ///
    /// # Errors
    /// If it cannot be read, or has mistakes.
    pub fn read(sources: Sources) -> Result<Start, config::Error> {
        let Reading { result, files } = sources.read();
        Ok(Start { sources, loaded: result?, files, follow: true, log: None })
    }
}

/// Serves until the process is told to end (SIGTERM, SIGINT).
///
/// # Errors
/// If a port cannot be had, or a part ends before it is stopped.
pub async fn run(start: Start) -> anyhow::Result<()> {
    let config = &start.loaded.config;
    reload::log_warnings(&start.loaded.warnings);
    let example = config.registries.iter().any(|r| r.kind.is_example());
    let read: Vec<String> = config.registries.iter().map(|r| format!("{} ({})", r.name, r.kind.name())).collect();
    let app = App::bind(start).await?;
    banner::print(banner::text(app.xds_addr(), app.admin_addr(), &read, example));
    let shutdown = CancellationToken::new();
    let running = app.run(shutdown.clone());
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return ended,
        signal = shutdown_signal() => info!(signal = signal?, "Ending."),
    }
    shutdown.cancel();
    running.await
}

impl App {
    /// Takes the ports, and joins the parts.
    ///
    /// # Errors
    /// If a port cannot be had, or signals cannot be received.
    pub async fn bind(start: Start) -> anyhow::Result<App> {
        // Before anything else: until then SIGHUP would end the process.
        let hangup = signal(SignalKind::hangup())?;
        let Start { sources, loaded, files, follow, log } = start;
        let config = &loaded.config;
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

        let (mut writer, catalog) = catalog::Writer::new(config.catalog, catalog_metrics);
        let registries = config.registries.iter().map(|registry| registry.policy.clone().into()).collect();
        let desired = catalog::Desired { registries, options: config.catalog };
        let feeds = writer.configure(desired, false).feeds;
        let (envoys, envoy) = views::Follower::new(config.envoy.clone(), catalog.clone(), view_metrics.clone());
        let sources_of_manifests = manifest_sources(config);
        let (manifests, kept) =
            manifests::Keeper::new(sources_of_manifests, config.istio.create_time, manifest_metrics);
        let entries = views::Istio::new(config.istio.clone(), view_metrics.clone());
        let (istiods, istio) = views::Follower::new(entries, catalog.clone(), view_metrics);
        let istiods = istiods.with_manifests(kept.clone());
        let views = Views { envoy, istio };
        let xds = xds::Server::bind(xds_options(&config.xds), Arc::new(views.clone()), xds_metrics.clone())?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (status, configuration, requests) = status::started(loaded.hash, sources.names(), &mut metrics);
        let handles = Handles {
            catalog: catalog.clone(),
            views,
            manifests: kept,
            clients: xds.clients(),
            xds_metrics,
            configuration,
            stopping: stopping.clone(),
        };
        let admin =
            admin::Server::bind(config.admin.listen, &config.admin.hosts, Arc::new(handles), Arc::new(metrics)).await?;
        let rest = CancellationToken::new();
        let readers = Readers::new(registry_metrics, admin.local_addr(), rest.child_token());
        let follow = follow.then(|| Follow::new(files));
        let reloader = Reloader { sources, loaded, follow, log, hangup, requests, status, reported: None };
        Ok(App { writer, feeds, catalog, envoys, istiods, manifests, readers, reloader, xds, admin, stopping, rest })
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
        let App {
            writer,
            feeds,
            catalog,
            envoys,
            istiods,
            manifests,
            mut readers,
            reloader,
            xds,
            admin,
            stopping,
            rest,
        } = self;
        let mut parts = Parts::new(rest.clone());
        readers.start(&reloader.loaded.config, feeds, &manifests);
        parts.start("catalog", |stop| writer.run(stop));
        parts.start("resolver", |stop| resolver::run(resolver::System::new(), catalog, stop));
        parts.start("manifests", |stop| manifests.run(stop));
        parts.start("the view of Envoys", |stop| envoys.run(stop));
        parts.start("the view of Istiods", |stop| istiods.run(stop));
        parts.start("admin", |stop| admin.run(stop));
        let closing = shutdown.clone();
        parts.start("configuration", |stop| reloader.run(readers, closing, stop));

        let serving = xds.run(shutdown.clone());
        tokio::pin!(serving);
        tokio::select! {
            // First: without connections, serving ends in the same moment as it is cancelled.
            biased;
            () = shutdown.cancelled() => {}
            () = &mut serving => anyhow::bail!("serving xDS ended by itself"),
            broken = parts.broken() => anyhow::bail!("{broken}"),
        }
        stopping.store(true, Ordering::Relaxed);
        serving.await;
        parts.end().await;
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

async fn shutdown_signal() -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}
