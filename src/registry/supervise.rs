//! Reads a registry, and keeps its reading alive: that is a task of its own, so that its panic is seen here and nowhere else.

use super::{Feed, Kind, Metrics, Written};
use crate::{
    model::{CallUpdate, ManifestUpdate, Text, Update},
    util::backoff::Backoff,
};
use std::{future::Future, time::Duration};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{Instrument, error, info_span};

/// A reading that lasted this long had succeeded: its next failure is a new one.
const SETTLED: Duration = Duration::from_secs(60);

/// A registry as [`spawn`] takes it: the kind with its section, and the name by which it is configured.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Its name in the configuration; every service of it carries the name.
    pub name: Text,
    /// Kind of the registry with its section: servers, rules, limits.
    pub kind: Kind,
}

/// Reads a registry. When a channel of the feed is full, the reading waits, because the newest state is read again anyway.
/// Returns when `stop` is cancelled or the channel of updates is closed, never by itself: after a panic or an early end it
/// sends [`Update::Failed`] for the whole registry and starts the reading anew, later each time.
pub async fn read(kind: Kind, feed: Feed, stop: CancellationToken) {
    let given = feed.clone();
    supervise(feed, stop, move || kind.adapter().read(given.clone())).await;
}

/// Like [`read`], in a task of its own, and without what consumers need.
pub fn spawn(
    registry: Registry,
    out: mpsc::Sender<Update>,
    manifests: Option<mpsc::Sender<ManifestUpdate>>,
    metrics: Metrics,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let Registry { name, kind } = registry;
    let written = Written::default();
    tokio::spawn(read(kind, Feed { registry: name, updates: out, manifests, calls: None, metrics, written }, stop))
}

/// Runs `reading` again and again until `stop` or the end of the receiver.
async fn supervise<F>(feed: Feed, stop: CancellationToken, mut reading: impl FnMut() -> F)
where
    F: Future<Output = Result<(), Text>> + Send + 'static,
{
    let Feed { registry: name, updates: out, manifests, calls, metrics, .. } = feed;
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    let work = async {
        while !out.is_closed() {
            let started = Instant::now();
            let task = tokio::spawn(reading().instrument(info_span!("registry", %name)));
            // Aborted when this future is dropped, which is how a reading that hangs is stopped.
            let ended = AbortOnDropHandle::new(task).await;
            if out.is_closed() {
                return;
            }
            if started.elapsed() >= SETTLED {
                backoff.reset();
            }
            let reason = why(ended);
            note_restart(&name, &reason, &metrics);
            if let Some(manifests) = &manifests
                && manifests.send(ManifestUpdate::Failed(None, reason.clone())).await.is_err()
            {
                return;
            }
            if let Some(calls) = &calls {
                // A newer reading may have taken its place.
                let _ = calls.send(CallUpdate::Failed(reason.clone())).await;
            }
            if out.send(Update::Failed { scope: None, error: reason }).await.is_err() {
                return;
            }
            sleep(backoff.next()).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Why a reading ended, as the log, [`Update::Failed`] and the admin API show it.
fn why(ended: Result<Result<(), Text>, JoinError>) -> Text {
    match ended {
        Ok(Ok(())) => "the reading ended by itself; it is started anew".into(),
        Ok(Err(error)) => error,
        Err(broken) => match broken.try_into_panic() {
            Ok(panic) => {
                let text = panic
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned());
                format!("the reading panicked ({}); it is started anew", text.unwrap_or_default()).into()
            }
            Err(aborted) => aborted.to_string().into(),
        },
    }
}

fn note_restart(registry: &Text, reason: &Text, metrics: &Metrics) {
    metrics.restart(registry);
    error!(%registry, error = %reason, "The reading of a registry ended. Its last services stay; it starts anew.");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    use tokio::sync::mpsc;

    fn feed(updates: mpsc::Sender<Update>) -> Feed {
        Feed {
            registry: "r".into(),
            updates,
            manifests: None,
            calls: None,
            metrics: Metrics::default(),
            written: Written::default(),
        }
    }

    /// Runs a reading that fails in its own way the first time and hangs from the second time on.
    async fn first_update(first: fn() -> Result<(), Text>) -> (Update, usize) {
        let (out, mut updates) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let runs = Arc::new(AtomicUsize::new(0));
        let (count, started) = (runs.clone(), Arc::new(tokio::sync::Notify::new()));
        let signal = started.clone();
        let task = tokio::spawn(supervise(feed(out), stop.clone(), move || {
            let run = count.fetch_add(1, Ordering::SeqCst);
            let signal = signal.clone();
            async move {
                if run == 0 {
                    return first();
                }
                signal.notify_one();
                std::future::pending().await
            }
        }));
        let update = updates.recv().await.unwrap();
        started.notified().await;
        stop.cancel();
        task.await.unwrap();
        (update, runs.load(Ordering::SeqCst))
    }

    async fn check(first: fn() -> Result<(), Text>, expected: &str) {
        let (update, runs) = first_update(first).await;
        let Update::Failed { scope: None, error } = update else { panic!("{update:?}") };
        assert_eq!((&*error, runs), (expected, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_that_panics_or_ends_is_reported_and_started_anew() {
        check(|| panic!("boom"), "the reading panicked (boom); it is started anew").await;
        check(|| Ok(()), "the reading ended by itself; it is started anew").await;
        check(|| Err("no such folder".into()), "no such folder").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_reading_stops_when_told() {
        let (out, _updates) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let task = tokio::spawn(supervise(feed(out), stop.clone(), std::future::pending));
        stop.cancel();
        task.await.unwrap();
    }
}
