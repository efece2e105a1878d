//! What happened in a session, for the log, metrics and the table of clients ([`super::recorder`] writes all three).

use super::unwanted::{Found, Item};
use crate::resource::{Kind, Name, Resource};
use imbl::OrdSet;
use std::sync::Arc;

/// Something that happened in a session. Sessions collect events; the stream around takes them out and records them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request of a type was read, and the subscription is now this.
    Subscribed {
        /// The type that it is about.
        kind: Kind,
        /// Type URL as the client's request spelled it.
        type_url: Arc<str>,
        /// Whether everything is wanted.
        wildcard: bool,
        /// Names that are subscribed to one by one; the wildcard `*` is none of them.
        names: OrdSet<Name>,
    },
    /// A message was queued.
    Sent {
        /// The type that it is about.
        kind: Kind,
        /// Version of the set of all resources in the answer: a digest, which clients see as 16 hexadecimal digits.
        version: u64,
        /// The number by which the client will name it.
        nonce: u64,
        /// How many resources and removed names it holds.
        items: usize,
        /// Length of the message in bytes, without gRPC's five.
        bytes: usize,
    },
    /// The client acknowledged the last answer.
    Acknowledged {
        /// The type that it is about.
        kind: Kind,
        /// Version of the set of all resources in the answer: a digest, which clients see as 16 hexadecimal digits.
        version: u64,
    },
    /// The client refuses an answer.
    Refused {
        /// The type that it is about.
        kind: Kind,
        /// Version of the set in that answer; `None` if it was not the last answer.
        version: Option<u64>,
        /// The client's error message.
        message: String,
    },
    /// Something is not sent any more, because it is refused.
    Withheld {
        /// The resource and the version of it that is refused.
        item: Item,
        /// How it is known that the client refuses it.
        found: Found,
        /// What is sent in its place, if something must be.
        instead: Option<Arc<Resource>>,
    },
    /// A resource is withheld no longer.
    Released {
        /// The resource and the version of it that is refused.
        item: Item,
        /// True: the view has another version of it by now, or nothing of that name. False: somebody has released it.
        outdated: bool,
    },
    /// An Istiod's first list of a type waits until all sources were read.
    Waits {
        /// The type that it is about.
        kind: Kind,
    },
    /// A type that nothing feeds was answered with nothing in it, as Istiod needs it.
    Empty {
        /// Type URL as the client's request spelled it.
        type_url: Arc<str>,
    },
    /// A type that we do not serve was asked for.
    UnknownType {
        /// Type URL as the client's request spelled it, at most 256 bytes: a longer one ends the stream.
        type_url: String,
    },
}
