//! Holds back large drops of one registry: a registry that restarts empty must not empty the mesh.
//!
//! What counts is the number of endpoints that take traffic (enabled, with weight, not unhealthy), against the most there
//! were within the last minute. So endpoints that appear offset endpoints that vanish: a rolling deploy of everything, in
//! which each instance gets a new address, is no drop, however fast, as long as the new ones come at about the rate at
//! which the old ones go. A service that is absent from one list counts as missing at once (it is served on all the same
//! until the second), so that a hold begins before the first endpoint of a vanished registry is lost.
//!
//! A hold begins when more than `max_drop` of the endpoints are missing and
//! - at least [`SMALL`] are missing, or
//! - a list no longer has any service at all (a removal that the registry reports by itself is no such list), or
//! - the registry came back from an outage within the last minute: then a small registry that has lost its memory, and
//!   learns of its instances again one by one, is held, too.
//!
//! While it lasts, the endpoints that are lost from its first moment on are served on, as they were when they last took
//! traffic; what appears or changes goes through. What was lost before, and followed, is not brought back: it had left by
//! the registry's own report, when nothing was wrong with it. The hold ends when the share that is missing is no longer
//! too large, when nothing is left that it holds, when `hold` is over, or by hand; the rest is followed then. Fifty instances
//! of a service that come back one by one are thus served until 35 of them are back (of five: until four), and whoever is
//! not back by then is taken to be gone. But a service of which nothing is back by then is served on until it has any
//! instance again, or `hold` is over: whoever registers last is not cut off.
//!
//! `empty: hold` holds the last endpoints of each single service in the same way.

use super::{
    Empty, Policy,
    endpoints::takes_traffic,
    ledger::Change,
    memory::{HoldMemory, LostMemory},
    now::Now,
};
use crate::model::{Address, Endpoint, Fraction, Port, Service, ServiceId};
use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// Drops are counted over so long a time.
const WINDOW: Duration = Duration::from_secs(60);

/// Fewer missing endpoints are no large drop, except after an outage and when nothing is left.
pub(super) const SMALL: usize = 20;

/// Counts a registry's endpoints, and holds.
#[derive(Debug, Clone)]
pub(super) struct RemovalGuard {
    max_drop: Fraction,
    hold: Duration,
    empty: Empty,
    /// Endpoints that the registry has now, whether they take traffic or not.
    registered: usize,
    /// Those of them that take traffic.
    serving: usize,
    /// How many took traffic until then, falling; only of the last minute.
    before: VecDeque<(Instant, usize)>,
    /// What is lost and not followed yet, by service: in a hold, or absent from one list only.
    lost: BTreeMap<ServiceId, Lost>,
    hold_now: Option<Hold>,
    /// After an outage: until when small drops count, too.
    small_counts_until: Option<Instant>,
}

/// A hold over the whole registry.
#[derive(Debug, Clone, Copy)]
struct Hold {
    since: Now,
    /// How many endpoints took traffic before.
    base: usize,
}

/// What one service has lost.
#[derive(Debug, Clone, Default)]
struct Lost {
    /// As they last took traffic.
    endpoints: Vec<Endpoint>,
    /// It has others that take traffic.
    has_any: bool,
    /// It is absent from the last list, and not gone yet: it is served on without any hold.
    absent: bool,
    /// It lost its last endpoints then, and those are held by themselves.
    emptied: Option<Now>,
}

/// Why a hold began or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldEvent {
    /// A large drop; this many endpoints are missing, of so many.
    Began {
        /// How many endpoints are missing.
        missing: usize,
        /// How many there were at most within the window.
        of: usize,
    },
    /// A new configuration would take this many endpoints away, of so many.
    Withheld {
        /// Endpoints that would no longer be published.
        missing: usize,
        /// How many were published before.
        of: usize,
    },
    /// What was missing is back, but for a small rest.
    Recovered,
    /// The time is over: the drop is followed.
    Expired,
    /// It was released by hand, or by a reload with `force`.
    Released,
}

impl RemovalGuard {
    pub(super) fn new(policy: &Policy) -> Self {
        RemovalGuard {
            max_drop: policy.max_drop,
            hold: policy.hold,
            empty: policy.empty,
            registered: 0,
            serving: 0,
            before: VecDeque::new(),
            lost: BTreeMap::new(),
            hold_now: None,
            small_counts_until: None,
        }
    }

    /// Goes on with another policy; a hold that began ends by the new one.
    pub(super) fn set_policy(&mut self, policy: &Policy) {
        (self.max_drop, self.hold, self.empty) = (policy.max_drop, policy.hold, policy.empty);
    }

    /// What is held and counted, to be kept over a restart.
    pub(super) fn remember(&self, now: Now) -> HoldMemory {
        let lost = |(id, lost): (&ServiceId, &Lost)| LostMemory {
            service: id.clone(),
            endpoints: lost.endpoints.clone(),
            has_any: lost.has_any,
            absent: lost.absent,
            emptied: lost.emptied.map(|since| since.wall),
        };
        HoldMemory {
            since: self.hold_now.map(|hold| (hold.since.wall, hold.base)),
            returned: self.small_counts_until.map(|until| now.wall_at(until) - WINDOW),
            before: self.before.iter().map(|(at, serving)| (now.wall_at(*at), *serving)).collect(),
            lost: self.lost.iter().map(lost).collect(),
        }
    }

    /// Goes on with what was kept over a restart, once the services that there were have been observed.
    pub(super) fn recall(&mut self, memory: &HoldMemory, now: Now) {
        self.hold_now = memory.since.map(|(since, base)| Hold { since: now.ago(since), base });
        self.small_counts_until = memory.returned.map(|at| now.ago(at).instant + WINDOW);
        self.before = memory.before.iter().map(|(at, serving)| (now.ago(*at).instant, *serving)).collect();
        for LostMemory { service, endpoints, has_any, absent, emptied } in &memory.lost {
            let emptied = emptied.map(|since| now.ago(since));
            let lost = Lost { endpoints: endpoints.clone(), has_any: *has_any, absent: *absent, emptied };
            self.lost.insert(service.clone(), lost);
        }
    }

    /// The registry comes back from an outage.
    pub(super) fn after_outage(&mut self, now: Instant) {
        self.small_counts_until = Some(now + WINDOW);
    }

    /// Counts what a change takes away and brings.
    pub(super) fn observe(&mut self, change: &Change, now: Now) {
        let (before, after) = (endpoints(&change.before), endpoints(&change.after));
        self.registered = self.registered + after.len() - before.len();
        let (before, after) = (serving(&change.before), serving(&change.after));
        let absent = change.after.is_none() && !change.gone;
        if !self.lost.contains_key(&change.id) && before.iter().map(key).eq(after.iter().map(key)) {
            return;
        }
        let there: HashSet<Key> = after.iter().map(key).collect();
        let were: HashSet<Key> = before.iter().map(key).collect();
        if there.len() < were.len() {
            while self.before.back().is_some_and(|(_, serving)| *serving <= self.serving) {
                self.before.pop_back();
            }
            self.before.push_back((now.instant, self.serving));
        }
        self.serving = self.serving + there.len() - were.len();
        let newly: Vec<Endpoint> = before.iter().filter(|e| !there.contains(&key(e))).map(|e| (**e).clone()).collect();
        let lost = self.lost.entry(change.id.clone()).or_default();
        lost.endpoints.retain(|endpoint| !there.contains(&key(&endpoint)));
        (lost.has_any, lost.absent) = (!there.is_empty(), absent);
        if lost.has_any {
            // Any instance ends that hold, and the others are followed, unless a hold over the registry has them, too.
            let before = |since: Now| self.hold_now.is_none_or(|hold| since.instant < hold.since.instant);
            if lost.emptied.take().is_some_and(before) {
                lost.endpoints.clear();
            }
        } else if !newly.is_empty() && self.empty == Empty::Hold && endpoints(&change.after).is_empty() {
            lost.emptied = Some(now);
        }
        lost.endpoints.extend(newly);
        if lost.endpoints.is_empty() {
            self.lost.remove(&change.id);
        }
    }

    /// Begins or ends holds. `nothing_listed`: the registry has just reported, by a list, that it has no services any more.
    /// In the answer stand the services that this concerns, and what happened.
    pub(super) fn judge(&mut self, nothing_listed: bool, now: Now) -> (Vec<ServiceId>, Option<HoldEvent>) {
        let mut concerned = self.end_emptied(now.instant);
        let event = self.event(nothing_listed, now.instant);
        match event {
            Some(HoldEvent::Began { of, .. }) => {
                self.hold_now = Some(Hold { since: now, base: of });
                concerned.extend(self.lost.keys().cloned());
            }
            Some(event) => {
                if event == HoldEvent::Recovered {
                    self.hold_emptied();
                }
                concerned.extend(self.follow());
            }
            None if self.hold_now.is_none() => self.lost.retain(|_, lost| lost.absent || lost.emptied.is_some()),
            None => {}
        }
        (concerned, event)
    }

    fn event(&mut self, nothing_listed: bool, now: Instant) -> Option<HoldEvent> {
        let of = self.hold_now.map_or_else(|| self.base(now), |hold| hold.base);
        let missing = of.saturating_sub(self.serving);
        let large = !self.max_drop.covers(missing, of);
        match self.hold_now {
            Some(_) if !large || self.lost.is_empty() => Some(HoldEvent::Recovered),
            Some(hold) => (hold.since.instant + self.hold <= now).then_some(HoldEvent::Expired),
            None if large && !self.hold.is_zero() && !self.lost.is_empty() => {
                let outage = self.small_counts_until.is_some_and(|until| until >= now);
                (missing >= SMALL || nothing_listed || outage).then_some(HoldEvent::Began { missing, of })
            }
            None => None,
        }
    }

    /// Follows everything that is held back, now. The services that this concerns.
    pub(super) fn release(&mut self) -> Vec<ServiceId> {
        self.lost.values_mut().for_each(|lost| lost.emptied = None);
        self.follow()
    }

    /// Follows what is held back of one service, now. Whether anything was.
    pub(super) fn release_one(&mut self, id: &ServiceId) -> bool {
        !self.held(id).is_empty() && self.lost.remove(id).is_some()
    }

    /// The lost endpoints of a service that are served on.
    pub(super) fn held(&self, id: &ServiceId) -> &[Endpoint] {
        match self.lost.get(id) {
            Some(lost) if self.hold_now.is_some() || lost.emptied.is_some() => &lost.endpoints,
            _ => &[],
        }
    }

    /// When the next hold ends.
    pub(super) fn due(&self) -> Option<Instant> {
        self.holds().map(|since| since.instant + self.hold).min()
    }

    /// The endpoints that the registry has now.
    pub(super) fn registered(&self) -> usize {
        self.registered
    }

    /// What is held back: since when, until when, how many endpoints.
    pub(super) fn status(&self) -> Option<(Now, Instant, usize)> {
        let first = self.holds().min_by_key(|since| since.instant)?;
        let last = self.holds().max_by_key(|since| since.instant)?;
        let held = |lost: &&Lost| self.hold_now.is_some() || lost.emptied.is_some();
        let endpoints = self.lost.values().filter(held).map(|lost| lost.endpoints.len()).sum();
        Some((first, last.instant + self.hold, endpoints))
    }

    /// When each hold began.
    fn holds(&self) -> impl Iterator<Item = Now> {
        let own = self.lost.values().filter_map(|lost| lost.emptied);
        own.chain(self.hold_now.map(|hold| hold.since))
    }

    /// The most endpoints that took traffic within the window.
    fn base(&mut self, now: Instant) -> usize {
        while self.before.front().is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.before.pop_front();
        }
        self.before.front().map_or(self.serving, |(_, serving)| self.serving.max(*serving))
    }

    fn follow(&mut self) -> Vec<ServiceId> {
        self.hold_now = None;
        self.small_counts_until = None;
        self.before.clear();
        let followed: Vec<ServiceId> =
            self.lost.iter().filter(|(_, lost)| lost.emptied.is_none()).map(|(id, _)| id.clone()).collect();
        self.lost.retain(|_, lost| lost.emptied.is_some());
        followed
    }

    /// The hold over the registry ends early: it goes on for each service that has nothing else.
    fn hold_emptied(&mut self) {
        let since = self.hold_now.map(|hold| hold.since);
        let bare = self.lost.values_mut().filter(|lost| !lost.has_any);
        bare.for_each(|lost| lost.emptied = lost.emptied.or(since));
    }

    fn end_emptied(&mut self, now: Instant) -> Vec<ServiceId> {
        let over = |lost: &Lost| lost.emptied.is_some_and(|since| since.instant + self.hold <= now);
        let ids: Vec<ServiceId> = self.lost.iter().filter(|(_, lost)| over(lost)).map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.lost.remove(id);
        }
        ids
    }
}

/// The same place is the same endpoint, whatever else is new about it.
type Key<'a> = (&'a Address, Option<Port>);

fn key<'a>(endpoint: &&'a Endpoint) -> Key<'a> {
    place(endpoint)
}

/// Where an endpoint is.
pub(super) fn place(endpoint: &Endpoint) -> (&Address, Option<Port>) {
    (&endpoint.address, endpoint.ports.first().map(|port| port.number))
}

fn endpoints(service: &Option<std::sync::Arc<Service>>) -> &[Endpoint] {
    service.as_ref().map_or(&[], |service| &service.endpoints)
}

fn serving(service: &Option<std::sync::Arc<Service>>) -> Vec<&Endpoint> {
    service.as_deref().map(|service| takes_traffic(service).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Text;
    use std::{sync::Arc, time::SystemTime};

    /// A guard, its time, and what its registry has.
    struct World {
        guard: RemovalGuard,
        now: Now,
        services: BTreeMap<&'static str, Arc<Service>>,
    }

    fn world(change: impl FnOnce(&mut Policy)) -> World {
        let now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        World { guard: RemovalGuard::new(&policy(change)), now, services: BTreeMap::new() }
    }

    fn policy(change: impl FnOnce(&mut Policy)) -> Policy {
        let mut policy = Policy::new("r", "test", crate::model::Template::parse("{service}").unwrap());
        change(&mut policy);
        policy
    }

    fn id(name: &str) -> ServiceId {
        ServiceId::new("r", "", "", Text::from(name))
    }

    impl World {
        /// A service has the first `number` of its instances; `None`: it is gone.
        fn set(&mut self, name: &'static str, number: Option<u8>) -> &mut Self {
            let net = name.as_bytes()[0];
            let endpoint = |i| Endpoint::new(Address::Ip([10, 0, net, i].into()), Port::new(80).unwrap());
            let after = number.map(|number| Arc::new(Service::new(id(name), (0..number).map(endpoint).collect())));
            let before = match &after {
                Some(service) => self.services.insert(name, service.clone()),
                None => self.services.remove(name),
            };
            self.guard.observe(&Change { id: id(name), before, gone: after.is_none(), after }, self.now);
            self
        }

        fn judge(&mut self) -> Option<HoldEvent> {
            self.guard.judge(false, self.now).1
        }

        fn after(&mut self, seconds: u64) -> &mut Self {
            self.now = self.now.after(Duration::from_secs(seconds));
            self
        }

        /// How many lost endpoints of a service are served on.
        fn held(&self, name: &str) -> usize {
            self.guard.held(&id(name)).len()
        }
    }

    #[test]
    fn a_drop_counts_from_the_most_of_the_last_minute() {
        let mut world = world(|_| {});
        world.set("a", Some(100)).judge();
        assert_eq!(world.set("a", Some(90)).judge(), None);
        assert_eq!(world.after(59).set("a", Some(75)).judge(), None);
        // Now the hundred are forgotten, the ninety not yet.
        assert_eq!(world.after(1).set("a", Some(64)).judge(), None);
        assert_eq!(world.set("a", Some(62)).judge(), Some(HoldEvent::Began { missing: 28, of: 90 }));
        // What was followed before stays away.
        assert_eq!(world.held("a"), 2);
    }

    #[test]
    fn what_appears_counts_against_what_vanishes() {
        let mut world = world(|_| {});
        world.set("a", Some(100)).judge();
        world.set("a", Some(80)).judge();
        world.set("b", Some(40)).judge();
        assert_eq!(world.set("a", Some(45)).judge(), None, "35 of 120");
        assert_eq!(world.set("a", Some(43)).judge(), Some(HoldEvent::Began { missing: 37, of: 120 }));
    }

    #[test]
    fn a_small_drop_is_held_only_if_nothing_is_left_or_after_an_outage() {
        for (nothing_listed, outage, late, held) in
            [(false, false, 0, false), (true, false, 0, true), (false, true, 60, true), (false, true, 61, false)]
        {
            let mut world = world(|_| {});
            world.set("a", Some(2)).judge();
            if outage {
                world.guard.after_outage(world.now.instant);
            }
            world.after(late).set("a", None);
            let (_, event) = world.guard.judge(nothing_listed, world.now);
            assert_eq!(event.is_some(), held, "{nothing_listed} {outage} {late}");
        }
    }

    #[test]
    fn a_hold_that_began_goes_by_the_newest_policy() {
        let begun = || {
            let mut world = world(|_| {});
            world.set("a", Some(100)).judge();
            world.set("a", Some(50)).judge();
            world
        };
        let mut brief = begun();
        brief.guard.set_policy(&policy(|policy| policy.hold = Duration::from_secs(10)));
        assert_eq!(brief.guard.due(), Some(brief.now.instant + Duration::from_secs(10)));
        assert_eq!(brief.after(9).judge(), None);
        assert_eq!(brief.after(1).judge(), Some(HoldEvent::Expired));
        let mut lenient = begun();
        lenient.guard.set_policy(&policy(|policy| policy.max_drop = Fraction::new(0.5).unwrap()));
        assert_eq!(lenient.judge(), Some(HoldEvent::Recovered));
        assert_eq!((lenient.held("a"), lenient.guard.due()), (0, None));
    }

    #[test]
    fn holds_of_services_and_of_the_registry_are_told_together() {
        let mut world = world(|policy| policy.empty = Empty::Hold);
        world.set("a", Some(1)).set("b", Some(100)).judge();
        assert_eq!(world.set("a", Some(0)).judge(), None);
        let first = world.now;
        assert_eq!(world.guard.status(), Some((first, first.instant + Duration::from_secs(300), 1)));
        world.after(20).set("b", Some(40)).judge();
        let last = world.now.instant + Duration::from_secs(300);
        assert_eq!(world.guard.status(), Some((first, last, 61)));
        // The service's own goes by its own clock, the registry's rest by hand.
        world.after(280).judge();
        assert_eq!((world.held("a"), world.held("b")), (0, 60));
        assert_eq!(world.guard.release(), [id("b")]);
        assert_eq!((world.held("b"), world.guard.status()), (0, None));
        assert!(world.guard.release().is_empty());
    }
}
