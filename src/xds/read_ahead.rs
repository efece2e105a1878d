//! Reads ahead of the transport.
//!
//! The HTTP/2 library reads about as much as its next frame needs: an acknowledgement of 95 KB in frames of 16 KB took 17
//! system calls. Here each call takes all that has come, up to [`SCRATCH`]; what the caller has no room for is kept until
//! he asks again, and not longer. A connection on which nothing comes holds no buffer: the scratch is the thread's.

use bytes::{Buf, BytesMut};
use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// Bytes read in one call.
const SCRATCH: usize = 128 << 10;

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
}

impl<S> ReadAhead<S> {
    pub(super) fn new(inner: S) -> Self {
        ReadAhead { inner, kept: BytesMut::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
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
            let size = ready!(poll_read_buf(Pin::new(&mut self.inner), context, room))?;
            let mut bytes = room.split_to(size);
            let now = size.min(out.remaining());
            out.put_slice(&bytes[..now]);
            bytes.advance(now);
            if !bytes.is_empty() {
                self.kept = bytes;
            }
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
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn what_comes_is_read_whole_and_in_order_by_readers_of_any_size() {
        let sent: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        for size in [1, 9, 4_096, SCRATCH, 2 * SCRATCH] {
            let (mut here, there) = duplex(200_000);
            let data = sent.clone();
            let writer = tokio::spawn(async move { here.write_all(&data).await });
            let mut ahead = ReadAhead::new(there);
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
}
