//! First answers in turn. When a fleet comes at once, as after a restart, each of its streams wants everything: so many of
//! them are sent at a time, and the others wait in the order in which they came. What changes meanwhile goes to those that
//! have been answered as ever. While others wait, one address has at most half of the turns: thousands of streams from there
//! keep nobody else waiting.
//!
//! A turn ends when the client has acknowledged all that it was sent, or with its stream; it counts no longer than
//! [`PATIENCE`], so that nobody who reads slowly keeps others waiting. A client that has everything from before is sent
//! nothing, and needs no turn.

use super::{metrics::Metrics, peer::Peer};
use crate::{telemetry::count, util::lock::lock};
use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};

/// How long a turn counts.
const PATIENCE: Duration = Duration::from_millis(250);

/// Who has a turn, and who waits for one.
#[derive(Debug)]
pub(super) struct Admission {
    line: Mutex<Line>,
    /// Wakes [`Admission::pass_over`] when a stream begins to wait.
    waits: Notify,
    metrics: Metrics,
}

/// The streams with a turn and those that wait, by ticket. Tickets rise: a lower one came earlier.
#[derive(Debug, Default)]
struct Line {
    most: usize,
    next: u64,
    /// The turns that count: the peer that has each, and since when.
    admitted: BTreeMap<u64, (Peer, Instant)>,
    /// How many turns each peer has.
    turns: HashMap<Peer, usize>,
    waiting: HashMap<Peer, BTreeMap<u64, oneshot::Sender<()>>>,
    /// The lowest ticket of each peer that waits.
    first: BTreeMap<u64, Peer>,
    waiting_number: usize,
}

/// The turn of a stream; it is over when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    admission: Arc<Admission>,
    ticket: u64,
    peer: Peer,
}

impl Admission {
    pub(super) fn new(most: usize, metrics: Metrics) -> Arc<Self> {
        let line = Line { most, ..Line::default() };
        Arc::new(Admission { line: Mutex::new(line), waits: Notify::new(), metrics })
    }

    /// Sets how many streams may have a turn at a time (`xds.limits.first_answers`).
    pub(super) fn set_most(&self, most: usize) {
        self.change(|line| line.most = most);
    }

    /// Returns a turn, and what says when it comes; `None`: it has come at once.
    pub(super) fn enter(self: &Arc<Self>, peer: Peer) -> (Turn, Option<oneshot::Receiver<()>>) {
        let (ticket, comes) = self.change(|line| {
            let ticket = line.next;
            line.next += 1;
            if line.waiting_number == 0 && line.admitted.len() < line.most {
                line.admit(ticket, peer);
                return (ticket, None);
            }
            let (sender, comes) = oneshot::channel();
            line.wait(ticket, peer, sender);
            (ticket, Some(comes))
        });
        if comes.is_some() {
            self.metrics.first_answers_delayed.inc();
            self.waits.notify_one();
        }
        (Turn { admission: self.clone(), ticket, peer }, comes)
    }

    /// Lets the next go on when a turn has lasted too long, for ever.
    pub(super) async fn pass_over(self: Arc<Self>) {
        loop {
            let oldest = {
                let line = lock(&self.line);
                line.admitted.values().map(|(_, since)| *since).min().filter(|_| line.waiting_number > 0)
            };
            match oldest {
                None => self.waits.notified().await,
                Some(since) => {
                    sleep_until(since + PATIENCE).await;
                    let now = Instant::now();
                    self.change(|line| line.pass_over(now));
                }
            }
        }
    }

    /// Changes who has a turn, and lets in whom there is room for then.
    fn change<T>(&self, change: impl FnOnce(&mut Line) -> T) -> T {
        let mut line = lock(&self.line);
        let result = change(&mut line);
        while line.admitted.len() < line.most
            && let Some((ticket, peer, sender)) = line.next()
        {
            // Who has left needs no turn.
            if sender.send(()).is_ok() {
                line.admit(ticket, peer);
            }
        }
        self.metrics.first_answers(count(line.admitted.len()), count(line.waiting_number));
        result
    }
}

impl Line {
    fn admit(&mut self, ticket: u64, peer: Peer) {
        self.admitted.insert(ticket, (peer, Instant::now()));
        *self.turns.entry(peer).or_default() += 1;
    }

    /// The turn is over, if there was one.
    fn end(&mut self, ticket: u64) {
        if let Some((peer, _)) = self.admitted.remove(&ticket)
            && let Entry::Occupied(mut turns) = self.turns.entry(peer)
        {
            *turns.get_mut() -= 1;
            if *turns.get() == 0 {
                turns.remove();
            }
        }
    }

    /// Ends the turns that have lasted too long.
    fn pass_over(&mut self, now: Instant) {
        let slow = self.admitted.iter().filter(|(_, (_, since))| *since + PATIENCE <= now);
        let slow: Vec<u64> = slow.map(|(ticket, _)| *ticket).collect();
        slow.into_iter().for_each(|ticket| self.end(ticket));
    }

    /// Joins the end of the line.
    fn wait(&mut self, ticket: u64, peer: Peer, sender: oneshot::Sender<()>) {
        let own = self.waiting.entry(peer).or_default();
        if own.is_empty() {
            self.first.insert(ticket, peer);
        }
        own.insert(ticket, sender);
        self.waiting_number += 1;
    }

    /// Leaves the line, if it stands in it.
    fn leave(&mut self, ticket: u64, peer: Peer) -> Option<oneshot::Sender<()>> {
        let own = self.waiting.get_mut(&peer)?;
        let sender = own.remove(&ticket)?;
        self.waiting_number -= 1;
        let next = own.keys().next().copied();
        if next.is_none() {
            self.waiting.remove(&peer);
        }
        if self.first.remove(&ticket).is_some()
            && let Some(next) = next
        {
            self.first.insert(next, peer);
        }
        Some(sender)
    }

    /// Whoever has waited longest, of those whose address has not half of the turns; of all, where there is no other.
    /// Looks at three at most: two addresses have all turns, if they have half of them each.
    fn next(&mut self) -> Option<(u64, Peer, oneshot::Sender<()>)> {
        let has_room = |peer: &Peer| self.turns.get(peer).is_none_or(|turns| turns * 2 < self.most);
        let with_room = self.first.iter().find(|(_, peer)| has_room(peer));
        let (ticket, peer) = with_room.or_else(|| self.first.iter().next()).map(|(ticket, peer)| (*ticket, *peer))?;
        self.leave(ticket, peer).map(|sender| (ticket, peer, sender))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (ticket, peer) = (self.ticket, self.peer);
        self.admission.change(|line| {
            line.end(ticket);
            line.leave(ticket, peer);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Turns = Vec<Option<(Turn, Option<oneshot::Receiver<()>>)>>;

    fn peer(number: u8) -> Peer {
        Peer::of(([192, 0, 2, number], 1).into())
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_a_thousand_times_keeps_others_from_no_more_than_half() {
        let admission = Admission::new(4, Metrics::default());
        let flood: Vec<_> = (0..1000).map(|_| admission.enter(peer(1))).collect();
        let (_other, mut comes) = admission.enter(peer(2));
        let mut flood = flood.into_iter();
        // All four are the first one's; the next that is free is not.
        assert!(!is_there(&mut comes));
        drop(flood.next());
        assert!(is_there(&mut comes));
    }

    /// The line gives the same turns as a simple model that looks at everybody.
    #[tokio::test(start_paused = true)]
    async fn a_line_by_address_is_one_line() {
        for most in [1, 2, 3, 8] {
            let admission = Admission::new(most, Metrics::default());
            let (mut all, mut waiting, mut admitted) = (BTreeMap::new(), Vec::new(), Vec::<(u64, u8)>::new());
            // The same at each run, and unlike enough.
            let mut chance = 7_u64;
            for step in 0..2_000_u64 {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (leaves, of) = ((chance >> 33) % 5 < 2, ((chance >> 40) % 4) as u8);
                if leaves && !all.is_empty() {
                    let place = (chance >> 20) as usize % all.len();
                    let ticket = *all.keys().nth(place).unwrap();
                    all.remove(&ticket);
                    waiting.retain(|(known, _)| *known != ticket);
                    admitted.retain(|(known, _)| *known != ticket);
                } else {
                    let (turn, comes) = admission.enter(peer(of));
                    waiting.push((turn.ticket, of));
                    all.insert(turn.ticket, (turn, comes));
                }
                while admitted.len() < most && !waiting.is_empty() {
                    let turns = |of: u8| admitted.iter().filter(|(_, other)| *other == of).count();
                    let place = waiting.iter().position(|(_, of)| turns(*of) * 2 < most).unwrap_or(0);
                    admitted.push(waiting.remove(place));
                }
                let have = |(ticket, (_, comes)): (&u64, &mut (Turn, Option<oneshot::Receiver<()>>))| {
                    let now = is_there(comes);
                    now.then(|| *comes = None);
                    now.then_some(*ticket)
                };
                let have: Vec<u64> = all.iter_mut().filter_map(have).collect();
                let mut expected: Vec<u64> = admitted.iter().map(|(ticket, _)| *ticket).collect();
                expected.sort_unstable();
                assert_eq!(have, expected, "{most} at a time, step {step}");
            }
        }
    }

    fn is_there(comes: &mut Option<oneshot::Receiver<()>>) -> bool {
        comes.as_mut().is_none_or(|comes| comes.try_recv().is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_have_a_turn_and_the_others_follow_in_order() {
        let admission = Admission::new(2, Metrics::default());
        let mut all: Turns = (0..6).map(|_| Some(admission.enter(peer(1)))).collect();
        let came = |all: &mut Turns| {
            let there = |(place, turn): (usize, &mut Option<(Turn, _)>)| {
                let (_, comes) = turn.as_mut()?;
                let now = is_there(comes);
                now.then(|| *comes = None);
                now.then_some(place)
            };
            all.iter_mut().enumerate().filter_map(there).collect::<Vec<_>>()
        };
        assert_eq!(came(&mut all), [0, 1]);
        all[1] = None;
        assert_eq!(came(&mut all), [0, 2]);
        // Who leaves the line is passed over.
        all[3] = None;
        all[0] = None;
        assert_eq!(came(&mut all), [2, 4]);
        admission.set_most(3);
        assert_eq!(came(&mut all), [2, 4, 5]);
        // Fewer than have one: nobody loses his own.
        admission.set_most(1);
        let (_turn, mut comes) = admission.enter(peer(1));
        all[2] = None;
        all[4] = None;
        assert!(!is_there(&mut comes));
        all[5] = None;
        assert!(is_there(&mut comes));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_too_long_is_passed_over() {
        let admission = Admission::new(1, Metrics::default());
        let helper = tokio::spawn(admission.clone().pass_over());
        let start = Instant::now();
        let (slow, _) = admission.enter(peer(1));
        let lines: Vec<_> = (0..3).map(|_| admission.enter(peer(1))).collect();
        for (place, (turn, comes)) in lines.into_iter().enumerate() {
            comes.unwrap().await.unwrap();
            assert_eq!(start.elapsed(), PATIENCE * (u32::try_from(place).unwrap() + 1));
            // None of them ends either.
            std::mem::forget(turn);
        }
        drop(slow);
        helper.abort();
    }
}
