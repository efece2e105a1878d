//! One stream's protocol state, as a value: requests and generations go in, frames and events come out. It has no socket,
//! no clock and no task; [`super::stream`] drives it.
//!
//! How it moves: a request only changes a [`Subscription`] (what is wanted, what must be sent again). Then, as after each
//! new generation, [`Session::catch_up`] compares what was sent with what is, and sends the difference. So there is one
//! place that decides what is sent, whatever the cause:
//!
//! - a type is first answered when the view's readiness allows it; until then its requests are remembered;
//! - what is wanted and differs goes out, unless an answer of the type is in flight: then it waits for the acknowledgement,
//!   at most for the patience. What is asked for goes out at once;
//! - a cluster that was sent makes its assignment, where subscribed to, go out behind it (Envoy warms until it comes); so
//!   does one that changes and that another stream follows ([`warming`]);
//! - what the client refuses is withheld from it ([`refused`]): what is compared is then the view without that;
//! - what must be sent goes in the order clusters, endpoints, listeners, routes, secrets, and removals last, in the order
//!   listeners, routes, clusters, endpoints; what waits for an acknowledgement has others wait that refer to it ([`order`]).
//!
//! Invariant: for every name that is wanted, `sent` has the version that the client has once all frames are read.

mod compare;
mod delta;
mod newcomers;
mod order;
mod refusal;
mod refused;
mod sotw;
mod step;
mod subscription;
mod warming;

#[cfg(test)]
mod tests;

use super::{
    budget::Held,
    event::Event,
    grpc_messages::Message,
    names::{Interner, Names, NamesError},
    request::{Listed, Raw, Request, RequestError, error_message},
    response::{Outgoing, head, messages, removals},
    unwanted::Unwanted,
};
use crate::resource::{ENVOY_KINDS, Kind, Name, Variant, ViewGeneration, version_text};
use bytes::Bytes;
use newcomers::Newcomers;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use step::Step;
use subscription::{State, Subscription};
use tokio::time::Instant;
use warming::Warming;

/// What all sessions of a server have in common.
#[derive(Debug, Clone)]
pub struct Rules {
    /// `control_plane.identifier` of answers, such as `portolan/1.0.0`; clients show it in their statistics.
    pub identifier: &'static str,
    /// How long an answer without acknowledgement holds back the next one of its type.
    pub ack_patience: Duration,
    /// How many names a stream may subscribe to.
    pub names: usize,
    /// Where answers are split, if the protocol allows it.
    pub answer_bytes: usize,
    /// The sets of names that streams share.
    pub interner: Arc<Interner>,
}

/// Why a stream has to end: its client breaks the protocol or a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The request cannot be read.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The names cannot be read, or are too many.
    #[error(transparent)]
    Names(#[from] NamesError),
    /// A request without type URL on an aggregated stream.
    #[error("a request without type_url on an aggregated stream; set type_url")]
    NoType,
    /// A stream of one type was asked for another.
    #[error("type_url {asked:?} on a stream of {served}; use the aggregated stream for several types")]
    OtherType {
        /// Type URL of the request.
        asked: String,
        /// Type URL that the stream's method serves.
        served: &'static str,
    },
    /// A type of Istio's was asked for on an incremental stream, which Istiod never does.
    #[error("Istio's types are served in state of the world only; use StreamAggregatedResources")]
    IstioByDelta,
    /// More types, or a longer type URL, than any Istiod asks for.
    #[error("more than {limit} types on a stream, or one with more than {longest} bytes in its type_url")]
    Types {
        /// How many types a stream may have.
        limit: usize,
        /// Longest type URL that is accepted, in bytes.
        longest: usize,
    },
}

/// The state of one stream. See the module.
#[derive(Debug)]
pub struct Session {
    rules: Arc<Rules>,
    variant: Variant,
    implied: Option<Kind>,
    subscriptions: [Subscription; ENVOY_KINDS],
    /// The kinds that were asked for, a bit each. Clients ask for two of five, and each look at another one's subscription is a
    /// look into memory that no processor has at hand.
    asked: u8,
    last_nonce: u64,
    out: Outgoing,
    events: Vec<Event>,
    warming: Warming,
    newcomers: Newcomers,
    /// What is not sent to the client, unless it has it: it has refused that on an earlier stream, or others do.
    unwanted: Arc<[Unwanted]>,
    /// True if something of any type is withheld.
    withholds: bool,
    /// When something of any type goes out again that waits for a turn; `None`: nothing waits.
    again_at: Option<Instant>,
}

/// In this order removals are sent: what refers to others before what it refers to.
const REMOVAL_ORDER: [Kind; ENVOY_KINDS] = [Kind::Listener, Kind::Route, Kind::Secret, Kind::Cluster, Kind::Endpoint];

impl Session {
    /// A stream without any request yet. `implied` is the type that its method serves; `None` for the aggregated one.
    pub fn new(variant: Variant, implied: Option<Kind>, rules: Arc<Rules>) -> Self {
        Session {
            rules,
            variant,
            implied,
            subscriptions: Default::default(),
            asked: 0,
            last_nonce: 0,
            out: Outgoing::default(),
            events: Vec::new(),
            warming: Warming::default(),
            newcomers: Newcomers::default(),
            unwanted: Arc::default(),
            withholds: false,
            again_at: None,
        }
    }

    /// Reads a request and takes it over.
    ///
    /// # Errors
    /// Where the client breaks the protocol or a limit: then the stream must end.
    pub fn on_request(&mut self, message: &Message, view: &ViewGeneration, now: Instant) -> Result<(), SessionError> {
        let raw = self.repeating(message).unwrap_or_else(|| Raw::whole(message));
        let request = Request::read(self.variant, &raw, self.rules.names)?;
        self.on_read(&request, view, now)
    }

    /// The bytes of a message without its list of names, if that repeats an earlier one; else `None`.
    pub(super) fn repeating<'m>(&self, message: &'m Message) -> Option<Raw<'m>> {
        Raw::repeating(self.variant, message, self.asked().filter_map(|(_, subscription)| subscription.list()))
    }

    /// Memory that its subscriptions hold, about.
    pub(super) fn held(&self) -> Held {
        self.asked().map(|(_, subscription)| subscription.held()).fold(Held::default(), |sum, held| sum + held)
    }

    /// Takes over a request that was read.
    pub(super) fn on_read(
        &mut self,
        request: &Request<'_>,
        view: &ViewGeneration,
        now: Instant,
    ) -> Result<(), SessionError> {
        let Some(kind) = self.kind(request.type_url)? else {
            self.events.push(Event::UnknownType { type_url: request.type_url.into() });
            return Ok(());
        };
        self.acknowledge(kind, request, view, now);
        let names = self.names(kind, &request.names, view)?;
        let changed = match self.variant {
            Variant::Sotw => self.subscribe_sotw(kind, request, names),
            Variant::Delta => self.subscribe_delta(kind, request, names, view)?,
        };
        if changed {
            self.check_limit()?;
            self.events.push(self.subscriptions[kind as usize].event(kind));
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
        let held = self.asked().filter(|(kind, s)| s.held_back && !self.waits_for_clusters(*kind));
        let held = held.filter_map(|(_, s)| s.in_flight);
        let held = held.map(|since| since + self.rules.ack_patience);
        held.chain(self.warming.next()).chain(self.newcomers_due()).chain(self.again_at).min()
    }

    /// Whether the client has not acknowledged all that it was sent.
    pub(super) fn awaits_answer(&self) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.in_flight.is_some())
    }

    /// The next piece of the queued messages, with gRPC's headers in it; `None`: nothing is left to send.
    pub fn next_frame(&mut self) -> Option<Bytes> {
        self.out.pop()
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> std::vec::Drain<'_, Event> {
        self.events.drain(..)
    }

    /// The subscriptions of the kinds that were asked for.
    fn asked(&self) -> impl Iterator<Item = (Kind, &Subscription)> {
        let asked = Kind::ENVOY.into_iter().filter(|kind| self.has_asked(*kind));
        asked.map(|kind| (kind, &self.subscriptions[kind as usize]))
    }

    fn has_asked(&self, kind: Kind) -> bool {
        self.asked & (1 << kind as u8) != 0
    }

    /// Starts a kind at its first request. Returns false for all others.
    fn begin(&mut self, kind: Kind, type_url: &str) -> bool {
        self.asked |= 1 << kind as u8;
        self.subscriptions[kind as usize].begin(kind, type_url)
    }

    /// What a request is about; `None` for a type that we do not serve, which is no reason to end the stream (G4).
    fn kind(&self, type_url: &str) -> Result<Option<Kind>, SessionError> {
        match self.implied {
            Some(kind) if type_url.is_empty() || type_url == kind.type_url() => Ok(Some(kind)),
            Some(kind) => Err(SessionError::OtherType { asked: type_url.into(), served: kind.type_url() }),
            None if type_url.is_empty() => Err(SessionError::NoType),
            // Istio's are another dialect, which a stream speaks from its first request on.
            None => Ok(Kind::of(type_url).filter(|kind| !kind.is_istio())),
        }
    }

    /// The nonce decides only this: whether the request answers our last answer. A refusal is known by its error alone (G2).
    fn acknowledge(&mut self, kind: Kind, request: &Request<'_>, view: &ViewGeneration, now: Instant) {
        let subscription = &mut self.subscriptions[kind as usize];
        let nonce = request.nonce.parse().unwrap_or(0);
        let version = subscription.version_of(nonce);
        let last = nonce != 0 && nonce == subscription.last_nonce();
        let repeated = last && subscription.acknowledged && request.error.is_none();
        if last {
            subscription.read();
        }
        if let Some(error) = request.error {
            self.events.push(Event::Refused { kind, version, message: error_message(error) });
            self.on_refused(kind, nonce, error, view, now);
        } else {
            if let (true, Some(version)) = (last && !subscription.acknowledged, version) {
                subscription.acknowledged = true;
                self.events.push(Event::Acknowledged { kind, version });
            }
            self.on_taken(kind, nonce);
        }
        if repeated && kind == Kind::Endpoint {
            let warming: Vec<Name> = self.warming.take_all().collect();
            self.resend_assignments(warming);
        }
    }

    fn names(
        &self,
        kind: Kind,
        listed: &Listed<'_>,
        view: &ViewGeneration,
    ) -> Result<Option<Arc<Names>>, SessionError> {
        Ok(match listed {
            Listed::Nothing => None,
            Listed::Again(names) => Some(names.clone()),
            Listed::New(raw) => {
                let known = |name: &str| view.get(kind).name(name).cloned();
                Some(self.rules.interner.names(raw, self.rules.names, known)?)
            }
        })
    }

    fn check_limit(&self) -> Result<(), SessionError> {
        let limit = self.rules.names;
        match self.asked().map(|(_, subscription)| subscription.names().len()).sum::<usize>() > limit {
            true => Err(NamesError::TooMany { limit }.into()),
            false => Ok(()),
        }
    }

    /// Sends what the client should have and has not.
    fn catch_up(&mut self, view: &ViewGeneration, now: Instant) {
        let laid = self.lay(view, now);
        let view = laid.as_ref().unwrap_or(view);
        self.warm_others(view, now);
        self.welcome(now);
        loop {
            if self.asked().all(|(kind, subscription)| subscription.is_settled(view.get(kind))) {
                self.hold_nothing_back();
                return;
            }
            // What listeners and routes may still refer to is removed once they were sent.
            let keeps = self.is_referred_to(view);
            let kept = if keeps { self.keep_clusters(view) } else { None };
            self.send_all(kept.as_ref().unwrap_or(view), keeps, now);
            if !keeps || self.is_referred_to(view) {
                return;
            }
        }
    }

    /// The client has all that there is: what was held back is as it was before.
    fn hold_nothing_back(&mut self) {
        for kind in Kind::ENVOY {
            if self.has_asked(kind) {
                self.subscriptions[kind as usize].held_back = false;
            }
        }
    }

    /// Sends what differs and does not wait. `keeps`: no cluster and no assignment is removed.
    fn send_all(&mut self, view: &ViewGeneration, keeps: bool, now: Instant) {
        // Clusters first: they decide which assignments go out again, and whether routes wait.
        let mut steps = [const { None }; ENVOY_KINDS];
        for kind in Kind::ENVOY {
            if self.has_asked(kind) {
                steps[kind as usize] = self.step(kind, view, keeps, now);
            }
        }
        for (kind, step) in Kind::ENVOY.into_iter().zip(&mut steps) {
            let Some(step) = step else { continue };
            if let Some(contents) = step.contents.take() {
                let limit = self.split_at(kind);
                let messages = messages(contents, view.get(kind), self.variant, limit);
                self.send(kind, view, messages, now);
            }
        }
        for kind in REMOVAL_ORDER {
            let Some(Step { removed, late, .. }) = &mut steps[kind as usize] else { continue };
            if let Some(contents) = late.take() {
                let messages = messages(contents, view.get(kind), self.variant, self.split_at(kind));
                self.send(kind, view, messages, now);
            } else if !removed.is_empty() {
                let messages = self.removals(removed, view, kind);
                self.send(kind, view, messages, now);
            }
        }
    }

    /// State of the world sends a removal as an empty assignment: a missing one would not drain (fact 0.4). A route that is
    /// named and missing is an empty one in both variants.
    fn removals(&self, removed: &BTreeSet<Name>, view: &ViewGeneration, kind: Kind) -> Vec<super::response::Message> {
        let (limit, named) = (self.split_at(kind), self.subscriptions[kind as usize].names());
        let is_answered =
            |name: &&Name| self.variant == Variant::Sotw || (kind == Kind::Route && named.contains(*name));
        let (absent, gone): (Vec<&Name>, Vec<&Name>) = removed.iter().partition(is_answered);
        let mut all = Vec::new();
        if !absent.is_empty() {
            let absent = super::response::Contents::Absent(kind, absent.into_iter().cloned().collect());
            all.extend(messages(absent, view.get(kind), self.variant, limit));
        }
        if !gone.is_empty() {
            all.extend(removals(gone, limit));
        }
        all
    }

    fn split_at(&self, kind: Kind) -> usize {
        match self.variant {
            Variant::Sotw if kind.whole_state() => usize::MAX,
            _ => self.rules.answer_bytes,
        }
    }

    fn send(&mut self, kind: Kind, view: &ViewGeneration, messages: Vec<super::response::Message>, now: Instant) {
        let subscription = &mut self.subscriptions[kind as usize];
        let version = subscription.set_version(kind, self.variant, view.get(kind));
        let text = version_text(version);
        for message in messages {
            self.last_nonce += 1;
            let nonce = self.last_nonce;
            // Once is enough: clients keep it for the stream.
            let identifier = (nonce == 1).then_some(self.rules.identifier);
            let head = head(self.variant, &text, &subscription.type_url, &nonce.to_string(), identifier);
            let items = message.items;
            let bytes = self.out.push(&head, message);
            subscription.sent_message(version, nonce, now);
            self.events.push(Event::Sent { kind, version, nonce, items, bytes });
        }
    }
}
