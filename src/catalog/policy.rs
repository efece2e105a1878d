//! How the services of one registry are published. Plain values; the configuration makes them.

use super::{Template, addresses::Addresses};
use crate::model::{DeclaredPort, Fraction, Hostname, Nearness, Protocol, Text, Weight};
use ipnet::IpNet;
use std::{collections::BTreeMap, time::Duration};

/// Everything that decides how one registry's services are published.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The name of the registry, by which it is known for as long as the process lives.
    pub registry: Text,
    /// Its kind for display, such as `nacos`.
    pub kind: &'static str,
    /// Answers wait for its first list, at most for the grace; `false`: it counts as empty at once.
    pub required: bool,
    /// Which services and instances are taken at all.
    pub select: Select,
    /// The host's name; evaluated per service and instance.
    pub host: Template,
    /// Whether Istio and the names of clusters have the host in the case of its registry's name.
    pub host_case: HostCase,
    /// Further hosts for the same service.
    pub aliases: Vec<Template>,
    /// Further names of single hosts, by host.
    pub host_aliases: BTreeMap<Hostname, Vec<Hostname>>,
    /// The service's ports where the registry does not declare them; the first is the service's own. May be empty:
    /// then the default protocol's port is.
    pub ports: Vec<DeclaredPort>,
    /// The protocol of instances that name none.
    pub protocol: Protocol,
    /// Whether instances' labels say what is spoken at their ports, and which further ones they have.
    pub ports_from_labels: bool,
    /// Changes of labels, in order, before everything else that reads labels except `select`.
    pub relabel: Vec<Relabel>,
    /// Where an instance runs, from its labels: `region/zone/sub-zone`, or with dots where there is no slash. `None`, or
    /// where nothing comes out: as the registry says.
    pub locality: Option<Template>,
    /// What becomes of instances with host names.
    pub hostnames: Hostnames,
    /// Whether clients prefer instances near them. Where several registries feed a host, its owner's setting counts.
    pub nearness: Nearness,
    /// Which addresses are published that mean another machine to each client.
    pub addresses: Addresses,
    /// What happens when another owner has the host already.
    pub merge: Merge,
    /// Whether a service keeps the host that it has when a smaller owner comes.
    pub owner: Owner,
    /// Where several registries feed one host: 0 first, the next only when the former has none that serve.
    pub priority: u32,
    /// Where several registries feed one host: this registry's share of traffic relative to the others', whatever the
    /// number of its instances; `None`: every instance by its own weight.
    pub share: Option<Weight>,
    /// A service is gone when this many lists in a row lack it. At least 1; 2 by default.
    pub absent_lists: u32,
    /// How long a gone service stays published without endpoints. 10 min by default.
    pub linger: Duration,
    /// When, and how long, vanished endpoints are held back. A change of this policy is judged by it, too.
    pub holding: Holding,
    /// The same for services that are counted apart: the first rule that matches a service decides.
    pub holds: Vec<HoldRule>,
    /// What could not be read for longer than this is too old. `None`, the default: it never is.
    pub stale_after: Option<Duration>,
    /// What happens to services that are too old by `stale_after`.
    pub stale: Stale,
}

/// When, and how long, vanished endpoints are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// A larger share of the endpoints that take traffic (and at least 20) vanishing within 60 s is held back. 30 % by default.
    pub max_drop: Fraction,
    /// For how long at most. 5 min by default.
    pub hold: Duration,
    /// What happens when a service's last endpoint vanishes.
    pub empty: Empty,
}

/// Services whose drops are counted, and held back, apart from those of the others.
#[derive(Debug, Clone, PartialEq)]
pub struct HoldRule {
    /// Services that one of these matches, by name, namespace and group only: an instance that has vanished has no
    /// labels.
    pub services: Vec<Matcher>,
    /// When, and how long, their endpoints are held back.
    pub holding: Holding,
}

/// The case of hosts in names of clusters and for Istio. In any case, hosts that differ in case only are one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostCase {
    /// In lower case, as DNS and Envoy compare them.
    #[default]
    Lower,
    /// As in the registry's own names.
    Keep,
}

/// Which services and instances are taken.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Select {
    /// If not empty: only what one of these matches.
    pub include: Vec<Matcher>,
    /// Never what one of these matches.
    pub exclude: Vec<Matcher>,
}

/// Matches when every part that is given matches. Name and group and namespace speak of the service, labels of the
/// instance (its own, else the service's), networks of the instance's address.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matcher {
    /// Pattern with `*` and `?` for the service's name.
    pub name: Option<Text>,
    /// Pattern with `*` and `?` for its namespace; `None` matches any.
    pub namespace: Option<Text>,
    /// Pattern with `*` and `?` for its group; `None` matches any.
    pub group: Option<Text>,
    /// Label and pattern for its value; all must match.
    pub labels: Vec<(Text, Text)>,
    /// One of these holds the address; host names are in none.
    pub networks: Vec<IpNet>,
}

/// One change of an endpoint's labels.
#[derive(Debug, Clone, PartialEq)]
pub enum Relabel {
    /// Sets a label to a value made by template.
    Set(Text, Template),
    /// Gives the first label's value to the second, and removes the first.
    Rename(Text, Text),
    /// Gives a label that has one of these values the other instead.
    Map(Text, BTreeMap<Text, Text>),
    /// Removes the labels whose key matches the pattern.
    Drop(Text),
    /// Removes the labels whose key matches none of the patterns.
    Keep(Vec<Text>),
}

/// What becomes of instances that have a host name for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hostnames {
    /// Portolan resolves it, and keeps the last good answer.
    #[default]
    Resolve,
    /// The client resolves it; every service of the registry is published so.
    Dns,
    /// The instance is left out.
    Drop,
}

/// What happens when several services claim one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Merge {
    /// The smaller owner has it; the others are not published under it.
    #[default]
    Refuse,
    /// All that choose this, and the owner does, share it.
    Host,
}

/// Who has a host that several services claim and do not share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owner {
    /// The smallest in the order of ownership: all replicas agree at any time, and a newcomer may take a host.
    #[default]
    Smallest,
    /// Who has it keeps it while its registry lists it: no newcomer takes a host, but replicas may differ, as each goes by
    /// what it heard first.
    First,
}

/// What becomes of services that are too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stale {
    /// It is noted at each of them.
    #[default]
    Mark,
    /// Their endpoints drain, too: they get no new requests.
    Drain,
}

/// What happens when a service's last endpoint vanishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Empty {
    /// The service is published without endpoints.
    #[default]
    Follow,
    /// Its last ones are held back like a large drop.
    Hold,
}

impl Policy {
    /// The defaults, for a registry of that name and kind.
    pub fn new(registry: &str, kind: &'static str, host: Template) -> Self {
        Policy {
            registry: registry.into(),
            kind,
            required: true,
            select: Select::default(),
            host,
            host_case: HostCase::default(),
            aliases: Vec::new(),
            host_aliases: BTreeMap::new(),
            ports: Vec::new(),
            protocol: Protocol::Http,
            ports_from_labels: true,
            relabel: Vec::new(),
            locality: None,
            hostnames: Hostnames::default(),
            nearness: Nearness::Off,
            addresses: Addresses::default(),
            merge: Merge::default(),
            owner: Owner::default(),
            priority: 0,
            share: None,
            absent_lists: 2,
            linger: Duration::from_secs(600),
            holding: Holding::default(),
            holds: Vec::new(),
            stale_after: None,
            stale: Stale::default(),
        }
    }

    /// Whether drops are held back at all.
    pub(super) fn holds_drops(&self) -> bool {
        !self.holding.hold.is_zero() && !self.holding.max_drop.covers(1, 1)
    }
}

impl Default for Holding {
    fn default() -> Self {
        let hold = Duration::from_secs(300);
        Holding { max_drop: Fraction::THIRTY_PERCENT, hold, empty: Empty::default() }
    }
}
