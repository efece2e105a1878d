//! Resources as they are served: encoded once, versioned by content, in immutable generations.
//!
//! `translate` makes [`Resource`]s, `views` gathers them into [`ViewGeneration`]s, `xds` sends them. The invariants:
//! equal content has equal bytes and versions on every replica and after every restart; a generation never changes;
//! two generations share all but what differs between them.

mod blocks;
mod encode;
mod entry;
mod generation;
mod kind;
mod view;

#[cfg(test)]
mod tests;

pub use encode::{field_size, put_field, put_varint};
pub use entry::{Resource, Variant, content_version, name_hash, parse_version, version_hash, version_text};
pub use generation::Generation;
pub use kind::{Dialect, ENVOY_KINDS, Family, KINDS, Kind};
pub use view::{KindReadiness, ViewGeneration};

pub use crate::model::Readiness;

use std::sync::Arc;

/// A resource's name; opaque.
pub type Name = Arc<str>;
