//! Services with other instances, or other priorities, than their view has them with: for all who come to the same, made
//! once.

use super::{
    look::Look,
    part::{Chosen, Pick},
};
use crate::{
    model::{Hostname, PublishedEndpoint, PublishedService},
    resource::{Kind, Name, Resource},
    translate::envoy::{Place, Zones, priorities},
};
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

/// So many variants of a service are kept before those are looked for that nobody has any more.
const FEW: usize = 16;

/// What was made of services, as long as somebody has it.
#[derive(Debug, Default)]
pub(super) struct Variants {
    made: HashMap<Hostname, Vec<Variant>>,
    /// Keeps what a step has made until it is served.
    fresh: Vec<Arc<Resource>>,
}

#[derive(Debug)]
struct Variant {
    seen: Seen,
    resources: Box<[(Kind, Weak<Resource>)]>,
}

/// How a service is seen: what a preference and a place come down to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    chosen: Chosen,
    /// The priority of each chosen endpoint; `None`: as they are.
    priorities: Option<Box<[u32]>>,
}

impl Seen {
    pub(super) fn of(service: &PublishedService, pick: &Pick, at: Option<&Place>, zones: &Zones) -> Seen {
        let chosen = Chosen::of(pick, service.endpoints.iter().map(|endpoint| &endpoint.labels));
        let priorities = at.and_then(|place| match chosen {
            Chosen::All => priorities(service, place, zones),
            _ => priorities(&service.part(chosen_of(service, &chosen)), place, zones),
        });
        Seen { chosen, priorities }
    }

    /// Whether it is as the view has it.
    fn is_plain(&self) -> bool {
        self.chosen == Chosen::All && self.priorities.is_none()
    }

    fn service(&self, service: &PublishedService) -> PublishedService {
        let mut endpoints = chosen_of(service, &self.chosen);
        for (endpoint, priority) in endpoints.iter_mut().zip(self.priorities.iter().flatten()) {
            endpoint.priority = *priority;
        }
        service.part(endpoints)
    }
}

fn chosen_of(service: &PublishedService, chosen: &Chosen) -> Vec<PublishedEndpoint> {
    service.endpoints.iter().filter(|endpoint| chosen.has(&endpoint.labels)).cloned().collect()
}

impl Variants {
    /// Drops the variants of a service, which has changed, or is translated otherwise.
    pub(super) fn forget(&mut self, host: &Hostname) {
        self.made.remove(host);
    }

    /// Ends a step: its generations hold by now what it has made.
    pub(super) fn settle(&mut self) {
        self.fresh = Vec::new();
    }

    /// The resource of that kind and name, if it differs from what the view has.
    pub(super) fn get(
        &mut self,
        service: &Arc<PublishedService>,
        seen: Seen,
        key: (Kind, &Name),
        look: &mut Look<'_>,
    ) -> Option<Arc<Resource>> {
        if seen.is_plain() {
            return None;
        }
        let known = self.made.get(&service.host).and_then(|made| made.iter().find(|variant| variant.seen == seen));
        match known.and_then(|variant| variant.get(key)) {
            Some(found) => Some(found),
            None => self.make(service, seen, key, look),
        }
    }

    fn make(
        &mut self,
        service: &Arc<PublishedService>,
        seen: Seen,
        (kind, name): (Kind, &Name),
        look: &mut Look<'_>,
    ) -> Option<Arc<Resource>> {
        let resources = look.producers.translate(&Arc::new(seen.service(service)), look.translations);
        let weak = resources.iter().map(|(kind, resource)| (*kind, Arc::downgrade(resource))).collect();
        let made = self.made.entry(service.host.clone()).or_default();
        made.retain(|variant| variant.seen != seen);
        if made.len() >= FEW && made.len().is_power_of_two() {
            made.retain(Variant::is_used);
        }
        made.push(Variant { seen, resources: weak });
        let found = resources.iter().find(|(of, resource)| *of == kind && resource.name() == name);
        let found = found.map(|(_, resource)| resource.clone());
        self.fresh.extend(resources.into_iter().map(|(_, resource)| resource));
        found
    }
}

impl Variant {
    fn get(&self, (kind, name): (Kind, &Name)) -> Option<Arc<Resource>> {
        let of_kind = self.resources.iter().filter(|(of, _)| *of == kind);
        of_kind.filter_map(|(_, resource)| resource.upgrade()).find(|resource| resource.name() == name)
    }

    fn is_used(&self) -> bool {
        self.resources.iter().any(|(_, resource)| resource.strong_count() > 0)
    }
}
