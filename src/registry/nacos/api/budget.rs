//! How much one round may read. A server whose lists never end, or whose answers are far larger than any registry, costs a
//! failure, and not the memory of the process: what is known stays, and what was read is dropped.

use crate::registry::{nacos::error::Error, transport::Connection};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// The most entries of a round: twice the instances of the largest registry that this is tested with.
const MAX_ENTRIES: usize = 1_000_000;
/// The most bytes of a round, in units of `max_body`: by default 512 MiB, which are 500 bytes for each entry.
const MAX_BODIES: usize = 8;
/// The longest time of a round, from the first request to the last answer.
const MAX_TIME: Duration = Duration::from_secs(300);

/// What a round may still read. Shared by everything that is read in it.
#[derive(Debug)]
pub(crate) struct Budget {
    entries: AtomicUsize,
    bytes: AtomicUsize,
    limits: Limits,
    end: Instant,
}

/// What a round may read at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Names, services, instances and texts together.
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

impl Limits {
    /// The limits of a round over such a connection.
    pub(crate) fn of(connection: &Connection) -> Self {
        let bytes = connection.max_body_bytes.saturating_mul(MAX_BODIES);
        Limits { entries: MAX_ENTRIES, bytes, time: MAX_TIME }
    }
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        let (entries, bytes) = Default::default();
        Budget { entries, bytes, limits, end: Instant::now() + limits.time }
    }

    /// Takes so many entries and bytes of what is left.
    ///
    /// # Errors
    /// If that is not left, or the time is over. `what` names the reading.
    pub(crate) fn take(&self, what: &'static str, entries: usize, bytes: usize) -> Result<(), Error> {
        let over = |limit: String| Err(Error::OverLimit { what, limit });
        let Limits { entries: most, bytes: most_bytes, time } = self.limits;
        if self.entries.fetch_add(entries, Ordering::Relaxed) + entries > most {
            return over(format!("{most} entries in one round: it has no end"));
        }
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > most_bytes {
            return over(format!("{most_bytes} bytes in one round; raise `max_body` if it has an end"));
        }
        if Instant::now() > self.end {
            return over(format!("{} s in one round", time.as_secs()));
        }
        Ok(())
    }
}
