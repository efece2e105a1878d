//! One list of a Consul, followed by blocking queries in a task of its own. Whoever wants it sees the newest state, however
//! many there were; what could not be read is a state, too.

use super::{
    client::{self, Client, Place},
    error::Error,
    index::Follow,
};
use crate::{
    registry::{outbox::Closed, transport::Answer},
    util::backoff::Backoff,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

/// The first retry comes after this time at most, a later one after [`LAST_RETRY`].
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The longest time from a failure to the next try.
pub(super) const LAST_RETRY: Duration = Duration::from_secs(10);

/// A list as a server gave it, with the marks by which changes are told.
#[derive(Debug)]
pub(super) struct List<T> {
    pub(super) value: Arc<T>,
    /// Another number than before: the list may have changed, since its index did or it has none.
    pub(super) turn: u64,
    /// How often the index went back. After another number than before nothing earlier may be relied on.
    pub(super) restarts: u64,
    /// Some entries are hidden from the token.
    pub(super) filtered: bool,
    /// The URL that the list came from, for messages.
    pub(super) url: String,
}

/// The newest state of a list: not read yet, read, or failed.
#[derive(Debug)]
enum Heard<T> {
    Nothing,
    List(Arc<List<T>>),
    Failed(Arc<Error>),
}

/// A list that a task of its own follows until this is dropped.
#[derive(Debug)]
pub(super) struct Watch<T> {
    heard: watch::Receiver<Heard<T>>,
    _task: AbortOnDropHandle<()>,
}

impl<T: Send + Sync + 'static> Watch<T> {
    /// Starts to follow the list at `path` behind `/v1`; `read` parses its answers.
    pub(super) fn start(
        client: Arc<Client>,
        place: Place,
        path: &'static [&'static str],
        read: fn(&Answer) -> Result<T, Error>,
    ) -> Self {
        let (out, heard) = watch::channel(Heard::Nothing);
        let follower =
            Follower { client, place, path, read, out, follow: Follow::new(), known: None, turn: 0, restarts: 0 };
        Watch { heard, _task: AbortOnDropHandle::new(tokio::spawn(follower.run())) }
    }

    /// The newest list or error. Waits for the first one.
    pub(super) async fn newest(&mut self) -> Result<Result<Arc<List<T>>, Arc<Error>>, Closed> {
        let heard = self.heard.wait_for(|heard| !matches!(heard, Heard::Nothing)).await.map_err(|_| Closed)?;
        match &*heard {
            Heard::List(list) => Ok(Ok(list.clone())),
            Heard::Failed(error) => Ok(Err(error.clone())),
            Heard::Nothing => Err(Closed),
        }
    }

    /// The error if the list cannot be had now.
    pub(super) fn failure(&self) -> Option<Arc<Error>> {
        match &*self.heard.borrow() {
            Heard::Failed(error) => Some(error.clone()),
            Heard::Nothing | Heard::List(_) => None,
        }
    }

    /// Returns when there is a newer list or error. Safe to cancel.
    pub(super) async fn changed(&mut self) -> Result<(), Closed> {
        self.heard.changed().await.map_err(|_| Closed)
    }
}

struct Follower<T> {
    client: Arc<Client>,
    place: Place,
    path: &'static [&'static str],
    read: fn(&Answer) -> Result<T, Error>,
    out: watch::Sender<Heard<T>>,
    follow: Follow,
    /// The last list with the hash of its answer's bytes.
    known: Option<(u64, Arc<T>)>,
    turn: u64,
    restarts: u64,
}

impl<T> Follower<T> {
    async fn run(mut self) {
        let mut retry = Backoff::new(FIRST_RETRY, LAST_RETRY);
        let mut failures = 0;
        loop {
            let pause = match self.ask().await {
                Ok(pause) => {
                    failures = 0;
                    retry.reset();
                    pause
                }
                Err(error) => {
                    failures += 1;
                    let pause = retry.next().max(error.retry_after().unwrap_or_default());
                    // What stands between us and a server may end connections that are idle, as a question is that is held.
                    let is_cut = error.is_unreachable() && self.follow.index() > 0;
                    if !is_cut || failures > 1 {
                        self.out.send_replace(Heard::Failed(Arc::new(error)));
                    }
                    pause
                }
            };
            sleep(pause).await;
        }
    }

    /// Asks once, publishes the list if it is new, and returns the pause before the next request.
    async fn ask(&mut self) -> Result<Duration, Error> {
        let (started, asked) = (Instant::now(), self.follow.index());
        let answer = self.client.watch(&self.place, self.path, asked).await?;
        let same = self.known.as_ref().filter(|(hash, _)| *hash == answer.hash);
        let value = match same {
            Some((_, value)) => value.clone(),
            None => Arc::new((self.read)(&answer)?),
        };
        let index = client::index(&answer.headers);
        let turn = self.follow.answered(index, started.elapsed(), self.client.wait);
        self.restarts += u64::from(turn.restarted);
        let is_known = index.is_some_and(|index| index > 0 && index == asked);
        let is_new = same.is_none() || !is_known || turn.restarted;
        self.turn += u64::from(is_new);
        self.known = Some((answer.hash, value.clone()));
        let (filtered, url) = (client::is_filtered(&answer.headers), answer.origin.to_string());
        let list = List { value, turn: self.turn, restarts: self.restarts, filtered, url };
        self.out.send_if_modified(|heard| {
            let is_told = matches!(heard, Heard::List(last) if !is_new && last.filtered == filtered);
            if !is_told {
                *heard = Heard::List(Arc::new(list));
            }
            !is_told
        });
        Ok(turn.pause)
    }
}
