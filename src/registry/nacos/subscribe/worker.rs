//! Keeps one connection, with everything wanted subscribed to: connects, subscribes, answers the server, notices when it
//! is gone, and begins anew with the next server.
//!
//! A session is loops that run together until one of them ends: what the server says, whether it is still there
//! ([`Connection::hold`]), which names there are, what is to be subscribed to.

use super::{
    fuzzy_watch::FuzzyWatch,
    pending::{PushState, Wanted},
};
use crate::{
    model::{ServiceId, Text},
    pb::nacos::Payload,
    registry::{
        Metrics,
        nacos::{
            config::Config,
            error::Error,
            identity::{Subject, redirected},
            transport::{
                Client,
                grpc::{Connection, Link},
            },
        },
    },
    util::backoff::Backoff,
};
use futures_util::{StreamExt, stream};
use reqwest::Url;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::{debug, info, warn};

/// The most subscriptions that are on their way at the same time.
const IN_FLIGHT: usize = 64;
/// A connection that lasted this long was a good one. After a shorter one the next comes later each time, so that a
/// server that takes every connection and ends it is not asked all the time.
const STABLE: Duration = Duration::from_secs(5);
/// The time after which subscriptions that the server has refused are tried again.
const ASK_AGAIN: Duration = Duration::from_secs(30);

pub(crate) struct Worker {
    pub(crate) registry: Text,
    pub(crate) config: Config,
    pub(crate) client: Arc<Client>,
    pub(crate) wanted: watch::Receiver<Wanted>,
    pub(crate) state: Arc<PushState>,
    pub(crate) metrics: Metrics,
    /// The trouble that was last logged.
    pub(crate) logged: Option<Text>,
}

impl Worker {
    /// Connects again and again; ends when it is dropped.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        let mut first = None;
        loop {
            let mut servers = self.client.http.servers();
            let at = servers.iter().position(|server| Some(server) == first.as_ref()).unwrap_or_default();
            servers.rotate_left(at);
            for server in &servers {
                let mut up_since = None;
                let error = self.session(server, &mut up_since).await;
                let was_stable = up_since.is_some_and(|since: Instant| since.elapsed() >= STABLE);
                self.note_lost(server, up_since.is_some(), was_stable, &error);
                if was_stable {
                    backoff.reset();
                }
                first = None;
                if let Error::GrpcReset { to } = error {
                    first = redirected(&servers, server, &to);
                    break;
                }
            }
            sleep(backoff.next()).await;
        }
    }

    /// One connection, from its beginning to its end; returns why it ended. `up_since` is set when it stands.
    async fn session(&mut self, server: &Url, up_since: &mut Option<Instant>) -> Error {
        let (registry, client, state) = (self.registry.clone(), self.client.clone(), self.state.clone());
        let connection = match Connection::open(server, &self.config).await {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        let (mut wanted, mut patterns) = (self.wanted.clone(), self.wanted.clone());
        let link = Link { http: &client.http, connection: &connection, server };
        let watch = FuzzyWatch { registry: &registry, link, state: &state };
        let work = async {
            *up_since = Some(Instant::now());
            self.note_connected(server);
            tokio::select! {
                error = watch.run(&mut patterns) => error,
                error = self.subscribe(link, &mut wanted) => error,
            }
        };
        connection.hold(|payload| self.receive(payload), work).await
    }

    /// Takes in one message of the server.
    fn receive(&self, payload: &Payload) -> Result<(), Error> {
        if self.state.receive(&self.registry, payload)? {
            self.metrics.push(&self.registry);
        }
        Ok(())
    }

    /// Subscribes to the services that are wanted, and ends other subscriptions, until the connection ends; returns
    /// why.
    async fn subscribe(&self, link: Link<'_>, wanted: &mut watch::Receiver<Wanted>) -> Error {
        loop {
            let target = wanted.borrow_and_update().services.clone();
            let before = self.state.subscribed();
            let new = target.difference(&before).map(|id| (id, true));
            let gone: Vec<ServiceId> = before.difference(&target).cloned().collect();
            let questions: Vec<_> = new
                .chain(gone.iter().map(|id| (id, false)))
                .map(|(id, on)| async move { (id, on, set(link, id, on).await) })
                .collect();
            let mut answers = stream::iter(questions).buffer_unordered(IN_FLIGHT);
            let (mut good, mut refused) = (Vec::new(), None);
            while let Some((id, on, outcome)) = answers.next().await {
                match outcome {
                    Ok(()) if on => good.push(id.clone()),
                    Ok(()) => {}
                    Err(error) if error.is_grpc_refusal() => {
                        refused = Some(format!("{id}: {}", link.http.shown(&error)))
                    }
                    Err(error) => return error,
                }
            }
            drop(answers);
            self.note_subscribed(target.len(), refused.as_deref());
            let all = refused.is_none();
            self.state.subscribe(good, &gone, refused.map(Text::from));
            let ask_again = async { if all { std::future::pending().await } else { sleep(ASK_AGAIN).await } };
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return Error::GrpcClosed },
                () = ask_again => {}
            }
        }
    }

    /// Logs and counts that the connection stands, and asks this server first from now on.
    fn note_connected(&self, server: &Url) {
        self.metrics.push_connected(&self.registry, true);
        // What one server pushes another may not know yet.
        self.client.http.prefer(server);
        info!(registry = %self.registry, %server, "Nacos pushes what changes.");
    }

    fn note_subscribed(&self, count: usize, refused: Option<&str>) {
        match refused {
            None => debug!(registry = %self.registry, count, "Subscribed to all services."),
            Some(why) => {
                warn!(registry = %self.registry, count, why, "Some services cannot be subscribed to; all are polled.");
            }
        }
    }

    /// Logs and counts that the connection has ended. If no service could be read so far, the reader reports that the
    /// server is not there.
    fn note_lost(&mut self, server: &Url, was_up: bool, was_stable: bool, error: &Error) {
        let why = self.client.http.shown(error);
        self.metrics.push_connected(&self.registry, false);
        self.state.lost(why.clone());
        let missed = !self.wanted.borrow().services.is_empty() && self.logged.as_ref() != Some(&why);
        // One that comes and goes all the time has one line for each reason.
        if was_stable || was_up && self.logged.as_ref() != Some(&why) || missed {
            self.logged = Some(why.clone());
            warn!(registry = %self.registry, %server, error = %why, "No push from Nacos; its services are polled.");
        }
    }
}

/// Subscribes to one service or ends that.
async fn set(link: Link<'_>, id: &ServiceId, on: bool) -> Result<(), Error> {
    let body = json!({"namespace": &*id.namespace, "groupName": &*id.group, "serviceName": &*id.name,
        "subscribe": on, "clusters": "", "module": "naming"});
    let subject = Subject::Services(Some((&id.group, &id.name)));
    link.ask("SubscribeServiceRequest", subject, &body).await.map(drop)
}
