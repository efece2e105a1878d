//! Overrides: what operators change in what is published, by hand and for a time. A pin freezes everything or one
//! service; others are edits of a service or an instance.
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

/// No override lasts longer than this.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// At most so many at once: each is looked at whenever something is published.
const MOST: usize = 100;

/// What an [`Order`] asks for; the catalog makes a [`Deed`] of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// To freeze what is published now, or these former services if they are given.
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

/// A request for an override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The instance, service, or all services that it is for.
    pub of: Target,
    /// What is to be done with them.
    pub wish: Wish,
    /// How long, from the moment that the catalog takes it over.
    pub time: Duration,
    /// Who asks, as the audit log names them.
    pub by: Text,
    /// The reason that was given; may be empty.
    pub why: Text,
}

/// Why an order is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing is published under this host.
    #[error("no service {0} is published; /api/v1/services lists them")]
    NoService(Hostname),
    /// The service of this host has no instance at this address.
    #[error("{0} has no instance {1}; name one by its address, or by its address and port")]
    NoInstance(Hostname, Text),
    /// This wish is for a service or an instance, not for everything.
    #[error("{0} is of one service, or of one instance; name it")]
    TooWide(&'static str),
    /// An instance alone cannot be frozen.
    #[error("a pin is of everything or of one service; an instance is kept, drained, disabled or weighted")]
    TooNarrow,
    /// As many overrides as there may be are in force.
    #[error("there are {MOST} overrides already; lift some")]
    TooMany,
}

/// All overrides that are in force.
#[derive(Debug, Clone, Default)]
pub(super) struct Overrides {
    /// In the order in which they were laid, with the moment when each goes.
    all: Vec<(Override, Instant)>,
    last_id: u64,
    /// Overrides were made or have ended since the last snapshot.
    pub(super) changed: bool,
}

impl Overrides {
    /// Makes an override; it replaces one of the same kind for the same target. `shown`: what is published now.
    pub(super) fn lay(&mut self, order: Order, shown: &Services, now: Now) -> Result<Override, Refused> {
        // What is disabled already is not shown.
        let known = self.all.iter().any(|(known, _)| known.of == order.of);
        let deed = deed(&order.of, order.wish, shown, known)?;
        // The same deed once more replaces the former, with another end.
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

    /// Restores the overrides from before a restart whose time is not over.
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

    /// Removes the overrides for which `is_meant` is true, and returns them.
    pub(super) fn lift(&mut self, is_meant: impl Fn(&Override) -> bool) -> Vec<Override> {
        let (lifted, stay) = std::mem::take(&mut self.all).into_iter().partition(|(known, _)| is_meant(known));
        self.all = stay;
        self.changed |= !lifted.is_empty();
        lifted.into_iter().map(|(known, _)| known).collect()
    }

    /// Removes the overrides whose time is over, and returns them.
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

    /// These services with the effect of all overrides.
    pub(super) fn over(&self, services: &Services) -> Services {
        apply::over(services, &self.all.iter().map(|(known, _)| known).collect::<Vec<_>>())
    }
}

/// The deed for a wish. `known`: the target has an override already, which may hide its instance.
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
