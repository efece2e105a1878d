//! Figures for people.

use std::{fmt, time::Duration};

/// The median, the 99th percentile and the largest of some durations.
pub struct Spread {
    sorted: Vec<Duration>,
}

impl Spread {
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<Duration> = durations.into_iter().collect();
        sorted.sort();
        Spread { sorted }
    }

    /// The 99th percentile in milliseconds; NaN if there are no durations.
    pub fn p99(&self) -> f64 {
        self.at(0.99)
    }

    fn at(&self, share: f64) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get((last as f64 * share).round() as usize).map_or(f64::NAN, |d| d.as_secs_f64() * 1000.0)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:>7.1}  p99 {:>7.1}  max {:>7.1} ms", self.at(0.5), self.at(0.99), self.at(1.0))
    }
}
