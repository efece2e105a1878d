//! The reading loop of every registry: a round, a pause, the next round.
//!
//! After a good round the pause is the period, after a failed one a backoff; both with jitter. A server that asks for a
//! longer pause gets it. The loop ends when nobody receives updates any more, and never otherwise.

use super::outbox::Closed;
use crate::util::backoff::{Backoff, jittered};
use std::time::Duration;
use tokio::time::sleep;

/// How a round went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Round {
    /// Something was read. A round in which nothing could be read is repeated after a backoff.
    pub(super) good: bool,
    /// The shortest pause that the server asks for (`Retry-After`); zero if it asks for none.
    pub(super) retry_after: Duration,
}

impl Round {
    /// The next round comes after the period.
    pub(super) const GOOD: Round = Round { good: true, retry_after: Duration::ZERO };
    /// Nothing could be read: the next round comes after a backoff.
    pub(super) const FAILED: Round = Round { good: false, retry_after: Duration::ZERO };
}

/// How long the pauses between rounds are: `period` after a good round, `backoff` after a failed one.
#[derive(Debug)]
pub(super) struct Pace {
    period: Duration,
    backoff: Backoff,
}

impl Pace {
    /// A round in every `period`. The first retry comes after `first_retry` at most, a later one after `last_retry` at
    /// most.
    pub(super) fn new(period: Duration, first_retry: Duration, last_retry: Duration) -> Self {
        Pace { period, backoff: Backoff::new(first_retry, last_retry) }
    }

    /// The pause after a round, with jitter. It is never shorter than what the server asks for.
    pub(super) fn after(&mut self, round: &Round) -> Duration {
        let pause = if round.good {
            self.backoff.reset();
            jittered(self.period)
        } else {
            self.backoff.next()
        };
        pause.max(round.retry_after)
    }
}

/// A registry that is read in rounds.
pub(super) trait Rounds {
    /// Reads what is to be read, and sends it. A failure is sent, too, and makes a round that is not good.
    async fn round(&mut self) -> Result<Round, Closed>;

    /// Waits for the next round, as a rule for `pause`. A registry that gets reports of changes may return earlier.
    async fn rest(&mut self, pause: Duration) -> Result<(), Closed> {
        sleep(pause).await;
        Ok(())
    }
}

/// Reads until nobody receives updates any more.
pub(super) async fn run(reader: &mut impl Rounds, mut pace: Pace) -> Closed {
    loop {
        let rested = match reader.round().await {
            Ok(round) => reader.rest(pace.after(&round)).await,
            Err(closed) => return closed,
        };
        if let Err(closed) = rested {
            return closed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const PERIOD: Duration = Duration::from_secs(10);

    /// Takes its rounds from a list, and notes when each began.
    struct Script {
        rounds: Vec<Round>,
        began: Vec<Instant>,
    }

    impl Rounds for Script {
        async fn round(&mut self) -> Result<Round, Closed> {
            self.began.push(Instant::now());
            self.rounds.get(self.began.len() - 1).copied().ok_or(Closed)
        }
    }

    /// The pauses behind these rounds, in milliseconds.
    async fn pauses(rounds: &[Round]) -> Vec<u128> {
        let mut script = Script { rounds: rounds.into(), began: Vec::new() };
        let pace = Pace::new(PERIOD, Duration::from_millis(400), Duration::from_secs(1));
        assert_eq!(run(&mut script, pace).await, Closed);
        script.began.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_and_a_success_ends_that() {
        use Round as R;
        let pauses = pauses(&[R::GOOD, R::FAILED, R::FAILED, R::FAILED, R::FAILED, R::GOOD, R::FAILED]).await;
        let expected = [9_000..=11_001, 200..=401, 400..=801, 500..=1_001, 500..=1_001, 9_000..=11_001, 200..=401];
        assert_eq!(pauses.len(), expected.len());
        for (pause, range) in pauses.iter().zip(&expected) {
            assert!(range.contains(pause), "{pauses:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_gets_the_pause_that_it_asks_for() {
        let asked = |good, seconds| Round { good, retry_after: Duration::from_secs(seconds) };
        let pauses = pauses(&[asked(false, 30), asked(true, 30), asked(true, 1)]).await;
        assert!(pauses[..2].iter().all(|pause| (30_000..=30_001).contains(pause)), "{pauses:?}");
        assert!((9_000..=11_001).contains(&pauses[2]), "{pauses:?}");
    }
}
