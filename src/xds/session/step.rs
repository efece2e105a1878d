//! What must be sent of one type.

use crate::{resource::Name, xds::response::Contents};
use std::collections::BTreeSet;

/// What must be sent of one type.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// An answer with what was added or changed; it goes out before all removals.
    pub(super) contents: Option<Contents>,
    /// A whole answer that only lacks what was removed: goes out with the removals.
    pub(super) late: Option<Contents>,
    /// Names to send as removed.
    pub(super) removed: BTreeSet<Name>,
}

impl Step {
    pub(super) fn is_empty(&self) -> bool {
        self.contents.is_none() && self.late.is_none() && self.removed.is_empty()
    }
}
