//! When all services are read once more, though it is not known which have changed: how soon, how fast, in which order.
//! Pure.
//!
//! Where something has changed that may be anywhere, it is soon and fast: in slices, so that what is heard of meanwhile does
//! not wait, and with a pause behind it that bounds what a registry in constant change costs. Where it is only time for
//! that, it is slow: nobody waits, and no server is to notice.

use crate::model::Text;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// The most services that a fast look reads between two reports.
const SLICE: usize = 256;
/// After a fast look there is none for four times as long as it took, and for this time at least.
const SHORTEST_REST: Duration = Duration::from_millis(200);
/// The most services that a slow look reads at once.
const SLOW_SLICE: usize = 40;
/// The longest pause between two slices of a slow look. It is shorter if the look would not end in its time.
const SLOW_PAUSE: Duration = Duration::from_secs(1);

/// The reading of all services once more: what is wanted, what is under way, and when it may go on.
#[derive(Debug)]
pub(super) struct Look {
    /// Services that the present look has still to read.
    queue: VecDeque<Text>,
    began: Instant,
    /// For a slow look: when its next slice is due, and the pause between slices. `None` for a fast one.
    slow: Option<(Instant, Duration)>,
    /// Something has changed that may concern any service, so a fast look is wanted.
    wanted: bool,
    not_before: Instant,
    /// A slow look is wanted, which is to end within this time.
    wanted_slowly: Option<Duration>,
}

impl Look {
    pub(super) fn new(now: Instant) -> Self {
        Look { queue: VecDeque::new(), began: now, slow: None, wanted: false, not_before: now, wanted_slowly: None }
    }

    /// Wants a fast look if something has changed that may concern any service.
    pub(super) fn want_if(&mut self, wanted: bool) {
        self.wanted |= wanted;
    }

    /// Wants a fast look at once, without the rest after the last one; the present look is dropped.
    pub(super) fn want_now(&mut self, now: Instant) {
        (self.wanted, self.not_before) = (true, now);
        self.queue.clear();
    }

    /// Wants a slow look that ends within this time. If a look is under way, that one is enough.
    pub(super) fn want_slowly(&mut self, within: Duration) {
        if self.queue.is_empty() {
            self.wanted_slowly = Some(within);
        }
    }

    /// Begins a look at `all` services if one is wanted and due.
    pub(super) fn begin(&mut self, now: Instant, all: impl FnOnce() -> Vec<Text>) {
        let is_free = self.queue.is_empty() || self.slow.is_some();
        if self.wanted && self.not_before <= now && is_free {
            self.queue = all().into();
            (self.wanted, self.wanted_slowly, self.slow, self.began) = (false, None, None, now);
        } else if let Some(within) = self.wanted_slowly.take_if(|_| is_free) {
            self.queue = all().into();
            let slices = u32::try_from(self.queue.len().div_ceil(SLOW_SLICE)).unwrap_or(u32::MAX);
            self.slow = Some((now, SLOW_PAUSE.min(within / slices.max(1))));
        }
    }

    /// The next services to read, and `true` if they are the last of the look. With `as_a_whole`, a fast look gives all
    /// that are left.
    pub(super) fn next(&mut self, now: Instant, as_a_whole: bool) -> (Vec<Text>, bool) {
        let most = match &mut self.slow {
            Some((at, _)) if *at > now => 0,
            Some((at, pause)) => {
                *at = now + *pause;
                SLOW_SLICE
            }
            None if as_a_whole => usize::MAX,
            None => SLICE,
        };
        let names: Vec<Text> = self.queue.drain(..self.queue.len().min(most)).collect();
        let is_last = !names.is_empty() && self.queue.is_empty();
        (names, is_last)
    }

    /// Ends the look after its last services were read. After a fast look, the next one has to wait.
    pub(super) fn end(&mut self, now: Instant) {
        if self.slow.take().is_none() {
            self.not_before = now + (now - self.began).saturating_mul(4).max(SHORTEST_REST);
        }
    }

    /// When [`Look::begin`] or [`Look::next`] has something to do; `None` if no look is wanted.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let under_way = match self.slow {
            _ if self.queue.is_empty() => self.wanted_slowly.map(|_| now),
            Some((at, _)) => Some(at),
            None => return Some(now),
        };
        let wanted = self.wanted.then_some(self.not_before);
        under_way.into_iter().chain(wanted).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn all(count: usize) -> Vec<Text> {
        (0..count).map(|n| Text::from(format!("s{n}"))).collect()
    }

    #[test]
    fn a_fast_look_goes_in_slices_and_rests_behind() {
        let now = Instant::now();
        let mut look = Look::new(now);
        look.begin(now, || panic!("nobody wants one"));
        assert_eq!((look.due(now), look.next(now, false)), (None, (vec![], false)));
        look.want_if(true);
        assert_eq!(look.due(now), Some(now));
        look.begin(now, || all(SLICE + 1));
        assert_eq!(look.next(now, false), (all(SLICE), false));
        // What is said while it lasts is for the next one.
        look.want_if(true);
        look.begin(now, || panic!("it is not over"));
        assert_eq!(look.next(now, false), (vec![format!("s{SLICE}").into()], true));
        look.end(now + SECOND);
        assert_eq!(look.due(now), Some(now + 5 * SECOND));
        look.begin(now + 4 * SECOND, || panic!("it rests"));
        look.want_now(now + 4 * SECOND);
        look.begin(now + 4 * SECOND, || all(3 * SLICE));
        assert_eq!(look.next(now, true), (all(3 * SLICE), true));
    }

    #[test]
    fn a_slow_look_takes_its_time_and_gives_way_to_a_fast_one() {
        let now = Instant::now();
        let mut look = Look::new(now);
        look.want_slowly(150 * SECOND);
        assert_eq!(look.due(now), Some(now));
        look.begin(now, || all(3 * SLOW_SLICE));
        for turn in 0..2 {
            let now = now + turn * SECOND;
            assert_eq!(look.due(now), Some(now));
            assert_eq!(look.next(now, true).0.len(), SLOW_SLICE);
            assert_eq!(look.next(now, true).0.len(), 0, "not yet");
        }
        look.want_slowly(150 * SECOND);
        assert_eq!(look.due(now), Some(now + 2 * SECOND));
        look.want_if(true);
        assert_eq!(look.due(now + SECOND), Some(now));
        look.begin(now + SECOND, || all(10));
        assert_eq!(look.next(now + SECOND, false), (all(10), true));
        look.end(now + SECOND);
        assert_eq!(look.due(now + SECOND), None, "what the fast one has seen is seen");
    }

    #[test]
    fn a_slow_look_at_very_much_is_over_in_its_time() {
        let (mut now, mut turns) = (Instant::now(), 0);
        let mut look = Look::new(now);
        let end = now + 151 * SECOND;
        look.want_slowly(150 * SECOND);
        look.begin(now, || all(100_000));
        while !look.next(now, false).1 {
            now = look.due(now).unwrap();
            turns += 1;
        }
        look.end(now);
        assert!(now < end && look.due(now).is_none() && turns == 100_000 / SLOW_SLICE - 1, "{turns}");
    }
}
