//! Between two rounds ([`Phase::Following`]): what is pushed is read and sent; thresholds, which nobody pushes, are looked at
//! with every period, and so are names, or less often where the server sends names that come. Without push it is only a wait.
//!
//! Here nothing is ever sent as gone: a service that is not found or reported to be gone, or a list that has other names, makes
//! the next round come early, and its list is the proof.

use super::{
    list_bulk::Listed,
    reader::{Phase, Reader},
    rules::Rules,
    target::{Known, Target},
};
use crate::{
    model::{Service, ServiceId, Text, Update},
    registry::{
        nacos::{
            api::Api,
            config::Mode,
            error::Error,
            subscribe::{Push, patterns},
        },
        outbox::Closed,
    },
    util::backoff::{Backoff, jittered},
};
use futures_util::{StreamExt, future::select_all, stream};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tracing::debug;

/// The most changes that are read one by one. With more, the whole list is the smaller request.
const ONE_BY_ONE: usize = 16;
/// Where the server says which services come and go, the time from one list of names to the next: it makes up for a
/// message that was lost.
const NAMES: Duration = Duration::from_secs(60);
/// The first pause after a push that brought nothing new. It grows up to [`MAX_VAIN`], so that a server that pushes
/// without end does not make us ask without end.
const VAIN: Duration = Duration::from_millis(50);
const MAX_VAIN: Duration = Duration::from_secs(2);
/// The longest time until a list follows the report that a service is gone: not sooner, as there may be many such
/// reports.
const SOON: Duration = Duration::from_secs(5);

/// Services that were read again because they may have changed.
#[derive(Default)]
struct Found {
    services: Vec<Arc<Service>>,
    /// Some of them do not exist, or could not be read.
    incomplete: bool,
}

/// The outcome of reading what was pushed.
struct Refreshed {
    /// Everything could be read.
    whole: bool,
    /// Something had changed, and was sent.
    sent: bool,
}

impl Reader {
    /// Waits until everything is to be read again: after `wait`, unless everything is pushed.
    pub(super) async fn follow(&mut self, wait: Duration) -> Result<(), Closed> {
        // Both are waited for beside the reader.
        let (push, mut rules) = (self.push.take(), self.rules.take());
        let outcome = match &push {
            Some(push) => self.follow_push(push, &mut rules, wait).await,
            None => self.follow_rules(&mut rules, wait).await,
        };
        (self.push, self.rules) = (push, rules);
        outcome
    }

    /// Applies rules that change, until `wait` is over.
    async fn follow_rules(&mut self, rules: &mut Option<Rules>, wait: Duration) -> Result<(), Closed> {
        let mut end = pin!(sleep(wait));
        loop {
            tokio::select! {
                rules = ruled(rules) => {
                    self.rule(rules).await?;
                }
                target = hear(&mut self.known) => self.heard(&target).await?,
                () = &mut end => return Ok(()),
            }
        }
    }

    async fn follow_push(&mut self, push: &Push, rules: &mut Option<Rules>, wait: Duration) -> Result<(), Closed> {
        let started = Instant::now();
        let mut again = !matches!(self.phase, Phase::Following { settled: true, .. });
        // It was told that nothing is pushed.
        let mut failed = false;
        let mut named = started;
        let mut look = pin!(sleep(wait));
        // From one reading of what was pushed to the next: none as a rule, longer after each push that brought nothing.
        let (mut vain, mut rest) = (Backoff::new(VAIN, MAX_VAIN), started);
        push.want(self.ids(), self.patterns());
        loop {
            let changes = tokio::select! {
                changes = async { sleep_until(rest).await; push.changed().await } => Some(changes),
                target = hear(&mut self.known) => {
                    self.heard(&target).await?;
                    continue;
                }
                rules = ruled(rules) => {
                    // Findings are told with a list.
                    if self.rule(rules).await? {
                        again = true;
                        sooner(look.as_mut(), self.config.period);
                    }
                    continue;
                }
                () = &mut look => None,
            };
            if let Some(changes) = changes {
                let refreshed = self.refresh(changes.services).await?;
                rest = Instant::now();
                if refreshed.sent {
                    vain.reset();
                } else {
                    rest += vain.next();
                }
                if !refreshed.whole || changes.gone || failed && push.covers() {
                    again = true;
                    sooner(look.as_mut(), self.config.period);
                }
                push.want(self.ids(), self.patterns());
                continue;
            }
            // Only a list says that all is well again.
            again |= failed && push.covers();
            if again
                || started.elapsed() >= self.config.resync
                || self.phase.api().is_some_and(|api| self.probe.is_due(api))
            {
                return Ok(());
            }
            if push.covers() {
                let names = !push.covers_names() || named.elapsed() >= NAMES;
                if !self.look(names).await? {
                    return Ok(());
                }
                named = if names { Instant::now() } else { named };
            } else if self.config.mode == Mode::Push {
                // Without trouble it is being connected, or subscribes to what is new.
                if let Some(why) = push.trouble() {
                    failed = true;
                    self.outbox.failed(None, &Error::NoPush(why)).await?;
                }
            } else {
                return Ok(());
            }
            look.set(sleep(jittered(self.config.period)));
        }
    }

    /// Takes in what providers have said of themselves, and sends what that changes.
    async fn heard(&mut self, target: &Target) -> Result<(), Closed> {
        let Some(api) = self.phase.api() else { return Ok(()) };
        let Some(mut known) = self.known.remove(target) else { return Ok(()) };
        self.renew_budget();
        self.look_at_levels(api, target, &mut known).await?;
        self.known.insert(target.clone(), known);
        Ok(())
    }

    /// Applies rules to what is known. `true` if other findings about them are to be reported.
    async fn rule(&mut self, rules: &Rules) -> Result<bool, Closed> {
        let Some(api) = self.phase.api() else { return Ok(false) };
        self.renew_budget();
        let (mut told, targets) = (false, self.known.keys().cloned().collect::<BTreeSet<_>>());
        for target in targets {
            let Ok(of_it) = rules.of(&target.namespace) else { continue };
            let Some(mut known) = self.known.remove(&target) else { continue };
            if let Some(levels) = &mut known.levels {
                told |= levels.rule(&target.namespace, of_it);
                self.look_at_levels(api, &target, &mut known).await?;
            }
            self.known.insert(target, known);
        }
        Ok(told)
    }

    /// The patterns of names that cover everything that is read.
    fn patterns(&self) -> BTreeSet<Text> {
        let mut groups: BTreeMap<&Text, BTreeSet<Text>> = BTreeMap::new();
        for target in self.known.keys() {
            let of_namespace = groups.entry(&target.namespace).or_default();
            match &target.group {
                Some(group) => drop(of_namespace.insert(group.clone())),
                None => of_namespace.extend(self.config.groups.iter().cloned()),
            }
        }
        groups.into_iter().flat_map(|(namespace, groups)| patterns(namespace, &groups)).collect()
    }

    /// All services that are known, also those that could not be read.
    fn ids(&self) -> BTreeSet<ServiceId> {
        self.known.values().flat_map(Known::ids).cloned().collect()
    }

    /// Reads services that may have changed, and sends those that have. Services that are not wanted are ignored.
    async fn refresh(&mut self, mut ids: BTreeSet<ServiceId>) -> Result<Refreshed, Closed> {
        let Some(api) = self.phase.api() else { return Ok(Refreshed { whole: false, sent: false }) };
        self.renew_budget();
        let wanted = self.wanted_groups();
        ids.retain(|id| wanted.matches(id));
        let mut parts: BTreeMap<Target, Vec<ServiceId>> = BTreeMap::new();
        for id in ids {
            let group = (!api.is_bulk()).then(|| id.group.clone());
            parts.entry(Target { namespace: id.namespace.clone(), group }).or_default().push(id);
        }
        let mut refreshed = Refreshed { whole: true, sent: false };
        for (target, ids) in parts {
            let Some(mut known) = self.known.remove(&target) else { continue };
            let found = match &target.group {
                None => self.changed_in_bulk(api, &target, &ids, &mut known).await,
                Some(_) => self.changed_one_by_one(api, &target, &ids, &mut known).await,
            };
            match found {
                Ok(found) => {
                    refreshed.whole &= !found.incomplete;
                    refreshed.sent |= self.send_changed(api, &target, found.services, &mut known).await?;
                }
                Err(error) => {
                    debug!(registry = %self.registry, scope = %target.scope(), error = %self.client.http.shown(&error), "Cannot read what was pushed.");
                    refreshed.whole = false;
                }
            }
            self.known.insert(target, known);
        }
        Ok(refreshed)
    }

    async fn changed_in_bulk(
        &self,
        api: Api,
        target: &Target,
        ids: &[ServiceId],
        known: &mut Known,
    ) -> Result<Found, Error> {
        let (source, thresholds) = (self.bulk(api, target), self.thresholds(api));
        let mut changed: Vec<(Arc<Service>, Listed)> = Vec::new();
        if ids.len() > ONE_BY_ONE {
            let mut reading = source.read(&mut known.bulk, &known.listed).await?;
            for listed in ids.iter().filter_map(|id| reading.services.remove(id)) {
                changed.push((known.thresholds.apply_to(&thresholds, &listed).await, listed));
            }
        } else {
            let last = |id| known.listed.get(id).map(|listed| &*listed.service);
            let questions: Vec<_> = ids.iter().map(|id| source.one(id, last(id))).collect();
            let mut answers = stream::iter(questions).buffered(self.config.concurrency);
            while let Some(read) = answers.next().await {
                match read {
                    Ok((listed, settings)) => {
                        changed.push((known.thresholds.apply_read(&thresholds, &listed, &settings).await, listed));
                    }
                    // It may just have gone, and its neighbours have not.
                    Err(error) => {
                        debug!(registry = %self.registry, error = %self.client.http.shown(&error), "Cannot read what was pushed.")
                    }
                }
            }
        }
        let mut found = Found { incomplete: changed.len() < ids.len(), ..Found::default() };
        for (service, listed) in changed {
            known.listed.insert(listed.service.id.clone(), listed);
            found.services.push(service);
        }
        Ok(found)
    }

    async fn changed_one_by_one(
        &self,
        api: Api,
        target: &Target,
        ids: &[ServiceId],
        known: &mut Known,
    ) -> Result<Found, Error> {
        let Some(source) = &self.each(api, target) else { return Ok(Found::default()) };
        let mut found = Found::default();
        let last = &known.each;
        let questions: Vec<_> = ids.iter().map(|id| async move { (id, source.one(id, last).await) }).collect();
        let mut answers = stream::iter(questions).buffered(self.config.concurrency);
        let mut fresh = Vec::new();
        while let Some((id, read)) = answers.next().await {
            fresh.push((id.clone(), read?));
        }
        drop(answers);
        found.services.extend(fresh.iter().map(|(_, (_, service))| service.clone()));
        known.each.extend(fresh);
        Ok(found)
    }

    /// Looks at what is not pushed, with or without the names. `false` if there are other services now, or it could not
    /// be seen.
    async fn look(&mut self, names: bool) -> Result<bool, Closed> {
        let started = Instant::now();
        let Some(api) = self.phase.api() else { return Ok(false) };
        self.renew_budget();
        let targets: BTreeSet<Target> = self.known.keys().cloned().collect();
        for target in targets {
            let Some(mut known) = self.known.remove(&target) else { continue };
            let same = if names { self.same_names(api, &target, &known).await } else { Ok(true) };
            if let (Ok(true), None) = (&same, &target.group) {
                let services = known.thresholds.apply(&self.thresholds(api), &known.listed).await;
                self.send_changed(api, &target, services, &mut known).await?;
            }
            self.look_at_levels(api, &target, &mut known).await?;
            self.known.insert(target, known);
            if !same.is_ok_and(|same| same) {
                return Ok(false);
            }
        }
        self.outbox.send(Update::Cost(self.client.http.take_cost(started.elapsed()))).await?;
        Ok(true)
    }

    async fn same_names(&self, api: Api, target: &Target, known: &Known) -> Result<bool, Error> {
        let mut names = match self.each(api, target) {
            Some(source) => source.names().await?,
            None => self.bulk(api, target).names().await?,
        };
        if target.group.is_none() {
            let wanted = self.wanted_groups();
            names.retain(|id| wanted.matches(id));
        }
        Ok(names.len() == known.services.len() + known.unreadable.len() && known.ids().all(|id| names.contains(id)))
    }

    async fn send_changed(
        &self,
        api: Api,
        target: &Target,
        services: Vec<Arc<Service>>,
        known: &mut Known,
    ) -> Result<bool, Closed> {
        let mut changed = Vec::new();
        for service in services {
            let sent = known.services.get(&service.id);
            if sent.is_none_or(|sent| !Arc::ptr_eq(sent, &service) && **sent != *service) {
                known.unreadable.remove(&service.id);
                known.services.insert(service.id.clone(), service.clone());
                changed.push(service);
            }
        }
        let any = !changed.is_empty();
        let wholes = known.spellings.changed(&changed, &known.services, &known.unreadable);
        let sent = match &mut known.levels {
            None => (wholes, None),
            Some(levels) => levels.changed(self.levels(api, target), wholes).await,
        };
        self.send_levels(target, sent).await?;
        Ok(any)
    }

    /// Sends what changes by metadata that can be read now, and by time.
    async fn look_at_levels(&self, api: Api, target: &Target, known: &mut Known) -> Result<(), Closed> {
        let Some(levels) = &mut known.levels else { return Ok(()) };
        let changed = levels.look(self.levels(api, target)).await;
        self.send_levels(target, changed).await
    }

    /// Sends changed services. An error is only logged: metadata that the server does not give now is asked for again
    /// with the next look.
    async fn send_levels(
        &self,
        target: &Target,
        (services, error): (Vec<Arc<Service>>, Option<Error>),
    ) -> Result<(), Closed> {
        for service in services {
            self.outbox.send(Update::Applied(target.scope(), service)).await?;
        }
        if let Some(error) = error {
            debug!(registry = %self.registry, scope = %target.scope(), error = %self.client.http.shown(&error), "Cannot read metadata.");
        }
        Ok(())
    }
}

/// Waits for an answer of a provider that is asked for its metadata, and returns its target; forever if none is asked.
async fn hear(known: &mut HashMap<Target, Known>) -> Target {
    let levels = known.iter_mut().filter_map(|(target, known)| Some((target, known.levels.as_mut()?)));
    let waiting: Vec<_> = levels
        .map(|(target, levels)| {
            Box::pin(async move {
                levels.hear().await;
                target.clone()
            })
        })
        .collect();
    match waiting.is_empty() {
        true => std::future::pending().await,
        false => select_all(waiting).await.0,
    }
}

/// Waits for a change of rules; forever if none are applied.
async fn ruled(rules: &mut Option<Rules>) -> &Rules {
    match rules {
        Some(rules) => {
            rules.changed().await;
            rules
        }
        None => std::future::pending().await,
    }
}

/// Makes the next look come after `period` or after [`SOON`], whichever is shorter, unless it comes sooner anyway.
fn sooner(look: Pin<&mut Sleep>, period: Duration) {
    let soon = Instant::now() + jittered(period.min(SOON));
    let next = soon.min(look.deadline());
    look.reset(next);
}
