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
    /// A configuration was followed: the first one, or after a reload.
    Configuration,
    /// A host name resolves to something else.
    Resolution,
    /// Something was due: a hold, lingering, an override.
    Time,
    /// An operator asked for it: an override was laid or lifted, a hold prolonged or released.
    Request,
}

/// A catalog whose services, or overrides, are not those of the last.
#[derive(Debug)]
pub struct Published {
    /// The whole catalog, after the changes.
    pub catalog: Arc<Catalog>,
    /// When it was swapped in.
    pub at: SystemTime,
    /// What has led to the changes since the last catalog that was sent.
    pub causes: BTreeSet<Cause>,
}

/// Collects causes until a catalog is sent to the reader with them.
#[derive(Debug, Default)]
pub(super) struct Journal {
    out: Option<mpsc::Sender<Published>>,
    causes: BTreeSet<Cause>,
    /// A changed catalog was left out because the reader was behind: the next one is sent in any case.
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

    /// Called after each swap: sends the new catalog if its services or overrides are others.
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
