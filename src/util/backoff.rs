//! How long to wait before the next attempt, with jitter.
//!
//! Everything that retries or polls takes its waits from here. The invariant: a wait is between half of the present step
//! and the whole of it, and no step is longer than the cap.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Exponential backoff: each wait is up to twice as long as the one before.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    step: Duration,
}

impl Backoff {
    /// The first step is `base`, the longest `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        let base = base.min(cap);
        Backoff { base, cap, step: base }
    }

    /// The wait after one more failure.
    #[must_use]
    pub(crate) fn next(&mut self) -> Duration {
        let step = self.step;
        self.step = (step * 2).min(self.cap);
        step.mul_f64(0.5 + random() / 2.0)
    }

    /// Begins again at `base`, after a success.
    pub fn reset(&mut self) {
        self.step = self.base;
    }
}

/// `period`, up to a tenth shorter or longer, so that many replicas do not poll at the same moment.
#[must_use]
pub fn jittered(period: Duration) -> Duration {
    period.mul_f64(0.9 + random() / 5.0)
}

/// A number from 0 to below 1, good enough to spread load: each `RandomState` has keys of its own.
#[must_use]
pub fn random() -> f64 {
    (RandomState::new().hash_one(0u8) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_cap_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        for step in [100, 200, 300, 300] {
            let wait = backoff.next();
            let step = Duration::from_millis(step);
            assert!(wait >= step / 2 && wait <= step, "{wait:?} for a step of {step:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }

    #[test]
    fn two_waits_of_one_period_differ() {
        let waits: Vec<_> = (0..8).map(|_| jittered(Duration::from_secs(10))).collect();
        assert!(waits.iter().any(|w| *w != waits[0]), "{waits:?}");
        assert!(waits.iter().all(|w| (9.0..=11.0).contains(&w.as_secs_f64())), "{waits:?}");
    }
}
