//! Reads one registry: round after round, and what changes between two rounds ([`super::follow`]).

use super::{
    api_probe::{ApiProbe, Place},
    levels::{self, Levels},
    list_bulk, list_each,
    rules::Rules,
    scopes::Scopes,
    spellings::Lists,
    target::{Known, Outcome, Target},
    threshold,
};
use crate::{
    model::{Service, ServiceId, Text, Update},
    registry::{
        Metrics, dubbo,
        nacos::{
            api::{
                Api,
                budget::{Budget, Limits},
                namespaces::Namespaces,
            },
            config::{Config, Mode},
            error::Error,
            name::{DEFAULT_GROUP, PUBLIC},
            subscribe::Push,
            transport::Client,
        },
        outbox::{Closed, Outbox},
        rounds::Round,
    },
};
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use tokio::time::Instant;
use tracing::info;
use wildmatch::WildMatch;

/// The most scopes that are read at the same time; each has requests of its own in flight.
const SCOPES_AT_ONCE: usize = 4;

/// Where the reading of a registry stands.
///
/// ```text
///           ┌────────────── lost, or the interface is refused ──────────────┐
///           ▼                                                               │
///        Probing ── interface found ──► Listing ── some scope was read ──► Following
///                                          ▲                                │
///                                          └──── time, or a new service ────┘
/// ```
///
/// What was sent stays valid in every phase: the catalog holds it until a list shows otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is not known by which interface the server is read: at first, and after no scope could be read because the server is
    /// lost or does not offer the interface any more, as after an upgrade. A round begins with asking for it.
    Probing,
    /// The interface is known, and every scope is read by it. A better one is looked for from time to time.
    Listing(Api),
    /// Every scope was read or has failed by itself. Until the next round pushed services are read one by one.
    Following {
        /// The interface by which everything is read.
        api: Api,
        /// Everything was read, and there are the same services as in the round before.
        settled: bool,
    },
}

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) registry: Text,
    pub(super) config: Config,
    pub(super) client: Arc<Client>,
    /// The push connection; `None` if the registry is only polled.
    pub(super) push: Option<Push>,
    pub(super) outbox: Outbox<Update>,
    /// The rules of Dubbo; `None` if they are not applied.
    pub(super) rules: Option<Rules>,
    pub(super) phase: Phase,
    pub(super) probe: ApiProbe,
    scopes: Scopes,
    namespaces: Namespaces,
    /// The groups that bulk lists have shown, by namespace: where such a list is taken away, each is asked for by name, so
    /// that its services do not seem to be gone.
    groups_seen: HashMap<Text, BTreeSet<Text>>,
    pub(super) known: HashMap<Target, Known>,
    /// What may still be read in this round.
    pub(super) budget: Budget,
}

impl Reader {
    pub(super) fn new(
        registry: Text,
        config: Config,
        client: Arc<Client>,
        outbox: Outbox<Update>,
        rules: Option<Rules>,
        metrics: Metrics,
    ) -> Self {
        let push =
            (config.mode != Mode::Poll).then(|| Push::start(registry.clone(), config.clone(), client.clone(), metrics));
        let (phase, probe) = (Phase::Probing, ApiProbe::new(config.resync));
        let budget = Budget::new(Limits::of(&config.connection));
        let (scopes, namespaces, groups_seen, known) = Default::default();
        Reader {
            registry,
            config,
            client,
            push,
            outbox,
            rules,
            phase,
            probe,
            scopes,
            namespaces,
            groups_seen,
            known,
            budget,
        }
    }

    /// Reads everything once and sends it.
    pub(super) async fn read(&mut self) -> Result<Round, Closed> {
        let started = Instant::now();
        self.renew_budget();
        let mut round = Round::default();
        match self.targets().await {
            Ok((api, targets)) => {
                self.phase = Phase::Listing(api);
                self.scopes.read(targets.iter().map(|(target, _)| target));
                self.outbox.scopes(self.scopes.named()).await?;
                self.list(api, targets, &mut round).await?;
                self.outbox.scopes(self.scopes.named()).await?;
            }
            Err(error) => {
                round.retry_after = error.retry_after().unwrap_or_default();
                self.phase = Phase::Probing;
                self.outbox.failed(None, &error).await?;
            }
        }
        self.outbox.send(Update::Cost(self.client.http.take_cost(started.elapsed()))).await?;
        Ok(round)
    }

    /// The interface, and the targets to read by it; a namespace that does not exist comes with its error.
    async fn targets(&mut self) -> Result<(Api, Vec<(Target, Option<Error>)>), Error> {
        self.client.http.find_servers().await?;
        let namespaces = self.namespaces.wanted(&self.config, &self.client).await?;
        let api = self.interface(&namespaces).await?;
        let mut targets = Vec::new();
        for (namespace, wrong) in namespaces {
            if api.is_bulk() || wrong.is_some() {
                targets.push((Target { namespace, group: None }, wrong));
                continue;
            }
            let groups = self.groups(&namespace);
            if groups.is_empty() {
                targets.push((Target { namespace, group: None }, Some(Error::NoGroups)));
                continue;
            }
            let of = |group| Target { namespace: namespace.clone(), group: Some(group) };
            targets.extend(groups.into_iter().map(|group| (of(group), None)));
        }
        Ok((api, targets))
    }

    /// The interface: the one that is used, or a better one if there is one by now.
    async fn interface(&mut self, namespaces: &[(Text, Option<Error>)]) -> Result<Api, Error> {
        let used = self.phase.api();
        if let Some(api) = used.filter(|api| !self.probe.is_due(*api)) {
            return Ok(api);
        }
        let there = namespaces.iter().filter(|(_, wrong)| wrong.is_none());
        let mut places: Vec<Place> = there.map(|(namespace, _)| self.place(namespace)).collect();
        if places.is_empty() {
            places.push(self.place(&PUBLIC.into()));
        }
        let api = self.probe.find(&self.client, used, &places).await?;
        if used != Some(api) {
            info!(registry = %self.registry, %api, "Found out how the Nacos server is read.");
        }
        Ok(api)
    }

    fn place(&self, namespace: &Text) -> Place {
        let mut groups = self.groups(namespace);
        if groups.is_empty() {
            groups.push(DEFAULT_GROUP.into());
        }
        Place { namespace: namespace.clone(), groups }
    }

    /// The groups that are asked for one by one. What a pattern may match cannot be listed there, unless it was seen
    /// before.
    fn groups(&self, namespace: &Text) -> Vec<Text> {
        let patterns = &self.config.groups;
        let mut groups: Vec<Text> = patterns.iter().filter(|p| !p.contains(['*', '?'])).cloned().collect();
        if patterns.is_empty() || patterns.iter().any(|p| WildMatch::new(p).matches(DEFAULT_GROUP)) {
            groups.push(DEFAULT_GROUP.into());
        }
        groups.extend(self.groups_seen.get(namespace).into_iter().flatten().cloned());
        groups.sort();
        groups.dedup();
        groups
    }

    async fn list(&mut self, api: Api, targets: Vec<(Target, Option<Error>)>, round: &mut Round) -> Result<(), Closed> {
        let mut known = std::mem::take(&mut self.known);
        let same_targets = known.len() == targets.len();
        let work: Vec<_> = targets
            .into_iter()
            .map(|(target, wrong)| {
                let of_target = known.remove(&target).unwrap_or_default();
                (target, of_target, wrong)
            })
            .collect();
        let mut outcomes = Vec::new();
        {
            let reader = &*self;
            let readings = work.into_iter().map(|(target, mut known, wrong)| async move {
                let outcome = match wrong {
                    Some(error) => Err(error),
                    None => reader.target(api, &target, &mut known).await,
                };
                (target, known, outcome)
            });
            let mut reading = stream::iter(readings.collect::<Vec<_>>()).buffer_unordered(SCOPES_AT_ONCE);
            while let Some(outcome) = reading.next().await {
                outcomes.push(outcome);
            }
        }
        if let Some(rules) = &mut self.rules {
            rules.heard(&outcomes.iter().map(|(target, ..)| target.namespace.clone()).collect()).await;
        }
        self.phase = self.send_outcomes(api, outcomes, same_targets, round).await?;
        Ok(())
    }

    /// Sends the outcomes of all targets, and returns the phase that follows.
    async fn send_outcomes(
        &mut self,
        api: Api,
        outcomes: Vec<Outcome>,
        same_targets: bool,
        round: &mut Round,
    ) -> Result<Phase, Closed> {
        let (mut settled, mut ask_again, mut failed) = (same_targets, false, BTreeSet::new());
        for (target, mut known, outcome) in outcomes {
            let namespace = target.namespace.clone();
            let scope = target.scope();
            let outcome = match outcome {
                Ok(lists) => {
                    settled &= known.remember(&lists);
                    let lists = known.spellings.merge(lists);
                    self.in_levels(api, &target, &mut known, lists).await
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok((services, unreadable)) => {
                    if target.group.is_none() {
                        self.see_groups(&namespace, &services);
                    }
                    round.good = true;
                    self.outbox.send(Update::Listed { scope, services, unreadable }).await?;
                }
                Err(error) => {
                    settled = false;
                    ask_again |= error.is_server_lost() || error.is_not_offered();
                    round.retry_after = round.retry_after.max(error.retry_after().unwrap_or_default());
                    for scope in self.scopes.leaving(&namespace).into_iter().chain([scope]) {
                        self.outbox.failed(Some(scope), &error).await?;
                    }
                    failed.insert(namespace);
                }
            }
            self.known.insert(target, known);
        }
        self.scopes.replaced(&failed);
        // While any part can be read, the server is there, and the interface is right.
        Ok(if ask_again && !round.good { Phase::Probing } else { Phase::Following { api, settled } })
    }

    /// The lists as they are published. They only change if Dubbo's applications are read or its rules are applied.
    async fn in_levels(&self, api: Api, target: &Target, known: &mut Known, lists: Lists) -> Result<Lists, Error> {
        if self.config.applications.is_none() && self.rules.is_none() {
            return Ok(lists);
        }
        let levels = known.levels.get_or_insert_with(|| Levels::new(&self.registry, &self.config));
        if let Some(rules) = &self.rules {
            levels.rule(&target.namespace, rules.of(&target.namespace)?);
        }
        levels.list(self.levels(api, target), lists).await
    }

    pub(super) fn levels<'a>(&'a self, api: Api, target: &'a Target) -> levels::Source<'a> {
        let Reader { client, config, budget, .. } = self;
        levels::Source { client, api, namespace: &target.namespace, budget, concurrency: config.concurrency }
    }

    /// Reads one target, whole or not at all.
    async fn target(&self, api: Api, target: &Target, known: &mut Known) -> Result<Lists, Error> {
        if let Some(source) = self.each(api, target) {
            let reading = source.read(&mut known.each).await?;
            return Ok((reading.services, reading.unreadable));
        }
        let mut reading = self.bulk(api, target).read(&mut known.bulk, &known.listed).await?;
        let wanted = self.wanted_groups();
        reading.services.retain(|id, _| wanted.matches(id));
        reading.unreadable.retain(|id, _| wanted.matches(id));
        let services = known.thresholds.apply(&self.thresholds(api), &reading.services).await;
        known.listed = reading.services;
        Ok((services, reading.unreadable.into_iter().collect()))
    }

    pub(super) fn bulk<'a>(&'a self, api: Api, target: &'a Target) -> list_bulk::Source<'a> {
        let Reader { client, registry, config, budget, .. } = self;
        let (namespace, page_size) = (&target.namespace, config.page_size);
        list_bulk::Source { client, api, registry, namespace, page_size, budget }
    }

    /// The source for one group, read service by service; `None` where a bulk list shows all groups.
    pub(super) fn each<'a>(&'a self, api: Api, target: &'a Target) -> Option<list_each::Source<'a>> {
        let Reader { client, registry, config, budget, .. } = self;
        let (namespace, group) = (&target.namespace, target.group.as_ref()?);
        let (page_size, concurrency) = (config.page_size, config.concurrency);
        Some(list_each::Source { client, api, registry, namespace, group, page_size, concurrency, budget })
    }

    pub(super) fn wanted_groups(&self) -> Groups {
        Groups(self.config.groups.iter().map(|g| WildMatch::new(g)).collect())
    }

    pub(super) fn thresholds(&self, api: Api) -> threshold::Source<'_> {
        let Config { concurrency, period, .. } = self.config;
        threshold::Source { client: &self.client, api, concurrency, period }
    }

    /// Starts a new budget, since the next reading may be as large as any.
    pub(super) fn renew_budget(&mut self) {
        self.budget = Budget::new(Limits::of(&self.config.connection));
    }

    fn see_groups(&mut self, namespace: &Text, services: &[Arc<Service>]) {
        let mut seen = BTreeSet::new();
        for group in services.iter().map(|service| &service.id.group) {
            if !seen.contains(group) {
                seen.insert(group.clone());
            }
        }
        self.groups_seen.insert(namespace.clone(), seen);
    }
}

impl Phase {
    /// The interface in use; `None` while it is looked for.
    pub(super) fn api(self) -> Option<Api> {
        match self {
            Phase::Probing => None,
            Phase::Listing(api) | Phase::Following { api, .. } => Some(api),
        }
    }
}

/// The patterns of groups that are wanted; empty for all. Services that have no instances to call are in none.
pub(super) struct Groups(Vec<WildMatch>);

impl Groups {
    pub(super) fn matches(&self, id: &ServiceId) -> bool {
        dubbo::serves(&id.name) && (self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(&id.group)))
    }
}
