//! What clients make the server hold, in bytes: unfinished requests and subscriptions, counted for each stream, for
//! each peer and for the server.
//!
//! What is over a peer's or the server's limit ends the stream that holds most, of that peer or of all: the one that
//! asks for more is refused, another is asked to end itself. Where that one does not, since its client reads nothing,
//! or where much is about to end already, its connection is closed. So a client that holds little keeps its stream,
//! whatever others do. Lists that streams share are counted once for the server, and for each stream by its share.

use super::{metrics::Metrics, peer::Peer};
use crate::util::lock::lock;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Streams that were asked to end and have not may hold one such part of the server's limit. Beyond it connections are
/// closed at once.
const LEAVING_PARTS: usize = 4;

/// How much clients may make the server hold, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    /// What one stream may hold.
    pub stream: usize,
    /// What all streams of a peer may hold.
    pub peer: usize,
    /// What all streams may hold.
    pub server: usize,
}

/// What a stream's state holds, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// What it shares with no other stream.
    pub own: usize,
    /// Its share of what it has in common with other streams.
    pub shared: usize,
}

impl Held {
    /// One stream's share of a value of `cost` bytes: all who hold the value share its cost equally.
    pub(super) fn shared<T>(value: &Arc<T>, cost: usize) -> Held {
        Held { own: 0, shared: cost / Arc::strong_count(value) }
    }

    fn sum(self) -> usize {
        self.own + self.shared
    }
}

impl std::ops::Sub for Held {
    type Output = Held;

    fn sub(self, other: Held) -> Held {
        Held { own: self.own - other.own, shared: self.shared - other.shared }
    }
}

impl std::ops::Add for Held {
    type Output = Held;

    fn add(self, other: Held) -> Held {
        Held { own: self.own + other.own, shared: self.shared + other.shared }
    }
}

/// Why a stream may not hold more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// It would hold too much itself.
    #[error("requests and subscriptions of this stream need more than {0} bytes (xds.limits.memory_per_stream)")]
    Stream(usize),
    /// Its peer's streams hold too much, and this one the most of them.
    #[error(
        "requests and subscriptions of this address need more than {0} bytes (xds.limits.memory_per_peer), and this stream holds most of them"
    )]
    Peer(usize),
    /// All streams hold too much, and this one the most of them.
    #[error(
        "requests and subscriptions of all clients need more than {0} bytes (xds.limits.memory), and this stream holds most of them"
    )]
    Server(usize),
    /// It held most when others asked for more.
    #[error(
        "requests and subscriptions of this address, or of all clients, need more than they may have (xds.limits.memory_per_peer, xds.limits.memory), and this stream holds most of them"
    )]
    Most,
}

/// The account of a server, in which each stream has an [`Allowance`].
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes of the lists that streams share, counted by the interner.
    shared: Arc<AtomicUsize>,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limits: MemoryLimits,
    /// Bytes that streams hold by themselves.
    own: usize,
    /// Bytes of streams that are about to end; not in the other sums.
    leaving: Held,
    /// Bytes of each peer's streams, shares included.
    peers: HashMap<Peer, usize>,
    streams: HashMap<u64, Stream>,
}

#[derive(Debug)]
struct Stream {
    peer: Peer,
    held: Held,
    /// Asks it to end itself.
    end: CancellationToken,
    /// Closes its connection.
    close: CancellationToken,
    stay: Stay,
}

/// How far a stream is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    Stays,
    /// It was asked to end itself.
    Asked,
    /// It was asked before the last call of [`Budget::close_late`], and has not ended.
    Late,
    /// Its connection is being closed.
    Closed,
}

/// What one stream holds. It is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Allowance {
    budget: Arc<Budget>,
    stream: u64,
    peer: Peer,
    end: CancellationToken,
    close: CancellationToken,
    /// Bytes of the request that is still on its way.
    in_flight: usize,
    state: Held,
    /// The sum of both that the account knows.
    noted: Held,
}

impl Budget {
    /// `shared` follows the bytes of what streams share.
    pub(super) fn new(limits: MemoryLimits, shared: Arc<AtomicUsize>, metrics: Metrics) -> Arc<Budget> {
        let (leaving, peers, streams) = Default::default();
        let state = Mutex::new(State { limits, own: 0, leaving, peers, streams });
        Arc::new(Budget { shared, metrics, state })
    }

    /// Replaces the limits. What is held already ends no stream before it, or another, asks for more.
    pub(super) fn set_limits(&self, limits: MemoryLimits) {
        lock(&self.state).limits = limits;
    }

    /// The account of a stream that holds nothing yet. `close` closes its connection.
    pub(super) fn open(self: &Arc<Self>, stream: u64, peer: Peer, close: CancellationToken) -> Allowance {
        let (state, noted, end) = (Held::default(), Held::default(), CancellationToken::new());
        Allowance { budget: self.clone(), stream, peer, end, close, in_flight: 0, state, noted }
    }

    /// Closes the connections of streams that were asked to end, and had not at the look before this one.
    pub(super) fn close_late(&self) {
        for (id, stream) in &mut lock(&self.state).streams {
            match stream.stay {
                Stay::Stays | Stay::Closed => {}
                Stay::Asked => stream.stay = Stay::Late,
                Stay::Late => self.close(*id, stream),
            }
        }
    }

    /// Bytes that all streams hold.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        lock(&self.state).held(self)
    }

    fn close(&self, id: u64, stream: &mut Stream) {
        stream.stay = Stay::Closed;
        stream.close.cancel();
        self.metrics.closed.get_or_create(&"memory".into()).inc();
        warn!(
            stream = id,
            bytes = stream.held.sum(),
            "Clients hold too much; the connection of the stream that holds most is closed."
        );
    }
}

impl Allowance {
    /// Cancelled when the stream is to end, because it holds most.
    pub(super) fn end(&self) -> CancellationToken {
        self.end.clone()
    }

    /// Notes how many bytes of an unfinished request have come; 0 when it is whole.
    pub(super) fn set_in_flight(&mut self, bytes: usize) -> Result<(), OverBudget> {
        self.in_flight = bytes;
        self.note()
    }

    /// Notes how much the stream's state holds.
    pub(super) fn set_state(&mut self, held: Held) -> Result<(), OverBudget> {
        self.state = held;
        self.note()
    }

    fn note(&mut self) -> Result<(), OverBudget> {
        let held = self.state + Held { own: self.in_flight, shared: 0 };
        if held == self.noted {
            return Ok(());
        }
        let grown = held.sum() > self.noted.sum();
        let mut state = lock(&self.budget.state);
        if grown && held.sum() > state.limits.stream {
            return Err(OverBudget::Stream(state.limits.stream));
        }
        state.set(self, held);
        self.budget.metrics.memory.set(state.held(&self.budget) as i64);
        self.noted = held;
        match grown {
            true => state.fit(self.stream, self.peer, &self.budget),
            false => Ok(()),
        }
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        if self.noted != Held::default() {
            let mut state = lock(&self.budget.state);
            state.set(self, Held::default());
            self.budget.metrics.memory.set(state.held(&self.budget) as i64);
        }
    }
}

impl State {
    fn held(&self, budget: &Budget) -> usize {
        self.own + self.leaving.own + budget.shared.load(Ordering::Relaxed)
    }

    fn set(&mut self, of: &Allowance, held: Held) {
        let stream = self.streams.entry(of.stream).or_insert_with(|| Stream {
            peer: of.peer,
            held: Held::default(),
            end: of.end.clone(),
            close: of.close.clone(),
            stay: Stay::Stays,
        });
        let before = std::mem::replace(&mut stream.held, held);
        if stream.stay != Stay::Stays {
            self.leaving = self.leaving + held - before;
        } else {
            self.own = self.own + held.own - before.own;
            let sum = self.peers.entry(of.peer).or_default();
            *sum = *sum + held.sum() - before.sum();
        }
        if held == Held::default() {
            self.streams.remove(&of.stream);
            if self.peers.get(&of.peer) == Some(&0) {
                self.peers.remove(&of.peer);
            }
        }
    }

    /// Makes room by ending the streams that hold most. An error if `asker` is the next of them.
    fn fit(&mut self, asker: u64, peer: Peer, budget: &Budget) -> Result<(), OverBudget> {
        loop {
            let limits = self.limits;
            let of_peer = self.peers.get(&peer).copied().unwrap_or(0);
            let all = self.own + budget.shared.load(Ordering::Relaxed).saturating_sub(self.leaving.shared);
            let (only, error) = match (of_peer > limits.peer, all > limits.server) {
                (true, _) => (Some(peer), OverBudget::Peer(limits.peer)),
                (_, true) => (None, OverBudget::Server(limits.server)),
                _ => return Ok(()),
            };
            let stays = |s: &Stream| s.stay == Stay::Stays && only.is_none_or(|only| only == s.peer);
            let most = self.streams.iter_mut().filter(|(_, stream)| stays(stream));
            // Of equals the younger one goes.
            match most.max_by_key(|(id, stream)| (stream.held.sum(), **id)) {
                Some((id, stream)) if *id != asker => {
                    // Until it has ended nobody else may have what it holds.
                    if self.leaving.sum() + stream.held.sum() <= limits.server / LEAVING_PARTS {
                        stream.stay = Stay::Asked;
                        stream.end.cancel();
                    } else {
                        budget.close(*id, stream);
                    }
                    self.own -= stream.held.own;
                    self.leaving = self.leaving + stream.held;
                    self.peers.entry(stream.peer).and_modify(|sum| *sum -= stream.held.sum());
                }
                _ => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        budget: Arc<Budget>,
        shared: Arc<AtomicUsize>,
    }

    impl World {
        fn new() -> World {
            let shared = Arc::new(AtomicUsize::new(0));
            let limits = MemoryLimits { stream: 60, peer: 100, server: 150 };
            World { budget: Budget::new(limits, shared.clone(), Metrics::default()), shared }
        }

        fn open(&self, id: u64, address: &str) -> (Allowance, CancellationToken) {
            let close = CancellationToken::new();
            (self.budget.open(id, Peer::of(address.parse().unwrap()), close.clone()), close)
        }
    }

    const A: &str = "192.0.2.1:1";
    const B: &str = "192.0.2.2:1";

    #[test]
    fn a_stream_over_its_own_limit_is_refused_and_what_it_held_is_given_back() {
        let world = World::new();
        let (mut one, _close) = world.open(1, A);
        assert_eq!(one.set_in_flight(40), Ok(()));
        assert_eq!(one.set_state(Held { own: 10, shared: 11 }), Err(OverBudget::Stream(60)));
        assert_eq!(world.budget.held(), 40);
        drop(one);
        let state = lock(&world.budget.state);
        assert_eq!((state.held(&world.budget), state.peers.len(), state.streams.len()), (0, 0, 0));
    }

    #[test]
    fn over_a_peers_limit_its_largest_stream_goes_and_no_other_peers() {
        let world = World::new();
        let (mut other, other_close) = world.open(9, B);
        other.set_in_flight(50).unwrap();
        let (mut large, large_close) = world.open(1, A);
        let (mut small, small_close) = world.open(2, A);
        large.set_in_flight(49).unwrap();
        let (mut middle, _) = world.open(3, A);
        middle.set_in_flight(40).unwrap();
        small.set_in_flight(11).unwrap();
        assert!(!large_close.is_cancelled(), "100 of A, 150 of all");
        small.set_in_flight(12).unwrap();
        assert!(large_close.is_cancelled() && !small_close.is_cancelled() && !other_close.is_cancelled());
        // While it leaves its bytes are not asked of others.
        small.set_in_flight(14).unwrap();
        drop(large);
        assert_eq!(lock(&world.budget.state).leaving, Held::default());
        assert_eq!(middle.set_in_flight(59), Ok(()));
        assert_eq!(middle.set_in_flight(61), Err(OverBudget::Stream(60)));
    }

    #[test]
    fn other_limits_hold_for_what_is_asked_for_from_then_on() {
        let world = World::new();
        let (mut one, close) = world.open(1, A);
        one.set_in_flight(50).unwrap();
        world.budget.set_limits(MemoryLimits { stream: 40, peer: 40, server: 40 });
        assert_eq!(one.set_in_flight(45), Ok(()), "it gives back");
        assert_eq!(one.set_in_flight(46), Err(OverBudget::Stream(40)));
        world.budget.set_limits(MemoryLimits { stream: 400, peer: 400, server: 400 });
        assert_eq!(one.set_in_flight(300), Ok(()));
        assert!(!close.is_cancelled());
    }

    #[test]
    fn one_that_goes_is_asked_first_and_closed_when_it_does_not_end() {
        let world = World::new();
        let mut streams = [1, 2, 3].map(|id| world.open(id, A));
        for ((stream, _), bytes) in streams.iter_mut().zip([36, 34, 30]) {
            stream.set_in_flight(bytes).unwrap();
        }
        let asked = |streams: &[(Allowance, CancellationToken)]| -> Vec<(bool, bool)> {
            streams.iter().map(|(stream, close)| (stream.end().is_cancelled(), close.is_cancelled())).collect()
        };
        streams[2].0.set_in_flight(31).unwrap();
        assert_eq!(asked(&streams), [(true, false), (false, false), (false, false)]);
        // So much leaves already that the next one is not waited for.
        let (mut fourth, _close) = world.open(4, A);
        fourth.set_in_flight(33).unwrap();
        let (mut fifth, _close) = world.open(5, A);
        fifth.set_in_flight(3).unwrap();
        assert_eq!(asked(&streams), [(true, false), (false, true), (false, false)]);
        world.budget.close_late();
        assert_eq!(asked(&streams), [(true, false), (false, true), (false, false)]);
        world.budget.close_late();
        assert_eq!(asked(&streams), [(true, true), (false, true), (false, false)]);
    }

    #[test]
    fn the_largest_of_all_is_refused_where_it_is_the_one_that_asks() {
        let world = World::new();
        let streams = [(1, A), (2, A), (3, B)].map(|(id, address)| world.open(id, address));
        let [(mut a, a_close), (mut b, _), (mut c, _)] = streams;
        a.set_in_flight(50).unwrap();
        b.set_in_flight(50).unwrap();
        world.shared.store(1, Ordering::Relaxed);
        assert_eq!(c.set_in_flight(50), Err(OverBudget::Server(150)), "of equals the younger one");
        assert_eq!(c.set_in_flight(49), Ok(()));
        assert!(!a_close.is_cancelled());
        world.shared.store(2, Ordering::Relaxed);
        assert_eq!(c.set_state(Held { own: 0, shared: 1 }), Err(OverBudget::Server(150)));
    }
}
