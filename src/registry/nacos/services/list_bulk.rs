//! The bulk lists of 3.x and 2.x: every service of a namespace with its instances, page by page.
//!
//! What has not changed costs next to nothing: a page with the bytes of the last round gives the last round's services,
//! unread; in a page that has changed, a service with the same bytes gives the same `Arc`. Nothing is kept of what the
//! last round has not shown.
//!
//! Paging is no snapshot: what moves is treated as in [`pages`], but here the server may not say how many there are.

use super::convert;
use crate::{
    model::{Service, ServiceId, Text},
    registry::{
        nacos::{
            api::{
                Api,
                pages::{self, MAX_PAGES},
                wire,
            },
            error::Error,
            transport::{Client, json},
        },
        transport::Answer,
    },
};
use serde_json::value::RawValue;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use xxhash_rust::xxh3::xxh3_64;

/// A service as its list shows it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// With threshold 0, whatever it is: see [`super::threshold`].
    pub(crate) service: Arc<Service>,
    /// Some enabled instances are healthy and some are not, so the threshold matters now.
    pub(crate) mixed: bool,
}

/// A service, or which one could not be read, and why.
pub(crate) type Outcome = Result<Listed, (ServiceId, Text)>;
type Entry = (u64, Outcome);

/// A page, with the number of all services if the server says it.
type Page = (Arc<[Entry]>, Option<usize>);

/// What the last round has read, by hash of the bytes.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pages: HashMap<u64, Page>,
    entries: HashMap<u64, Outcome>,
}

/// A namespace, whole.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) services: BTreeMap<ServiceId, Listed>,
    pub(crate) unreadable: BTreeMap<ServiceId, Text>,
    /// How many there are, if the server says it.
    total: Option<usize>,
}

impl Reading {
    fn len(&self) -> usize {
        let only_unreadable = self.unreadable.keys().filter(|id| !self.services.contains_key(*id)).count();
        self.services.len() + only_unreadable
    }
}

/// Who is read, and of what.
pub(crate) struct Source<'a> {
    pub(crate) client: &'a Client,
    pub(crate) api: Api,
    pub(crate) registry: &'a Text,
    pub(crate) namespace: &'a Text,
    pub(crate) page_size: usize,
}

impl Source<'_> {
    /// Everything in the namespace.
    pub(crate) async fn read(&self, memory: &mut Memory) -> Result<Reading, Error> {
        let mut fresh = Memory::default();
        let (mut reading, whole) = self.pages(memory, &mut fresh).await?;
        if !whole {
            let (again, _) = self.pages(memory, &mut fresh).await?;
            reading.total = reading.total.min(again.total);
            reading.services.extend(again.services);
            reading.unreadable.extend(again.unreadable);
        }
        if let Some(total) = reading.total.filter(|total| *total > reading.len()) {
            return Err(Error::Incomplete { what: "services", path: self.api.list(), listed: reading.len(), total });
        }
        // What was readable at least once is.
        let Reading { services, unreadable, .. } = &mut reading;
        unreadable.retain(|id, _| !services.contains_key(id));
        *memory = fresh;
        Ok(reading)
    }

    /// What the services are called, and nothing else: a tenth of the whole list.
    pub(crate) async fn names(&self) -> Result<BTreeSet<ServiceId>, Error> {
        let names = pages::once(self.api.list(), |number| self.name_page(number)).await?;
        Ok(names.into_keys().collect())
    }

    async fn name_page(&self, number: usize) -> Result<pages::Page<ServiceId, ()>, Error> {
        let Answer { url, body, .. } = self.ask("false", number).await?;
        let (names, total) = match self.api {
            Api::AdminV3 => {
                let page = json::enveloped::<wire::NamePage<'_>>(&url, &body)?;
                (page.page_items, page.total_count)
            }
            _ => {
                let page = json::bare::<wire::OldNamePage<'_>>(&url, &body)?;
                (page.service_list, page.count)
            }
        };
        let (shown, id) = (names.len(), |short: wire::Named<'_>| convert::id(self.registry, self.namespace, &short));
        let entries = names.into_iter().map(|short| (id(short.into()), ())).collect();
        Ok(pages::Page { entries, shown, total })
    }

    /// All pages once, and whether they fit together.
    async fn pages(&self, old: &Memory, fresh: &mut Memory) -> Result<(Reading, bool), Error> {
        let (mut reading, mut shown) = (Reading::default(), 0);
        for number in 1..=MAX_PAGES {
            let (page, count) = self.page(number, old, fresh).await?;
            let before = reading.len();
            shown += page.len();
            reading.total = count;
            for (_, entry) in page.iter() {
                match entry {
                    Ok(listed) => drop(reading.services.insert(listed.service.id.clone(), listed.clone())),
                    Err((id, why)) => drop(reading.unreadable.insert(id.clone(), why.clone())),
                }
            }
            let different = reading.len();
            let last = count.is_some_and(|total| shown >= total) || page.len() < self.page_size;
            // A page that brings nothing new is one that was there before: the server does not turn pages.
            if last || different == before {
                let whole = different == shown && reading.total.is_none_or(|total| total == different);
                return Ok((reading, whole));
            }
        }
        Err(Error::Endless { path: self.api.list(), pages: MAX_PAGES })
    }

    /// One page; one with known bytes is not even parsed.
    async fn page(&self, number: usize, old: &Memory, fresh: &mut Memory) -> Result<Page, Error> {
        let Answer { url, body, hash } = self.ask("true", number).await?;
        if let Some(page) = old.pages.get(&hash).or_else(|| fresh.pages.get(&hash)) {
            let page = page.clone();
            fresh.entries.extend(page.0.iter().cloned());
            fresh.pages.insert(hash, page.clone());
            return Ok(page);
        }
        let (items, total) = self.items(&url, &body)?;
        let entries = items.into_iter().map(|item| self.entry(&url, item, old)).collect::<Result<Vec<_>, _>>()?;
        fresh.entries.extend(entries.iter().cloned());
        let page: Page = (entries.into(), total);
        fresh.pages.insert(hash, page.clone());
        Ok(page)
    }

    async fn ask(&self, instances: &str, page: usize) -> Result<Answer, Error> {
        let (page, size) = (page.to_string(), self.page_size.to_string());
        let query =
            [("namespaceId", &**self.namespace), ("withInstances", instances), ("pageNo", &page), ("pageSize", &size)];
        self.client.http.get(self.api.list(), &query).await
    }

    /// The services of a page, and the number of all if the server says it.
    fn items<'a>(&self, url: &str, body: &'a [u8]) -> Result<(Vec<&'a RawValue>, Option<usize>), Error> {
        Ok(match self.api {
            Api::AdminV3 => {
                let page = json::enveloped::<wire::Page<'_>>(url, body)?;
                (page.page_items, Some(page.total_count))
            }
            _ => (json::bare::<Vec<&RawValue>>(url, body)?, None),
        })
    }

    /// One service. Without a name nobody can say whose last good value stays: then the list is no list.
    fn entry(&self, url: &str, item: &RawValue, old: &Memory) -> Result<Entry, Error> {
        let hash = xxh3_64(item.get().as_bytes());
        if let Some(known) = old.entries.get(&hash) {
            return Ok((hash, known.clone()));
        }
        let named = json::bare::<wire::Named<'_>>(url, item.get().as_bytes())?;
        let id = convert::id(self.registry, self.namespace, &named);
        let entry = match serde_json::from_str::<wire::Detail<'_>>(item.get()) {
            Ok(detail) => {
                let service = Arc::new(convert::listed(id, detail));
                Ok(Listed { mixed: convert::is_mixed(&service), service })
            }
            Err(error) => Err((id, error.to_string().into())),
        };
        Ok((hash, entry))
    }
}
