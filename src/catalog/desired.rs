//! What a configuration wants of the catalog, and what became of it: plain values.

use super::{Memory, Policy, claim::Rank, now::Now, publishing::Loss};
use crate::model::Text;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// What a configuration wants of the catalog.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    /// In the order of ownership; each name once.
    pub registries: Vec<Registry>,
    /// When the catalog publishes.
    pub options: Options,
    /// A number that the catalog bears from this configuration on. By it, views take what the configuration changes for
    /// them in the same step.
    pub revision: u64,
}

/// A registry of the configuration: how it is published, and what tells whether it has to be read anew.
#[derive(Debug, Clone)]
pub struct Registry {
    /// How its services are published. The name in it is the registry's identity.
    pub policy: Policy,
    /// A fingerprint of all that decides what is read, and from where. Another one begins a new reading.
    pub connection: u64,
    /// What is read, and from where, in words that hold over a restart.
    pub identity: Text,
    /// What is known from before a restart, if anything is. Nothing of a registry that the catalog has already.
    pub memory: Option<Arc<Memory>>,
}

impl From<Policy> for Registry {
    /// A registry whose connection never changes, and of which nothing is remembered.
    fn from(policy: Policy) -> Self {
        Registry { policy, connection: 0, identity: Text::default(), memory: None }
    }
}

/// One reading of a registry, from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reading {
    /// The registry that is read, by its name in the configuration.
    pub registry: Text,
    /// Rises with each reading that begins, of whichever registry.
    pub epoch: u64,
}

/// What a configuration has changed; nothing if all lists are empty and `reordered` is `false`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// Readings that begin: of new registries, and of those with another connection.
    pub begun: Vec<Reading>,
    /// Registries whose former reading ends: they were removed, or are among `begun`.
    pub ended: Vec<Text>,
    /// Registries that are published by another policy now.
    pub republished: Vec<Text>,
    /// Registries that were there before stand in another order now.
    pub reordered: bool,
    /// Changes that are not in force yet; empty if the configuration was forced.
    pub held: Vec<Held>,
}

/// A change that is not in force yet, because it would take many endpoints away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The registry that would lose endpoints, by its name.
    pub registry: Text,
    /// Which part of the configuration waits.
    pub change: HeldChange,
    /// The endpoints that it would take away.
    pub endpoints: usize,
    /// How many endpoints the registry has published before the change.
    pub of: usize,
    /// When it will be in force all the same.
    pub until: SystemTime,
}

/// What can be held back of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldChange {
    /// The registry is no longer in it.
    Removal,
    /// Policies and the order of registries stay as they were, because of what this registry would lose.
    Policy,
}

/// Policies and an order of registries that are to be in force.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// The new policies, of registries that are published by another one now.
    pub(super) policies: BTreeMap<Text, Policy>,
    /// The ranks of all registries; those that left the configuration stand last.
    pub(super) ranks: BTreeMap<Text, Rank>,
}

/// A plan that is held back.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) plan: Plan,
    pub(super) since: Now,
    pub(super) until: Instant,
    /// The registries that would lose too much.
    pub(super) losses: BTreeMap<Text, Loss>,
}

/// When the catalog publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long answers wait for a required registry that stays down.
    pub grace: Duration,
    /// The shortest window in which further changes go together.
    pub debounce_min: Duration,
    /// The longest such window, however long publishing takes.
    pub debounce_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            grace: Duration::from_secs(30),
            debounce_min: Duration::from_millis(10),
            debounce_max: Duration::from_millis(100),
        }
    }
}

impl Held {
    pub(super) fn of(registry: &Text, change: HeldChange, loss: Loss, until: SystemTime) -> Self {
        Held { registry: registry.clone(), change, endpoints: loss.lost, of: loss.of, until }
    }
}
