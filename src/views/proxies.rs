//! What one class of proxies is served: clusters and assignments of services with the rules that concern them, and listeners
//! and routes made of all of it.
//!
//! Listeners and routes are made anew when rules or the shapes of services differ (their hosts, names and ports), never for an
//! instance. A gateway has only clusters that its routes can reach.

use super::{
    Selection,
    given::Given,
    producer::{Producer, Sources, Step},
    services::{ByClass, Services},
    translation::Outputs,
    translations::{Translated, Translations},
};
use crate::{
    model::{Hostname, Proxy, PublishedService},
    resource::{Dialect, Kind, KindReadiness, Name, Readiness, Resource},
    translate::{
        Rejected,
        traffic::{self, Finding, Memo, Owner, Rules, Shapes},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

#[derive(Debug)]
pub(super) struct Proxies {
    dialect: Dialect,
    /// The class of proxies; `None`: those that say nothing of themselves.
    class: Option<Arc<Proxy>>,
    selection: Selection,
    services: Services,
    /// How the hosts that the view has look to routes.
    shapes: Shapes,
    /// Who says that these hosts are there: a manifest or a registry.
    owners: BTreeMap<Hostname, Owner>,
    /// The rules that the view has, without those that its selection hides.
    rules: Arc<Rules>,
    given: Arc<Given>,
    memo: Memo,
    /// Listeners and routes, and clusters of no service.
    made: BTreeMap<(Kind, Name), Arc<Resource>>,
    /// The clusters that routes can reach, or that a `Sidecar` imports; `None`: it has all.
    reach: Option<BTreeSet<Name>>,
    findings: Vec<Finding>,
    findings_differ: bool,
    /// The selection has changed since the last update, or there was no update yet.
    reselected: bool,
}

impl Proxies {
    pub(super) fn new(dialect: Dialect, class: Option<Arc<Proxy>>, selection: Selection) -> Self {
        Proxies {
            dialect,
            class,
            services: Services::new(dialect, selection.clone()),
            selection,
            shapes: Shapes::default(),
            owners: BTreeMap::new(),
            rules: Arc::default(),
            given: Arc::default(),
            memo: Memo::default(),
            made: BTreeMap::new(),
            reach: None,
            findings: Vec::new(),
            findings_differ: false,
            reselected: true,
        }
    }

    /// The rules that the view has: without those of registries that are hidden from it, and for no service that is.
    fn rules(&self, sources: &Sources, seen_differs: bool) -> Arc<Rules> {
        let given = &sources.given;
        if self.selection.is_all() {
            return given.rules.clone();
        }
        let same = Arc::ptr_eq(&self.given.rules, &given.rules) && !seen_differs && !self.reselected;
        if same {
            return self.rules.clone();
        }
        let hidden = self.selection.hidden(&sources.manifests);
        let manifests = sources.manifests.resources.iter().filter(|(key, _)| !hidden.contains(*key));
        let of_manifests = manifests.map(|((kind, _), resource)| (*kind, resource));
        let seen =
            |host: &Hostname| given.services.get(host).is_some_and(|service| self.selection.of(service).is_some());
        let expansions = given.expansions.iter().filter(|(host, _)| seen(host)).flat_map(|(_, all)| all.iter());
        let of_gateways = given.gateways.iter().chain(expansions).map(|(kind, resource)| (*kind, resource));
        let mesh = &given.settings.traffic.mesh;
        // What the view has not had before may be refused by now; all views' rules have its last good form.
        let before = if self.reselected { &given.rules } else { &self.rules };
        Arc::new(Rules::read(of_manifests.chain(of_gateways), before, mesh))
    }

    /// Takes notice of how these hosts look now; whether routes can see a difference.
    fn reshape(&mut self, hosts: &BTreeSet<Hostname>, given: &Given, settings: &Outputs) -> bool {
        let mut differs = false;
        for host in hosts {
            let owner = given.owner(host);
            if let Some(before) = self.owners.remove(host).filter(|before| *before != owner) {
                differs |= self.shapes.replace(&before, None, &settings.envoy);
            }
            let selected = given.services.get(host).and_then(|service| self.services.selected(service));
            differs |= match &selected {
                Some(service) => {
                    let origin = given.origin(service);
                    let addresses = |of: &str| given.addresses(host, of);
                    self.shapes.replace(&owner, Some((service, &origin, &addresses)), &settings.envoy)
                }
                None => self.shapes.replace(&owner, None, &settings.envoy),
            };
            if selected.is_some() {
                self.owners.insert(host.clone(), owner);
            }
        }
        differs
    }

    /// Makes listeners and routes anew, and notes in `touched` which resources differ.
    fn make(&mut self, proxy: &Proxy, settings: &Outputs, touched: &mut BTreeSet<(Kind, Name)>) {
        let mesh = &settings.traffic.mesh;
        let made = traffic::traffic(proxy, &self.rules, &self.shapes, mesh, &mut self.memo);
        let traffic::Traffic { resources, clusters, findings } = made;
        let before = std::mem::take(&mut self.made);
        let new = resources.into_iter().map(|(kind, resource)| {
            let key = (kind, resource.name().clone());
            let same = before.get(&key).filter(|same| ***same == resource).cloned();
            (key, same.unwrap_or_else(|| Arc::new(resource)))
        });
        self.made = new.collect();
        let is_other = |old: &Arc<Resource>, new: Option<&Arc<Resource>>| new.is_none_or(|new| !Arc::ptr_eq(new, old));
        let gone = before.iter().filter(|(key, old)| is_other(old, self.made.get(*key))).map(|(key, _)| key);
        let come = self.made.keys().filter(|key| !before.contains_key(*key));
        touched.extend(gone.chain(come).cloned());
        let before = std::mem::replace(&mut self.reach, clusters);
        self.services.touch_clusters(before.as_ref(), self.reach.as_ref(), touched);
        self.findings = findings;
        self.findings_differ = true;
    }

    /// Whether the proxies' routes can reach a cluster, or the cluster of an assignment. True for all other kinds.
    fn is_reached(&self, kind: Kind, name: &Name) -> bool {
        match (&self.reach, kind) {
            (None, _) => true,
            (Some(reach), Kind::Cluster) => reach.contains(name),
            (Some(reach), Kind::Endpoint) => self.services.clusters_of(name).any(|cluster| reach.contains(cluster)),
            (Some(_), _) => true,
        }
    }
}

impl Producer for Proxies {
    fn update(&mut self, step: &mut Step<'_>) {
        let given = step.sources.given.clone();
        let settings = given.settings.clone();
        let renewed = self.reselected || !Arc::ptr_eq(&self.given.settings, &settings);
        let proxy = match &self.class {
            Some(class) => class.clone(),
            None => Arc::new(given.plain_proxy(self.dialect)),
        };
        let seen_differs = self.services.is_seen_otherwise(step.changed, &given);
        let rules = self.rules(step.sources, seen_differs);
        let ruled = !Arc::ptr_eq(&self.rules, &rules);
        let destinations = renewed || (ruled && !self.rules.same_destinations(&rules));
        let before = std::mem::replace(&mut self.rules, rules.clone());
        let (moved, redeclared) = (given.addressed_otherwise(&self.given), given.declared_otherwise(&self.given));
        self.given = given.clone();
        let by_class = ByClass::new(proxy.clone(), rules.clone(), given.clone());
        let ruled_otherwise = match destinations && !renewed {
            true => self.services.concerned_by(&before, &by_class),
            false => Vec::new(),
        };
        let concerned: BTreeSet<Hostname> =
            ruled_otherwise.into_iter().chain(redeclared).chain(step.changed.iter().cloned()).collect();
        self.services.set_class(by_class);
        self.services.advance(step, &concerned);
        let concerned = concerned.into_iter().chain(moved).collect();
        let reshaped = self.reshape(&concerned, &given, &settings);
        if std::mem::take(&mut self.reselected) || renewed || ruled || reshaped {
            self.make(&proxy, &settings, &mut step.touched);
        }
    }

    fn get(&self, kind: Kind, name: &Name) -> Option<&Arc<Resource>> {
        if !self.selection.has_kind(kind) {
            return None;
        }
        let made = self.made.get(&(kind, name.clone()));
        made.or_else(|| self.services.get(kind, name).filter(|_| self.is_reached(kind, name)))
    }

    fn select(&mut self, selection: &Selection) {
        self.selection = selection.clone();
        Producer::select(&mut self.services, selection);
        self.reselected = true;
    }

    /// Listeners and routes wait for services and for rules, and are complete where what is missing is known from before a restart:
    /// who has some is told of none before. Clusters wait for rules as well, since these change them and say
    /// which a gateway has; but not for ever: a source of manifests that never answers must not keep proxies from services.
    fn readiness(&self, sources: &Sources, so_far: KindReadiness) -> KindReadiness {
        let services = sources.catalog.sync;
        let rules = sources.manifests.sync().unwrap_or(Readiness::Complete);
        let of_clusters = if rules == Readiness::Waiting { rules } else { Readiness::Complete };
        let known = sources.manifests.known().unwrap_or(Readiness::Complete);
        let whole = (services.max(sources.catalog.known), rules.max(known));
        Kind::ENVOY.into_iter().fold(so_far, |all, kind| {
            let (services, rules) = match kind {
                Kind::Listener | Kind::Route => whole,
                Kind::Secret => (services, rules),
                _ => (services, of_clusters),
            };
            all.and(kind, services).and(kind, rules)
        })
    }

    fn take_rejected(&mut self) -> Option<Vec<Rejected>> {
        self.services.take_rejected()
    }

    fn take_findings(&mut self) -> Option<Vec<Finding>> {
        if !std::mem::take(&mut self.findings_differ) {
            return None;
        }
        let unused = self.rules.unused(&self.shapes);
        let refused = self.rules.findings().iter().chain(self.given.findings.iter());
        let mut all: Vec<Finding> = refused.chain(&self.findings).cloned().chain(unused).collect();
        all.sort();
        all.dedup();
        Some(all)
    }

    fn owner(&self, kind: Kind, name: &Name) -> Option<&Hostname> {
        match self.made.contains_key(&(kind, name.clone())) {
            true => None,
            false => self.services.owner(kind, name),
        }
    }

    fn translated(&self, host: &Hostname) -> Option<&Arc<Translated>> {
        self.services.translated(host)
    }

    fn translate(&self, service: &Arc<PublishedService>, translations: &mut Translations) -> Option<Arc<Translated>> {
        self.services.translate(service, translations)
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.services.held()
    }
}
