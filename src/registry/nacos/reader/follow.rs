//! Between two rounds: what is pushed is read and told; thresholds, which nobody pushes, are looked at with every period,
//! and so are names, or more seldom where the server says who comes. Without push it is only a wait.
//!
//! Here nothing is ever told as gone: a service that is not found or said to be gone, or a list that names others, makes
//! the next round come early, and its list says so.

use super::{
    super::{
        api::Api,
        bulk::Listed,
        config::Mode,
        push::{Push, patterns},
    },
    Closed, Error, Memory, Reader, Round, Target,
};
use crate::{
    model::{Service, ServiceId, Text},
    registry::{Update, backoff::jittered, chain},
};
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tracing::debug;

/// With more changes at once the whole list is the smaller question.
const ONE_BY_ONE: usize = 16;
/// Where the server says which services come and go, from one list of names to the next: it is what makes up for a word
/// that was lost.
const NAMES: Duration = Duration::from_secs(60);
/// Within this time a list follows upon the word that a service is gone: not sooner, as there may be many such words.
const SOON: Duration = Duration::from_secs(5);

/// What has become of services that may have changed.
#[derive(Default)]
struct Found {
    services: Vec<Arc<Service>>,
    /// Some were not there, or could not be read.
    incomplete: bool,
}

impl Reader {
    /// Waits until everything is to be read again: after `wait`, unless everything is pushed.
    pub(in super::super) async fn follow(&mut self, round: &Round, wait: Duration) -> Result<(), Closed> {
        let Some(push) = self.push.take() else {
            sleep(wait).await;
            return Ok(());
        };
        let outcome = self.follow_push(&push, round, wait).await;
        self.push = Some(push);
        outcome
    }

    async fn follow_push(&mut self, push: &Push, round: &Round, wait: Duration) -> Result<(), Closed> {
        let started = Instant::now();
        let mut again = !round.settled;
        let mut named = started;
        let mut look = pin!(sleep(wait));
        push.want(self.ids(), self.patterns());
        loop {
            let changes = tokio::select! {
                changes = push.changed() => Some(changes),
                () = &mut look => None,
            };
            if let Some(changes) = changes {
                if !self.refresh(changes.services).await? || changes.gone {
                    again = true;
                    let soon = Instant::now() + jittered(self.config.period.min(SOON));
                    let next = soon.min(look.deadline());
                    look.as_mut().reset(next);
                }
                push.want(self.ids(), self.patterns());
                continue;
            }
            if again || started.elapsed() >= self.config.resync || self.looks_for_a_better_interface() {
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
                    self.tell_failure(None, &Error::NoPush(why)).await?;
                }
            } else {
                return Ok(());
            }
            look.set(sleep(jittered(self.config.period)));
        }
    }

    /// Patterns that show the names of all that is read.
    fn patterns(&self) -> BTreeSet<Text> {
        let mut groups: BTreeMap<&Text, BTreeSet<Text>> = BTreeMap::new();
        for target in self.memory.keys() {
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
        let ids = |memory: &Memory| memory.services.keys().chain(&memory.unreadable).cloned().collect::<Vec<_>>();
        self.memory.values().flat_map(ids).collect()
    }

    /// Reads what may have changed and tells what has. `false`: not all could be read. Others than those that are wanted
    /// may be named here, too.
    async fn refresh(&mut self, mut ids: BTreeSet<ServiceId>) -> Result<bool, Closed> {
        let Some(api) = self.api else { return Ok(false) };
        let wanted = self.wanted_groups();
        ids.retain(|id| wanted.matches(id));
        let mut parts: BTreeMap<Target, Vec<ServiceId>> = BTreeMap::new();
        for id in ids {
            let group = (!api.is_bulk()).then(|| id.group.clone());
            parts.entry(Target { namespace: id.namespace.clone(), group }).or_default().push(id);
        }
        let mut whole = true;
        for (target, ids) in parts {
            let Some(mut memory) = self.memory.remove(&target) else { continue };
            let found = match &target.group {
                None => self.changed_in_bulk(api, &target, &ids, &mut memory).await,
                Some(_) => self.changed_one_by_one(&target, &ids, &mut memory).await,
            };
            match found {
                Ok(found) => {
                    whole &= !found.incomplete;
                    self.tell_changed(&target, found.services, &mut memory).await?;
                }
                Err(error) => {
                    debug!(registry = %self.registry, scope = %target.scope(), error = %chain(&error), "Cannot read what was pushed.");
                    whole = false;
                }
            }
            self.memory.insert(target, memory);
        }
        Ok(whole)
    }

    async fn changed_in_bulk(
        &self,
        api: Api,
        target: &Target,
        ids: &[ServiceId],
        memory: &mut Memory,
    ) -> Result<Found, Error> {
        let source = self.bulk(api, target);
        let mut found = Found::default();
        let mut told = |service: Arc<Service>, listed: Listed| {
            found.services.push(service);
            memory.listed.insert(listed.service.id.clone(), listed);
        };
        if ids.len() > ONE_BY_ONE {
            let mut reading = source.read(&mut memory.bulk).await?;
            let thresholds = self.thresholds(api);
            for listed in ids.iter().filter_map(|id| reading.services.remove(id)) {
                told(memory.thresholds.apply_to(&thresholds, &listed).await, listed);
            }
        } else {
            let questions: Vec<_> = ids.iter().map(|id| source.one(id)).collect();
            let mut answers = stream::iter(questions).buffered(self.config.concurrency);
            while let Some(read) = answers.next().await {
                match read {
                    Ok((listed, threshold)) => told(memory.thresholds.apply_known(&listed, threshold), listed),
                    // It may just have gone, and its neighbours have not.
                    Err(error) => {
                        debug!(registry = %self.registry, error = %chain(&error), "Cannot read what was pushed.")
                    }
                }
            }
        }
        found.incomplete = found.services.len() < ids.len();
        Ok(found)
    }

    async fn changed_one_by_one(
        &self,
        target: &Target,
        ids: &[ServiceId],
        memory: &mut Memory,
    ) -> Result<Found, Error> {
        let Some(source) = &self.each(target) else { return Ok(Found::default()) };
        let mut found = Found::default();
        let known = &memory.each;
        let questions: Vec<_> = ids.iter().map(|id| async move { (id, source.one(id, known).await) }).collect();
        let mut answers = stream::iter(questions).buffered(self.config.concurrency);
        let mut fresh = Vec::new();
        while let Some((id, read)) = answers.next().await {
            fresh.push((id.clone(), read?));
        }
        drop(answers);
        found.services.extend(fresh.iter().map(|(_, (_, service))| service.clone()));
        memory.each.extend(fresh);
        Ok(found)
    }

    /// Looks at what is not pushed, with or without the names. `false`: there are other services now, or it could not be
    /// seen.
    async fn look(&mut self, names: bool) -> Result<bool, Closed> {
        let started = Instant::now();
        let Some(api) = self.api else { return Ok(false) };
        let targets: BTreeSet<Target> = self.memory.keys().cloned().collect();
        for target in targets {
            let Some(mut memory) = self.memory.remove(&target) else { continue };
            let same = if names { self.same_names(api, &target, &memory).await } else { Ok(true) };
            if let (Ok(true), None) = (&same, &target.group) {
                let services = memory.thresholds.apply(&self.thresholds(api), &memory.listed).await;
                self.tell_changed(&target, services, &mut memory).await?;
            }
            self.memory.insert(target, memory);
            if !same.is_ok_and(|same| same) {
                return Ok(false);
            }
        }
        self.send(Update::Cost(self.client.take_cost(started.elapsed()))).await?;
        Ok(true)
    }

    async fn same_names(&self, api: Api, target: &Target, memory: &Memory) -> Result<bool, Error> {
        let mut names = match self.each(target) {
            Some(source) => source.names().await?,
            None => self.bulk(api, target).names().await?,
        };
        if target.group.is_none() {
            let wanted = self.wanted_groups();
            names.retain(|id| wanted.matches(id));
        }
        let known = memory.services.keys().chain(&memory.unreadable);
        Ok(names.len() == memory.services.len() + memory.unreadable.len()
            && known.into_iter().all(|id| names.contains(id)))
    }

    async fn tell_changed(
        &self,
        target: &Target,
        services: Vec<Arc<Service>>,
        memory: &mut Memory,
    ) -> Result<(), Closed> {
        for service in services {
            let told = memory.services.get(&service.id);
            if told.is_none_or(|told| !Arc::ptr_eq(told, &service) && **told != *service) {
                memory.unreadable.remove(&service.id);
                memory.services.insert(service.id.clone(), service.clone());
                self.send(Update::Applied(target.scope(), service)).await?;
            }
        }
        Ok(())
    }
}
