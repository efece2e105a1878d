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
mod laid;

pub use laid::{Deed, Override, Services, Target};

use super::now::Now;
use crate::model::{Hostname, Text, Weight};
use laid::is_at;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Nothing lies over what is published for longer.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// At most so many at once: each is looked at whenever something is published.
const MOST: usize = 100;

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
    /// The instance, service, or all services that it is for.
    pub of: Target,
    /// What becomes of them.
    pub wish: Wish,
    /// How long, from the moment that the catalog takes it over.
    pub time: Duration,
    /// Who asks, as the audit log names them.
    pub by: Text,
    /// Why, in his own words; may be empty.
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
    /// In the order in which they were laid, with the moment when each goes.
    all: Vec<(Override, Instant)>,
    last_id: u64,
    /// They are not as in the last snapshot.
    pub(super) changed: bool,
}

impl Overrides {
    /// Follows an order. `shown` is what is published.
    pub(super) fn lay(&mut self, order: Order, shown: &Services, now: Now) -> Result<Override, Refused> {
        // What is disabled already is not shown.
        let known = self.all.iter().any(|(known, _)| known.of == order.of);
        let deed = deed(&order.of, order.wish, shown, known)?;
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

    /// Goes on with those of before a restart whose time is not over.
    pub(super) fn recall(&mut self, all: &[Override], now: Now) {
        for over in all {
            let Ok(left) = over.until.duration_since(now.wall) else { continue };
            // A clock that was set back makes nothing last for longer than it may.
            let left = left.min(LONGEST);
            if !left.is_zero() && self.all.len() < MOST {
                self.all.push((over.clone(), now.instant + left));
            }
            self.last_id = self.last_id.max(over.id);
            self.changed = true;
        }
    }

    /// Whether everything is frozen, so that nobody need wait to know what is served.
    pub(super) fn freeze(&self) -> bool {
        self.all.iter().any(|(over, _)| matches!(over.deed, Deed::PinAll(_)))
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

/// What is done for a wish. `known`: something of the same lies there already.
fn deed(of: &Target, wish: Wish, shown: &Services, known: bool) -> Result<Deed, Refused> {
    let published = |host: &Hostname| shown.get(host).ok_or_else(|| Refused::NoService(host.clone()));
    if let Target::Instance(host, place) = of {
        let service = published(host)?;
        if !known && !service.endpoints.iter().any(|endpoint| is_at(endpoint, place)) {
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

impl Wish {
    /// The word for it in the API.
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
