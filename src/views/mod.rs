//! What groups of clients see: generations of translated resources.
//!
//! The catalog changes; [`Builder`] finds out which services did, translates those and no others, and says which
//! resources differ. All types of resources change together.

mod builder;
mod claims;
mod follow;
#[cfg(test)]
mod tests;

pub use builder::{Builder, Changes};
pub use follow::{Follower, Metrics, View};
