//! What happened in a session, for the log, metrics and the table of clients ([`super::recorder`] writes all three).

use crate::resource::{Kind, Name};
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
        /// How long it is.
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
