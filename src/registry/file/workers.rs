//! Work that may block for ever, on threads of its own. Nobody joins them: neither the runtime nor the end of the process
//! waits for one that hangs.

use super::read::{Error, Job, Look};
use crate::util::{lock::lock, processors::processors};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, oneshot};

/// The most threads that parse files at the same time.
const MOST: usize = 8;

/// The number of unchanged files after which the receiver is woken.
const BATCH: usize = 64;

/// Threads that take jobs from one list, in order. A job's number is its place in that list.
pub(super) struct Workers {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Box<dyn Fn(&Job) -> Look + Send + Sync>,
    /// There is something to take.
    news: Notify,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<(usize, Job)>,
    /// Jobs that a thread has begun, with the time when it did.
    begun: BTreeMap<usize, Instant>,
    done: Vec<(usize, Look)>,
}

/// Runs `work` on a thread of its own. The receiver fails if there is no thread to be had, or if `work` panics.
pub(super) fn detached<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, outcome) = oneshot::channel();
    // Dropped with the closure if there is no thread; then the receiver fails.
    let _ = thread::Builder::new().name("files".into()).spawn(move || drop(done.send(work())));
    outcome
}

impl Workers {
    /// Starts as many threads as the machine has processors, but at most [`MOST`]. Fails if not even one can be
    /// started.
    pub(super) fn start(jobs: Vec<Job>, work: impl Fn(&Job) -> Look + Send + Sync + 'static) -> io::Result<Self> {
        let threads = processors().min(MOST).min(jobs.len());
        let state = State { jobs: jobs.into_iter().enumerate().collect(), ..State::default() };
        let shared = Shared { state: Mutex::new(state), work: Box::new(work), news: Notify::new() };
        let workers = Workers { shared: Arc::new(shared) };
        for number in 0..threads {
            match workers.add() {
                // One is enough.
                Err(error) if number == 0 => return Err(error),
                _ => {}
            }
        }
        Ok(workers)
    }

    /// Starts one more thread, as when another one hangs.
    pub(super) fn add(&self) -> io::Result<()> {
        let shared = self.shared.clone();
        thread::Builder::new().name("files".into()).spawn(move || shared.run()).map(drop)
    }

    /// Takes away the jobs that no thread has begun.
    pub(super) fn cancel(&self) -> Vec<(usize, Job)> {
        self.shared.state().jobs.drain(..).collect()
    }

    /// Returns when [`Workers::take`] may have something. Safe to cancel.
    pub(super) async fn news(&self) {
        self.shared.news.notified().await;
    }

    /// The outcomes since the last call, each with the number of its job.
    pub(super) fn take(&self) -> Vec<(usize, Look)> {
        std::mem::take(&mut self.shared.state().done)
    }

    /// When the oldest of the running jobs began; `None` if none runs.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.shared.state().begun.values().min().copied()
    }

    /// The jobs that have run for `time`. Each is returned once; its outcome comes as usual if it ends.
    pub(super) fn late(&self, time: Duration) -> Vec<usize> {
        let mut late = Vec::new();
        self.shared.state().begun.retain(|number, since| {
            let is_late = since.elapsed() >= time;
            late.extend(is_late.then_some(*number));
            !is_late
        });
        late
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Nobody waits for the rest any more.
        self.cancel();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn run(&self) {
        let mut next = self.state().next();
        while let Some((number, job)) = next {
            let look = catch_unwind(AssertUnwindSafe(|| (self.work)(&job)));
            let panicked = |_| Look::failed(Error::Panicked { path: job.path.display().to_string() });
            let look = look.unwrap_or_else(panicked);
            let mut state = self.state();
            let telling = !matches!(look, Look::Unchanged);
            state.begun.remove(&number);
            state.done.push((number, look));
            next = state.next();
            let telling = telling || next.is_none() || state.done.len() >= BATCH;
            drop(state);
            // Not with each: who is woken for every one of thousands costs more than they do.
            if telling {
                self.news.notify_one();
            }
        }
    }
}

impl State {
    fn next(&mut self) -> Option<(usize, Job)> {
        let (number, job) = self.jobs.pop_front()?;
        self.begun.insert(number, Instant::now());
        Some((number, job))
    }
}
