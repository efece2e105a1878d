//! One reading after the other: which server is asked, for what, and what of the answer is sent.
//!
//! State: a [`Session`] with one server, from its first whole list on. While it lasts, changes are asked for, and the whole
//! list only when they do not fit, after a pause in which some may have been missed, and every `full_period` (their hash
//! does not see everything). A server that fails ends it: the whole list of the next one begins another, because changes of
//! one server say nothing about the state of another. What is served changes in none of this; only a good state is sent.

use super::{
    apps::{Apps, Source},
    client::Client,
    config::Config,
    convert::Rules,
    error::Error,
    trust::{Misfit, Trust},
    wire,
};
use crate::{
    model::{Scope, Text, Update},
    registry::{
        Limits, Metrics, of_all,
        outbox::{Closed, Outbox},
        rounds::{Round, Rounds},
        transport::Origin,
    },
};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info};

/// The longest pause after which changes are still asked for: half of the time for which a stock server repeats a
/// change.
const MISSED: Duration = Duration::from_secs(90);

/// The state that was read from one server.
#[derive(Debug)]
struct Session {
    server: usize,
    apps: Apps,
    /// Hash of the answer with the whole list, while the state is exactly that list.
    list: Option<u64>,
    /// Hash of the answer with the last delta that fitted.
    delta: Option<u64>,
    /// The hash of the server's list is as we count it, so its hash says whether a delta fits.
    counts: bool,
    /// Bytes of the whole list and of all changes since then.
    bytes: u64,
    /// When it last refused to give changes.
    refused: Option<Instant>,
    begun: Instant,
    read_at: Instant,
    list_at: Instant,
}

/// How the state was read, for the counter `registry_reads`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// A whole list was read.
    Full,
    /// A delta was applied to the last state.
    Delta,
    /// The server had nothing new.
    Unchanged,
}

#[derive(Debug)]
pub(super) struct Reader {
    source: Source,
    config: Config,
    client: Client,
    metrics: Metrics,
    outbox: Outbox<Update>,
    session: Option<Session>,
    /// How far the hashes of each server are trusted, in the order of the servers.
    trust: Vec<Trust>,
}

impl Rounds for Reader {
    async fn round(&mut self) -> Result<Round, Closed> {
        self.outbox.scopes(vec![Scope::whole()]).await?;
        let started = Instant::now();
        let before = self.session.as_ref().map(|session| session.apps.clone()).unwrap_or_default();
        let round = match self.read().await {
            Ok(read) => {
                self.metrics.read(&self.source.registry, read.name());
                self.report(read, &before).await?;
                Round::GOOD
            }
            Err(error) if error.is_passing() => {
                note_contradiction(&self.source.registry, &error, &self.metrics);
                Round::FAILED
            }
            Err(error) => {
                self.outbox.failed(Some(Scope::whole()), &error).await?;
                Round { retry_after: error.retry_after().unwrap_or_default(), ..Round::FAILED }
            }
        };
        self.outbox.send(Update::Cost(self.client.take_cost(started.elapsed()))).await?;
        Ok(round)
    }
}

impl Reader {
    pub(super) fn new(registry: Text, config: Config, outbox: Outbox<Update>, metrics: Metrics) -> Result<Self, Error> {
        let client = Client::new(registry.clone(), &config, metrics.clone())?;
        let outbox = outbox.hiding(client.redactor());
        let rules = Rules { address: config.address, region: config.region.clone() };
        let trust = vec![Trust::default(); config.servers.len()];
        Ok(Reader { source: Source { registry, rules }, config, client, metrics, outbox, session: None, trust })
    }

    /// Brings the session up to date: by a delta if possible, else by a whole list.
    async fn read(&mut self) -> Result<Read, Error> {
        let config = &self.config;
        if let Some(session) = self.session.as_mut().filter(|session| session.may_follow(config)) {
            match session.follow(&self.client, &self.source, &config.limits).await {
                Ok(Some(read)) => {
                    self.trust[session.server].fits();
                    return Ok(read);
                }
                Ok(None) => note_mismatch(&self.source.registry, &self.metrics),
                Err(error) => {
                    session.refused = error.is_not_offered().then(Instant::now);
                    debug!(registry = %self.source.registry, %error, "No changes can be had; reading the whole list.");
                }
            }
        }
        self.read_list().await
    }

    /// Reads the whole list of the first server that gives one. A server whose list contradicts itself once is not
    /// left.
    async fn read_list(&mut self) -> Result<Read, Error> {
        let mut failures = Vec::new();
        for server in self.order() {
            match self.list_of(server).await {
                Ok(read) => return Ok(read),
                Err(error) if error.is_passing() => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        Err(of_all(failures, Error::retry_after, |count, tried, retry_after| Error::EveryServer {
            count,
            tried,
            retry_after,
        }))
    }

    /// The servers in the order in which they are asked: that of the session, then the others. If that one is of
    /// another zone, the own zone's go first after each `full_period`.
    fn order(&self) -> Vec<usize> {
        let (count, own) = (self.config.servers.len(), self.config.own_zone);
        let mut order: Vec<usize> = (0..count).collect();
        if let Some(session) = &self.session {
            let abroad = session.server >= own && session.begun.elapsed() >= self.config.full_period;
            // Those before it keep their places, and so do those behind.
            order[if abroad { own } else { 0 }..=session.server].rotate_right(1);
        }
        order
    }

    /// Reads the whole list of one server, and makes it the session's state.
    async fn list_of(&mut self, server: usize) -> Result<Read, Error> {
        let now = Instant::now();
        let same = self.session.as_mut().filter(|session| session.server == server);
        let known = same.as_ref().and_then(|session| session.list);
        let answer = self.client.get(server, "/apps", known).await?;
        let (begun, refused) = match same {
            Some(session) => (session.begun, session.refused),
            None => (now, None),
        };
        let begun = if now - begun >= self.config.full_period { now } else { begun };
        let Some(answer) = answer else {
            if let Some(session) = &mut self.session {
                (session.begun, session.read_at, session.list_at) = (begun, now, now);
            }
            self.trust[server].stays();
            return Ok(Read::Unchanged);
        };
        let listing = wire::listing(&answer.origin, &answer.body)?;
        let bytes = answer.body.len() as u64;
        check(&self.config.limits, &answer.origin, listing.applications.len(), bytes)?;
        if self.session.as_ref().is_none_or(|session| session.server != server) {
            note_server(&self.source.registry, &self.config.servers[server].url);
        }
        let before = self.session.as_ref().map(|session| session.apps.clone()).unwrap_or_default();
        let apps = Apps::whole(&self.source, &listing, &before);
        let counts = listing.hash.as_deref() == Some(&*apps.hash());
        self.check_hash(server, &answer.origin, listing.hash.as_deref(), &apps)?;
        let list = Some(answer.hash);
        let (delta, read_at, list_at) = (None, now, now);
        let session = Session { server, apps, list, delta, counts, bytes, refused, begun, read_at, list_at };
        self.session = Some(session);
        Ok(Read::Full)
    }

    /// Refuses a list that does not fit its own hash, unless no list of this server has fit for long.
    fn check_hash(&mut self, server: usize, origin: &Origin, expected: Option<&str>, apps: &Apps) -> Result<(), Error> {
        let Some(expected) = expected else { return Ok(()) };
        let (found, trust) = (apps.hash_as_listed(), &mut self.trust[server]);
        if found == expected {
            trust.fits();
            return Ok(());
        }
        let lasting = match trust.misfits(self.config.patience, self.config.full_period) {
            Misfit::Taken => return Ok(()),
            Misfit::Refused => false,
            Misfit::Lasting => true,
        };
        Err(Error::Contradiction { url: origin.to_string(), expected: expected.to_owned(), found, lasting })
    }

    async fn report(&self, read: Read, before: &Apps) -> Result<(), Closed> {
        let Some(session) = &self.session else { return Ok(()) };
        if read == Read::Delta {
            // The server reported each of its instances as deleted. What only a list lacks is for the catalog to judge.
            for id in before.gone(&session.apps) {
                self.outbox.send(Update::Removed(Scope::whole(), id.clone())).await?;
            }
        }
        let (services, unreadable) = (session.apps.services(), session.apps.unreadable(&self.source));
        self.outbox.send(Update::Listed { scope: Scope::whole(), services, unreadable }).await
    }
}

impl Session {
    /// True if a delta is enough and no whole list is needed.
    fn may_follow(&self, config: &Config) -> bool {
        let within = |since: Instant, time: Duration| since.elapsed() < time;
        let offers = self.counts && self.refused.is_none_or(|at| !within(at, config.full_period));
        config.delta && offers && within(self.read_at, MISSED) && within(self.list_at, config.full_period)
    }

    /// Asks for a delta and applies it; `None` if the outcome is not what the server has.
    async fn follow(&mut self, client: &Client, source: &Source, limits: &Limits) -> Result<Option<Read>, Error> {
        let Some(answer) = client.get(self.server, "/apps/delta", self.delta).await? else {
            self.read_at = Instant::now();
            return Ok(Some(Read::Unchanged));
        };
        let listing = wire::listing(&answer.origin, &answer.body)?;
        let apps = self.apps.changed(source, &listing);
        self.bytes += answer.body.len() as u64;
        check(limits, &answer.origin, apps.count(), self.bytes)?;
        if listing.hash.as_deref() != Some(&*apps.hash()) {
            return Ok(None);
        }
        let read = if listing.applications.is_empty() { Read::Unchanged } else { Read::Delta };
        self.apps = apps;
        self.list = self.list.filter(|_| read == Read::Unchanged);
        self.delta = Some(answer.hash);
        self.read_at = Instant::now();
        Ok(Some(read))
    }
}

impl Read {
    const fn name(self) -> &'static str {
        match self {
            Read::Full => "full",
            Read::Delta => "delta",
            Read::Unchanged => "unchanged",
        }
    }
}

/// Checks the limits. A delta that exceeds them makes the whole list be read, and such a whole list is refused.
fn check(limits: &Limits, origin: &Origin, services: usize, bytes: u64) -> Result<(), Error> {
    let checked = limits.check_services(services).and_then(|()| limits.check_bytes(bytes));
    checked.map_err(|limit| Error::Exceeded { url: origin.to_string(), limit })
}

/// Log and count of changes that lead to another state than the server's.
fn note_mismatch(registry: &Text, metrics: &Metrics) {
    metrics.read(registry, "mismatch");
    debug!(%registry, "The changes do not give what the server has; reading the whole list.");
}

/// Log and count of a list that is read again.
fn note_contradiction(registry: &Text, error: &Error, metrics: &Metrics) {
    metrics.read(registry, "contradiction");
    debug!(%registry, %error, "A list contradicts itself; reading it again.");
}

fn note_server(registry: &Text, server: &reqwest::Url) {
    info!(%registry, %server, "Reading this Eureka server.");
}
