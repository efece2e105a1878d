//! The xDS server: sessions as values, and a thin layer that moves bytes.
//!
//! `app` binds a [`Server`] over [`Views`] and runs it; `admin` reads [`Clients`]. From the outside in: `server`
//! accepts connections and ends them; `service` finds the method of a stream; `stream` drives a session as the body of
//! its answer; `session` is the protocol, `istio` Istiod's dialect of it, `protocol` one of the two; `read_ahead`,
//! `grpc_messages`, `fields`, `request` and `names` read, `response` writes; `quarantine` has what clients refuse, over
//! all streams; `stalled` ends connections that make no progress. Nothing here knows where resources come from.

mod activity;
mod admission;
mod budget;
mod clients;
mod connection;
mod ended;
mod event;
mod fields;
mod grpc_messages;
mod handshake;
mod istio;
mod listener;
mod metadata;
mod metrics;
mod names;
mod node;
mod options;
mod peer;
mod protocol;
mod quarantine;
mod read_ahead;
mod recorder;
mod request;
mod response;
mod server;
mod service;
mod session;
mod signals;
mod slots;
mod stalled;
mod stream;
mod timer;
mod unread;
mod unwanted;
mod views;

pub use budget::{Held, MemoryLimits};
pub use clients::{Answer, Client, ClientType, Clients, Refusal, Snapshot, Withheld};
pub use event::Event;
pub use grpc_messages::Message;
pub use listener::{Address, Listen};
pub use metadata::{LONGEST_METADATA, Metadata, Struct as MetadataStruct, Value as MetadataValue};
pub use metrics::Metrics;
pub use names::{Interner, Names, NamesError};
pub use node::Node;
pub use options::Options;
pub use peer::Remote;
pub use quarantine::{Quarantine, Quarantined};
pub use request::{Listed, Raw, Request, RequestError};
pub use server::{Control, Server, ServerError};
pub use session::{Rules, Session, SessionError};
pub use unwanted::{Filter, Found, Item, Unwanted};
pub use views::{Refused, Subscriber, Subscription, Views};
