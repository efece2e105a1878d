//! The protocol's state of a stream in the dialect that its client speaks: which one shows its first request.

use super::{
    budget::Held,
    event::Event,
    grpc_messages::Message,
    istio,
    node::Node,
    request::{Raw, Request},
    session::{self, Rules, SessionError},
    unwanted::{Filter, Unwanted},
};
use crate::resource::{Dialect, Kind, Variant, ViewGeneration};
use bytes::Bytes;
use std::{sync::Arc, vec::Drain};
use tokio::time::Instant;

/// What a stream's gRPC method fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Method {
    pub(super) variant: Variant,
    /// The type that it serves; `None` for the aggregated one.
    pub(super) implied: Option<Kind>,
}

/// The state of one stream.
#[derive(Debug)]
pub(super) enum Protocol {
    /// Envoy's types, for Envoys and gRPC programs.
    Envoy(Box<session::Session>),
    /// Istio's objects, as whole lists.
    Istio(istio::Session),
}

impl Protocol {
    /// Chooses the dialect by the stream's method and by the node and type of its first request.
    pub(super) fn new(
        method: Method,
        node: &Node,
        type_url: &str,
        rules: Arc<Rules>,
    ) -> Result<Protocol, SessionError> {
        let Method { variant, implied } = method;
        if implied.is_some() || !istio::speaks(node, type_url) {
            return Ok(Protocol::Envoy(Box::new(session::Session::new(variant, implied, rules))));
        }
        match variant {
            Variant::Sotw => Ok(Protocol::Istio(istio::Session::new(node, rules))),
            Variant::Delta => Err(SessionError::IstioByDelta),
        }
    }

    /// What the client speaks. All libraries of gRPC begin `user_agent_name` so: `gRPC C-core ...`, `gRPC Go`, `gRPC
    /// Java`, `gRPC Node Pure JS`.
    pub(super) fn dialect(&self, node: &Node) -> Dialect {
        match self {
            Protocol::Envoy(_) if node.user_agent.starts_with("gRPC") => Dialect::Grpc,
            Protocol::Envoy(_) => Dialect::Envoy,
            Protocol::Istio(_) => Dialect::Istio,
        }
    }

    /// The bytes of a message without its list of names, if that repeats an earlier one; else `None`.
    pub(super) fn repeating<'m>(&self, message: &'m Message) -> Option<Raw<'m>> {
        match self {
            Protocol::Envoy(session) => session.repeating(message),
            Protocol::Istio(_) => None,
        }
    }

    /// Memory that its state holds, for the stream's account.
    pub(super) fn held(&self) -> Held {
        match self {
            Protocol::Envoy(session) => session.held(),
            // A few types, whose names are short.
            Protocol::Istio(_) => Held::default(),
        }
    }

    pub(super) fn on_request(
        &mut self,
        request: &Request<'_>,
        view: &ViewGeneration,
        now: Instant,
    ) -> Result<(), SessionError> {
        match self {
            Protocol::Envoy(session) => session.on_read(request, view, now),
            Protocol::Istio(session) => session.on_read(request, view, now),
        }
    }

    pub(super) fn on_generation(&mut self, view: &ViewGeneration, now: Instant) {
        match self {
            Protocol::Envoy(session) => session.on_generation(view, now),
            Protocol::Istio(session) => session.on_generation(view, now),
        }
    }

    /// Whether something is withheld from the client.
    pub(super) fn withholds(&self) -> bool {
        match self {
            Protocol::Envoy(session) => session.withholds(),
            Protocol::Istio(_) => false,
        }
    }

    /// From now on these are not sent to the client, unless it has them. An Istiod never refuses: it is sent
    /// everything.
    pub(super) fn withhold(&mut self, unwanted: Arc<[Unwanted]>) {
        match self {
            Protocol::Envoy(session) => session.withhold(unwanted),
            Protocol::Istio(_) => {}
        }
    }

    /// Sends again what the client has refused and the filter fits.
    pub(super) fn release(&mut self, filter: &Filter) {
        match self {
            Protocol::Envoy(session) => session.release(filter),
            Protocol::Istio(_) => {}
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Protocol::Envoy(session) => session.due(),
            Protocol::Istio(session) => session.due(),
        }
    }

    /// Whether the client has not acknowledged all that it was sent.
    pub(super) fn awaits_answer(&self) -> bool {
        match self {
            Protocol::Envoy(session) => session.awaits_answer(),
            Protocol::Istio(session) => session.awaits_answer(),
        }
    }

    pub(super) fn next_frame(&mut self) -> Option<Bytes> {
        match self {
            Protocol::Envoy(session) => session.next_frame(),
            Protocol::Istio(session) => session.next_frame(),
        }
    }

    pub(super) fn take_events(&mut self) -> Drain<'_, Event> {
        match self {
            Protocol::Envoy(session) => session.take_events(),
            Protocol::Istio(session) => session.take_events(),
        }
    }
}
