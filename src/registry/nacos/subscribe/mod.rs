//! Subscribes to services on one gRPC connection, and passes on which of them may have changed. The reader starts it and
//! names the services that it has.
//!
//! **A push says that a service has changed, and the reader reads what it is.** What is pushed is what a client should
//! call: without disabled instances and the service's own metadata, and with every instance healthy once the protection
//! threshold is reached. The bulk list has the truth, for one small request. So push and polling cannot differ: both end
//! with the same reading. A push that is lost, or comes twice, costs nothing but time or a request.
//!
//! Nacos 3 also reports which services come and go ([`fuzzy_watch`]). One that comes is read as if it had changed; one that
//! goes makes the next list come early.

mod fuzzy_watch;
mod names;
mod pending;
mod received;
mod wire;
mod worker;

pub(super) use names::patterns;

use super::{config::Config, transport::Client};
use crate::{
    model::{ServiceId, Text},
    registry::Metrics,
};
use pending::{Changes, PushState, Wanted};
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use worker::Worker;

/// A push connection to one server at a time. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Push {
    wanted: watch::Sender<Wanted>,
    state: Arc<PushState>,
    _task: AbortOnDropHandle<()>,
}

impl Push {
    pub(crate) fn start(registry: Text, config: Config, client: Arc<Client>, metrics: Metrics) -> Self {
        let (sender, wanted) = watch::channel(Wanted::default());
        let state = Arc::new(PushState::new(registry.clone()));
        let worker = Worker { registry, config, client, wanted, state: state.clone(), metrics, logged: None };
        let task = tokio::spawn(worker.run().in_current_span());
        Push { wanted: sender, state, _task: AbortOnDropHandle::new(task) }
    }

    /// Asks for changes of these services and for names that match these patterns; earlier ones that are absent are
    /// ended.
    pub(crate) fn want(&self, services: BTreeSet<ServiceId>, patterns: BTreeSet<Text>) {
        self.wanted.send_if_modified(|wanted| {
            let other = *wanted.services != services || *wanted.patterns != patterns;
            if other {
                *wanted = Wanted { services: Arc::new(services), patterns: Arc::new(patterns) };
                self.state.wants(wanted.clone());
            }
            other
        });
    }

    /// Waits until services may have changed, or have come or gone, and returns all of them.
    pub(crate) async fn changed(&self) -> Changes {
        self.state.changed().await
    }

    /// True if every change of what is wanted is pushed.
    pub(crate) fn covers(&self) -> bool {
        self.state.covers()
    }

    /// True if new services are reported at once.
    pub(crate) fn covers_names(&self) -> bool {
        self.state.covers_names()
    }

    /// Why not every change is pushed; `None` if every one is, or that is not known.
    pub(crate) fn trouble(&self) -> Option<Text> {
        self.state.trouble()
    }
}
