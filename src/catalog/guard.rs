//! Holds back large drops of one registry: a registry that restarts empty must not empty the mesh.
//!
//! What counts is the number of registered endpoints, against the most there were within the last minute. So endpoints
//! that appear offset endpoints that vanish: a rolling deploy of everything, in which each instance gets a new address,
//! is no drop, however fast, as long as the new ones come at about the rate at which the old ones go. A disabled or
//! unhealthy endpoint is registered. A service that is absent from one list counts as missing at once (it is served on
//! all the same until the second), so that a hold begins before the first endpoint of a vanished registry is lost.
//!
//! A hold begins when more than `max_drop` of the endpoints are missing and
//! - at least [`SMALL`] are missing, or
//! - a list no longer has any service at all (a removal that the registry spells out is no such list), or
//! - the registry came back from an outage within the last minute: then a small registry that has lost its memory, and
//!   hears of its instances again one by one, is held, too.
//!
//! While it lasts, the missing endpoints (what vanished last within its minute, or since) are served on; what appears or
//! changes goes through. It ends when the share that is missing is no longer too large, when `hold` is over, or by hand;
//! the rest is followed then. Fifty instances of a service that come back one by one are thus served until 35 of them are
//! back (of five: until four), and whoever is not back by then is taken to be gone. But a service of which nothing is back
//! by then is served on until it has any instance again, or `hold` is over: whoever registers last is not cut off.
//!
//! `empty: hold` holds the last endpoints of each single service in the same way.

use super::{Empty, Policy, heard::Change, now::Now};
use crate::model::{Address, Endpoint, Fraction, Port, Service, ServiceId};
use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// Drops are counted over so long a time.
const WINDOW: Duration = Duration::from_secs(60);

/// Fewer missing endpoints are no large drop, except after an outage and when nothing is left.
const SMALL: usize = 20;

/// Counts a registry's endpoints, and holds.
#[derive(Debug)]
pub(super) struct Guard {
    max_drop: Fraction,
    hold: Duration,
    empty: Empty,
    /// Endpoints registered now.
    total: usize,
    /// How many there were until then, falling; only of the last minute.
    before: VecDeque<(Instant, usize)>,
    vanished: BTreeMap<ServiceId, Vanished>,
    held: Option<Held>,
    /// After an outage: until when small drops count, too.
    wary_until: Option<Instant>,
}

/// A hold over the whole registry.
#[derive(Debug, Clone, Copy)]
struct Held {
    since: Now,
    until: Instant,
    /// How many endpoints there were before.
    base: usize,
}

/// What one service has lost.
#[derive(Debug, Default)]
struct Vanished {
    endpoints: Vec<(Instant, Endpoint)>,
    /// It has others.
    has_any: bool,
    /// It lost its last endpoints, and those are held by themselves.
    emptied: Option<Now>,
}

/// Why a hold began or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldEvent {
    /// A large drop; this many endpoints are missing, of so many.
    Began {
        /// Endpoints missing.
        missing: usize,
        /// Endpoints before.
        of: usize,
    },
    /// What was missing is back, but for a small rest.
    Recovered,
    /// The time is over: the drop is followed.
    Expired,
    /// Somebody released it.
    Released,
}

impl Guard {
    pub(super) fn new(policy: &Policy) -> Self {
        Guard {
            max_drop: policy.max_drop,
            hold: policy.hold,
            empty: policy.empty,
            total: 0,
            before: VecDeque::new(),
            vanished: BTreeMap::new(),
            held: None,
            wary_until: None,
        }
    }

    /// The registry comes back from an outage.
    pub(super) fn be_wary(&mut self, now: Instant) {
        self.wary_until = Some(now + WINDOW);
    }

    /// Counts what a change takes away and brings.
    pub(super) fn observe(&mut self, change: &Change, now: Now) {
        let (before, after) = (endpoints(&change.before), endpoints(&change.after));
        let there: HashSet<Key> = after.iter().map(key).collect();
        let were: HashSet<Key> = before.iter().map(key).collect();
        if there.len() < were.len() {
            while self.before.back().is_some_and(|(_, total)| *total <= self.total) {
                self.before.pop_back();
            }
            self.before.push_back((now.instant, self.total));
        }
        self.total = self.total + there.len() - were.len();
        let lost: Vec<&Endpoint> = before.iter().filter(|e| !there.contains(&key(e))).collect();
        if lost.is_empty() && !self.vanished.contains_key(&change.id) {
            return;
        }
        let vanished = self.vanished.entry(change.id.clone()).or_default();
        vanished.endpoints.retain(|(_, endpoint)| !there.contains(&key(endpoint)));
        vanished.has_any = !there.is_empty();
        if !there.is_empty() {
            vanished.emptied = None;
        } else if !lost.is_empty() && self.empty == Empty::Hold {
            vanished.emptied = Some(now);
            if self.held.is_none() {
                vanished.endpoints.clear();
            }
        }
        vanished.endpoints.extend(lost.into_iter().map(|endpoint| (now.instant, endpoint.clone())));
    }

    /// Begins or ends holds. `nothing_listed`: the registry has just told, by a list, that it has no services any more.
    /// In the answer stand the services that this concerns, and what happened.
    pub(super) fn judge(&mut self, nothing_listed: bool, now: Now) -> (Vec<ServiceId>, Option<HoldEvent>) {
        let mut concerned = self.end_emptied(now.instant);
        let base = self.held.map_or_else(|| self.base(now.instant), |held| held.base);
        let missing = base.saturating_sub(self.total);
        let large = !self.max_drop.covers(missing, base);
        let event = match self.held {
            Some(_) if !large => Some(HoldEvent::Recovered),
            Some(held) if held.until <= now.instant => Some(HoldEvent::Expired),
            None if large && !self.hold.is_zero() => {
                let wary = self.wary_until.is_some_and(|until| until >= now.instant);
                (missing >= SMALL || nothing_listed || wary).then_some(HoldEvent::Began { missing, of: base })
            }
            _ => None,
        };
        match event {
            Some(HoldEvent::Began { missing, .. }) => {
                self.held = Some(Held { since: now, until: now.instant + self.hold, base });
                self.forget_replaced(missing);
                concerned.extend(self.vanished.keys().cloned());
            }
            Some(event) => {
                if event == HoldEvent::Recovered {
                    self.hold_emptied();
                }
                concerned.extend(self.follow());
            }
            None if self.held.is_none() => self.forget_old(now.instant),
            None => {}
        }
        (concerned, event)
    }

    /// Follows everything that is held back, now. The services that this concerns.
    pub(super) fn release(&mut self) -> Vec<ServiceId> {
        self.vanished.values_mut().for_each(|vanished| vanished.emptied = None);
        self.follow()
    }

    /// The vanished endpoints of a service that are served on.
    pub(super) fn held(&self, id: &ServiceId) -> Vec<Endpoint> {
        match self.vanished.get(id) {
            Some(vanished) if self.held.is_some() || vanished.emptied.is_some() => {
                vanished.endpoints.iter().map(|(_, endpoint)| endpoint.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// When the next hold ends.
    pub(super) fn due(&self) -> Option<Instant> {
        let own = self.vanished.values().filter_map(|vanished| vanished.emptied).map(|since| since.instant + self.hold);
        own.chain(self.held.map(|held| held.until)).min()
    }

    /// The endpoints registered now.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// What is held back: since when, until when, how many endpoints.
    pub(super) fn status(&self) -> Option<(Now, Instant, usize)> {
        let held = |vanished: &&Vanished| self.held.is_some() || vanished.emptied.is_some();
        let endpoints = self.vanished.values().filter(held).map(|vanished| vanished.endpoints.len()).sum();
        let own = self.vanished.values().filter_map(|vanished| vanished.emptied);
        let all =
            own.map(|since| (since, since.instant + self.hold)).chain(self.held.map(|held| (held.since, held.until)));
        let (since, until) = all.reduce(|a, b| (if a.0.instant < b.0.instant { a.0 } else { b.0 }, a.1.max(b.1)))?;
        Some((since, until, endpoints))
    }

    /// The most endpoints that there were within the window.
    fn base(&mut self, now: Instant) -> usize {
        while self.before.front().is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.before.pop_front();
        }
        self.before.front().map_or(self.total, |(_, total)| self.total.max(*total))
    }

    fn follow(&mut self) -> Vec<ServiceId> {
        self.held = None;
        self.wary_until = None;
        self.before.clear();
        let (kept, followed) = std::mem::take(&mut self.vanished).into_iter().partition(|(_, v)| v.emptied.is_some());
        self.vanished = kept;
        let followed: BTreeMap<ServiceId, Vanished> = followed;
        followed.into_keys().collect()
    }

    /// The hold over the registry ends early: it goes on for each service that has nothing else.
    fn hold_emptied(&mut self) {
        let since = self.held.map(|held| held.since);
        let bare = |vanished: &&mut Vanished| !vanished.has_any && !vanished.endpoints.is_empty();
        self.vanished.values_mut().filter(bare).for_each(|vanished| vanished.emptied = vanished.emptied.or(since));
    }

    fn end_emptied(&mut self, now: Instant) -> Vec<ServiceId> {
        let over = |vanished: &Vanished| vanished.emptied.is_some_and(|since| since.instant + self.hold <= now);
        let ids: Vec<ServiceId> = self.vanished.iter().filter(|(_, v)| over(v)).map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.vanished.remove(id);
        }
        ids
    }

    /// Of what vanished within the window, others have taken the place of the oldest: only as many as are missing come
    /// back, and with each all that vanished in the same moment.
    fn forget_replaced(&mut self, missing: usize) {
        let mut moments: Vec<Instant> =
            self.vanished.values().flat_map(|v| v.endpoints.iter().map(|(at, _)| *at)).collect();
        moments.sort();
        let Some(oldest) = moments.len().checked_sub(missing).and_then(|replaced| moments.get(replaced).copied())
        else {
            return;
        };
        self.vanished.retain(|_, vanished| {
            vanished.endpoints.retain(|(at, _)| *at >= oldest || vanished.emptied.is_some());
            !vanished.endpoints.is_empty()
        });
    }

    fn forget_old(&mut self, now: Instant) {
        self.vanished.retain(|_, vanished| {
            vanished.endpoints.retain(|(at, _)| vanished.emptied.is_some() || *at + WINDOW > now);
            !vanished.endpoints.is_empty()
        });
    }
}

/// The same place is the same endpoint, whatever else is new about it.
type Key<'a> = (&'a Address, Option<Port>);

fn key(endpoint: &Endpoint) -> Key<'_> {
    (&endpoint.address, endpoint.ports.first().map(|port| port.number))
}

fn endpoints(service: &Option<std::sync::Arc<Service>>) -> &[Endpoint] {
    service.as_ref().map_or(&[], |service| &service.endpoints)
}
