//! A queue of lines that is bounded in bytes, and the one thread that writes them.
//!
//! Logging copies a line into the queue and returns. An output that is full, closed or read slowly loses lines, but blocks
//! no task and ends no process. Lines for which the queue is full, and lines that cannot be written, are counted; as soon as
//! the output works again, a line reports how many were lost.

use super::counters::lost;
use crate::util::lock::lock;
use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

/// Bytes that wait to be written, at most: some 20,000 lines.
const CAPACITY: usize = 4 << 20;

/// Memory that the writer keeps when a burst is over.
const KEPT: usize = 256 << 10;

/// Time between two attempts to write to an output in non-blocking mode.
const RETRY: Duration = Duration::from_millis(10);

/// Makes the line that reports how many were lost.
type Notice = Box<dyn Fn(u64) -> String + Send>;

/// Lines that wait for the thread that writes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines, each with its newline.
    waiting: Vec<u8>,
    /// Lines for which the queue was full since the writer took the last ones.
    refused: u64,
    /// Whether the writer has lines that are not written yet.
    writing: bool,
}

impl Queue {
    /// Starts the thread that writes; it ends with the process.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(
        output: impl Write + Send + 'static,
        notice: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Arc<Queue>> {
        let queue = Arc::new(Queue::default());
        let writer = Writer { queue: queue.clone(), output, notice: Box::new(notice), lost: 0, torn: false };
        thread::Builder::new().name("log".into()).spawn(|| writer.run())?;
        Ok(queue)
    }

    /// Adds a line, which ends with a newline, or counts it as lost.
    pub(super) fn push(&self, line: &str) {
        let mut state = lock(&self.state);
        if state.waiting.len() + line.len() > CAPACITY {
            state.refused += 1;
            drop(state);
            lost().inc();
            return;
        }
        state.waiting.extend_from_slice(line.as_bytes());
        drop(state);
        self.filled.notify_one();
    }

    /// Waits until all lines are written, or given up, but no longer than `limit`. `false` if some still wait.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = lock(&self.state);
        while !state.waiting.is_empty() || state.writing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = match self.written.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        true
    }

    /// Waits for lines and moves all of them into `batch`, which is empty. Returns how many were refused after them.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        let mut state = lock(&self.state);
        state.writing = false;
        self.written.notify_all();
        while state.waiting.is_empty() {
            state = self.filled.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state.writing = true;
        mem::swap(&mut state.waiting, batch);
        mem::take(&mut state.refused)
    }
}

/// The state of the thread that writes.
struct Writer<W> {
    queue: Arc<Queue>,
    output: W,
    notice: Notice,
    /// Lost lines that no notice has reported yet.
    lost: u64,
    /// Whether the last write ended inside of a line.
    torn: bool,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        let queue = self.queue.clone();
        let mut batch = Vec::new();
        loop {
            let refused = queue.take(&mut batch);
            self.write(&batch, refused);
            batch.clear();
            batch.shrink_to(KEPT);
        }
    }

    /// Writes the notice of lines lost before, the lines, and the notice of lines refused after them.
    fn write(&mut self, lines: &[u8], refused: u64) {
        if self.lost > 0 {
            let text = (self.notice)(self.lost);
            if self.put(text.as_bytes()) == text.len() {
                self.lost = 0;
            }
        }
        // If even the notice cannot be written, the gap would be unreported.
        let written = if self.lost == 0 { self.put(lines) } else { 0 };
        let unwritten = lines[written..].iter().filter(|byte| **byte == b'\n').count() as u64;
        lost().inc_by(unwritten);
        self.lost += unwritten + refused;
        if unwritten == 0 && refused > 0 {
            let text = (self.notice)(refused);
            if self.put(text.as_bytes()) == text.len() {
                self.lost = 0;
            }
        }
    }

    /// Writes until the output fails, and returns how many bytes were written.
    fn put(&mut self, bytes: &[u8]) -> usize {
        if self.torn && self.put_all(b"\n") == 0 {
            return 0;
        }
        let written = self.put_all(bytes);
        self.torn = written > 0 && bytes[written - 1] != b'\n';
        written
    }

    fn put_all(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.output.write(&bytes[written..]) {
                Ok(0) => break,
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::park_timeout(RETRY),
                Err(_) => break,
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output that accepts everything, or `Some(n)` bytes before it fails.
    #[derive(Clone, Default)]
    struct Output {
        written: Arc<Mutex<String>>,
        room: Arc<Mutex<Option<usize>>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut room = lock(&self.room);
            let taken = room.map_or(bytes.len(), |room| room.min(bytes.len()));
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *room = room.map(|room| room - taken);
            lock(&self.written).push_str(std::str::from_utf8(&bytes[..taken]).unwrap());
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn notice(lost: u64) -> String {
        format!("lost {lost}\n")
    }

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_reported_when_writing_works_again() {
        let output = Output::default();
        let queue = Queue::start(output.clone(), notice).unwrap();
        let push = |line: &str| {
            queue.push(line);
            assert!(queue.flush(LIMIT));
        };
        push("one\n");
        *lock(&output.room) = Some(2);
        push("two\n");
        push("three\n");
        *lock(&output.room) = None;
        push("four\n");
        assert_eq!(*lock(&output.written), "one\ntw\nlost 2\nfour\n");
        push("five\n");
        assert!(lock(&output.written).ends_with("four\nfive\n"));
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_reports_it_after_the_lines_that_it_had() {
        let output = Output::default();
        // While this lock is held, the writer is blocked in a write.
        let stopped = lock(&output.room);
        let queue = Queue::start(output.clone(), notice).unwrap();
        queue.push("first\n");
        while !lock(&queue.state).writing {
            thread::yield_now();
        }
        let line = format!("{}\n", "x".repeat(1023));
        let before = lost().get();
        for _ in 0..CAPACITY / line.len() + 3 {
            queue.push(&line);
        }
        assert!(!queue.flush(Duration::from_millis(1)));
        drop(stopped);
        assert!(queue.flush(LIMIT));
        let written = lock(&output.written);
        assert_eq!(written.len(), "first\nlost 3\n".len() + CAPACITY);
        assert!(written.starts_with("first\nx") && written.ends_with("x\nlost 3\n"));
        assert!(lost().get() >= before + 3);
    }
}
