//! How many lines one place of the source may log: a client or registry that causes a line again and again does not fill
//! the disk with it. Values only; the clock is an argument.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tracing::callsite::Identifier;

/// Lines that one place may log at once.
const BURST: u32 = 200;

/// After that, the time from one line of a place to the next.
const INTERVAL: Duration = Duration::from_millis(50);

/// Limits the lines of each place in the source.
#[derive(Debug, Default)]
pub(super) struct Rates {
    places: HashMap<Identifier, Rate>,
}

/// The lines of one place.
#[derive(Debug)]
struct Rate {
    /// When the burst would be restored if no line came.
    full_at: Instant,
    /// Lines left out since the last one that was logged.
    suppressed: u64,
}

impl Rates {
    /// Whether a line may be logged now: `Some` with the number of lines left out before it, `None` if it is left out.
    pub(super) fn allow(&mut self, place: Identifier, now: Instant) -> Option<u64> {
        self.places.entry(place).or_insert(Rate { full_at: now, suppressed: 0 }).allow(now)
    }
}

impl Rate {
    fn allow(&mut self, now: Instant) -> Option<u64> {
        let full_at = self.full_at.max(now) + INTERVAL;
        if full_at - now > INTERVAL * BURST {
            self.suppressed += 1;
            return None;
        }
        self.full_at = full_at;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_line_per_interval_with_the_number_of_those_left_out() {
        let start = Instant::now();
        let mut rate = Rate { full_at: start, suppressed: 0 };
        let passed = (0..BURST + 300).filter(|_| rate.allow(start).is_some()).count();
        assert_eq!(passed, BURST as usize);
        assert_eq!(rate.allow(start + INTERVAL), Some(300));
        assert_eq!(rate.allow(start + INTERVAL), None);
        assert_eq!(rate.allow(start + INTERVAL * 2), Some(1));
        let rested = start + INTERVAL * 1000;
        assert_eq!((0..BURST * 2).filter(|_| rate.allow(rested).is_some()).count(), BURST as usize);
    }
}
