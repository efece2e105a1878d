//! Looks up names when their answers are old, and tells what has changed.

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
};
use futures_util::{StreamExt, stream};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};

/// The most names that are looked up at the same time.
const CONCURRENCY: usize = 16;

#[derive(Debug)]
pub(super) struct Reader {
    registry: Text,
    config: Config,
    resolver: Resolver,
    metrics: Metrics,
    outbox: Outbox<Update>,
    names: Vec<Known>,
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
    due: Instant,
}

impl Rounds for Reader {
    async fn round(&mut self) -> Result<Round, Closed> {
        self.outbox.scopes(vec![Scope::whole()]).await?;
        let started = Instant::now();
        let asking = self.names.iter().enumerate().filter(|(_, known)| known.due <= started).map(|(at, _)| at);
        let asking: Vec<usize> = asking.collect();
        let (resolver, names) = (&self.resolver, &self.names);
        let ask = |at: usize| async move {
            let Known { name, service, .. } = &names[at];
            let asked = Instant::now();
            (at, resolver.find(name, service.as_deref()).await, asked.elapsed())
        };
        let found: Vec<_> = stream::iter(asking).map(ask).buffer_unordered(CONCURRENCY).collect().await;
        let requests = found.len() as u64;
        let (mut changed, mut good, mut last_error) = (Vec::new(), false, None);
        for (at, outcome, took) in found {
            self.metrics.request(&self.registry, if outcome.is_ok() { "ok" } else { "unreachable" }, took);
            good |= outcome.is_ok();
            self.take(at, outcome, &mut changed, &mut last_error);
        }
        let round = match last_error {
            // Nothing at all is known, or nobody answers any more.
            Some(error) if !good && self.names.iter().all(|known| known.unreadable.is_some()) => {
                self.listed = false;
                self.outbox.failed(Some(Scope::whole()), &error).await?;
                Round::FAILED
            }
            _ => {
                self.report(changed).await?;
                Round::GOOD
            }
        };
        self.outbox.send(Update::Cost(Cost { requests, bytes: 0, duration: started.elapsed() })).await?;
        Ok(round)
    }

    /// Waits until the answer for some name is old, whatever `pause` is.
    async fn rest(&mut self, _pause: Duration) -> Result<(), Closed> {
        let next = self.names.iter().map(|known| known.due).min().unwrap_or_else(Instant::now);
        tokio::select! {
            () = sleep_until(next) => Ok(()),
            () = self.outbox.closed() => Err(Closed),
        }
    }
}

impl Reader {
    pub(super) fn new(registry: Text, config: Config, outbox: Outbox<Update>, metrics: Metrics) -> Result<Self, Text> {
        let resolver = Resolver::new(&config)?;
        let due = Instant::now();
        let known = |name: &Name| {
            let id = ServiceId::new(registry.clone(), "", "", name.service.clone());
            Known { name: name.clone(), id, service: None, unreadable: None, due }
        };
        let mut names: Vec<Known> = config.names.iter().map(known).collect();
        names.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Reader { registry: registry.clone(), config, resolver, metrics, outbox, names, listed: false })
    }

    /// Takes the outcome for a name. If the name became readable or unreadable, `listed` is cleared, so that a list is
    /// sent.
    fn take(
        &mut self,
        at: usize,
        outcome: Result<Found, Error>,
        changed: &mut Vec<Arc<Service>>,
        last_error: &mut Option<Error>,
    ) {
        let (min, max) = self.config.ttl;
        let known = &mut self.names[at];
        match outcome {
            Ok(Found { endpoints, notes, ttl }) => {
                known.due = Instant::now() + ttl.clamp(min, max);
                self.listed &= known.unreadable.take().is_none();
                let service = Service { notes, ..Service::new(known.id.clone(), endpoints) };
                if known.service.as_deref() != Some(&service) {
                    let service = Arc::new(service);
                    changed.push(service.clone());
                    known.service = Some(service);
                }
            }
            Err(error) => {
                known.due = Instant::now() + min;
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
            return self.outbox.changes(&Scope::whole(), changes, || self.list()).await;
        }
        self.listed = true;
        self.outbox.send(self.list()).await
    }

    fn list(&self) -> Update {
        let readable = self.names.iter().filter(|known| known.unreadable.is_none());
        let services = readable.filter_map(|known| known.service.clone()).collect();
        let unreadable = self.names.iter().filter_map(|known| Some((known.id.clone(), known.unreadable.clone()?)));
        Update::Listed { scope: Scope::whole(), services, unreadable: unreadable.collect() }
    }
}
