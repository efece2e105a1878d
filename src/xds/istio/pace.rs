//! When the next list goes to an Istiod: every list is decoded whole there, so as few as serve the purpose.
//!
//! One is in flight at a time. After its acknowledgement the next one waits for five times what that took, so that an
//! Istiod spends at most a fifth of its time on us, and at least for as long as Istiod itself collects changes (100 ms).
//! But no change waits longer than [`LATEST`]: an Istiod that does not acknowledge is sent to all the same.

use std::time::Duration;
use tokio::time::Instant;

/// The quiet time of Istiod's own debounce: faster lists would be collected there.
const APART: Duration = Duration::from_millis(100);
/// The share of its time that an Istiod spends on lists is one in so many.
const SHARE: u32 = 5;
/// No change waits longer.
const LATEST: Duration = Duration::from_secs(2);

/// The pace of one list. It has no clock of its own.
#[derive(Debug, Default)]
pub(super) struct Pace {
    sent: Option<Instant>,
    in_flight: bool,
    round_trip: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    /// Something differs from what was sent. Returns whether it goes out now.
    pub(super) fn changed(&mut self, now: Instant) -> bool {
        self.waiting_since.get_or_insert(now);
        self.due().is_some_and(|due| due <= now)
    }

    /// Nothing differs (any more) from what was sent.
    pub(super) fn unchanged(&mut self) {
        self.waiting_since = None;
    }

    /// Notes that a list goes out: it is in flight from now on.
    pub(super) fn sent(&mut self, now: Instant) {
        (self.sent, self.in_flight, self.waiting_since) = (Some(now), true, None);
    }

    /// The list that was sent last was acknowledged.
    pub(super) fn acknowledged(&mut self, now: Instant) {
        if let (true, Some(sent)) = (self.in_flight, self.sent) {
            self.round_trip = now.saturating_duration_since(sent);
            self.in_flight = false;
        }
    }

    /// Whether the list that was sent last was not acknowledged.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// When what differs goes out.
    pub(super) fn due(&self) -> Option<Instant> {
        let since = self.waiting_since?;
        let latest = since + LATEST;
        Some(match (self.sent, self.in_flight) {
            (None, _) => since,
            (Some(_), true) => latest,
            (Some(sent), false) => latest.min(sent + APART.max(SHARE * self.round_trip)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, due: Option<Instant>) -> Option<u128> {
        due.map(|due| (due - start).as_millis())
    }

    #[test]
    fn the_first_list_and_a_change_after_a_pause_go_at_once() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut pace = Pace::default();
        assert!(pace.changed(start));
        pace.sent(start);
        assert_eq!(pace.due(), None);
        pace.acknowledged(start + ms(10));
        assert!(pace.changed(start + ms(100)));
        pace.unchanged();
        assert_eq!(pace.due(), None);
    }

    #[test]
    fn lists_are_100_ms_or_five_round_trips_apart() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        for (round_trip, apart) in [(0, 100), (20, 100), (30, 150), (300, 1500)] {
            let mut pace = Pace::default();
            pace.sent(start);
            pace.acknowledged(start + ms(round_trip));
            assert!(!pace.changed(start + ms(round_trip)));
            assert_eq!(after(start, pace.due()), Some(apart), "round trip {round_trip} ms");
            assert!(pace.changed(start + ms(apart as u64)));
        }
    }

    #[test]
    fn no_change_waits_longer_than_2_s_whatever_the_istiod_does() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut pace = Pace::default();
        pace.sent(start);
        assert!(!pace.changed(start + ms(5)));
        assert!(!pace.changed(start + ms(1_000)), "the first change counts");
        assert_eq!(after(start, pace.due()), Some(2_005), "no acknowledgement");
        pace.acknowledged(start + ms(1_500));
        assert_eq!(after(start, pace.due()), Some(2_005), "a slow one");
        pace.sent(start + ms(2_005));
        pace.acknowledged(start + ms(2_006));
        pace.acknowledged(start + ms(9_000));
        pace.changed(start + ms(2_007));
        assert_eq!(after(start, pace.due()), Some(2_105), "an acknowledgement counts once");
    }
}
