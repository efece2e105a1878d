//! Answers: what one holds, how it is cut into messages, and the frames that it becomes.
//!
//! A message is a small head of its own stream's (version, type URL, nonce, control plane; protobuf fields may come in any
//! order, so they stand first) and then the resources, whose bytes are shared: blocks of a generation where everything is
//! sent, else the resources' own, copied together 64 KiB at a time and only when the transport asks. A stalled reader so
//! holds references and one frame. Messages below 4 KiB, which most changes are, are copied into one frame.

use crate::resource::{Generation, Kind, Name, Resource, Variant, field_size, put_field};
use bytes::{BufMut, Bytes, BytesMut};
use std::{collections::VecDeque, sync::Arc};

/// The header of a gRPC message: not compressed, and its length.
const HEADER: usize = 5;
/// Below this a message, or a resource, is copied; above, its shared bytes go out as they are.
const COPY_BELOW: usize = 4 << 10;
/// No frame is larger, so that even a slow reader takes one every few seconds.
const FRAME: usize = 64 << 10;

/// The resources of an answer.
#[derive(Debug)]
pub(super) enum Contents {
    /// All resources of the generation; where it has blocks, their bytes are sent as they are.
    Whole,
    /// These resources, and no others of the generation.
    Some(Vec<Arc<Resource>>),
    /// Assignments or routes of these names with nothing in them. Each is made when it is sent.
    Absent(Kind, Vec<Name>),
}

impl Contents {
    pub(super) fn is_empty(&self, generation: &Generation) -> bool {
        match self {
            Contents::Whole => generation.is_empty(),
            Contents::Some(resources) => resources.is_empty(),
            Contents::Absent(_, names) => names.is_empty(),
        }
    }
}

/// One message, without its head.
#[derive(Debug, Default)]
pub(super) struct Message {
    pieces: Vec<Piece>,
    size: usize,
    /// How many resources, or removed names, it holds.
    pub(super) items: usize,
}

#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    Entries(VecDeque<Arc<Resource>>, Variant),
    Absent(Kind, VecDeque<Name>, Variant),
}

/// Cuts contents into messages of at most `limit` bytes (one resource may have more). Never none: an answer may be empty.
pub(super) fn messages(contents: Contents, generation: &Generation, variant: Variant, limit: usize) -> Vec<Message> {
    let mut packer = Packer { variant, limit, done: Vec::new(), open: Message::default() };
    match contents {
        Contents::Some(resources) => resources.into_iter().for_each(|r| packer.add(r)),
        Contents::Absent(kind, names) => names.into_iter().for_each(|name| packer.add_absent(kind, name)),
        Contents::Whole => match generation.blocks(variant) {
            Some(blocks) => {
                for (bytes, resources) in blocks {
                    match bytes.len() <= limit {
                        true => packer.add_block(bytes, resources.len()),
                        false => resources.iter().for_each(|r| packer.add(r.clone())),
                    }
                }
            }
            None => generation.iter().for_each(|r| packer.add(r.clone())),
        },
    }
    packer.finish()
}

/// The messages that list removed names (field 6, incremental only).
pub(super) fn removals<'a>(names: impl IntoIterator<Item = &'a Name>, limit: usize) -> Vec<Message> {
    let (mut done, mut open, mut items) = (Vec::new(), BytesMut::new(), 0);
    let close = |open: &mut BytesMut, items: &mut usize| {
        let bytes = std::mem::take(open).freeze();
        Message { size: bytes.len(), pieces: vec![Piece::Bytes(bytes)], items: std::mem::take(items) }
    };
    for name in names {
        if items > 0 && open.len() + field_size(name.len()) > limit {
            done.push(close(&mut open, &mut items));
        }
        put_field(&mut open, 6, name.as_bytes());
        items += 1;
    }
    done.push(close(&mut open, &mut items));
    done
}

struct Packer {
    variant: Variant,
    limit: usize,
    done: Vec<Message>,
    open: Message,
}

impl Packer {
    fn make_room(&mut self, size: usize, items: usize) {
        if self.open.items > 0 && self.open.size + size > self.limit {
            self.done.push(std::mem::take(&mut self.open));
        }
        self.open.size += size;
        self.open.items += items;
    }

    fn add_block(&mut self, bytes: Bytes, items: usize) {
        self.make_room(bytes.len(), items);
        self.open.pieces.push(Piece::Bytes(bytes));
    }

    fn add(&mut self, resource: Arc<Resource>) {
        self.make_room(resource.entry(self.variant).len(), 1);
        match self.open.pieces.last_mut() {
            Some(Piece::Entries(entries, _)) => entries.push_back(resource),
            _ => self.open.pieces.push(Piece::Entries([resource].into(), self.variant)),
        }
    }

    fn add_absent(&mut self, kind: Kind, name: Name) {
        self.make_room(Resource::absent(kind, &name).entry(self.variant).len(), 1);
        match self.open.pieces.last_mut() {
            Some(Piece::Absent(_, names, _)) => names.push_back(name),
            _ => self.open.pieces.push(Piece::Absent(kind, [name].into(), self.variant)),
        }
    }

    fn finish(mut self) -> Vec<Message> {
        if self.open.items > 0 || self.done.is_empty() {
            self.done.push(self.open);
        }
        self.done
    }
}

/// Frames that wait for the transport.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Piece>,
}

impl Outgoing {
    /// Queues a message behind its head. Returns how many bytes it has.
    pub(super) fn push(&mut self, head: &[u8], message: Message) -> usize {
        let size = head.len() + message.size;
        let whole = message.size < COPY_BELOW;
        let mut first = BytesMut::with_capacity(HEADER + head.len() + if whole { message.size } else { 0 });
        first.put_u8(0);
        first.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
        first.put_slice(head);
        if whole {
            message.pieces.iter().for_each(|piece| piece.copy_to(&mut first));
        }
        self.queue.push_back(Piece::Bytes(first.freeze()));
        if !whole {
            self.queue.extend(message.pieces);
        }
        size
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        match self.queue.pop_front()? {
            Piece::Bytes(mut bytes) => {
                let frame = bytes.split_to(bytes.len().min(FRAME));
                if !bytes.is_empty() {
                    self.queue.push_front(Piece::Bytes(bytes));
                }
                Some(frame)
            }
            Piece::Entries(mut entries, variant) => {
                let bytes = take_some(&mut entries, variant);
                if !entries.is_empty() {
                    self.queue.push_front(Piece::Entries(entries, variant));
                }
                self.queue.push_front(Piece::Bytes(bytes));
                self.pop()
            }
            Piece::Absent(kind, mut names, variant) => {
                let mut bytes = BytesMut::new();
                while let Some(name) = names.front().filter(|_| bytes.len() < FRAME / 2) {
                    bytes.put_slice(Resource::absent(kind, name).entry(variant));
                    names.pop_front();
                }
                if !names.is_empty() {
                    self.queue.push_front(Piece::Absent(kind, names, variant));
                }
                Some(bytes.freeze())
            }
        }
    }
}

/// One large resource as it is, or small ones copied together.
fn take_some(entries: &mut VecDeque<Arc<Resource>>, variant: Variant) -> Bytes {
    let size = |r: &Arc<Resource>| r.entry(variant).len();
    if entries.front().is_some_and(|r| size(r) >= COPY_BELOW) {
        return entries.pop_front().map(|r| r.shared_entry(variant)).unwrap_or_default();
    }
    let (mut count, mut sum) = (0, 0);
    while entries.get(count).is_some_and(|r| size(r) < COPY_BELOW && sum + size(r) <= FRAME) {
        sum += size(&entries[count]);
        count += 1;
    }
    let mut bytes = BytesMut::with_capacity(sum);
    entries.drain(..count).for_each(|r| bytes.put_slice(r.entry(variant)));
    bytes.freeze()
}

impl Piece {
    fn copy_to(&self, out: &mut BytesMut) {
        match self {
            Piece::Bytes(bytes) => out.put_slice(bytes),
            Piece::Entries(entries, variant) => entries.iter().for_each(|r| out.put_slice(r.entry(*variant))),
            Piece::Absent(kind, names, variant) => {
                names.iter().for_each(|name| out.put_slice(Resource::absent(*kind, name).entry(*variant)));
            }
        }
    }
}

/// All of an answer but its resources: version, type URL, nonce, and who we are.
pub(super) fn head(variant: Variant, version: &str, type_url: &str, nonce: &str, identifier: Option<&str>) -> BytesMut {
    let mut head = BytesMut::with_capacity(192);
    put_field(&mut head, 1, version.as_bytes());
    put_field(&mut head, 4, type_url.as_bytes());
    put_field(&mut head, 5, nonce.as_bytes());
    if let Some(identifier) = identifier {
        let mut control_plane = BytesMut::with_capacity(identifier.len() + 2);
        put_field(&mut control_plane, 1, identifier.as_bytes());
        let number = match variant {
            Variant::Sotw => 6,
            Variant::Delta => 7,
        };
        put_field(&mut head, number, &control_plane);
    }
    head
}

/// The messages in a stream of whole frames, read back.
#[cfg(test)]
pub(super) fn messages_of(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (head, behind) = rest.split_first_chunk::<HEADER>().expect("the frames are whole");
        let [0, length @ ..] = *head else { panic!("a message is not compressed") };
        let (message, behind) = behind.split_at(u32::from_be_bytes(length) as usize);
        rest = behind;
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{Kind, version_text};
    use prost_of_xds_api::Message as _;
    use xds_api::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};

    fn generation(sizes: &[usize]) -> Generation {
        let change = |(i, size): (usize, &usize)| {
            let name = Name::from(format!("{i:05}"));
            (name.clone(), Some(Resource::new(Kind::Endpoint, name, &vec![1; *size], None)))
        };
        Generation::default().next(sizes.iter().enumerate().map(change)).unwrap_or_default()
    }

    /// The messages' bytes, read back from the frames.
    fn sent(messages: Vec<Message>) -> Vec<Vec<u8>> {
        let mut out = Outgoing::default();
        for message in messages {
            out.push(b"", message);
        }
        let mut stream = Vec::new();
        while let Some(frame) = out.pop() {
            assert!(!frame.is_empty() && frame.len() <= FRAME + HEADER, "a frame of {}", frame.len());
            stream.extend_from_slice(&frame);
        }
        messages_of(&stream).map(<[u8]>::to_vec).collect()
    }

    fn names(message: &[u8]) -> Vec<String> {
        DeltaDiscoveryResponse::decode(message).unwrap().resources.into_iter().map(|r| r.name).collect()
    }

    #[test]
    fn whole_and_chosen_contents_are_the_same_bytes_in_a_row_at_any_limit() {
        let sizes: Vec<usize> = (0..700).map(|i| [0, 10, 300, 5_000, 90_000][i % 5]).collect();
        let generation = generation(&sizes);
        for limit in [1, 1_000, 100_000, 1 << 20, usize::MAX] {
            for variant in [Variant::Sotw, Variant::Delta] {
                let all = || Contents::Some(generation.iter().cloned().collect());
                let whole = sent(messages(Contents::Whole, &generation, variant, limit));
                let some = sent(messages(all(), &generation, variant, limit));
                assert!(whole.concat() == some.concat(), "limit {limit}");
                for parts in [whole, some] {
                    let fits = |m: &Vec<u8>| m.len() <= limit || variant == Variant::Sotw || names(m).len() == 1;
                    assert!(parts.iter().all(fits), "limit {limit}");
                }
            }
        }
    }

    #[test]
    fn what_is_absent_is_the_same_bytes_as_if_it_were_there() {
        for (count, length) in [(1, 9), (40, 100), (3_000, 20), (70, 1_000)] {
            let names: Vec<Name> = (0..count).map(|i| format!("{i:0length$}").into()).collect();
            let made = || names.iter().map(|name| Arc::new(Resource::absent(Kind::Route, name))).collect();
            for limit in [1_000, 100_000, usize::MAX] {
                for variant in [Variant::Sotw, Variant::Delta] {
                    let all = |contents| sent(messages(contents, &Generation::default(), variant, limit));
                    assert!(
                        all(Contents::Absent(Kind::Route, names.clone())) == all(Contents::Some(made())),
                        "{count} x {length}"
                    );
                }
            }
        }
    }

    #[test]
    fn an_empty_answer_is_one_message_with_nothing_in_it() {
        let nothing = generation(&[]);
        for contents in [Contents::Whole, Contents::Some(vec![])] {
            assert_eq!(sent(messages(contents, &nothing, Variant::Sotw, 9)), [Vec::<u8>::new()]);
        }
    }

    #[test]
    fn removed_names_are_split_as_well() {
        let all: Vec<Name> = (0..100).map(|i| format!("name-{i}").into()).collect();
        let parts = sent(removals(&all, 200));
        let names = parts.iter().flat_map(|m| DeltaDiscoveryResponse::decode(&**m).unwrap().removed_resources);
        assert_eq!(names.map(Name::from).collect::<Vec<_>>(), all);
        assert!(parts.len() > 4 && parts.iter().all(|m| m.len() <= 200));
    }

    #[test]
    fn a_head_reads_in_both_variants() {
        let raw = head(Variant::Sotw, &version_text(1), "t", "7", Some("me"));
        let sotw = DiscoveryResponse::decode(&raw[..]).unwrap();
        assert_eq!((&*sotw.version_info, &*sotw.type_url, &*sotw.nonce), ("0000000000000001", "t", "7"));
        assert_eq!(sotw.control_plane.unwrap().identifier, "me");
        let delta = DeltaDiscoveryResponse::decode(&head(Variant::Delta, "v", "t", "7", Some("me"))[..]).unwrap();
        assert_eq!((&*delta.system_version_info, &*delta.type_url, &*delta.nonce), ("v", "t", "7"));
        assert_eq!(delta.control_plane.unwrap().identifier, "me");
    }
}
