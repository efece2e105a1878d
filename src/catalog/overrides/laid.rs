//! What an override is: for what, what it does, who asked for it, and until when.

use crate::model::{Hostname, PublishedEndpoint, PublishedService, Text, Weight};
use imbl::OrdMap;
use std::{fmt, sync::Arc, time::SystemTime};

/// All published services, by host.
pub type Services = OrdMap<Hostname, Arc<PublishedService>>;

/// What an override applies to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// All services of all registries: what is published is frozen.
    Everything,
    /// The service that is published under this host.
    Service(Hostname),
    /// One instance of the host's service: its address, or its address with a port.
    Instance(Hostname, Text),
}

/// What an override does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Everything stays published as it is here.
    PinAll(Services),
    /// One service stays published as it is here; with `None` it is not published.
    Pin(Option<Arc<PublishedService>>),
    /// Its instances get no new requests, and may end those that they have.
    Drain,
    /// Its instances are left out.
    Disable,
    /// Its instances have this weight, whatever the registry says; with 0 they are left out.
    Weight(Weight),
    /// Endpoints that the service had in this form are served on, even if its registry no longer has them.
    Keep(Arc<PublishedService>),
}

/// A change that an operator makes to what is published, for a limited time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Unique as long as the process lives; later overrides have greater ones.
    pub id: u64,
    /// The instance, service, or all services that it applies to.
    pub of: Target,
    /// What it does to them.
    pub deed: Deed,
    /// When it was asked for, by the clock of this process.
    pub since: SystemTime,
    /// When it goes by itself. Every override has an end.
    pub until: SystemTime,
    /// Who asked for it, as the audit log names them.
    pub by: Text,
    /// The reason that was given; empty if none was.
    pub why: Text,
}

/// Whether an endpoint is at a place: `10.0.0.1`, or `10.0.0.1:8080` with any of its ports.
pub(super) fn is_at(endpoint: &PublishedEndpoint, place: &str) -> bool {
    let address = &endpoint.address;
    place == address.to_string() || endpoint.ports.iter().any(|(_, port)| place == address.place(Some(*port)))
}

impl Deed {
    /// All words that [`Deed::name`] gives; metrics count overrides by them.
    pub const WORDS: [&'static str; 5] = ["pin", "drain", "disable", "weight", "keep"];

    /// The word for it in the API and in the state on disk.
    pub const fn name(&self) -> &'static str {
        match self {
            Deed::PinAll(_) | Deed::Pin(_) => "pin",
            Deed::Drain => "drain",
            Deed::Disable => "disable",
            Deed::Weight(_) => "weight",
            Deed::Keep(_) => "keep",
        }
    }
}

impl Target {
    /// The host, unless it is everything.
    pub fn host(&self) -> Option<&Hostname> {
        match self {
            Target::Everything => None,
            Target::Service(host) | Target::Instance(host, _) => Some(host),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Everything => f.write_str("everything"),
            Target::Service(host) => f.write_str(host.as_str()),
            Target::Instance(host, place) => write!(f, "{host} at {place}"),
        }
    }
}
