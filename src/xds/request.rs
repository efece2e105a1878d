//! Requests of both variants, read from their bytes.
//!
//! At 5,000 services every state-of-the-world acknowledgement repeats 95 KB of names. Decoded into a set that costs
//! 130 µs; compared with the last list where it stands, in the parts in which it came, a few. So the last lists are cut out
//! first ([`Raw::of`]), and only a list that is none of them is handed on as bytes, to be interned.

use super::{
    fields::{Fields, Malformed},
    grpc_messages::Message,
    names::{LONGEST_NAME, Names, NamesError},
};
use crate::resource::Variant;
use std::{borrow::Cow, sync::Arc};

/// Why a request cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The bytes are no message of protobuf.
    #[error("a request that is no discovery request")]
    Malformed(#[from] Malformed),
    /// A text that is not UTF-8, in the field of that name.
    #[error("{0} of a request is not UTF-8")]
    NotText(&'static str),
    /// A type URL of more than 256 bytes.
    #[error("a request whose type_url has {length} bytes; at most {LONGEST_TYPE} are accepted")]
    LongType {
        /// How long it is, in bytes.
        length: usize,
    },
    /// A list of names that breaks a limit.
    #[error(transparent)]
    Names(#[from] NamesError),
}

/// Bytes of a type URL at most. Istio's longest has 45, Envoy's 75.
pub const LONGEST_TYPE: usize = 256;

/// The names in a request: all that are subscribed to (state of the world), or the new ones (incremental).
#[derive(Debug, Clone)]
pub enum Listed<'a> {
    /// The request names nothing.
    Nothing,
    /// A list that was there before, byte for byte.
    Again(Arc<Names>),
    /// A list that is not the one before, as its bytes.
    New(Cow<'a, [u8]>),
}

/// A discovery request of either variant, as far as it is read.
#[derive(Debug)]
pub struct Request<'a> {
    /// The node as it came, which only a stream's first request needs to have.
    pub node: Option<&'a [u8]>,
    /// What is asked for; empty where the method implies it.
    pub type_url: &'a str,
    /// `response_nonce`: names the answer that this request answers; empty in the first request.
    pub nonce: &'a str,
    /// State of the world: the last version accepted.
    pub version: &'a str,
    /// The names that it subscribes to: all of them in state of the world, only the new ones where it is incremental.
    pub names: Listed<'a>,
    /// Incremental: names that are no longer wanted.
    pub unsubscribe: Vec<&'a str>,
    /// Incremental: name and version of what a reconnecting client has.
    pub has: Vec<(&'a [u8], &'a [u8])>,
    /// `error_detail`, an encoded `google.rpc.Status`: the answer is refused.
    pub error: Option<&'a [u8]>,
}

/// The bytes of a request, without a list that was there before.
#[derive(Debug)]
pub struct Raw<'a> {
    bytes: Cow<'a, [u8]>,
    again: Option<Arc<Names>>,
}

impl<'a> Raw<'a> {
    /// Cuts out the first of `last` that stands in the message. Nothing else of a large message is copied then.
    pub fn of<'l>(variant: Variant, message: &'a Message, last: impl Iterator<Item = &'l Arc<Names>>) -> Self {
        Raw::repeating(variant, message, last).unwrap_or_else(|| Raw::whole(message))
    }

    /// As [`Raw::of`], but `None` if none of `last` stands in the message: cheap, however long it is.
    pub(super) fn repeating<'l>(
        variant: Variant,
        message: &'a Message,
        mut last: impl Iterator<Item = &'l Arc<Names>>,
    ) -> Option<Self> {
        match variant {
            Variant::Sotw => names_at(message).and_then(|at| last.find_map(|list| cut(message, at, list))),
            Variant::Delta => None,
        }
    }

    /// All of the message; copied if it came in several parts.
    pub(super) fn whole(message: &'a Message) -> Self {
        Raw { bytes: message.whole(), again: None }
    }

    /// How many bytes there are to be read.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to be read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl<'a> Request<'a> {
    /// Reads a request, each list of which may have `limit` names.
    ///
    /// # Errors
    /// Where it is no discovery request or breaks a limit.
    pub fn read(variant: Variant, raw: &'a Raw<'_>, limit: usize) -> Result<Self, RequestError> {
        let request = match variant {
            Variant::Sotw => Self::read_sotw(raw, limit)?,
            Variant::Delta => Self::read_delta(&raw.bytes, limit)?,
        };
        match request.type_url.len() {
            length if length > LONGEST_TYPE => Err(RequestError::LongType { length }),
            _ => Ok(request),
        }
    }

    fn empty() -> Self {
        Request {
            node: None,
            type_url: "",
            nonce: "",
            version: "",
            names: Listed::Nothing,
            unsubscribe: Vec::new(),
            has: Vec::new(),
            error: None,
        }
    }

    fn read_sotw(raw: &'a Raw<'_>, limit: usize) -> Result<Self, RequestError> {
        let (mut request, mut names) = (Request::empty(), Runs::new(&raw.bytes, limit));
        let mut fields = Fields::new(&raw.bytes);
        loop {
            let start = fields.at();
            let Some((number, value)) = fields.next()? else { break };
            match number {
                1 => request.version = text(value, "version_info")?,
                2 => request.node = Some(value),
                SOTW_NAMES => names.add(start, fields.at())?,
                4 => request.type_url = text(value, "type_url")?,
                5 => request.nonce = text(value, "response_nonce")?,
                6 => request.error = Some(value),
                _ => {}
            }
        }
        request.names = match (&raw.again, names.finish()) {
            (None, names) => names,
            (Some(list), Listed::New(more)) => Listed::New(Cow::Owned([&list.raw[..], &more].concat())),
            (Some(list), _) => Listed::Again(list.clone()),
        };
        Ok(request)
    }

    fn read_delta(raw: &'a [u8], limit: usize) -> Result<Self, RequestError> {
        let (mut request, mut names) = (Request::empty(), Runs::new(raw, limit));
        let mut fields = Fields::new(raw);
        loop {
            let start = fields.at();
            let Some((number, value)) = fields.next()? else { break };
            match number {
                1 => request.node = Some(value),
                2 => request.type_url = text(value, "type_url")?,
                3 => names.add(start, fields.at())?,
                4 => push(&mut request.unsubscribe, text(value, "resource_names_unsubscribe")?, limit)?,
                5 => push(&mut request.has, entry(value)?, limit)?,
                6 => request.nonce = text(value, "response_nonce")?,
                7 => request.error = Some(value),
                _ => {}
            }
        }
        request.names = names.finish();
        Ok(request)
    }
}

/// Adds to a list that may have `limit` items.
fn push<T>(list: &mut Vec<T>, item: T, limit: usize) -> Result<(), NamesError> {
    if list.len() >= limit {
        return Err(NamesError::TooMany { limit });
    }
    list.push(item);
    Ok(())
}

/// The message of a `google.rpc.Status`, cut to what is worth keeping.
pub fn error_message(status: &[u8]) -> String {
    const KEPT: usize = 1024;
    error_text(status, KEPT)
}

/// As [`error_message`], cut to `most` bytes.
pub fn error_text(status: &[u8], most: usize) -> String {
    let mut fields = Fields::new(status);
    let mut message = &b""[..];
    while let Ok(Some((number, value))) = fields.next() {
        if number == 2 {
            message = value;
        }
    }
    String::from_utf8_lossy(&message[..message.len().min(most)]).into_owned()
}

const SOTW_NAMES: u64 = 3;
const SOTW_NAMES_TAG: u8 = (SOTW_NAMES as u8) << 3 | 2;

/// Where the names begin. Clients write the fields in order, so that is in the first part.
fn names_at(message: &Message) -> Option<usize> {
    let first = message.parts().first()?;
    let mut fields = Fields::new(first);
    while first.get(fields.at()) != Some(&SOTW_NAMES_TAG) {
        fields.next().ok()??;
    }
    Some(fields.at())
}

/// The message without the list, if the list stands there.
fn cut<'a>(message: &'a Message, at: usize, list: &Arc<Names>) -> Option<Raw<'a>> {
    let (first, further) = message.parts().split_first()?;
    let mut rest = &list.raw[..];
    let mut bytes = first[..at].to_vec();
    for part in std::iter::once(&first[at..]).chain(further.iter().map(|part| &part[..])) {
        let (here, behind) = part.split_at(rest.len().min(part.len()));
        rest = rest.strip_prefix(here)?;
        bytes.extend_from_slice(behind);
    }
    rest.is_empty().then(|| Raw { bytes: Cow::Owned(bytes), again: Some(list.clone()) })
}

/// The names in a request. Clients write them as one run of fields, which is used where it stands; scattered runs are
/// put together.
struct Runs<'a> {
    raw: &'a [u8],
    run: Option<(usize, usize)>,
    /// The runs before, put together.
    before: Vec<u8>,
    /// Names that may still come. `*` is no name, so there is one more than the limit.
    left: usize,
    limit: usize,
}

impl<'a> Runs<'a> {
    fn new(raw: &'a [u8], limit: usize) -> Self {
        Runs { raw, run: None, before: Vec::new(), left: limit.saturating_add(1), limit }
    }

    fn add(&mut self, start: usize, end: usize) -> Result<(), NamesError> {
        self.left = self.left.checked_sub(1).ok_or(NamesError::TooMany { limit: self.limit })?;
        match &mut self.run {
            Some((_, last)) if *last == start => *last = end,
            run => {
                let former = run.replace((start, end));
                former.into_iter().for_each(|(start, end)| self.before.extend_from_slice(&self.raw[start..end]));
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Listed<'a> {
        let Some((start, end)) = self.run else { return Listed::Nothing };
        if self.before.is_empty() {
            return Listed::New(Cow::Borrowed(&self.raw[start..end]));
        }
        self.before.extend_from_slice(&self.raw[start..end]);
        Listed::New(Cow::Owned(self.before))
    }
}

fn text<'a>(value: &'a [u8], what: &'static str) -> Result<&'a str, RequestError> {
    str::from_utf8(value).map_err(|_| RequestError::NotText(what))
}

fn entry(value: &[u8]) -> Result<(&[u8], &[u8]), RequestError> {
    let (mut fields, mut name, mut version) = (Fields::new(value), &b""[..], &b""[..]);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => name = value,
            2 => version = value,
            _ => {}
        }
    }
    match name.len() {
        length if length > LONGEST_NAME => Err(NamesError::Long { length }.into()),
        _ => Ok((name, version)),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::names::Interner, *};
    use bytes::Bytes;
    use prost_of_xds_api::Message as _;
    use xds_api::pb::{
        envoy::{
            config::core::v3::Node,
            service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
        },
        google::rpc::Status,
    };

    fn sotw(names: &[&str]) -> Vec<u8> {
        DiscoveryRequest {
            version_info: "v".into(),
            node: Some(Node { id: "n".into(), ..Default::default() }),
            resource_names: names.iter().map(|n| n.to_string()).collect(),
            type_url: "t".into(),
            response_nonce: "3".into(),
            error_detail: Some(Status { code: 1, message: "no".into(), ..Default::default() }),
            ..Default::default()
        }
        .encode_to_vec()
    }

    fn listed(interner: &Interner, names: &Listed<'_>) -> (bool, Vec<String>) {
        let (again, names) = match names {
            Listed::Nothing => return (false, vec![]),
            Listed::Again(names) => (true, names.clone()),
            Listed::New(raw) => (false, interner.names(raw, 99, |_| None).unwrap()),
        };
        (again, names.set.iter().map(|n| n.to_string()).collect())
    }

    #[test]
    fn every_field_of_a_request_is_read() {
        let raw = sotw(&["a", "b"]);
        let message = raw.into();
        let plain = Raw::of(Variant::Sotw, &message, [].iter());
        let request = Request::read(Variant::Sotw, &plain, 9).unwrap();
        assert_eq!((request.version, request.type_url, request.nonce), ("v", "t", "3"));
        assert_eq!(request.error.map(error_message).as_deref(), Some("no"));
        assert_eq!(Node::decode(request.node.unwrap()).unwrap().id, "n");

        let raw = DeltaDiscoveryRequest {
            node: Some(Node { id: "n".into(), ..Default::default() }),
            type_url: "t".into(),
            resource_names_subscribe: vec!["a".into()],
            resource_names_unsubscribe: vec!["b".into()],
            initial_resource_versions: [("a".into(), "1".into())].into(),
            response_nonce: "3".into(),
            ..Default::default()
        }
        .encode_to_vec();
        let message = raw.into();
        let plain = Raw::of(Variant::Delta, &message, [].iter());
        let request = Request::read(Variant::Delta, &plain, 9).unwrap();
        assert_eq!((request.type_url, request.nonce, request.error), ("t", "3", None));
        assert_eq!((&request.unsubscribe[..], &request.has[..]), (&["b"][..], &[(&b"a"[..], &b"1"[..])][..]));
        assert_eq!(listed(&Interner::default(), &request.names), (false, vec!["a".into()]));
        assert_eq!(Node::decode(request.node.unwrap()).unwrap().id, "n");
    }

    #[test]
    fn m3_a_repeated_list_is_found_where_it_stands_and_only_then() {
        let interner = Interner::default();
        let mut raw = Vec::new();
        ["a", "b"].iter().for_each(|n| crate::resource::put_field(&mut raw, 3, n.as_bytes()));
        let last = [interner.names(&raw, 99, |_| None).unwrap()];
        let split = [sotw(&["a", "b"]), b"\x1a\x01c".to_vec()].concat();
        for (raw, expected) in [
            (sotw(&["a", "b"]), (true, vec!["a", "b"])),
            (sotw(&["a", "b", "c"]), (false, vec!["a", "b", "c"])),
            (sotw(&["a"]), (false, vec!["a"])),
            (sotw(&["b", "a"]), (false, vec!["a", "b"])),
            (sotw(&[]), (false, vec![])),
            (split, (false, vec!["a", "b", "c"])),
        ] {
            let expected = (expected.0, expected.1.into_iter().map(String::from).collect());
            // The names begin at byte 8: in the first part or not.
            for size in [1, 8, 9, 12, raw.len()] {
                let message = raw.chunks(size).map(Bytes::copy_from_slice).collect::<Message>();
                let cut = Raw::of(Variant::Sotw, &message, last.iter());
                let request = Request::read(Variant::Sotw, &cut, 9).unwrap();
                let (again, names) = listed(&interner, &request.names);
                assert_eq!((again, &names), (expected.0 && size > 8, &expected.1), "in parts of {size}");
                assert_eq!((request.version, request.nonce), ("v", "3"));
            }
        }
    }

    proptest::proptest! {
        /// Whatever a good request has become on its way: it is read or refused, and never costs the process.
        #[test]
        fn damaged_requests_are_read_or_refused(
            at in 0..200_usize,
            cut in 0..20_usize,
            instead in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20),
        ) {
            let good = sotw(&["a", "b", "c"]);
            let start = at.min(good.len());
            let raw = [&good[..start], &instead, &good[(start + cut).min(good.len())..]].concat();
            let interner = Interner::default();
            let last = [interner.names(b"\x1a\x01a\x1a\x01b\x1a\x01c", 9, |_| None).unwrap()];
            let message = raw.chunks(9).map(Bytes::copy_from_slice).collect::<Message>();
            for variant in [Variant::Sotw, Variant::Delta] {
                let raw = Raw::of(variant, &message, last.iter());
                let Ok(request) = Request::read(variant, &raw, 9) else { continue };
                drop(request.node.map(crate::xds::Node::read));
                drop(request.error.map(error_message));
                if let Listed::New(names) = request.names {
                    drop(interner.names(&names, 9, |_| None));
                }
            }
        }
    }

    #[test]
    fn garbage_is_refused_and_an_error_message_is_cut() {
        let read = |raw: &[u8]| {
            let message = raw.to_vec().into();
            let raw = Raw::of(Variant::Sotw, &message, [].iter());
            Request::read(Variant::Sotw, &raw, 9).map(|_| ()).unwrap_err()
        };
        assert_eq!(read(b"\x0b"), RequestError::Malformed(Malformed { at: 0 }));
        assert_eq!(read(b"\x22\x01\xff"), RequestError::NotText("type_url"));
        let long = Status { message: "é".repeat(5_000), ..Default::default() }.encode_to_vec();
        assert_eq!(error_message(&long).chars().count(), 512);
        assert_eq!(error_message(b"\xff"), "");
    }

    #[test]
    fn lists_and_texts_have_an_end_while_they_are_read() {
        let read = |variant, raw: Vec<u8>| {
            let message = raw.into();
            Request::read(variant, &Raw::of(variant, &message, [].iter()), 3).map(|_| ())
        };
        let many = NamesError::TooMany { limit: 3 };
        assert_eq!(read(Variant::Sotw, b"\x1a\x01a".repeat(5)), Err(many.clone().into()));
        assert_eq!(read(Variant::Sotw, b"\x1a\x01a".repeat(4)), Ok(()), "one may be the wildcard");
        assert_eq!(read(Variant::Sotw, b"\x1a\x00\x20\x00".repeat(5)), Err(many.clone().into()), "scattered and empty");
        for field in [b"\x22\x01a", b"\x2a\x01\x0a"] {
            let expected =
                if field[0] == 0x22 { many.clone().into() } else { RequestError::Malformed(Malformed { at: 0 }) };
            assert_eq!(read(Variant::Delta, field.repeat(4)), Err(expected));
        }
        assert_eq!(read(Variant::Delta, b"\x2a\x00".repeat(4)), Err(many.into()));
        let mut long = Vec::new();
        crate::resource::put_field(&mut long, 4, &[b'a'; 257]);
        assert_eq!(read(Variant::Sotw, long), Err(RequestError::LongType { length: 257 }));
        let (mut entry, mut long) = (Vec::new(), Vec::new());
        crate::resource::put_field(&mut entry, 1, &[b'a'; 1025]);
        crate::resource::put_field(&mut long, 5, &entry);
        assert_eq!(read(Variant::Delta, long), Err(NamesError::Long { length: 1025 }.into()));
    }

    #[test]
    fn mutated_requests_are_read_or_refused() {
        let delta = DeltaDiscoveryRequest {
            node: Some(Node { id: "n".into(), cluster: "c".into(), ..Default::default() }),
            type_url: "t".into(),
            resource_names_subscribe: vec!["a".into(), "b".into()],
            initial_resource_versions: [("a".to_owned(), "1".to_owned())].into(),
            error_detail: Some(Status { code: 1, message: "no".into(), ..Default::default() }),
            ..Default::default()
        };
        let good = [sotw(&["a", "b", "c"]), delta.encode_to_vec()];
        crate::util::mutate::mutated(&[&good[0], &good[1]], |input| {
            let message = input.to_vec().into();
            for variant in [Variant::Sotw, Variant::Delta] {
                let raw = Raw::of(variant, &message, [].iter());
                let Ok(request) = Request::read(variant, &raw, 100) else { continue };
                let _ = request.error.map(error_message);
                let _ = request.node.map(Node::decode);
                let _ = request.node.map(crate::xds::node::Node::read);
                if let Listed::New(raw) = &request.names {
                    drop(Interner::default().names(raw, 99, |_| None));
                }
            }
        });
    }
}
