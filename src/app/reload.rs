//! Keeps a running Portolan to its configuration: reads it again when its files change, on SIGHUP and on request, and does
//! what follows from it.
//!
//! One task does all of this, so that reloads come one after the other. The order of each: read all, check all, compare
//! (`plan`); refuse the whole on any problem, and then nothing has changed. Otherwise the catalog is given its new registries
//! and policies, new readings start beside the old ones, whose services stay until the new ones were listed, views get
//! their options, and what is no longer wanted stops.

use super::{
    access::{Access, is_next},
    credentials::Credentials,
    follow::Follow,
    plan::{Change, Plan, plan},
    readers::Readers,
    rollout::Rollout,
    status::{Cause, Request, Status, Tried},
};
use crate::{
    admin::{self, Attempt, Reload},
    calls,
    catalog::{self, Desired, Held, LONGEST, Target},
    config::{self, Config, Loaded, Reading, Sources},
    manifests,
    model::{CALLS, FILES, Text},
    scope::{self, Share},
    state::{self, Content, EVERYTHING, Laid, Store},
    telemetry::LogControl,
    util::{
        time::until,
        yaml::{Problem, Problems},
    },
    views::{self, Outputs},
    xds,
};
use std::{collections::BTreeSet, sync::Arc, time::SystemTime};
use tokio::{signal::unix::Signal, sync::mpsc, task::spawn_blocking, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

/// Keeps a running Portolan to its configuration.
pub(super) struct Reloader {
    pub(super) sources: Sources,
    /// The configuration in force.
    pub(super) loaded: Loaded,
    /// `None`: files are read again on SIGHUP and on request only.
    pub(super) follow: Option<Follow>,
    pub(super) credentials: Credentials,
    pub(super) parts: Changeable,
    pub(super) hangup: Signal,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) status: Status,
    pub(super) rollout: Rollout,
    /// The problems that were logged last, until a configuration is accepted.
    pub(super) reported: Option<String>,
}

/// The parts that a configuration changes, besides the readings of registries.
pub(super) struct Changeable {
    pub(super) catalog: catalog::Handle,
    pub(super) views: views::Set,
    pub(super) access: Arc<Access>,
    pub(super) manifests: manifests::Handle,
    pub(super) calls: calls::Handle,
    pub(super) state: state::Control,
    pub(super) xds: xds::Control,
    pub(super) quarantine: Arc<xds::Quarantine>,
    pub(super) protection: admin::Protection,
    /// `None`: this process has set up no log.
    pub(super) log: Option<LogControl>,
}

impl Changeable {
    /// Applies a configuration to all parts, its output settings as far as they are rolled out. Returns what is held
    /// back of it.
    async fn apply(&self, config: &Config, rollout: &Rollout, readers: &mut Readers, force: bool) -> Vec<Held> {
        self.xds.set(config.xds.options());
        self.protection.hosts.set(&config.admin.hosts);
        self.protection.tokens.set(&config.admin.read, &config.admin.change);
        self.state.set(config.state.clone());
        // First, so that new readings find where to send manifests.
        self.manifests.configure(manifest_sources(config), config.istio.create_time);
        self.calls.configure(called(config), config.calls.clone());
        // Before other settings come to those who have them: who is not to have these sees the settled ones by then.
        let (settled, next) = (rollout.settled(), rollout.next());
        match next {
            Some((_, share)) => self.access.share_at_most(share),
            None if self.views.outputs() == *settled => self.access.share(Share::NONE),
            // These become the settled ones.
            None => {}
        }
        // Views wait for the catalog of this revision, so that they take both in one step.
        let revision = self.views.configure(settled.clone(), next.map(|(outputs, _)| outputs.clone()));
        self.access.configure(scopes(config, rollout));
        let desired = Desired { revision, ..readers.desired(config, &self.catalog.load()) };
        // Without a catalog the process is about to end.
        let Some(configured) = self.catalog.configure(desired, force).await else { return Vec::new() };
        let held = configured.outcome.held.clone();
        readers.follow(config, configured, &self.manifests, &self.calls);
        match next {
            Some((_, share)) => self.access.share(share),
            None => {
                // Nobody goes back to what was settled before.
                if self.access.is_shared() {
                    self.views.made(revision).await;
                    self.access.share(Share::NONE);
                }
                self.views.end_next();
                self.quarantine.forget(is_next);
            }
        }
        // Only then is it in force for who comes: a view that is there has what it had until it is made anew.
        self.views.selected().await;
        held
    }

    fn set_log(&self, old: &config::Log, new: &config::Log) {
        let Some(log) = self.log.as_ref().filter(|_| old != new) else { return };
        log.set_format(new.format);
        if let Err(error) = log.set_level(&new.level) {
            warn!(%error, "Cannot change the level of the log.");
        }
    }

    /// What would be held back of a configuration, for a dry run.
    async fn try_out(&self, config: &Config, readers: &Readers, force: bool) -> Vec<Held> {
        self.catalog.try_out(readers.tried_out(config), force).await.unwrap_or_default()
    }
}

/// The sources of manifests: registries that keep them, files, and the call model.
pub(super) fn manifest_sources(config: &Config) -> Vec<manifests::Source> {
    let source = |registry: &config::RegistryConfig| {
        let adapter = registry.kind.adapter();
        let (namespace, identity) = (adapter.manifest_namespace()?, adapter.identity().into());
        Some(manifests::Source { registry: registry.name.clone(), namespace, identity, memory: None })
    };
    let (namespace, identity) = (config.traffic.namespace(), format!("files {:?}", config.traffic.paths).into());
    let files = manifests::Source { registry: FILES.into(), namespace, identity, memory: None };
    let files = (!config.traffic.paths.is_empty()).then_some(files);
    // They name their namespaces themselves.
    let (namespace, identity) = (config.traffic.namespace(), "made of calls".into());
    let calls = manifests::Source { registry: CALLS.into(), namespace, identity, memory: None };
    let calls = (config.calls.sidecars.is_some() && !called(config).is_empty()).then_some(calls);
    config.registries.iter().filter_map(source).chain(files).chain(calls).collect()
}

/// The registries whose consumers are read.
pub(super) fn called(config: &Config) -> BTreeSet<Text> {
    let read = config.registries.iter().filter(|registry| registry.kind.adapter().reads_consumers());
    read.map(|registry| registry.name.clone()).collect()
}

/// The same, each with its manifests from before a restart.
pub(super) fn recalled(config: &Config, metrics: &state::Metrics) -> Vec<manifests::Source> {
    let store = Store::new(config.state.clone(), metrics.clone());
    let mut sources = manifest_sources(config);
    for source in &mut sources {
        source.memory = store.read(&source.registry, &source.identity, SystemTime::now()).map(Arc::new);
    }
    sources
}

/// The overrides that were in force before a restart, from disk.
pub(super) fn laid(config: &Config, metrics: &state::Metrics) -> Laid {
    kept(config, metrics).unwrap_or_default()
}

/// The call model from before a restart, from disk. `None`: there is none, or no consumers are read.
pub(super) fn called_before(config: &Config, metrics: &state::Metrics) -> Option<calls::Model> {
    if called(config).is_empty() { None } else { kept(config, metrics) }
}

/// Reads state from disk that does not belong to a single registry.
fn kept<M: Content>(config: &Config, metrics: &state::Metrics) -> Option<M> {
    Store::new(config.state.clone(), metrics.clone()).read(&EVERYTHING.into(), EVERYTHING, SystemTime::now())
}

/// Pins manifests again if everything was pinned before a restart.
pub(super) fn pin(manifests: &manifests::Handle, laid: &Laid) {
    let everything = laid.overrides.iter().filter(|over| over.of == Target::Everything);
    let until = everything.map(|over| over.until).max();
    let left = until.and_then(|until| until.duration_since(SystemTime::now()).ok());
    if let Some((then, left)) = laid.manifests.clone().zip(left) {
        manifests.pin(Some((then, Instant::now() + left.min(LONGEST))));
    }
}

/// The output settings: how published services become resources.
pub(super) fn outputs(config: &Config) -> Outputs {
    let traffic = views::Traffic {
        mesh: config.traffic.mesh.clone(),
        namespace: config.traffic.namespace(),
        gateways: config.gateways.clone(),
        policies: config.policies.clone(),
    };
    Outputs { envoy: config.envoy.clone(), istio: config.istio.clone(), traffic }
}

/// The rules of scopes. During a rollout the settled output settings may still need the own cluster of callers.
fn scopes(config: &Config, rollout: &Rollout) -> scope::Rules {
    let has_own_cluster = |outputs: &Outputs| outputs.envoy.zones.own_cluster.is_some();
    let settled = rollout.next().is_some() && has_own_cluster(rollout.settled());
    scope::Rules { own_cluster: config.scopes.own_cluster || settled, ..config.scopes.clone() }
}

/// Logs the warnings of a configuration.
pub(crate) fn log_warnings(warnings: &Problems) {
    for warning in warnings.iter() {
        warn!(file = %warning.file, line = warning.place.line, key = %warning.path, "{}", warning.text);
    }
}

impl Reloader {
    /// Runs until `stop`. From `shutdown` on, no reload begins.
    pub(super) async fn run(mut self, mut readers: Readers, shutdown: CancellationToken, stop: CancellationToken) {
        let refusals = self.parts.access.refusals.clone();
        loop {
            let open = !shutdown.is_cancelled();
            // All are safe to cancel: neither a request, a signal nor a change of files is lost.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                broken = readers.broken() => {
                    error!(broken, "The reading of a registry cannot go on.");
                    return;
                }
                Some(request) = self.requests.recv() => {
                    // Dropped at the end: whoever asked is told so.
                    if open && !shutdown.is_cancelled() {
                        self.answer(request, &mut readers).await;
                    }
                }
                () = until(self.rollout.due()), if open => {
                    if self.rollout.advance(Instant::now()) {
                        self.roll(&mut readers).await;
                    }
                }
                Some(()) = self.hangup.recv(), if open => drop(self.reload(Cause::Signal, Reload::default(), &mut readers).await),
                () = self.credentials.changed(), if open => {
                    self.credentials.renew(&self.loaded.config, &self.parts.xds, &self.parts.protection).await;
                }
                () = changed(self.follow.as_mut()), if open => drop(self.reload(Cause::File, Reload::default(), &mut readers).await),
                // Last: clients keep nothing of the above waiting, however often they refuse.
                () = refusals.changed() => self.refused(),
            }
        }
        readers.end().await;
    }

    async fn answer(&mut self, request: Request, readers: &mut Readers) {
        // Whoever asked may have gone.
        match request {
            Request::Reload(how, answer) => drop(answer.send(self.reload(Cause::Request, how, readers).await)),
            Request::Steer(steer, answer) => {
                let steered = self.rollout.steer(steer, Instant::now());
                if steered.is_ok() {
                    self.parts.access.refusals.clear();
                    self.roll(readers).await;
                }
                let status = || self.rollout.status(&self.parts.access.refusals, Instant::now());
                drop(answer.send(steered.map(|()| status()).map_err(|why| why.to_string())));
            }
        }
    }

    /// Applies the state of the rollout to all parts.
    async fn roll(&mut self, readers: &mut Readers) {
        self.parts.apply(&self.loaded.config, &self.rollout, readers, false).await;
        self.tell();
    }

    /// Called when a node refuses resources made with the next settings: the rollout may halt.
    fn refused(&mut self) {
        self.rollout.refused(self.parts.access.refusals.count());
        self.tell();
    }

    fn tell(&self) {
        self.status.rolls(self.rollout.status(&self.parts.access.refusals, Instant::now()));
    }

    /// Reads the configuration again, and does what follows from it.
    async fn reload(&mut self, cause: Cause, how: Reload, readers: &mut Readers) -> Attempt {
        let sources = self.sources.clone();
        let read = spawn_blocking(move || sources.read()).await;
        let Reading { result, files } = read.expect("reading a configuration does not panic");
        if let Some(follow) = self.follow.as_mut().filter(|_| !how.dry_run) {
            follow.set(files);
        }
        let loaded = match result {
            Ok(loaded) => loaded,
            Err(config::Error::Invalid(problems)) => return self.refuse(cause, how, None, &Plan::default(), problems),
            Err(error) => return self.refuse(cause, how, None, &Plan::default(), unreadable(&self.sources, &error)),
        };
        let plan = plan(&self.loaded.config, &loaded.config);
        let problems = restarts(&loaded, &plan);
        if !problems.is_empty() {
            return self.refuse(cause, how, Some(loaded.hash), &plan, problems);
        }
        let mut held = Vec::new();
        // By force, what a former reload left held back is done, too.
        let differs = !plan.changes.is_empty() || how.force;
        if how.dry_run {
            if differs {
                held = self.parts.try_out(&loaded.config, readers, how.force).await;
            }
            return self.status.tried(cause, Tried::Planned, Some(loaded.hash), &plan, held, Problems::default());
        }
        if differs {
            log_warnings(&loaded.warnings);
            self.parts.set_log(&self.loaded.config.log, &loaded.config.log);
            self.credentials.renew(&loaded.config, &self.parts.xds, &self.parts.protection).await;
            if self.rollout.follow(outputs(&loaded.config), loaded.config.xds.rollout.as_ref(), Instant::now()) {
                self.parts.access.refusals.clear();
            }
            held = self.parts.apply(&loaded.config, &self.rollout, readers, how.force).await;
            self.tell();
        }
        self.accept(cause, loaded, &plan, held)
    }

    /// Logs and notes a configuration that was applied.
    fn accept(&mut self, cause: Cause, loaded: Loaded, plan: &Plan, held: Vec<Held>) -> Attempt {
        let (hash, changes, cause_name) = (config::hash_text(loaded.hash), plan.to_string(), cause.name());
        if self.reported.take().is_some() || !plan.changes.is_empty() {
            info!(cause = cause_name, hash, changes, "Reloaded the configuration.");
        } else {
            debug!(cause = cause_name, hash, changes, "Read the configuration again.");
        }
        for Held { registry, endpoints, of, until, .. } in &held {
            let until = humantime::format_rfc3339_seconds(*until);
            warn!(%registry, endpoints, of, %until, "Held back what the new configuration takes away; release it, or reload with `force`.");
        }
        let tried = if plan.changes.is_empty() { Tried::Unchanged } else { Tried::Reloaded };
        let hash = loaded.hash;
        self.loaded = loaded;
        self.status.tried(cause, tried, Some(hash), plan, held, Problems::default())
    }

    /// Logs and notes why a configuration was refused; the former one stays in force.
    fn refuse(&mut self, cause: Cause, how: Reload, hash: Option<u64>, plan: &Plan, problems: Problems) -> Attempt {
        let text = problems.to_string().replace('\n', "; ");
        // A file that stays wrong is looked at again and again.
        if !how.dry_run && self.reported.as_ref() != Some(&text) {
            let cause = cause.name();
            error!(cause, problems = text, "Refused the new configuration; the former stays in force.");
            self.reported = Some(text);
        }
        let tried = if how.dry_run { Tried::WouldRefuse } else { Tried::Refused };
        self.status.tried(cause, tried, hash, plan, Vec::new(), problems)
    }
}

/// A problem for each change that cannot be made while Portolan runs, where it is written.
fn restarts(loaded: &Loaded, plan: &Plan) -> Problems {
    let problem = |change: &Change| {
        // Of one that is known by its name, the place of its list.
        let keys: Vec<&str> = change.key.split('[').take(1).flat_map(|key| key.split('.')).collect();
        let (file, place) = loaded.document.locate(&keys);
        let detail = if change.detail.is_empty() { String::new() } else { format!(" ({})", change.detail) };
        let text = format!("cannot change while Portolan runs{detail}; restart it, or take this change back");
        Problem { file, place, path: change.key.clone(), text }
    };
    Problems::new(plan.restarts().map(problem).collect())
}

/// Waits for a change of the files; for ever if none are followed.
async fn changed(follow: Option<&mut Follow>) {
    match follow {
        Some(follow) => follow.changed().await,
        None => std::future::pending().await,
    }
}

/// A file that cannot be read, as a problem of its own.
fn unreadable(sources: &Sources, error: &config::Error) -> Problems {
    let file = sources.path().map_or_else(String::new, |path| path.display().to_string());
    Problem { file: file.into(), place: Default::default(), path: String::new(), text: error.to_string() }.into()
}
