//! One stream: a session driven by its own response body. There is no task and no queue per stream; whoever polls the body
//! for its next frame thereby reads requests, looks for new generations and waits for what is due.
//!
//! While the client takes nothing the body is not polled, so nothing here runs: `stalled` ends such streams.

use super::{
    Refused, Subscriber, Subscription, Views,
    clients::Registration,
    event::Event,
    grpc_messages::{Message, MessageError, Requests},
    metrics::Metrics,
    node::{Node, NodeError},
    protocol::{Method, Protocol},
    session::{Rules, SessionError},
};
use crate::resource::{ViewGeneration, version_text};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::HeaderMap;
use http_body::{Body, Frame};
use std::{convert::Infallible, pin::Pin, sync::Arc};
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tracing::{debug, info, warn};

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client finished it, or went away.
    Client,
    /// The client broke the protocol or a limit.
    Refused,
    /// We are going down, or the connection is old enough.
    Retired,
    /// The body was dropped: the connection was cut, by either side.
    Cut,
}

impl Ended {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Ended::Client => "client",
            Ended::Refused => "refused",
            Ended::Retired => "retired",
            Ended::Cut => "cut",
        }
    }
}

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Frame(#[from] MessageError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("this server is going away; connect again")]
    Retired,
}

impl StreamError {
    fn status(&self) -> Status {
        let text = self.to_string();
        match self {
            StreamError::Frame(MessageError::Compressed) => Status::unimplemented(text),
            StreamError::Frame(MessageError::Long { .. }) => Status::resource_exhausted(text),
            StreamError::Frame(MessageError::Gone) => Status::cancelled(text),
            StreamError::Session(SessionError::Names(super::names::NamesError::TooMany { .. })) => {
                Status::resource_exhausted(text)
            }
            StreamError::Session(SessionError::IstioByDelta) => Status::unimplemented(text),
            StreamError::Node(_) | StreamError::Session(_) => Status::invalid_argument(text),
            // The reason is for our log: a client must not learn what it may not see.
            StreamError::Refused(Refused::NotAllowed(_)) => Status::permission_denied("this client may not subscribe"),
            StreamError::Refused(Refused::NoRoom(_)) => Status::resource_exhausted("too many views are in use"),
            StreamError::Retired => Status::unavailable(text),
        }
    }

    fn ended(&self) -> Ended {
        match self {
            StreamError::Frame(MessageError::Gone) => Ended::Client,
            StreamError::Retired => Ended::Retired,
            _ => Ended::Refused,
        }
    }
}

/// One stream. See the module.
pub(super) struct Stream<B> {
    requests: Requests<B>,
    method: Method,
    rules: Arc<Rules>,
    views: Arc<dyn Views>,
    /// Begins with the first request.
    exchange: Option<Exchange>,
    /// Looked at only when it was woken, unlike the others: it nearly never is.
    retire: FuturesUnordered<WaitForCancellationFutureOwned>,
    timer: Option<Pin<Box<Sleep>>>,
    registration: Registration,
    metrics: Metrics,
    ended: Option<Ended>,
}

/// What the first request decides: how the client speaks, and what it sees.
struct Exchange {
    protocol: Protocol,
    generations: watch::Receiver<Arc<ViewGeneration>>,
    now: Arc<ViewGeneration>,
}

/// What a stream is made of.
pub(super) struct Parts {
    pub(super) method: Method,
    pub(super) rules: Arc<Rules>,
    pub(super) views: Arc<dyn Views>,
    pub(super) registration: Registration,
    pub(super) metrics: Metrics,
    pub(super) retire: CancellationToken,
}

impl<B: Body<Data = Bytes> + Unpin> Stream<B> {
    pub(super) fn new(requests: Requests<B>, parts: Parts) -> Self {
        let Parts { method, rules, views, registration, metrics, retire } = parts;
        metrics.streams.get_or_create(&method.variant.into()).inc();
        debug!(stream = registration.id(), variant = method.variant.name(), "A stream opened.");
        Stream {
            requests,
            method,
            rules,
            views,
            exchange: None,
            retire: FuturesUnordered::from_iter([retire.cancelled_owned()]),
            timer: None,
            registration,
            metrics,
            ended: None,
        }
    }

    /// The next frame; after the trailers, none.
    pub(super) async fn frame(mut self) -> Option<(Result<Frame<Bytes>, Infallible>, Self)> {
        if self.ended.is_some() {
            return None;
        }
        loop {
            if let Some(bytes) = self.exchange.as_mut().and_then(|exchange| exchange.protocol.next_frame()) {
                self.registration.sending();
                return Some((Ok(Frame::data(bytes)), self));
            }
            self.registration.idle();
            let end = match self.step().await {
                Ok(true) => continue,
                Ok(false) => None,
                Err(error) => Some(error),
            };
            let trailers = self.end(end);
            return Some((Ok(Frame::trailers(trailers)), self));
        }
    }

    /// Takes one event; `false` when the client has finished. Every branch may be cancelled: none holds anything.
    async fn step(&mut self) -> Result<bool, StreamError> {
        let due = self.exchange.as_ref().and_then(|exchange| exchange.protocol.due());
        set_timer(&mut self.timer, due);
        tokio::select! {
            biased;
            request = self.requests.next() => {
                let Some(message) = request? else { return Ok(false) };
                self.on_request(&message)?;
            }
            () = changed(&mut self.exchange) => self.on_generation(),
            () = elapsed(&mut self.timer) => self.on_generation(),
            // Last: a client that never lets it come up is cut after the grace.
            Some(()) = self.retire.next() => return Err(StreamError::Retired),
        }
        self.note();
        Ok(true)
    }

    fn on_request(&mut self, message: &Message) -> Result<(), StreamError> {
        self.metrics.requests.get_or_create(&self.method.variant.into()).inc();
        let exchange = match &mut self.exchange {
            Some(exchange) => exchange,
            none => none.insert(begin(self.method, message, &self.rules, &*self.views, &self.registration)?),
        };
        // The newest state wins: no request is answered from a generation that another has followed.
        if exchange.generations.has_changed().unwrap_or(false) {
            exchange.now = exchange.generations.borrow_and_update().clone();
        }
        Ok(exchange.protocol.on_request(message, &exchange.now, Instant::now())?)
    }

    fn on_generation(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.protocol.on_generation(&exchange.now, Instant::now());
        }
    }

    /// Counts, logs and records what happened.
    fn note(&mut self) {
        let Some(exchange) = &mut self.exchange else { return };
        let events: Vec<Event> = exchange.protocol.take_events().collect();
        self.registration.note(&events);
        for event in &events {
            self.metrics.count(event);
            let stream = self.registration.id();
            match event {
                Event::Refused { kind, version, message } => warn!(
                    stream,
                    kind = kind.name(),
                    version = version.map(version_text),
                    message,
                    "A client refuses what it was sent."
                ),
                Event::UnknownType { type_url } => debug!(stream, type_url, "A type that is not served was asked for."),
                Event::Empty { type_url } => debug!(stream, %type_url, "Nothing feeds the type; answered so."),
                Event::Waits { kind } => info!(
                    stream,
                    kind = kind.name(),
                    "An Istiod waits: it would delete what a list lacks, and not all registries were read yet."
                ),
                Event::Sent { kind, version, nonce, items, bytes } => {
                    debug!(stream, kind = kind.name(), version = version_text(*version), nonce, items, bytes, "Sent.");
                }
                Event::Subscribed { .. } | Event::Acknowledged { .. } => {}
            }
        }
    }

    fn end(&mut self, error: Option<StreamError>) -> HeaderMap {
        self.note();
        let stream = self.registration.id();
        let ended = error.as_ref().map_or(Ended::Client, StreamError::ended);
        match &error {
            Some(error) if ended == Ended::Refused => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                warn!(stream, %error, cause, "A client's stream is ended.");
            }
            _ => debug!(stream, reason = ended.name(), "A stream ended."),
        }
        self.ended = Some(ended);
        let status = error.map_or_else(|| Status::ok(""), |error| error.status());
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert("grpc-status", http::HeaderValue::from_static("13"));
        }
        trailers
    }
}

impl<B> Drop for Stream<B> {
    fn drop(&mut self) {
        let ended = self.ended.unwrap_or(Ended::Cut);
        self.metrics.streams.get_or_create(&self.method.variant.into()).dec();
        self.metrics.streams_ended.get_or_create(&ended.into()).inc();
    }
}

/// Takes note of who begins, and finds what it sees.
fn begin(
    method: Method,
    message: &Message,
    rules: &Arc<Rules>,
    views: &dyn Views,
    registration: &Registration,
) -> Result<Exchange, StreamError> {
    let node = Node::of_request(method.variant, &message.whole())?;
    let protocol = Protocol::new(method, &node, message, rules.clone())?;
    debug!(
        stream = registration.id(), node = %node.id, cluster = %node.cluster, dialect = protocol.dialect().name(),
        agent = %node.user_agent, version = %node.user_agent_version, variant = method.variant.name(),
        "A client subscribed."
    );
    let client = Subscriber { node: &node, identity: None, peer: registration.peer(), dialect: protocol.dialect() };
    let subscribed = views.subscribe(&client);
    registration.set_client(node, subscribed.as_ref().ok().map(|subscription| subscription.view.clone()));
    let Subscription { mut generations, .. } = subscribed?;
    let now = generations.borrow_and_update().clone();
    Ok(Exchange { protocol, generations, now })
}

fn set_timer(timer: &mut Option<Pin<Box<Sleep>>>, due: Option<Instant>) {
    match (timer.as_mut(), due) {
        (_, None) => *timer = None,
        (Some(timer), Some(due)) if timer.deadline() == due => {}
        (Some(timer), Some(due)) => timer.as_mut().reset(due),
        (None, Some(due)) => *timer = Some(Box::pin(sleep_until(due))),
    }
}

async fn elapsed(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

/// Waits for another generation. When there will be none any more the last one stays.
async fn changed(exchange: &mut Option<Exchange>) {
    if let Some(Exchange { generations, now, .. }) = exchange
        && generations.changed().await.is_ok()
    {
        *now = generations.borrow_and_update().clone();
        return;
    }
    std::future::pending().await
}
