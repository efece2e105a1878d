//! What has led to each catalog, for whoever keeps a history.
//!
//! Nothing waits for that reader: where he is slow, catalogs in between are left out, and what led to them counts for the next
//! one.

use super::Catalog;
use crate::model::Text;
use std::{collections::BTreeSet, sync::Arc, time::SystemTime};
use tokio::sync::mpsc;

/// Catalogs that the reader may be behind. Each shares nearly all with the next.
const BEHIND: usize = 64;

/// What can lead to another catalog.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A registry has reported something.
    Registry(Text),
    /// Another configuration.
    Configuration,
    /// A host name resolves to something else.
    Resolution,
    /// Something was due: a hold, lingering, an override.
    Time,
    /// Somebody has asked for it.
    Request,
}

/// A catalog whose services, or overrides, are not those of the last.
#[derive(Debug)]
pub struct Published {
    /// What was published behind the changes, whole.
    pub catalog: Arc<Catalog>,
    /// When it was swapped in.
    pub at: SystemTime,
    /// What has led to it.
    pub causes: BTreeSet<Cause>,
}

/// Collects causes.
#[derive(Debug, Default)]
pub(super) struct Journal {
    out: Option<mpsc::Sender<Published>>,
    causes: BTreeSet<Cause>,
    /// A catalog was left out.
    owes: bool,
}

impl Journal {
    pub(super) fn open(&mut self) -> mpsc::Receiver<Published> {
        let (out, published) = mpsc::channel(BEHIND);
        self.out = Some(out);
        published
    }

    pub(super) fn note(&mut self, cause: Cause) {
        if self.out.is_some() && !self.causes.contains(&cause) {
            self.causes.insert(cause);
        }
    }

    /// A catalog was swapped in.
    pub(super) fn published(&mut self, before: &Arc<Catalog>, catalog: &Arc<Catalog>) {
        let Some(out) = &self.out else { return };
        // Whether it differs is told by the address first, which costs nothing.
        let same = before.services.ptr_eq(&catalog.services) && Arc::ptr_eq(&before.overrides, &catalog.overrides);
        if same && !self.owes {
            // What it led to was nothing.
            self.causes.clear();
            return;
        }
        match out.try_reserve() {
            Ok(place) => {
                let (catalog, causes) = (catalog.clone(), std::mem::take(&mut self.causes));
                place.send(Published { catalog, at: SystemTime::now(), causes });
                self.owes = false;
            }
            Err(_) => self.owes = true,
        }
    }
}
