//! The xDS server: sessions as values, and a thin layer that moves bytes.
//!
//! `app` binds a [`Server`] over [`Views`] and runs it; `admin` reads [`Clients`]. From the outside in: `server` accepts
//! connections and ends them; `service` finds the method of a stream; `stream` drives a session as the body of its answer;
//! `session` is the protocol, `istio` Istiod's dialect of it, `dialog` one of the two; `ahead`, `frames`, `fields`, `request`
//! and `names` read, `answer` writes; `sweeper` ends what is
//! stalled. Nothing here knows where resources come from.

mod ahead;
mod answer;
mod clients;
mod dialog;
mod event;
mod fields;
mod frames;
mod istio;
mod metrics;
mod names;
mod node;
mod options;
mod probe;
mod request;
mod server;
mod service;
mod session;
mod stream;
mod sweeper;

pub use clients::{Answer, Client, ClientType, Clients, Refusal};
pub use dialog::Dialect;
pub use event::Event;
pub use frames::Message;
pub use metrics::Metrics;
pub use names::{Interner, Names, NamesError};
pub use node::Node;
pub use options::Options;
pub use probe::{Answer as Probed, ProbeError, TYPES as PROBED_TYPES, probe};
pub use request::{Listed, Raw, Request, RequestError};
pub use server::{Server, ServerError};
pub use session::{Rules, Session, SessionError};

use crate::resource::ViewGeneration;
use std::sync::Arc;
use tokio::sync::watch;

/// Where generations come from: who a client says it is, and how it speaks, decides what it sees.
pub trait Views: Send + Sync + 'static {
    /// What that client sees, now and from now on. Called at the first request of each stream.
    fn subscribe(&self, node: &Node, dialect: Dialect) -> watch::Receiver<Arc<ViewGeneration>>;
}
