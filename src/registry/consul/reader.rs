//! One datacenter: three lists say whom to read, and those services are read.
//!
//! The lists of names, checks and nodes are followed by blocking queries ([`Watch`]): three connections, however many
//! services there are. They are had before any service is read, so what changes from then on is heard of. What they explain
//! ([`Whom`]) is read at once. A change of names' index may have been of any instance: then everything is looked at once
//! more, in slices, so that what is heard of meanwhile does not wait, what changed last before the rest, and with a
//! pause behind it that bounds what a registry in constant change costs. Answers whose bytes are known are not even read.
//!
//! **What is gone.** What the list of names lacks is gone, unless the server says that it hides something from our token:
//! then the service is asked for by itself, and only an answer that is empty and hides nothing lets it go.

use super::{
    changes::Whom,
    client::{self, Client, Place},
    config::{Config, Rules},
    convert,
    error::Error,
    watch::{FIRST_RETRY, LAST_RETRY, List, Watch},
    wire::{self, Checks, Names, Nodes},
};
use crate::{
    model::{Scope, Service, ServiceId, Text, Update},
    registry::{
        Limits, Metrics, chain,
        outbox::{Closed, Outbox},
        rounds::{Round, Rounds},
        transport::Answer,
    },
    util::backoff::{Backoff, jittered},
};
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// Services of a look at everything that are read between two reports.
const SLICE: usize = 256;
/// After a look at everything there is none for four times as long as it took, and for this time at least.
const SHORTEST_REST: Duration = Duration::from_millis(200);
/// More changes than this are told as a list.
const MOST_CHANGES: usize = 64;

/// Consul's own service, of which its servers are the instances.
const ITSELF: &str = "consul";

#[derive(Debug)]
pub(super) struct Reader {
    registry: Text,
    place: Place,
    rules: Rules,
    limits: Limits,
    resync: Duration,
    concurrency: usize,
    client: Arc<Client>,
    metrics: Metrics,
    outbox: Outbox<Update>,
    names: Watch<Names>,
    checks: Watch<Checks>,
    nodes: Watch<Nodes>,
    /// The lists that what is known goes by.
    heads: Option<Heads>,
    known: BTreeMap<Text, Known>,
    /// To be read now.
    due: BTreeSet<Text>,
    /// Could not be read; to be tried again then.
    failed: BTreeSet<Text>,
    retry: Backoff,
    retry_at: Option<Instant>,
    look: Look,
    resync_at: Instant,
    /// Grows with each service that changes.
    clock: u64,
    /// The last that was told of the whole was a list.
    listed: bool,
    /// Everything is being read because it was time for that: a list at its end is a sign of life.
    resyncing: bool,
}

/// A look at everything.
#[derive(Debug)]
struct Look {
    /// Still to be read.
    queue: VecDeque<Text>,
    began: Instant,
    /// Something has changed that may be anywhere.
    wanted: bool,
    not_before: Instant,
}

#[derive(Debug, Clone)]
struct Heads {
    names: Arc<List<Names>>,
    checks: Arc<List<Checks>>,
    nodes: Arc<List<Nodes>>,
}

/// What is known of a service.
#[derive(Debug, Default)]
struct Known {
    /// Of the last answer.
    hash: Option<u64>,
    bytes: u64,
    /// The last good value; `None` if it is none of those that are taken.
    service: Option<Arc<Service>>,
    nodes: BTreeSet<Text>,
    /// Some of it is hidden from the token.
    filtered: bool,
    unreadable: Option<Text>,
    /// When it last changed, by the reader's clock.
    changed: u64,
}

/// What a round has found.
#[derive(Debug, Default)]
struct Found {
    applied: Vec<Arc<Service>>,
    removed: Vec<ServiceId>,
    /// A service became unreadable or readable.
    other_unreadable: bool,
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
        let look = match (self.look.queue.is_empty(), self.look.wanted) {
            _ if !self.listed => None,
            (false, _) => Some(now),
            (true, true) => Some(self.look.not_before),
            (true, false) => None,
        };
        let moments = [Some(now + pause), self.listed.then_some(self.resync_at), self.retry_at, look];
        let until = moments.into_iter().flatten().min().unwrap_or(now);
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
            registry,
            place,
            rules: config.rules.clone(),
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
            known: BTreeMap::new(),
            due: BTreeSet::new(),
            failed: BTreeSet::new(),
            retry: Backoff::new(FIRST_RETRY, LAST_RETRY),
            retry_at: None,
            look: Look { queue: VecDeque::new(), began: now, wanted: false, not_before: now },
            resync_at: now,
            clock: 0,
            listed: false,
            resyncing: false,
        }
    }

    /// The lists as they are now.
    async fn heads(&mut self) -> Result<Result<Heads, Arc<Error>>, Closed> {
        let (names, checks, nodes) =
            (self.names.newest().await?, self.checks.newest().await?, self.nodes.newest().await?);
        Ok(names.and_then(|names| Ok(Heads { names, checks: checks?, nodes: nodes? })))
    }

    /// Reads what is due.
    async fn read(&mut self, heads: Heads) -> Result<Found, Arc<Error>> {
        self.check_names(&heads.names)?;
        let mut found = Found::default();
        self.take_in(heads, &mut found);
        let now = Instant::now();
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.due.append(&mut self.failed);
        }
        self.begin_look(now);
        let due = std::mem::take(&mut self.due);
        let slice = self.look.queue.len().min(if self.listed { SLICE } else { usize::MAX });
        let looked = self.look.queue.drain(..slice).filter(|name| !due.contains(name));
        let names: Vec<Text> = due.iter().cloned().chain(looked.collect::<Vec<_>>()).collect();
        let reading = self.answers(names);
        let answers = match self.limits.in_time(reading).await {
            Ok(answers) => answers,
            Err(exceeded) => {
                self.ask_everything();
                return Err(Arc::new(exceeded.into()));
            }
        };
        if slice > 0 && self.look.queue.is_empty() {
            self.end_look();
            self.listed &= !std::mem::take(&mut self.resyncing);
        }
        self.take_answers(answers, &mut found)?;
        let bytes = self.known.values().map(|known| known.bytes).sum();
        self.limits.check_bytes(bytes).map_err(|exceeded| Arc::new(exceeded.into()))?;
        Ok(found)
    }

    /// A list of names that cannot be believed.
    fn check_names(&self, names: &List<Names>) -> Result<(), Arc<Error>> {
        let Place { namespace, partition, peer, .. } = &self.place;
        let has_itself = (namespace, partition, peer) == (&None, &None, &None);
        // Where something is hidden, what is known can be asked for; where nothing is known, nothing can.
        if names.value.is_empty() && has_itself && (!names.filtered || self.known.is_empty()) {
            let hint = if names.filtered { ", and says that some are hidden by ACLs" } else { "" };
            return Err(Arc::new(Error::NothingVisible { url: names.url.clone(), hint }));
        }
        self.limits.check_services(names.value.len()).map_err(|exceeded| Arc::new(exceeded.into()))
    }

    /// Goes by these lists from now on: what they say to be gone is, and what they say to have changed is due.
    fn take_in(&mut self, heads: Heads, found: &mut Found) {
        let (mut whom, is_first) = (Whom::default(), self.heads.is_none());
        if let Some(before) = &self.heads {
            let on = |node: &Text| {
                let there = self.known.iter().filter(|(_, known)| known.nodes.contains(node));
                there.map(|(name, _)| name).collect()
            };
            if before.names.turn != heads.names.turn {
                whom.and(Whom::names(&before.names.value, &heads.names.value));
            }
            if !Arc::ptr_eq(&before.checks.value, &heads.checks.value) {
                whom.and(Whom::checks(&before.checks.value, &heads.checks.value, on));
            }
            if !Arc::ptr_eq(&before.nodes.value, &heads.nodes.value) {
                whom.and(Whom::nodes(&before.nodes.value, &heads.nodes.value, on));
            }
        }
        let restarts = |heads: &Heads| (heads.names.restarts, heads.checks.restarts, heads.nodes.restarts);
        let is_restarted = self.heads.as_ref().is_none_or(|before| restarts(before) != restarts(&heads));
        if !whom.services.is_empty() || whom.all {
            self.metrics.push(&self.registry);
        }
        let (names, itself) = (heads.names.clone(), self.rules.itself);
        let is_wanted = |name: &Text| itself || **name != *ITSELF;
        let unlisted = self.known.keys().filter(|name| !names.value.contains_key(*name));
        let unlisted: Vec<Text> = unlisted.cloned().collect();
        match names.filtered {
            true => self.due.extend(unlisted),
            false => unlisted.iter().for_each(|name| self.forget(name, found)),
        }
        let fresh = names.value.keys().filter(|name| !self.known.contains_key(*name));
        self.due.extend(fresh.filter(|name| is_wanted(name)).cloned());
        let is_there = |name: &Text| names.value.contains_key(name) || self.known.contains_key(name);
        self.due.extend(whom.services.into_iter().filter(|name| is_wanted(name) && is_there(name)));
        self.look.wanted |= whom.all;
        self.heads = Some(heads);
        let is_time = Instant::now() >= self.resync_at;
        self.resyncing |= is_time && !is_first;
        if is_restarted || is_time {
            self.ask_everything();
        }
    }

    /// Everything is read again, without a pause before.
    fn ask_everything(&mut self) {
        let now = Instant::now();
        (self.look.wanted, self.look.not_before) = (true, now);
        self.look.queue.clear();
        self.resync_at = now + jittered(self.resync);
    }

    fn begin_look(&mut self, now: Instant) {
        if !self.look.queue.is_empty() || !self.look.wanted || self.look.not_before > now {
            return;
        }
        let mut all: Vec<(&u64, &Text)> = self.known.iter().map(|(name, known)| (&known.changed, name)).collect();
        all.sort_by(|a, b| b.0.cmp(a.0).then(a.1.cmp(b.1)));
        self.look.queue = all.into_iter().map(|(_, name)| name.clone()).collect();
        (self.look.wanted, self.look.began) = (false, now);
    }

    /// The last slice was read.
    fn end_look(&mut self) {
        let now = Instant::now();
        self.look.not_before = now + (now - self.look.began).saturating_mul(4).max(SHORTEST_REST);
    }

    async fn answers(&self, names: Vec<Text>) -> Vec<(Text, Result<Option<Answer>, Error>)> {
        let hash = |name: &Text| self.known.get(name).filter(|known| known.unreadable.is_none())?.hash;
        let asked: Vec<(Text, Option<u64>)> = names.into_iter().map(|name| (name.clone(), hash(&name))).collect();
        let (client, place) = (&self.client, &self.place);
        let ask = |(name, known): (Text, Option<u64>)| async move {
            let answer = client.get(place, &["health", "service", &name], known).await;
            (name, answer)
        };
        stream::iter(asked).map(ask).buffer_unordered(self.concurrency).collect().await
    }

    fn take_answers(
        &mut self,
        answers: Vec<(Text, Result<Option<Answer>, Error>)>,
        found: &mut Found,
    ) -> Result<(), Arc<Error>> {
        let (mut general, mut pause) = (None, None);
        for (name, answer) in answers {
            let refused = match answer {
                Ok(None) => continue,
                Ok(Some(answer)) => self.take_answer(&name, &answer, found).err(),
                Err(error) => Some(error),
            };
            let Some(error) = refused else { continue };
            pause = pause.max(Some(error.retry_after().unwrap_or_default()));
            self.failed.insert(name.clone());
            match error.is_general() {
                true => general = Some(error),
                false => self.unreadable(&name, chain(&error), found),
            }
        }
        match pause {
            Some(asked) => self.retry_at = Some(Instant::now() + self.retry.next().max(asked)),
            None if self.failed.is_empty() => self.retry.reset(),
            None => {}
        }
        general.map_or(Ok(()), |error| Err(Arc::new(error)))
    }

    fn take_answer(&mut self, name: &Text, answer: &Answer, found: &mut Found) -> Result<(), Error> {
        let list = wire::instances(answer)?;
        let filtered = client::is_filtered(&answer.headers);
        if list.is_empty() && !filtered {
            self.forget(name, found);
            return Ok(());
        }
        let hidden = || Error::Hidden { url: answer.origin.to_string() };
        let id = self.id(name);
        let last = self.known.get(name);
        let was_filtered = last.is_none_or(|last| last.filtered);
        let last = last.and_then(|last| last.service.clone());
        let converted = convert::service(&id, &list, &self.rules, last.as_deref());
        let lost = |last: &Arc<Service>| match &converted.service {
            Some(service) => {
                last.endpoints.iter().any(|old| !service.endpoints.iter().any(|e| e.address == old.address))
            }
            None => true,
        };
        if list.is_empty() || (filtered && !was_filtered && last.as_ref().is_some_and(lost)) {
            return Err(hidden());
        }
        if let Some(why) = converted.unreadable {
            self.unreadable(name, why, found);
            return Ok(());
        }
        let clock = self.clock + 1;
        let known = self.known.entry(name.clone()).or_default();
        found.other_unreadable |= known.unreadable.take().is_some();
        (known.hash, known.bytes) = (Some(answer.hash), answer.body.len() as u64);
        (known.nodes, known.filtered) = (converted.nodes, filtered);
        let is_equal = known.service.as_deref() == converted.service.as_ref();
        if is_equal {
            return Ok(());
        }
        (self.clock, known.changed) = (clock, clock);
        known.service = converted.service.map(Arc::new);
        match &known.service {
            Some(service) => found.applied.push(service.clone()),
            None => found.removed.push(id),
        }
        Ok(())
    }

    fn unreadable(&mut self, name: &Text, why: Text, found: &mut Found) {
        let known = self.known.entry(name.clone()).or_default();
        found.other_unreadable |= known.unreadable.as_ref() != Some(&why);
        known.unreadable = Some(why);
    }

    fn forget(&mut self, name: &Text, found: &mut Found) {
        self.due.remove(name);
        self.failed.remove(name);
        if let Some(known) = self.known.remove(name) {
            found.other_unreadable |= known.unreadable.is_some();
            found.removed.extend(known.service.map(|service| service.id.clone()));
        }
    }

    async fn report(&mut self, found: Found) -> Result<(), Closed> {
        let Found { applied, removed, other_unreadable } = found;
        let changes = applied.len() + removed.len();
        if self.listed && !other_unreadable && changes <= MOST_CHANGES {
            for service in applied {
                self.outbox.send(Update::Applied(self.scope(), service)).await?;
            }
            for id in removed {
                self.outbox.send(Update::Removed(self.scope(), id)).await?;
            }
            return Ok(());
        }
        self.listed = true;
        let readable = self.known.values().filter(|known| known.unreadable.is_none());
        let services = readable.filter_map(|known| known.service.clone()).collect();
        let unreadable = self.known.iter().filter_map(|(name, known)| Some((self.id(name), known.unreadable.clone()?)));
        let unreadable = unreadable.collect();
        self.outbox.send(Update::Listed { scope: self.scope(), services, unreadable }).await
    }

    async fn fail(&mut self, error: &Error) -> Result<Round, Closed> {
        self.listed = false;
        self.outbox.failed(Some(self.scope()), error).await?;
        Ok(Round { retry_after: error.retry_after().unwrap_or_default(), ..Round::FAILED })
    }

    fn scope(&self) -> Scope {
        scope(&self.place)
    }

    fn id(&self, name: &Text) -> ServiceId {
        let Place { datacenter, namespace, .. } = &self.place;
        let [datacenter, namespace] = [datacenter, namespace].map(|part| part.clone().unwrap_or_default());
        ServiceId::new(self.registry.clone(), datacenter, namespace, name.clone())
    }
}

/// A datacenter.
pub(super) fn scope(place: &Place) -> Scope {
    Scope(place.datacenter.clone().unwrap_or_default())
}
