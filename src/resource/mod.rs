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
pub use kind::{ENVOY_KINDS, KINDS, Kind};
pub use view::ViewGeneration;

use std::sync::Arc;

/// A resource's name; opaque.
pub type Name = Arc<str>;

/// Whether the sources of Istio's manifests have been heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Not all.
    Waiting,
    /// Not all, for so long that services' entries wait no longer for those of manifests.
    Overdue,
    /// All.
    Complete,
}

/// Whether the sources of a view have been heard. See `catalog::Sync`, from which it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Nothing may be answered: "unknown" is not "empty".
    Waiting,
    /// What there is may be sent, but absence proves nothing.
    Partial,
    /// Absence is absence.
    Complete,
}
