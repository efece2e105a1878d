//! Tells systemd the state of this process: ready when Envoys can be answered, ending, and, if it asks for that, still
//! alive.

use crate::{resource::Dialect, util::systemd::Notify, views};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How much longer a start or an end may take than the configuration says.
const MORE: Duration = Duration::from_secs(15);

/// Reports readiness once, and life signs for the watchdog, until `stop`. `grace` is how long readiness may take.
pub(super) async fn run(notify: Arc<Notify>, views: views::Set, grace: Duration, stop: CancellationToken) {
    if !notify.is_heard() {
        return stop.cancelled().await;
    }
    say(&notify, &format!("STATUS=Waiting for registries.\nEXTEND_TIMEOUT_USEC={}", (grace + MORE).as_micros()));
    let mut readiness = views.readiness(Dialect::Envoy);
    let mut ready = false;
    // Twice within its time.
    let pulse = notify.watchdog.map(|watchdog| watchdog / 2);
    let mut next = Instant::now();
    loop {
        if !ready && views.is_ready(Dialect::Envoy) {
            ready = true;
            say(&notify, "READY=1\nSTATUS=Serving.");
        }
        let beat = async {
            match pulse {
                Some(_) => sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = readiness.changed(), if !ready => if changed.is_err() { return },
            () = beat => {
                say(&notify, "WATCHDOG=1");
                next = Instant::now() + pulse.unwrap_or(MORE);
            }
        }
    }
}

/// Reports that the process ends, and how long that may take.
pub(super) fn stopping(notify: &Notify, drain: Duration) {
    say(notify, &format!("STOPPING=1\nSTATUS=Draining.\nEXTEND_TIMEOUT_USEC={}", (drain + MORE).as_micros()));
}

fn say(notify: &Notify, text: &str) {
    match notify.say(text) {
        Ok(()) => debug!(text, "Told systemd."),
        Err(error) => warn!(%error, text, "Cannot tell systemd."),
    }
}
