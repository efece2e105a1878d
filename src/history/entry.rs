//! What an entry says, and what was published at its time.

use super::Difference;
use crate::{catalog::Services, manifests::Snapshot, util::time::unix_millis};
use serde::{Deserialize, Serialize};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Changes with the same causes within this time are one generation.
pub(super) const TOGETHER: Duration = Duration::from_secs(1);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Higher than that of all entries before, also over restarts where there is a folder.
    pub number: u64,
    /// When, as RFC 3339.
    pub at: String,
    /// When, in milliseconds since 1970, for comparing.
    #[serde(default)]
    pub millis: u64,
    /// What happened, with what belongs to it.
    #[serde(flatten)]
    pub what: What,
}

/// The sorts of entries; `kind` in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum What {
    /// What is published has changed.
    Published {
        /// What has led to it: `registry nacos`, `configuration`, ...
        causes: Vec<String>,
        /// What differs from what was published before.
        difference: Difference,
    },
    /// A configuration was read, and followed or refused.
    Configuration {
        /// Why it was read: `start`, `file`, `signal`, `request`.
        cause: String,
        /// `reloaded` or `refused`.
        result: String,
        /// The hash of its texts; `None` if they could not be read.
        hash: Option<String>,
        /// What it has changed, in words without any of its values.
        changes: Vec<String>,
    },
    /// An operator has asked for something: the audit log.
    Request {
        /// `pin`, `unpin`, `rollback`, `drain`, ...
        action: String,
        /// `everything`, a host, `HOST at ADDRESS`, `override 1`, ...
        of: String,
        /// Who asked: the name of the token, or what was given as `by`, or both as `NAME (BY)`.
        by: String,
        /// The reason that was given; empty if none was.
        why: String,
        /// Until when it holds, as RFC 3339; `None` if it is done at once or was refused.
        until: Option<String>,
        /// What was done, such as `override 1`, or why nothing was.
        result: String,
    },
}

/// What was published at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) services: Services,
    pub(super) manifests: Arc<Snapshot>,
}

impl State {
    /// Whether nothing differs in `after`. Ends at the first thing that does.
    pub(super) fn is_same(&self, after: &State) -> bool {
        let services = || self.services.diff(&after.services).next().is_none();
        let manifests = || self.manifests.resources == after.manifests.resources;
        (Arc::ptr_eq(&self.manifests, &after.manifests) || manifests()) && services()
    }

    /// What differs in `after` from this.
    pub(super) fn difference(&self, after: &State) -> Difference {
        Difference::between((&self.services, &self.manifests), (&after.services, &after.manifests))
    }
}

impl Entry {
    pub(super) fn new(number: u64, at: SystemTime, what: What) -> Self {
        Entry { number, at: humantime::format_rfc3339_millis(at).to_string(), millis: unix_millis(at), what }
    }

    /// Whether it says what was published.
    pub(super) fn is_generation(&self) -> bool {
        matches!(self.what, What::Published { .. })
    }

    /// Whether changes may still be added to it: it is a generation, and not older than [`TOGETHER`].
    pub(super) fn is_open(&self, now: SystemTime) -> bool {
        self.is_generation() && unix_millis(now).saturating_sub(self.millis) < TOGETHER.as_millis() as u64
    }

    /// How many hosts, endpoints and manifests it names.
    pub(super) fn names(&self) -> usize {
        match &self.what {
            What::Published { difference, .. } => difference.names(),
            What::Configuration { .. } | What::Request { .. } => 0,
        }
    }

    /// Forgets which hosts, endpoints and manifests it names; their numbers stay.
    pub(super) fn forget_names(&mut self) {
        if let What::Published { difference, .. } = &mut self.what {
            difference.forget_names();
        }
    }
}
