//! Waiting for a time that may never come.

use std::future::pending;
use tokio::time::{Instant, sleep_until};

/// Waits until then; `None`: for ever.
pub async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}
