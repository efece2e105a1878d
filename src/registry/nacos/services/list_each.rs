//! Names of a group's services, then each service by itself: for servers without a bulk list, and users without the right
//! to one. Such lists show no disabled instances and no thresholds; the server applies those itself, and says so.

use super::convert;
use crate::{
    model::{Service, ServiceId, Text},
    registry::{
        dubbo,
        nacos::{
            api::{
                Api,
                budget::Budget,
                named,
                pages::{List, Page, Size},
                wire,
            },
            error::Error,
            transport::{Client, json},
        },
        transport::Answer,
    },
    util::error::chain,
};
use futures_util::{StreamExt, stream};
use serde_json::value::RawValue;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use xxhash_rust::xxh3::xxh3_64;

/// After so many services without any answer the server is taken for lost: each of the others would wait as long.
const MAX_UNREACHABLE: usize = 3;

/// What the last round has read: each service, with the hash of its instances' bytes.
pub(crate) type Cache = HashMap<ServiceId, (u64, Arc<Service>)>;

/// What was read of one group.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) services: Vec<Arc<Service>>,
    pub(crate) unreadable: Vec<(ServiceId, Text)>,
}

/// The group that is read, and by which client and interface.
pub(crate) struct Source<'a> {
    pub(crate) client: &'a Client,
    pub(crate) api: Api,
    pub(crate) registry: &'a Text,
    pub(crate) namespace: &'a Text,
    pub(crate) group: &'a Text,
    pub(crate) page_size: usize,
    pub(crate) concurrency: usize,
    pub(crate) budget: &'a Budget,
}

impl Source<'_> {
    /// Reads everything in the group. One service that cannot be read is told apart, and the others do not wait for it.
    pub(crate) async fn read(&self, cache: &mut Cache) -> Result<Reading, Error> {
        let names = self.names().await?;
        let count = names.len();
        let (mut fresh, mut failed, mut unreachable) = (Cache::new(), Vec::new(), 0);
        {
            let old = &*cache;
            let questions: Vec<_> =
                names.into_iter().map(|id| async move { (self.service(&id, old.get(&id)).await, id) }).collect();
            let mut answers = stream::iter(questions).buffer_unordered(self.concurrency);
            while let Some((answer, id)) = answers.next().await {
                match answer {
                    Ok(read) => drop(fresh.insert(id, read)),
                    Err(error) => {
                        unreachable += usize::from(error.is_unreachable());
                        if unreachable >= MAX_UNREACHABLE || matches!(error, Error::OverLimit { .. }) {
                            return Err(error);
                        }
                        failed.push((id, error));
                    }
                }
            }
        }
        // Instances that cannot be read were read: then the server is well, and its service is not.
        let is_answered = |(_, error): &(_, Error)| matches!(error, Error::Entry(_));
        if fresh.is_empty()
            && !failed.iter().any(is_answered)
            && let Some((_, first)) = failed.pop()
        {
            return Err(Error::EveryService { count, first: Box::new(first) });
        }
        let mut reading = Reading::default();
        for (id, error) in failed {
            reading.unreadable.push((id.clone(), chain(&error).into()));
            // When it can be read again it may well be the same.
            fresh.extend(cache.remove_entry(&id));
        }
        reading.unreadable.sort();
        let unreadable: BTreeSet<_> = reading.unreadable.iter().map(|(id, _)| id).collect();
        reading.services =
            fresh.iter().filter(|(id, _)| !unreadable.contains(id)).map(|(_, (_, s))| s.clone()).collect();
        reading.services.sort_by(|a, b| a.id.cmp(&b.id));
        drop(unreadable);
        *cache = fresh;
        Ok(reading)
    }

    /// Reads one service. It is the same `Arc` as in `cache` while it has not changed.
    pub(crate) async fn one(&self, id: &ServiceId, cache: &Cache) -> Result<(u64, Arc<Service>), Error> {
        self.service(id, cache.get(id)).await
    }

    /// Reads all names, each once; once more if they moved while paging.
    pub(crate) async fn names(&self) -> Result<BTreeSet<ServiceId>, Error> {
        let list = List { what: "services", path: self.api.list(), budget: self.budget };
        let names = list.whole(|number| self.name_page(number)).await?;
        Ok(names.into_keys().filter(|id| dubbo::serves(&id.name)).collect())
    }

    async fn name_page(&self, number: usize) -> Result<Page<ServiceId, ()>, Error> {
        let (number, size) = (number.to_string(), self.page_size.to_string());
        let query = [
            ("namespaceId", &**self.namespace),
            ("groupName", &**self.group),
            ("pageNo", &number),
            ("pageSize", &size),
        ];
        let Answer { origin, body, .. } = self.api.get(self.client, self.api.list(), &query).await?;
        let names: wire::Names = self.api.read(&origin, &body)?;
        let entries = names.doms.iter().map(|name| (self.id(name), ())).collect();
        Ok(Page { entries, total: Some(names.count), size: Size { bytes: body.len(), parts: 0 } })
    }

    fn id(&self, name: &str) -> ServiceId {
        let named = wire::Named { service_name: name.into(), group_name: Some((&**self.group).into()) };
        convert::id(self.registry, self.namespace, &named)
    }

    /// Reads one service; the same `Arc` while its instances have the same bytes.
    async fn service(&self, id: &ServiceId, old: Option<&(u64, Arc<Service>)>) -> Result<(u64, Arc<Service>), Error> {
        let answer = self.api.get(self.client, self.api.instances(), &named(id)).await;
        let Answer { origin, body, .. } = answer.map_err(Error::of_listed_service)?;
        let list: wire::Instances<'_> = self.api.read(&origin, &body)?;
        // The rest of the answer holds the time of day.
        let hash = xxh3_64(list.hosts.get().as_bytes()) ^ u64::from(list.reach_protection_threshold);
        if let Some((_, service)) = old.filter(|(known, _)| *known == hash) {
            return Ok((hash, service.clone()));
        }
        let hosts: Vec<&RawValue> = json::bare(&origin, list.hosts.get().as_bytes())?;
        self.budget.take("instances", hosts.len(), body.len())?;
        let last = old.map(|(_, service)| &**service);
        let service = convert::asked(id.clone(), &hosts, list.reach_protection_threshold, last);
        Ok((hash, Arc::new(service.map_err(Error::Entry)?)))
    }
}
