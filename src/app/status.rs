//! The configuration in force and the result of the last reload, for the admin API and for metrics.

use super::{plan::Plan, rollout};
use crate::{
    admin::{self, Attempt, ConfigStatus, Reload, RolloutStatus, Steer},
    catalog::Held,
    config::hash_text,
    history,
    util::{
        time::unix_seconds,
        yaml::{Problem, Problems},
    },
};
use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use std::{sync::Arc, time::SystemTime};
use tokio::sync::{mpsc, oneshot};

/// How many requests may wait. One more is refused, because a waiting one reads the same configuration.
const WAITING: usize = 8;

/// A request to the reloader, with the channel for its answer.
#[derive(Debug)]
pub(super) enum Request {
    /// To read the configuration again.
    Reload(Reload, oneshot::Sender<Attempt>),
    /// To continue or abort a rollout.
    Steer(Steer, oneshot::Sender<Result<RolloutStatus, String>>),
}

/// What caused a reading of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Start,
    File,
    Signal,
    Request,
}

impl Cause {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Cause::Start => "start",
            Cause::File => "file",
            Cause::Signal => "signal",
            Cause::Request => "request",
        }
    }
}

/// The result of a reading of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    Reloaded,
    Unchanged,
    /// A dry run that would succeed.
    Planned,
    Refused,
    /// A dry run that would be refused.
    WouldRefuse,
}

impl Tried {
    const fn name(self) -> &'static str {
        match self {
            Tried::Reloaded => "reloaded",
            Tried::Unchanged => "unchanged",
            Tried::Planned => "planned",
            Tried::Refused | Tried::WouldRefuse => "refused",
        }
    }

    const fn is_dry(self) -> bool {
        matches!(self, Tried::Planned | Tried::WouldRefuse)
    }
}

/// Keeps status and metrics. Written by the reloader alone.
#[derive(Debug)]
pub(super) struct Status {
    status: Arc<ArcSwap<ConfigStatus>>,
    rollout: Arc<ArcSwap<RolloutStatus>>,
    metrics: Metrics,
    rollouts: rollout::Metrics,
    history: history::Handle,
}

/// Reads the status, and asks for reloads. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    status: Arc<ArcSwap<ConfigStatus>>,
    rollout: Arc<ArcSwap<RolloutStatus>>,
    requests: mpsc::Sender<Request>,
}

/// The metrics of the configuration.
#[derive(Debug, Clone, Default)]
struct Metrics {
    successful: Gauge,
    success_at: Gauge,
    info: Family<HashLabel, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HashLabel {
    hash: String,
}

impl Metrics {
    fn register(&self, registry: &mut Registry) {
        let help = "Whether the last configuration that was read is in force";
        registry.register("config_last_reload_successful", help, self.successful.clone());
        let help = "When a configuration was last read and is in force, in seconds since 1970";
        registry.register("config_last_reload_success_timestamp_seconds", help, self.success_at.clone());
        registry.register("config_info", "The hash of the configuration in force", self.info.clone());
    }

    fn succeeded(&self, at: SystemTime, hash: &str) {
        self.successful.set(1);
        self.success_at.set(unix_seconds(at));
        self.info.clear();
        self.info.get_or_create(&HashLabel { hash: hash.into() }).set(1);
    }
}

/// The status after the start, a handle for the admin API, and the receiver of its requests.
pub(super) fn started(
    hash: u64,
    sources: Vec<String>,
    history: history::Handle,
    registry: &mut Registry,
) -> (Status, Handle, mpsc::Receiver<Request>) {
    let (now, hash) = (SystemTime::now(), hash_text(hash));
    let last = Attempt {
        at: now,
        cause: Cause::Start.name(),
        result: Tried::Reloaded.name(),
        hash: Some(hash.clone()),
        changes: Vec::new(),
        held: Vec::new(),
        problems: Vec::new(),
    };
    let metrics = Metrics::default();
    metrics.register(registry);
    metrics.succeeded(now, &hash);
    history.configured(last.cause, last.result, last.hash.clone(), Vec::new());
    let status = Arc::new(ArcSwap::from_pointee(ConfigStatus { hash, since: now, sources, last }));
    let (sender, requests) = mpsc::channel(WAITING);
    let (rollout, rollouts) = (Arc::<ArcSwap<RolloutStatus>>::default(), rollout::Metrics::default());
    rollouts.register(registry);
    rollouts.stands(&rollout.load());
    let handle = Handle { status: status.clone(), rollout: rollout.clone(), requests: sender };
    (Status { status, rollout, metrics, rollouts, history }, handle, requests)
}

impl Status {
    /// Notes the state of a rollout.
    pub(super) fn rolls(&self, now: RolloutStatus) {
        self.rollouts.stands(&now);
        self.rollout.store(Arc::new(now));
    }

    /// Notes an attempt. `hash` is that of the texts that were read.
    pub(super) fn tried(
        &self,
        cause: Cause,
        tried: Tried,
        hash: Option<u64>,
        plan: &Plan,
        held: Vec<Held>,
        problems: Problems,
    ) -> Attempt {
        let attempt = Attempt {
            at: SystemTime::now(),
            cause: cause.name(),
            result: tried.name(),
            hash: hash.map(hash_text),
            changes: plan.changes.iter().map(change).collect(),
            held: held.into_iter().map(held_change).collect(),
            problems: problems.iter().map(problem).collect(),
        };
        if !tried.is_dry() {
            if tried != Tried::Unchanged {
                let changes = plan.changes.iter().map(ToString::to_string).collect();
                self.history.configured(attempt.cause, attempt.result, attempt.hash.clone(), changes);
            }
            self.note(&attempt, tried);
        }
        attempt
    }

    fn note(&self, attempt: &Attempt, tried: Tried) {
        let mut status = ConfigStatus::clone(&self.status.load());
        status.last = attempt.clone();
        match (&attempt.hash, tried) {
            (Some(hash), Tried::Reloaded | Tried::Unchanged) => {
                self.metrics.succeeded(attempt.at, hash);
                if status.hash != *hash || tried == Tried::Reloaded {
                    (status.hash, status.since) = (hash.clone(), attempt.at);
                }
            }
            _ => drop(self.metrics.successful.set(0)),
        }
        self.status.store(Arc::new(status));
    }
}

fn change(change: &super::plan::Change) -> admin::Change {
    admin::Change { key: change.key.clone(), action: change.action.name(), detail: change.detail.clone() }
}

fn held_change(held: Held) -> admin::HeldChange {
    let Held { registry, endpoints, of, until, .. } = held;
    admin::HeldChange { registry: registry.to_string(), endpoints, of, until }
}

fn problem(problem: &Problem) -> admin::Problem {
    let Problem { file, place, path, text } = problem;
    let (line, column) = match place.line {
        0 => (None, None),
        line => (Some(line), Some(place.column)),
    };
    admin::Problem { source: file.to_string(), line, column, key: path.clone(), text: text.clone() }
}

impl Handle {
    /// Sends a request and waits for the answer. `None`: too many wait, or the process is about to end.
    fn ask<T: Send + 'static>(
        &self,
        request: Request,
        answered: oneshot::Receiver<T>,
    ) -> BoxFuture<'static, Option<T>> {
        let sent = self.requests.try_send(request);
        Box::pin(async move {
            sent.ok()?;
            answered.await.ok()
        })
    }
}

impl admin::Configuration for Handle {
    fn status(&self) -> ConfigStatus {
        ConfigStatus::clone(&self.status.load())
    }

    fn reload(&self, how: Reload) -> BoxFuture<'static, Option<Attempt>> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Reload(how, answer), answered)
    }

    fn rollout(&self) -> RolloutStatus {
        RolloutStatus::clone(&self.rollout.load())
    }

    fn steer(&self, steer: Steer) -> BoxFuture<'static, Option<Result<RolloutStatus, String>>> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Steer(steer, answer), answered)
    }
}
