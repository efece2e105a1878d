//! How good a service's claim of a host is.

use super::spelling::Spelling;

/// The place of a registry in the configuration: the smaller goes first where services contest a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// The registry left the configuration; it ranks behind all that are in it.
    pub(super) left: bool,
    pub(super) place: u32,
}

/// How good a claim is; the variants stand from good to bad, and the better claim gets the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// The registry has the service.
    Listed,
    /// Only held endpoints feed the host; the registry no longer lists them, or lists them without traffic.
    Held,
    /// The service is gone, or no instance names the host any more: it has no endpoints, and goes after `linger`.
    Lingering,
}

/// A service's claim of a host: how good it is, and by which name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) standing: Standing,
    pub(super) spelling: Spelling,
}
