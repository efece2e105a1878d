//! When everything is looked at once more, though nobody says what has changed: how soon, how fast, and in which order. Pure.
//!
//! Where something has changed that may be anywhere, it is soon and fast: in slices, so that what is heard of meanwhile does
//! not wait, and with a pause behind it that bounds what a registry in constant change costs. Where it is only time for
//! that, it is slow: nobody waits, and no server is to notice.

use crate::model::Text;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// Services of a fast look that are read between two reports.
const SLICE: usize = 256;
/// After a fast look there is none for four times as long as it took, and for this time at least.
const SHORTEST_REST: Duration = Duration::from_millis(200);
/// Services of a slow look that are read at once.
const SLOW_SLICE: usize = 40;
/// From one of its slices to the next; less where it would not be over in its time.
const SLOW_PAUSE: Duration = Duration::from_secs(1);

/// A look at everything.
#[derive(Debug)]
pub(super) struct Look {
    /// Still to be read.
    queue: VecDeque<Text>,
    began: Instant,
    /// Of a slow one, when its next slice is due, and what is between two of them.
    slow: Option<(Instant, Duration)>,
    /// Something has changed that may be anywhere.
    wanted: bool,
    not_before: Instant,
    /// It is time for a slow one, which is to be over within this.
    wanted_slowly: Option<Duration>,
}

impl Look {
    pub(super) fn new(now: Instant) -> Self {
        Look { queue: VecDeque::new(), began: now, slow: None, wanted: false, not_before: now, wanted_slowly: None }
    }

    /// Whether something has changed that may be anywhere.
    pub(super) fn want_if(&mut self, wanted: bool) {
        self.wanted |= wanted;
    }

    /// The same; and nothing that was read before counts, so there is no pause before.
    pub(super) fn want_now(&mut self, now: Instant) {
        (self.wanted, self.not_before) = (true, now);
        self.queue.clear();
    }

    /// It is time for one, though nobody says that something has changed. One that is under way is as good.
    pub(super) fn want_slowly(&mut self, within: Duration) {
        if self.queue.is_empty() {
            self.wanted_slowly = Some(within);
        }
    }

    /// Begins with these, if it is time for that.
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

    /// The next to be read, and whether they are the last. Of a fast look that is to be told as a whole it is all that are left.
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

    /// The last were read.
    pub(super) fn end(&mut self, now: Instant) {
        if self.slow.take().is_none() {
            self.not_before = now + (now - self.began).saturating_mul(4).max(SHORTEST_REST);
        }
    }

    /// When there is something to be done.
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
