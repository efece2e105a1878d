//! The bulk lists of 3.x and 2.x: every service of a namespace with its instances, page by page.
//!
//! What has not changed costs next to nothing: a page with the bytes of the last round gives the last round's services,
//! unread; in a page that has changed, a service with the same bytes gives the same `Arc`. Nothing is kept of what the
//! last round has not shown.

use super::convert::{self, Vitality};
use crate::{
    model::{Service, ServiceId, Text},
    registry::{
        nacos::{
            api::{
                Api,
                budget::Budget,
                pages::{List, Page, Size, Value},
                wire,
            },
            error::Error,
            transport::{Client, json},
        },
        transport::{Answer, Origin},
    },
    util::lock::lock,
};
use serde_json::value::RawValue;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};
use xxhash_rust::xxh3::xxh3_64;

/// A service as its list shows it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// Without a threshold: see [`super::threshold`].
    pub(crate) service: Arc<Service>,
    pub(crate) vitality: Vitality,
}

/// A service, or why it could not be read.
type Outcome = Result<Listed, Text>;

impl Value for Outcome {
    fn is_readable(&self) -> bool {
        self.is_ok()
    }
}

/// An entry of a page, with the hash of its bytes.
#[derive(Debug, Clone)]
struct Entry {
    hash: u64,
    id: ServiceId,
    outcome: Outcome,
}

/// The entries of a page, with the number of all services if the server says it.
#[derive(Debug, Clone)]
struct Known {
    entries: Arc<[Entry]>,
    total: Option<usize>,
}

/// The pages and entries of the last round, by the hash of their bytes.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    pages: HashMap<u64, Known>,
    entries: HashMap<u64, Entry>,
}

/// What was read of one namespace.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) services: BTreeMap<ServiceId, Listed>,
    pub(crate) unreadable: BTreeMap<ServiceId, Text>,
}

/// The namespace that is read, and by which client and interface.
pub(crate) struct Source<'a> {
    pub(crate) client: &'a Client,
    pub(crate) api: Api,
    pub(crate) registry: &'a Text,
    pub(crate) namespace: &'a Text,
    pub(crate) page_size: usize,
    pub(crate) budget: &'a Budget,
}

/// What a page is read with: the cache of the last round, the services as they were listed last, and the cache of this
/// round.
#[derive(Clone, Copy)]
struct Past<'a> {
    cache: &'a Cache,
    last: &'a BTreeMap<ServiceId, Listed>,
    fresh: &'a Mutex<Cache>,
}

impl Source<'_> {
    /// Reads everything in the namespace. `last` are the services as they were listed last.
    pub(crate) async fn read(&self, cache: &mut Cache, last: &BTreeMap<ServiceId, Listed>) -> Result<Reading, Error> {
        let fresh = Mutex::default();
        let past = Past { cache, last, fresh: &fresh };
        let entries = self.list().whole(|number| self.page(number, past)).await?;
        *cache = std::mem::take(&mut *lock(&fresh));
        let mut reading = Reading::default();
        for (id, outcome) in entries {
            match outcome {
                Ok(listed) => drop(reading.services.insert(id, listed)),
                Err(why) => drop(reading.unreadable.insert(id, why)),
            }
        }
        Ok(reading)
    }

    /// Reads the names of the services, and nothing else: a tenth of the whole list.
    pub(crate) async fn names(&self) -> Result<BTreeSet<ServiceId>, Error> {
        Ok(self.list().once(|number| self.name_page(number)).await?.into_keys().collect())
    }

    fn list(&self) -> List<'_> {
        List { what: "services", path: self.api.list(), budget: self.budget }
    }

    async fn name_page(&self, number: usize) -> Result<Page<ServiceId, ()>, Error> {
        let Answer { origin, body, .. } = self.ask("false", number).await?;
        let (names, total) = match self.api {
            Api::AdminV3 => {
                let page = json::enveloped::<wire::NamePage<'_>>(&origin, &body)?;
                (page.page_items, page.total_count)
            }
            _ => {
                let page = json::bare::<wire::OldNamePage<'_>>(&origin, &body)?;
                (page.service_list, page.count)
            }
        };
        let id = |short: wire::Named<'_>| convert::id(self.registry, self.namespace, &short);
        let entries = names.into_iter().map(|short| (id(short.into()), ())).collect();
        Ok(Page { entries, total: Some(total), size: Size { bytes: body.len(), parts: 0 } })
    }

    /// Reads one page; one with known bytes is not even parsed.
    async fn page(&self, number: usize, past: Past<'_>) -> Result<Page<ServiceId, Outcome>, Error> {
        let Answer { origin, body, hash, .. } = self.ask("true", number).await?;
        let known = past.cache.pages.get(&hash).cloned().or_else(|| past.fresh().pages.get(&hash).cloned());
        let page = match known {
            Some(page) => page,
            None => self.parsed(&origin, &body, past)?,
        };
        let mut fresh = past.fresh();
        fresh.entries.extend(page.entries.iter().map(|entry| (entry.hash, entry.clone())));
        fresh.pages.insert(hash, page.clone());
        drop(fresh);
        let instances = |entry: &Entry| entry.outcome.as_ref().map_or(0, |listed| listed.service.endpoints.len());
        let size = Size { bytes: body.len(), parts: page.entries.iter().map(instances).sum() };
        let entries = page.entries.iter().map(|entry| (entry.id.clone(), entry.outcome.clone())).collect();
        Ok(Page { entries, total: page.total, size })
    }

    async fn ask(&self, instances: &str, page: usize) -> Result<Answer, Error> {
        let (page, size) = (page.to_string(), self.page_size.to_string());
        let query =
            [("namespaceId", &**self.namespace), ("withInstances", instances), ("pageNo", &page), ("pageSize", &size)];
        self.client.http.get(self.api.list(), &query).await
    }

    fn parsed(&self, origin: &Origin, body: &[u8], past: Past<'_>) -> Result<Known, Error> {
        let (items, total) = match self.api {
            Api::AdminV3 => {
                let page = json::enveloped::<wire::Page<'_>>(origin, body)?;
                (page.page_items, Some(page.total_count))
            }
            _ => (json::bare::<Vec<&RawValue>>(origin, body)?, None),
        };
        let entries = items.into_iter().map(|item| self.entry(origin, item, past)).collect::<Result<Vec<_>, _>>()?;
        Ok(Known { entries: entries.into(), total })
    }

    /// One service. If it has no name, the list is refused, since nobody could say whose last good value stays.
    fn entry(&self, origin: &Origin, item: &RawValue, past: Past<'_>) -> Result<Entry, Error> {
        let hash = xxh3_64(item.get().as_bytes());
        if let Some(known) = past.cache.entries.get(&hash) {
            return Ok(known.clone());
        }
        let named = json::bare::<wire::Named<'_>>(origin, item.get().as_bytes())?;
        let id = convert::id(self.registry, self.namespace, &named);
        let last = past.last.get(&id).map(|listed| &*listed.service);
        let outcome = match serde_json::from_str::<wire::Detail<'_>>(item.get()) {
            Ok(detail) => convert::listed(id.clone(), detail, last).map(Listed::new),
            Err(error) => Err(error.to_string().into()),
        };
        Ok(Entry { hash, id, outcome })
    }
}

impl Listed {
    pub(crate) fn new(service: Service) -> Self {
        Listed { vitality: convert::vitality(&service), service: Arc::new(service) }
    }
}

impl Past<'_> {
    fn fresh(&self) -> MutexGuard<'_, Cache> {
        lock(self.fresh)
    }
}
