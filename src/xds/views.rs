//! The interface to whoever makes resources: who subscribes, and what it gets to see.

use super::{Held, Node, Remote};
use crate::{
    identity::Identity,
    resource::{Dialect, Kind, Readiness, ViewGeneration},
};
use std::{any::Any, sync::Arc};
use tokio::sync::watch;

/// Gives each client its view; `app` implements it by the rules of scopes.
pub trait Views: Send + Sync + 'static {
    /// What that client sees, now and from now on. Called for each stream at its first request, and when [`Views::changed`]
    /// says so.
    ///
    /// # Errors
    /// If the client may not see anything, or nothing more can be kept. The stream then ends.
    fn subscribe(&self, client: &Subscriber<'_>) -> Result<Subscription, Refused>;

    /// Is told of each refusal: the key of the client's view, the id of its node, the type and the client's error
    /// message.
    fn refused(&self, _view: &str, _node: &str, _kind: Kind, _message: &str) {}

    /// Signals that clients may see something else: each stream then subscribes again.
    fn changed(&self) -> watch::Receiver<u64>;

    /// How far the sources of what Envoys get have reported: the health service follows it.
    fn readiness(&self) -> watch::Receiver<Readiness>;
}

/// Who asks. The node and what it speaks are the client's own word.
#[derive(Debug, Clone, Copy)]
pub struct Subscriber<'a> {
    /// The node of its first request.
    pub node: &'a Node,
    /// The identity that its certificate or token proves; `None`: it was asked for none.
    pub identity: Option<&'a Identity>,
    /// The other side's address.
    pub peer: Remote,
    /// The name of the listener that it came in by.
    pub listener: &'a str,
    /// What it speaks, which its first request shows.
    pub dialect: Dialect,
}

/// A stream's share of a view. The view is kept at least for as long as somebody has one.
#[derive(Debug)]
pub struct Subscription {
    /// Key of the view, shown by the admin API and in the log.
    pub view: Arc<str>,
    /// Why the client sees this view, shown by the admin API and in the log.
    pub why: Arc<str>,
    /// The newest generation, and each one after it.
    pub generations: watch::Receiver<Arc<ViewGeneration>>,
    /// What it makes us hold, beside what all who see the view share.
    pub held: Held,
    /// Dropped when the stream ends, or sees something else: so whoever gave it knows who is there.
    pub kept: Option<Arc<dyn Any + Send + Sync>>,
}

/// Why a client gets no view. Unless it says otherwise the text is for our log, and the client gets the status alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It may not see anything.
    #[error("the client may not subscribe: {0}")]
    NotAllowed(String),
    /// What its node says that decides what it sees cannot be read. The client is told so: it is about its own words.
    #[error("{0}")]
    Malformed(String),
    /// Too many different views are in use.
    #[error("no room for another view: {0}")]
    NoRoom(String),
}
