//! Ends what cannot end itself: the body of a stream whose client takes nothing is not polled, and pings are answered by
//! the client's library, so only someone outside can see the standstill.

use super::{clients::Clients, metrics::Metrics};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

/// Looks for stalled streams for ever, and closes their connections.
pub(super) async fn close_stalled(clients: Arc<Clients>, limit: Duration, metrics: Metrics) {
    let mut ticks = interval((limit / 4).max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (stream, peer) in clients.close_stalled(Instant::now(), limit) {
            metrics.closed.get_or_create(&"stalled".into()).inc();
            warn!(stream, %peer, seconds = limit.as_secs_f64(), "A client reads nothing; its connection is closed.");
        }
    }
}
