//! Whether a server's lists fit the hashes that they carry, and what to make of one that does not.
//!
//! A real server that makes a list while an instance changes may count the new status and list the old one, or the other way
//! round. It keeps that answer until the next change, a stock one at least until it makes its answers anew (every 30 s). So
//! such a list is refused and read again without a word; it is a failure when nothing else has come for a while. Where lists
//! have never fit, or not for long, the server is another make, whose hash says nothing.

use std::time::Duration;
use tokio::time::Instant;

/// What is known of one server's hashes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Trust {
    /// When a list or a delta last fitted its hash.
    fitted: Option<Instant>,
    /// When the first list since then was refused; `None` if none was.
    refused: Option<Instant>,
}

/// What becomes of a list that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// It is taken: the server counts in another way.
    Taken,
    /// It is refused, and read again soon.
    Refused,
    /// It is refused, and that has lasted too long to be said of one answer.
    Lasting,
}

impl Trust {
    /// A list or a delta fits its hash.
    pub(super) fn fits(&mut self) {
        *self = Trust { fitted: Some(Instant::now()), refused: None };
    }

    /// The server's list is as before, so the time of refusals starts anew.
    pub(super) fn stays(&mut self) {
        self.refused = None;
    }

    /// A list does not fit its hash. It is taken if nothing has fit for `other_make`; refusals are lasting after
    /// `patience`.
    pub(super) fn misfits(&mut self, patience: Duration, other_make: Duration) -> Misfit {
        if self.fitted.is_none_or(|at| at.elapsed() >= other_make) {
            return Misfit::Taken;
        }
        let since = *self.refused.get_or_insert_with(Instant::now);
        if since.elapsed() >= patience { Misfit::Lasting } else { Misfit::Refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const PATIENCE: Duration = Duration::from_secs(60);
    const OTHER_MAKE: Duration = Duration::from_secs(300);

    #[tokio::test(start_paused = true)]
    async fn a_misfit_is_refused_and_a_failure_when_it_lasts() {
        let mut trust = Trust::default();
        let misfits = |trust: &mut Trust| trust.misfits(PATIENCE, OTHER_MAKE);
        assert_eq!(misfits(&mut trust), Misfit::Taken, "lists never fit");
        trust.fits();
        advance(PATIENCE).await;
        assert_eq!(misfits(&mut trust), Misfit::Refused, "the first");
        advance(PATIENCE - Duration::from_secs(1)).await;
        assert_eq!(misfits(&mut trust), Misfit::Refused);
        trust.fits();
        advance(Duration::from_secs(2)).await;
        assert_eq!(misfits(&mut trust), Misfit::Refused, "one that fit came between");
        advance(PATIENCE).await;
        assert_eq!(misfits(&mut trust), Misfit::Lasting);
        advance(OTHER_MAKE).await;
        assert_eq!(misfits(&mut trust), Misfit::Taken, "nothing has fit for long");
    }
}
