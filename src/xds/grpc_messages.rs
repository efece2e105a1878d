//! The messages of a gRPC request body.
//!
//! No buffer is kept between messages: with hundreds of streams, each of which once sent 95 KB of names, the buffers of a
//! stock decoder cost more memory than all that is served. And large messages are not put together: they are read in the
//! parts in which they came, because nearly all of them repeat what is known (see [`super::request`]).

use bytes::{Bytes, BytesMut};
use http_body::Body;
use std::{borrow::Cow, collections::VecDeque, future::poll_fn, mem::take, pin::Pin};

const HEADER: usize = 5;
/// Smaller pieces are put together, so that what holds them never costs more than they do.
const PIECE: usize = 4 << 10;

/// A message, in the parts in which it came.
#[derive(Debug, Clone, Default)]
pub struct Message(Vec<Bytes>);

impl Message {
    /// The parts, in order.
    pub fn parts(&self) -> &[Bytes] {
        &self.0
    }

    /// The whole; copied if it came in several parts.
    pub fn whole(&self) -> Cow<'_, [u8]> {
        match &self.0[..] {
            [] => Cow::Borrowed(&[]),
            [one] => Cow::Borrowed(one),
            parts => Cow::Owned(parts.concat()),
        }
    }
}

impl FromIterator<Bytes> for Message {
    fn from_iter<I: IntoIterator<Item = Bytes>>(parts: I) -> Self {
        Message(parts.into_iter().collect())
    }
}

impl From<Vec<u8>> for Message {
    fn from(whole: Vec<u8>) -> Self {
        Message(vec![whole.into()])
    }
}

/// Why no message can be read.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
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
    /// What has come, in order; `loose` is behind it.
    parts: VecDeque<Bytes>,
    /// Small pieces.
    loose: BytesMut,
    /// Bytes in both.
    held: usize,
    limit: usize,
}

impl<B: Body<Data = Bytes> + Unpin> Requests<B> {
    /// Messages of at most `limit` bytes.
    pub fn new(body: B, limit: usize) -> Self {
        Requests { body, parts: VecDeque::new(), loose: BytesMut::new(), held: 0, limit }
    }

    /// The next message; `None` when the client has finished. Cancelling it loses nothing: what has come is held here.
    ///
    /// # Errors
    /// If the transport breaks, or a message is too long, compressed or cut off.
    pub async fn next(&mut self) -> Result<Option<Message>, MessageError> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let Some(frame) = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await else { return Ok(None) };
            if let Ok(data) = frame.map_err(|_| MessageError::Gone)?.into_data() {
                self.hold(data);
            }
        }
    }

    fn hold(&mut self, data: Bytes) {
        self.held += data.len();
        if data.len() < PIECE {
            self.loose.extend_from_slice(&data);
        } else {
            self.gather();
            self.parts.push_back(data);
        }
    }

    /// Makes the small pieces a part.
    fn gather(&mut self) {
        if !self.loose.is_empty() {
            self.parts.push_back(take(&mut self.loose).freeze());
        }
    }

    fn take(&mut self) -> Result<Option<Message>, MessageError> {
        let Some([compressed, a, b, c, d]) = self.header() else { return Ok(None) };
        if compressed != 0 {
            return Err(MessageError::Compressed);
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > self.limit {
            return Err(MessageError::Long { length, limit: self.limit });
        }
        if self.held < HEADER + length {
            return Ok(None);
        }
        self.gather();
        self.split(HEADER);
        let message = self.split(length);
        if self.parts.is_empty() {
            self.parts = VecDeque::new();
        }
        Ok(Some(Message(message)))
    }

    fn header(&self) -> Option<[u8; HEADER]> {
        let mut bytes = self.parts.iter().flatten().chain(&self.loose).copied();
        let mut header = [0; HEADER];
        for byte in &mut header {
            *byte = bytes.next()?;
        }
        Some(header)
    }

    /// Takes the first bytes, of which there must be as many.
    fn split(&mut self, mut length: usize) -> Vec<Bytes> {
        self.held -= length;
        let mut split = Vec::new();
        while length > 0 {
            let Some(mut part) = self.parts.pop_front() else { break };
            let rest = part.split_off(length.min(part.len()));
            if !rest.is_empty() {
                self.parts.push_front(rest);
            }
            length -= part.len();
            split.push(part);
        }
        split
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full, StreamBody};

    fn message(bytes: &[u8]) -> Vec<u8> {
        [&[0][..], &(bytes.len() as u32).to_be_bytes(), bytes].concat()
    }

    async fn read(parts: Vec<Vec<u8>>, limit: usize) -> Result<Vec<Vec<u8>>, MessageError> {
        let frames = parts.into_iter().map(|p| Ok::<_, std::convert::Infallible>(http_body::Frame::data(p.into())));
        let mut requests = Requests::new(StreamBody::new(futures_util::stream::iter(frames)), limit);
        let mut all = Vec::new();
        while let Some(message) = requests.next().await? {
            all.push(message.whole().into_owned());
        }
        assert_eq!((requests.loose.capacity(), requests.parts.capacity()), (0, 0), "a buffer is kept");
        Ok(all)
    }

    #[tokio::test]
    async fn messages_come_whole_however_they_are_cut() {
        let long = vec![7; 50_000];
        let all = [message(b"one"), message(b""), message(&long), message(b"two"), message(&long)].concat();
        for size in [1, 2, 5, 7, 1_000, PIECE - 1, PIECE, 9_999, 99_999, 200_000] {
            let got = read(all.chunks(size).map(<[u8]>::to_vec).collect(), 50_000).await.unwrap();
            assert!(got == [&b"one"[..], b"", &long, b"two", &long], "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn large_parts_are_not_copied_and_small_ones_are_put_together() {
        let [large, small] = [vec![1; PIECE], vec![2; PIECE - 1]];
        let whole = message(&[&large[..], &large, &small, &small].concat());
        let (head, rest) = whole.split_at(HEADER);
        let parts = [head, &rest[..PIECE], &rest[PIECE..2 * PIECE], &small, &small];
        let pieces: Vec<Bytes> = parts.into_iter().map(Bytes::copy_from_slice).collect();
        let places = [pieces[1].as_ptr(), pieces[2].as_ptr()];
        let frames = pieces.into_iter().map(|p| Ok::<_, std::convert::Infallible>(http_body::Frame::data(p)));
        let mut requests = Requests::new(StreamBody::new(futures_util::stream::iter(frames)), 1 << 20);
        let message = requests.next().await.unwrap().unwrap();
        let [one, two, three] = message.parts() else { panic!("{} parts", message.parts().len()) };
        assert_eq!(([one.as_ptr(), two.as_ptr()], three.len()), (places, 2 * small.len()));
    }

    #[tokio::test]
    async fn long_and_compressed_messages_are_refused() {
        assert!(matches!(read(vec![message(b"four")], 3).await, Err(MessageError::Long { length: 4, limit: 3 })));
        assert!(matches!(read(vec![b"\x01\0\0\0\0".to_vec()], 3).await, Err(MessageError::Compressed)));
    }

    #[tokio::test]
    async fn a_length_that_is_only_claimed_reserves_nothing() {
        let body = Full::new(Bytes::from_static(b"\0\x03\xff\xff\xff")).boxed_unsync();
        let mut requests = Requests::new(body, 64 << 20);
        assert!(matches!(requests.next().await, Ok(None)));
        assert!(requests.loose.capacity() < PIECE);
    }
}
