//! What clients see: views of encoded resources, in generations.
//!
//! A [`Set`] has a view for each [`ViewKey`] that somebody subscribes to, and one [`Task`] for each dialect of resources. The
//! task follows the catalog and manifests: `translations` encodes each service once for all views, producers (`services`,
//! `manifests`) say what a view has and whose a name is, `state` makes the next generation of it, `stage` holds all
//! views of the dialect. What nobody sees costs nothing.
//!
//! Of a view a client may get a [`Part`]: what it declares that it wants.
//!
//! Invariant: what a view serves follows from the last catalog, the last manifests, the options and its selection alone.

mod addresses;
mod claims;
mod class;
mod directory;
mod given;
mod handles;
mod istio;
mod key;
mod look;
mod manifests;
mod metrics;
mod near;
mod order;
mod part;
mod parts;
mod producer;
mod producers;
mod proxies;
mod services;
mod set;
mod shared;
mod stage;
mod state;
mod task;
#[cfg(test)]
mod tests;
mod translation;
mod translations;
mod variants;
mod vip;

pub use crate::translate::traffic::Finding;
pub use class::{Classes, plain};
pub use istio::Istio;
pub use key::{Class, NoViewKey, Select, Selection, ViewKey};
pub use metrics::Metrics;
pub use part::{Part, Pick, Preference, Wanted};
pub use producer::{Callers, Sources};
pub use set::{Loaded, Options, Set};
pub use shared::{Full, ViewStatus};
pub use stage::{Place, Stage};
pub use state::{Report, Stepped};
pub use task::Task;
pub use translation::{Outputs, ServicePolicy, Traffic};
pub use translations::Translator;
