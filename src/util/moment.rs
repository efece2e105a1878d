//! Waiting for a moment that may never come.

use std::future::pending;
use tokio::time::{Instant, sleep_until};

/// Waits until then; without a moment, for ever.
pub async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}
