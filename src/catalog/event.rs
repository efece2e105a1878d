//! What happens in the core that people should know of. The writer logs and counts it.

use super::{contests::Contest, overrides::Override, removal_guard::HoldEvent};
use crate::model::{Scope, Text};

/// Something that people should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A scope, or the whole registry, could not be read.
    Failed {
        /// The name of the registry.
        registry: Text,
        /// Which scope; `None`: the registry as a whole.
        scope: Option<Scope>,
        /// The whole chain of causes, for people.
        error: Text,
        /// It could be read before.
        first: bool,
    },
    /// The registry was listed completely for the first time.
    Synced {
        /// The name of the registry.
        registry: Text,
    },
    /// A large drop is held back, or no longer.
    Hold {
        /// The name of the registry.
        registry: Text,
        /// What begins or ends it.
        event: HoldEvent,
    },
    /// Services with instances cannot have, or have lost, a host that others have.
    Contested {
        /// The registry of those that are not published under it.
        registry: Text,
        /// How many, since the last such event of that registry.
        number: usize,
        /// One of them, for the log.
        example: Contest,
    },
    /// Somebody has laid something over what is published.
    Laid(Box<Override>),
    /// It lies there no longer.
    Lifted {
        /// The override that was laid or lifted, or whose time is over.
        over: Box<Override>,
        /// Who lifted it; `None`: its time was over.
        by: Option<Text>,
    },
    /// A registry that is no longer in the configuration was forgotten.
    Forgotten {
        /// The name of the registry.
        registry: Text,
    },
}
