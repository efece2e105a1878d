//! What a client sent that waits in the HTTP/2 library, because nobody reads the stream that it is for.
//!
//! Flow control bounds it by 2 MiB for each connection, which is nothing for one and too much for thousands; and a frame
//! costs memory, however short it is. So frames are counted where they pass from the socket to the library, and where
//! streams take them; a connection that has more waiting than its share is not read for as long ([`super::read_ahead`]).
//! Who reads its answers has nothing waiting: its streams are read all the time.
//!
//! What came for a stream that is refused, or has ended, nobody takes, and the library does not say that it dropped it. But it wakes
//! whoever waits for more ([`Bell`]): once each stream has taken all and none was woken since, nothing waits.

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// What a waiting frame costs beside its bytes, about.
const FRAME_COST: usize = 256;
/// Bytes that all connections together may have waiting.
const ALL: usize = 64 << 20;
/// Bytes that each may have waiting however many there are: an acknowledgement comes in frames of 16 KiB.
const LEAST: usize = 16 << 10;
/// So much must have been taken before a connection is read again, or a quarter of its share.
const STEP: usize = 64 << 10;
/// Most bytes that one connection has waiting: HTTP/2's window for it.
const MOST: usize = 2 << 20;

/// Bytes that wait on all connections together.
#[derive(Debug, Default)]
pub(super) struct Waiting(AtomicUsize);

impl Waiting {
    /// What a connection may have waiting where there are so many. Those that came when there were fewer have more; where
    /// nothing is left for the others they have the least.
    pub(super) fn share(&self, connections: usize) -> usize {
        match self.0.load(Ordering::Relaxed) < ALL {
            true => (ALL / connections.max(1)).clamp(LEAST, MOST),
            false => LEAST,
        }
    }
}

/// Counts the bytes that wait on one connection.
#[derive(Debug)]
pub(super) struct Unread {
    bytes: AtomicUsize,
    all: Arc<Waiting>,
    /// The reader is woken once no more bytes than this wait.
    enough: AtomicUsize,
    /// Request bodies of the connection that are still there and may have something to take.
    busy: AtomicUsize,
    /// The reader of the socket, while it does not read.
    reader: AtomicWaker,
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.all.0.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

impl Unread {
    /// A connection on which nothing waits yet. `all` is the sum over all connections.
    pub(super) fn new(all: Arc<Waiting>) -> Self {
        let (bytes, enough, busy, reader) = Default::default();
        Unread { bytes, all, enough, busy, reader }
    }

    /// Notes what [`FrameMeter::read`] found.
    pub(super) fn add(&self, cost: isize) {
        match usize::try_from(cost) {
            Ok(more) => {
                self.all.0.fetch_add(more, Ordering::Relaxed);
                self.bytes.fetch_add(more, Ordering::AcqRel);
            }
            Err(_) => self.remove(cost.unsigned_abs()),
        }
    }

    fn remove(&self, bytes: usize) {
        // What a stream never took may be forgotten by now: this may be more than there is.
        let less = |waiting: usize| Some(waiting.saturating_sub(bytes));
        let before = self.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).unwrap_or_else(|now| now);
        self.all.0.fetch_sub(before.min(bytes), Ordering::Relaxed);
        // Not with each frame: the reader would look again for every one of thousands.
        if before.saturating_sub(bytes) <= self.enough.load(Ordering::Acquire) {
            self.reader.wake();
        }
    }

    /// A body has nothing to take any more. With the last one all that waited before is gone.
    fn rest(&self) {
        // Looked at before: what comes meanwhile is not forgotten.
        let waiting = self.bytes.load(Ordering::Acquire);
        if self.busy.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.remove(waiting);
        }
    }

    /// Forgets what nobody will take, if no body has anything. To be called only when all streams whose bytes were read are there:
    /// of one that is not yet there nobody says that it has something.
    pub(super) fn settle(&self) {
        let waiting = self.bytes.load(Ordering::Acquire);
        if self.busy.load(Ordering::Acquire) == 0 {
            self.remove(waiting);
        }
    }

    /// Whether no more than `limit` waits; else the reader is woken when there is room for some more.
    pub(super) fn poll_below(&self, context: &mut Context<'_>, limit: usize) -> Poll<()> {
        if self.bytes.load(Ordering::Acquire) <= limit {
            return Poll::Ready(());
        }
        self.enough.store(limit - (limit / 4).min(STEP), Ordering::Release);
        self.reader.register(context.waker());
        match self.bytes.load(Ordering::Acquire) <= limit {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// It may have something to take; if so it is being looked at.
const LOOKED_AT: u8 = 0;
/// It has nothing to take, as far as was said.
const EMPTY: u8 = 1;
/// Something came since it was last looked at.
const RUNG: u8 = 2;
/// It takes nothing any more.
const GONE: u8 = 3;

/// Rung by the library when something has come for a body.
#[derive(Debug)]
struct Bell {
    state: AtomicU8,
    unread: Arc<Unread>,
    /// Whoever reads the body.
    reader: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.turn(RUNG);
        self.reader.wake();
    }
}

impl Bell {
    /// The body may have something: it is looked at, or something came.
    fn turn(&self, to: u8) {
        let turned = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now != GONE).then_some(to));
        if turned == Ok(EMPTY) {
            self.unread.busy.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// All was taken, unless more came meanwhile.
    fn emptied(&self) {
        let emptied = self.state.compare_exchange(LOOKED_AT, EMPTY, Ordering::AcqRel, Ordering::Acquire);
        if emptied.is_ok() {
            self.unread.rest();
        }
    }

    /// Nothing will be taken any more.
    fn gone(&self) {
        if matches!(self.state.swap(GONE, Ordering::AcqRel), LOOKED_AT | RUNG) {
            self.unread.rest();
        }
    }
}

/// A request's body that tells [`Unread`] how much of it was read.
#[derive(Debug)]
pub(super) struct Counted<B> {
    body: B,
    bell: Arc<Bell>,
    /// Rings the bell; made once, since each look at the body needs it.
    waker: Waker,
}

impl<B> Counted<B> {
    pub(super) fn new(body: B, unread: Arc<Unread>) -> Self {
        unread.busy.fetch_add(1, Ordering::AcqRel);
        let bell = Arc::new(Bell { state: AtomicU8::new(LOOKED_AT), unread, reader: AtomicWaker::new() });
        let waker = Waker::from(bell.clone());
        Counted { body, bell, waker }
    }
}

impl<B> Drop for Counted<B> {
    fn drop(&mut self) {
        self.bell.gone();
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Counted { body, bell, waker } = &mut *self;
        bell.reader.register(context.waker());
        bell.turn(LOOKED_AT);
        let frame = Pin::new(body).poll_frame(&mut Context::from_waker(waker));
        match &frame {
            Poll::Pending => bell.emptied(),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    bell.unread.remove(FRAME_COST + data.len());
                }
            }
            Poll::Ready(Some(Err(_)) | None) => bell.gone(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Length of HTTP/2's preface, which the client sends before its first frame.
const PREFACE: usize = 24;
const HEADER: usize = 9;
const DATA: u8 = 0;
const PADDED: u8 = 8;

/// Finds the data frames in what is read from a socket.
#[derive(Debug)]
pub(super) struct FrameMeter {
    /// Bytes to skip until the next frame's header.
    skip: usize,
    header: [u8; HEADER],
    /// How many bytes of the header were read.
    filled: usize,
    /// The next byte is the padding's length.
    padded: bool,
}

impl FrameMeter {
    pub(super) fn new() -> Self {
        FrameMeter { skip: PREFACE, header: [0; HEADER], filled: 0, padded: false }
    }

    /// Reads on. Returns what the data frames that begin here will cost, less the padding, which is not handed on; and how
    /// many frames of any kind begin.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> (isize, usize) {
        let (mut cost, mut frames) = (0, 0);
        while let Some((first, rest)) = bytes.split_first() {
            if std::mem::take(&mut self.padded) {
                cost -= 1 + isize::from(*first);
            }
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                self.skip -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            self.header[self.filled] = *first;
            self.filled += 1;
            bytes = rest;
            if self.filled == HEADER {
                cost += self.begin();
                frames += 1;
            }
        }
        (cost, frames)
    }

    fn begin(&mut self) -> isize {
        let [a, b, c, kind, flags, ..] = self.header;
        self.filled = 0;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        if kind != DATA {
            return 0;
        }
        self.padded = flags & PADDED != 0 && self.skip > 0;
        (FRAME_COST + self.skip) as isize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, StreamExt, stream, task::noop_waker_ref};
    use http_body_util::{BodyExt, Full, StreamBody};
    use std::convert::Infallible;
    use tokio::sync::mpsc;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn data_frames_are_counted_however_the_bytes_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, &[0; 12]));
        bytes.extend(frame(1, 4, &[0; 100]));
        bytes.extend(frame(DATA, 0, &[7; 300]));
        bytes.extend(frame(DATA, 0, b""));
        bytes.extend(frame(DATA, PADDED, &[[3, 1, 2].as_slice(), &[0; 3]].concat()));
        let expected = 3 * FRAME_COST + 300 + 2;
        for size in [1, 2, 9, 10, 33, bytes.len()] {
            let mut meter = FrameMeter::new();
            let all = bytes.chunks(size).map(|part| meter.read(part));
            let (cost, frames) = all.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
            assert_eq!((cost, frames), (expected as isize, 5), "in parts of {size}");
        }
    }

    #[tokio::test]
    async fn the_reader_waits_until_a_stream_has_taken_what_is_there() {
        let unread = Arc::new(Unread::new(Arc::default()));
        let mut context = Context::from_waker(noop_waker_ref());
        let body = Counted::new(Full::new(Bytes::from_static(b"12345")), unread.clone());
        let other = Counted::new(Full::new(Bytes::new()), unread.clone());
        unread.add(FRAME_COST as isize + 5);
        unread.add(FRAME_COST as isize + 1);
        assert!(unread.poll_below(&mut context, FRAME_COST + 5).is_pending());
        body.collect().await.unwrap();
        assert!(unread.poll_below(&mut context, FRAME_COST + 1).is_ready());
        assert!(unread.poll_below(&mut context, FRAME_COST).is_pending());
        drop(other);
        assert!(unread.poll_below(&mut context, 0).is_ready(), "with the last stream all is gone");
    }

    #[tokio::test]
    async fn what_came_for_who_is_gone_counts_no_more_once_all_others_have_nothing() {
        let unread = Arc::new(Unread::new(Arc::default()));
        let mut context = Context::from_waker(noop_waker_ref());
        let mut is_settled = || unread.poll_below(&mut context, 0).is_ready();
        let refuse = || {
            let body = Counted::new(Full::new(Bytes::new()), unread.clone());
            unread.add(FRAME_COST as isize + 1_000);
            drop(body);
        };
        let (pipe, mut received) = mpsc::unbounded_channel();
        let frames = stream::poll_fn(move |context| received.poll_recv(context));
        let frames = frames.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        let mut body = Counted::new(StreamBody::new(frames), unread.clone());
        refuse();
        assert!(!is_settled(), "the other stream may have it");
        assert!(body.frame().now_or_never().is_none());
        assert!(is_settled(), "it has nothing");
        refuse();
        assert!(is_settled(), "and still has not");
        unread.add(FRAME_COST as isize + 5);
        pipe.send(Bytes::from_static(b"12345")).unwrap();
        refuse();
        assert!(!is_settled(), "something has come for it");
        assert!(body.frame().now_or_never().is_some() && !is_settled());
        assert!(body.frame().now_or_never().is_none() && is_settled());
        refuse();
        unread.add(FRAME_COST as isize + 7);
        assert!(!is_settled(), "it came later");
        unread.settle();
        assert!(is_settled());
        let waker = body.waker.clone();
        drop(body);
        waker.wake();
        assert_eq!(unread.busy.load(Ordering::Relaxed), 0, "who is gone takes nothing more");
    }

    #[test]
    fn the_share_falls_with_the_number_of_connections_and_with_what_others_have() {
        let all = Arc::new(Waiting::default());
        let numbers = [1, 32, 64, 1_024, 20_000];
        assert_eq!(numbers.map(|number| all.share(number)), [2 << 20, 2 << 20, 1 << 20, 64 << 10, LEAST]);
        let first: Vec<_> = (0..32).map(|_| Unread::new(all.clone())).collect();
        first.iter().for_each(|unread| unread.add(all.share(32) as isize));
        assert_eq!(numbers.map(|number| all.share(number)), [LEAST; 5]);
        first[0].add(-1);
        assert_eq!(all.share(64), 1 << 20);
        drop(first);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }
}
