//! What is kept of a registry beyond the life of the process: plain values, between the core and whoever writes them down.
//!
//! The core takes a memory for what an earlier reading has reported: it is served, marked stale, and nothing of it is gone
//! before the registry was listed again. Holds and lingering go on where they were, by the wall clock.

use crate::model::{Endpoint, Hostname, Port, Protocol, Scope, Service, ServiceId, Text};
use std::{net::IpAddr, sync::Arc, time::SystemTime};

/// What is known of one registry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// The parts that it was read in.
    pub scopes: Vec<ScopeMemory>,
    /// Each service of each scope; those that have gone and linger, too.
    pub services: Vec<ServiceMemory>,
    /// The hosts that its services claimed, with their learned ports.
    pub hosts: Vec<HostMemory>,
    /// What is held back of it.
    pub holds: HoldMemory,
    /// The same of each part that the configuration told apart, by the words for what matched it.
    pub parts: Vec<(Text, HoldMemory)>,
    /// What the host names of its instances resolved to.
    pub names: Vec<(Text, Vec<IpAddr>)>,
}

/// A part of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeMemory {
    /// The registry's own name for it.
    pub scope: Scope,
    /// When it was last listed; `None` if it never was.
    pub listed_at: Option<SystemTime>,
}

/// A service as one scope lists it; two scopes may list the same.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceMemory {
    /// The scope's place in [`Memory::scopes`].
    pub scope: usize,
    /// As it was last read.
    pub service: Arc<Service>,
    /// `false`: listed, but never could be read.
    pub read: bool,
    /// Why the last reading of it failed, if it did.
    pub unreadable: Option<Text>,
    /// How many lists in a row lacked it.
    pub absent: u32,
    /// Since when it is gone, if it is.
    pub gone: Option<SystemTime>,
}

/// What is kept of a host that a service claims, so that its ports and its name stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMemory {
    /// The service that named the host.
    pub service: ServiceId,
    /// The host that it claims; it is published for one claimant only, see `owned`.
    pub host: Hostname,
    /// The ports that were learned from instances.
    pub learned: Vec<PortMemory>,
    /// Since when no instance names it, while others of the service name other hosts.
    pub emptied: Option<SystemTime>,
    /// The registry's name for the host differs from it in more than case.
    pub rewritten: bool,
    /// A hash of the registry's name for the host; `None` if it differs in nothing but case, and `_` for `-`.
    pub spelled: Option<u64>,
    /// The host in the case of the registry's name, if the policy keeps it.
    pub cased: Option<Text>,
    /// Names and numbers of the ports of the instances that it had last.
    pub ports: Vec<(Text, Port)>,
    /// Of all services that claim the host, this one owned it.
    pub owned: bool,
}

/// A port that was learned from instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortMemory {
    /// Only held instances had it.
    pub held: bool,
    /// No instance had it as its first.
    pub beside: bool,
    /// The port's name as it was published: it stays, so that listeners do.
    pub name: Text,
    /// What was spoken there.
    pub protocol: Protocol,
}

/// What is held back of a registry, and what decides on that.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HoldMemory {
    /// Since when everything that it lost is held, and how many endpoints it had before.
    pub since: Option<(SystemTime, usize)>,
    /// Until when at least it is held, if an operator has prolonged it.
    pub until: Option<SystemTime>,
    /// When it last came back from an outage, if drops of few still count for that.
    pub returned: Option<SystemTime>,
    /// How many endpoints took traffic until each of these moments; only of the last minute.
    pub before: Vec<(SystemTime, usize)>,
    /// What was lost and not followed yet.
    pub lost: Vec<LostMemory>,
}

/// Endpoints that a service has lost and that are, or may be, served on.
#[derive(Debug, Clone, PartialEq)]
pub struct LostMemory {
    /// The service that lost them.
    pub service: ServiceId,
    /// As they last took traffic.
    pub endpoints: Vec<Endpoint>,
    /// It has others that take traffic.
    pub has_any: bool,
    /// It is absent from the last list only.
    pub absent: bool,
    /// Since when its last endpoints are held by themselves, if they are.
    pub emptied: Option<SystemTime>,
    /// So many of `endpoints`, the first ones, were lost before `emptied`.
    pub early: usize,
    /// Since when and until when they are held by themselves, if an operator has prolonged that.
    pub prolonged: Option<(SystemTime, SystemTime)>,
}

/// What the catalog remembers of the registries that have changed.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    /// To be given as `after` the next time: later changes only are returned then.
    pub number: u64,
    /// All registries, changed or not, also those that have left and are served on; what is kept of any other can be
    /// deleted.
    pub registries: Vec<Text>,
    /// Those of them of which something is new: name, identity, and what is known.
    pub memories: Vec<(Text, Text, Memory)>,
}
