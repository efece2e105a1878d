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

/// Places of one sort.
#[derive(Debug)]
pub(super) struct Slots {
    limit: usize,
    per_peer: usize,
    taken: Mutex<HashMap<Peer, usize>>,
    /// How many are taken, to be read without the lock.
    all: AtomicUsize,
}

/// Which limit leaves no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// All places are taken.
    Server {
        /// How many there are.
        limit: usize,
    },
    /// The peer has all that one may have.
    Peer {
        /// How many that is.
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
    pub(super) fn new(limit: usize, per_peer: usize) -> Arc<Slots> {
        Arc::new(Slots { limit, per_peer, taken: Mutex::default(), all: AtomicUsize::new(0) })
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    pub(super) fn take(self: &Arc<Self>, peer: Peer) -> Result<Slot, Full> {
        let mut taken = lock(&self.taken);
        if self.taken() >= self.limit {
            return Err(Full::Server { limit: self.limit });
        }
        if taken.get(&peer).is_some_and(|count| *count >= self.per_peer) {
            return Err(Full::Peer { limit: self.per_peer });
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
        let slots = Slots::new(3, 2);
        let [a, b] = ["192.0.2.1:1", "192.0.2.2:1"].map(|address| Peer::of(address.parse().unwrap()));
        let first = slots.take(a).unwrap();
        let _second = slots.take(a).unwrap();
        assert_eq!(slots.take(a).unwrap_err(), Full::Peer { limit: 2 });
        let third = slots.take(b).unwrap();
        assert_eq!(slots.take(b).unwrap_err(), Full::Server { limit: 3 });
        drop(third);
        drop(first);
        slots.take(a).unwrap();
        assert_eq!((slots.taken(), lock(&slots.taken).len()), (1, 1));
    }
}
