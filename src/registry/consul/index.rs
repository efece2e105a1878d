//! The rules of Consul's index, which every answer to a blocking query carries. Pure.
//!
//! By its documentation: an index below 1 does not block; one that goes backwards (a server was restored, or is another) is
//! followed from the beginning; a return is no proof of a change. So an answer that comes back at once with the index that
//! was asked for is waited for longer each time, and nothing that a server answers makes us ask in a tight loop.

use crate::util::backoff::Backoff;
use std::time::Duration;

/// The shortest pause between two answers of one watch.
const SHORTEST: Duration = Duration::from_millis(50);
/// The longest pause, where a server never holds a question back: then this is polling.
const LONGEST: Duration = Duration::from_secs(2);

/// State of one list that is followed: its last index, and the backoff of answers without news.
#[derive(Debug)]
pub(super) struct Follow {
    index: u64,
    idle: Backoff,
}

/// What follows from one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// The index went back, so nothing that is known from before may be relied on.
    pub(super) restarted: bool,
    /// How long to wait before the next request.
    pub(super) pause: Duration,
}

impl Follow {
    pub(super) fn new() -> Self {
        Follow { index: 0, idle: Backoff::new(SHORTEST * 2, LONGEST) }
    }

    /// The index to send with the next request; the server answers 0 at once.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// Takes the index of an answer that came after `took`, where the server could hold it back for `wait`. A missing
    /// index counts as 0.
    pub(super) fn answered(&mut self, index: Option<u64>, took: Duration, wait: Duration) -> Turn {
        let (before, index) = (self.index, index.unwrap_or_default());
        let restarted = index < before;
        self.index = if restarted { 0 } else { index };
        let held = before > 0 && took >= wait / 2;
        let pause = match index > before || held {
            true => {
                self.idle.reset();
                SHORTEST.saturating_sub(took)
            }
            false => self.idle.next().max(SHORTEST).saturating_sub(took),
        };
        Turn { restarted, pause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);
    const NOW: Duration = Duration::ZERO;

    #[test]
    fn the_index_is_followed_and_begins_anew_when_it_goes_back() {
        let mut follow = Follow::new();
        let mut answered = |index| {
            let turn = follow.answered(index, NOW, WAIT);
            (follow.index(), turn.restarted)
        };
        assert_eq!(answered(Some(7)), (7, false));
        assert_eq!(answered(Some(9)), (9, false));
        assert_eq!(answered(Some(9)), (9, false));
        assert_eq!(answered(Some(8)), (0, true));
        assert_eq!(answered(Some(3)), (3, false));
        assert_eq!(answered(None), (0, true));
        assert_eq!(answered(Some(0)), (0, false));
    }

    #[test]
    fn what_comes_back_at_once_is_asked_for_less_often() {
        let mut follow = Follow::new();
        let mut pause = |index, took| follow.answered(index, took, WAIT).pause;
        assert_eq!(pause(Some(5), NOW), SHORTEST, "the first answer");
        assert_eq!(pause(Some(6), WAIT / 10), Duration::ZERO, "a change after a while");
        assert_eq!(pause(Some(6), WAIT), Duration::ZERO, "the time is over");
        let idle: Vec<Duration> = (0..12).map(|_| pause(Some(6), NOW)).collect();
        assert!(idle[0] >= SHORTEST && idle[11] >= LONGEST / 2 && idle[11] <= LONGEST, "{idle:?}");
        assert_eq!(pause(Some(7), NOW), SHORTEST, "a change ends that");
        let missing: Vec<Duration> = (0..12).map(|_| pause(None, NOW)).collect();
        assert!(missing.iter().all(|pause| *pause >= SHORTEST) && missing[11] >= LONGEST / 2, "{missing:?}");
        assert_eq!(pause(Some(0), WAIT), Duration::ZERO, "it has taken its time by itself");
    }
}
