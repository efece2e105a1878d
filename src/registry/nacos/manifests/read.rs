//! One namespace: what is listed, what of it must be fetched, what is gone.
//!
//! What is told is always what the server gave for just that manifest; md5s only say what need not be fetched again. So a
//! server that lags behind its own list, or whose md5s are of something else, delays a change and never loses one.

use super::{
    list::{List, Listed, Source, Way},
    watched::Texts,
};
use crate::{
    model::{Manifest, ManifestId, Text},
    registry::nacos::error::Error,
};
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tracing::warn;

/// The most manifests of one namespace.
const MAX_MANIFESTS: usize = 10_000;
/// The most bytes of a manifest.
const MAX_BYTES: usize = 1 << 20;
/// The beginning of the dataIds of texts that Nacos' clients encrypt: only they can read them.
const ENCRYPTED: &str = "cipher-";

/// What is remembered of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Known {
    way: Option<Way>,
    /// What the server called the namespace when it was last read.
    tenant: Option<Text>,
    held: BTreeMap<Text, Held>,
    /// Manifests that are left out, which was logged.
    left_out: BTreeSet<Text>,
}

/// A manifest as the server gave it.
#[derive(Debug, Clone)]
struct Held {
    manifest: Arc<Manifest>,
    /// The md5 of the text that was read, as Nacos computes it.
    md5: Text,
    /// The md5 that the list had for this text; `None` if it had none, or one of another text.
    listed: Option<Text>,
}

#[derive(Debug)]
pub(crate) struct Reading {
    /// The server's list and its texts agree.
    pub(crate) settled: bool,
    /// Something is other than before.
    pub(crate) changed: bool,
}

impl Known {
    /// The manifests that are to be sent.
    pub(crate) fn manifests(&self) -> Vec<Arc<Manifest>> {
        self.held.values().map(|held| held.manifest.clone()).collect()
    }

    /// True if a text that is listed with this md5 need not be fetched.
    fn knows(&self, name: &Text, md5: &Option<Text>) -> bool {
        md5.is_some() && self.held.get(name).is_some_and(|held| held.listed == *md5)
    }

    /// The texts that are to be listened to, under the namespace's tenant.
    pub(crate) fn texts(&self, namespace: &Text) -> Texts {
        Texts { tenant: self.tenant.as_ref().unwrap_or(namespace).clone(), md5s: self.md5s() }
    }

    /// The md5 of each text that is held, by name.
    fn md5s(&self) -> BTreeMap<Text, Text> {
        self.held.iter().map(|(name, held)| (name.clone(), held.md5.clone())).collect()
    }
}

impl Source<'_> {
    /// Reads everything that is meant in the namespace into `known`.
    pub(crate) async fn read(&self, known: &mut Known) -> Result<Reading, Error> {
        let outcome = self.compare(known).await;
        // Another interface may be there now.
        if outcome.as_ref().is_err_and(|error| error.is_server_lost() || error.is_not_offered()) {
            known.way = None;
        }
        outcome
    }

    async fn compare(&self, known: &mut Known) -> Result<Reading, Error> {
        let before = known.md5s();
        let (way, list) = self.list(known.way).await?;
        known.way = Some(way);
        known.tenant = Some(self.called(way).into());
        let list = self.meant(list, known)?;
        let mut settled = true;
        let mut fetch = Vec::new();
        for (name, listed) in &list {
            match listed {
                Listed::Text(text) => self.hold(known, name, text.clone(), None),
                Listed::Md5(md5) => {
                    if !known.knows(name, md5) {
                        fetch.push((name, md5));
                    }
                }
            }
        }
        let fetched: Vec<_> =
            fetch.into_iter().map(|(name, md5)| async move { (name, md5, self.text(name).await) }).collect();
        let mut fetched = stream::iter(fetched).buffer_unordered(self.concurrency);
        while let Some((name, md5, outcome)) = fetched.next().await {
            match outcome? {
                Some(text) => {
                    // Of another text: the list is ahead of it, or behind.
                    let agrees = md5.as_deref() == Some(&*md5_of(&text));
                    settled &= agrees;
                    self.hold(known, name, text, md5.clone().filter(|_| agrees));
                }
                // New, and not everywhere yet; or just deleted.
                None => settled = false,
            }
        }
        drop(fetched);
        settled &= self.let_go(way, &list, known).await?;
        Ok(Reading { settled, changed: known.md5s() != before })
    }

    /// The texts of the list that are read. Encrypted ones are left out, which is logged once.
    fn meant(&self, mut list: List, known: &mut Known) -> Result<List, Error> {
        list.retain(|name, _| self.patterns.iter().any(|pattern| pattern.matches(name)));
        if list.len() > MAX_MANIFESTS {
            return Err(Error::TooManyManifests { count: list.len(), max: MAX_MANIFESTS });
        }
        known.left_out.retain(|name| list.contains_key(name));
        list.retain(|name, _| {
            let encrypted = name.starts_with(ENCRYPTED);
            if encrypted {
                self.leave_out(known, name, "it is encrypted, and only Nacos' own clients can read it");
            }
            !encrypted
        });
        Ok(list)
    }

    /// Holds a text; the same `Arc` while it is the same. For one that is too long an error is held, so that what its
    /// last good text gave stays.
    fn hold(&self, known: &mut Known, name: &Text, text: Text, listed: Option<Text>) {
        let is_long = text.len() > MAX_BYTES;
        let read = if is_long { Err("it is longer than 1 MiB".into()) } else { Ok(text.clone()) };
        if let Some(held) = known.held.get_mut(name).filter(|held| held.manifest.text == read) {
            if is_long {
                held.md5 = md5_of(&text);
            }
            held.listed = listed;
            return;
        }
        let (registry, namespace, group) = (self.registry.clone(), self.namespace.clone(), self.meant.group.clone());
        let id = ManifestId { registry, namespace, group, name: name.clone() };
        known
            .held
            .insert(name.clone(), Held { manifest: Arc::new(Manifest { id, text: read }), md5: md5_of(&text), listed });
    }

    /// Drops texts that the list lacks, if the server says that they are gone. `true` if it says so of all.
    async fn let_go(&self, way: Way, list: &List, known: &mut Known) -> Result<bool, Error> {
        let lacking: Vec<Text> = known.held.keys().filter(|name| !list.contains_key(*name)).cloned().collect();
        let asked: Vec<_> = lacking.iter().map(|name| async move { (name, self.is_gone(way, name).await) }).collect();
        let answers: Vec<_> = stream::iter(asked).buffer_unordered(self.concurrency).collect().await;
        let mut gone = Vec::new();
        for (name, outcome) in answers {
            if outcome? {
                gone.push(name);
            }
        }
        gone.iter().for_each(|name| drop(known.held.remove(*name)));
        Ok(gone.len() == lacking.len())
    }

    fn leave_out(&self, known: &mut Known, name: &Text, why: &'static str) {
        if known.left_out.insert(name.clone()) {
            let Source { registry, namespace, meant, .. } = self;
            warn!(%registry, %namespace, group = %meant.group, manifest = %name, why, "A manifest is not read.");
        }
    }
}

/// The md5 of a text in lower-case hex, as Nacos writes it.
fn md5_of(text: &str) -> Text {
    format!("{:x}", md5::compute(text)).into()
}
