//! One datacenter: three lists say whom to read, and those services are read.
//!
//! The lists of names, checks and nodes are followed by blocking queries ([`Watch`]): three connections, however many
//! services there are. They are had before any service is read, so what changes from then on is heard of. What they explain
//! ([`Whom`]) is read at once. A change of names' index may have been of any instance: then everything is looked at once
//! more ([`Look`]), what changed last before the rest. Answers whose bytes are known are not even read.
//!
//! **What is gone.** What the list of names lacks is gone, unless the server says that it hides something from our token:
//! then the service is asked for by itself, and only an answer that is empty and hides nothing lets it go.
//!
//! **What takes long.** Each answer is taken in as it comes. A reading that is not over within its time, or whose server
//! is lost, is a failure that keeps what it has read: the next one goes on with the rest. Nothing is listed before
//! everything was read once.

use super::{
    changes::{OnNodes, Whom},
    client::{Client, Place},
    config::Config,
    error::Error,
    look::Look,
    services::{Found, Services},
    watch::{FIRST_RETRY, LAST_RETRY, List, Watch},
    wire::{self, Checks, Names, Nodes},
};
use crate::{
    model::{Text, Update},
    registry::{
        Limits, Metrics, chain,
        outbox::{Closed, Outbox},
        rounds::{Round, Rounds},
        transport::Answer,
    },
    util::backoff::{Backoff, jittered},
};
use futures_util::{StreamExt, stream};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Consul's own service, of which its servers are the instances.
const ITSELF: &str = "consul";

#[derive(Debug)]
pub(super) struct Reader {
    registry: Text,
    place: Place,
    /// Consul's own service [`ITSELF`] is read, too.
    itself: bool,
    limits: Limits,
    resync: Duration,
    concurrency: usize,
    client: Arc<Client>,
    metrics: Metrics,
    outbox: Outbox<Update>,
    names: Watch<Names>,
    checks: Watch<Checks>,
    nodes: Watch<Nodes>,
    /// The lists that were taken in last; `None` before the first.
    heads: Option<Heads>,
    services: Services,
    /// Services to be read in the next round.
    due: BTreeSet<Text>,
    /// Services that could not be read; they are read again at `retry_at`.
    failed: BTreeSet<Text>,
    retry: Backoff,
    retry_at: Option<Instant>,
    look: Look,
    resync_at: Instant,
    /// A list of all services was reported, and no failure since then, so single changes can be reported.
    listed: bool,
    /// A slow look is under way since it was time for one. Its end sends a whole list, even if nothing has changed.
    resyncing: bool,
}

#[derive(Debug, Clone)]
struct Heads {
    names: Arc<List<Names>>,
    checks: Arc<List<Checks>>,
    nodes: Arc<List<Nodes>>,
}

impl Rounds for Reader {
    async fn round(&mut self) -> Result<Round, Closed> {
        let started = Instant::now();
        let round = match self.heads().await? {
            Ok(heads) => match self.read(heads).await {
                Ok(found) => {
                    self.report(found).await?;
                    Round::GOOD
                }
                Err(error) => self.fail(&error).await?,
            },
            Err(error) => self.fail(&error).await?,
        };
        self.outbox.send(Update::Cost(self.client.take_cost(started.elapsed()))).await?;
        Ok(round)
    }

    async fn rest(&mut self, pause: Duration) -> Result<(), Closed> {
        let now = Instant::now();
        // After a failure nothing but the pause counts, and that a list says something new.
        let moments = [Some(self.resync_at), self.look.due(now), self.retry_at].into_iter().flatten();
        let until = moments.filter(|_| self.listed).chain([now + pause]).min().unwrap_or(now);
        tokio::select! {
            () = sleep_until(until) => Ok(()),
            changed = self.names.changed() => changed,
            changed = self.checks.changed() => changed,
            changed = self.nodes.changed() => changed,
            () = self.outbox.closed() => Err(Closed),
        }
    }
}

impl Reader {
    pub(super) fn new(
        registry: Text,
        config: &Config,
        place: Place,
        client: Arc<Client>,
        outbox: Outbox<Update>,
        metrics: Metrics,
    ) -> Self {
        let now = Instant::now();
        let names = Watch::start(client.clone(), place.clone(), &["catalog", "services"], wire::names);
        let checks = Watch::start(client.clone(), place.clone(), &["health", "state", "any"], wire::checks);
        let nodes = Watch::start(client.clone(), place.clone(), &["catalog", "nodes"], wire::nodes);
        Reader {
            services: Services::new(registry.clone(), &place, config.rules.clone()),
            registry,
            place,
            itself: config.rules.itself,
            limits: config.limits.clone(),
            resync: config.resync,
            concurrency: config.concurrency,
            client,
            metrics,
            outbox,
            names,
            checks,
            nodes,
            heads: None,
            due: BTreeSet::new(),
            failed: BTreeSet::new(),
            retry: Backoff::new(FIRST_RETRY, LAST_RETRY),
            retry_at: None,
            look: Look::new(now),
            resync_at: now,
            listed: false,
            resyncing: false,
        }
    }

    /// The newest lists, or the first error of the three.
    async fn heads(&mut self) -> Result<Result<Heads, Arc<Error>>, Closed> {
        let (names, checks, nodes) =
            (self.names.newest().await?, self.checks.newest().await?, self.nodes.newest().await?);
        Ok(names.and_then(|names| Ok(Heads { names, checks: checks?, nodes: nodes? })))
    }

    /// The error of the first list that cannot be had now; `None` if all can.
    fn lost(&self) -> Option<Arc<Error>> {
        self.names.failure().or_else(|| self.checks.failure()).or_else(|| self.nodes.failure())
    }

    /// Takes in the lists, and reads the services that are due.
    async fn read(&mut self, heads: Heads) -> Result<Found, Arc<Error>> {
        self.check_names(&heads.names)?;
        let mut found = Found::default();
        self.take_in(heads, &mut found);
        let now = Instant::now();
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.due.append(&mut self.failed);
        }
        self.look.begin(now, || self.services.by_change());
        let due = std::mem::take(&mut self.due);
        let (looked, is_last) = self.look.next(now, !self.listed);
        let names = due.iter().cloned().chain(looked.into_iter().filter(|name| !due.contains(name))).collect();
        self.ask(names, &mut found).await?;
        if is_last {
            self.look.end(Instant::now());
            self.listed &= !std::mem::take(&mut self.resyncing);
        }
        self.limits.check_bytes(self.services.bytes()).map_err(|exceeded| Arc::new(exceeded.into()))?;
        Ok(found)
    }

    /// Refuses a list of names that exceeds the limit, or that is empty although at least Consul itself must be in it.
    fn check_names(&self, names: &List<Names>) -> Result<(), Arc<Error>> {
        let Place { namespace, partition, peer, .. } = &self.place;
        let has_itself = (namespace, partition, peer) == (&None, &None, &None);
        // Where something is hidden, what is known can be asked for; where nothing is known, nothing can.
        if names.value.is_empty() && has_itself && (!names.filtered || self.services.is_empty()) {
            let hint = if names.filtered { ", and says that some are hidden by ACLs" } else { "" };
            return Err(Arc::new(Error::NothingVisible { url: names.url.clone(), hint }));
        }
        self.limits.check_services(names.value.len()).map_err(|exceeded| Arc::new(exceeded.into()))
    }

    /// Takes in the lists: services that they lack are forgotten, and those that they show as changed become due.
    fn take_in(&mut self, heads: Heads, found: &mut Found) {
        let (mut whom, now) = (Whom::default(), Instant::now());
        if let Some(before) = &self.heads {
            let other_checks = !Arc::ptr_eq(&before.checks.value, &heads.checks.value);
            let other_nodes = !Arc::ptr_eq(&before.nodes.value, &heads.nodes.value);
            let there = if other_checks || other_nodes { self.services.on_nodes() } else { OnNodes::new() };
            if before.names.turn != heads.names.turn {
                whom.and(Whom::names(&before.names.value, &heads.names.value));
            }
            if other_checks {
                whom.and(Whom::checks(&before.checks.value, &heads.checks.value, &there));
            }
            if other_nodes {
                whom.and(Whom::nodes(&before.nodes.value, &heads.nodes.value, &there));
            }
        }
        if !whom.services.is_empty() || whom.all {
            self.metrics.push(&self.registry);
            self.look.want_if(whom.all);
        }
        let restarts = |heads: &Heads| (heads.names.restarts, heads.checks.restarts, heads.nodes.restarts);
        let is_restarted = self.heads.as_ref().is_none_or(|before| restarts(before) != restarts(&heads));
        let names = heads.names.clone();
        let unlisted: Vec<Text> =
            self.services.names().filter(|name| !names.value.contains_key(*name)).cloned().collect();
        match names.filtered {
            true => self.due.extend(unlisted),
            false => unlisted.iter().for_each(|name| self.forget(name, found)),
        }
        let is_wanted = |name: &Text| self.itself || **name != *ITSELF;
        let fresh = names.value.keys().filter(|name| !self.services.knows(name));
        self.due.extend(fresh.filter(|name| is_wanted(name)).cloned());
        let is_there = |name: &Text| names.value.contains_key(name) || self.services.knows(name);
        self.due.extend(whom.services.into_iter().filter(|name| is_wanted(name) && is_there(name)));
        self.heads = Some(heads);
        // A first reading is not begun anew before it is over.
        let is_time = self.listed && now >= self.resync_at;
        if is_restarted || is_time {
            self.resync_at = now + jittered(self.resync);
        }
        if is_restarted {
            self.look.want_now(now);
        } else if is_time {
            self.resyncing = true;
            self.look.want_slowly(self.resync / 2);
        }
    }

    fn forget(&mut self, name: &Text, found: &mut Found) {
        self.due.remove(name);
        self.failed.remove(name);
        self.services.forget(name, found);
    }

    /// Asks for these services, and takes in each answer as it comes. Services that were not asked for before the end
    /// stay due.
    async fn ask(&mut self, names: Vec<Text>, found: &mut Found) -> Result<(), Arc<Error>> {
        let deadline = Instant::now() + self.limits.time;
        let mut unread: BTreeSet<Text> = names.iter().cloned().collect();
        let count = unread.len();
        let (client, place, services) = (self.client.clone(), self.place.clone(), &self.services);
        let asked: Vec<(Text, Option<u64>)> =
            names.into_iter().map(|name| (name.clone(), services.hash(&name))).collect();
        let ask = |(name, known): (Text, Option<u64>)| {
            let (client, place) = (client.clone(), place.clone());
            async move {
                let answer = client.get(&place, &["health", "service", &name], known).await;
                (name, answer)
            }
        };
        let mut answers = stream::iter(asked).map(ask).buffer_unordered(self.concurrency);
        let (mut stopped, mut pause) = (None, None);
        while stopped.is_none() && !unread.is_empty() {
            let Ok(Some((name, answer))) = timeout_at(deadline, answers.next()).await else { break };
            unread.remove(&name);
            match self.take(&name, answer, found) {
                Ok(()) => drop(self.failed.remove(&name)),
                Err(error) if error.is_general() => {
                    unread.insert(name);
                    stopped = Some(Arc::new(error));
                }
                Err(error) => {
                    pause = pause.max(Some(error.retry_after().unwrap_or_default()));
                    self.services.unreadable(&name, chain(&error), found);
                    self.failed.insert(name);
                }
            }
            stopped = stopped.or_else(|| self.lost().filter(|_| !unread.is_empty()));
        }
        match pause {
            Some(asked) => self.retry_at = Some(Instant::now() + self.retry.next().max(asked)),
            None if self.failed.is_empty() => self.retry.reset(),
            None => {}
        }
        if unread.is_empty() {
            return Ok(());
        }
        let slow = Error::Unfinished { read: count - unread.len(), all: count, limit: self.limits.too_slow() };
        self.due.append(&mut unread);
        Err(stopped.unwrap_or_else(|| Arc::new(slow)))
    }

    fn take(&mut self, name: &Text, answer: Result<Option<Answer>, Error>, found: &mut Found) -> Result<(), Error> {
        match answer? {
            Some(answer) => self.services.take(name, &answer, found),
            None => Ok(()),
        }
    }

    async fn report(&mut self, found: Found) -> Result<(), Closed> {
        if self.listed && !found.other_unreadable {
            return self.outbox.changes(self.services.scope(), found.changes, || self.services.listed()).await;
        }
        self.listed = true;
        self.outbox.send(self.services.listed()).await
    }

    async fn fail(&mut self, error: &Error) -> Result<Round, Closed> {
        self.listed = false;
        self.outbox.failed(Some(self.services.scope().clone()), error).await?;
        Ok(Round { retry_after: error.retry_after().unwrap_or_default(), ..Round::FAILED })
    }
}
