//! What differs between two generations, for display: bounded, with the number of what is left out.

use crate::{
    catalog::Services,
    manifests::Snapshot,
    model::{PublishedEndpoint, PublishedService},
};
use imbl::ordmap::DiffItem;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So many hosts and manifests are named; of more only the number is told.
const HOSTS: usize = 50;
/// So many endpoints of one host are named.
const ENDPOINTS: usize = 20;

/// How a service differs between two generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// The later one has it, the earlier one has not.
    Added,
    /// The earlier one has it, the later one has not.
    Removed,
    /// Both have it, and it differs.
    Changed,
}

/// A service that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostChange {
    /// The service's host, as clients ask for it.
    pub host: String,
    /// Whether the service was added, removed or changed.
    pub change: Change,
    /// Endpoints that only the later one has.
    pub added: Vec<String>,
    /// Endpoints that only the earlier one has.
    pub removed: Vec<String>,
    /// Endpoints that differ in weight, health or labels.
    pub changed: Vec<String>,
    /// What else of it differs: `ports`, `aliases`, ...
    pub also: Vec<String>,
}

/// What differs between two generations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Services that differ, some of them.
    pub hosts: Vec<HostChange>,
    /// How many services differ: `hosts` has only the first of them.
    pub hosts_total: usize,
    /// Endpoints that came, of all hosts; net, where a host is not named above.
    pub endpoints_added: usize,
    /// Endpoints that went, counted as those that came.
    pub endpoints_removed: usize,
    /// Istio's resources of manifests that differ, some of them: `added virtualservices/shop/orders`.
    pub manifests: Vec<String>,
    /// How many manifests differ: `manifests` has only the first of them.
    pub manifests_total: usize,
}

impl Difference {
    /// Compares the services, and the resources of manifests, of two generations.
    pub(super) fn between(before: (&Services, &Snapshot), after: (&Services, &Snapshot)) -> Difference {
        let mut difference = Difference::default();
        for item in before.0.diff(after.0) {
            let (old, new) = match item {
                DiffItem::Add(_, new) => (None, Some(&**new)),
                DiffItem::Remove(_, old) => (Some(&**old), None),
                DiffItem::Update { old: (_, old), new: (_, new) } => (Some(&**old), Some(&**new)),
            };
            difference.host(old, new);
        }
        difference.of_manifests(before.1, after.1);
        difference
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.hosts_total == 0 && self.manifests_total == 0
    }

    /// How many hosts and endpoints are named.
    pub(super) fn names(&self) -> usize {
        let of = |host: &HostChange| 1 + host.added.len() + host.removed.len() + host.changed.len();
        self.hosts.iter().map(of).sum::<usize>() + self.manifests.len()
    }

    /// Forgets which hosts and manifests differ; their numbers stay.
    pub(super) fn forget_names(&mut self) {
        (self.hosts, self.manifests) = Default::default();
    }

    fn host(&mut self, old: Option<&PublishedService>, new: Option<&PublishedService>) {
        let Some(host) = new.or(old).map(|service| service.host.to_string()) else { return };
        self.hosts_total += 1;
        if self.hosts.len() >= HOSTS {
            // What a first list brings is counted, and not looked into.
            let number = |service: Option<&PublishedService>| service.map_or(0, |service| service.endpoints.len());
            self.endpoints_added += number(new).saturating_sub(number(old));
            self.endpoints_removed += number(old).saturating_sub(number(new));
            return;
        }
        let (before, after) = (places(old), places(new));
        let lacks = |other: &BTreeMap<String, Vec<&PublishedEndpoint>>, place: &String| !other.contains_key(place);
        let added: Vec<String> = after.keys().filter(|place| lacks(&before, place)).cloned().collect();
        let removed: Vec<String> = before.keys().filter(|place| lacks(&after, place)).cloned().collect();
        self.endpoints_added += added.len();
        self.endpoints_removed += removed.len();
        let differs = |place: &&String| after.get(*place).is_some_and(|now| before.get(*place) != Some(now));
        let changed: Vec<String> = before.keys().filter(differs).cloned().collect();
        let change = match (old, new) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ => Change::Changed,
        };
        let also = old.zip(new).map(|(old, new)| also(old, new)).unwrap_or_default();
        let [added, removed, changed] = [added, removed, changed].map(some);
        self.hosts.push(HostChange { host, change, added, removed, changed, also });
    }

    fn of_manifests(&mut self, before: &Snapshot, after: &Snapshot) {
        let (old, new) = (&before.resources, &after.resources);
        let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| ("removed", key));
        let come = new.iter().filter_map(|(key, resource)| match old.get(key) {
            None => Some(("added", key)),
            Some(known) => (known != resource).then_some(("changed", key)),
        });
        for (word, (kind, name)) in gone.chain(come) {
            self.manifests_total += 1;
            if self.manifests.len() < HOSTS {
                self.manifests.push(format!("{word} {}/{name}", kind.name()));
            }
        }
    }
}

/// Endpoints by address and first port, as they are named.
fn places(service: Option<&PublishedService>) -> BTreeMap<String, Vec<&PublishedEndpoint>> {
    let mut places: BTreeMap<String, Vec<&PublishedEndpoint>> = BTreeMap::new();
    for endpoint in service.map_or(&[][..], |service| &service.endpoints) {
        let place = endpoint.address.place(endpoint.ports.first().map(|(_, port)| *port));
        places.entry(place).or_default().push(endpoint);
    }
    places
}

/// What differs besides endpoints.
fn also(old: &PublishedService, new: &PublishedService) -> Vec<String> {
    let differs = [
        ("ports", old.ports != new.ports),
        ("aliases", old.aliases != new.aliases),
        ("sources", old.sources != new.sources),
        ("labels", old.labels != new.labels),
        ("protection", (old.protected, old.protect_threshold) != (new.protected, new.protect_threshold)),
        ("notes", old.notes != new.notes),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(word, _)| word.to_owned()).collect()
}

/// The first [`ENDPOINTS`] of these, and how many more there are.
fn some(mut all: Vec<String>) -> Vec<String> {
    if all.len() > ENDPOINTS {
        let more = all.len() - ENDPOINTS;
        all.truncate(ENDPOINTS);
        all.push(format!("and {more} more"));
    }
    all
}
