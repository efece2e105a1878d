//! Which application calls which services, in Portolan's own form and in Slime's.

use crate::{
    admin::time,
    calls::{Application, Model, Reading},
    catalog::Catalog,
    model::{DUBBO_SERVICE, Hostname, Need, Text, needed_as},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

/// The fields that are not about a single application.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Head {
    registries: Vec<Registry>,
    notes: Vec<Note>,
}

#[derive(Debug, Serialize)]
struct Registry {
    name: String,
    /// Whether all of its consumers were read at least once.
    listed: bool,
    error: Option<String>,
}

/// A problem with a consumer or an application.
#[derive(Debug, Serialize)]
struct Note {
    registry: String,
    subject: String,
    detail: String,
}

/// The services that an application needs.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Calling {
    application: String,
    /// Whether it is treated as needing every service.
    everything: bool,
    needs: Vec<Needed>,
}

#[derive(Debug, Serialize)]
struct Needed {
    /// As the consumer says it: `INTERFACE:GROUP:VERSION`.
    service: String,
    /// The hosts of the services that provide it now.
    hosts: Vec<String>,
    /// Since when no consumer asks for it any more. `None`: one does.
    #[serde(serialize_with = "time::optional")]
    gone_since: Option<SystemTime>,
}

/// By each name under which consumers may ask for a service: its own name and its hosts.
pub(in crate::admin) struct Providers(BTreeMap<Text, BTreeSet<(Text, Hostname)>>);

impl Providers {
    pub(in crate::admin) fn of(catalog: &Catalog) -> Self {
        let mut providers: BTreeMap<Text, BTreeSet<(Text, Hostname)>> = BTreeMap::new();
        for record in catalog.records.values() {
            let labels = &record.service.labels;
            let Some(service) = labels.get(DUBBO_SERVICE) else { continue };
            for name in needed_as(labels) {
                let known = providers.entry(name).or_default();
                known.extend(record.hosts.iter().map(|host| (service.clone(), host.clone())));
            }
        }
        Providers(providers)
    }

    fn of_need(&self, need: &Need) -> BTreeSet<&(Text, Hostname)> {
        need.names().filter_map(|name| self.0.get(&name)).flatten().collect()
    }
}

pub(in crate::admin) fn head(model: &Model) -> Head {
    let registry = |(name, Reading { listed, error }): (&Text, &Reading)| Registry {
        name: name.to_string(),
        listed: *listed,
        error: error.as_ref().map(ToString::to_string),
    };
    let note = |(registry, note): &(Text, crate::model::Note)| Note {
        registry: registry.to_string(),
        subject: note.subject.to_string(),
        detail: note.detail.to_string(),
    };
    Head { registries: model.registries.iter().map(registry).collect(), notes: model.notes.iter().map(note).collect() }
}

/// The applications of that name; with `None` all.
pub(in crate::admin) fn wanted(model: &Model, application: Option<&str>) -> Vec<(Text, Arc<Application>)> {
    let is_wanted = |name: &Text| application.is_none_or(|wanted| *wanted == **name);
    let all = model.applications.iter().filter(|(name, _)| is_wanted(name));
    all.map(|(name, application)| (name.clone(), application.clone())).collect()
}

pub(in crate::admin) fn calling(name: &Text, application: &Application, providers: &Providers) -> Calling {
    let needed = |(need, gone): (&Need, &Option<SystemTime>)| {
        let hosts: BTreeSet<&Hostname> = providers.of_need(need).into_iter().map(|(_, host)| host).collect();
        let hosts = hosts.into_iter().map(ToString::to_string).collect();
        Needed { service: need.service(), hosts, gone_since: *gone }
    };
    Calling {
        application: name.to_string(),
        everything: application.everything,
        needs: application.needs.iter().map(needed).collect(),
    }
}

/// The services that each application provides, by Slime's names of services.
pub(in crate::admin) fn provided(catalog: &Catalog) -> BTreeMap<Text, BTreeSet<Text>> {
    let mut provided: BTreeMap<Text, BTreeSet<Text>> = BTreeMap::new();
    for record in catalog.records.values() {
        let Some(service) = record.service.labels.get(DUBBO_SERVICE) else { continue };
        for application in record.service.endpoints.iter().filter_map(|endpoint| endpoint.labels.get("application")) {
            if !provided.get(application).is_some_and(|known| known.contains(service)) {
                provided.entry(application.clone()).or_default().insert(service.clone());
            }
        }
    }
    provided
}

/// One application as Slime shows it: services are the keys of maps. A need with `*` or a list is replaced by the
/// services that fit; a need that nobody provides is shown as it is written.
pub(in crate::admin) fn of_slime(
    name: &str,
    provides: Option<&BTreeSet<Text>>,
    application: Option<&Application>,
    providers: &Providers,
) -> (String, Value) {
    let keys = |services: BTreeSet<String>| -> Map<String, Value> {
        services.into_iter().map(|service| (service, json!({}))).collect()
    };
    let of_need = |need: &Need| {
        let found: BTreeSet<String> =
            providers.of_need(need).into_iter().map(|(service, _)| service.to_string()).collect();
        if found.is_empty() { [need.service()].into() } else { found }
    };
    let consumes = application.into_iter().flat_map(|application| application.needs.keys()).flat_map(of_need);
    let provides = provides.into_iter().flatten().map(ToString::to_string);
    let known = application.is_some() || provides.size_hint().0 > 0;
    let model = json!({
        "application": if known { name } else { "" },
        "provideservices": keys(provides.collect()),
        "consumeservices": keys(consumes.collect()),
    });
    (name.to_owned(), model)
}
