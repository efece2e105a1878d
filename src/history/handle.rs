//! The handle by which others read the history, make overrides, and go back.

use super::{Difference, Entry, What, book::Book, entry::State};
use crate::{
    catalog::{self, HeldPart, Order, Override, Target, Wish},
    manifests,
    model::Text,
    util::lock::lock,
};
use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};
use tokio::{sync::Notify, time::Instant};

/// Reads the history, makes overrides, and notes requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    catalog: catalog::Handle,
    manifests: manifests::Handle,
    pub(super) shared: Arc<Shared>,
}

/// What handles and the recorder share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    book: Mutex<Book>,
    /// There is something to be written at once.
    pub(super) noted: Notify,
}

impl Shared {
    /// The lock is held for a few steps of the processor, but for the difference of a generation.
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }
}

/// A request for an override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The instance, service, or all services that it is for.
    pub of: Target,
    /// How long it holds, from now on.
    pub time: Duration,
    /// Who asks: the name of the token, or what was given as `by`, or both as `NAME (BY)`.
    pub by: Text,
    /// The reason, for the audit log; may be empty.
    pub why: Text,
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The catalog refuses the override.
    #[error("{0}")]
    Catalog(#[from] catalog::Refused),
    /// The history has no entry with this number.
    #[error("the history has no entry {0}; /api/v1/history lists them")]
    Unknown(u64),
    /// What was published then is no longer known.
    #[error(
        "of entry {0} only what differed is known: it is too old, or of before a restart; /api/v1/history?whole lists the others"
    )]
    TooOld(u64),
    /// Only one generation is known, so there is nothing to go back to.
    #[error("nothing was published before the newest generation since this process runs")]
    NothingBefore,
    /// There is no such override.
    #[error("nothing is laid over {0}; /api/v1/overrides lists what is")]
    NothingLies(String),
    /// Nothing of this registry or host is held back.
    #[error("nothing of {0} is held back")]
    NothingHeld(HeldPart),
    /// The process is about to end.
    #[error("the process is about to end")]
    Ending,
}

impl Handle {
    pub(super) fn new(catalog: catalog::Handle, manifests: manifests::Handle, book: Book) -> Self {
        Handle { catalog, manifests, shared: Arc::new(Shared { book: Mutex::new(book), noted: Notify::new() }) }
    }

    /// The entries from then on, oldest first; of a host: those that concern it.
    pub fn list(&self, since: Option<SystemTime>, host: Option<&str>) -> Vec<Entry> {
        self.shared.book().since(since, host)
    }

    /// What differs between what was published from these entries on. `None`: what is published now.
    ///
    /// # Errors
    /// If there is no such entry, or what was published then is no longer known.
    pub fn difference(&self, from: u64, to: Option<u64>) -> Result<Difference, Refused> {
        let (before, after) = {
            let book = self.shared.book();
            let after = match to {
                Some(number) => state(&book, number)?,
                None => book.newest().cloned().unwrap_or_default(),
            };
            (state(&book, from)?, after)
        };
        Ok(Difference::between((&before.services, &before.manifests), (&after.services, &after.manifests)))
    }

    /// The overrides that are in force.
    pub fn overrides(&self) -> Arc<[Override]> {
        self.catalog.load().overrides.clone()
    }

    /// Freezes what is published: everything, or one service. `then`: as it was from that entry on.
    ///
    /// # Errors
    /// If there is nothing to be frozen.
    pub async fn pin(&self, wanted: Wanted, then: Option<u64>) -> Result<Override, Refused> {
        let action = if then.is_some() { "rollback" } else { "pin" };
        let state = then.map(|number| state(&self.shared.book(), number)).transpose()?;
        let whole = wanted.of == Target::Everything;
        let manifests = match &state {
            Some(state) => state.manifests.clone(),
            None => self.manifests.load(),
        };
        let time = wanted.time;
        let laid = self.lay(action, wanted, Wish::Pin(state.map(|state| state.services)), then).await?;
        if whole {
            self.manifests.pin(Some((manifests, Instant::now() + time)));
        }
        Ok(laid)
    }

    /// Goes back to what was published before the newest generation.
    ///
    /// # Errors
    /// If that is not known.
    pub async fn back(&self, wanted: Wanted) -> Result<Override, Refused> {
        let before = self.shared.book().before().ok_or(Refused::NothingBefore)?;
        self.pin(wanted, Some(before)).await
    }

    /// Makes an override that edits a service or an instance: it is drained, weighted, kept or left out.
    ///
    /// # Errors
    /// If the catalog refuses it, or the process is about to end.
    pub async fn edit(&self, wanted: Wanted, wish: Wish) -> Result<Override, Refused> {
        self.lay(wish.name(), wanted, wish, None).await
    }

    /// Lifts the pin of everything or of one service.
    ///
    /// # Errors
    /// If there is no such pin.
    pub async fn unpin(&self, of: Target, by: Text, why: Text) -> Result<Vec<Override>, Refused> {
        let meant = of.clone();
        let lifted =
            self.lift("unpin", of.to_string(), by, why, move |over| over.of == meant && over.deed.name() == "pin");
        let lifted = lifted.await?;
        if of == Target::Everything {
            self.manifests.pin(None);
        }
        Ok(lifted)
    }

    /// Lifts one override.
    ///
    /// # Errors
    /// If there is none of that number.
    pub async fn lift_one(&self, id: u64, by: Text, why: Text) -> Result<Vec<Override>, Refused> {
        let lifted = self.lift("lift", format!("override {id}"), by, why, move |over| over.id == id).await?;
        if lifted.iter().any(|over| over.of == Target::Everything) {
            self.manifests.pin(None);
        }
        Ok(lifted)
    }

    /// Ends the holds of a host's services, or of a registry, at once.
    ///
    /// # Errors
    /// If nothing of it is held back.
    pub async fn release(&self, of: &HeldPart, by: &str, why: &str) -> Result<(), Refused> {
        let released = match of {
            HeldPart::Registry(registry) => self.catalog.release(registry),
            HeldPart::Service(host) => self.catalog.release_service(host.clone()).await.ok_or(Refused::Ending)?,
        };
        if !released {
            return Err(Refused::NothingHeld(of.clone()));
        }
        self.requested("release", of.to_string(), by, why, "released".into());
        Ok(())
    }

    /// Makes a hold last at least `time` from now. Returns when it ends.
    ///
    /// # Errors
    /// If nothing is held back.
    pub async fn prolong(&self, of: &HeldPart, time: Duration, by: &str, why: &str) -> Result<SystemTime, Refused> {
        let prolonged = self.catalog.prolong(of.clone(), time).await.ok_or(Refused::Ending)?;
        let until = prolonged.ok_or_else(|| Refused::NothingHeld(of.clone()))?;
        let text = humantime::format_rfc3339_seconds(until).to_string();
        let (action, by, why) = ("prolong".into(), by.into(), why.into());
        self.note(What::Request { action, of: of.to_string(), by, why, until: Some(text), result: "prolonged".into() });
        Ok(until)
    }

    /// Notes what became of a configuration, unless the last one noted is the same.
    pub fn configured(&self, cause: &str, result: &str, hash: Option<String>, changes: Vec<String>) {
        let (cause, result) = (cause.into(), result.into());
        let what = What::Configuration { cause, result, hash, changes };
        // A file that stays wrong is looked at again and again.
        if !self.shared.book().ends_with(&what) {
            self.note(what);
        }
    }

    /// Notes that somebody has asked for something that is done elsewhere.
    pub fn requested(&self, action: &str, of: String, by: &str, why: &str, result: String) {
        let (action, by, why) = (action.into(), by.into(), why.into());
        self.note(What::Request { action, of, by, why, until: None, result });
    }

    async fn lay(&self, action: &str, wanted: Wanted, wish: Wish, then: Option<u64>) -> Result<Override, Refused> {
        let Wanted { of, time, by, why } = wanted;
        let order = Order { of: of.clone(), wish, time, by: by.clone(), why: why.clone() };
        let laid = self.catalog.lay(order).await.ok_or(Refused::Ending)?;
        let to = then.map(|number| format!(" to {number}")).unwrap_or_default();
        let (until, result) = match &laid {
            Ok(over) => {
                (Some(humantime::format_rfc3339_seconds(over.until).to_string()), format!("override {}{to}", over.id))
            }
            Err(refused) => (None, format!("refused: {refused}")),
        };
        let (action, by, why) = (action.into(), by.to_string(), why.to_string());
        self.note(What::Request { action, of: of.to_string(), by, why, until, result });
        Ok(laid?)
    }

    async fn lift(
        &self,
        action: &str,
        of: String,
        by: Text,
        why: Text,
        is_meant: impl Fn(&Override) -> bool + Send + 'static,
    ) -> Result<Vec<Override>, Refused> {
        let lifted = self.catalog.lift(is_meant, by.clone()).await.ok_or(Refused::Ending)?;
        if lifted.is_empty() {
            return Err(Refused::NothingLies(of));
        }
        let result = format!("lifted {}", lifted.len());
        self.requested(action, of, &by, &why, result);
        Ok(lifted)
    }

    fn note(&self, what: What) {
        self.shared.book().note(what, SystemTime::now());
        self.shared.noted.notify_one();
    }
}

/// What was published from that entry on, or why that is not known.
fn state(book: &Book, number: u64) -> Result<State, Refused> {
    match (book.state(number), book.entry(number)) {
        (Some(state), _) => Ok(state.clone()),
        (None, Some(_)) => Err(Refused::TooOld(number)),
        (None, None) => Err(Refused::Unknown(number)),
    }
}
