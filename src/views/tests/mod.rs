//! Views against their model: everything from scratch.

mod manifests;
mod parts;
mod proxies;
mod scopes;
mod services;
mod set;

use super::{
    given::Book,
    translation::Translation,
    translations::{Translations, Translator},
    *,
};
use crate::{
    catalog::Catalog,
    manifests::Snapshot,
    model::*,
    resource::{Dialect, Kind, Name, Resource, ViewGeneration},
    translate::{
        Rejected, Why,
        envoy::{ClusterName, Options as EnvoyOptions},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// All views of a dialect, without a task.
pub(super) struct Fixture {
    pub(super) stage: Stage,
    manifests: Arc<Snapshot>,
    pub(super) callers: Arc<Callers>,
    book: Book,
    translation: Translation,
    views: BTreeMap<ViewKey, (Arc<ViewGeneration>, Arc<Report>)>,
    /// What each part of a view has, by number, and which made a generation in the last step.
    pub(super) parts: BTreeMap<(ViewKey, u64), Arc<ViewGeneration>>,
    pub(super) woken: Vec<u64>,
}

impl Fixture {
    pub(super) fn new(dialect: Dialect, translator: Box<dyn Translator>) -> Self {
        let stage = Stage::new(dialect, translator);
        let translation = Translation { revision: 0, outputs: Outputs::default() };
        let (callers, views, parts, woken) = Default::default();
        let (manifests, book) = (Arc::default(), Book::default());
        Fixture { stage, manifests, callers, book, translation, views, parts, woken }
    }

    /// A fixture with the whole view of Envoys.
    fn whole(options: EnvoyOptions) -> Self {
        let mut fixture = Fixture::new(Dialect::Envoy, Box::new(options));
        fixture.add(ViewKey::whole(Dialect::Envoy), Selection::default());
        fixture
    }

    pub(super) fn add(&mut self, key: ViewKey, selection: Selection) {
        let unbuilt = Arc::new(ViewGeneration::empty());
        self.stage.add((key.clone(), 0), &selection, unbuilt.clone());
        self.views.insert(key, (unbuilt, Arc::default()));
    }

    /// Goes on to a catalog; returns the views that made a generation.
    pub(super) fn step(&mut self, catalog: &Catalog) -> Vec<ViewKey> {
        self.step_by(catalog, None)
    }

    fn step_by(&mut self, catalog: &Catalog, renewed: Option<Box<dyn Translator>>) -> Vec<ViewKey> {
        let mut sources = Sources::plain(Arc::new(catalog.clone()), self.manifests.clone());
        sources.callers = self.callers.clone();
        sources.given = self.book.read(catalog, &self.manifests, &self.translation);
        let (mut made, views, parts) = (Vec::new(), &mut self.views, &mut self.parts);
        let mut woken = Vec::new();
        self.stage.step(&sources, renewed, |(key, _), before, stepped| {
            let (generation, report) = views.get_mut(key).expect("it was added");
            assert_eq!(before.number(), generation.number());
            if let Some(next) = stepped.generation {
                *generation = next;
                made.push(key.clone());
            }
            for (number, next) in stepped.parts {
                woken.push(number);
                parts.insert((key.clone(), number), next);
            }
            if let Some(next) = stepped.report {
                assert_ne!(**report, *next, "reported, and did not differ");
                *report = next;
            }
        });
        self.woken = woken;
        made
    }

    pub(super) fn generation(&self, key: &ViewKey) -> &Arc<ViewGeneration> {
        &self.views[key].0
    }

    pub(super) fn report(&self, key: &ViewKey) -> Arc<Report> {
        self.views[key].1.clone()
    }

    pub(super) fn content(&self, key: &ViewKey) -> Content {
        content(self.generation(key))
    }
}

pub(super) type Content = BTreeMap<(Kind, Name), Resource>;

/// All resources of a generation, by kind and name.
pub(super) fn content(generation: &ViewGeneration) -> Content {
    let of = |kind: Kind| generation.get(kind).iter().map(move |r| ((kind, r.name().clone()), (**r).clone()));
    Kind::ALL.into_iter().flat_map(of).collect()
}

pub(super) fn host(name: &str) -> Hostname {
    Hostname::new(name).unwrap()
}

/// A service with two ports, the second with another host, and so many endpoints.
pub(super) fn service(name: &str, aliases: &[&str], endpoints: i64) -> PublishedService {
    let port = |name: &str, number, host| ServicePort {
        name: name.into(),
        number: Port::new(number).unwrap(),
        protocol: Protocol::Http,
        host,
    };
    let endpoint = |number| {
        let ports = [("http".into(), Port::new(number).unwrap())].into();
        PublishedEndpoint::new(Address::parse("10.0.0.1").unwrap(), ports)
    };
    let ports = vec![port("http", 80, host(name)), port("p", 81, host(&format!("p.{name}")))];
    PublishedService {
        aliases: aliases.iter().map(|alias| host(alias)).collect(),
        ..PublishedService::new(host(name), ports, (1..=endpoints).map(endpoint).collect())
    }
}

pub(super) fn catalog(sync: Readiness, services: impl IntoIterator<Item = PublishedService>) -> Catalog {
    Catalog {
        number: 1,
        overrides: Arc::new([]),
        revision: 0,
        services: services.into_iter().map(|s| (s.host.clone(), Arc::new(s))).collect(),
        records: Default::default(),
        registries: Arc::new([]),
        sync,
        known: sync,
    }
}

/// Makes equal services the same values, as the catalog does.
fn shared(before: &Catalog, mut next: Catalog) -> Catalog {
    for (host, service) in before.services.iter() {
        if next.services.get(host).is_some_and(|now| now == service) {
            next.services.insert(host.clone(), service.clone());
        }
    }
    next
}

/// Options by which a cluster's name is its host alone, so that names of several services can be equal.
pub(super) fn by_host() -> EnvoyOptions {
    EnvoyOptions { cluster_name: ClusterName::parse("{host}").unwrap(), ..EnvoyOptions::default() }
}

/// What differs between the two, as readable lines.
pub(super) fn differences(before: &ViewGeneration, after: &ViewGeneration) -> Vec<String> {
    let (before, after) = (content(before), content(after));
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).filter(|key| before.get(key) != after.get(key)).collect();
    let sign = |key| if after.contains_key(key) { '+' } else { '-' };
    keys.into_iter().map(|key| format!("{}{} {}", sign(key), key.0.name(), key.1)).collect()
}

/// What a view must have, worked out without any state: a name is the smallest claimant's; a cluster goes with its
/// assignment.
fn from_scratch(services: &[Arc<PublishedService>], translator: &dyn Translator) -> (Content, Vec<Rejected>) {
    let all: Vec<_> = services.iter().map(|service| (service.host.clone(), translator.translate(service))).collect();
    let mut owners: BTreeMap<Name, Hostname> = BTreeMap::new();
    for (host, (resources, _)) in all.iter().rev() {
        owners.extend(resources.iter().map(|(_, r)| (r.name().clone(), host.clone())));
    }
    let (mut kept, mut rejected) = (Content::new(), Vec::new());
    for (host, (resources, cannot)) in all {
        rejected.extend(cannot);
        for (kind, resource) in resources {
            let mut needed = std::iter::once(resource.name()).chain(resource.refers_to());
            match needed.find(|name| owners[*name] != host).map(|name| owners[name].clone()) {
                None => drop(kept.insert((kind, resource.name().clone()), resource)),
                Some(owner) if kind != Kind::Endpoint => {
                    let (subject, why) = (resource.name().clone(), Why::NameTaken(owner));
                    rejected.push(Rejected { host: host.clone(), subject, why });
                }
                Some(_) => {}
            }
        }
    }
    (kept, rejected)
}

#[test]
fn a_service_is_translated_once_for_all_and_what_came_out_equal_stays_the_same_value() {
    let mut translations = Translations::new(Box::new(by_host()));
    let first = catalog(Readiness::Complete, [service("a", &[], 1), service("b", &[], 1)]);
    let changed = translations.advance(&first.services, None);
    assert_eq!(changed, BTreeSet::from([host("a"), host("b")]));
    let a = translations.translate(&first.services[&host("a")]);
    assert!(Arc::ptr_eq(&a, &translations.translate(&first.services[&host("a")])));
    assert_eq!(translations.count(), 1);

    let next = shared(&first, catalog(Readiness::Complete, [service("a", &[], 2), service("b", &[], 1)]));
    assert_eq!(translations.advance(&next.services, None), BTreeSet::from([host("a")]));
    let changed = translations.translate(&next.services[&host("a")]);
    let of = |translated: &translations::Translated, kind| translated.get(kind, "a").unwrap().clone();
    assert!(Arc::ptr_eq(&of(&a, Kind::Cluster), &of(&changed, Kind::Cluster)));
    assert!(!Arc::ptr_eq(&of(&a, Kind::Endpoint), &of(&changed, Kind::Endpoint)));

    // A part of a service is nobody else's.
    let part = Arc::new(service("a", &[], 1));
    assert!(!Arc::ptr_eq(&translations.translate(&part), &translations.translate(&part)));
    assert!(Arc::ptr_eq(&changed, &translations.translate(&next.services[&host("a")])));

    let count = translations.count();
    drop((a, changed));
    translations.translate(&next.services[&host("a")]);
    assert_eq!(translations.count(), count + 1, "what nobody holds is not kept");
}
