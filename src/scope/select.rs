//! What a scope has of the published services and of the kinds of resources.

use super::{Calls, Declared, LABEL, Rule};
use crate::{
    catalog::{self, Selector},
    model::{CALLS, FILES, Labels, Nearness, PublishedEndpoint, PublishedService, ServiceId, Text},
    resource::Kind,
    views::Select,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Which kinds of resources a scope has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Assignments alone, for clients that have clusters of their own.
    Endpoints,
    /// Clusters and assignments, for clients that have listeners of their own.
    Clusters,
    /// Everything: clusters, assignments, and listeners with their routes and secrets.
    #[default]
    Listeners,
}

impl Level {
    /// Each once; each has all that the one before has.
    pub const ALL: [Level; 3] = [Level::Endpoints, Level::Clusters, Level::Listeners];

    /// The word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Endpoints => "endpoints",
            Level::Clusters => "clusters",
            Level::Listeners => "listeners",
        }
    }
}

/// What the clients of a rule see.
#[derive(Debug)]
pub struct Scope {
    /// `name:` under `scopes:`, which stands in the keys of its views.
    pub name: Text,
    registries: Option<BTreeSet<Text>>,
    /// Registries that only other scopes may see, by `visible_to`.
    hidden: BTreeSet<Text>,
    select: catalog::Select,
    selector: Selector,
    aliases: bool,
    level: Level,
    nearness: Option<Nearness>,
    /// Decides by what a node declares which part of the scope it gets; `None`: each client gets all of it.
    pub declared: Option<Declared>,
    /// Decides by what an application needs which part of the scope its clients get; `None`: that does not count.
    pub calls: Option<Calls>,
}

/// Without `selector`, which follows from `select`.
impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        let Scope { name, registries, hidden, select, selector: _, aliases, level, nearness, declared, calls } = self;
        (name, registries, hidden, select) == (&other.name, &other.registries, &other.hidden, &other.select)
            && (aliases, level, nearness) == (&other.aliases, &other.level, &other.nearness)
            && (declared, calls) == (&other.declared, &other.calls)
    }
}

impl Scope {
    pub(super) fn new(rule: &Rule, visible_to: &BTreeMap<Text, Vec<Text>>) -> Scope {
        let hidden = visible_to.iter().filter(|(_, scopes)| !scopes.contains(&rule.name));
        Scope {
            name: rule.name.clone(),
            registries: rule.registries.as_ref().map(|registries| registries.iter().cloned().collect()),
            hidden: hidden.map(|(registry, _)| registry.clone()).collect(),
            selector: Selector::new(&rule.select),
            select: rule.select.clone(),
            aliases: rule.aliases,
            level: rule.level,
            nearness: rule.nearness,
            declared: rule.declared.clone(),
            calls: rule.calls.clone(),
        }
    }

    /// Whether anything of a registry may be in it.
    fn has(&self, registry: &str) -> bool {
        self.registries.as_ref().is_none_or(|registries| registries.contains(registry))
            && !self.hidden.contains(registry)
    }

    /// Whether the label [`LABEL`] of a service or an instance lets this scope see it.
    fn is_named_by(&self, labels: &Labels) -> bool {
        labels.get(LABEL).is_none_or(|scopes| scopes.split(',').any(|name| name.trim() == &*self.name))
    }

    fn has_endpoint(&self, service: &PublishedService, endpoint: &PublishedEndpoint) -> bool {
        let source = usize::try_from(endpoint.source).ok().and_then(|source| service.sources.get(source));
        self.is_named_by(&endpoint.labels)
            && source
                .is_some_and(|id| self.has(&id.registry) && self.selector.takes(id, &service.labels, Some(endpoint)))
    }

    /// Whether a service without instances is one of the scope.
    fn has_bare(&self, service: &PublishedService, id: &ServiceId) -> bool {
        self.has(&id.registry) && self.selector.takes(id, &service.labels, None)
    }
}

impl Select for Scope {
    fn select(&self, service: &Arc<PublishedService>) -> Option<Arc<PublishedService>> {
        if !self.is_named_by(&service.labels) || !service.sources.iter().any(|id| self.has(&id.registry)) {
            return None;
        }
        let has_all = service.endpoints.iter().all(|endpoint| self.has_endpoint(service, endpoint));
        let bare = service.endpoints.is_empty();
        if bare && !service.sources.iter().any(|id| self.has_bare(service, id)) {
            return None;
        }
        let (whole, plain) =
            (service.sources.iter().all(|id| self.has(&id.registry)), self.aliases || service.aliases.is_empty());
        let nearness = self.nearness.unwrap_or(service.nearness);
        if has_all && whole && plain && nearness == service.nearness {
            return Some(service.clone());
        }
        let endpoints = service.endpoints.iter().filter(|endpoint| self.has_endpoint(service, endpoint));
        let mut part = service.part(endpoints.cloned().collect());
        if part.endpoints.is_empty() && !bare {
            return None;
        }
        if !self.aliases {
            part.aliases.clear();
        }
        part.nearness = nearness;
        Some(Arc::new(part))
    }

    fn has_kind(&self, kind: Kind) -> bool {
        match kind {
            Kind::Cluster => self.level >= Level::Clusters,
            Kind::Listener | Kind::Route | Kind::Secret => self.level >= Level::Listeners,
            _ => true,
        }
    }

    fn has_source(&self, id: &ServiceId) -> bool {
        self.has(&id.registry)
    }

    /// Files are the operator's own, and no registry's. What is made of calls may name hosts of any registry: only who may see
    /// all of them has it.
    fn has_manifests_of(&self, registry: &str) -> bool {
        match registry {
            FILES => true,
            CALLS => self.hidden.is_empty(),
            registry => self.has(registry),
        }
    }
}
