//! What happens in the core that the log should tell. The writer logs and counts it.

use super::{contests::Contest, overrides::Override, removal_guard::HoldEvent};
use crate::model::{Scope, Text};

/// Something that happened in the core, to be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A scope, or the whole registry, could not be read.
    Failed {
        /// The registry that could not be read.
        registry: Text,
        /// Which scope; `None`: the registry as a whole.
        scope: Option<Scope>,
        /// The whole chain of causes, as it is logged.
        error: Text,
        /// The reading before this one did not fail; later failures in a row are logged at a lower level.
        first: bool,
    },
    /// The registry was listed completely for the first time.
    Synced {
        /// The registry; each of its scopes was listed.
        registry: Text,
    },
    /// A large drop is held back, or no longer.
    Hold {
        /// The registry that has lost the endpoints, or would lose them.
        registry: Text,
        /// Why the hold begins, ends, or ends later.
        event: HoldEvent,
    },
    /// Services with instances cannot have, or have lost, a host that others have.
    Contested {
        /// The registry of those that are not published under it.
        registry: Text,
        /// How many, since the last such event of that registry.
        number: usize,
        /// The first of them, for the log.
        example: Contest,
    },
    /// An override was made.
    Laid(Box<Override>),
    /// An override has ended.
    Lifted {
        /// The override, as it was while it lasted.
        over: Box<Override>,
        /// Who lifted it; `None`: its time was over.
        by: Option<Text>,
    },
    /// A registry that is no longer in the configuration was forgotten.
    Forgotten {
        /// Its former name in the configuration; its metrics are removed.
        registry: Text,
    },
}
