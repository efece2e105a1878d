//! What was in refused answers beside whom they were refused for, and goes out again as soon as there is a turn for it. Each name
//! is there once, however often it is refused.

use super::search::Suspect;
use crate::resource::Name;
use std::collections::{BTreeMap, BTreeSet};

/// What waits for a turn of one type on one stream.
#[derive(Debug, Default)]
pub(in super::super) struct Later {
    /// The versions that the client was sent and may not have.
    pub(in super::super) sent: BTreeMap<Name, u64>,
    /// Names that were to be removed, and that the client may still have.
    pub(in super::super) removed: BTreeSet<Name>,
}

impl Later {
    pub(in super::super) fn add(&mut self, sent: Vec<Suspect>, removed: Vec<Name>) {
        self.sent.extend(sent);
        self.removed.extend(removed);
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.removed.is_empty()
    }

    /// How many names wait, for the stream's account.
    pub(in super::super) fn len(&self) -> usize {
        self.sent.len() + self.removed.len()
    }
}
