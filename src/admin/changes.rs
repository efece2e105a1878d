//! Whether requests that change something are taken. While another process is about to take over they are not: it has read
//! already what there is, and would know nothing of them. Nor at the end, when state is written for the last time.

use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

/// Lets changes in, or not. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Counts those under way. While it is closed, no further ones are taken.
    under_way: TaskTracker,
}

impl Changes {
    /// Takes no changes from now on, and waits until those under way have ended.
    pub async fn close(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    /// Ends what [`Changes::close`] has begun.
    pub fn open(&self) {
        self.under_way.reopen();
    }

    /// The right to make a change, for as long as it is held. `None`: none are taken.
    pub(super) fn begin(&self) -> Option<TaskTrackerToken> {
        // It is counted before it is decided, so that none is missed by whoever closes in between.
        let right = self.under_way.token();
        (!self.under_way.is_closed()).then_some(right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_closes_waits_for_what_is_under_way_and_lets_nothing_more_in() {
        let changes = Changes::default();
        let right = changes.begin();
        assert!(right.is_some());
        let closing = tokio::spawn({
            let changes = changes.clone();
            async move { changes.close().await }
        });
        while changes.begin().is_some() {
            tokio::task::yield_now().await;
        }
        assert!(!closing.is_finished());
        drop(right);
        closing.await.unwrap();
        changes.open();
        assert!(changes.begin().is_some());
    }
}
