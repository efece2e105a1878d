//! Waiting for an optional time, and times in the units of metrics.

use std::{
    future::pending,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::time::{Instant, sleep_until};

/// Waits until the time; with `None` for ever.
pub async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// Milliseconds since 1970; what was before is 0.
pub fn unix_millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX)
}

/// Seconds since 1970; what was before is 0.
pub fn unix_seconds(at: SystemTime) -> i64 {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    seconds.try_into().unwrap_or(i64::MAX)
}
