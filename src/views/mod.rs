//! What clients see: views of encoded resources, in generations.
//!
//! A [`Set`] has a view for each [`ViewKey`] that somebody subscribes to, and one [`Task`] for each dialect of resources. The
//! task follows the catalog and manifests: `translations` encodes each service once for all views, producers (`services`,
//! `manifests`) say what a view has and whose a name is, `state` makes the next generation of it, `stage` holds all
//! views of the dialect. What nobody sees costs nothing.
//!
//! Invariant: what a view serves follows from the last catalog, the last manifests, the options and its selection alone.

mod claims;
mod istio;
mod key;
mod manifests;
mod metrics;
mod order;
mod producer;
mod services;
mod set;
mod shared;
mod stage;
mod state;
mod task;
#[cfg(test)]
mod tests;
mod translations;
mod vip;

pub use istio::Istio;
pub use key::{Class, NoViewKey, Select, Selection, ViewKey};
pub use metrics::Metrics;
pub use producer::Sources;
pub use set::{Loaded, Options, Set};
pub use shared::{Full, ViewStatus};
pub use stage::{Place, Stage};
pub use state::{Report, Stepped};
pub use task::Task;
pub use translations::Translator;
