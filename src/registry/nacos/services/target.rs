//! What is read as a whole: a namespace by a bulk list, or one of its groups; and what is known of it.

use super::{
    levels::Levels,
    list_bulk::{self, Listed},
    list_each,
    spellings::{Lists, Spellings},
    threshold::Thresholds,
};
use crate::{
    model::{Scope, Service, ServiceId, Text},
    registry::nacos::error::Error,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A namespace, or a group of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Target {
    pub(super) namespace: Text,
    pub(super) group: Option<Text>,
}

/// What is known of a target from its last reading.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) bulk: list_bulk::Cache,
    pub(super) thresholds: Thresholds,
    pub(super) each: list_each::Cache,
    /// The services as a bulk list has shown them, without thresholds.
    pub(super) listed: BTreeMap<ServiceId, Listed>,
    pub(super) spellings: Spellings,
    /// Dubbo's interfaces and applications; `None` if applications are not read and no rules are applied.
    pub(super) levels: Option<Levels>,
    /// The services as they were read, under Nacos' own names.
    pub(super) services: BTreeMap<ServiceId, Arc<Service>>,
    pub(super) unreadable: BTreeSet<ServiceId>,
}

/// A target, what is known of it, and the outcome of its reading.
pub(super) type Outcome = (Target, Known, Result<Lists, Error>);

impl Target {
    pub(super) fn scope(&self) -> Scope {
        match &self.group {
            Some(group) => Scope(format!("{}/{group}", self.namespace).into()),
            None => Scope(self.namespace.clone()),
        }
    }
}

impl Known {
    /// Remembers what was read. `true` if there are the same services as before.
    pub(super) fn remember(&mut self, (services, unreadable): &Lists) -> bool {
        let unreadable: BTreeSet<ServiceId> = unreadable.iter().map(|(id, _)| id.clone()).collect();
        let same = unreadable == self.unreadable && self.services.keys().eq(services.iter().map(|s| &s.id));
        self.services = services.iter().map(|service| (service.id.clone(), service.clone())).collect();
        self.unreadable = unreadable;
        same
    }

    /// All services, also those that could not be read.
    pub(super) fn ids(&self) -> impl Iterator<Item = &ServiceId> {
        self.services.keys().chain(&self.unreadable)
    }
}
