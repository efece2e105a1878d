//! What was written, with versions and times to live. Every change is made whole or not at all, under one lock that is held
//! for as long as a map is changed.
//!
//! The version of a service is a hash of it: equal in every Portolan that was written the same, and over restarts. So who
//! changes what he has seen says its version, and is refused where somebody else was there before.

use crate::{
    model::{Service, ServiceId, Text},
    registry::catalogue::{self, Field},
    util::{lock::lock, yaml::Problems},
};
use std::{
    collections::{BTreeMap, btree_map},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use xxhash_rust::xxh3::xxh3_64;

/// The label of a service that says for how long it lives without a sign of life; kept with it, so over restarts.
const TIME_TO_LIVE: &str = "portolan.ttl";

/// The stores of all registries whose services are written through the API. Clones share the stores.
///
/// A registry that leaves the configuration has its store closed: nobody finds it, but nothing is lost if that was a slip.
#[derive(Debug, Clone, Default)]
pub struct Written {
    stores: Arc<Mutex<Stores>>,
}

#[derive(Debug, Default)]
struct Stores {
    by_registry: BTreeMap<Text, Kept>,
    /// No store takes changes.
    paused: bool,
}

#[derive(Debug)]
struct Kept {
    store: Arc<Store>,
    /// The registry is in the configuration.
    is_open: bool,
}

/// The services that were written to one registry, in memory. `state` keeps them over a restart.
#[derive(Debug)]
pub struct Store {
    registry: Text,
    held: Mutex<Held>,
    /// The number of the last change.
    changed: watch::Sender<u64>,
    /// The number of the last change that the catalog has.
    told: watch::Sender<u64>,
}

#[derive(Debug)]
struct Held {
    entries: BTreeMap<ServiceId, Entry>,
    /// No entry ends before this; `None` if none ends. It may be too early: a sign of life does not move it.
    next: Option<Instant>,
    limit: usize,
    /// Some service came, went, or is another, and nobody was told yet. A sign of life is nothing new.
    news: bool,
    /// No change is taken. As no sign of life is either, nothing expires.
    paused: bool,
}

/// A service that was written, with its version and its time to live.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The service as the last PUT or PATCH left it.
    pub service: Arc<Service>,
    /// A hash of the service as 16 hex digits, sent as `ETag`. It is another one when anything of the service changes.
    pub version: Text,
    /// For how long it lives without a sign of life, if not for ever.
    pub ttl: Option<Duration>,
    until: Option<Instant>,
}

/// The condition under which a change is made, from the headers `if-match` and `if-none-match`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Expected {
    /// Nothing is compared: put or delete in any case.
    #[default]
    Anything,
    /// The service must not be there.
    Nothing,
    /// The service must have this version.
    Version(Text),
}

/// Why a change was not made. The store is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The service to be changed or deleted does not exist.
    #[error("there is no service {0}: it was never written, was deleted, or its time to live is over; PUT it")]
    Missing(ServiceId),
    /// The service exists with this version, and [`Expected::Nothing`] was asked for.
    #[error("there is a service {0} already, of version {1}")]
    Exists(ServiceId, Text),
    /// The service has this version, and [`Expected::Version`] names another.
    #[error("the service {0} is of version {1} by now; read it again, and make the change to that")]
    Stale(ServiceId, Text),
    /// The body or the path cannot be read; the text lists the problems.
    #[error("{0}")]
    Invalid(String),
    /// The registry would have more services than this limit, which is `limits.services`.
    #[error("the registry would have more than {0} services; raise `limits.services` if that is right")]
    TooMany(usize),
    /// The store takes no changes at the moment.
    #[error(
        "no changes are taken now: this process ends, another one takes over, or the registry has left; ask again in a moment"
    )]
    Paused,
}

impl Written {
    /// Names of the registries whose services are written through the API, sorted.
    pub fn names(&self) -> Vec<Text> {
        let stores = lock(&self.stores);
        stores.by_registry.iter().filter(|(_, kept)| kept.is_open).map(|(name, _)| name.clone()).collect()
    }

    /// The store of a registry; `None` if its services are not written through the API.
    pub fn get(&self, registry: &str) -> Option<Arc<Store>> {
        lock(&self.stores).by_registry.get(registry).filter(|kept| kept.is_open).map(|kept| kept.store.clone())
    }

    /// Whether a registry has a store, which may be closed.
    pub fn has(&self, registry: &str) -> bool {
        lock(&self.stores).by_registry.contains_key(registry)
    }

    /// The store of a registry of the configuration, made if it is not there. One that was closed has what it had, and
    /// times to live begin anew.
    pub fn open(&self, registry: &Text) -> Arc<Store> {
        let mut stores = lock(&self.stores);
        let paused = stores.paused;
        let kept = stores.of(registry);
        kept.is_open = true;
        if !paused {
            kept.store.resume(Instant::now());
        }
        kept.store.clone()
    }

    /// The same for a reading: it may begin again after its registry has left the configuration, and opens nothing then.
    pub(super) fn of_reading(&self, registry: &Text) -> Arc<Store> {
        lock(&self.stores).of(registry).store.clone()
    }

    /// Closes the stores of registries for whose name `is_there` is false: they take no changes, and nothing in them
    /// expires.
    pub fn close(&self, is_there: impl Fn(&str) -> bool) {
        for (_, kept) in lock(&self.stores).by_registry.iter_mut().filter(|(name, _)| !is_there(name)) {
            kept.is_open = false;
            kept.store.pause();
        }
    }

    /// Drops closed stores of registries for whose name `is_known` is false.
    pub fn forget(&self, is_known: impl Fn(&str) -> bool) {
        lock(&self.stores).by_registry.retain(|name, kept| kept.is_open || is_known(name));
    }

    /// Takes no changes from now on, in no store.
    pub fn pause(&self) {
        let mut stores = lock(&self.stores);
        stores.paused = true;
        stores.by_registry.values().for_each(|kept| kept.store.pause());
    }

    /// Takes changes again, in all that are open. Times to live begin anew.
    pub fn resume(&self, now: Instant) {
        let mut stores = lock(&self.stores);
        stores.paused = false;
        stores.by_registry.values().filter(|kept| kept.is_open).for_each(|kept| kept.store.resume(now));
    }

    /// Waits until the catalog has all that was written.
    pub async fn told(&self) {
        let open = |kept: &Kept| kept.is_open.then(|| kept.store.clone());
        let stores: Vec<Arc<Store>> = lock(&self.stores).by_registry.values().filter_map(open).collect();
        for store in stores {
            store.told().await;
        }
    }
}

impl Stores {
    fn of(&mut self, registry: &Text) -> &mut Kept {
        let paused = self.paused;
        self.by_registry.entry(registry.clone()).or_insert_with(|| {
            let store = Arc::new(Store::new(registry.clone()));
            if paused {
                store.pause();
            }
            Kept { store, is_open: true }
        })
    }
}

impl Store {
    fn new(registry: Text) -> Self {
        let held = Held { entries: BTreeMap::new(), next: None, limit: usize::MAX, news: false, paused: false };
        Store { registry, held: Mutex::new(held), changed: watch::channel(0).0, told: watch::channel(0).0 }
    }

    /// Takes the services that were written before a restart, unless something has been written since. Each time to
    /// live starts anew.
    pub fn restore(&self, services: impl IntoIterator<Item = Arc<Service>>, now: Instant) {
        let mut held = lock(&self.held);
        if held.entries.is_empty() {
            held.entries = services.into_iter().map(|s| (s.id.clone(), Entry::new(s, now))).collect();
            held.next = held.first_end();
        }
        self.note_change();
    }

    fn pause(&self) {
        let mut held = lock(&self.held);
        held.expire(Instant::now());
        held.paused = true;
    }

    fn resume(&self, now: Instant) {
        let mut held = lock(&self.held);
        if std::mem::take(&mut held.paused) {
            held.entries.values_mut().for_each(|entry| entry.until = entry.ttl.map(|ttl| now + ttl));
            held.next = held.first_end();
            // The reading looks when the next one expires.
            self.note_change();
        }
    }

    /// Sets how many services it holds at most. What is there already stays, even if it is more.
    pub fn set_limit(&self, services: usize) {
        lock(&self.held).limit = services;
    }

    /// The number of the last change, to publish what has changed.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Called when the catalog has everything up to the change of that number.
    pub(super) fn note_told(&self, number: u64) {
        self.told.send_replace(number);
    }

    /// Waits until the catalog has all changes.
    async fn told(&self) {
        let number = *self.changed.borrow();
        // Fails only when the store is gone.
        let _ = self.told.subscribe().wait_for(|told| *told >= number).await;
    }

    /// Called under the lock: whoever sees what was changed sees the number, too.
    fn note_change(&self) {
        self.changed.send_modify(|number| *number += 1);
    }

    /// The services that exist at `now`, and when the next of them expires (`None` if none does, as while it is paused).
    pub(super) fn services(&self, now: Instant) -> (BTreeMap<ServiceId, Arc<Service>>, Option<Instant>) {
        let mut held = lock(&self.held);
        held.expire(now);
        let next = held.first_end().filter(|_| !held.paused);
        (held.entries.iter().map(|(id, entry)| (id.clone(), entry.service.clone())).collect(), next)
    }

    /// The id of a service by the parts behind the registry's name: `NAME`, `NAMESPACE/NAME` or `NAMESPACE/GROUP/NAME`.
    ///
    /// # Errors
    /// If it has none, or more parts.
    pub fn id(&self, path: &str) -> Result<ServiceId, Refused> {
        let parts: Vec<&str> = path.split('/').collect();
        let (namespace, group, name) = match parts[..] {
            [name] => ("", "", name),
            [namespace, name] => (namespace, "", name),
            [namespace, group, name] => (namespace, group, name),
            _ => ("", "", ""),
        };
        if name.is_empty() {
            let why = format!("{path:?} names no service: write NAME, NAMESPACE/NAME or NAMESPACE/GROUP/NAME");
            return Err(Refused::Invalid(why));
        }
        Ok(ServiceId::new(self.registry.clone(), namespace, group, name))
    }

    /// All services with their versions, sorted by id. What has expired is left out.
    pub fn entries(&self) -> Vec<Entry> {
        let mut held = lock(&self.held);
        held.expire(Instant::now());
        held.entries.values().cloned().collect()
    }

    /// One service with its version; `None` if it was never written, or was deleted or has expired.
    pub fn entry(&self, id: &ServiceId) -> Option<Entry> {
        let mut held = lock(&self.held);
        held.expire(Instant::now());
        held.entries.get(id).cloned()
    }

    /// Writes a service as a whole, from a text in the catalogue's form. The `bool` is true if the service is new.
    ///
    /// # Errors
    /// If the text cannot be read, `expected` does not hold, or a new service exceeds the limit.
    pub fn put(
        &self,
        id: &ServiceId,
        text: &[u8],
        ttl: Option<Duration>,
        expected: &Expected,
    ) -> Result<(Entry, bool), Refused> {
        let (mut service, _) = catalogue::one(id, text, text.len()).map_err(|problems| invalid(&problems))?;
        set_ttl(&mut service, ttl);
        let now = Instant::now();
        let entry = Entry::new(Arc::new(service), now);
        let is_new = self.change(now, |held| {
            held.check(id, expected)?;
            let is_new = !held.entries.contains_key(id);
            if is_new && held.entries.len() >= held.limit {
                return Err(Refused::TooMany(held.limit));
            }
            held.put(entry.clone());
            Ok(is_new)
        })?;
        Ok((entry, is_new))
    }

    /// Changes the fields of a service that the text has, and nothing else. Without any field it only renews the time
    /// to live.
    ///
    /// # Errors
    /// If the text cannot be read, `expected` does not hold, or the service does not exist.
    pub fn patch(
        &self,
        id: &ServiceId,
        text: &[u8],
        ttl: Option<Duration>,
        expected: &Expected,
    ) -> Result<Entry, Refused> {
        let (patch, fields) = catalogue::one(id, text, text.len()).map_err(|problems| invalid(&problems))?;
        let now = Instant::now();
        self.change(now, |held| {
            held.check(id, expected)?;
            let known = held.entries.get(id).ok_or_else(|| Refused::Missing(id.clone()))?;
            let mut service = Service::clone(&known.service);
            let ttl = ttl.or(known.ttl);
            for field in &fields {
                match field {
                    Field::Host => service.host.clone_from(&patch.host),
                    Field::Ports => service.ports.clone_from(&patch.ports),
                    Field::Labels => service.labels.clone_from(&patch.labels),
                    Field::ProtectThreshold => service.protect_threshold = patch.protect_threshold,
                    Field::Endpoints => service.endpoints.clone_from(&patch.endpoints),
                }
            }
            if fields.iter().any(|field| matches!(field, Field::Ports | Field::Endpoints)) {
                // Each may be of another time than the other.
                catalogue::declare(&mut service).map_err(Refused::Invalid)?;
            }
            set_ttl(&mut service, ttl);
            let entry = Entry::new(Arc::new(service), now);
            Ok(held.put(entry).clone())
        })
    }

    /// Deletes a service.
    ///
    /// # Errors
    /// If `expected` does not hold, or the service does not exist.
    pub fn delete(&self, id: &ServiceId, expected: &Expected) -> Result<(), Refused> {
        self.change(Instant::now(), |held| {
            held.check(id, expected)?;
            held.entries.remove(id).ok_or_else(|| Refused::Missing(id.clone()))?;
            held.news = true;
            Ok(())
        })
    }

    /// Writes all services at once, from a catalogue: services that it lacks are deleted. Returns how many services
    /// there are.
    ///
    /// # Errors
    /// If the text or one service in it cannot be read, or there are more services than the limit. Then nothing is
    /// written.
    pub fn replace(&self, text: &[u8], ttl: Option<Duration>) -> Result<usize, Refused> {
        let catalogue =
            catalogue::parse(&self.registry, "body", text, text.len()).map_err(|problems| invalid(&problems))?;
        if let Some((_, why)) = catalogue.unreadable.first_key_value() {
            return Err(Refused::Invalid(why.to_string()));
        }
        let now = Instant::now();
        let made = catalogue.services.into_values().map(|mut service| {
            set_ttl(&mut service, ttl);
            Entry::new(Arc::new(service), now)
        });
        let made: Vec<Entry> = made.collect();
        self.change(now, |held| {
            if made.len() > held.limit {
                return Err(Refused::TooMany(held.limit));
            }
            let mut before = std::mem::take(&mut held.entries);
            for entry in made {
                // The same service stays the same value.
                if let Some(known) = before.remove(&entry.service.id) {
                    held.entries.insert(known.service.id.clone(), known);
                }
                held.put(entry);
            }
            held.news |= !before.is_empty();
            Ok(held.entries.len())
        })
    }

    fn change<T>(&self, now: Instant, change: impl FnOnce(&mut Held) -> Result<T, Refused>) -> Result<T, Refused> {
        let mut held = lock(&self.held);
        if held.paused {
            return Err(Refused::Paused);
        }
        held.expire(now);
        let outcome = change(&mut held);
        if std::mem::take(&mut held.news) {
            self.note_change();
        }
        outcome
    }
}

impl Held {
    /// Looks at every entry only when one may have ended: there are many signs of life in a second.
    fn expire(&mut self, now: Instant) {
        if self.paused || self.next.is_none_or(|next| next > now) {
            return;
        }
        self.entries.retain(|_, entry| entry.until.is_none_or(|until| until > now));
        self.next = self.first_end();
    }

    fn first_end(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.until).min()
    }

    fn check(&self, id: &ServiceId, expected: &Expected) -> Result<(), Refused> {
        match (expected, self.entries.get(id)) {
            (Expected::Anything, _) | (Expected::Nothing, None) => Ok(()),
            (Expected::Nothing, Some(known)) => Err(Refused::Exists(id.clone(), known.version.clone())),
            (Expected::Version(_), None) => Err(Refused::Missing(id.clone())),
            (Expected::Version(version), Some(known)) if *version == known.version => Ok(()),
            (Expected::Version(_), Some(known)) => Err(Refused::Stale(id.clone(), known.version.clone())),
        }
    }

    /// If an equal service is there, its value stays and only its time to live starts anew.
    fn put(&mut self, mut entry: Entry) -> &Entry {
        self.next = self.next.into_iter().chain(entry.until).min();
        match self.entries.entry(entry.service.id.clone()) {
            btree_map::Entry::Vacant(free) => {
                self.news = true;
                free.insert(entry)
            }
            btree_map::Entry::Occupied(known) => {
                let known = known.into_mut();
                match known.version == entry.version {
                    true => entry.service = known.service.clone(),
                    false => self.news = true,
                }
                *known = entry;
                known
            }
        }
    }
}

impl Entry {
    fn new(service: Arc<Service>, now: Instant) -> Self {
        let ttl = service.labels.get(TIME_TO_LIVE).and_then(|text| humantime::parse_duration(text).ok());
        let version = format!("{:016x}", xxh3_64(format!("{service:?}").as_bytes())).into();
        Entry { service, version, ttl, until: ttl.map(|ttl| now + ttl) }
    }
}

fn set_ttl(service: &mut Service, ttl: Option<Duration>) {
    match ttl {
        Some(ttl) => {
            drop(service.labels.insert(TIME_TO_LIVE.into(), humantime::format_duration(ttl).to_string().into()))
        }
        None => drop(service.labels.remove(TIME_TO_LIVE)),
    }
}

fn invalid(problems: &Problems) -> Refused {
    Refused::Invalid(problems.to_string())
}
