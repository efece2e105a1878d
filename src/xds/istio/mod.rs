//! One stream of an Istiod (MCP over xDS), as a value: requests and generations go in, frames and events come out, as
//! with [`super::session::Session`]. `stream` drives it.
//!
//! Istiod speaks state of the world with a dialect of its own:
//!
//! - it asks for all its types at once and starts only when each was answered; so each is, with nothing in it where nothing
//!   feeds it;
//! - what a list lacks it deletes; so a type's first list waits until all its sources were read, and an Istiod that holds
//!   resources of it keeps them meanwhile;
//! - its first requests carry a nonce that nobody gave it; so a type's first request subscribes, whatever its nonce;
//! - it never refuses, and decodes every list whole; so lists go at a [`Pace`], and none when nothing changed;
//! - the version in a type URL changed with its releases while the messages did not; so a type is known by group and
//!   kind, and its URL is repeated as it was asked for.
//!
//! Invariant: what was sent last is all that the generation has for this revision, and once the pace allows it, the
//! newest such list was sent.

mod pace;
#[cfg(test)]
mod tests;

use super::{
    event::Event,
    node::Node,
    request::{LONGEST_TYPE, Request, error_message},
    response::{Contents, Outgoing, head, messages},
    session::{Rules, SessionError},
};
use crate::resource::{Generation, Kind, Readiness, Resource, Variant, ViewGeneration, version_hash, version_text};
use bytes::Bytes;
use imbl::OrdSet;
use pace::Pace;
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::Instant;

/// Most types on one stream. Istiod asks for 16; each costs us a little, and the client chooses them.
const MOST_TYPES: usize = 64;

/// Whether a stream is an Istiod's, by its first request: its node has `GENERATOR: api`, or it asks for a type in Istio's way, which is
/// `group/version/Kind`; all others' types have one slash.
pub fn speaks(node: &Node, type_url: &str) -> bool {
    let says_so = node.metadata.text("GENERATOR") == Some("api");
    says_so || type_url.matches('/').count() == 2
}

/// The state of one stream. See the module.
#[derive(Debug)]
pub struct Session {
    rules: Arc<Rules>,
    revision: Option<String>,
    types: BTreeMap<Arc<str>, Subscription>,
    last_nonce: u64,
    out: Outgoing,
    events: Vec<Event>,
}

/// What a stream was sent of one type.
#[derive(Debug)]
enum Subscription {
    /// Nothing makes it: it was answered, and is again only when something does, after a change of the configuration.
    /// `None`: it is no type of ours.
    Empty(Option<Kind>),
    /// Something makes it: lists of it are sent.
    List(List),
}

#[derive(Debug)]
struct List {
    kind: Kind,
    pace: Pace,
    /// The digest of the generation that was looked at last, to see cheaply that nothing changed.
    seen: Option<u64>,
    /// The version of the list that was sent last.
    sent: Option<u64>,
    nonce: u64,
}

impl Session {
    /// A stream of that node, without any request yet.
    pub fn new(node: &Node, rules: Arc<Rules>) -> Self {
        let revision = node.metadata.text("ISTIO_REVISION").filter(|revision| !revision.is_empty());
        let revision = revision.map(ToOwned::to_owned);
        Session { rules, revision, types: BTreeMap::new(), last_nonce: 0, out: Outgoing::default(), events: Vec::new() }
    }

    /// Takes over a request that was read. An error ends the stream.
    pub(super) fn on_read(
        &mut self,
        request: &Request<'_>,
        view: &ViewGeneration,
        now: Instant,
    ) -> Result<(), SessionError> {
        match self.types.get_mut(request.type_url) {
            Some(Subscription::List(list)) => {
                if let Some(event) = list.on_answered(request, now) {
                    self.events.push(event);
                }
            }
            Some(Subscription::Empty(_)) => {}
            None => self.subscribe(request.type_url, view)?,
        }
        self.catch_up(view, now);
        Ok(())
    }

    /// Takes a new generation, or the same one when [`Session::due`] has come.
    pub fn on_generation(&mut self, view: &ViewGeneration, now: Instant) {
        self.catch_up(view, now);
    }

    /// When what is held back goes out, though the client sends nothing.
    pub fn due(&self) -> Option<Instant> {
        self.types.values().filter_map(|subscription| subscription.list()?.pace.due()).min()
    }

    /// Whether the client has not acknowledged all that it was sent.
    pub(super) fn awaits_answer(&self) -> bool {
        self.types.values().filter_map(Subscription::list).any(|list| list.pace.is_in_flight())
    }

    /// The next piece of the queued messages, with gRPC's headers in it; `None`: nothing is left to send.
    pub fn next_frame(&mut self) -> Option<Bytes> {
        self.out.pop()
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> std::vec::Drain<'_, Event> {
        self.events.drain(..)
    }

    fn subscribe(&mut self, type_url: &str, view: &ViewGeneration) -> Result<(), SessionError> {
        if type_url.is_empty() {
            return Err(SessionError::NoType);
        }
        if self.types.len() >= MOST_TYPES || type_url.len() > LONGEST_TYPE {
            return Err(SessionError::Types { limit: MOST_TYPES, longest: LONGEST_TYPE });
        }
        let type_url: Arc<str> = type_url.into();
        let kind = Kind::of(&type_url).filter(|kind| kind.is_istio());
        let subscription = match kind.and_then(|kind| Some((kind, view.readiness_of(kind)?))) {
            Some((kind, readiness)) => {
                let (type_url, names) = (type_url.clone(), OrdSet::new());
                self.events.push(Event::Subscribed { kind, type_url, wildcard: true, names });
                if readiness != Readiness::Complete {
                    self.events.push(Event::Waits { kind });
                }
                Subscription::List(List::new(kind))
            }
            None => {
                self.answer_empty(&type_url);
                Subscription::Empty(kind)
            }
        };
        self.types.insert(type_url, subscription);
        Ok(())
    }

    fn answer_empty(&mut self, type_url: &Arc<str>) {
        let (nonce, nothing) = (self.next_nonce(), Generation::default());
        for message in messages(Contents::Whole, &nothing, Variant::Sotw, usize::MAX) {
            let head = self.head(0, type_url, nonce);
            self.out.push(&head, message);
        }
        self.events.push(Event::Empty { type_url: type_url.clone() });
    }

    /// Sends the lists that differ and may go.
    fn catch_up(&mut self, view: &ViewGeneration, now: Instant) {
        let mut due = Vec::new();
        for (type_url, subscription) in &mut self.types {
            if let Subscription::Empty(Some(kind)) = subscription
                && view.readiness_of(*kind).is_some()
            {
                *subscription = Subscription::List(List::new(*kind));
            }
            if let Subscription::List(list) = subscription
                && list.is_due(view, now)
            {
                due.push((type_url.clone(), list.kind));
            }
        }
        for (type_url, kind) in due {
            self.send(&type_url, kind, view.get(kind), now);
        }
    }

    /// Sends a list, if what this revision sees of it differs.
    fn send(&mut self, type_url: &Arc<str>, kind: Kind, generation: &Generation, now: Instant) {
        let (version, contents) = self.list(generation);
        let nonce = self.last_nonce + 1;
        let Some(Subscription::List(list)) = self.types.get_mut(type_url) else { return };
        list.seen = Some(generation.digest());
        if list.sent == Some(version) {
            list.pace.unchanged();
            return;
        }
        list.sent = Some(version);
        list.nonce = nonce;
        list.pace.sent(now);
        self.last_nonce = nonce;
        for message in messages(contents, generation, Variant::Sotw, usize::MAX) {
            let (items, head) = (message.items, self.head(version, type_url, nonce));
            let bytes = self.out.push(&head, message);
            self.events.push(Event::Sent { kind, version, nonce, items, bytes });
        }
    }

    /// What this stream's revision sees, and its version. Istiod leaves out other revisions' resources itself; not to send
    /// them spares it the decoding. Without a revision it takes all.
    fn list(&self, generation: &Generation) -> (u64, Contents) {
        let Some(revision) = self.revision.as_deref() else { return (generation.digest(), Contents::Whole) };
        let seen = |resource: &Resource| resource.revision().is_none_or(|of| of == revision);
        if generation.iter().all(|resource| seen(resource)) {
            return (generation.digest(), Contents::Whole);
        }
        let seen: Vec<_> = generation.iter().filter(|resource| seen(resource)).cloned().collect();
        let hash = |resource: &Arc<Resource>| version_hash(resource.name().as_bytes(), resource.version());
        (seen.iter().map(hash).fold(0, u64::wrapping_add), Contents::Some(seen))
    }

    fn next_nonce(&mut self) -> u64 {
        self.last_nonce += 1;
        self.last_nonce
    }

    fn head(&self, version: u64, type_url: &str, nonce: u64) -> Bytes {
        // Once is enough: clients keep it for the stream.
        let identifier = (nonce == 1).then_some(self.rules.identifier);
        head(Variant::Sotw, &version_text(version), type_url, &nonce.to_string(), identifier).freeze()
    }
}

impl Subscription {
    fn list(&self) -> Option<&List> {
        match self {
            Subscription::List(list) => Some(list),
            Subscription::Empty(_) => None,
        }
    }
}

impl List {
    /// A type before its first answer.
    fn new(kind: Kind) -> Self {
        List { kind, pace: Pace::default(), seen: None, sent: None, nonce: 0 }
    }

    /// Takes a further request, which acknowledges or refuses the last list. One with another nonce changes nothing.
    fn on_answered(&mut self, request: &Request<'_>, now: Instant) -> Option<Event> {
        let version = self.sent.filter(|_| request.nonce.parse() == Ok(self.nonce))?;
        self.pace.acknowledged(now);
        let kind = self.kind;
        Some(match request.error {
            Some(error) => Event::Refused { kind, version: Some(version), message: error_message(error) },
            None => Event::Acknowledged { kind, version },
        })
    }

    fn is_due(&mut self, view: &ViewGeneration, now: Instant) -> bool {
        let generation = view.get(self.kind);
        if self.sent.is_none() && view.readiness_of(self.kind) != Some(Readiness::Complete) {
            return false; // What the list lacks would be deleted, though it may only be late.
        }
        if self.seen == Some(generation.digest()) {
            self.pace.unchanged();
            return false;
        }
        self.pace.changed(now)
    }
}
