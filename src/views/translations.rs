//! From services to resources: each service is translated and encoded once for all views of a dialect.
//!
//! [`Translations`] keeps no body itself: it knows what the views still hold, and hands that out again. A service that
//! changed is translated at once, but a resource that came out equal stays the same value, so that a change of one
//! endpoint leaves the service's clusters where they are in memory.

use crate::{
    model::{Hostname, Locality, PublishedService},
    resource::{Kind, Name, Resource},
    translate::{
        Rejected,
        envoy::{self, Zones},
    },
};
use imbl::{OrdMap, ordmap::DiffItem};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Weak},
};

/// How the resources of a dialect are made of services, under certain options.
pub trait Translator: fmt::Debug + Send {
    /// Takes notice that these services have come, changed or gone; returns others whose resources differ for that.
    fn prepare(
        &mut self,
        _services: &OrdMap<Hostname, Arc<PublishedService>>,
        _changed: &BTreeSet<Hostname>,
    ) -> BTreeSet<Hostname> {
        BTreeSet::new()
    }

    /// The resources of one service, and what of it cannot be sent.
    fn translate(&self, service: &PublishedService) -> (Vec<(Kind, Resource)>, Vec<Rejected>);

    /// The endpoints of the callers' own cluster, under the name that is reserved for it; `None`: none is.
    fn own_cluster(
        &self,
        _service: Option<&PublishedService>,
        _callers: &BTreeMap<Locality, usize>,
    ) -> Option<Resource> {
        None
    }

    /// How localities relate to each other; `None`: they do not matter in the dialect.
    fn zones(&self) -> Option<&Zones> {
        None
    }
}

impl Translator for envoy::Options {
    fn translate(&self, service: &PublishedService) -> (Vec<(Kind, Resource)>, Vec<Rejected>) {
        envoy::translate(service, self)
    }

    fn own_cluster(&self, service: Option<&PublishedService>, callers: &BTreeMap<Locality, usize>) -> Option<Resource> {
        let name = self.zones.own_cluster.clone()?;
        Some(envoy::own_cluster(&name, service, callers, self))
    }

    fn zones(&self) -> Option<&Zones> {
        Some(&self.zones)
    }
}

/// The resources that a service gives.
#[derive(Debug, Default)]
pub(super) struct Translated {
    /// All of them, a few for each port.
    pub(super) resources: Box<[(Kind, Arc<Resource>)]>,
    /// What of the service cannot be sent.
    pub(super) rejected: Box<[Rejected]>,
}

impl Translated {
    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|(k, resource)| *k == kind && **resource.name() == *name).map(|(_, found)| found)
    }

    /// The same, with the clusters of `other` where it has one of that name.
    pub(super) fn with_clusters_of(&self, other: &Translated) -> Translated {
        let resources = self.resources.iter().map(|(kind, resource)| {
            let own = other.get(*kind, resource.name()).filter(|_| *kind == Kind::Cluster);
            (*kind, own.unwrap_or(resource).clone())
        });
        Translated { resources: resources.collect(), rejected: self.rejected.clone() }
    }

    /// What differs between the two, by kind and name.
    pub(super) fn differing<'a>(&'a self, other: &'a Translated) -> impl Iterator<Item = (Kind, &'a Name)> {
        let lacks = |of: &Translated, kind, resource: &Arc<Resource>| {
            of.get(kind, resource.name()).is_none_or(|found| !Arc::ptr_eq(found, resource))
        };
        let here = self.resources.iter().filter(move |(kind, resource)| lacks(other, *kind, resource));
        let there = other.resources.iter().filter(move |(kind, resource)| lacks(self, *kind, resource));
        here.chain(there).map(|(kind, resource)| (*kind, resource.name()))
    }
}

/// Translates the services of a catalog for all views.
#[derive(Debug)]
pub(super) struct Translations {
    translator: Box<dyn Translator>,
    /// The services of the last catalog.
    services: OrdMap<Hostname, Arc<PublishedService>>,
    /// By host: what was made of the whole service, while some view holds it.
    made: HashMap<Hostname, Made>,
    /// What rules made of services for a class of proxies, while some view holds it: many classes have the same.
    by_rules: HashMap<(Kind, Name), Vec<Weak<Resource>>>,
    /// How many entries `by_rules` has when those that nobody holds are dropped.
    prune_at: usize,
    /// How often a service was translated, for metrics.
    count: u64,
}

/// `by_rules` is not looked through while it has no more entries than this.
const FEW: usize = 256;

#[derive(Debug)]
struct Made {
    translated: Weak<Translated>,
    /// The service, or what its translation depends on, changed since.
    stale: bool,
}

impl Translations {
    /// Without any service yet.
    pub(super) fn new(translator: Box<dyn Translator>) -> Self {
        Translations {
            translator,
            services: OrdMap::new(),
            made: HashMap::new(),
            by_rules: HashMap::new(),
            prune_at: 0,
            count: 0,
        }
    }

    /// How often a service was translated, for metrics.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The endpoints of the callers' own cluster.
    pub(super) fn own_cluster(
        &self,
        service: Option<&PublishedService>,
        callers: &BTreeMap<Locality, usize>,
    ) -> Option<Resource> {
        self.translator.own_cluster(service, callers)
    }

    /// How localities relate to each other; empty where they do not matter.
    pub(super) fn zones(&self) -> &Zones {
        static NONE: Zones =
            Zones { next: BTreeMap::new(), overprovisioning_factor: None, min_cluster_size: None, own_cluster: None };
        self.translator.zones().unwrap_or(&NONE)
    }

    /// Goes on to these services, and from now on translates by `renewed`, if there is one. Returns the hosts whose
    /// translation may differ.
    pub(super) fn advance(
        &mut self,
        services: &OrdMap<Hostname, Arc<PublishedService>>,
        renewed: Option<Box<dyn Translator>>,
    ) -> BTreeSet<Hostname> {
        let before = std::mem::replace(&mut self.services, services.clone());
        let mut changed: BTreeSet<Hostname> = before.diff(services).map(host_of).collect();
        if let Some(translator) = renewed {
            self.translator = translator;
            changed.extend(services.keys().cloned());
        }
        let also = self.translator.prepare(services, &changed);
        changed.extend(also);
        for host in &changed {
            match self.made.get_mut(host) {
                Some(made) if services.contains_key(host) => made.stale = true,
                Some(_) => drop(self.made.remove(host)),
                None => {}
            }
        }
        changed
    }

    /// Translates a service, or the part of one that only some views have.
    pub(super) fn translate(&mut self, service: &Arc<PublishedService>) -> Arc<Translated> {
        let whole = self.services.get(&service.host).is_some_and(|whole| Arc::ptr_eq(whole, service));
        let made = self.made.get(&service.host).filter(|_| whole);
        let before = made.and_then(|made| made.translated.upgrade());
        if let (Some(before), false) = (&before, made.is_none_or(|made| made.stale)) {
            return before.clone();
        }
        let translated = Arc::new(self.make(service, before.as_deref()));
        if whole {
            let made = Made { translated: Arc::downgrade(&translated), stale: false };
            self.made.insert(service.host.clone(), made);
        }
        translated
    }

    /// Translates a service that differs in its endpoints from the one that gave `like`. Resources that come out equal
    /// are the same values.
    pub(super) fn translate_like(&mut self, service: &PublishedService, like: &Translated) -> Arc<Translated> {
        Arc::new(self.make(service, Some(like)))
    }

    fn make(&mut self, service: &PublishedService, before: Option<&Translated>) -> Translated {
        self.count += 1;
        let (resources, rejected) = self.translator.translate(service);
        let shared = |(kind, resource): (Kind, Resource)| {
            let same = before.and_then(|before| before.get(kind, resource.name())).filter(|same| ***same == resource);
            (kind, same.cloned().unwrap_or_else(|| Arc::new(resource)))
        };
        let resources = resources.into_iter().map(shared).collect();
        Translated { resources, rejected: rejected.into() }
    }

    /// Shares what rules made of a service for a class of proxies: a resource that is equal to one that all get, or
    /// that another class gets, is the same value.
    pub(super) fn share(
        &mut self,
        (resources, rejected): (Vec<(Kind, Resource)>, Vec<Rejected>),
        plain: &Translated,
    ) -> Arc<Translated> {
        self.count += 1;
        let resources = resources.into_iter().map(|(kind, resource)| {
            let same = plain.get(kind, resource.name()).filter(|same| ***same == resource).cloned();
            (kind, same.unwrap_or_else(|| self.pooled(kind, resource)))
        });
        let resources = resources.collect();
        Arc::new(Translated { resources, rejected: rejected.into() })
    }

    /// As [`Translations::share`], of clusters alone; all else is as `plain` has it.
    pub(super) fn share_clusters(&mut self, made: Vec<(Kind, Resource)>, plain: &Translated) -> Arc<Translated> {
        let clusters = made.into_iter().filter(|(kind, _)| *kind == Kind::Cluster).collect();
        let clusters = self.share((clusters, Vec::new()), plain);
        Arc::new(plain.with_clusters_of(&clusters))
    }

    fn pooled(&mut self, kind: Kind, resource: Resource) -> Arc<Resource> {
        if self.by_rules.len() > self.prune_at.max(FEW) {
            self.by_rules.retain(|_, held| held.iter().any(|held| held.strong_count() > 0));
            self.prune_at = 2 * self.by_rules.len();
        }
        let held = self.by_rules.entry((kind, resource.name().clone())).or_default();
        if let Some(same) = held.iter().filter_map(Weak::upgrade).find(|same| **same == resource) {
            return same;
        }
        held.retain(|held| held.strong_count() > 0);
        let resource = Arc::new(resource);
        held.push(Arc::downgrade(&resource));
        resource
    }
}

/// The host whose value differs.
pub(super) fn host_of<V>(item: DiffItem<'_, '_, Hostname, V>) -> Hostname {
    match item {
        DiffItem::Add(host, _) | DiffItem::Remove(host, _) => host.clone(),
        DiffItem::Update { new: (host, _), .. } => host.clone(),
    }
}
