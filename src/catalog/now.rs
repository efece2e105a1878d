//! The time, as it is passed into the catalog's core: the core itself never reads a clock.

use std::time::{Instant, SystemTime};

/// One moment, by a clock for measuring and by the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Never set back: timers go by it.
    pub instant: Instant,
    /// For display, and for what is kept over a restart. The clock may be set back.
    pub wall: SystemTime,
}

impl Now {
    /// The moment that comes `time` later, by both clocks.
    pub fn after(self, time: std::time::Duration) -> Self {
        Now { instant: self.instant + time, wall: self.wall + time }
    }

    /// The moment at which the wall clock showed `wall`; now, if that is still to come.
    pub(super) fn ago(self, wall: SystemTime) -> Now {
        let time = self.wall.duration_since(wall).unwrap_or_default();
        Now { instant: self.instant.checked_sub(time).unwrap_or(self.instant), wall: wall.min(self.wall) }
    }

    /// The moment at which the wall clock will show `wall`; now, if that has passed.
    pub(super) fn ahead(self, wall: SystemTime) -> Instant {
        self.instant + wall.duration_since(self.wall).unwrap_or_default()
    }

    /// What the wall clock showed, or will show, at that instant.
    pub(super) fn wall_at(self, instant: Instant) -> SystemTime {
        match instant.checked_duration_since(self.instant) {
            Some(ahead) => self.wall + ahead,
            None => self.wall - (self.instant - instant),
        }
    }
}
