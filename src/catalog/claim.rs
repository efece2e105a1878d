//! How good a service's claim of a host is.

use super::spelling::Spelling;

/// The place of a registry in the configuration: the smaller goes first where services contest a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// It left the configuration.
    pub(super) left: bool,
    pub(super) place: u32,
}

/// How good a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// The registry has the service.
    Listed,
    /// The registry no longer has it, and its endpoints are held back.
    Held,
    /// It has no endpoints, and goes in a while.
    Lingering,
}

/// What a service claims of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) standing: Standing,
    pub(super) spelling: Spelling,
}
