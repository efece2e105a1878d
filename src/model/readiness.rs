//! How far the sources of something have reported: one idea for registries, manifests, views and the protocol.

/// How far what is absent is known to be absent. The order is from less to more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Readiness {
    /// Some required source has not reported completely, and its grace is not over: nothing may be answered, because
    /// "unknown" is not "empty".
    Waiting,
    /// The grace is over for those that are missing: what there is may be served, but absence proves nothing.
    Partial,
    /// Every source has reported completely once: what is absent does not exist.
    Complete,
}

impl Readiness {
    /// Every value, from less to more.
    pub const ALL: [Readiness; 3] = [Readiness::Waiting, Readiness::Partial, Readiness::Complete];

    /// The word in the admin API and in metrics, such as `partial`.
    pub const fn name(self) -> &'static str {
        match self {
            Readiness::Waiting => "waiting",
            Readiness::Partial => "partial",
            Readiness::Complete => "complete",
        }
    }
}
