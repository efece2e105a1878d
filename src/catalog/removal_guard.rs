//! Holds back large drops: a registry that restarts empty must not empty the mesh. `guards` has one of these for what a
//! registry has; where a configuration tells some of its services apart, one for each such part, too.
//!
//! What counts is the number of endpoints that take traffic (enabled, with weight, not unhealthy), against the most there
//! were within the last minute. So endpoints that appear offset endpoints that vanish: a rolling deploy of everything, in
//! which each instance gets a new address, is no drop, however fast, as long as the new ones come at about the rate at
//! which the old ones go. A service that is absent from one list counts as missing at once (it is served on all the same
//! until the second), so that a hold begins before the first endpoint of a vanished registry is lost.
//!
//! A hold begins when more than `max_drop` of the endpoints are missing and
//! - at least [`SMALL`] are missing, of all parts that miss more than they may, or
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
//! `empty: hold` holds the last endpoints of each single service in the same way. People may prolong a hold, over all or of one
//! service; the latter goes on by itself then, whatever becomes of the rest, until its time is over or nothing is left of it.

use super::{
    Empty, Holding,
    endpoints::takes_traffic,
    ledger::Change,
    memory::{HoldMemory, LostMemory},
    now::Now,
};
use crate::model::{Address, Endpoint, Port, Service, ServiceId};
use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// The time over which drops are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Fewer missing endpoints are no large drop, except after an outage and when nothing is left.
pub(super) const SMALL: usize = 20;

/// Counts the endpoints of a registry, or of a part of one, and holds what is lost.
#[derive(Debug, Clone)]
pub(super) struct RemovalGuard {
    holding: Holding,
    /// Endpoints that the registry has now, whether they take traffic or not.
    registered: usize,
    /// How many of `registered` take traffic.
    serving: usize,
    /// How many took traffic until each moment, in falling order; only of the last minute.
    before: VecDeque<(Instant, usize)>,
    /// What is lost and not followed yet, by service: in a hold, or absent from one list only.
    lost: BTreeMap<ServiceId, Lost>,
    hold_now: Option<Hold>,
    /// After an outage: until when small drops count, too.
    small_counts_until: Option<Instant>,
}

/// A hold over all services that the guard counts.
#[derive(Debug, Clone, Copy)]
struct Hold {
    since: Now,
    /// How many endpoints took traffic before.
    base: usize,
    /// When it ends at the earliest, if an operator has prolonged it.
    until: Option<Instant>,
}

/// A hold of one service that somebody has prolonged.
#[derive(Debug, Clone, Copy)]
struct Prolonged {
    since: Now,
    until: Instant,
}

/// What one service has lost, and what holds it.
#[derive(Debug, Clone, Default)]
struct Lost {
    /// As they last took traffic.
    endpoints: Vec<Endpoint>,
    /// It has others that take traffic.
    has_any: bool,
    /// It is absent from the last list, and not gone yet: it is served on without any hold.
    absent: bool,
    /// When it lost its last endpoints, if those are held by themselves, as with [`Empty::Hold`].
    emptied: Option<Now>,
    /// So many of `endpoints`, the first ones, were lost before `emptied`: they go when the hold over everything ends.
    early: usize,
    /// They are held by themselves because an operator has prolonged it.
    prolonged: Option<Prolonged>,
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
    /// It was prolonged by hand.
    Prolonged,
    /// It was released by hand, or by a reload with `force`.
    Released,
}

impl RemovalGuard {
    pub(super) fn new(holding: Holding) -> Self {
        RemovalGuard {
            holding,
            registered: 0,
            serving: 0,
            before: VecDeque::new(),
            lost: BTreeMap::new(),
            hold_now: None,
            small_counts_until: None,
        }
    }

    /// Goes on by other rules; a hold that began ends by the new ones.
    pub(super) fn set_holding(&mut self, holding: Holding) {
        self.holding = holding;
    }

    /// What is held and counted, to be kept over a restart.
    pub(super) fn remember(&self, now: Now) -> HoldMemory {
        let prolonged = |own: Prolonged| (own.since.wall, now.wall_at(own.until));
        let lost = |(id, lost): (&ServiceId, &Lost)| LostMemory {
            service: id.clone(),
            endpoints: lost.endpoints.clone(),
            has_any: lost.has_any,
            absent: lost.absent,
            emptied: lost.emptied.map(|since| since.wall),
            early: lost.early,
            prolonged: lost.prolonged.map(prolonged),
        };
        HoldMemory {
            since: self.hold_now.map(|hold| (hold.since.wall, hold.base)),
            until: self.hold_now.and_then(|hold| hold.until).map(|until| now.wall_at(until)),
            returned: self.small_counts_until.map(|until| now.wall_at(until) - WINDOW),
            before: self.before.iter().map(|(at, serving)| (now.wall_at(*at), *serving)).collect(),
            lost: self.lost.iter().map(lost).collect(),
        }
    }

    /// Goes on with what was kept over a restart, once the services that there were have been observed.
    pub(super) fn recall(&mut self, memory: &HoldMemory, now: Now) {
        let until = memory.until.map(|until| now.ahead(until));
        self.hold_now = memory.since.map(|(since, base)| Hold { since: now.ago(since), base, until });
        self.small_counts_until = memory.returned.map(|at| now.ago(at).instant + WINDOW);
        self.before = memory.before.iter().map(|(at, serving)| (now.ago(*at).instant, *serving)).collect();
        memory.lost.iter().for_each(|lost| self.recall_lost(lost, now));
    }

    /// Goes on with what other guards have counted, some of whose services this one has now. The base of a hold is then
    /// what serves now, with what is held.
    pub(super) fn take_over(&mut self, others: &[(HoldMemory, Vec<&LostMemory>)], now: Now) {
        let mut held = None;
        for (memory, lost) in others {
            lost.iter().for_each(|lost| self.recall_lost(lost, now));
            self.small_counts_until =
                self.small_counts_until.max(memory.returned.map(|at| now.ago(at).instant + WINDOW));
            if let Some((since, _)) = memory.since.filter(|_| !lost.is_empty()) {
                let until = memory.until.map(|until| now.ahead(until));
                let (first, last) = held.unwrap_or((since, None));
                held = Some((since.min(first), until.max(last)));
            }
        }
        let base = self.serving + self.lost.values().map(|lost| lost.endpoints.len()).sum::<usize>();
        self.hold_now = held.map(|(since, until)| Hold { since: now.ago(since), base, until });
    }

    fn recall_lost(&mut self, memory: &LostMemory, now: Now) {
        let LostMemory { service, endpoints, has_any, absent, emptied, early, prolonged } = memory;
        let prolonged = prolonged.map(|(since, until)| Prolonged { since: now.ago(since), until: now.ahead(until) });
        let emptied = emptied.map(|since| now.ago(since));
        let (endpoints, early) = (endpoints.clone(), *early);
        let lost = Lost { endpoints, has_any: *has_any, absent: *absent, emptied, early, prolonged };
        self.lost.insert(service.clone(), lost);
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
            if lost.emptied.take().is_some_and(before) && lost.prolonged.is_none() {
                lost.endpoints.clear();
            }
            lost.early = 0;
        } else if !newly.is_empty() && self.holding.empty == Empty::Hold && endpoints(&change.after).is_empty() {
            (lost.emptied, lost.early) = (Some(now), lost.endpoints.len());
        }
        lost.endpoints.extend(newly);
        if lost.endpoints.is_empty() {
            self.lost.remove(&change.id);
        }
    }

    /// How many endpoints are missing; 0 if `max_drop` allows that many.
    pub(super) fn missing(&mut self, now: Now) -> usize {
        let (missing, of) = self.balance(now.instant);
        if self.holding.max_drop.covers(missing, of) || self.holding.hold.is_zero() { 0 } else { missing }
    }

    /// Begins or ends holds. `few_count`: also where few endpoints are missing. Returns the services that this
    /// concerns, and what happened.
    pub(super) fn judge(&mut self, few_count: bool, now: Now) -> (Vec<ServiceId>, Option<HoldEvent>) {
        let mut concerned = self.end_own(now.instant);
        let event = self.event(few_count, now.instant);
        match event {
            Some(HoldEvent::Began { of, .. }) => {
                self.hold_now = Some(Hold { since: now, base: of, until: None });
                concerned.extend(self.lost.keys().cloned());
            }
            Some(event) => {
                if event == HoldEvent::Recovered {
                    self.hold_emptied();
                }
                concerned.extend(self.follow());
                // That of one service may have gone on only as long as the one over everything.
                concerned.extend(self.end_own(now.instant));
            }
            None if self.hold_now.is_none() => self.lost.retain(|_, lost| lost.absent || lost.is_held()),
            None => {}
        }
        (concerned, event)
    }

    fn event(&mut self, few_count: bool, now: Instant) -> Option<HoldEvent> {
        let (missing, of) = self.balance(now);
        let large = !self.holding.max_drop.covers(missing, of);
        match self.hold_now {
            Some(_) if !large || self.lost.is_empty() => Some(HoldEvent::Recovered),
            Some(hold) => (self.end(hold) <= now).then_some(HoldEvent::Expired),
            None if large && !self.holding.hold.is_zero() && !self.lost.is_empty() => {
                let outage = self.small_counts_until.is_some_and(|until| until >= now);
                (few_count || outage).then_some(HoldEvent::Began { missing, of })
            }
            None => None,
        }
    }

    /// How many endpoints are missing, and of how many.
    fn balance(&mut self, now: Instant) -> (usize, usize) {
        let of = self.hold_now.map_or_else(|| self.base(now), |hold| hold.base);
        (of.saturating_sub(self.serving), of)
    }

    /// Ends all holds at once. Returns the services that this concerns.
    pub(super) fn release(&mut self) -> Vec<ServiceId> {
        self.lost.values_mut().for_each(|lost| (lost.emptied, lost.prolonged) = (None, None));
        self.follow()
    }

    /// Ends the holds of one service at once. `false` if nothing of it was held back.
    pub(super) fn release_one(&mut self, id: &ServiceId) -> bool {
        !self.held(id).is_empty() && self.lost.remove(id).is_some()
    }

    /// Makes every hold last at least to `until`.
    pub(super) fn prolong(&mut self, until: Instant) {
        if let Some(hold) = &mut self.hold_now {
            hold.until = hold.until.max(Some(until));
        }
        let held: Vec<ServiceId> =
            self.lost.iter().filter(|(_, lost)| lost.is_held()).map(|(id, _)| id.clone()).collect();
        for id in held {
            self.prolong_one(&id, until);
        }
    }

    /// Makes the hold of one service last at least to `until`, whatever becomes of the others. Returns when it ends;
    /// `None` if nothing is held back.
    pub(super) fn prolong_one(&mut self, id: &ServiceId, until: Instant) -> Option<Instant> {
        if self.held(id).is_empty() {
            return None;
        }
        let whole = self.hold_now.map(|hold| (hold.since, self.end(hold)));
        let hold = self.holding.hold;
        let lost = self.lost.get_mut(id)?;
        let (since, end) = lost.own(hold).into_iter().chain(whole).reduce(both)?;
        let until = until.max(end);
        lost.prolonged = Some(Prolonged { since, until });
        Some(until)
    }

    /// The lost endpoints of a service that are served on.
    pub(super) fn held(&self, id: &ServiceId) -> &[Endpoint] {
        match self.lost.get(id) {
            Some(lost) if self.hold_now.is_some() || lost.is_held() => &lost.endpoints,
            _ => &[],
        }
    }

    /// When the next hold ends.
    pub(super) fn due(&self) -> Option<Instant> {
        self.holds().map(|(_, end)| end).min()
    }

    /// How many endpoints the registry has now, whether they take traffic or not.
    pub(super) fn registered(&self) -> usize {
        self.registered
    }

    /// What is held back: since when, until when, how many endpoints.
    pub(super) fn status(&self) -> Option<(Now, Instant, usize)> {
        let first = self.holds().map(|(since, _)| since).min_by_key(|since| since.instant)?;
        let last = self.holds().map(|(_, end)| end).max()?;
        let held = |lost: &&Lost| self.hold_now.is_some() || lost.is_held();
        let endpoints = self.lost.values().filter(held).map(|lost| lost.endpoints.len()).sum();
        Some((first, last, endpoints))
    }

    /// When each hold began, and when it ends.
    fn holds(&self) -> impl Iterator<Item = (Now, Instant)> {
        let own = self.lost.values().filter_map(|lost| self.own(lost));
        own.chain(self.hold_now.map(|hold| (hold.since, self.end(hold))))
    }

    /// Since when and until when the lost endpoints of a service are held by themselves; `None` if they are not. What is lost
    /// while the hold over everything lasts goes no sooner than that ends.
    fn own(&self, lost: &Lost) -> Option<(Now, Instant)> {
        let (since, end) = lost.own(self.holding.hold)?;
        let whole = self.hold_now.filter(|hold| hold.since.instant <= since.instant);
        Some((since, whole.map_or(end, |hold| end.max(self.end(hold)))))
    }

    fn end(&self, hold: Hold) -> Instant {
        let end = hold.since.instant + self.holding.hold;
        hold.until.map_or(end, |until| end.max(until))
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
        let is_followed = |lost: &Lost| !lost.is_held() || (lost.early > 0 && lost.prolonged.is_none());
        let followed: Vec<ServiceId> =
            self.lost.iter().filter(|(_, lost)| is_followed(lost)).map(|(id, _)| id.clone()).collect();
        self.lost.retain(|_, lost| lost.is_held());
        for lost in self.lost.values_mut() {
            let early = std::mem::take(&mut lost.early).min(lost.endpoints.len());
            if lost.prolonged.is_none() {
                lost.endpoints.drain(..early);
            }
        }
        followed
    }

    /// The hold over the registry ends early: it goes on for each service that has nothing else.
    fn hold_emptied(&mut self) {
        let since = self.hold_now.map(|hold| hold.since);
        let bare = self.lost.values_mut().filter(|lost| !lost.has_any);
        bare.for_each(|lost| lost.emptied = lost.emptied.or(since));
    }

    fn end_own(&mut self, now: Instant) -> Vec<ServiceId> {
        let over = |lost: &Lost| self.own(lost).is_some_and(|(_, end)| end <= now);
        let ids: Vec<ServiceId> = self.lost.iter().filter(|(_, lost)| over(lost)).map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.lost.remove(id);
        }
        ids
    }
}

impl Lost {
    /// Whether its endpoints are held by themselves, without the hold over everything.
    fn is_held(&self) -> bool {
        self.emptied.is_some() || self.prolonged.is_some()
    }

    /// Since when and until when its endpoints are held by themselves; `None` if they are not.
    fn own(&self, hold: Duration) -> Option<(Now, Instant)> {
        let emptied = self.emptied.map(|since| (since, since.instant + hold));
        let prolonged = self.prolonged.map(|own| (own.since, own.until));
        emptied.into_iter().chain(prolonged).reduce(both)
    }
}

/// Two holds of the same: from the beginning of one to the end of the other.
fn both(a: (Now, Instant), b: (Now, Instant)) -> (Now, Instant) {
    (if a.0.instant <= b.0.instant { a.0 } else { b.0 }, a.1.max(b.1))
}

/// The same place is the same endpoint, whatever else is new about it.
type Key<'a> = (&'a Address, Option<Port>);

fn key<'a>(endpoint: &&'a Endpoint) -> Key<'a> {
    place(endpoint)
}

/// An endpoint's address and first port: endpoints with the same are the same one.
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
    use crate::model::{Fraction, Text};
    use std::{sync::Arc, time::SystemTime};

    /// A guard, its time, and what its registry has.
    struct World {
        guard: RemovalGuard,
        now: Now,
        services: BTreeMap<&'static str, Arc<Service>>,
    }

    fn world(change: impl FnOnce(&mut Holding)) -> World {
        let now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        World { guard: RemovalGuard::new(holding(change)), now, services: BTreeMap::new() }
    }

    fn holding(change: impl FnOnce(&mut Holding)) -> Holding {
        let mut holding = Holding::default();
        change(&mut holding);
        holding
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
            let few_count = self.guard.missing(self.now) >= SMALL;
            self.guard.judge(few_count, self.now).1
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
        brief.guard.set_holding(holding(|holding| holding.hold = Duration::from_secs(10)));
        assert_eq!(brief.guard.due(), Some(brief.now.instant + Duration::from_secs(10)));
        assert_eq!(brief.after(9).judge(), None);
        assert_eq!(brief.after(1).judge(), Some(HoldEvent::Expired));
        let mut lenient = begun();
        lenient.guard.set_holding(holding(|holding| holding.max_drop = Fraction::new(0.5).unwrap()));
        assert_eq!(lenient.judge(), Some(HoldEvent::Recovered));
        assert_eq!((lenient.held("a"), lenient.guard.due()), (0, None));
    }

    #[test]
    fn what_was_lost_before_the_last_ones_goes_with_the_hold_that_has_it() {
        let mut world = world(|holding| holding.empty = Empty::Hold);
        world.set("a", Some(100)).judge();
        assert!(matches!(world.set("a", Some(10)).judge(), Some(HoldEvent::Began { .. })));
        world.after(200).set("a", Some(0)).judge();
        assert_eq!(world.held("a"), 100);
        assert_eq!(world.after(100).judge(), Some(HoldEvent::Expired));
        assert_eq!(world.held("a"), 10, "the last ones have their own time");
        world.after(200).judge();
        assert_eq!(world.held("a"), 0);
    }

    #[test]
    fn holds_of_services_and_of_the_registry_are_told_together() {
        let mut world = world(|holding| holding.empty = Empty::Hold);
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
