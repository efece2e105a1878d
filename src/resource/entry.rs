//! One resource, encoded once for both variants of the protocol.
//!
//! In an incremental answer a resource stands as `DeltaDiscoveryResponse.resources` (field 2), a message that holds
//! name, version and, also as its field 2, the resource as an `Any`. In a state-of-the-world answer the `Any` itself is
//! `DiscoveryResponse.resources`, again field 2. So the delta entry is written with the `Any` last, and its tail *is* the
//! state-of-the-world entry: one buffer serves both.

use super::{Kind, Name, encode::field_size, put_field, put_varint};
use bytes::{Bytes, BytesMut};
use std::{fmt, ops::Range};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The two variants of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variant {
    /// State of the world: each request lists all names that are wanted.
    Sotw,
    /// Incremental: an answer holds what has changed, and names what was removed.
    Delta,
}

impl Variant {
    /// The word in logs, metrics and the admin API: `sotw` or `delta`.
    pub const fn name(self) -> &'static str {
        match self {
            Variant::Sotw => "sotw",
            Variant::Delta => "delta",
        }
    }
}

/// A resource: its name, its version and its bytes. Compares by content.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    name: Name,
    version: u64,
    refers_to: Option<Name>,
    revision: Option<Name>,
    bytes: Bytes,
    sotw_at: usize,
    body_at: usize,
}

impl Resource {
    /// Encodes a resource. `body` is the encoded message; `refers_to` is the name of the assignment that a cluster
    /// asks for, `None` for everything else.
    pub fn new(kind: Kind, name: Name, body: &[u8], refers_to: Option<Name>) -> Self {
        Resource::versioned(kind, name, content_version(body), body, refers_to)
    }

    /// Encodes a resource whose body says its version itself, and which therefore is no hash of the body.
    pub fn versioned(kind: Kind, name: Name, version: u64, body: &[u8], refers_to: Option<Name>) -> Self {
        let url = kind.entry_url().as_bytes();
        let text = version_text(version);
        let any = field_size(url.len()) + field_size(body.len());
        let entry = field_size(text.len()) + field_size(name.len()) + field_size(any);
        let mut bytes = BytesMut::with_capacity(field_size(entry));
        put_varint(&mut bytes, FIELD_2);
        put_varint(&mut bytes, entry as u64);
        put_field(&mut bytes, 1, text.as_bytes());
        put_field(&mut bytes, 3, name.as_bytes());
        let sotw_at = bytes.len();
        put_varint(&mut bytes, FIELD_2);
        put_varint(&mut bytes, any as u64);
        put_field(&mut bytes, 1, url);
        put_field(&mut bytes, 2, body);
        let body_at = bytes.len() - body.len();
        Resource { name, version, refers_to, revision: None, bytes: bytes.freeze(), sotw_at, body_at }
    }

    /// The same, for control planes of one revision only (Istio's label `istio.io/rev`); `None`: for all.
    pub fn for_revision(self, revision: Option<Name>) -> Self {
        Resource { revision, ..self }
    }

    /// An assignment or a route that is asked for and that nobody knows: it has a name and nothing else. Clients drain on
    /// such an assignment, open a listener with such a route, and wait for both where there is none. The same bytes as a
    /// known cluster without endpoints has.
    pub fn absent(kind: Kind, name: &Name) -> Self {
        let mut body = BytesMut::new();
        put_field(&mut body, 1, name.as_bytes());
        Resource::new(kind, name.clone(), &body, None)
    }

    /// The name by which clients subscribe to it, unique within its kind.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The hash of its body, or the version that [`Resource::versioned`] was given.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The name of the assignment that a cluster asks for; `None` for everything else.
    pub fn refers_to(&self) -> Option<&Name> {
        self.refers_to.as_ref()
    }

    /// The revision of the control planes that it is for (Istio's label `istio.io/rev`); `None`: it is for all.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// Its entry in an answer, tag and length included.
    pub fn entry(&self, variant: Variant) -> &[u8] {
        &self.bytes[self.span(variant)]
    }

    /// As [`Resource::entry`], without copying: the bytes are shared.
    pub fn shared_entry(&self, variant: Variant) -> Bytes {
        self.bytes.slice(self.span(variant))
    }

    /// The encoded message, without the `Any` around it.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body_at..]
    }

    fn span(&self, variant: Variant) -> Range<usize> {
        match variant {
            Variant::Sotw => self.sotw_at..self.bytes.len(),
            Variant::Delta => 0..self.bytes.len(),
        }
    }
}

const FIELD_2: u64 = 2 << 3 | 2;

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, version_text(self.version))
    }
}

/// The version of a resource with this encoded message: a hash (XXH3), equal on every replica.
pub fn content_version(body: &[u8]) -> u64 {
    xxh3_64(body)
}

/// A version as clients see it: 16 hexadecimal digits, short because they repeat all of them on reconnect.
pub fn version_text(version: u64) -> String {
    format!("{version:016x}")
}

/// Reads what [`version_text`] writes; `None` for versions of another server.
pub fn parse_version(text: &[u8]) -> Option<u64> {
    let text = str::from_utf8(text).ok().filter(|t| t.len() == 16 && !t.starts_with('+'))?;
    u64::from_str_radix(text, 16).ok()
}

/// The hash of a name. The digest of a set of names is the sum of these.
pub fn name_hash(name: &[u8]) -> u64 {
    xxh3_64(name)
}

/// The hash of a name with its version, or with any other number. The digest of names and versions is the sum of these.
pub fn version_hash(name: &[u8], version: u64) -> u64 {
    xxh3_64_with_seed(name, version)
}
