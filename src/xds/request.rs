//! Requests of both variants, read from their bytes.
//!
//! At 5,000 services every state-of-the-world acknowledgement repeats 95 KB of names. Decoded into a set that costs
//! 130 µs; compared with the last list where it stands, in the parts in which it came, a few. So the last lists are cut out
//! first ([`Raw::of`]), and only a list that is none of them is handed on as bytes, to be interned.

use super::{
    fields::{Fields, Malformed},
    grpc_messages::Message,
    names::Names,
};
use crate::resource::Variant;
use std::{borrow::Cow, sync::Arc};

/// Why a request cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not protobuf.
    #[error("a request that is no discovery request")]
    Malformed(#[from] Malformed),
    /// Text that is not UTF-8.
    #[error("{0} of a request is not UTF-8")]
    NotText(&'static str),
}

/// The names in a request: all that are subscribed to (state of the world), or the new ones (incremental).
#[derive(Debug, Clone)]
pub enum Listed<'a> {
    /// There are none.
    Nothing,
    /// A list that was there before, byte for byte.
    Again(Arc<Names>),
    /// Another list.
    New(Cow<'a, [u8]>),
}

/// A request. Everything but the node, which only the first one has: `node` finds it.
#[derive(Debug)]
pub struct Request<'a> {
    /// What is asked for; empty where the method implies it.
    pub type_url: &'a str,
    /// The answer that it answers; empty in the first.
    pub nonce: &'a str,
    /// State of the world: the last version accepted.
    pub version: &'a str,
    /// The names.
    pub names: Listed<'a>,
    /// Incremental: names that are no longer wanted.
    pub unsubscribe: Vec<&'a str>,
    /// Incremental: name and version of what a reconnecting client has.
    pub has: Vec<(&'a [u8], &'a [u8])>,
    /// The answer is refused: a `google.rpc.Status`.
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
    pub fn of<'l>(variant: Variant, message: &'a Message, mut last: impl Iterator<Item = &'l Arc<Names>>) -> Self {
        let cut = match variant {
            Variant::Sotw => names_at(message).and_then(|at| last.find_map(|list| cut(message, at, list))),
            Variant::Delta => None,
        };
        cut.unwrap_or_else(|| Raw { bytes: message.whole(), again: None })
    }
}

impl<'a> Request<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// If it is not protobuf, or has more than a stream may have.
    pub fn read(variant: Variant, raw: &'a Raw<'_>) -> Result<Self, RequestError> {
        match variant {
            Variant::Sotw => Self::read_sotw(raw),
            Variant::Delta => Self::read_delta(&raw.bytes),
        }
    }

    fn empty() -> Self {
        Request {
            type_url: "",
            nonce: "",
            version: "",
            names: Listed::Nothing,
            unsubscribe: Vec::new(),
            has: Vec::new(),
            error: None,
        }
    }

    fn read_sotw(raw: &'a Raw<'_>) -> Result<Self, RequestError> {
        let (mut request, mut names) = (Request::empty(), Runs::default());
        let mut fields = Fields::new(&raw.bytes);
        loop {
            let start = fields.at();
            let Some((number, value)) = fields.next()? else { break };
            match number {
                1 => request.version = text(value, "version_info")?,
                SOTW_NAMES => names.add(start, fields.at()),
                4 => request.type_url = text(value, "type_url")?,
                5 => request.nonce = text(value, "response_nonce")?,
                6 => request.error = Some(value),
                _ => {}
            }
        }
        request.names = match (&raw.again, names.finish(&raw.bytes)) {
            (None, names) => names,
            (Some(list), Listed::New(more)) => Listed::New(Cow::Owned([&list.raw[..], &more].concat())),
            (Some(list), _) => Listed::Again(list.clone()),
        };
        Ok(request)
    }

    fn read_delta(raw: &'a [u8]) -> Result<Self, RequestError> {
        let (mut request, mut names) = (Request::empty(), Runs::default());
        let mut fields = Fields::new(raw);
        loop {
            let start = fields.at();
            let Some((number, value)) = fields.next()? else { break };
            match number {
                2 => request.type_url = text(value, "type_url")?,
                3 => names.add(start, fields.at()),
                4 => request.unsubscribe.push(text(value, "resource_names_unsubscribe")?),
                5 => request.has.push(entry(value)?),
                6 => request.nonce = text(value, "response_nonce")?,
                7 => request.error = Some(value),
                _ => {}
            }
        }
        request.names = names.finish(raw);
        Ok(request)
    }
}

/// The bytes of the node in a request, if it has one.
///
/// # Errors
/// If the request is not protobuf.
pub fn node(variant: Variant, raw: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let number = match variant {
        Variant::Sotw => 2,
        Variant::Delta => 1,
    };
    let mut fields = Fields::new(raw);
    while let Some((found, value)) = fields.next()? {
        if found == number {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The message of a `google.rpc.Status`, cut to what is worth keeping.
pub fn error_message(status: &[u8]) -> String {
    const KEPT: usize = 1024;
    let mut fields = Fields::new(status);
    let mut message = &b""[..];
    while let Ok(Some((number, value))) = fields.next() {
        if number == 2 {
            message = value;
        }
    }
    String::from_utf8_lossy(&message[..message.len().min(KEPT)]).into_owned()
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

/// The places of the names in a request: one run of fields, unless the client is peculiar.
#[derive(Default)]
struct Runs {
    runs: Vec<(usize, usize)>,
}

impl Runs {
    fn add(&mut self, start: usize, end: usize) {
        match self.runs.last_mut() {
            Some((_, last)) if *last == start => *last = end,
            _ => self.runs.push((start, end)),
        }
    }

    fn finish(self, raw: &[u8]) -> Listed<'_> {
        match &self.runs[..] {
            [] => Listed::Nothing,
            [(start, end)] => Listed::New(Cow::Borrowed(&raw[*start..*end])),
            runs => Listed::New(Cow::Owned(runs.iter().flat_map(|(s, e)| &raw[*s..*e]).copied().collect())),
        }
    }
}

fn text<'a>(value: &'a [u8], what: &'static str) -> Result<&'a str, RequestError> {
    str::from_utf8(value).map_err(|_| RequestError::NotText(what))
}

fn entry(value: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut fields, mut name, mut version) = (Fields::new(value), &b""[..], &b""[..]);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => name = value,
            2 => version = value,
            _ => {}
        }
    }
    Ok((name, version))
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
        let message = raw.clone().into();
        let plain = Raw::of(Variant::Sotw, &message, [].iter());
        let request = Request::read(Variant::Sotw, &plain).unwrap();
        assert_eq!((request.version, request.type_url, request.nonce), ("v", "t", "3"));
        assert_eq!(request.error.map(error_message).as_deref(), Some("no"));
        assert_eq!(Node::decode(node(Variant::Sotw, &raw).unwrap().unwrap()).unwrap().id, "n");

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
        let message = raw.clone().into();
        let plain = Raw::of(Variant::Delta, &message, [].iter());
        let request = Request::read(Variant::Delta, &plain).unwrap();
        assert_eq!((request.type_url, request.nonce, request.error), ("t", "3", None));
        assert_eq!((&request.unsubscribe[..], &request.has[..]), (&["b"][..], &[(&b"a"[..], &b"1"[..])][..]));
        assert_eq!(listed(&Interner::default(), &request.names), (false, vec!["a".into()]));
        assert_eq!(Node::decode(node(Variant::Delta, &raw).unwrap().unwrap()).unwrap().id, "n");
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
                let request = Request::read(Variant::Sotw, &cut).unwrap();
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
                let Ok(request) = Request::read(variant, &raw) else { continue };
                proptest::prop_assert!(node(variant, &message.whole()).is_ok());
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
            Request::read(Variant::Sotw, &raw).map(|_| ()).unwrap_err()
        };
        assert_eq!(read(b"\x0b"), RequestError::Malformed(Malformed { at: 0 }));
        assert_eq!(read(b"\x22\x01\xff"), RequestError::NotText("type_url"));
        let long = Status { message: "é".repeat(5_000), ..Default::default() }.encode_to_vec();
        assert_eq!(error_message(&long).chars().count(), 512);
        assert_eq!(error_message(b"\xff"), "");
    }
}
