//! One round after the other: what is to be read, and what of it is told.
//!
//! State: the interface (`None` until asked, and again after the server was lost or says 404 or 410, as after an upgrade)
//! and when a better one is looked for (`search`), which scopes are told (`scopes`), and what each remembers of its last
//! reading.

mod follow;
mod scopes;
mod search;

use super::{
    Config, DEFAULT_GROUP, PUBLIC,
    api::{self, Api, Place},
    bulk::{self, Listed},
    client::Client,
    config::Mode,
    each,
    error::Error,
    namespaces::Namespaces,
    push::Push,
    threshold::{self, Thresholds},
};
use crate::{
    model::{Service, ServiceId, Text},
    registry::{Metrics, Scope, Update, chain, dubbo},
};
use futures_util::{StreamExt, stream};
use scopes::Scopes;
use search::Search;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};
use tracing::info;
use wildmatch::WildMatch;

/// Scopes read at the same time; each has requests of its own in flight.
const SCOPES_AT_ONCE: usize = 4;

/// Nobody listens any more.
#[derive(Debug)]
pub(super) struct Closed;

/// How a round went.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Some scope was read.
    pub(super) good: bool,
    /// Everything was read, and the services are the same as in the round before. (Not what they are: which.)
    settled: bool,
    /// How long the server asked to be left alone.
    pub(super) asked_to_wait: Duration,
}

/// A namespace, or a group of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Target {
    namespace: Text,
    group: Option<Text>,
}

/// What a target remembers.
#[derive(Debug, Default)]
struct Memory {
    bulk: bulk::Memory,
    thresholds: Thresholds,
    each: each::Memory,
    /// As a bulk list has shown them, without thresholds.
    listed: BTreeMap<ServiceId, Listed>,
    /// As they were told.
    services: BTreeMap<ServiceId, Arc<Service>>,
    unreadable: BTreeSet<ServiceId>,
}

type Lists = (Vec<Arc<Service>>, Vec<(ServiceId, Text)>);
type Outcome = (Target, Memory, Result<Lists, Error>);

/// Reads one registry.
#[derive(Debug)]
pub(super) struct Reader {
    registry: Text,
    config: Config,
    client: Arc<Client>,
    /// Unless it is only polled.
    push: Option<Push>,
    out: mpsc::Sender<Update>,
    api: Option<Api>,
    /// For a better one.
    search: Search,
    scopes: Scopes,
    namespaces: Namespaces,
    /// The groups that bulk lists have shown, by namespace: where such a list is taken away, each is asked for by name, lest
    /// its services seem to have gone.
    groups_seen: HashMap<Text, BTreeSet<Text>>,
    memory: HashMap<Target, Memory>,
}

impl Reader {
    pub(super) fn new(
        registry: Text,
        config: Config,
        out: mpsc::Sender<Update>,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let client = Arc::new(Client::new(registry.clone(), &config, metrics.clone())?);
        let push =
            (config.mode != Mode::Poll).then(|| Push::start(registry.clone(), config.clone(), client.clone(), metrics));
        let search = Search::new(config.resync);
        let (scopes, namespaces, groups_seen, memory) = Default::default();
        Ok(Reader { registry, config, client, push, out, api: None, search, scopes, namespaces, groups_seen, memory })
    }

    /// Who asks the servers.
    pub(super) fn client(&self) -> Arc<Client> {
        self.client.clone()
    }

    /// Reads everything once and tells it.
    pub(super) async fn round(&mut self) -> Result<Round, Closed> {
        let started = Instant::now();
        let mut round = Round::default();
        match self.targets().await {
            Ok((api, targets)) => {
                self.scopes.read(targets.iter().map(|(target, _)| target));
                self.tell_scopes().await?;
                self.read(api, targets, &mut round).await?;
                self.tell_scopes().await?;
            }
            Err(error) => {
                round.asked_to_wait = error.retry_after().unwrap_or_default();
                self.api = None;
                self.tell_failure(None, &error).await?;
            }
        }
        self.send(Update::Cost(self.client.take_cost(started.elapsed()))).await?;
        Ok(round)
    }

    /// The interface, and what to read by it; a namespace that does not exist comes with its error.
    async fn targets(&mut self) -> Result<(Api, Vec<(Target, Option<Error>)>), Error> {
        self.client.find_servers().await?;
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
        let before = self.api;
        if let Some(api) = before.filter(|_| !self.looks_for_a_better_interface()) {
            return Ok(api);
        }
        let there = namespaces.iter().filter(|(_, wrong)| wrong.is_none());
        let mut places: Vec<Place> = there.map(|(namespace, _)| self.place(namespace)).collect();
        if places.is_empty() {
            places.push(self.place(&PUBLIC.into()));
        }
        let api = match before {
            None => api::detect(&self.client, &places).await?,
            Some(used) => match api::better(&self.client, used, &places).await {
                Some(api) => api,
                None => {
                    self.search.missed();
                    return Ok(used);
                }
            },
        };
        self.search.found();
        info!(registry = %self.registry, %api, "Found out how the Nacos server is read.");
        Ok(*self.api.insert(api))
    }

    /// Whether there may be a better interface than the one that is used, and it is time to look for it.
    fn looks_for_a_better_interface(&self) -> bool {
        self.api.is_some_and(|api| !api.is_best()) && self.search.is_due()
    }

    fn place(&self, namespace: &Text) -> Place {
        let mut groups = self.groups(namespace);
        if groups.is_empty() {
            groups.push(DEFAULT_GROUP.into());
        }
        Place { namespace: namespace.clone(), groups }
    }

    /// Groups to be asked for one by one. What a pattern may match cannot be listed there, unless it was seen before.
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

    async fn read(&mut self, api: Api, targets: Vec<(Target, Option<Error>)>, round: &mut Round) -> Result<(), Closed> {
        let mut memory = std::mem::take(&mut self.memory);
        round.settled = memory.len() == targets.len();
        let work: Vec<_> = targets
            .into_iter()
            .map(|(target, wrong)| {
                let remembered = memory.remove(&target).unwrap_or_default();
                (target, remembered, wrong)
            })
            .collect();
        let mut outcomes = Vec::new();
        {
            let reader = &*self;
            let readings = work.into_iter().map(|(target, mut remembered, wrong)| async move {
                let outcome = match wrong {
                    Some(error) => Err(error),
                    None => reader.target(api, &target, &mut remembered).await,
                };
                (target, remembered, outcome)
            });
            let mut reading = stream::iter(readings.collect::<Vec<_>>()).buffer_unordered(SCOPES_AT_ONCE);
            while let Some(outcome) = reading.next().await {
                outcomes.push(outcome);
            }
        }
        self.tell(outcomes, round).await
    }

    /// What has become of all targets.
    async fn tell(&mut self, outcomes: Vec<Outcome>, round: &mut Round) -> Result<(), Closed> {
        let (mut ask_again, mut failed) = (false, BTreeSet::new());
        for (target, mut remembered, outcome) in outcomes {
            let namespace = target.namespace.clone();
            let scope = target.scope();
            if let (None, Ok((services, _))) = (&target.group, &outcome) {
                self.see_groups(&target.namespace, services);
            }
            match &outcome {
                Ok(lists) => round.settled &= remembered.told(lists),
                Err(_) => round.settled = false,
            }
            self.memory.insert(target, remembered);
            match outcome {
                Ok((services, unreadable)) => {
                    round.good = true;
                    self.send(Update::Listed { scope, services, unreadable }).await?;
                }
                Err(error) => {
                    ask_again |= error.is_server_lost() || error.is_not_offered();
                    round.asked_to_wait = round.asked_to_wait.max(error.retry_after().unwrap_or_default());
                    for scope in self.scopes.leaving(&namespace).into_iter().chain([scope]) {
                        self.tell_failure(Some(scope), &error).await?;
                    }
                    failed.insert(namespace);
                }
            }
        }
        self.scopes.replaced(&failed);
        // While any part can be read, the server is there, and the interface is right.
        if ask_again && !round.good {
            self.api = None;
        }
        Ok(())
    }

    /// One target, whole or not at all.
    async fn target(&self, api: Api, target: &Target, memory: &mut Memory) -> Result<Lists, Error> {
        if let Some(source) = self.each(target) {
            let reading = source.read(&mut memory.each).await?;
            return Ok((reading.services, reading.unreadable));
        }
        let mut reading = self.bulk(api, target).read(&mut memory.bulk).await?;
        let wanted = self.wanted_groups();
        reading.services.retain(|id, _| wanted.matches(id));
        reading.unreadable.retain(|id, _| wanted.matches(id));
        let services = memory.thresholds.apply(&self.thresholds(api), &reading.services).await;
        memory.listed = reading.services;
        Ok((services, reading.unreadable.into_iter().collect()))
    }

    fn bulk<'a>(&'a self, api: Api, target: &'a Target) -> bulk::Source<'a> {
        let Reader { client, registry, config, .. } = self;
        bulk::Source { client, api, registry, namespace: &target.namespace, page_size: config.page_size }
    }

    /// Where services are read one by one.
    fn each<'a>(&'a self, target: &'a Target) -> Option<each::Source<'a>> {
        let Reader { client, registry, config, .. } = self;
        let (namespace, group) = (&target.namespace, target.group.as_ref()?);
        let (page_size, concurrency) = (config.page_size, config.concurrency);
        let api = self.api.unwrap_or(Api::EachV1);
        Some(each::Source { client, api, registry, namespace, group, page_size, concurrency })
    }

    fn wanted_groups(&self) -> Groups {
        Groups(self.config.groups.iter().map(|g| WildMatch::new(g)).collect())
    }

    fn thresholds(&self, api: Api) -> threshold::Source<'_> {
        let Config { concurrency, period, .. } = self.config;
        threshold::Source { client: &self.client, api, concurrency, period }
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

    async fn tell_scopes(&mut self) -> Result<(), Closed> {
        match self.scopes.news() {
            Some(scopes) => self.send(Update::Scopes(scopes)).await,
            None => Ok(()),
        }
    }

    /// The catalog counts it, and logs what is new about it.
    async fn tell_failure(&self, scope: Option<Scope>, error: &Error) -> Result<(), Closed> {
        self.send(Update::Failed { scope, error: chain(error) }).await
    }

    async fn send(&self, update: Update) -> Result<(), Closed> {
        self.out.send(update).await.map_err(|_| Closed)
    }
}

impl Memory {
    /// Remembers what is told, and says whether it is of the same services as before.
    fn told(&mut self, (services, unreadable): &Lists) -> bool {
        let unreadable: BTreeSet<ServiceId> = unreadable.iter().map(|(id, _)| id.clone()).collect();
        let same = unreadable == self.unreadable && self.services.keys().eq(services.iter().map(|s| &s.id));
        self.services = services.iter().map(|service| (service.id.clone(), service.clone())).collect();
        self.unreadable = unreadable;
        same
    }
}

/// Patterns of groups; none for all. Services that serve nobody are in none.
struct Groups(Vec<WildMatch>);

impl Groups {
    fn matches(&self, id: &ServiceId) -> bool {
        dubbo::serves(&id.name) && (self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(&id.group)))
    }
}

impl Target {
    fn scope(&self) -> Scope {
        match &self.group {
            Some(group) => Scope(format!("{}/{group}", self.namespace).into()),
            None => Scope(self.namespace.clone()),
        }
    }
}
