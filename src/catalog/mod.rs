//! The catalog: the only writer of what is known and published.
//!
//! Registries' updates go in; an immutable [`Catalog`] comes out, swapped in for readers and then signalled.

mod addresses;
mod claim;
mod claims;
mod configure;
mod contests;
mod core;
mod desired;
mod endpoints;
mod event;
mod guards;
mod journal;
mod ledger;
mod memory;
mod merge;
mod metrics;
mod names;
mod notes;
mod now;
mod overrides;
mod policy;
mod ports;
mod publish;
mod publishing;
mod recall;
mod recompute;
mod relabel;
mod removal_guard;
mod rules;
mod select;
mod source;
mod spelling;
mod status;
mod writer;

pub use crate::model::{Template, TemplateError};
pub use addresses::Addresses;
pub use contests::Contest;
pub use core::Core;
pub use desired::{Desired, Held, HeldChange, Options, Outcome, Reading, Registry};
pub use event::Event;
pub use journal::{Cause, Published};
pub use memory::{HoldMemory, HostMemory, LostMemory, Memory, PortMemory, Remembered, ScopeMemory, ServiceMemory};
pub use metrics::Metrics;
pub use now::Now;
pub use overrides::{Deed, LONGEST, Order, Override, Refused, Services, Target, Wish};
pub use policy::{
    Empty, HoldRule, Holding, HostCase, Hostnames, Matcher, Merge, Owner, Policy, Relabel, Select, Stale,
};
pub use removal_guard::HoldEvent;
pub use select::Selector;
pub use writer::{Configured, Feed, Handle, HeldPart, Writer};

use crate::model::{Cost, Hostname, Note, Readiness, Scope, Service, ServiceId, Text};
use imbl::OrdMap;
use std::{sync::Arc, time::SystemTime};

/// Everything known and published at one moment.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Rises with every change of `services`, `sync` or `revision`.
    pub number: u64,
    /// The [`Desired::revision`] of the configuration that is followed.
    pub revision: u64,
    /// What is published, by host, with the effect of `overrides`.
    pub services: Services,
    /// The overrides that operators have made, each for a limited time.
    pub overrides: Arc<[Override]>,
    /// What became of each service of each registry.
    pub records: OrdMap<ServiceId, Arc<Record>>,
    /// The status of each registry, in the order of the configuration; those that left it last.
    pub registries: Arc<[Arc<RegistryStatus>]>,
    /// How completely the registries have been listed.
    pub sync: Readiness,
    /// The same for those who take nothing but whole lists: once grace is over, what is known of a registry from before a
    /// restart counts as listed.
    pub known: Readiness,
}

/// What became of one service of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// As the registry has it, or last had it.
    pub service: Arc<Service>,
    /// The hosts it feeds; none if it is not published.
    pub hosts: Vec<Hostname>,
    /// Why it is not published, or not as the registry has it.
    pub notes: Vec<Note>,
}

/// The state of a registry's connection, shown by the admin API and in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No scope was listed yet, though reading may have failed.
    Connecting,
    /// Some scopes were listed, others not yet.
    Syncing,
    /// All scopes were listed, and the last reading of each succeeded.
    Synced,
    /// The last reading of some scope failed, or the connection has changed and it was not listed since; its last good
    /// services are served.
    Stale,
    /// It is no longer in the configuration; its last services are served until its hold is over.
    Removed,
}

impl State {
    /// Each once, in the order of their declaration.
    pub const ALL: [State; 5] = [State::Connecting, State::Syncing, State::Synced, State::Stale, State::Removed];

    /// The word in the admin API and in metrics, such as `synced`.
    pub const fn name(self) -> &'static str {
        match self {
            State::Connecting => "connecting",
            State::Syncing => "syncing",
            State::Synced => "synced",
            State::Stale => "stale",
            State::Removed => "removed",
        }
    }
}

/// The status of a registry, shown by the admin API.
#[derive(Debug, Clone)]
pub struct RegistryStatus {
    /// As in the configuration; metrics have it as the label `registry`.
    pub name: Text,
    /// Its kind: `nacos`, `file`, ...
    pub kind: &'static str,
    /// Answers wait for its first list.
    pub required: bool,
    /// How much of it was read, and how the last reading went.
    pub state: State,
    /// When its last update came that was no failure; `None` before the first.
    pub heard_at: Option<SystemTime>,
    /// By scope: when it was last listed, and the error if the last reading failed.
    pub scopes: Vec<ScopeStatus>,
    /// The newest error, and when; stays to be read after recovery.
    pub last_error: Option<(SystemTime, Text)>,
    /// Services that it has now, whether published or not.
    pub services: usize,
    /// Endpoints of these services, whether they take traffic or not.
    pub endpoints: usize,
    /// The cost that it reported last; `None` before its first reading ends.
    pub last_cost: Option<Cost>,
    /// The sum of all costs since the registry was added.
    pub total_cost: Cost,
    /// A drop that is held back, if one is.
    pub hold: Option<HoldStatus>,
}

/// The status of one part of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeStatus {
    /// The part, by the registry's own name for it.
    pub scope: Scope,
    /// When it was last listed; `None` if it never was.
    pub listed_at: Option<SystemTime>,
    /// Why the last reading failed, if it did.
    pub error: Option<Text>,
}

/// Why endpoints are served on that the registry, or the configuration, no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldCause {
    /// The registry lost many at once.
    Drop,
    /// A new policy for the registry would take many away.
    Policy,
    /// The registry was removed from the configuration.
    Removal,
}

impl HoldCause {
    /// The word in the admin API, such as `drop`.
    pub const fn name(self) -> &'static str {
        match self {
            HoldCause::Drop => "drop",
            HoldCause::Policy => "policy",
            HoldCause::Removal => "removal",
        }
    }
}

/// A drop that is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldStatus {
    /// What would have taken the endpoints away.
    pub cause: HoldCause,
    /// When the hold began.
    pub since: SystemTime,
    /// When the hold ends and the endpoints are removed all the same.
    pub until: SystemTime,
    /// Endpoints that the registry no longer has and that are served on.
    pub endpoints: usize,
}

#[cfg(test)]
mod tests;
