//! How long to wait before the next attempt: longer each time, never the same for two who failed together.
//!
//! Used by everything here that tries again. The invariant: a wait is between half of and the whole of the present step,
//! and no step passes the cap.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Doubling steps with jitter.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    base: Duration,
    cap: Duration,
    step: Duration,
}

impl Backoff {
    /// Starts at `base` and grows to `cap`.
    pub(super) fn new(base: Duration, cap: Duration) -> Self {
        let base = base.min(cap);
        Backoff { base, cap, step: base }
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let step = self.step;
        self.step = (step * 2).min(self.cap);
        step.mul_f64(0.5 + random() / 2.0)
    }

    /// After a success: the next failure waits little again.
    pub(super) fn reset(&mut self) {
        self.step = self.base;
    }
}

/// `period`, up to a tenth shorter or longer, so that many who poll do not poll together.
pub(super) fn jittered(period: Duration) -> Duration {
    period.mul_f64(0.9 + random() / 5.0)
}

/// From 0 up to 1. Each `RandomState` has keys of its own, which is random enough to spread load.
fn random() -> f64 {
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
