//! What a step gives to the parts of a view, to make their resources of.

use super::{Selection, producer::Sources, producers::Producers, translations::Translations};
use crate::{
    model::{Hostname, PublishedService, Text, needed_as},
    resource::{Dialect, ViewGeneration},
};
use imbl::OrdMap;
use std::sync::Arc;

/// What a view has, after a step, and what it is made of.
pub(super) struct Look<'a> {
    pub(super) dialect: Dialect,
    pub(super) sources: &'a Sources,
    pub(super) selection: &'a Selection,
    pub(super) producers: &'a Producers,
    pub(super) whole: &'a Arc<ViewGeneration>,
    pub(super) translations: &'a mut Translations,
}

impl Look<'_> {
    /// The services that views of the dialect have, those that manifests declare among them.
    pub(super) fn services(&self) -> &OrdMap<Hostname, Arc<PublishedService>> {
        self.sources.services(self.dialect)
    }

    /// The service, or what the view has of it; `None`: the view has nothing of it.
    pub(super) fn service(&self, host: &Hostname) -> Option<Arc<PublishedService>> {
        let service = self.services().get(host)?;
        // One that a manifest declares is no registry's, which is what a selection goes by.
        match self.sources.given.is_declared(host) {
            true => self.producers.has(host).then(|| service.clone()),
            false => self.selection.of(service),
        }
    }

    /// The names by which a service of the view can be wanted: its host, its aliases, and its names in the registries that the
    /// view may see, with those by which consumers there need it. Empty: the view has no such service.
    pub(super) fn names(&self, host: &Hostname) -> Box<[Text]> {
        let Some(service) = self.services().get(host).filter(|_| self.producers.has(host)) else {
            return Box::default();
        };
        let sources = || service.sources.iter().filter(|id| self.selection.has_source(id));
        let own = std::iter::once(service.host.text()).chain(service.aliases.iter().map(Hostname::text));
        let of_sources = sources().map(|id| &id.name);
        let records = sources().filter_map(|id| self.sources.catalog.records.get(id));
        let needed = records.flat_map(|record| needed_as(&record.service.labels));
        let mut names: Vec<Text> = Vec::new();
        for name in own.chain(of_sources).cloned().chain(needed) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.into()
    }
}
