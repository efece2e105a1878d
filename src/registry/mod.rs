//! Registries: each keeps a connection and sends what it receives as [`Update`](crate::model::Update)s of the neutral model.
//!
//! A registry knows nothing of the other registries, of publishing policy, or of what is served. Failures are updates,
//! too; they never remove anything. `app` starts each with [`read`]: a task of its own with a channel of its own, so
//! that one that hangs, panics or floods delays nobody else.

mod adapter;
mod addresses;
pub mod api;
mod callers;
mod catalogue;
mod cause;
pub mod consul;
pub mod dns;
pub mod dubbo;
pub mod eureka;
pub mod file;
pub mod http;
mod instances;
mod kind;
mod lenient;
mod limits;
mod metadata;
mod metrics;
pub mod nacos;
mod outbox;
mod providers;
mod rounds;
mod supervise;
pub mod transport;
mod written;
pub mod zookeeper;

pub use adapter::{Adapter, Conventions, Feed};
pub use kind::{KINDS, Kind, ReadKind};
pub use limits::Limits;
pub use metrics::Metrics;
pub use supervise::{Registry, read, spawn};
pub use written::{Entry, Expected, Refused, Store, Written};

use cause::{chain, of_all, tried};
