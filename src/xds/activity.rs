//! Whether a connection has an open stream, and since when not.

use crate::util::lock::lock;
use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tokio::time::Instant;

/// Counts the open streams of one connection.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    open: usize,
    /// When the last one ended, or the connection began.
    since: Instant,
}

/// A stream is open while this lives.
#[derive(Debug)]
pub(super) struct Open(Arc<Activity>);

impl Activity {
    /// A connection that begins now.
    pub(super) fn new() -> Arc<Activity> {
        Arc::new(Activity(Mutex::new(State { open: 0, since: Instant::now() })))
    }

    pub(super) fn open(self: &Arc<Self>) -> Open {
        lock(&self.0).open += 1;
        Open(self.clone())
    }

    /// Since when no stream is open; `None` while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = lock(&self.0);
        (state.open == 0).then_some(state.since)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = lock(&self.0.0);
        state.open -= 1;
        state.since = Instant::now();
    }
}

/// A response's body that keeps something for as long as it lives.
#[derive(Debug)]
pub(super) struct Keeping<B, T> {
    pub(super) body: B,
    pub(super) _kept: T,
}

impl<B: http_body::Body + Unpin, T: Unpin> http_body::Body for Keeping<B, T> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_the_end_of_its_last_stream_on() {
        let (activity, second) = (Activity::new(), Duration::from_secs(1));
        let start = Instant::now();
        assert_eq!(activity.idle_since(), Some(start));
        let (one, two) = (activity.open(), activity.open());
        tokio::time::advance(second).await;
        drop(one);
        assert_eq!(activity.idle_since(), None);
        tokio::time::advance(second).await;
        drop(two);
        assert_eq!(activity.idle_since(), Some(start + 2 * second));
    }
}
