//! Hears from the server that something may have changed: by gRPC, else by requests that the server holds back until then
//! (1.x, `mode: poll`, or no way to the gRPC port). Where neither can be had, who asks is told nothing, and lists are all.
//!
//! It is one task beside the reading, which tells it what is there and waits for a word. A word may come twice, or for
//! nothing; the reading sees to it that this costs little.

mod by_grpc;

use super::{meant::Meant, watched::Watched};
use crate::{
    model::Text,
    registry::{
        Metrics,
        nacos::{
            config::{Config, Mode},
            error::Error,
            name::tenant,
            transport::{Client, Question},
        },
    },
    util::backoff::Backoff,
};
use by_grpc::Listening;
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, debug, info, warn};

/// The path at which a request waits for a change.
const LISTENER: &str = "/v1/cs/configs/listener";
/// How long the server holds a request back: it takes no less. A connection that is cut without a sign is noticed after
/// this time and the timeout.
const HELD: Duration = Duration::from_secs(10);
/// The most texts in one such request.
const AT_ONCE: usize = 1000;
/// The longest time to wait until a change is read, before the server is asked again.
const READ: Duration = Duration::from_secs(2);
/// The time after which gRPC is tried again: a server without it may have it later.
const GRPC_AGAIN: Duration = Duration::from_secs(60);

/// Listens in a task of its own until it is dropped.
pub(crate) struct Listener {
    watched: watch::Sender<Arc<Watched>>,
    changed: Arc<Notify>,
    _task: AbortOnDropHandle<()>,
}

struct Worker {
    registry: Text,
    meant: Meant,
    config: Config,
    client: Arc<Client>,
    metrics: Metrics,
    watched: watch::Receiver<Arc<Watched>>,
    changed: Arc<Notify>,
    /// The trouble that was last logged.
    logged: Option<Text>,
}

impl Listener {
    pub(crate) fn start(registry: Text, meant: Meant, config: Config, client: Arc<Client>, metrics: Metrics) -> Self {
        let (sender, watched) = watch::channel(Arc::default());
        let changed = Arc::new(Notify::new());
        let worker =
            Worker { registry, meant, config, client, metrics, watched, changed: changed.clone(), logged: None };
        let task = tokio::spawn(worker.run().in_current_span());
        Listener { watched: sender, changed, _task: AbortOnDropHandle::new(task) }
    }

    /// Sets the texts that are listened to.
    pub(crate) fn watch(&self, watched: Watched) {
        self.watched.send_if_modified(|before| {
            let other = **before != watched;
            if other {
                *before = Arc::new(watched);
            }
            other
        });
    }

    /// Waits until something may have changed since the last time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Worker {
    /// Listens again and again; ends when it is dropped.
    async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        // Until the first list there is nothing to listen to.
        while self.watched.borrow().is_empty() {
            if self.watched.changed().await.is_err() {
                return;
            }
        }
        loop {
            let mut listened = false;
            if self.config.mode != Mode::Poll {
                listened = self.by_grpc().await;
            }
            if !listened && self.config.mode != Mode::Push {
                listened = self.by_http().await;
            }
            if listened {
                backoff.reset();
            }
            sleep(backoff.next()).await;
        }
    }

    /// Listens by gRPC, at each server once. `true` if one was listened to.
    async fn by_grpc(&mut self) -> bool {
        let mut any = false;
        for server in self.client.http.servers() {
            let was_up = AtomicBool::new(false);
            let listening = Listening {
                config: &self.config,
                client: &self.client,
                meant: &self.meant,
                watched: self.watched.clone(),
                connected: &|| {
                    was_up.store(true, Ordering::Relaxed);
                    info!(registry = %self.registry, group = %self.meant.group, %server, "Nacos says when texts of a group change.");
                    self.changed.notify_one();
                },
                changed: &|| self.note_changed(),
            };
            let error = listening.session(&server).await;
            let was_up = was_up.into_inner();
            any |= was_up;
            // That there is no gRPC is no trouble yet.
            if was_up || self.config.mode == Mode::Push || !error.is_grpc_not_spoken() {
                self.note_trouble(self.client.http.shown(&error));
            }
        }
        any
    }

    /// Listens by requests that the server holds back. `true` if it took them. gRPC is tried again after
    /// [`GRPC_AGAIN`].
    async fn by_http(&mut self) -> bool {
        let started = Instant::now();
        let outcome = if self.config.mode == Mode::Poll {
            self.wait_again_and_again().await
        } else {
            match timeout(GRPC_AGAIN, self.wait_again_and_again()).await {
                Ok(outcome) => outcome,
                Err(_) => return true,
            }
        };
        match outcome {
            Err(error) if error.is_not_offered() => {
                debug!(registry = %self.registry, error = %self.client.http.shown(&error), "Nacos does not say when texts change.");
            }
            Err(error) => self.note_trouble(self.client.http.shown(&error)),
            Ok(()) => {}
        }
        started.elapsed() >= HELD
    }

    async fn wait_again_and_again(&self) -> Result<(), Error> {
        let mut watched = self.watched.clone();
        loop {
            let target = watched.borrow_and_update().clone();
            let changed = tokio::select! {
                outcome = self.wait(&target) => outcome?,
                still = watched.changed() => if still.is_ok() { continue } else { return Ok(()) },
            };
            if changed {
                self.note_changed();
                // Unless it is read first, the same answer comes at once.
                if let Ok(Err(_)) = timeout(READ, watched.changed()).await {
                    return Ok(());
                }
            }
        }
    }

    /// Waits for a change: `true` as soon as something has changed, `false` if nothing has for a while.
    async fn wait(&self, watched: &Watched) -> Result<bool, Error> {
        let mut asked = FuturesUnordered::new();
        for (namespace, texts) in watched {
            let texts: Vec<_> = texts.md5s.iter().collect();
            for some in texts.chunks(AT_ONCE) {
                asked.push(self.wait_for(namespace, self.listed(namespace, some)));
            }
        }
        if asked.is_empty() {
            std::future::pending::<()>().await;
        }
        while let Some(outcome) = asked.next().await {
            if outcome? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn wait_for(&self, namespace: &str, listed: String) -> Result<bool, Error> {
        let tenant = tenant(namespace);
        // What rights are needed follows from these, and not from what is listed.
        let query = [("tenant", tenant), ("group", &*self.meant.group)];
        let form = [("Listening-Configs", &*listed)];
        let config = Some((tenant, &*self.meant.group));
        let question = Question { path: LISTENER, query: &query, config, wait: Some((&form, HELD)) };
        let answer = self.client.http.ask(&question).await?;
        Ok(!answer.body.trim_ascii().is_empty())
    }

    /// The texts as Nacos wants them: name, group, md5 and namespace between bytes 2, each followed by a byte 1.
    fn listed(&self, namespace: &str, texts: &[(&Text, &Text)]) -> String {
        let tenant = match tenant(namespace) {
            "" => String::new(),
            id => format!("\u{2}{id}"),
        };
        texts.iter().map(|(name, md5)| format!("{name}\u{2}{}\u{2}{md5}{tenant}\u{1}", self.meant.group)).collect()
    }

    fn note_changed(&self) {
        self.metrics.push(&self.registry);
        self.changed.notify_one();
    }

    fn note_trouble(&mut self, why: Text) {
        if self.logged.as_ref() != Some(&why) {
            warn!(registry = %self.registry, %why, "Nacos does not say when texts of its configuration change; they are looked at each `period`.");
            self.logged = Some(why);
        }
    }
}
