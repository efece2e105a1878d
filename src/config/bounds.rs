//! Bounds that several sections have.

use std::time::Duration;

/// Beyond it, a time is a mistake rather than a wish.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
