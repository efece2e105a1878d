//! The messages of a gRPC request body.
//!
//! No buffer is kept between messages: with hundreds of streams, each of which once sent 95 KB of names, the buffers of a
//! stock decoder cost more memory than all that is served. And large messages are not put together: they are read in the
//! parts in which they came, because nearly all of them repeat what is known (see [`super::request`]).
//!
//! What is unfinished has an end in bytes and time: it has a deadline from its first byte on, and after [`SETTLE`], or above
//! [`UNCOUNTED`], it is counted in the stream's [`Allowance`] and in memory of its own (a part of a frame holds the transport's
//! whole buffer).

use super::budget::{Allowance, OverBudget};
use bytes::{Bytes, BytesMut};
use http_body::Body;
use std::{borrow::Cow, collections::VecDeque, future::poll_fn, mem::take, pin::Pin, task::Poll, time::Duration};
use tokio::time::Instant;

const HEADER: usize = 5;
/// Smaller pieces are put together, so that what holds them never costs more than they do.
const PIECE: usize = 4 << 10;
/// So long what has come may hold the transport's memory: nearly all messages are whole by then, and are never copied. What
/// the whole server reads in this time bounds what is held so.
const SETTLE: Duration = Duration::from_millis(100);
/// So much of a message is not counted as long: a list of all names, as acknowledgements have it, is not worth two looks
/// into the account that all streams share.
const UNCOUNTED: usize = 128 << 10;

/// A message, in the parts in which it came.
#[derive(Debug, Clone, Default)]
pub struct Message(Vec<Bytes>);

impl Message {
    /// Its bytes in the pieces in which they came, without gRPC's header.
    pub fn parts(&self) -> &[Bytes] {
        &self.0
    }

    /// Its length in bytes, without gRPC's header.
    pub fn size(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// All of it in one piece; copied if it came in several parts.
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
    /// The flag in the message's header says that it is compressed.
    #[error("compressed messages are not accepted; switch compression off in the client")]
    Compressed,
    /// The message is longer than the limit.
    #[error("a request of {length} bytes; at most {limit} are accepted (xds.limits.request)")]
    Long {
        /// Length in its header, in bytes.
        length: usize,
        /// The longest that is accepted, in bytes (`xds.limits.request`).
        limit: usize,
    },
    /// The stream, its peer or the server would hold too much.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// The connection broke, or the client took the stream back.
    #[error("the client went away")]
    Gone,
}

/// What comes of waiting for a message.
#[derive(Debug)]
pub(super) enum Next {
    Message(Message),
    /// The beginning of one: now something is [`Requests::due`].
    Begun,
    /// The client has finished.
    End,
}

/// Reads the messages of a request body.
#[derive(Debug)]
pub(super) struct Requests<B> {
    body: B,
    /// What has come, in order; `loose` is behind it.
    parts: VecDeque<Bytes>,
    /// Small pieces, copied together.
    loose: BytesMut,
    /// Bytes of both together.
    held: usize,
    /// How many of the parts were copied into memory of their own.
    own: usize,
    /// Bytes that the allowance was told of.
    counted: usize,
    limit: usize,
    /// How long a message may take from its first byte to its last.
    time: Duration,
    deadline: Option<Instant>,
    /// When what has come of the message must be in memory of its own; `None` when it is.
    settle: Option<Instant>,
}

impl<B: Body<Data = Bytes> + Unpin> Requests<B> {
    /// Messages of at most `limit` bytes, each of which comes within `time`.
    pub(super) fn new(body: B, limit: usize, time: Duration) -> Self {
        let (parts, loose) = (VecDeque::new(), BytesMut::new());
        Requests { body, parts, loose, held: 0, own: 0, counted: 0, limit, time, deadline: None, settle: None }
    }

    /// Starts the time of a message that has begun anew: its stream sends, and does not read meanwhile.
    pub(super) fn postpone(&mut self) {
        if self.deadline.is_some() {
            self.deadline = Some(Instant::now() + self.time);
        }
    }

    /// When [`Requests::check`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.settle.or(self.deadline)
    }

    /// Does what is due, and tells whether the message that has begun to come still has time.
    pub(super) fn check(&mut self, now: Instant, allowance: &mut Allowance) -> Result<bool, OverBudget> {
        if self.settle.is_some_and(|at| at <= now) {
            self.settle = None;
            self.own();
            self.count(allowance)?;
        }
        Ok(self.deadline.is_none_or(|at| at > now))
    }

    /// The next message. Cancelling it loses nothing: what has come is held here.
    pub(super) async fn next(&mut self, allowance: &mut Allowance) -> Result<Next, MessageError> {
        loop {
            if let Some(message) = self.take()? {
                (self.deadline, self.settle) = (None, None);
                if take(&mut self.counted) > 0 {
                    allowance.set_in_flight(0)?;
                }
                return Ok(Next::Message(message));
            }
            let polled = poll_fn(|context| match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(frame) => Poll::Ready(Ok(Some(frame))),
                Poll::Pending => match self.wait(allowance) {
                    Ok(false) => Poll::Pending,
                    Ok(true) => Poll::Ready(Ok(None)),
                    Err(error) => Poll::Ready(Err(error)),
                },
            });
            let Some(frame) = polled.await? else { return Ok(Next::Begun) };
            let Some(frame) = frame else { return Ok(Next::End) };
            if let Ok(data) = frame.map_err(|_| MessageError::Gone)?.into_data() {
                if let Some(message) = self.whole(&data) {
                    return Ok(Next::Message(message));
                }
                self.hold(data);
            }
        }
    }

    /// The rest of a message is not there yet. Returns whether it has only begun.
    fn wait(&mut self, allowance: &mut Allowance) -> Result<bool, OverBudget> {
        if self.held == 0 {
            return Ok(false);
        }
        let begun = self.deadline.is_none();
        if begun {
            let now = Instant::now();
            (self.deadline, self.settle) = (Some(now + self.time), Some(now + SETTLE));
        } else if self.settle.is_none() {
            self.own();
        }
        if self.settle.is_none() || self.held > UNCOUNTED {
            self.count(allowance)?;
        }
        Ok(begun)
    }

    fn count(&mut self, allowance: &mut Allowance) -> Result<(), OverBudget> {
        if self.held <= self.counted {
            return Ok(());
        }
        // Some more at once: not every frame is worth a look into the account.
        self.counted = self.held + self.held / 4;
        allowance.set_in_flight(self.counted)
    }

    /// Puts what has come into memory of its own.
    fn own(&mut self) {
        for part in self.parts.range_mut(self.own..) {
            *part = Bytes::copy_from_slice(part);
        }
        self.own = self.parts.len();
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

    /// What comes in one piece, as acknowledgements do, is a message without being put together.
    fn whole(&self, data: &Bytes) -> Option<Message> {
        let (&[0, a, b, c, d], message) = data.split_first_chunk::<HEADER>()? else { return None };
        let fits = u32::from_be_bytes([a, b, c, d]) as usize == message.len() && message.len() <= self.limit;
        (self.held == 0 && fits).then(|| Message(vec![data.slice(HEADER..)]))
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
            self.own = self.own.saturating_sub(1);
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
    use crate::xds::{
        Metrics,
        budget::{Budget, MemoryLimits},
        peer::Peer,
    };
    use http_body_util::{BodyExt, Full, StreamBody};
    use std::{convert::Infallible, sync::Arc};
    use tokio_util::sync::CancellationToken;

    fn message(bytes: &[u8]) -> Vec<u8> {
        [&[0][..], &(bytes.len() as u32).to_be_bytes(), bytes].concat()
    }

    /// The allowance of a stream, of which `limit` bytes may be in flight.
    fn allowance(limit: usize) -> (Allowance, Arc<Budget>) {
        let limits = MemoryLimits { stream: limit, peer: usize::MAX, server: usize::MAX };
        let budget = Budget::new(limits, Arc::default(), Metrics::default());
        (budget.open(1, Peer::of(([127, 0, 0, 1], 1).into()), CancellationToken::new()), budget)
    }

    async fn next<B: Body<Data = Bytes> + Unpin>(requests: &mut Requests<B>) -> Result<Option<Message>, MessageError> {
        let mut allowance = allowance(usize::MAX).0;
        loop {
            match requests.next(&mut allowance).await? {
                Next::Message(message) => return Ok(Some(message)),
                Next::Begun => {}
                Next::End => return Ok(None),
            }
        }
    }

    fn requests<S>(frames: S, limit: usize) -> Requests<StreamBody<S>>
    where
        S: futures_util::Stream<Item = Result<http_body::Frame<Bytes>, Infallible>> + Unpin,
    {
        Requests::new(StreamBody::new(frames), limit, Duration::from_secs(30))
    }

    async fn read(parts: Vec<Vec<u8>>, limit: usize) -> Result<Vec<Vec<u8>>, MessageError> {
        let frames = parts.into_iter().map(|p| Ok(http_body::Frame::data(p.into())));
        let mut requests = requests(futures_util::stream::iter(frames), limit);
        let mut all = Vec::new();
        while let Some(message) = next(&mut requests).await? {
            all.push(message.whole().into_owned());
        }
        assert_eq!((requests.loose.capacity(), requests.parts.capacity()), (0, 0), "a buffer is kept");
        Ok(all)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_unfinished_is_counted_has_a_deadline_and_memory_of_its_own() {
        let whole = message(&vec![7; 20_000]);
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let send = |part: &Bytes| sender.send(Ok(http_body::Frame::data(part.clone()))).unwrap();
        let frames = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
        let mut requests = requests(frames, 1 << 20);
        let (mut allowance, budget) = allowance(24_000);
        let [first, second] = [&whole[..8_000], &whole[8_000..]].map(Bytes::copy_from_slice);
        send(&first);
        assert!(matches!(requests.next(&mut allowance).await, Ok(Next::Begun)));
        let began = Instant::now();
        assert_eq!((budget.held(), requests.due()), (0, Some(began + SETTLE)));
        assert!(requests.check(began, &mut allowance).unwrap());
        assert_eq!(requests.parts[0].as_ptr(), first.as_ptr(), "it may be whole in a moment");
        tokio::time::advance(SETTLE).await;
        assert!(requests.check(Instant::now(), &mut allowance).unwrap());
        assert_eq!(budget.held(), 10_000);
        assert_ne!(requests.parts[0].as_ptr(), first.as_ptr(), "it would hold the transport's buffer");
        assert_eq!(requests.due(), Some(began + Duration::from_secs(30)));
        assert!(!requests.check(began + Duration::from_secs(30), &mut allowance).unwrap());
        send(&second.slice(..6_000));
        let more = async { tokio::time::timeout(SETTLE, requests.next(&mut allowance)).await };
        assert!(more.await.is_err());
        assert_ne!(requests.parts[1].as_ptr(), second.as_ptr(), "nor does what comes later");
        send(&second.slice(6_000..));
        let Ok(Next::Message(read)) = requests.next(&mut allowance).await else { panic!() };
        assert!(*read.whole() == whole[HEADER..]);
        assert_eq!((budget.held(), requests.due()), (0, None));

        send(&Bytes::copy_from_slice(&message(&vec![7; 200_000])[..20_000]));
        assert!(matches!(requests.next(&mut allowance).await, Ok(Next::Begun)));
        let over = requests.check(Instant::now() + SETTLE, &mut allowance).map_err(MessageError::from);
        assert!(matches!(over, Err(MessageError::OverBudget(OverBudget::Stream(24_000)))), "{over:?}");
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
        let frames = pieces.into_iter().map(|p| Ok(http_body::Frame::data(p)));
        let mut requests = requests(futures_util::stream::iter(frames), 1 << 20);
        let message = next(&mut requests).await.unwrap().unwrap();
        let [one, two, three] = message.parts() else { panic!("{} parts", message.parts().len()) };
        assert_eq!(([one.as_ptr(), two.as_ptr()], three.len()), (places, 2 * small.len()));
    }

    #[tokio::test]
    async fn a_message_that_comes_in_one_piece_is_that_piece() {
        let frames = [Bytes::from(message(b"short")), Bytes::from(message(b"short, too"))];
        let places = frames.clone().map(|frame| frame[HEADER..].as_ptr());
        let mut requests = requests(futures_util::stream::iter(frames.map(|f| Ok(http_body::Frame::data(f)))), 10);
        for (place, text) in places.into_iter().zip([&b"short"[..], b"short, too"]) {
            let message = next(&mut requests).await.unwrap().unwrap();
            let [part] = message.parts() else { panic!("{} parts", message.parts().len()) };
            assert_eq!((part.as_ptr(), &part[..]), (place, text));
        }
        assert!(matches!(next(&mut requests).await, Ok(None)));
    }

    #[tokio::test]
    async fn long_and_compressed_messages_are_refused() {
        assert!(matches!(read(vec![message(b"four")], 3).await, Err(MessageError::Long { length: 4, limit: 3 })));
        assert!(matches!(read(vec![b"\x01\0\0\0\0".to_vec()], 3).await, Err(MessageError::Compressed)));
    }

    #[tokio::test]
    async fn a_length_that_is_only_claimed_reserves_nothing() {
        let body = Full::new(Bytes::from_static(b"\0\x03\xff\xff\xff")).boxed_unsync();
        let mut requests = Requests::new(body, 64 << 20, Duration::from_secs(30));
        assert!(matches!(next(&mut requests).await, Ok(None)));
        assert!(requests.loose.capacity() < PIECE);
    }
}
