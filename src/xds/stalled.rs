//! Ends what cannot end itself: the body of a stream whose client takes nothing is not polled, and pings are answered by
//! the client's library, so only someone outside can see the standstill.

use super::{budget::Budget, clients::Clients, metrics::Metrics};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

/// Looks for ever for streams that are stalled, or were asked to end and do not, and closes their connections.
pub(super) async fn close_stalled(clients: Arc<Clients>, budget: Arc<Budget>, limit: Duration, metrics: Metrics) {
    let mut ticks = interval((limit / 4).max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        budget.close_late();
        for (stream, peer) in clients.close_stalled(Instant::now(), limit) {
            metrics.closed.get_or_create(&"stalled".into()).inc();
            warn!(stream, %peer, seconds = limit.as_secs_f64(), "A client reads nothing; its connection is closed.");
        }
    }
}
