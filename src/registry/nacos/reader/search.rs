//! When a better interface is looked for: rights are given later, servers are upgraded, and one that is refused for a
//! moment is there in the next.
//!
//! After [`FIRST`], or `resync` if that is shorter, then later each time without success, up to [`LONGEST`]: it costs a
//! request or two for each namespace. The first look is soon, as it is after a restart that rights come late.

use crate::registry::backoff::Backoff;
use std::time::Duration;
use tokio::time::Instant;

/// From the choice of an interface to the first look for a better one.
const FIRST: Duration = Duration::from_secs(5);
/// From one look to the next, at most.
const LONGEST: Duration = Duration::from_secs(600);

/// When the next look is due.
#[derive(Debug)]
pub(super) struct Search {
    backoff: Backoff,
    due: Instant,
}

impl Search {
    pub(super) fn new(resync: Duration) -> Self {
        Search { backoff: Backoff::new(FIRST.min(resync), LONGEST), due: Instant::now() }
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// The interface is another one now.
    pub(super) fn found(&mut self) {
        self.backoff.reset();
        self.missed();
    }

    /// There is nothing better yet.
    pub(super) fn missed(&mut self) {
        self.due = Instant::now() + self.backoff.next();
    }
}
