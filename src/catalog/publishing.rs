//! What is published, and what became of each service: everything that follows from what the registries have reported.
//!
//! The values stand here; `recompute` brings them up to date.

use super::{
    Record,
    claim::{Claim, Rank},
    claims::Claims,
    contests::Contest,
    merge::base,
    publish::{PortHistory, forget_ports},
};
use crate::{
    model::{Hostname, Note, PublishedService, Reason, Service, ServiceId, Text},
    util::sorted_vec::SortedMap,
};
use imbl::OrdMap;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

#[derive(Debug, Clone)]
pub(super) struct Publishing {
    pub(super) known: HashMap<ServiceId, Known>,
    pub(super) claims: Claims,
    pub(super) services: OrdMap<Hostname, Arc<PublishedService>>,
    pub(super) records: OrdMap<ServiceId, Arc<Record>>,
    /// Who had a host before a restart, until all that is known from before it is there again.
    pub(super) incumbents: HashMap<Hostname, ServiceId>,
    /// The registries whose services have won or lost hosts since they were last taken.
    pub(super) turned: BTreeSet<Text>,
    /// The number of notes in all records, for each of [`Reason::ALL`].
    notes: [usize; Reason::ALL.len()],
    /// Hosts that services have lost, or could not have, since they were last taken.
    pub(super) contests: Vec<Contest>,
    /// `services` is not as in the last snapshot.
    pub(super) changed: bool,
    /// `records` is not as in the last snapshot.
    pub(super) restated: bool,
}

/// What is known of a service beyond what its registry reports.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The hosts that it claims, as [`Claims`] has them.
    pub(super) claims: SortedMap<Hostname, Claim>,
    pub(super) history: PortHistory,
    pub(super) named: Option<Box<Named>>,
    pub(super) notes: Vec<Note>,
}

/// What is known of a service whose instances have host names for addresses.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    /// The names to be resolved: those of its instances, and of `resolved`.
    pub(super) names: BTreeSet<Text>,
    /// The service as it was when names were last resolved; published as long as no new name is.
    pub(super) resolved: Option<Arc<Service>>,
}

/// What would be taken away from one registry, by one change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Loss {
    /// Endpoints, counted for each host that has fewer in the end.
    pub(super) lost: usize,
    /// Endpoints of all its hosts before.
    pub(super) of: usize,
}

impl Default for Publishing {
    fn default() -> Self {
        Publishing {
            known: HashMap::new(),
            claims: Claims::default(),
            services: OrdMap::new(),
            records: OrdMap::new(),
            incumbents: HashMap::new(),
            turned: BTreeSet::new(),
            notes: [0; Reason::ALL.len()],
            contests: Vec::new(),
            changed: false,
            restated: false,
        }
    }
}

impl Publishing {
    /// How many notes of each reason the records have.
    pub(super) fn notes(&self) -> impl Iterator<Item = (Reason, usize)> {
        Reason::ALL.into_iter().zip(self.notes)
    }

    /// Puts a record in its place, or takes it away.
    pub(super) fn set_record(&mut self, id: &ServiceId, made: Option<Record>) {
        let before = match self.records.get(id) {
            known if known.map(|record| &**record) == made.as_ref() => return,
            known => known.cloned(),
        };
        self.restated = true;
        if let Some(before) = &before {
            self.count(&before.notes, -1);
        }
        let Some(record) = made else {
            self.records.remove(id);
            return;
        };
        self.count(&record.notes, 1);
        self.note_contests(&record, before.as_deref());
        self.records.insert(id.clone(), Arc::new(record));
    }

    /// A contest takes traffic away where the service has instances.
    fn note_contests(&mut self, record: &Record, before: Option<&Record>) {
        let contested = |note: &&Note| note.reason == Reason::HostContested;
        let known = |note: &Note| {
            before.is_some_and(|b| b.notes.iter().filter(contested).any(|other| other.subject == note.subject))
        };
        if record.service.endpoints.is_empty() {
            return;
        }
        for note in record.notes.iter().filter(contested).filter(|note| !known(note)) {
            let Ok(host) = Hostname::new(&note.subject) else { continue };
            let owner = self.services.get(&host).and_then(|service| service.sources.first()).cloned();
            if let Some(owner) = owner {
                self.contests.push(Contest { host, loser: record.service.id.clone(), owner });
            }
        }
    }

    fn count(&mut self, notes: &[Note], by: isize) {
        for note in notes {
            if let Some(place) = Reason::ALL.iter().position(|reason| *reason == note.reason) {
                self.notes[place] = self.notes[place].saturating_add_signed(by);
            }
        }
    }

    /// Puts registries in another order. Returns the hosts to be put together anew.
    pub(super) fn rerank(&mut self, rank: impl Fn(&Text) -> Option<Rank>) -> BTreeSet<Hostname> {
        let mut affected = BTreeSet::new();
        self.claims.rerank(rank, &mut affected);
        affected
    }

    /// What each registry would lose if that were published instead. Counted net for each host: endpoints that others
    /// bring to a host offset those that it loses.
    pub(super) fn losses(&self, next: &Publishing) -> BTreeMap<Text, Loss> {
        let mut losses: BTreeMap<Text, Loss> = BTreeMap::new();
        for (host, service) in &self.services {
            let after = match next.services.get(host).map(|service| (service, None)).or_else(|| next.lent_port(host)) {
                Some((next, _)) if Arc::ptr_eq(next, service) => by_registry(service, None),
                Some((next, port)) => by_registry(next, port),
                None => BTreeMap::new(),
            };
            let net = service.endpoints.len().saturating_sub(after.values().sum());
            for (registry, endpoints) in by_registry(service, None) {
                let kept = after.get(&registry).copied().unwrap_or(0);
                let loss = losses.entry(registry).or_default();
                loss.of += endpoints;
                loss.lost += endpoints.saturating_sub(kept).min(net);
            }
        }
        losses
    }

    /// The service that has a host as the host of a further port, or as an alias.
    pub(super) fn lent(&self, host: &Hostname) -> Option<&Arc<PublishedService>> {
        self.lent_port(host).map(|(service, _)| service)
    }

    /// As [`Publishing::lent`], with the name of the port if the host is that of a port.
    fn lent_port(&self, host: &Hostname) -> Option<(&Arc<PublishedService>, Option<&str>)> {
        if let Some(service) = base(host).and_then(|base| self.services.get(&base))
            && let Some(port) = service.ports.iter().skip(1).find(|port| port.host == *host)
        {
            return Some((service, Some(&*port.name)));
        }
        let owner = self.claims.alias_owner(host).and_then(|owner| self.services.get(owner));
        owner.filter(|service| service.aliases.contains(host)).map(|service| (service, None))
    }

    /// How many endpoints of a registry are published now.
    pub(super) fn endpoints_of(&self, registry: &Text) -> usize {
        self.services.values().filter_map(|service| by_registry(service, None).remove(registry)).sum()
    }
}

/// How many of a service's endpoints, or of those with one port, each registry has. Where several registries feed it,
/// each endpoint has its registry's name as a label.
fn by_registry(service: &PublishedService, port: Option<&str>) -> BTreeMap<Text, usize> {
    let first = service.sources.first().map(|id| id.registry.clone()).unwrap_or_default();
    let endpoints =
        service.endpoints.iter().filter(|e| port.is_none_or(|port| e.ports.iter().any(|(name, _)| **name == *port)));
    if service.sources.iter().all(|id| id.registry == first) {
        return BTreeMap::from([(first, endpoints.count())]);
    }
    let mut counts = BTreeMap::new();
    for endpoint in endpoints {
        let registry = endpoint.labels.get("registry").unwrap_or(&first);
        *counts.entry(registry.clone()).or_default() += 1;
    }
    counts
}

/// Forgets the ports that were learned from these services' instances.
pub(super) fn forget_ports_of(publishing: &mut Publishing, ids: &BTreeSet<ServiceId>) {
    for id in ids {
        if let Some(known) = publishing.known.get_mut(id) {
            forget_ports(&mut known.history);
        }
    }
}
