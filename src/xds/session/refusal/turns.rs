//! How often a type may be sent again because something of it was refused: a few times at once, and then slowly.

use std::time::Duration;
use tokio::time::Instant;

/// Turns that may be taken at once. A search among 5,000 resources takes 14.
const BURST: u32 = 48;
/// After that, one turn comes back in each of these.
const EACH: Duration = Duration::from_secs(5);

/// How many turns are left, and since when that grows; `None`: all are left.
#[derive(Debug, Default)]
pub(in super::super) struct Turns(Option<(u32, Instant)>);

impl Turns {
    /// Takes one; `false` if there is none.
    pub(in super::super) fn take(&mut self, now: Instant) -> bool {
        let (left, since) = self.0.unwrap_or((BURST, now));
        let grown = (now.saturating_duration_since(since).as_secs() / EACH.as_secs()) as u32;
        let left = left.saturating_add(grown).min(BURST);
        let since = if left == BURST { now } else { since + EACH * grown };
        self.0 = Some((left.saturating_sub(1), since));
        left > 0
    }

    /// When there is one again; `None`: there is one.
    pub(in super::super) fn next(&self) -> Option<Instant> {
        let (_, since) = self.0.filter(|(left, _)| *left == 0)?;
        Some(since + EACH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_run_out_and_come_back_slowly() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        assert_eq!(turns.next(), None);
        assert_eq!((0..100).filter(|_| turns.take(now)).count(), 48);
        assert_eq!(turns.next(), Some(now + EACH));
        assert!(!turns.take(now + Duration::from_secs(4)));
        assert!(turns.take(now + Duration::from_secs(11)));
        assert!(turns.take(now + Duration::from_secs(11)));
        assert!(!turns.take(now + Duration::from_secs(11)));
        assert_eq!(turns.next(), Some(now + 3 * EACH));
        let later = now + Duration::from_secs(10_000);
        assert_eq!((0..100).filter(|_| turns.take(later)).count(), 48);
    }
}
