//! What a registry publishes of Dubbo's services when both levels are read: the interfaces as they register themselves, and
//! the instances of applications with the metadata of their revisions. Pure but for the clock that is handed in.
//!
//! Each service is decided by itself ([`Migration`]): one level counts, so that a provider which registers in both ways is
//! there once. A change of an instance touches what its application provides and nothing else.
//!
//! **Metadata that is missing.** An instance whose revision cannot be read provides what it did when its revision could
//! be, and otherwise nothing that is known: its application says so ([`Directory::problems`]), its other instances serve.
//! The mapping of interfaces to applications is not needed: all instances are read, and each says what it provides.

use super::{
    Identity, Naming, Places, Provider, is_disabled,
    metadata::{Metadata, Offer, revision},
    migration::{Level, Migration, Step},
    overrides::{Affected, Overrides, Rule, overridden},
    protocol,
    service::{Place, is_local},
    warm, weight,
};
use crate::{
    model::{Address, Endpoint, EndpointPort, Labels, Note, Port, Protocol, Reason, Service, ServiceId, Text, Weight},
    registry::metadata::locality,
};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
    time::SystemTime,
};

/// The most places that are given for one revision, since any of its instances can say it.
const MAX_PLACES: usize = 64;

/// The interfaces and applications of a registry, and the services that are published of them.
#[derive(Debug)]
pub(crate) struct Directory {
    naming: Naming,
    migration: Migration,
    /// Providers are asked for metadata that the registry does not have.
    asks_providers: bool,
    /// Services of the interface level, as their providers register them.
    interfaces: BTreeMap<ServiceId, Arc<Service>>,
    applications: BTreeMap<ServiceId, Application>,
    /// The services that applications provide: the identity of each, and those applications.
    providers: BTreeMap<ServiceId, (Identity, BTreeSet<ServiceId>)>,
    /// Applications that have changed since the last [`Directory::settle`].
    touched: BTreeSet<ServiceId>,
    /// Services that may have changed since the last [`Directory::settle`].
    dirty: BTreeSet<ServiceId>,
    published: BTreeMap<ServiceId, Arc<Service>>,
    /// When the weights of services next change by themselves.
    growing: BTreeMap<ServiceId, SystemTime>,
    overrides: Overrides,
    /// The rules that stand beside the providers of an interface, in the order in which they are applied.
    beside: BTreeMap<Text, Vec<Rule>>,
    /// The services that a rule of an interface, or of an application, may change.
    concerned: BTreeMap<Affected, BTreeSet<ServiceId>>,
    /// The same by service: whose rules may change it.
    concerns: BTreeMap<ServiceId, BTreeSet<Affected>>,
}

/// An application with its instances, and what they provide.
#[derive(Debug)]
struct Application {
    service: Arc<Service>,
    /// Metadata of the revisions that its instances name, or why it cannot be read. A revision that was not read yet is
    /// absent.
    revisions: BTreeMap<Text, Result<Arc<Metadata>, Text>>,
    /// What each instance provides, in the order of the service's endpoints; `None` if it is not known.
    known: Vec<Option<Arc<Metadata>>>,
    provides: BTreeSet<ServiceId>,
}

/// A revision whose metadata is to be read.
#[derive(Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) application: ServiceId,
    pub(crate) revision: Text,
    /// The places of providers that are to be asked for it; `None` if it is to be read from the registry.
    pub(crate) places: Option<Vec<Result<Place, String>>>,
}

/// A change of one service since the last [`Directory::settle`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// The service is new or has changed.
    Applied(Arc<Service>),
    /// The service has no provider any more.
    Removed(ServiceId),
}

impl Directory {
    pub(crate) fn new(naming: Naming, migration: Migration, asks_providers: bool) -> Self {
        let (interfaces, applications, providers, published) = Default::default();
        let (touched, dirty, growing) = Default::default();
        let (overrides, beside, concerned, concerns) = Default::default();
        Directory {
            naming,
            migration,
            asks_providers,
            interfaces,
            applications,
            providers,
            touched,
            dirty,
            published,
            growing,
            overrides,
            beside,
            concerned,
            concerns,
        }
    }

    /// Sets a service of the interface level.
    pub(crate) fn put_interface(&mut self, service: Arc<Service>) {
        let id = service.id.clone();
        let old = self.interfaces.insert(id.clone(), service.clone());
        if old.is_none_or(|old| !Arc::ptr_eq(&old, &service)) {
            self.dirty.insert(id);
        }
    }

    /// Removes a service of the interface level, which has no provider any more.
    pub(crate) fn remove_interface(&mut self, id: &ServiceId) {
        if self.interfaces.remove(id).is_some() {
            self.dirty.insert(id.clone());
        }
    }

    /// Sets all services of the interface level. Others are removed, but for those for which `is_kept` holds.
    pub(crate) fn replace_interfaces(&mut self, services: Vec<Arc<Service>>, is_kept: impl Fn(&ServiceId) -> bool) {
        let listed: BTreeSet<&ServiceId> = services.iter().map(|service| &service.id).collect();
        let is_gone = |id: &&ServiceId| !listed.contains(id) && !is_kept(id);
        let gone: Vec<ServiceId> = self.interfaces.keys().filter(is_gone).cloned().collect();
        gone.iter().for_each(|id| self.remove_interface(id));
        services.into_iter().for_each(|service| self.put_interface(service));
    }

    /// Sets an application. The label `dubbo.metadata.revision` of an instance names its revision.
    pub(crate) fn put_application(&mut self, service: Arc<Service>) {
        let id = service.id.clone();
        match self.applications.entry(id.clone()) {
            Entry::Occupied(known) if Arc::ptr_eq(&known.get().service, &service) => return,
            Entry::Occupied(mut known) => known.get_mut().replace(service),
            Entry::Vacant(free) => drop(free.insert(Application::new(service))),
        }
        self.touched.insert(id);
    }

    /// Removes an application, which has no instance any more.
    pub(crate) fn remove_application(&mut self, id: &ServiceId) {
        if let Some(application) = self.applications.remove(id) {
            self.touched.remove(id);
            self.no_longer_provides(id, &application.provides);
        }
    }

    /// Sets all applications. Others are removed, but for those for which `is_kept` holds.
    pub(crate) fn replace_applications(&mut self, services: Vec<Arc<Service>>, is_kept: impl Fn(&ServiceId) -> bool) {
        let listed: BTreeSet<&ServiceId> = services.iter().map(|service| &service.id).collect();
        let is_gone = |id: &&ServiceId| !listed.contains(id) && !is_kept(id);
        let gone: Vec<ServiceId> = self.applications.keys().filter(is_gone).cloned().collect();
        gone.iter().for_each(|id| self.remove_application(id));
        services.into_iter().for_each(|service| self.put_application(service));
    }

    /// The revisions of changed applications that nobody has tried to read yet.
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for id in &self.touched {
            let Some(application) = self.applications.get(id) else { continue };
            let unknown = application.named().into_iter().filter(|r| !application.revisions.contains_key(*r));
            wanted.extend(unknown.map(|revision| Wanted {
                application: id.clone(),
                revision: revision.clone(),
                places: self.asks_providers.then(|| application.places(revision)).flatten(),
            }));
        }
        wanted
    }

    /// Takes the metadata of a revision, or why it cannot be read.
    pub(crate) fn learn(&mut self, application: &ServiceId, revision: Text, read: Result<Vec<u8>, Text>) {
        let Some(known) = self.applications.get_mut(application) else { return };
        let metadata = read.and_then(|text| {
            let parsed = Metadata::parse(&application.name, &revision, &text);
            parsed.map(Arc::new).map_err(|why| format!("its metadata {why}").into())
        });
        known.revisions.insert(revision, metadata);
        self.touched.insert(application.clone());
    }

    /// Forgets failures to read metadata, of one application or of all, so that it is wanted again. `true` if there
    /// were some.
    pub(crate) fn try_again(&mut self, application: Option<&ServiceId>) -> bool {
        let mut some = false;
        let mut again = |id: &ServiceId, known: &mut Application| {
            let before = known.revisions.len();
            known.revisions.retain(|_, read| read.is_ok());
            if known.revisions.len() < before {
                self.touched.insert(id.clone());
                some = true;
            }
        };
        match application {
            Some(id) => drop(self.applications.get_mut(id).map(|known| again(id, known))),
            None => self.applications.iter_mut().for_each(|(id, known)| again(id, known)),
        }
        some
    }

    /// Sets a rule of the configuration centre; without a text the rule is removed.
    pub(crate) fn put_rule(&mut self, name: &str, text: Option<&[u8]>) {
        if let Some(affected) = self.overrides.put(name, text) {
            self.dirty.extend(self.concerned.get(&affected).into_iter().flatten().cloned());
        }
    }

    /// Sets the rules that stand beside the providers of an interface.
    #[cfg(feature = "zookeeper")]
    pub(crate) fn put_beside(&mut self, interface: &str, mut rules: Vec<Rule>) {
        super::overrides::sort(&mut rules);
        if self.beside.get(interface).map_or(&[][..], |known| known) == rules {
            return;
        }
        let affected = Affected::Interface(interface.into());
        self.dirty.extend(self.concerned.get(&affected).into_iter().flatten().cloned());
        if rules.is_empty() {
            self.beside.remove(interface);
        } else {
            self.beside.insert(interface.into(), rules);
        }
    }

    /// Sets how many routing rules stand beside the providers of an interface. They are reported, and not applied.
    #[cfg(feature = "zookeeper")]
    pub(crate) fn put_routers(&mut self, interface: &str, count: usize) {
        self.overrides.put_routers(interface, count);
    }

    /// The rules of the configuration centre.
    pub(crate) fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// Works out the services that may have changed, and returns the changes since the last call.
    pub(crate) fn settle(&mut self, now: SystemTime) -> Vec<Change> {
        for id in std::mem::take(&mut self.touched) {
            self.refresh(&id);
        }
        let grown = self.growing.iter().filter(|(_, until)| **until <= now).map(|(id, _)| id.clone());
        self.dirty.extend(grown);
        let mut changes = Vec::new();
        for id in std::mem::take(&mut self.dirty) {
            let (service, until) = self.compose(&id, now);
            match until {
                Some(until) => drop(self.growing.insert(id.clone(), until)),
                None => drop(self.growing.remove(&id)),
            }
            self.note(&id);
            let Some(service) = service else {
                if self.published.remove(&id).is_some() {
                    changes.push(Change::Removed(id));
                }
                continue;
            };
            if self.published.get(&id).is_none_or(|known| !Arc::ptr_eq(known, &service) && *known != service) {
                self.published.insert(id, service.clone());
                changes.push(Change::Applied(service));
            }
        }
        changes
    }

    /// When the first service changes by itself; `None` if none does.
    #[cfg(any(test, feature = "zookeeper"))]
    pub(crate) fn until(&self) -> Option<SystemTime> {
        self.growing.values().min().copied()
    }

    /// All published services, as of the last [`Directory::settle`].
    pub(crate) fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.published.values()
    }

    /// The applications whose metadata cannot be read, with the reason.
    pub(crate) fn problems(&self) -> Vec<(ServiceId, Text)> {
        self.applications.iter().filter_map(|(id, known)| Some((id.clone(), known.problem()?))).collect()
    }

    /// Works out what the instances of an application provide now.
    fn refresh(&mut self, id: &ServiceId) {
        let Some(application) = self.applications.get_mut(id) else { return };
        application.see();
        let mut provides = BTreeMap::new();
        for offer in application.known.iter().flatten().flat_map(|metadata| &metadata.offers) {
            provides.entry(self.naming.id(&offer.identity, id)).or_insert(&offer.identity);
        }
        for (service, identity) in &provides {
            let known = self.providers.entry(service.clone());
            known.or_insert_with(|| ((*identity).clone(), BTreeSet::new())).1.insert(id.clone());
        }
        self.dirty.extend(provides.keys().cloned());
        let provides: BTreeSet<ServiceId> = provides.into_keys().collect();
        let before = std::mem::replace(&mut application.provides, provides);
        let gone: BTreeSet<ServiceId> = before.difference(&application.provides).cloned().collect();
        self.no_longer_provides(id, &gone);
    }

    fn no_longer_provides(&mut self, application: &ServiceId, services: &BTreeSet<ServiceId>) {
        for id in services {
            if let Some((_, providers)) = self.providers.get_mut(id) {
                providers.remove(application);
                if providers.is_empty() {
                    self.providers.remove(id);
                }
            }
            self.dirty.insert(id.clone());
        }
    }

    /// Whose rules may change a service: its interface's, and those of the applications of its providers. Those of the level
    /// that does not count are among them, because a rule may also decide which level does.
    fn concerning(&self, id: &ServiceId) -> BTreeSet<Affected> {
        let mut all = BTreeSet::new();
        if let Some(service) = self.interfaces.get(id) {
            let application = |endpoint: &Endpoint| endpoint.labels.get("application").cloned();
            all.extend(service.labels.get("interface").cloned().map(Affected::Interface));
            all.extend(service.endpoints.iter().filter_map(application).map(Affected::Application));
        }
        if let Some((identity, applications)) = self.providers.get(id) {
            all.insert(Affected::Interface(identity.interface.clone()));
            all.extend(applications.iter().map(|application| Affected::Application(application.name.clone())));
        }
        all
    }

    /// Updates `concerned` and `concerns` for a service.
    fn note(&mut self, id: &ServiceId) {
        let now = self.concerning(id);
        let before = self.concerns.remove(id).unwrap_or_default();
        for gone in before.difference(&now) {
            if let Some(ids) = self.concerned.get_mut(gone) {
                ids.remove(id);
                if ids.is_empty() {
                    self.concerned.remove(gone);
                }
            }
        }
        for new in now.difference(&before) {
            self.concerned.entry(new.clone()).or_default().insert(id.clone());
        }
        if !now.is_empty() {
            self.concerns.insert(id.clone(), now);
        }
    }

    /// A service of the interface level with its rules applied.
    fn by_interface(&self, service: &Arc<Service>) -> Arc<Service> {
        let identity = Identity::of_labels(&service.labels);
        let beside = self.beside.get(&*identity.interface).map_or(&[][..], |rules| rules);
        overridden(service, &identity, &self.overrides, beside)
    }

    /// The service by the level that counts, and when it changes by itself. There is no service if that level has none.
    fn compose(&self, id: &ServiceId, now: SystemTime) -> (Option<Arc<Service>>, Option<SystemTime>) {
        let interface = self.interfaces.get(id).map(|service| self.by_interface(service));
        let Some((identity, providers)) = self.providers.get(id) else {
            let level = self.migration.level(1, 0);
            return (interface.filter(|_| level == Level::Interface), None);
        };
        let mut places = Places::default();
        for application in providers.iter().filter_map(|id| self.applications.get(id)) {
            application.provide(identity, now, &mut places);
        }
        let until = places.until();
        let (endpoints, notes) = places.finish();
        let service = Service { labels: identity.labels(), notes, ..Service::new(id.clone(), endpoints) };
        // What stands beside providers is not for those that register by application.
        let service = overridden(&Arc::new(service), identity, &self.overrides, &[]);
        let count = |service: &Arc<Service>| service.endpoints.iter().filter(|endpoint| endpoint.enabled).count();
        let (old, new) = (interface.as_ref().map_or(0, count), count(&service));
        let level = self.migration.level(old, new);
        // Where providers of the one level are all disabled, and there is no other, they are shown.
        if level == Level::Interface && (interface.is_some() || self.migration.step == Step::ForceInterface) {
            return (interface, None);
        }
        (Some(service), until)
    }
}

impl Application {
    fn new(service: Arc<Service>) -> Self {
        let known = vec![None; service.endpoints.len()];
        Application { service, revisions: BTreeMap::new(), known, provides: BTreeSet::new() }
    }

    /// The revisions that its instances name.
    fn named(&self) -> BTreeSet<&Text> {
        self.service.endpoints.iter().filter_map(|instance| revision(&instance.labels)).collect()
    }

    /// The places of instances that have this revision and keep its metadata themselves; `None` if there are none.
    fn places(&self, of: &Text) -> Option<Vec<Result<Place, String>>> {
        let has_it = |instance: &&Endpoint| revision(&instance.labels) == Some(of) && is_local(&instance.labels);
        let places: Vec<_> = self.service.endpoints.iter().filter(has_it).take(MAX_PLACES).map(Place::of).collect();
        (!places.is_empty()).then_some(places)
    }

    /// Replaces the instances. For one at a known place, what it provides stays known until its revision is read.
    fn replace(&mut self, service: Arc<Service>) {
        let before = self.service.endpoints.iter().zip(&self.known);
        let before: BTreeMap<_, _> = before.map(|(instance, known)| (place(instance), known.clone())).collect();
        self.known = service.endpoints.iter().map(|instance| before.get(&place(instance)).cloned().flatten()).collect();
        drop(before);
        self.service = service;
    }

    /// Notes for each instance what was read of its revision, and forgets revisions that no instance names.
    fn see(&mut self) {
        let named: BTreeSet<Text> = self.named().into_iter().cloned().collect();
        self.revisions.retain(|revision, _| named.contains(revision));
        for (instance, known) in self.service.endpoints.iter().zip(&mut self.known) {
            match revision(&instance.labels).map(|revision| self.revisions.get(revision)) {
                None => *known = None,
                Some(Some(Ok(metadata))) => *known = Some(metadata.clone()),
                Some(_) => {}
            }
        }
    }

    /// What of its metadata cannot be read; `None` if all of it can.
    fn problem(&self) -> Option<Text> {
        let mut problems = Vec::new();
        for (name, read) in &self.revisions {
            match read {
                Err(why) => {
                    let of_it = |instance: &&Endpoint| revision(&instance.labels) == Some(name);
                    let count = self.service.endpoints.iter().filter(of_it).count();
                    problems.push(format!("{count} of its instances have revision {name}: {why}"));
                }
                Ok(metadata) => problems.extend(metadata.problems.first().cloned()),
            }
        }
        (!problems.is_empty()).then(|| problems.join("; ").into())
    }

    /// Adds those of its instances that provide a service to `places`.
    fn provide(&self, identity: &Identity, now: SystemTime, places: &mut Places) {
        for (instance, known) in self.service.endpoints.iter().zip(&self.known) {
            let Some(metadata) = known else { continue };
            let first = metadata.offers.partition_point(|offer| offer.identity < *identity);
            for offer in metadata.offers[first..].iter().take_while(|offer| offer.identity == *identity) {
                let (provider, problem) = provider(instance, offer, now);
                let subject = instance.address.place(provider.endpoint.ports.first().map(|port| port.number));
                places.notes.extend(problem.map(|problem| Note::new(Reason::EntryInvalid, subject, problem)));
                places.add(provider);
            }
        }
    }
}

/// Address and first port, by which an instance is recognised.
fn place(instance: &Endpoint) -> (Address, Option<Port>) {
    (instance.address.clone(), instance.ports.first().map(|port| port.number))
}

/// An instance as a provider of one service, and what is wrong with its weight. Parameters of the revision go before
/// its own, but for `timestamp`, which is when it was started.
fn provider(instance: &Endpoint, offer: &Offer, now: SystemTime) -> (Provider, Option<String>) {
    let get = |key: &str| {
        let (own, common) = (instance.labels.get(key), offer.labels.get(key));
        let said = if key == "timestamp" { own.or(common) } else { common.or(own) };
        said.map(|value| value.trim()).filter(|value| !value.is_empty())
    };
    let (whole, problem) = weight(get);
    let (weight, until) = warm(get, whole, now);
    let number = port(instance, offer);
    let weight = Weight::relative(instance.weight.get() * weight.get(), 1.0).unwrap_or(weight);
    let endpoint = Endpoint {
        address: instance.address.clone(),
        ports: number
            .map(|number| EndpointPort { number, protocol: Some(protocol(&offer.protocol)), name: None })
            .into_iter()
            .collect::<Vec<_>>()
            .into(),
        weight,
        health: instance.health,
        enabled: instance.enabled && !is_disabled(get),
        locality: locality(&offer.labels, instance.locality.clone()),
        labels: labels(instance, offer),
        secure: get("ssl-enabled").is_some_and(|on| on.eq_ignore_ascii_case("true")),
    };
    let started = get("timestamp").and_then(|text| text.parse().ok()).unwrap_or_default();
    (Provider { endpoint, started, until }, problem)
}

/// The port at which an instance offers a service: one that speaks its protocol, and among several the one that the
/// metadata names.
fn port(instance: &Endpoint, offer: &Offer) -> Option<Port> {
    let speaks = |port: &&EndpointPort| match &port.name {
        Some(name) => **name == *offer.protocol,
        None => port.protocol == Protocol::parse(&offer.protocol),
    };
    let (said, mut speaking) = (offer.port, instance.ports.iter().filter(speaks).map(|port| port.number));
    let first = speaking.next();
    if said.is_some() && speaking.any(|number| Some(number) == said) {
        return said;
    }
    first.or(said).or(instance.ports.first().map(|port| port.number))
}

/// The labels of the offer, and those of the instance that the offer lacks. Labels that only Dubbo needs are left out,
/// so that instances have equal labels, which are kept once.
fn labels(instance: &Endpoint, offer: &Offer) -> Labels {
    let is_own = |key: &str| {
        matches!(key, "dubbo.endpoints" | "timestamp" | "meta-v")
            || key.starts_with("dubbo.metadata.")
            || key.starts_with("dubbo.metadata-service.")
    };
    let own = instance.labels.iter().filter(|(key, _)| !is_own(key) && !offer.labels.contains_key(*key));
    let mut labels = offer.labels.clone();
    for (key, value) in own {
        labels.insert(key.clone(), value.clone());
    }
    labels
}

#[cfg(test)]
mod tests;
