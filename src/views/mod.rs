//! What groups of clients see: generations of translated resources.
//!
//! The catalog changes; [`Builder`] finds out which services did, translates those and no others, and says which
//! resources differ. [`Follower`] is the task around it, [`View`] what readers hold. All types of resources change
//! together.

mod builder;
mod claims;
mod follow;
mod istio;
mod manifests;
mod metrics;
#[cfg(test)]
mod tests;
mod translation;
mod vip;

pub use builder::{Builder, Changes};
pub use follow::{Follower, View};
pub use istio::Istio;
pub use metrics::Metrics;
pub use translation::Translation;
