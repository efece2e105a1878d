//! A bounded number of connection slots. When all are in use, a new connection gets the slot of the connection that has been
//! idle for the longest time, and that one is closed. So connections that neither send nor read block no probe.

use crate::util::lock::lock;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(super) struct Slots {
    limit: usize,
    used: Mutex<BTreeMap<u64, Arc<Slot>>>,
    next: AtomicU64,
    since: Instant,
}

/// The slot of one connection.
#[derive(Debug)]
pub(super) struct Slot {
    number: u64,
    since: Instant,
    /// When bytes were last read or written, in microseconds after `since`.
    active: AtomicU64,
    /// Cancelled when another connection gets the slot.
    pub(super) lost: CancellationToken,
}

impl Slots {
    /// A set of `limit` slots, at least one.
    pub(super) fn new(limit: usize) -> Self {
        Slots { limit, used: Mutex::default(), next: AtomicU64::new(0), since: Instant::now() }
    }

    /// Acquires a slot; if none is free, that of the connection that has been idle for the longest time.
    pub(super) fn acquire(&self) -> Arc<Slot> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = Slot { number, since: self.since, active: AtomicU64::new(0), lost: CancellationToken::new() };
        slot.touch();
        let slot = Arc::new(slot);
        let mut used = lock(&self.used);
        while used.len() >= self.limit {
            let idle = used.values().min_by_key(|slot| slot.active.load(Ordering::Relaxed)).map(|slot| slot.number);
            let Some(idle) = idle.and_then(|number| used.remove(&number)) else { break };
            idle.lost.cancel();
        }
        used.insert(number, slot.clone());
        slot
    }

    pub(super) fn release(&self, slot: &Slot) {
        lock(&self.used).remove(&slot.number);
    }
}

impl Slot {
    /// Records that bytes were read or written now.
    pub(super) fn touch(&self) {
        let micros = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.active.store(micros, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_is_idle_longest_loses_its_slot() {
        let slots = Slots::new(2);
        let tick = || advance(Duration::from_millis(1));
        let first = slots.acquire();
        tick().await;
        let second = slots.acquire();
        tick().await;
        first.touch();
        tick().await;
        let third = slots.acquire();
        assert_eq!([&first, &second, &third].map(|slot| slot.lost.is_cancelled()), [false, true, false]);
        slots.release(&first);
        slots.release(&second);
        let fourth = slots.acquire();
        assert_eq!([&third, &fourth].map(|slot| slot.lost.is_cancelled()), [false, false]);
    }
}
