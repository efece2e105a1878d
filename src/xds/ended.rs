//! How streams end.

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client finished it, or went away.
    Client,
    /// The client broke the protocol.
    Refused,
    /// The client broke a limit of names, bytes or time.
    Limit,
    /// We are going down, or the connection is old enough.
    Retired,
    /// The body was dropped: the connection was cut, by either side.
    Cut,
}

impl Ended {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Ended::Client => "client",
            Ended::Refused => "refused",
            Ended::Limit => "limit",
            Ended::Retired => "retired",
            Ended::Cut => "cut",
        }
    }
}
