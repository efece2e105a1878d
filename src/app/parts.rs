//! The tasks of a running Portolan. Each has a name, a span, and a token of its own that ends it, so that one can be stopped
//! or replaced while the others go on.

use crate::model::Text;
use std::future::{Future, pending};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

/// Tasks that run until they are stopped.
#[derive(Debug)]
pub(super) struct Parts {
    tasks: JoinSet<(Text, CancellationToken)>,
    stop: CancellationToken,
}

impl Parts {
    /// Holds no task yet. All tasks end when `stop` is cancelled.
    pub(super) fn new(stop: CancellationToken) -> Self {
        Parts { tasks: JoinSet::new(), stop }
    }

    /// Starts a part. The token stops it alone, and is the one that `part` is given.
    pub(super) fn start<F>(
        &mut self,
        name: impl Into<Text>,
        part: impl FnOnce(CancellationToken) -> F,
    ) -> CancellationToken
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (name, stop) = (name.into(), self.stop.child_token());
        let span = info_span!("part", %name);
        let (task, own) = (part(stop.clone()), stop.clone());
        let named = async move {
            task.await;
            (name, own)
        };
        self.tasks.spawn(named.instrument(span));
        stop
    }

    /// Waits for the next part that ends without being stopped, or panics, and says which. Waits for ever if none does.
    /// Safe to cancel.
    pub(super) async fn broken(&mut self) -> String {
        loop {
            match self.tasks.join_next().await {
                Some(Ok((_, stop))) if stop.is_cancelled() => {}
                Some(Ok((name, _))) => return format!("the part {name:?} ended by itself"),
                Some(Err(error)) => return format!("a part broke: {error}"),
                None => pending().await,
            }
        }
    }

    /// Stops all, and waits until they have ended.
    pub(super) async fn end(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn a_part_that_is_stopped_is_not_broken_and_one_that_ends_is() {
        let mut parts = Parts::new(CancellationToken::new());
        let first = parts.start("first", |stop| async move { stop.cancelled().await });
        parts.start("second", |stop| async move { stop.cancelled().await });
        first.cancel();
        assert!(timeout(Duration::from_secs(1), parts.broken()).await.is_err());
        parts.start("third", |_| async {});
        assert_eq!(parts.broken().await, "the part \"third\" ended by itself");
        parts.start("fourth", |_| async { panic!("boom") });
        assert!(parts.broken().await.contains("panicked"));
        parts.end().await;
    }
}
