//! Hosts that a service cannot have because another has them: what the log is to be told, once and in few lines.

use crate::model::{Hostname, ServiceId};
use std::time::{Duration, Instant};

/// A registry's contests make one line in so much time, whatever happens.
const QUIET: Duration = Duration::from_secs(60);

/// A service with instances that cannot have, or has lost, a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contest {
    /// The host that both claim.
    pub host: Hostname,
    /// The service that is not published under it.
    pub loser: ServiceId,
    /// The service that it is published for: the first of its sources.
    pub owner: ServiceId,
}

/// The contests that one registry's services have lost since the last line.
#[derive(Debug, Clone, Default)]
pub(super) struct ContestLog {
    number: usize,
    example: Option<Contest>,
    quiet_until: Option<Instant>,
}

impl ContestLog {
    pub(super) fn add(&mut self, contest: Contest) {
        self.number += 1;
        self.example.get_or_insert(contest);
    }

    /// When there is something to be logged.
    pub(super) fn due(&self) -> Option<Instant> {
        self.quiet_until.filter(|_| self.number > 0)
    }

    /// What is to be logged now: how many contests there were, and the first of them. `None` while it is quiet.
    pub(super) fn take(&mut self, now: Instant) -> Option<(usize, Contest)> {
        if self.number == 0 || self.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        self.quiet_until = Some(now + QUIET);
        let number = std::mem::take(&mut self.number);
        self.example.take().map(|example| (number, example))
    }
}
