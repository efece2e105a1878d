//! Places for connections and streams: so many in all, and so many for each peer, so that one address cannot take all.

use super::peer::Peer;
use crate::util::lock::lock;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Counts the places of one sort, such as connections, that are taken.
#[derive(Debug, Default)]
pub(super) struct Slots {
    taken: Mutex<HashMap<Peer, usize>>,
    /// How many are taken by all peers, to be read without the lock.
    all: AtomicUsize,
}

/// How many places there are. The options may change, so each call of [`Slots::take`] brings the numbers of now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub(super) all: usize,
    pub(super) per_peer: usize,
}

/// Which limit leaves no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// All places are taken.
    Server {
        /// The number of places for all peers.
        limit: usize,
    },
    /// The peer has as many places as one peer may have.
    Peer {
        /// The number of places for one peer.
        limit: usize,
    },
}

/// A place; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    peer: Peer,
}

impl Slots {
    /// How many places all peers have now.
    pub(super) fn taken(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    pub(super) fn take(self: &Arc<Self>, peer: Peer, of: Places) -> Result<Slot, Full> {
        let mut taken = lock(&self.taken);
        if self.taken() >= of.all {
            return Err(Full::Server { limit: of.all });
        }
        if taken.get(&peer).is_some_and(|count| *count >= of.per_peer) {
            return Err(Full::Peer { limit: of.per_peer });
        }
        self.all.fetch_add(1, Ordering::Relaxed);
        *taken.entry(peer).or_default() += 1;
        Ok(Slot { slots: self.clone(), peer })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = lock(&self.slots.taken);
        self.slots.all.fetch_sub(1, Ordering::Relaxed);
        if let Some(count) = taken.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_end_for_a_peer_and_for_all_and_come_back() {
        let (slots, of) = (Arc::new(Slots::default()), Places { all: 3, per_peer: 2 });
        let [a, b] = ["192.0.2.1:1", "192.0.2.2:1"].map(|address| Peer::of(address.parse().unwrap()));
        let first = slots.take(a, of).unwrap();
        let _second = slots.take(a, of).unwrap();
        assert_eq!(slots.take(a, of).unwrap_err(), Full::Peer { limit: 2 });
        let third = slots.take(b, of).unwrap();
        assert_eq!(slots.take(b, of).unwrap_err(), Full::Server { limit: 3 });
        let fourth = slots.take(b, Places { all: 4, per_peer: 2 }).unwrap();
        // Fewer than are taken: nobody loses his own.
        assert_eq!(slots.take(b, Places { all: 1, per_peer: 1 }).unwrap_err(), Full::Server { limit: 1 });
        drop((first, third, fourth));
        slots.take(a, of).unwrap();
        assert_eq!((slots.taken(), lock(&slots.taken).len()), (1, 1));
    }
}
