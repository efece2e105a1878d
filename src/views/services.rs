//! The resources of services: those that a view selects, translated, and each name given to one of them.
//!
//! Whatever catalogs came before, what it has is what the last catalog alone gives: a name belongs to the smallest host that
//! claims it, whether or not that can use it, and a cluster whose assignment is another service's goes with it, because
//! it would send traffic there.

use super::{
    Selection,
    claims::Claims,
    given::Given,
    producer::{Producer, Sources, Step},
    translations::{Translated, Translations},
};
use crate::{
    model::{Hostname, Proxy, PublishedService},
    resource::{Dialect, Kind, KindReadiness, Name, Resource},
    translate::{
        Rejected, Why,
        traffic::{self, Rules},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

#[derive(Debug)]
pub(super) struct Services {
    dialect: Dialect,
    selection: Selection,
    /// The class of proxies, and the rules for it; `None`: rules make no difference.
    class: Option<ByClass>,
    /// What each service gives that the view has.
    translated: BTreeMap<Hostname, Arc<Translated>>,
    claims: Claims,
    /// What of a service is not served because another has the name.
    contested: BTreeMap<Hostname, Vec<Rejected>>,
    /// What cannot be sent differs from what was read last: of many services, most updates change nothing of that.
    rejected_differs: bool,
    /// The selection has changed since the last update.
    reselected: bool,
}

/// The resources of one service, and what of the service cannot be sent.
type Made = (Vec<(Kind, Resource)>, Vec<Rejected>);

/// How a service is translated for a view.
enum Way<'a> {
    /// The same clusters for all proxies.
    Plain,
    /// With clusters of the class's own defaults.
    Defaults(&'a ByClass),
    /// Clusters as DestinationRules make them, for each class of proxies.
    Rules(&'a ByClass),
}

/// What rules make of services for a class of proxies.
#[derive(Debug)]
pub(super) struct ByClass {
    proxy: Arc<Proxy>,
    rules: Arc<Rules>,
    given: Arc<Given>,
    /// The hosts that manifests declare, of those whose rules the view has.
    declared: BTreeSet<Hostname>,
}

impl ByClass {
    pub(super) fn new(proxy: Arc<Proxy>, rules: Arc<Rules>, given: Arc<Given>) -> Self {
        let declared = rules.services().map(|(_, service, _)| service.host.clone()).collect();
        ByClass { proxy, rules, given, declared }
    }
}

impl Services {
    pub(super) fn new(dialect: Dialect, selection: Selection) -> Self {
        Services {
            dialect,
            selection,
            class: None,
            translated: BTreeMap::new(),
            claims: Claims::default(),
            contested: BTreeMap::new(),
            rejected_differs: false,
            reselected: false,
        }
    }

    /// The service, or the part of it that the view has. One that a manifest declares is seen where its rules are.
    pub(super) fn selected(&self, service: &Arc<PublishedService>) -> Option<Arc<PublishedService>> {
        match &self.class {
            Some(class) if class.given.is_declared(&service.host) => {
                class.declared.contains(&service.host).then(|| service.clone())
            }
            _ => self.selection.of(service),
        }
    }

    /// Whether some of these hosts have come into the view, or gone out of it.
    pub(super) fn is_seen_otherwise(&self, hosts: &BTreeSet<Hostname>, given: &Given) -> bool {
        let seen = |host| given.services.get(host).is_some_and(|service| self.selection.of(service).is_some());
        hosts.iter().any(|host| seen(host) != self.translated.contains_key(host))
    }

    /// Replaces the class and its rules, from the next update on.
    pub(super) fn set_class(&mut self, class: ByClass) {
        self.class = Some(class);
    }

    /// The hosts whose clusters these rules concern, or the former ones did.
    pub(super) fn concerned_by(&self, before: &Rules, class: &ByClass) -> Vec<Hostname> {
        let concerned = |service: &&Arc<PublishedService>| {
            let origin = class.given.origin(service);
            [before, &class.rules].iter().any(|rules| rules.concerns(service, &origin, &class.proxy))
        };
        class.given.services.values().filter(concerned).map(|service| service.host.clone()).collect()
    }

    /// Translates a service: as for everybody, unless a rule concerns it, or the class has other defaults.
    fn give(&self, service: &Arc<PublishedService>, translations: &mut Translations) -> Arc<Translated> {
        let plain = translations.translate(service);
        match self.way(service) {
            Way::Plain => plain,
            // Instances are none of a cluster's business, and there may be many.
            Way::Defaults(class) => {
                let (made, _) = self.by_rules(&service.part(Vec::new()), class);
                translations.share_clusters(made, &plain)
            }
            Way::Rules(class) => {
                let made = self.by_rules(service, class);
                translations.share(made, &plain)
            }
        }
    }

    fn way(&self, service: &PublishedService) -> Way<'_> {
        let Some(class) = &self.class else { return Way::Plain };
        let origin = class.given.origin(service);
        let itself = service.dns || origin.is_passed_through;
        let is_checked = origin.beyond.health_check.is_some();
        match is_checked || class.rules.concerns(service, &origin, &class.proxy) {
            true => Way::Rules(class),
            false if !class.proxy.is_managed() => Way::Plain,
            false if itself => Way::Rules(class),
            false => Way::Defaults(class),
        }
    }

    /// Translates a service as the rules for that class have it.
    fn by_rules(&self, service: &PublishedService, class: &ByClass) -> Made {
        let (settings, origin) = (&class.given.settings, class.given.origin(service));
        let (mesh, envoy) = (&settings.traffic.mesh, &settings.envoy);
        match self.dialect {
            Dialect::Grpc => traffic::service(service, &origin, &class.proxy, &class.rules, mesh, &envoy.for_grpc()),
            _ => traffic::service(service, &origin, &class.proxy, &class.rules, mesh, envoy),
        }
    }

    /// Takes what a service gives now. Returns the hosts that may have or lose names for that.
    fn replace(&mut self, host: &Hostname, step: &mut Step<'_>) -> BTreeSet<Hostname> {
        let selected = step.services().get(host).and_then(|service| self.selected(service));
        let new = selected.map(|service| self.give(&service, step.translations));
        let old = match &new {
            Some(new) => self.translated.insert(host.clone(), new.clone()),
            None => self.translated.remove(host),
        };
        if new.is_none() && old.is_none() {
            return BTreeSet::new();
        }
        let (new, old) = (new.unwrap_or_default(), old.unwrap_or_default());
        self.rejected_differs |= new.rejected != old.rejected;
        step.affects(host, old.differing(&new));
        step.touched.extend(old.differing(&new).map(|(kind, name)| (kind, name.clone())));
        self.claim(host, &old, &new)
    }

    /// Makes the service claim the names of its new resources and no others; returns those whom that concerns.
    fn claim(&mut self, host: &Hostname, old: &Translated, new: &Translated) -> BTreeSet<Hostname> {
        let mut concerned = BTreeSet::new();
        for name in claimed(new).filter(|name| !claimed(old).any(|before| before == *name)) {
            concerned.extend(self.claims.add(name, host));
        }
        for name in claimed(old).filter(|name| !claimed(new).any(|now| now == *name)) {
            concerned.extend(self.claims.remove(name, host));
        }
        concerned
    }

    /// The other host that has a name which the resource needs; `None`: no other host has one.
    fn taken_by(&self, host: &Hostname, resource: &Resource) -> Option<&Hostname> {
        let mut needed = std::iter::once(resource.name()).chain(resource.refers_to());
        needed.find_map(|name| self.claims.owner(name).filter(|owner| *owner != host))
    }

    /// Notes which resources of a host are not served because another has the name.
    fn contest(&mut self, host: &Hostname) {
        let contested = |(kind, resource): &(Kind, Arc<Resource>)| {
            // Of an assignment the cluster of the same name says it.
            let owner = self.taken_by(host, resource).filter(|_| claims_its_name(*kind))?;
            let why = Why::NameTaken(owner.clone());
            Some(Rejected { host: host.clone(), subject: resource.name().clone(), why })
        };
        let translated = self.translated.get(host);
        let contested: Vec<_> = translated.iter().flat_map(|of| of.resources.iter().filter_map(contested)).collect();
        self.rejected_differs |= self.contested.get(host).map_or(&[][..], Vec::as_slice) != contested;
        match contested.is_empty() {
            true => drop(self.contested.remove(host)),
            false => drop(self.contested.insert(host.clone(), contested)),
        }
    }
}

impl Services {
    /// Takes what the services of these hosts give now, and notes what differs.
    pub(super) fn advance(&mut self, step: &mut Step<'_>, changed: &BTreeSet<Hostname>) {
        let mut concerned = BTreeSet::new();
        if std::mem::take(&mut self.reselected) {
            concerned.extend(self.translated.keys().cloned());
        }
        for host in changed {
            concerned.extend(self.replace(host, step));
        }
        for host in &concerned {
            let translated = self.translated.get(host).into_iter();
            let resources = translated.flat_map(|translated| translated.resources.iter());
            let resources = resources.map(|(kind, resource)| (*kind, resource.name()));
            step.affects(host, resources.clone());
            step.touched.extend(resources.map(|(kind, name)| (kind, name.clone())));
        }
        changed.union(&concerned).for_each(|host| self.contest(host));
    }

    /// Notes the clusters that only one of two sets has, with their assignments; `None`: all clusters are in it.
    pub(super) fn touch_clusters(
        &self,
        before: Option<&BTreeSet<Name>>,
        after: Option<&BTreeSet<Name>>,
        touched: &mut BTreeSet<(Kind, Name)>,
    ) {
        let has = |set: Option<&BTreeSet<Name>>, name: &Name| set.is_none_or(|set| set.contains(name));
        let all = self.translated.values().flat_map(|of| of.resources.iter());
        for (_, cluster) in all.filter(|(kind, _)| *kind == Kind::Cluster) {
            if has(before, cluster.name()) != has(after, cluster.name()) {
                touched.insert((Kind::Cluster, cluster.name().clone()));
                touched.extend(cluster.refers_to().map(|name| (Kind::Endpoint, name.clone())));
            }
        }
    }

    /// The clusters that have their endpoints from that assignment.
    pub(super) fn clusters_of<'a>(&'a self, assignment: &'a Name) -> impl Iterator<Item = &'a Name> {
        let owner = self.claims.owner(assignment).and_then(|owner| self.translated.get(owner));
        let all = owner.into_iter().flat_map(|of| of.resources.iter());
        let theirs = all.filter(move |(kind, r)| *kind == Kind::Cluster && r.refers_to() == Some(assignment));
        theirs.map(|(_, cluster)| cluster.name())
    }
}

impl Producer for Services {
    fn update(&mut self, step: &mut Step<'_>) {
        let changed = step.changed.clone();
        self.advance(step, &changed);
    }

    fn select(&mut self, selection: &Selection) {
        self.selection = selection.clone();
        // Kinds that come or go with the selection concern every name.
        self.reselected = true;
    }

    fn get(&self, kind: Kind, name: &Name) -> Option<&Arc<Resource>> {
        if !self.selection.has_kind(kind) {
            return None;
        }
        let owner = self.claims.owner(name)?;
        let resource = self.translated.get(owner)?.get(kind, name)?;
        self.taken_by(owner, resource).is_none().then_some(resource)
    }

    /// Envoy's kinds that nothing makes are known to be empty when services are known.
    fn readiness(&self, sources: &Sources, so_far: KindReadiness) -> KindReadiness {
        let catalog = &sources.catalog;
        match self.dialect {
            Dialect::Envoy | Dialect::Grpc => {
                Kind::ENVOY.into_iter().fold(so_far, |all, kind| all.and(kind, catalog.sync))
            }
            // They take nothing but whole lists.
            Dialect::Istio => so_far.and(Kind::ServiceEntry, catalog.known),
        }
    }

    fn take_rejected(&mut self) -> Option<Vec<Rejected>> {
        if !std::mem::take(&mut self.rejected_differs) {
            return None;
        }
        let contested = |host| self.contested.get(host).into_iter().flatten();
        let all = self.translated.iter().flat_map(|(host, of)| of.rejected.iter().chain(contested(host)));
        Some(all.cloned().collect())
    }

    fn owner(&self, _kind: Kind, name: &Name) -> Option<&Hostname> {
        self.claims.owner(name)
    }

    fn translated(&self, host: &Hostname) -> Option<&Arc<Translated>> {
        self.translated.get(host)
    }

    fn translate(&self, service: &Arc<PublishedService>, translations: &mut Translations) -> Option<Arc<Translated>> {
        let whole = self.translated.get(&service.host)?;
        Some(match self.way(service) {
            Way::Plain => translations.translate_like(service, whole),
            Way::Defaults(_) => {
                let like = translations.translate_like(service, whole);
                Arc::new(like.with_clusters_of(whole))
            }
            Way::Rules(class) => {
                let made = self.by_rules(service, class);
                translations.share(made, whole)
            }
        })
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.translated.len()
    }
}

/// The names that a service claims. An assignment has the name of its cluster.
fn claimed(of: &Translated) -> impl Iterator<Item = &Name> {
    of.resources.iter().filter(|(kind, _)| claims_its_name(*kind)).map(|(_, resource)| resource.name())
}

fn claims_its_name(kind: Kind) -> bool {
    kind != Kind::Endpoint
}
