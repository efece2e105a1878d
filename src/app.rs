//! The one place that sees every part: binds, joins, runs and ends them.
//!
//! Ports are taken before anything runs, so that a taken one is reported at once and tests can use port 0. Every part is a
//! task with a stop of its own (`parts`); one that ends before it is stopped ends the whole with an error, because a Portolan
//! without one of its parts would serve stale data in silence. What the configuration says is kept to by `reload`.
//!
//! The end goes against the direction of the data: first not ready, then the streams end themselves, then the rest.

mod access;
mod banner;
mod credentials;
mod follow;
mod parts;
pub mod plan;
mod presence;
mod readers;
mod reload;
mod rollout;
mod sockets;
mod sources;
mod status;
mod supervisor;
mod takeover;

use crate::{
    admin, calls, catalog,
    config::{self, Files, Loaded, Reading, Sources},
    csds, history, manifests,
    model::CALLS,
    registry, resolver,
    resource::Dialect,
    state,
    telemetry::{self, LogControl},
    util::systemd::{Inherited, Notify},
    views, xds,
};
use access::Access;
use anyhow::Context;
use credentials::Credentials;
use follow::Follow;
use parts::Parts;
use readers::Readers;
use reload::{Changeable, Reloader, called, called_before, laid, outputs, pin, recalled};
use rollout::Rollout;
use sources::Handles;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
};
use takeover::{Changing, Predecessor, Successors};
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{info, warn};

/// A Portolan that has its ports and does not run yet.
pub struct App {
    writer: catalog::Writer,
    catalog: catalog::Handle,
    views: [[views::Task; Dialect::ALL.len()]; 2],
    manifests: manifests::ManifestStore,
    calls: calls::Store,
    keeper: state::Keeper,
    recorder: history::Recorder,
    readers: Readers,
    /// The readings to start at the beginning, one for each registry.
    first: catalog::Configured,
    reloader: Reloader,
    xds: xds::Server,
    admin: admin::Server,
    /// The runtime on whose threads xDS is served.
    clients: Handle,
    csds: Option<csds::Server>,
    notify: Notify,
    /// The process that serves until this one can. `None`: there is none.
    predecessor: Option<Predecessor>,
    /// Hands the sockets to a process that takes over from this one. `None`: takeover is not configured.
    successors: Option<Successors>,
    changing: Changing,
    stopping: Arc<AtomicBool>,
    /// Ends all parts but the serving of xDS.
    rest: CancellationToken,
}

/// The inputs of a process that serves.
#[derive(Debug)]
pub struct Start {
    /// Where the configuration comes from.
    pub sources: Sources,
    /// The configuration as it was read from them.
    pub loaded: Loaded,
    /// The files that it depends on.
    pub files: Files,
    /// Whether it is read again when these change. Otherwise on SIGHUP and on request only.
    pub follow: bool,
    /// Changes level and format of the log. `None`: this process has set up no log.
    pub log: Option<LogControl>,
    /// The runtime whose threads serve xDS, so that many clients do not slow down everything else. `None`: the caller's
    /// own.
    pub clients: Option<Handle>,
    /// Listening sockets that were passed to the process, as by systemd.
    pub sockets: Vec<Inherited>,
    /// Tells systemd that the process is ready, alive or ending.
    pub notify: Notify,
    /// The path of the Unix socket of `--takeover`. `None`: this process takes over from no other.
    pub takeover: Option<PathBuf>,
}

impl Start {
    /// Reads the configuration, which is to be followed.
    ///
    /// # Errors
    /// If it cannot be read, or has mistakes.
    pub fn read(sources: Sources) -> Result<Start, config::Error> {
        let Reading { result, files } = sources.read();
        let (sockets, notify) = (Vec::new(), Notify::nobody());
        let (log, clients, takeover) = (None, None, None);
        Ok(Start { sources, loaded: result?, files, follow: true, log, clients, sockets, notify, takeover })
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
    banner::print(banner::text(&app.xds.addresses(), app.admin_addr(), &read, example));
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
        let Start { sources, loaded, files, follow, log, clients, mut sockets, notify, takeover } = start;
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
        let call_metrics = calls::Metrics::default();
        call_metrics.register(&mut metrics);
        let state_metrics = state::Metrics::default();
        state_metrics.register(&mut metrics);

        let (mut writer, catalog) = catalog::Writer::new(config.catalog, catalog_metrics);
        let published = writer.journal();
        // Before anything is read from disk, where the process that serves writes once more.
        let (predecessor, passed) = takeover.as_deref().map(Predecessor::ask).transpose()?.flatten().unzip();
        let laid = laid(config, &state_metrics);
        writer.recall_overrides(&laid.overrides);
        let (manifests, kept) =
            manifests::ManifestStore::new(recalled(config, &state_metrics), config.istio.create_time, manifest_metrics);
        pin(&kept, &laid);
        let before = called_before(config, &state_metrics);
        let (calls, calls_read) =
            calls::Store::new(called(config), config.calls.clone(), before.as_ref(), call_metrics);
        let options = views::Options { outputs: outputs(config), ..views::Options::default() };
        let (set, views) = views::Set::new(options, catalog.clone(), kept.clone(), view_metrics);
        let access = Arc::new(Access::new(set.clone(), calls_read.clone(), config.scopes.clone()));
        let (mut listeners, admin_tls, credentials) = Credentials::load(config, &mut metrics)?;
        sockets.extend(passed.into_iter().flatten());
        let others = sockets::hand_out(sockets, &mut listeners, config.admin.listen, config.csds);
        let xds = xds::Server::bind(config.xds.options(), &listeners, access.clone(), xds_metrics.clone())?;
        let stopping = Arc::new(AtomicBool::new(false));
        let written = registry::Written::default();
        if predecessor.is_some() {
            // Until this process serves nobody can give a sign of life.
            written.pause();
        }
        let (keeper, state) =
            state::Keeper::new(config.state.clone(), catalog.clone(), &kept, &calls_read, state_metrics.clone());
        let (recorder, history) = history::Recorder::new(state.options(), catalog.clone(), published, kept.clone());
        let (status, configuration, requests) =
            status::started(loaded.hash, sources.names(), history.clone(), &mut metrics);
        let handles = Handles {
            catalog: catalog.clone(),
            views: set.clone(),
            manifests: kept.clone(),
            calls: calls_read.clone(),
            clients: xds.clients(),
            quarantine: xds.quarantine(),
            xds_metrics,
            configuration,
            history,
            written: written.clone(),
            stopping: stopping.clone(),
        };
        let protection = admin::Protection::default();
        protection.hosts.set(&config.admin.hosts);
        protection.tokens.set(&config.admin.read, &config.admin.change);
        protection.set_tls(admin_tls);
        let (handles, metrics) = (Arc::new(handles), Arc::new(metrics));
        let admin = match others.admin {
            Some(socket) => admin::Server::on(sockets::listener(&socket)?, protection.clone(), handles, metrics)?,
            None => admin::Server::bind(config.admin.listen, protection.clone(), handles, metrics).await?,
        };
        let csds = match (config.csds, &others.csds) {
            (Some(_), Some(socket)) => Some(csds::Server::on(sockets::listener(socket)?, xds.clients())?),
            (Some(address), None) => Some(csds::Server::bind(address, xds.clients()).await?),
            (None, _) => None,
        };
        let changing = Changing { changes: protection.changes.clone(), written: written.clone(), state: state.clone() };
        let successors = |path| Successors::new(path, changing.clone(), &xds, &admin, csds.as_ref());
        let successors = takeover.map(successors).transpose()?;
        let rest = CancellationToken::new();
        let mut readers =
            Readers::new(registry_metrics, state_metrics.clone(), written, admin.local_addr(), rest.child_token());
        let first = writer.configure(readers.desired(config, &catalog.load()), false);
        let follow = follow.then(|| Follow::new(files));
        let xds_control = xds.control();
        let parts = Changeable {
            catalog: catalog.clone(),
            views: set,
            access,
            manifests: kept,
            calls: calls_read,
            state,
            xds: xds_control,
            quarantine: xds.quarantine(),
            protection,
            log,
        };
        let (rollout, reported) = (Rollout::new(outputs(config)), None);
        let reloader =
            Reloader { sources, follow, credentials, parts, hangup, requests, status, rollout, reported, loaded };
        let clients = clients.unwrap_or_else(Handle::current);
        Ok(App {
            writer,
            catalog,
            views,
            manifests,
            calls,
            keeper,
            recorder,
            readers,
            first,
            reloader,
            xds,
            admin,
            csds,
            clients,
            notify,
            predecessor,
            successors,
            changing,
            stopping,
            rest,
        })
    }

    /// The address of the first listener of TCP; for port 0 in the configuration, with the port that the system chose.
    pub fn xds_addr(&self) -> Option<SocketAddr> {
        self.xds.local_addr()
    }

    /// The address of the client status service (CSDS), in the same way. `None`: it is not served.
    pub fn csds_addr(&self) -> Option<SocketAddr> {
        self.csds.as_ref().map(csds::Server::local_addr)
    }

    /// The names of all listeners of xDS, with their addresses.
    pub fn listeners(&self) -> Vec<(Arc<str>, xds::Address)> {
        self.xds.addresses()
    }

    /// The address of the admin API, in the same way.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// Serves until `shutdown`, then drains and ends.
    ///
    /// # Errors
    /// If a part ends before it is told to.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let App { writer, catalog, views, manifests, calls, keeper, recorder, mut readers, first, reloader, .. } = self;
        let App { xds, admin, csds, clients, notify, predecessor, successors, changing, stopping, rest, .. } = self;
        let mut parts = Parts::new(rest.clone());
        readers.follow(&reloader.loaded.config, first, &reloader.parts.manifests, &reloader.parts.calls);
        parts.start("catalog", |stop| writer.run(stop));
        parts.start("resolver", |stop| resolver::run(resolver::System::new(), catalog, stop));
        parts.start("manifests", |stop| manifests.run(stop));
        parts.start("calls", |stop| calls.run(stop));
        let (models, kept) = (reloader.parts.calls.clone(), reloader.parts.manifests.clone());
        let known = reloader.parts.catalog.clone();
        parts.start("sidecars", |stop| calls::follow(models, known, move || kept.feed(CALLS), stop));
        let access = reloader.parts.access.clone();
        parts.start("callers", |stop| access.follow_calls(stop));
        for (task, of) in
            views.into_iter().zip(["views", "next views"]).flat_map(|(all, of)| all.map(|task| (task, of)))
        {
            parts.start(format!("{of} of {}", task.name()), |stop| task.run(stop));
        }
        let (presence, set) = (reloader.parts.access.presence.clone(), reloader.parts.views.clone());
        let (notify, ready, told) = (Arc::new(notify), set.clone(), set.clone());
        parts.start("presence", |stop| presence.run(set, stop));
        let (teller, grace) = (notify.clone(), reloader.loaded.config.catalog.grace);
        parts.start("supervisor", |stop| supervisor::run(teller, told, grace, stop));
        let drain = reloader.loaded.config.xds.drain;
        // It writes once more when it ends, and needs the catalog for that.
        let mut state = Parts::new(CancellationToken::new());
        state.start("history", |stop| recorder.run(stop));
        let closing = shutdown.clone();
        parts.start("configuration", |stop| reloader.run(readers, closing, stop));

        if let Some(predecessor) = predecessor {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = predecessor.relieve(&ready) => {}
                broken = parts.broken() => anyhow::bail!("{broken}"),
                broken = state.broken() => anyhow::bail!("{broken}"),
            }
            changing.resume();
        }
        // Not before: until then the files of state belong to the process that serves.
        let keeping = state.start("state", |stop| keeper.run(stop));
        let asked = parts.start("admin", |stop| admin.run(stop));
        if let Some(csds) = csds {
            parts.start("client status", |stop| csds.run(stop));
        }
        let (relieved, told, let_go) = (CancellationToken::new(), shutdown.clone(), xds.control());
        let handing = successors.map(|successors| {
            let relieved = relieved.clone();
            parts.start("takeover", |stop| async move {
                if successors.wait(stop.clone()).await {
                    info!("Another process has taken over.");
                    let_go.let_go();
                    asked.cancel();
                    // The folder is the other's: it waits for no client that is slow to leave.
                    keeping.cancel();
                    relieved.cancel();
                    stop.cancelled().await;
                }
            })
        });
        let mut serving = AbortOnDropHandle::new(clients.spawn(xds.run(shutdown.clone())));
        tokio::select! {
            // First: without connections, serving ends in the same moment as it is cancelled.
            biased;
            () = shutdown.cancelled() => {}
            () = relieved.cancelled() => told.cancel(),
            ended = &mut serving => anyhow::bail!("serving xDS ended by itself: {ended:?}"),
            broken = parts.broken() => anyhow::bail!("{broken}"),
            broken = state.broken() => anyhow::bail!("{broken}"),
        }
        stopping.store(true, Ordering::Relaxed);
        supervisor::stopping(&notify, drain);
        serving.await.context("serving xDS broke")?;
        // What was acknowledged last is written, too; and nobody takes changes again.
        handing.iter().for_each(CancellationToken::cancel);
        if !changing.end().await {
            warn!("Cannot wait for what has changed last; it may not be kept.");
        }
        state.end().await;
        parts.end().await;
        Ok(())
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
