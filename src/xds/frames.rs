//! The messages of a gRPC request body.
//!
//! No buffer is kept between messages: with hundreds of streams, each of which once sent 95 KB of names, the buffers of a
//! stock decoder cost more memory than all that is served.

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use std::{future::poll_fn, pin::Pin};

const HEADER: usize = 5;
/// A length is believed only so far before its bytes have come.
const BELIEVED: usize = 1 << 20;

/// Why no message can be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The message is compressed.
    #[error("compressed messages are not accepted; switch compression off in the client")]
    Compressed,
    /// The message is longer than the limit.
    #[error("a request of {length} bytes; at most {limit} are accepted (xds.limits.request)")]
    Long {
        /// How long it is.
        length: usize,
        /// What is accepted.
        limit: usize,
    },
    /// The connection broke, or the client took the stream back.
    #[error("the client went away")]
    Gone,
}

/// The messages of a request body.
#[derive(Debug)]
pub struct Requests<B> {
    body: B,
    held: BytesMut,
    limit: usize,
}

impl<B: Body<Data = Bytes> + Unpin> Requests<B> {
    /// Messages of at most `limit` bytes.
    pub fn new(body: B, limit: usize) -> Self {
        Requests { body, held: BytesMut::new(), limit }
    }

    /// The next message; `None` when the client has finished. Cancelling it loses nothing: what has come is held here.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let Some(frame) = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await else { return Ok(None) };
            if let Ok(data) = frame.map_err(|_| FrameError::Gone)?.into_data() {
                self.held.extend_from_slice(&data);
            }
        }
    }

    fn take(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some((&[compressed, a, b, c, d], rest)) = self.held.split_first_chunk::<HEADER>() else { return Ok(None) };
        if compressed != 0 {
            return Err(FrameError::Compressed);
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > self.limit {
            return Err(FrameError::Long { length, limit: self.limit });
        }
        if rest.len() < length {
            let more = (length - rest.len()).min(BELIEVED.max(rest.len()));
            self.held.reserve(more);
            return Ok(None);
        }
        self.held.advance(HEADER);
        let message = self.held.split_to(length).freeze();
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full, StreamBody};

    fn message(bytes: &[u8]) -> Vec<u8> {
        [&[0][..], &(bytes.len() as u32).to_be_bytes(), bytes].concat()
    }

    async fn read(parts: Vec<Vec<u8>>, limit: usize) -> Result<Vec<Bytes>, FrameError> {
        let frames = parts.into_iter().map(|p| Ok::<_, std::convert::Infallible>(http_body::Frame::data(p.into())));
        let mut requests = Requests::new(StreamBody::new(futures_util::stream::iter(frames)), limit);
        let mut all = Vec::new();
        while let Some(message) = requests.next().await? {
            all.push(message);
        }
        assert_eq!(requests.held.capacity(), 0, "a buffer is kept");
        Ok(all)
    }

    #[tokio::test]
    async fn messages_come_whole_however_they_are_cut() {
        let all = [message(b"one"), message(b""), message(&[7; 3_000])].concat();
        for size in [1, 2, 5, 7, 1_000, 9_999] {
            let got = read(all.chunks(size).map(<[u8]>::to_vec).collect(), 3_000).await.unwrap();
            assert_eq!(got, [&b"one"[..], b"", &[7; 3_000]]);
        }
    }

    #[tokio::test]
    async fn long_and_compressed_messages_are_refused() {
        assert!(matches!(read(vec![message(b"four")], 3).await, Err(FrameError::Long { length: 4, limit: 3 })));
        assert!(matches!(read(vec![b"\x01\0\0\0\0".to_vec()], 3).await, Err(FrameError::Compressed)));
    }

    #[tokio::test]
    async fn a_length_that_is_only_claimed_reserves_little() {
        let body = Full::new(Bytes::from_static(b"\0\x03\xff\xff\xff")).boxed_unsync();
        let mut requests = Requests::new(body, 64 << 20);
        assert!(matches!(requests.next().await, Ok(None)));
        assert!(requests.held.capacity() <= 2 * BELIEVED);
    }
}
