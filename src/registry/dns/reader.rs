//! Looks up names when their answers are old, and tells what has changed. Each name has its own time: one that takes long
//! holds up no other, but for the first list, which has all of them.

use super::{
    config::{Config, Name},
    lookup::{Error, Found, Resolver},
};
use crate::{
    model::{Cost, Scope, Service, ServiceId, Text, Update},
    registry::{
        Metrics, chain,
        outbox::{Changes, Closed, Outbox},
        rounds::{Round, Rounds},
    },
    util::time::until,
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// The most names that are looked up at the same time.
const CONCURRENCY: usize = 16;
/// Outcomes that come so close together are told together.
const GATHERED: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Reader {
    registry: Text,
    config: Config,
    resolver: Arc<Resolver>,
    metrics: Metrics,
    outbox: Outbox<Update>,
    names: Vec<Known>,
    under_way: FuturesUnordered<BoxFuture<'static, Outcome>>,
    /// What has come and is not told yet.
    come: Vec<Outcome>,
    /// A list of all services was reported, and no failure since then, so single changes can be reported.
    listed: bool,
}

/// A name, with the outcome of its last lookup.
#[derive(Debug)]
struct Known {
    name: Name,
    id: ServiceId,
    /// The last good value; `None` before the first.
    service: Option<Arc<Service>>,
    unreadable: Option<Text>,
    /// When to look it up; `None` while that is under way.
    due: Option<Instant>,
}

/// How the lookup of a name ended.
#[derive(Debug)]
struct Outcome {
    /// The place of the name.
    at: usize,
    found: Result<Found, Error>,
    took: Duration,
}

impl Known {
    /// Whether it was not looked up yet.
    fn is_unknown(&self) -> bool {
        self.service.is_none() && self.unreadable.is_none()
    }
}

impl Rounds for Reader {
    async fn round(&mut self) -> Result<Round, Closed> {
        self.outbox.scopes(vec![Scope::whole()]).await?;
        self.ask();
        while let Some(Some(outcome)) = self.under_way.next().now_or_never() {
            self.come.push(outcome);
        }
        let come = std::mem::take(&mut self.come);
        if come.is_empty() {
            return Ok(Round::GOOD);
        }
        let (requests, longest) = (come.len() as u64, come.iter().map(|outcome| outcome.took).max());
        let (mut changed, mut last_error) = (Vec::new(), None);
        for Outcome { at, found, took } in come {
            self.metrics.request(&self.registry, if found.is_ok() { "ok" } else { "unreachable" }, took);
            self.take(at, found, &mut changed, &mut last_error);
        }
        let round = match last_error {
            // A list has all names.
            _ if self.names.iter().any(Known::is_unknown) => Round::GOOD,
            // Nothing at all is known, or nobody answers any more.
            Some(error) if self.names.iter().all(|known| known.unreadable.is_some()) => {
                self.listed = false;
                self.outbox.failed(Some(Scope::whole()), &error).await?;
                Round::FAILED
            }
            _ => {
                self.report(changed).await?;
                Round::GOOD
            }
        };
        let cost = Cost { requests, bytes: 0, duration: longest.unwrap_or_default() };
        self.outbox.send(Update::Cost(cost)).await?;
        Ok(round)
    }

    /// Waits until a lookup has ended, or the answer for some name is old, whatever `pause` is.
    async fn rest(&mut self, _pause: Duration) -> Result<(), Closed> {
        let next = self.names.iter().filter_map(|known| known.due).min().filter(|_| self.room() > 0);
        tokio::select! {
            Some(outcome) = self.under_way.next() => self.come.push(outcome),
            () = until(next) => return Ok(()),
            () = self.outbox.closed() => return Err(Closed),
        }
        sleep(GATHERED).await;
        Ok(())
    }
}

impl Reader {
    pub(super) fn new(registry: Text, config: Config, outbox: Outbox<Update>, metrics: Metrics) -> Result<Self, Text> {
        let resolver = Arc::new(Resolver::new(&config)?);
        let due = Some(Instant::now());
        let known = |name: &Name| {
            let id = ServiceId::new(registry.clone(), "", "", name.service.clone());
            Known { name: name.clone(), id, service: None, unreadable: None, due }
        };
        let mut names: Vec<Known> = config.names.iter().map(known).collect();
        names.sort_by(|a, b| a.id.cmp(&b.id));
        let (under_way, come) = (FuturesUnordered::new(), Vec::new());
        let registry = registry.clone();
        Ok(Reader { registry, config, resolver, metrics, outbox, names, under_way, come, listed: false })
    }

    /// How many names more may be looked up now.
    fn room(&self) -> usize {
        CONCURRENCY.saturating_sub(self.under_way.len())
    }

    /// Begins to look up the names that are due, the longest waiting first.
    fn ask(&mut self) {
        let (now, room) = (Instant::now(), self.room());
        let due = |(at, known): (usize, &Known)| Some((known.due.filter(|due| *due <= now)?, at));
        let mut due: Vec<(Instant, usize)> = self.names.iter().enumerate().filter_map(due).collect();
        due.sort();
        for (_, at) in due.into_iter().take(room) {
            let known = &mut self.names[at];
            known.due = None;
            let (resolver, name, last) = (self.resolver.clone(), known.name.clone(), known.service.clone());
            let ask = async move {
                let found = resolver.find(&name, last.as_deref()).await;
                Outcome { at, found, took: now.elapsed() }
            };
            self.under_way.push(ask.boxed());
        }
    }

    /// Takes the outcome for a name. If the name became readable or unreadable, `listed` is cleared, so that a list is
    /// sent.
    fn take(
        &mut self,
        at: usize,
        found: Result<Found, Error>,
        changed: &mut Vec<Arc<Service>>,
        last_error: &mut Option<Error>,
    ) {
        let (min, max) = self.config.ttl;
        let known = &mut self.names[at];
        match found {
            Ok(Found { endpoints, notes, ttl }) => {
                known.due = Some(Instant::now() + ttl.clamp(min, max));
                self.listed &= known.unreadable.take().is_none();
                let service = Service { notes, ..Service::new(known.id.clone(), endpoints) };
                if known.service.as_deref() != Some(&service) {
                    let service = Arc::new(service);
                    changed.push(service.clone());
                    known.service = Some(service);
                }
            }
            Err(error) => {
                known.due = Some(Instant::now() + min);
                let why = chain(&error);
                self.listed &= known.unreadable.as_ref() == Some(&why);
                known.unreadable = Some(why);
                *last_error = Some(error);
            }
        }
    }

    async fn report(&mut self, applied: Vec<Arc<Service>>) -> Result<(), Closed> {
        if self.listed {
            let changes = Changes { applied, removed: Vec::new() };
            let names = &self.names;
            return self.outbox.changes(&Scope::whole(), changes, || list(names)).await;
        }
        self.listed = true;
        self.outbox.send(list(&self.names)).await
    }
}

fn list(names: &[Known]) -> Update {
    let readable = names.iter().filter(|known| known.unreadable.is_none());
    let services = readable.filter_map(|known| known.service.clone()).collect();
    let unreadable = names.iter().filter_map(|known| Some((known.id.clone(), known.unreadable.clone()?)));
    Update::Listed { scope: Scope::whole(), services, unreadable: unreadable.collect() }
}
