//! One stream: a session driven by its own response body. There is no task and no queue per stream; whoever polls the body
//! for its next frame thereby reads requests, looks for new generations and waits for what is due.
//!
//! While the client takes nothing the body is not polled, so nothing here runs: `stalled` ends such streams.

use super::{
    Refused, Subscriber, Subscription, Views,
    activity::Open,
    admission::{Admission, Turn},
    budget::{Allowance, Held, OverBudget},
    clients::Origin,
    ended::Ended,
    event::Event,
    grpc_messages::{Message, MessageError, Next, Requests},
    listener::{Listener, Unfit},
    names::NamesError,
    node::Node,
    peer::Peer,
    protocol::{Method, Protocol},
    quarantine::Quarantine,
    recorder::Recorder,
    request::{Raw, Request, RequestError},
    session::{Rules, SessionError},
    signals::Signals,
    slots::Slot,
    timer::Timer,
    unwanted::Item,
};
use crate::{
    identity::{self, Policy},
    resource::{Dialect, Kind, ViewGeneration},
    util::time::until,
};
use bytes::Bytes;
use futures_util::FutureExt;
use http::HeaderMap;
use http_body::{Body, Frame};
use std::{
    any::Any,
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{Semaphore, watch},
    task::{block_in_place, yield_now},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tracing::{debug, warn};

#[cfg(test)]
mod tests;

/// Requests with more bytes to be read are read apart from the threads that serve, half as many at a time as there are
/// processors, so that others have the rest. A list of names that was there before is not among these bytes.
const LARGE: usize = 256 << 10;
/// Work of one turn, after which other tasks have theirs: a request is 1, and so is each KiB of it that is read.
const TURN: usize = 64;
/// Bytes of a repeated list of names that count as 1: they are only compared.
const REPEATED: usize = 32 << 10;

/// The status message for a client that is not authenticated; the reason is only in our log.
pub(super) const NOT_AUTHENTICATED: &str = "this client is not authenticated";

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("the node of the first request cannot be read")]
    Node(#[source] super::fields::Malformed),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the client is at the wrong listener, or is somebody else: {0}")]
    Unfit(#[from] Unfit),
    #[error("the client is no longer believed: {0}")]
    Disbelieved(#[from] identity::Refusal),
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    #[error("no request came within {} s (xds.limits.request_time)", .0.as_secs_f64())]
    Silent(Duration),
    #[error("a request took longer than {} s from its first byte (xds.limits.request_time)", .0.as_secs_f64())]
    Slow(Duration),
    #[error("this server is going away; connect again")]
    Retired,
}

impl StreamError {
    /// What the client is told. What it may not see is for our log alone.
    fn text(&self) -> String {
        match self {
            StreamError::Refused(Refused::NotAllowed(_)) | StreamError::Unfit(_) => {
                "this client may not subscribe".into()
            }
            StreamError::Disbelieved(_) => NOT_AUTHENTICATED.into(),
            StreamError::Refused(Refused::NoRoom(_)) => "too many views are in use".into(),
            error => error.to_string(),
        }
    }

    fn code(&self) -> Code {
        match self {
            StreamError::Message(MessageError::Compressed) => Code::Unimplemented,
            StreamError::Message(MessageError::Gone) => Code::Cancelled,
            StreamError::Message(MessageError::Long { .. } | MessageError::OverBudget(_)) => Code::ResourceExhausted,
            StreamError::OverBudget(_) => Code::ResourceExhausted,
            StreamError::Session(
                SessionError::Names(NamesError::TooMany { .. })
                | SessionError::Request(RequestError::Names(NamesError::TooMany { .. })),
            ) => Code::ResourceExhausted,
            StreamError::Session(SessionError::IstioByDelta) => Code::Unimplemented,
            StreamError::Node(_) | StreamError::Session(_) | StreamError::Refused(Refused::Malformed(_)) => {
                Code::InvalidArgument
            }
            StreamError::Refused(Refused::NotAllowed(_)) | StreamError::Unfit(_) => Code::PermissionDenied,
            StreamError::Disbelieved(_) => Code::Unauthenticated,
            StreamError::Refused(Refused::NoRoom(_)) => Code::ResourceExhausted,
            StreamError::Silent(_) | StreamError::Slow(_) => Code::DeadlineExceeded,
            StreamError::Retired => Code::Unavailable,
        }
    }

    /// The word for metrics, where the client is one that is not served.
    fn refusal(&self) -> Option<&'static str> {
        match self {
            StreamError::Refused(Refused::NotAllowed(_)) => Some("scope"),
            StreamError::Unfit(unfit) => Some(unfit.code()),
            StreamError::Disbelieved(refusal) => Some(refusal.code()),
            _ => None,
        }
    }

    fn ended(&self) -> Ended {
        match (self, self.code()) {
            (StreamError::Message(MessageError::Gone), _) => Ended::Client,
            (StreamError::Retired, _) => Ended::Retired,
            (_, Code::ResourceExhausted | Code::DeadlineExceeded) => Ended::Limit,
            _ => Ended::Refused,
        }
    }
}

/// One stream. See the module.
pub(super) struct Stream<B> {
    requests: Requests<B>,
    method: Method,
    shared: Shared,
    /// `None` until the first request.
    exchange: Option<Exchange>,
    /// Stands behind what it accounts for and so is dropped after it: the sum stays right.
    allowance: Allowance,
    /// When the first request must be there.
    first_by: Instant,
    /// When the token ends by which its client is known.
    until: Option<Instant>,
    /// What comes from our side, such as a shutdown or another policy.
    signals: Signals<'static, Signal>,
    timer: Timer,
    /// Work done in this turn; at [`TURN`] others have theirs.
    turn: usize,
    first: First,
    recorder: Recorder,
    ended: Option<Ended>,
    /// Its place among the streams of the server and of its connection.
    _place: (Slot, Open),
}

/// How far a stream's first answers are.
enum First {
    /// Nothing was sent.
    Before,
    /// They are on their way.
    Sending { _turn: Turn },
    /// The client has all that it was sent.
    Done,
}

/// What happens to a stream from our side.
enum Signal {
    /// The stream must end, for that reason.
    End(StreamError),
    /// The client may see another view now.
    Access(watch::Receiver<u64>),
    /// The listener asks something else of its clients.
    Policy(watch::Receiver<Arc<Policy>>),
    /// Something that was refused is to be sent again.
    Released(watch::Receiver<u64>),
}

/// What the first request decides: how the client speaks, and what it sees.
struct Exchange {
    protocol: Protocol,
    node: Node,
    generations: Generations,
    now: Arc<ViewGeneration>,
    /// The view is new, and the table of clients does not have its generations yet.
    moved: bool,
    /// Signals that it may have to see another view.
    access: watch::Receiver<u64>,
    /// The view that it is to see as soon as that is made.
    next: Option<Generations>,
    /// Memory of its node and of its part of the view, for the stream's account.
    held: Held,
    /// What [`Views::subscribe`] wants dropped when the stream ends or sees another view.
    kept: Option<Arc<dyn Any + Send + Sync>>,
    /// The quarantine's number when it was last looked up what others refuse; `None`: it was not yet.
    looked: Option<u64>,
    /// The last release that was followed; `None`: nothing is withheld, and none is waited for.
    released: Option<u64>,
}

type Generations = watch::Receiver<Arc<ViewGeneration>>;

/// What all streams of a server share.
#[derive(Clone)]
pub(super) struct Shared {
    /// The listener that the streams came in by.
    pub(super) listener: Arc<Listener>,
    pub(super) rules: Arc<Rules>,
    pub(super) views: Arc<dyn Views>,
    /// What clients refuse.
    pub(super) quarantine: Arc<Quarantine>,
    /// How long a request may take.
    pub(super) request_time: Duration,
    /// One permit for each large request that is read; see [`LARGE`].
    pub(super) large: Arc<Semaphore>,
    /// Decides when a stream's first answers are sent.
    pub(super) admission: Arc<Admission>,
}

/// What a stream is made of.
pub(super) struct Parts {
    pub(super) method: Method,
    pub(super) shared: Shared,
    pub(super) allowance: Allowance,
    pub(super) recorder: Recorder,
    pub(super) retire: CancellationToken,
    pub(super) slot: Slot,
    pub(super) open: Open,
}

impl<B: Body<Data = Bytes> + Unpin> Stream<B> {
    pub(super) fn new(requests: Requests<B>, parts: Parts) -> Self {
        let Parts { method, shared, allowance, recorder, retire, slot, open } = parts;
        recorder.metrics.streams.get_or_create(&method.variant.into()).inc();
        debug!(stream = recorder.registration.id(), variant = method.variant.name(), "A stream opened.");
        let mut signals = Signals::new();
        signals.push(retire.cancelled_owned().map(|()| Signal::End(StreamError::Retired)));
        signals.push(allowance.end().cancelled_owned().map(|()| Signal::End(OverBudget::Most.into())));
        Stream {
            requests,
            allowance,
            method,
            first_by: Instant::now() + shared.request_time,
            until: token_end(&recorder),
            shared,
            exchange: None,
            signals,
            timer: Timer::default(),
            turn: 0,
            first: First::Before,
            recorder,
            ended: None,
            _place: (slot, open),
        }
    }

    /// The next frame; after the trailers, none. Boxed, because it is handed over with each frame, and large.
    pub(super) async fn frame(mut self: Box<Self>) -> Option<(Result<Frame<Bytes>, Infallible>, Box<Self>)> {
        if self.ended.is_some() {
            return None;
        }
        loop {
            if let Some(bytes) = self.exchange.as_mut().and_then(|exchange| exchange.protocol.next_frame()) {
                if matches!(self.first, First::Before)
                    && let Err(error) = self.take_turn().await
                {
                    let trailers = self.end(Some(error));
                    return Some((Ok(Frame::trailers(trailers)), self));
                }
                self.recorder.registration.sending();
                self.requests.postpone();
                return Some((Ok(Frame::data(bytes)), self));
            }
            self.recorder.registration.idle();
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
        let due = self.due();
        self.timer.set(due);
        tokio::select! {
            biased;
            signal = self.signals.next() => self.on_signal(signal)?,
            next = self.requests.next(&mut self.allowance) => match next? {
                Next::Message(message) => self.on_message(message).await?,
                Next::Begun => {}
                Next::End => return Ok(false),
            },
            () = changed(&mut self.exchange) => self.on_generation(),
            () = self.timer.elapsed() => {
                self.check_time(Instant::now())?;
                self.on_generation();
            }
        }
        self.note();
        Ok(true)
    }

    /// Waits until its first answers may be sent. Meanwhile nothing of it is read or made, as if its client took nothing.
    async fn take_turn(&mut self) -> Result<(), StreamError> {
        let (turn, comes) = self.shared.admission.enter(Peer::from(self.recorder.registration.origin().peer));
        self.first = First::Sending { _turn: turn };
        let Some(mut comes) = comes else { return Ok(()) };
        self.recorder.registration.idle();
        loop {
            tokio::select! {
                biased;
                signal = self.signals.next() => self.on_signal(signal)?,
                _ = &mut comes => return Ok(()),
                () = until(self.until) => self.check_time(Instant::now())?,
            }
        }
    }

    fn on_signal(&mut self, signal: Signal) -> Result<(), StreamError> {
        match signal {
            Signal::End(error) => return Err(error),
            Signal::Access(access) => {
                if let Some(exchange) = &mut self.exchange {
                    exchange.access = access.clone();
                }
                self.signals.push(signal_access(access));
            }
            Signal::Policy(policies) => self.signals.push(signal_policy(policies)),
            Signal::Released(releases) => {
                self.signals.push(signal_release(releases));
                self.release();
                return Ok(());
            }
        }
        self.subscribe_again()
    }

    /// When a deadline is over or an answer that was held back goes out, though nothing comes.
    fn due(&self) -> Option<Instant> {
        let protocol = match &self.exchange {
            Some(exchange) => exchange.protocol.due(),
            None => Some(self.first_by),
        };
        protocol.into_iter().chain(self.requests.due()).chain(self.until).min()
    }

    fn check_time(&mut self, now: Instant) -> Result<(), StreamError> {
        let time = self.shared.request_time;
        self.check_token(now)?;
        match self.requests.check(now, &mut self.allowance)? {
            false => Err(StreamError::Slow(time)),
            true if self.exchange.is_none() && self.first_by <= now => Err(StreamError::Silent(time)),
            true => Ok(()),
        }
    }

    /// Whether its client's token still holds.
    fn check_token(&self, now: Instant) -> Result<(), StreamError> {
        match self.until.is_some_and(|until| until <= now) {
            true => Err(identity::Refusal::Expired.into()),
            false => Ok(()),
        }
    }

    /// Reads a request and takes it over, then lets others have their turn if this one was long enough.
    async fn on_message(&mut self, message: Message) -> Result<(), StreamError> {
        // Who never ceases to ask never comes to the timer.
        self.check_token(Instant::now())?;
        self.recorder.metrics.requests.get_or_create(&self.method.variant.into()).inc();
        let repeating = self.exchange.as_ref().and_then(|exchange| exchange.protocol.repeating(&message));
        let size = repeating.as_ref().map_or(message.size(), Raw::len);
        self.turn += 1 + size / 1024 + message.size() / REPEATED;
        if size > LARGE {
            let place = self.shared.large.clone().acquire_owned().await;
            apart(|| self.on_request(&repeating.unwrap_or_else(|| Raw::whole(&message))))?;
            drop((place, message));
        } else {
            self.on_request(&repeating.unwrap_or_else(|| Raw::whole(&message)))?;
            drop(message);
        }
        // Nothing of it is kept while others have their turn.
        if self.turn >= TURN {
            self.turn = 0;
            yield_now().await;
        }
        Ok(())
    }

    fn on_request(&mut self, raw: &Raw<'_>) -> Result<(), StreamError> {
        let request = Request::read(self.method.variant, raw, self.shared.rules.names).map_err(SessionError::from)?;
        let exchange = match &mut self.exchange {
            Some(exchange) => exchange,
            none => {
                // Before it is asked what it may see: a change in between is signalled.
                let policies =
                    self.recorder.registration.origin().identity.as_ref().map(|_| self.shared.listener.policies());
                let exchange = none.insert(begin(self.method, &request, &self.shared, &self.recorder)?);
                self.signals.push(signal_access(exchange.access.clone()));
                if let Some(policies) = policies {
                    self.signals.push(signal_policy(policies));
                }
                exchange
            }
        };
        // The newest state wins: no request is answered from a generation that another has followed.
        let moves = exchange.access.has_changed().unwrap_or(false) || exchange.next.is_some();
        if !moves && exchange.generations.has_changed().unwrap_or(false) {
            exchange.now = exchange.generations.borrow_and_update().clone();
        }
        exchange.look(&self.shared.quarantine, &self.recorder);
        exchange.protocol.on_request(&request, &exchange.now, Instant::now())?;
        if matches!(self.first, First::Sending { .. }) && !exchange.protocol.awaits_answer() {
            self.first = First::Done;
        }
        Ok(self.allowance.set_state(exchange.protocol.held() + exchange.held)?)
    }

    /// Subscribes again, as the client may see another view by now. That begins where the former ends: what both have
    /// is not sent again.
    fn subscribe_again(&mut self) -> Result<(), StreamError> {
        let Some(exchange) = &mut self.exchange else { return Ok(()) };
        let dialect = exchange.protocol.dialect(&exchange.node);
        let subscribed = subscribe(&exchange.node, dialect, &self.shared, &self.recorder)?;
        let Subscription { view, why, generations, held, kept } = subscribed;
        let current = exchange.next.as_ref().unwrap_or(&exchange.generations);
        if !current.same_channel(&generations) {
            debug!(stream = self.recorder.registration.id(), %view, %why, "A client sees another view.");
            exchange.looked = None;
            exchange.next = Some(generations).filter(|generations| !exchange.generations.same_channel(generations));
        }
        exchange.held = of_node(&exchange.node) + held;
        exchange.kept = kept;
        Ok(self.allowance.set_state(exchange.protocol.held() + exchange.held)?)
    }

    fn on_generation(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.look(&self.shared.quarantine, &self.recorder);
            exchange.protocol.on_generation(&exchange.now, Instant::now());
        }
    }

    /// Sends again what somebody has released.
    fn release(&mut self) {
        let Some(Exchange { protocol, released: Some(released), .. }) = &mut self.exchange else { return };
        let (filters, newest) = self.shared.quarantine.released_since(*released);
        *released = newest;
        filters.iter().for_each(|filter| protocol.release(filter));
        self.on_generation();
    }

    fn note(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            if std::mem::take(&mut exchange.moved) {
                self.recorder.registration.set_generations(exchange.generations.clone());
            }
            for event in exchange.protocol.take_events() {
                if let Event::Refused { kind, message, .. } = &event {
                    let (view, node, _) = self.recorder.registration.said(*kind);
                    self.shared.views.refused(&view, &node, *kind, message);
                }
                self.recorder.record(event);
            }
            if exchange.released.is_none() && exchange.protocol.withholds() {
                let mut releases = self.shared.quarantine.releases();
                exchange.released = Some(*releases.borrow_and_update());
                self.signals.push(signal_release(releases));
            }
        }
    }

    fn end(&mut self, error: Option<StreamError>) -> HeaderMap {
        self.note();
        let stream = self.recorder.registration.id();
        let ended = error.as_ref().map_or(Ended::Client, StreamError::ended);
        match &error {
            Some(error) if matches!(ended, Ended::Refused | Ended::Limit) => {
                let peer = self.recorder.registration.origin().peer;
                if let Some(reason) = error.refusal() {
                    self.recorder.metrics.client_refused(&self.shared.listener.name, reason);
                }
                let cause = std::error::Error::source(error).map(ToString::to_string);
                warn!(stream, %peer, %error, cause, "A client's stream is ended.");
            }
            _ => debug!(stream, reason = ended.name(), "A stream ended."),
        }
        self.ended = Some(ended);
        let status = error.map_or_else(|| Status::ok(""), |error| Status::new(error.code(), error.text()));
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert("grpc-status", http::HeaderValue::from_static("13"));
        }
        trailers
    }
}

impl Exchange {
    /// Looks up what others refuse, at the beginning and each time that it has changed.
    fn look(&mut self, quarantine: &Quarantine, recorder: &Recorder) {
        let number = Some(quarantine.number());
        if self.looked != number {
            self.looked = number;
            let unwanted = recorder.unwanted(|item| self.may_serve(item));
            self.protocol.withhold(unwanted);
        }
    }

    /// Whether clients of its view may be served that version: not where this one is served another. What it has nothing of,
    /// those may have who get another part of the view; and parts have their own assignments.
    fn may_serve(&self, item: &Item) -> bool {
        let served = self.now.get(item.kind).versions().get(&item.name).filter(|_| self.next.is_none());
        item.kind == Kind::Endpoint || served.is_none_or(|version| *version == item.version)
    }
}

impl<B> Drop for Stream<B> {
    fn drop(&mut self) {
        let (ended, metrics) = (self.ended.unwrap_or(Ended::Cut), &self.recorder.metrics);
        metrics.streams.get_or_create(&self.method.variant.into()).dec();
        metrics.streams_ended.get_or_create(&ended.into()).inc();
    }
}

/// Reads who the client is, by its first request, and subscribes it to its view.
fn begin(method: Method, first: &Request<'_>, shared: &Shared, recorder: &Recorder) -> Result<Exchange, StreamError> {
    let node = first.node.map(Node::read).transpose().map_err(StreamError::Node)?.unwrap_or_default();
    let protocol = Protocol::new(method, &node, first.type_url, shared.rules.clone())?;
    debug!(
        stream = recorder.registration.id(),
        node = &*node.id,
        cluster = &*node.cluster,
        dialect = protocol.dialect(&node).name(),
        agent = &*node.user_agent,
        version = &*node.user_agent_version,
        variant = method.variant.name(),
        "A client subscribed."
    );
    // Before it is asked: a change in between is signalled again.
    let mut access = shared.views.changed();
    access.mark_unchanged();
    recorder.registration.set_node(node.clone());
    let Subscription { mut generations, held, kept, .. } = subscribe(&node, protocol.dialect(&node), shared, recorder)?;
    let now = generations.borrow_and_update().clone();
    let held = of_node(&node) + held;
    let (looked, released) = (None, None);
    Ok(Exchange { protocol, node, generations, now, moved: true, access, next: None, held, kept, looked, released })
}

/// Subscribes the client to the view that it may see now, if its token is still accepted and the listener is for it.
fn subscribe(node: &Node, dialect: Dialect, shared: &Shared, recorder: &Recorder) -> Result<Subscription, StreamError> {
    let Origin { peer, listener, identity } = recorder.registration.origin();
    let identity = identity.as_deref();
    // A certificate is its connection's: it is looked at there, once for all streams.
    if let Some(token) = identity.filter(|identity| !identity.is_by_certificate()) {
        shared.listener.policy().recheck(token, SystemTime::now())?;
    }
    shared.listener.check(identity, dialect, &node.id)?;
    let subscription = shared.views.subscribe(&Subscriber { node, identity, peer: *peer, listener, dialect })?;
    recorder.registration.set_view(subscription.view.clone(), subscription.why.clone());
    Ok(subscription)
}

/// Memory of a node, for the stream's account: only the metadata counts, the texts are short.
fn of_node(node: &Node) -> Held {
    Held { own: node.metadata.size(), shared: 0 }
}

/// When the token ends by which a client is known. The end of a certificate is its connection's.
fn token_end(recorder: &Recorder) -> Option<Instant> {
    let identity = recorder.registration.origin().identity.as_ref()?;
    let until = identity.until().filter(|_| !identity.is_by_certificate())?;
    Some(Instant::now() + until.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Does what may take long. Another thread goes on meanwhile with what this one had to do beside it.
fn apart<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => block_in_place(work),
        _ => work(),
    }
}

/// Waits until it may see another view; for ever where it never may.
async fn signal_access(mut access: watch::Receiver<u64>) -> Signal {
    match access.changed().await {
        Ok(()) => Signal::Access(access),
        Err(_) => std::future::pending().await,
    }
}

/// Waits until the listener asks something else of its clients.
async fn signal_policy(mut policies: watch::Receiver<Arc<Policy>>) -> Signal {
    match policies.changed().await {
        Ok(()) => Signal::Policy(policies),
        Err(_) => std::future::pending().await,
    }
}

/// Waits until something is to be sent again.
async fn signal_release(mut releases: watch::Receiver<u64>) -> Signal {
    match releases.changed().await {
        Ok(()) => Signal::Released(releases),
        Err(_) => std::future::pending().await,
    }
}

/// Waits for another generation, or the first of another view: then the former's are not taken any more, which may be for
/// others. When there will be none any more the last one stays. May be cancelled.
async fn changed(exchange: &mut Option<Exchange>) {
    let Some(Exchange { generations, now, moved, next, .. }) = exchange else { return std::future::pending().await };
    if next.is_some() {
        (*generations, *now) = built(next).await;
        (*next, *moved) = (None, true);
    } else if generations.changed().await.is_ok() {
        *now = generations.borrow_and_update().clone();
    } else {
        std::future::pending().await
    }
}

/// Waits until a view is made: before that it has nothing, and a client would lose what it has.
async fn built(next: &mut Option<Generations>) -> (Generations, Arc<ViewGeneration>) {
    if let Some(generations) = next {
        let now = generations.wait_for(|generation| generation.number() > 0).await.map(|now| now.clone());
        if let Ok(now) = now {
            return (generations.clone(), now);
        }
    }
    std::future::pending().await
}
