//! Reads ahead of the transport.
//!
//! The HTTP/2 library reads about as much as its next frame needs: an acknowledgement of 95 KB in frames of 16 KB took 17
//! system calls. Here each call takes all that has come, up to [`SCRATCH`]; what the caller has no room for is kept until
//! he asks again, and not longer. A connection on which nothing comes holds no buffer: the scratch is the thread's.
//!
//! Two things keep a connection from costing others: of what its streams do not read only its share is let in
//! ([`super::unread`]), and after the work of a [`TURN`] other tasks have theirs, however fast it sends. One that is not read
//! for that reason is looked at each [`LOOK`]: its client may have left, and what it made us hold goes with it; or what is not
//! read belongs to streams that were refused, and nobody will read it.

use super::{
    slots::Slots,
    unread::{FrameMeter, Unread, Waiting},
};
use crate::util::transport::Bytes;
use bytes::{Buf, BufMut, BytesMut};
use std::{
    cell::RefCell,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_util::io::poll_read_buf;

/// Size of the buffer that one system call fills, in bytes.
const SCRATCH: usize = 128 << 10;
/// Work of one turn, in bytes: half a millisecond or less. An acknowledgement must fit several times: one that is cut goes on
/// with another processor, whose caches know nothing of it.
const TURN: usize = 1 << 20;
/// How often a connection that is not read is looked at, in case its client has left.
const LOOK: Duration = Duration::from_secs(1);
/// Work of a frame beside that of its bytes, counted in bytes; see [`TURN`].
const FRAME: usize = 2 << 10;

thread_local! {
    /// Room for the next call. What was read is split off and shares its memory; when all of that is gone, it is used
    /// again.
    static ROOM: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// A connection that is read ahead. Writing goes straight through.
#[derive(Debug)]
pub(super) struct ReadAhead<S> {
    inner: S,
    kept: BytesMut,
    /// True if `kept` is a part of the scratch, whose whole memory it then holds.
    scratch: bool,
    meter: FrameMeter,
    unread: Arc<Unread>,
    /// All connections, among which the room for what is unread is shared.
    all: (Arc<Waiting>, Arc<Slots>),
    /// Sleeps until the next look at the client, while the connection is not read.
    look: Option<Pin<Box<Sleep>>>,
    /// Work done in this turn, in bytes; at most about [`TURN`].
    turn: usize,
}

impl<S> ReadAhead<S> {
    pub(super) fn new(inner: S, unread: Arc<Unread>, waiting: Arc<Waiting>, connections: Arc<Slots>) -> Self {
        ReadAhead {
            inner,
            kept: BytesMut::new(),
            scratch: false,
            meter: FrameMeter::new(),
            unread,
            all: (waiting, connections),
            look: None,
            turn: 0,
        }
    }
}

impl<S: Bytes> AsyncRead for ReadAhead<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.turn >= TURN {
            self.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (waiting, connections) = &self.all;
        let share = waiting.share(connections.taken());
        if self.unread.poll_below(context, share).is_pending() {
            self.turn = 0;
            if std::mem::take(&mut self.scratch) {
                self.kept = BytesMut::from(&self.kept[..]);
            }
            return self.poll_left(context);
        }
        self.look = None;
        let before = out.filled().len();
        let Poll::Ready(read) = self.fill(context, out, share) else {
            self.turn = 0;
            return Poll::Pending;
        };
        let bytes = &out.filled()[before..];
        let (cost, frames) = self.meter.read(bytes);
        self.unread.add(cost);
        self.turn += bytes.len() + frames * FRAME;
        Poll::Ready(read)
    }
}

impl<S: Bytes> ReadAhead<S> {
    /// Looks at the client each [`LOOK`]; an error once it has left. By then all streams are there of which anything was read.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.look.get_or_insert_with(|| Box::pin(sleep(LOOK))).as_mut().poll(context));
            self.look = None;
            if self.inner.is_left() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            self.unread.settle();
        }
    }

    /// Takes at most `most` bytes, or what there is room for in `out`.
    fn fill(&mut self, context: &mut Context<'_>, out: &mut ReadBuf<'_>, most: usize) -> Poll<io::Result<()>> {
        if !self.kept.is_empty() {
            let size = self.kept.len().min(out.remaining());
            out.put_slice(&self.kept[..size]);
            self.kept.advance(size);
            if self.kept.is_empty() {
                self.kept = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        if out.remaining() >= SCRATCH / 2 {
            return Pin::new(&mut self.inner).poll_read(context, out);
        }
        // Nothing that is polled here reads from another connection: the room is never borrowed twice.
        ROOM.with_borrow_mut(|room| {
            if room.capacity() < SCRATCH / 2 {
                room.reserve(SCRATCH);
            }
            let size = ready!(poll_read_buf(Pin::new(&mut self.inner), context, &mut (&mut *room).limit(most)))?;
            let now = size.min(out.remaining());
            out.put_slice(&room[..now]);
            if now < size {
                let mut bytes = room.split_to(size);
                bytes.advance(now);
                (self.kept, self.scratch) = (bytes, true);
            }
            // The next call writes to the same bytes, which the processor's caches still have.
            room.clear();
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::unread::Counted, *};
    use http_body_util::Empty;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        net::UnixStream,
    };

    /// HTTP/2's preface and PING frames, which carry no data of a stream.
    fn frames(count: usize, size: usize) -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for n in 0..count {
            bytes.extend(&(size as u32).to_be_bytes()[1..]);
            bytes.extend([6, 0, 0, 0, 0, 0]);
            bytes.extend((0..size).map(|at| ((n + at) % 251) as u8));
        }
        bytes
    }

    fn ahead<S>(inner: S) -> (ReadAhead<S>, Arc<Unread>) {
        let waiting = Arc::new(Waiting::default());
        let unread = Arc::new(Unread::new(waiting.clone()));
        (ReadAhead::new(inner, unread.clone(), waiting, Arc::new(Slots::default())), unread)
    }

    impl Bytes for DuplexStream {
        fn is_left(&self) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn what_comes_is_read_whole_and_in_order_by_readers_of_any_size() {
        let sent = frames(30, 10_000);
        for size in [1, 9, 4_096, SCRATCH, 2 * SCRATCH] {
            let (mut here, there) = duplex(200_000);
            let data = sent.clone();
            let writer = tokio::spawn(async move { here.write_all(&data).await });
            let (mut ahead, _) = ahead(there);
            let (mut read, mut part) = (Vec::new(), vec![0; size]);
            loop {
                match ahead.read(&mut part).await.unwrap() {
                    0 => break,
                    count => read.extend_from_slice(&part[..count]),
                }
            }
            writer.await.unwrap().unwrap();
            assert!(read == sent, "in parts of {size}");
            assert_eq!(ahead.kept.capacity(), 0, "a buffer is kept");
        }
    }

    #[tokio::test]
    async fn others_have_their_turn_however_much_there_is_to_read() {
        let sent = frames(30_000, 1);
        let (mut here, there) = duplex(4 << 20);
        here.write_all(&sent).await.unwrap();
        let (mut ahead, _) = ahead(there);
        let (mut turns, mut read) = (Vec::new(), 0);
        while read < sent.len() {
            let mut turn = 0;
            // One turn: until it is pending.
            std::future::poll_fn(|context| {
                while read + turn < sent.len() {
                    let mut part = [0; 1 << 10];
                    let mut out = ReadBuf::new(&mut part);
                    match Pin::new(&mut ahead).poll_read(context, &mut out) {
                        Poll::Ready(result) => result.unwrap(),
                        Poll::Pending => break,
                    }
                    turn += out.filled().len();
                }
                Poll::Ready(())
            })
            .await;
            read += turn;
            turns.push(turn);
        }
        // Each frame has 10 bytes.
        let most = 10 * (TURN / FRAME) + (1 << 10);
        assert!(turns.len() >= 4 && turns.iter().all(|turn| *turn <= most), "{turns:?}");
    }

    #[tokio::test]
    async fn a_connection_with_too_much_unread_is_not_read_until_that_is_taken() {
        let (mut here, there) = duplex(4 << 20);
        here.write_all(&frames(1, 10)).await.unwrap();
        let (mut ahead, unread) = ahead(there);
        unread.add(3 << 20);
        let mut part = [0; 100];
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), ahead.read(&mut part)).await;
        assert!(waits.is_err());
        let reader = tokio::spawn(async move { ahead.read(&mut [0; 100]).await.unwrap() });
        tokio::task::yield_now().await;
        unread.add(-(3 << 20));
        assert_eq!(reader.await.unwrap(), 43);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_late_for_streams_that_were_refused_does_not_stop_the_reading() {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(&frames(1, 10)).await.unwrap();
        let (mut ahead, unread) = ahead(there);
        unread.add(3 << 20);
        let mut part = [0; 100];
        let read = tokio::time::timeout(3 * LOOK, ahead.read(&mut part)).await.expect("it is read");
        assert_eq!(read.unwrap(), 43);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_is_noticed_though_nothing_is_read() {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(&frames(1, 10)).await.unwrap();
        let (mut ahead, unread) = ahead(there);
        let _stream = Counted::new(Empty::<bytes::Bytes>::new(), unread.clone());
        unread.add(3 << 20);
        let mut part = [0; 100];
        assert!(tokio::time::timeout(3 * LOOK, ahead.read(&mut part)).await.is_err());
        drop(here);
        let left = tokio::time::timeout(3 * LOOK, ahead.read(&mut part)).await.unwrap();
        assert_eq!(left.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
