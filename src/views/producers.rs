//! The producers of a view together: whose a name is, and what would be made of a service.

use super::{producer::Producer, translations::Translations};
use crate::{
    model::{Hostname, PublishedService},
    resource::{Kind, Name, Resource},
    translate::{Rejected, traffic::Finding},
};
use std::{collections::BTreeSet, sync::Arc};

/// The producers of a view, in their order: of several that have a name the first one's is served.
#[derive(Debug)]
pub(super) struct Producers(pub(super) Vec<Part>);

#[derive(Debug)]
pub(super) struct Part {
    pub(super) producer: Box<dyn Producer>,
    /// What the producer cannot send.
    pub(super) rejected: Vec<Rejected>,
    /// What rules ask it for and it cannot do.
    pub(super) findings: Vec<Finding>,
}

impl Producers {
    /// The resources of that kind and name: the first is served, the others give way.
    pub(super) fn having(&self, kind: Kind, name: &Name) -> impl Iterator<Item = &Arc<Resource>> {
        self.0.iter().filter_map(move |part| part.producer.get(kind, name))
    }

    /// The service whose resource is served under that name; `None`: it is no service's.
    pub(super) fn owner(&self, kind: Kind, name: &Name) -> Option<&Hostname> {
        self.0.iter().find(|part| part.producer.get(kind, name).is_some())?.producer.owner(kind, name)
    }

    /// Whether anything is made of that service.
    pub(super) fn has(&self, host: &Hostname) -> bool {
        self.0.iter().any(|part| part.producer.translated(host).is_some())
    }

    /// Adds the names of all that is made of a service, served or not.
    pub(super) fn add_names_of(&self, host: &Hostname, names: &mut BTreeSet<(Kind, Name)>) {
        for translated in self.0.iter().filter_map(|part| part.producer.translated(host)) {
            names.extend(translated.resources.iter().map(|(kind, resource)| (*kind, resource.name().clone())));
        }
    }

    /// What would be made of the same service with other endpoints.
    pub(super) fn translate(
        &self,
        service: &Arc<PublishedService>,
        translations: &mut Translations,
    ) -> Vec<(Kind, Arc<Resource>)> {
        let made = self.0.iter().filter_map(|part| part.producer.translate(service, translations));
        made.flat_map(|made| made.resources.to_vec()).collect()
    }
}
