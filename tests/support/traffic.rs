//! Requests through an Envoy, one after the other, until it is stopped: what fails meanwhile is kept.

use super::{envoy::Envoy, until};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// Between two requests: the machine has other work, too.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the minimum of requests may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Steady traffic to one service.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
    task: JoinHandle<Outcome>,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many were made.
    pub requests: usize,
    /// Answers other than expected: time since the start, status and body.
    pub failed: Vec<(Duration, u16, String)>,
}

impl Traffic {
    /// Asks for a host, whose instances answer with that body.
    pub fn start(envoy: &Arc<Envoy>, host: String, body: &'static str) -> Traffic {
        Self::start_where(envoy, host, move |answer| answer == body)
    }

    /// Like [`Traffic::start`], where instances answer with different bodies.
    pub fn start_where(envoy: &Arc<Envoy>, host: String, is_right: impl Fn(&str) -> bool + Send + 'static) -> Traffic {
        let (stop, made): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
        let (envoy, stopped, count, started) = (envoy.clone(), stop.clone(), made.clone(), Instant::now());
        let task = tokio::spawn(async move {
            let mut outcome = Outcome::default();
            while !stopped.load(Ordering::Relaxed) {
                let answer = envoy.get(&host, "/").await;
                outcome.requests += 1;
                count.store(outcome.requests, Ordering::Relaxed);
                if answer.0 != 200 || !is_right(&answer.1) {
                    outcome.failed.push((started.elapsed(), answer.0, answer.1));
                }
                tokio::time::sleep(PAUSE).await;
            }
            outcome
        });
        Traffic { stop, made, task }
    }

    /// The requests that were answered so far.
    pub fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// Ends it once so many requests were made, however busy the machine is, and asserts that none failed.
    pub async fn stop_unharmed(self, minimum: usize) {
        until("enough requests", LIMIT, async || match self.made() {
            made if made >= minimum => Ok(()),
            made => Err(format!("{made} of {minimum}")),
        })
        .await;
        self.stop.store(true, Ordering::Relaxed);
        let Outcome { requests, failed } = self.task.await.unwrap();
        assert_eq!(failed, [], "of {requests} requests");
    }
}
