//! Limits that several sections use.

use std::time::Duration;

/// The largest value of most times: a longer one is taken for a mistake.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
