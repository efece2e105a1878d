//! Work that may block for ever, on threads of its own. Nobody joins them: neither the runtime nor the end of the process
//! waits for one that hangs.

use super::read::{Error, Job, Look};
use crate::util::lock::lock;
use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};
use tokio::sync::{mpsc, oneshot};

/// Files are parsed at the same time on so many threads, where the machine has them.
const MOST: usize = 8;

/// What a worker reports of the job at that place in the list.
#[derive(Debug)]
pub(super) enum Report {
    /// A thread has taken the file with this number.
    Begun(usize),
    /// The file with this number was read.
    Done(usize, Look),
}

/// Threads that take jobs from one list, in order.
pub(super) struct Workers {
    shared: Arc<Shared>,
    reports: mpsc::UnboundedReceiver<Report>,
}

struct Shared {
    jobs: Mutex<VecDeque<(usize, Job)>>,
    work: Box<dyn Fn(&Job) -> Look + Send + Sync>,
    /// Bounded by the number of jobs: two reports for each.
    report: mpsc::UnboundedSender<Report>,
}

/// Runs `work` on a thread of its own. The receiver fails if there is no thread to be had, or if `work` panics.
pub(super) fn detached<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, outcome) = oneshot::channel();
    // Dropped with the closure if there is no thread; then the receiver fails.
    let _ = thread::Builder::new().name("files".into()).spawn(move || drop(done.send(work())));
    outcome
}

impl Workers {
    /// Starts as many threads as the machine has processors.
    pub(super) fn start(jobs: Vec<Job>, work: impl Fn(&Job) -> Look + Send + Sync + 'static) -> io::Result<Self> {
        let (report, reports) = mpsc::unbounded_channel();
        let processors = thread::available_parallelism().map_or(1, usize::from).min(MOST);
        let threads = processors.min(jobs.len());
        let jobs = Mutex::new(jobs.into_iter().enumerate().collect());
        let workers = Workers { shared: Arc::new(Shared { jobs, work: Box::new(work), report }), reports };
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
        self.shared.jobs().drain(..).collect()
    }

    /// The next report. Never ends before each job that has begun is done.
    pub(super) async fn next(&mut self) -> Option<Report> {
        self.reports.recv().await
    }

    /// The next report if it is there already.
    pub(super) fn ready(&mut self) -> Option<Report> {
        self.reports.try_recv().ok()
    }
}

impl Shared {
    fn jobs(&self) -> MutexGuard<'_, VecDeque<(usize, Job)>> {
        lock(&self.jobs)
    }

    fn run(&self) {
        loop {
            let Some((number, job)) = self.jobs().pop_front() else { return };
            if self.report.send(Report::Begun(number)).is_err() {
                return;
            }
            let look = catch_unwind(AssertUnwindSafe(|| (self.work)(&job)));
            let panicked = |_| Look::failed(Error::Panicked { path: job.path.display().to_string() });
            if self.report.send(Report::Done(number, look.unwrap_or_else(panicked))).is_err() {
                return;
            }
        }
    }
}
