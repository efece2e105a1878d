//! What people have laid over what is published, by hand and for a time: a pin, which freezes everything or one service, and
//! edits of a service or an instance.
//!
//! It is the last step before a catalog is made. What lies below goes on as if nothing lay over it: registries are followed,
//! holds begin and end, and when the last override is over, what is published is what it would have been without any. So
//! nothing of the catalog's policy has to know of overrides, and none of them can be lost by a change below.
//!
//! Invariant: no name is given to two services. Where a service that is pinned or kept has a name that another one has by
//! now, a host goes before a further name, and of further names the one of the host that comes first stays.

mod apply;

use super::now::Now;
use crate::model::{Hostname, PublishedEndpoint, PublishedService, Text, Weight};
use imbl::OrdMap;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// What is published, by host.
pub type Services = OrdMap<Hostname, Arc<PublishedService>>;

/// At most so many at once: each is looked at whenever something is published.
const MOST: usize = 1_000;

/// What an override is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// All services.
    Everything,
    /// The service of a host.
    Service(Hostname),
    /// One of its instances: an address, or an address with a port.
    Instance(Hostname, Text),
}

/// What an override does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// It stays as it is: everything.
    PinAll(Services),
    /// It stays as it is, or stays away: one service.
    Pin(Option<Arc<PublishedService>>),
    /// It gets no new requests, and may end those that it has.
    Drain,
    /// It is not served.
    Disable,
    /// It has this weight, whatever the registry says.
    Weight(Weight),
    /// What it had then is served, even if its registry no longer has it.
    Keep(Arc<PublishedService>),
}

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// To freeze what is published; to what it was then, if that is given.
    Pin(Option<Services>),
    /// See [`Deed::Drain`].
    Drain,
    /// See [`Deed::Disable`].
    Disable,
    /// See [`Deed::Weight`].
    Weight(Weight),
    /// See [`Deed::Keep`].
    Keep,
}

/// A wish with all that must be known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What for.
    pub of: Target,
    /// What.
    pub wish: Wish,
    /// For how long.
    pub time: Duration,
    /// Who.
    pub by: Text,
    /// Why, in his own words; may be empty.
    pub why: Text,
}

/// Something that lies over what is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Each has another one, as long as the process lives.
    pub id: u64,
    /// What for.
    pub of: Target,
    /// What.
    pub deed: Deed,
    /// Since when.
    pub since: SystemTime,
    /// Until when.
    pub until: SystemTime,
    /// Who.
    pub by: Text,
    /// Why.
    pub why: Text,
}

/// Why an order is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such service.
    #[error("no service {0} is published; /api/v1/services lists them")]
    NoService(Hostname),
    /// It has no such instance.
    #[error("{0} has no instance {1}; name one by its address, or by its address and port")]
    NoInstance(Hostname, Text),
    /// There is no such thing.
    #[error("{0} is of one service, or of one instance; name it")]
    TooWide(&'static str),
    /// An instance alone cannot be frozen.
    #[error("a pin is of everything or of one service; an instance is kept, drained, disabled or weighted")]
    TooNarrow,
    /// There are too many.
    #[error("there are {MOST} overrides already; lift some")]
    TooMany,
}

/// All that lies over what is published.
#[derive(Debug, Clone, Default)]
pub(super) struct Overrides {
    /// By id.
    all: Vec<(Override, Instant)>,
    last_id: u64,
    /// They are not as in the last snapshot.
    pub(super) changed: bool,
}

impl Overrides {
    /// Follows an order. `shown` is what is published.
    pub(super) fn lay(&mut self, order: Order, shown: &Services, now: Now) -> Result<Override, Refused> {
        let deed = deed(&order.of, order.wish, shown)?;
        // The same again is the same for longer, or shorter.
        let replaces = |known: &Override| known.of == order.of && known.deed.name() == deed.name();
        self.all.retain(|(known, _)| !replaces(known));
        if self.all.len() >= MOST {
            return Err(Refused::TooMany);
        }
        self.last_id += 1;
        let (since, until) = (now.wall, now.wall + order.time);
        let Order { of, by, why, .. } = order;
        let made = Override { id: self.last_id, of, deed, since, until, by, why };
        self.all.push((made.clone(), now.instant + order.time));
        self.changed = true;
        Ok(made)
    }

    /// Takes away those for which it holds.
    pub(super) fn lift(&mut self, is_meant: impl Fn(&Override) -> bool) -> Vec<Override> {
        let (lifted, stay) = std::mem::take(&mut self.all).into_iter().partition(|(known, _)| is_meant(known));
        self.all = stay;
        self.changed |= !lifted.is_empty();
        lifted.into_iter().map(|(known, _)| known).collect()
    }

    /// Takes away those whose time is over.
    pub(super) fn end(&mut self, now: Instant) -> Vec<Override> {
        let due: Vec<u64> = self.all.iter().filter(|(_, until)| *until <= now).map(|(known, _)| known.id).collect();
        self.lift(|known| due.contains(&known.id))
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.all.iter().map(|(_, until)| *until).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn list(&self) -> Arc<[Override]> {
        self.all.iter().map(|(known, _)| known.clone()).collect()
    }

    /// What is published of what there is.
    pub(super) fn over(&self, services: &Services) -> Services {
        apply::over(services, &self.all.iter().map(|(known, _)| known).collect::<Vec<_>>())
    }
}

/// What is done for a wish.
fn deed(of: &Target, wish: Wish, shown: &Services) -> Result<Deed, Refused> {
    let published = |host: &Hostname| shown.get(host).ok_or_else(|| Refused::NoService(host.clone()));
    if let Target::Instance(host, place) = of {
        let service = published(host)?;
        if !service.endpoints.iter().any(|endpoint| is_at(endpoint, place)) {
            return Err(Refused::NoInstance(host.clone(), place.clone()));
        }
    }
    Ok(match (wish, of) {
        (Wish::Pin(then), Target::Everything) => Deed::PinAll(then.unwrap_or_else(|| shown.clone())),
        (Wish::Pin(None), Target::Service(host)) => Deed::Pin(Some(published(host)?.clone())),
        (Wish::Pin(Some(then)), Target::Service(host)) => match (then.get(host), shown.get(host)) {
            (None, None) => return Err(Refused::NoService(host.clone())),
            (then, _) => Deed::Pin(then.cloned()),
        },
        (Wish::Pin(_), Target::Instance(..)) => return Err(Refused::TooNarrow),
        (wish, Target::Everything) => return Err(Refused::TooWide(wish.name())),
        (wish, Target::Service(host) | Target::Instance(host, _)) => {
            let service = published(host)?;
            match wish {
                Wish::Drain => Deed::Drain,
                Wish::Disable => Deed::Disable,
                Wish::Weight(weight) => Deed::Weight(weight),
                Wish::Keep | Wish::Pin(_) => Deed::Keep(service.clone()),
            }
        }
    })
}

/// Whether an endpoint is there: `10.0.0.1`, or `10.0.0.1:8080` with any of its ports.
fn is_at(endpoint: &PublishedEndpoint, place: &str) -> bool {
    let address = &endpoint.address;
    place == address.to_string() || endpoint.ports.iter().any(|(_, port)| place == address.place(Some(*port)))
}

impl Wish {
    /// Its word.
    pub const fn name(&self) -> &'static str {
        match self {
            Wish::Pin(_) => "pin",
            Wish::Drain => "drain",
            Wish::Disable => "disable",
            Wish::Weight(_) => "weight",
            Wish::Keep => "keep",
        }
    }
}

impl Deed {
    /// The words for people, metrics and formats.
    pub const WORDS: [&'static str; 5] = ["pin", "drain", "disable", "weight", "keep"];

    /// Its word.
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
