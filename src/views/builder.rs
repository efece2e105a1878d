//! From one catalog to the next: which resources differ.
//!
//! The state is small: which names each service claims and which resources, by version, are served for it. Bodies are
//! handed out and not kept; a service that wins a name it had lost is translated again. Whatever catalogs came before,
//! what is served after [`Builder::update`] is what the last catalog alone gives.

use super::{Translation, claims::Claims};
use crate::{
    catalog::Catalog,
    model::{Hostname, PublishedService},
    resource::{KINDS, Kind, Name, Readiness, Resource},
    translate::{Rejected, Why},
    util::small::SmallSet,
};
use imbl::{OrdMap, ordmap::DiffItem};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// A resource among all.
type Key = (Kind, Name);

/// What differs from what was served before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// How far what is absent is known to be absent.
    pub readiness: Readiness,
    /// By kind and name, each once; `None`: it is gone.
    pub resources: Vec<(Kind, Name, Option<Resource>)>,
}

/// Follows the catalog.
#[derive(Debug)]
pub struct Builder<T> {
    translation: T,
    readiness: Readiness,
    services: OrdMap<Hostname, Arc<PublishedService>>,
    claims: Claims,
    claimed: BTreeMap<Hostname, SmallSet<Name>>,
    /// By service, so that those of a removed one are found.
    keys: BTreeMap<Hostname, SmallSet<Key>>,
    /// Versions, by kind.
    served: [HashMap<Name, u64>; KINDS],
    rejected: BTreeMap<Hostname, Vec<Rejected>>,
    /// Whether the last update changed what is rejected: of many services, most updates change nothing of that.
    rejected_differs: bool,
}

impl<T: Translation> Builder<T> {
    /// One that has seen nothing: no services, and waiting.
    pub fn new(translation: T) -> Self {
        Builder {
            translation,
            readiness: Readiness::Waiting,
            services: OrdMap::new(),
            claims: Claims::default(),
            claimed: BTreeMap::new(),
            keys: BTreeMap::new(),
            served: Default::default(),
            rejected: BTreeMap::new(),
            rejected_differs: false,
        }
    }

    /// What differs with this catalog; `None` if nothing does.
    pub fn update(&mut self, catalog: &Catalog) -> Option<Changes> {
        self.rejected_differs = false;
        let readiness = catalog.sync;
        let ready = std::mem::replace(&mut self.readiness, readiness) != readiness;
        let before = std::mem::replace(&mut self.services, catalog.services.clone());
        let mut changed: BTreeSet<Hostname> = before.diff(&self.services).map(host_of).collect();
        let also = self.translation.prepare(&self.services, &changed);
        changed.extend(also);

        let mut translated: BTreeMap<_, _> = changed.iter().map(|host| (host.clone(), self.translate(host))).collect();
        let mut concerned = changed;
        for (host, (resources, _)) in &translated {
            concerned.extend(self.claim(host, resources));
        }
        let (mut gone, mut wanted) = (BTreeSet::new(), BTreeMap::new());
        for host in concerned {
            let (resources, rejected) = translated.remove(&host).unwrap_or_else(|| self.translate(&host));
            let resources = self.contest(&host, resources, rejected);
            let keys: SmallSet<Key> = resources.keys().cloned().collect();
            let lost = match keys.is_empty() {
                true => self.keys.remove(&host),
                false => self.keys.insert(host, keys),
            };
            gone.extend(lost.unwrap_or_default());
            wanted.extend(resources);
        }
        let resources = self.serve(gone, wanted);
        (ready || !resources.is_empty()).then_some(Changes { readiness, resources })
    }

    /// Whether what is not sent is different since the last update.
    pub(super) fn rejected_differs(&self) -> bool {
        self.rejected_differs
    }

    /// What is not sent, by host.
    pub fn rejected(&self) -> impl Iterator<Item = &Rejected> {
        self.rejected.values().flatten()
    }

    /// How many resources of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.served[kind as usize].len()
    }

    /// How far what is absent is known to be absent.
    pub(super) fn readiness(&self) -> Readiness {
        self.readiness
    }

    /// Whether some service's resource has this name.
    pub(super) fn serves(&self, kind: Kind, name: &Name) -> bool {
        self.served[kind as usize].contains_key(name)
    }

    fn translate(&self, host: &Hostname) -> (Vec<(Kind, Resource)>, Vec<Rejected>) {
        self.services.get(host).map(|service| self.translation.translate(service)).unwrap_or_default()
    }

    /// Makes the service claim the names of its resources and no others; returns all services whom that concerns.
    fn claim(&mut self, host: &Hostname, resources: &[(Kind, Resource)]) -> BTreeSet<Hostname> {
        let claiming = resources.iter().filter(|(kind, _)| claims_its_name(*kind));
        let names: SmallSet<Name> = claiming.map(|(_, resource)| resource.name().clone()).collect();
        let before = self.claimed.remove(host).unwrap_or_default();
        let mut concerned = BTreeSet::new();
        for name in names.iter().filter(|name| !before.contains(name)) {
            concerned.extend(self.claims.add(name, host));
        }
        for name in before.iter().filter(|name| !names.contains(name)) {
            concerned.extend(self.claims.remove(name, host));
        }
        if !names.is_empty() {
            self.claimed.insert(host.clone(), names);
        }
        concerned
    }

    /// The resources whose names the service has, and notes the others. A cluster whose assignment is another service's
    /// would send traffic there: it goes with its assignment.
    fn contest(
        &mut self,
        host: &Hostname,
        resources: Vec<(Kind, Resource)>,
        mut rejected: Vec<Rejected>,
    ) -> BTreeMap<Key, Resource> {
        let mut kept = BTreeMap::new();
        for (kind, resource) in resources {
            let mut needed = std::iter::once(resource.name()).chain(resource.refers_to());
            let other = needed.find_map(|name| self.claims.owner(name).filter(|owner| *owner != host));
            match other {
                None => drop(kept.insert((kind, resource.name().clone()), resource)),
                Some(owner) if claims_its_name(kind) => {
                    let why = Why::NameTaken(owner.clone());
                    rejected.push(Rejected { host: host.clone(), subject: resource.name().clone(), why });
                }
                // The cluster of the same name says it.
                Some(_) => {}
            }
        }
        let before = match rejected.is_empty() {
            true => self.rejected.remove(host),
            false => self.rejected.insert(host.clone(), rejected),
        };
        self.rejected_differs |= before.as_ref() != self.rejected.get(host);
        kept
    }

    /// Notes what is served from now on, and returns what of it differs. What one service loses another may have won.
    fn serve(&mut self, gone: BTreeSet<Key>, wanted: BTreeMap<Key, Resource>) -> Vec<(Kind, Name, Option<Resource>)> {
        let mut differing = BTreeMap::new();
        for key in gone {
            if !wanted.contains_key(&key) && self.served[key.0 as usize].remove(&key.1).is_some() {
                differing.insert(key, None);
            }
        }
        for (key, resource) in wanted {
            let version = resource.version();
            if self.served[key.0 as usize].insert(key.1.clone(), version) != Some(version) {
                differing.insert(key, Some(resource));
            }
        }
        differing.into_iter().map(|((kind, name), resource)| (kind, name, resource)).collect()
    }
}

/// An assignment has the name of its cluster.
fn claims_its_name(kind: Kind) -> bool {
    kind != Kind::Endpoint
}

fn host_of(item: DiffItem<'_, '_, Hostname, Arc<PublishedService>>) -> Hostname {
    match item {
        DiffItem::Add(host, _) | DiffItem::Remove(host, _) => host.clone(),
        DiffItem::Update { new: (host, _), .. } => host.clone(),
    }
}
