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
    /// That of the configuration which is followed: see [`Desired::revision`].
    pub revision: u64,
    /// What is published, by host.
    pub services: Services,
    /// What people have laid over it, for a time.
    pub overrides: Arc<[Override]>,
    /// What became of each service of each registry.
    pub records: OrdMap<ServiceId, Arc<Record>>,
    /// In the order of the configuration.
    pub registries: Arc<[Arc<RegistryStatus>]>,
    /// How complete all this is.
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

/// The state of a registry's connection, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing was heard yet.
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

    /// The word for people and formats.
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

/// How a registry fares.
#[derive(Debug, Clone)]
pub struct RegistryStatus {
    /// Its name in the configuration.
    pub name: Text,
    /// Its kind: `nacos`, `file`, ...
    pub kind: &'static str,
    /// Answers wait for its first list.
    pub required: bool,
    /// How much of it was read, and how the last reading went.
    pub state: State,
    /// When it last told something good.
    pub heard_at: Option<SystemTime>,
    /// By scope: when it was last listed, and the error if the last reading failed.
    pub scopes: Vec<ScopeStatus>,
    /// The newest error, and when; stays to be read after recovery.
    pub last_error: Option<(SystemTime, Text)>,
    /// Services that it has now, whether published or not.
    pub services: usize,
    /// Endpoints of these services, whether they take traffic or not.
    pub endpoints: usize,
    /// What the last reading cost.
    pub last_cost: Option<Cost>,
    /// What all reading cost.
    pub total_cost: Cost,
    /// A drop that is held back, if one is.
    pub hold: Option<HoldStatus>,
}

/// How a part of a registry fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeStatus {
    /// The part, by the registry's own name for it.
    pub scope: Scope,
    /// When it was last listed.
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
    /// The word for people and formats.
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
    /// When it will be followed all the same.
    pub until: SystemTime,
    /// Endpoints that the registry no longer has and that are served on.
    pub endpoints: usize,
}

#[cfg(test)]
mod tests;
