//! The timer of a stream: it says when something is due although neither a request nor a generation comes.

use std::{pin::Pin, time::Duration};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long the timer sleeps while nothing is due; longer than any deadline is away.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// What is due is another thing with each answer and each request, and nearly never comes. So the runtime's timer is only ever
/// made earlier; one that rings before anything is due is set anew then.
#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    due: Option<Instant>,
}

impl Timer {
    /// Sets when something is due; `None`: nothing is.
    pub(super) fn set(&mut self, due: Option<Instant>) {
        self.due = due;
        match (&mut self.sleep, due) {
            (Some(sleep), Some(due)) if due < sleep.deadline() => sleep.as_mut().reset(due),
            (none @ None, Some(due)) => *none = Some(Box::pin(sleep_until(due))),
            _ => {}
        }
    }

    /// Waits until something is due. May be cancelled.
    pub(super) async fn elapsed(&mut self) {
        let Some(sleep) = &mut self.sleep else { return std::future::pending().await };
        loop {
            sleep.as_mut().await;
            let now = Instant::now();
            match self.due {
                Some(due) if due <= now => return,
                due => sleep.as_mut().reset(due.unwrap_or(now + NEVER)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn is_elapsed_after(timer: &mut Timer, time: Duration) -> bool {
        tokio::time::timeout(time, timer.elapsed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_elapses_when_something_is_due_however_often_that_was_changed() {
        let (start, mut timer) = (Instant::now(), Timer::default());
        assert!(!is_elapsed_after(&mut timer, SECOND).await, "nothing was ever due");
        // Put off, taken back, and due again: it rings when the first would have been due, and nobody hears it.
        for due in [Some(start + 5 * SECOND), Some(start + 20 * SECOND), None, Some(start + 30 * SECOND)] {
            timer.set(due);
        }
        assert!(!is_elapsed_after(&mut timer, 28 * SECOND).await);
        assert!(is_elapsed_after(&mut timer, 2 * SECOND).await);
        // What was due may be put off before anybody looks, or made earlier.
        timer.set(Some(start + 40 * SECOND));
        timer.set(Some(start + 35 * SECOND));
        assert!(!is_elapsed_after(&mut timer, 3 * SECOND).await);
        assert!(is_elapsed_after(&mut timer, 3 * SECOND).await);
        // After it rang with nothing due something may be due earlier than it is set to.
        timer.set(None);
        assert!(!is_elapsed_after(&mut timer, 5 * SECOND).await);
        let due = Instant::now() + SECOND;
        timer.set(Some(due));
        timer.elapsed().await;
        assert_eq!(Instant::now(), due);
    }
}
