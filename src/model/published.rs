//! One service, as clients see it.

use super::{
    Address, Few, Fraction, Health, Hostname, Labels, Locality, Note, Port, Protocol, ServiceId, Text, Weight,
};
use std::borrow::Cow;

/// A port that clients ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name; endpoints refer to it.
    pub name: Text,
    /// The number that clients ask for; instances may listen on others.
    pub number: Port,
    /// What a proxy must speak to it.
    pub protocol: Protocol,
    /// The host it is reached at: the service's own for its first port, `<port-name>.<host>` for every further one,
    /// because Istio sends an endpoint that lacks a port of its host to the wrong place.
    pub host: Hostname,
}

/// An instance that may be served: enabled, with weight, at a place that clients can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedEndpoint {
    /// Where it is. A host name only where the service's `dns` is set.
    pub address: Address,
    /// Its own port for each service port that it has, ordered by name.
    pub ports: Few<(Text, Port)>,
    /// Its share of traffic, above zero: what has no weight is not published.
    pub weight: Weight,
    /// After protection: in a service that is protected all count as healthy.
    pub health: Health,
    /// Where it runs, after `publish.locality`.
    pub locality: Locality,
    /// All metadata, and `registry` where several feed one host.
    pub labels: Labels,
    /// Whether it wants TLS.
    pub secure: bool,
    /// 0 first; the next only when the former has none that serve.
    pub priority: u32,
    /// Which of the service's `sources` it is of.
    pub source: u32,
}

impl PublishedEndpoint {
    /// A healthy endpoint of weight 1 of which nothing else is known.
    pub fn new(address: Address, ports: Few<(Text, Port)>) -> Self {
        PublishedEndpoint {
            address,
            ports,
            weight: Weight::DEFAULT,
            health: Health::Healthy,
            locality: Locality::default(),
            labels: Labels::new(),
            secure: false,
            priority: 0,
            source: 0,
        }
    }

    /// Its own number for the service port of that name; `None` if it has no such port.
    pub fn port(&self, name: &str) -> Option<Port> {
        self.ports.iter().find(|(n, _)| &**n == name).map(|(_, port)| *port)
    }
}

/// Whether instances near a client are preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Nearness {
    /// All alike, wherever the client is.
    #[default]
    Off,
    /// Each client has those near it first, by their priorities.
    Priority,
    /// Envoys send what they can to their own zone, by what they know of the whole fleet.
    ZoneAware,
}

impl Nearness {
    /// Each once, in the order of their declaration.
    pub const ALL: [Nearness; 3] = [Nearness::Off, Nearness::Priority, Nearness::ZoneAware];

    /// The word in the configuration and in the state on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Nearness::Off => "off",
            Nearness::Priority => "priority",
            Nearness::ZoneAware => "zone_aware",
        }
    }
}

/// A service as clients see it, keyed by its host. Equal input gives equal values, whatever the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedService {
    /// The name clients use.
    pub host: Hostname,
    /// The same with the upper case that its registry's users have in their rules, if that is kept and there is any.
    pub spelling: Option<Text>,
    /// Further names for the same; sorted, none of them any service's host.
    pub aliases: Vec<Hostname>,
    /// Who feeds it, smaller owner first.
    pub sources: Vec<ServiceId>,
    /// At least one; the first is the service's own.
    pub ports: Vec<ServicePort>,
    /// Sorted by address and port; no address and port twice.
    pub endpoints: Vec<PublishedEndpoint>,
    /// The ports that its instances listen on, whether they serve or not, as an endpoint's; without any those of the last.
    pub instance_ports: Vec<(Text, Port)>,
    /// Metadata of all sources; of equal keys the owner's.
    pub labels: Labels,
    /// Too few are healthy, so all count as healthy.
    pub protected: bool,
    /// The [`super::Service::protect_threshold`] of the first source that has one.
    pub protect_threshold: Option<Fraction>,
    /// Endpoints keep their host names, and the client resolves them. By configuration, never by what is up.
    pub dns: bool,
    /// Whether endpoints near a client are preferred. By configuration alone.
    pub nearness: Nearness,
    /// What was left out, renamed or held, and why.
    pub notes: Vec<Note>,
}

impl PublishedService {
    /// Its host, or the host of one of its ports, as its users write it.
    pub fn spelled<'a>(&'a self, host: &'a Hostname) -> Cow<'a, str> {
        let own = self.spelling.as_deref().zip(host.as_str().strip_suffix(self.host.as_str()));
        match own {
            Some((spelling, "")) => spelling.into(),
            Some((spelling, prefix)) if prefix.ends_with('.') => format!("{prefix}{spelling}").into(),
            _ => host.as_str().into(),
        }
    }

    /// A copy of the service with these endpoints instead.
    pub fn part(&self, endpoints: Vec<PublishedEndpoint>) -> Self {
        PublishedService {
            host: self.host.clone(),
            spelling: self.spelling.clone(),
            aliases: self.aliases.clone(),
            sources: self.sources.clone(),
            ports: self.ports.clone(),
            endpoints,
            instance_ports: self.instance_ports.clone(),
            labels: self.labels.clone(),
            protected: self.protected,
            protect_threshold: self.protect_threshold,
            dns: self.dns,
            nearness: self.nearness,
            notes: self.notes.clone(),
        }
    }

    /// A service with these ports and endpoints of which nothing else is known.
    pub fn new(host: Hostname, ports: Vec<ServicePort>, endpoints: Vec<PublishedEndpoint>) -> Self {
        PublishedService {
            host,
            spelling: None,
            aliases: Vec::new(),
            sources: Vec::new(),
            ports,
            endpoints,
            instance_ports: Vec::new(),
            labels: Labels::new(),
            protected: false,
            protect_threshold: None,
            dns: false,
            nearness: Nearness::Off,
            notes: Vec::new(),
        }
    }
}
