//! What happened in a session, for the log, metrics and the table of clients ([`super::recorder`] writes all three).

use super::unwanted::{Found, Item};
use crate::resource::{Kind, Name, Resource};
use imbl::OrdSet;
use std::sync::Arc;

/// Something worth knowing. Sessions collect them; the stream around takes them out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request of a type was read, and the subscription is now this.
    Subscribed {
        /// The type that it is about.
        kind: Kind,
        /// As it was asked for.
        type_url: Arc<str>,
        /// Whether everything is wanted.
        wildcard: bool,
        /// The names that are wanted.
        names: OrdSet<Name>,
    },
    /// A message was queued.
    Sent {
        /// The type that it is about.
        kind: Kind,
        /// The version of the set.
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
        /// The version of the set.
        version: u64,
    },
    /// The client refuses an answer.
    Refused {
        /// The type that it is about.
        kind: Kind,
        /// The version of the set, if it was the last answer.
        version: Option<u64>,
        /// The client's error message.
        message: String,
    },
    /// Something is not sent any more, because it is refused.
    Withheld {
        /// What.
        item: Item,
        /// How it was found.
        found: Found,
        /// What is sent in its place, if something must be.
        instead: Option<Arc<Resource>>,
    },
    /// It is withheld no longer.
    Released {
        /// What.
        item: Item,
        /// Because the view has another version of it by now, or nothing of that name.
        outdated: bool,
    },
    /// Its first answer waits until all sources were read.
    Waits {
        /// The type that it is about.
        kind: Kind,
    },
    /// A type that nothing feeds was answered with nothing in it, as Istiod needs it.
    Empty {
        /// As it was asked for.
        type_url: Arc<str>,
    },
    /// A type that we do not serve was asked for.
    UnknownType {
        /// As it was asked for, cut to what is worth keeping.
        type_url: String,
    },
}
