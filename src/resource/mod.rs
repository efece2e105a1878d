//! Resources as they are served: encoded once, versioned by content, in immutable generations.

mod kind;

pub use kind::{KINDS, Kind};

use std::sync::Arc;

/// A resource's name; opaque.
pub type Name = Arc<str>;

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
