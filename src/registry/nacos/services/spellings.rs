//! One Dubbo service that stands in Nacos under several names is one service: Dubbo 2.6 registers `providers:X:1.0.0`, 2.7
//! `providers:X:1.0.0:`, and version `0.0.0` means none. Nacos is asked by its own names; what is sent has the one name of
//! the identity, with the instances of all.

use crate::{
    model::{Service, ServiceId, Text},
    registry::dubbo::{self, Identity},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// All services of a scope, and the ones that could not be read, with the reason.
pub(super) type Lists = (Vec<Arc<Service>>, Vec<(ServiceId, Text)>);

/// The services that were put together last.
#[derive(Debug, Default)]
pub(super) struct Spellings {
    /// By the one name: the parts, and the service that they make.
    wholes: BTreeMap<ServiceId, (Vec<Arc<Service>>, Arc<Service>)>,
    /// By Nacos' name, the one name that it had when it was last read: only instances say what an old name means.
    names: BTreeMap<ServiceId, ServiceId>,
}

impl Spellings {
    /// All services of a list, each under its one name.
    pub(super) fn merge(&mut self, (services, unreadable): Lists) -> Lists {
        let is_dubbo = |id: &ServiceId| dubbo::is_provider(&id.name);
        if !services.iter().map(|service| &service.id).chain(unreadable.iter().map(|(id, _)| id)).any(is_dubbo) {
            return (services, unreadable);
        }
        let mut parts: BTreeMap<ServiceId, Vec<Arc<Service>>> = BTreeMap::new();
        for service in services {
            parts.entry(one_name(&service)).or_default().push(service);
        }
        let unreadable: BTreeMap<ServiceId, Text> =
            unreadable.into_iter().map(|(id, why)| (self.last_name(&id), why)).collect();
        // What a part has cannot be left out of the whole: then all of it stays as it was.
        parts.retain(|name, _| !unreadable.contains_key(name));
        self.names.retain(|_, name| unreadable.contains_key(name));
        let kept: BTreeSet<&ServiceId> = parts.keys().chain(unreadable.keys()).collect();
        self.wholes.retain(|name, _| kept.contains(name));
        let services = parts.into_iter().map(|(name, parts)| self.whole(name, parts)).collect();
        (services, unreadable.into_iter().collect())
    }

    /// The service under its one name to which a changed service belongs. `services` has all services under Nacos'
    /// names. `None` if a part of it is unreadable.
    pub(super) fn changed(
        &mut self,
        service: &Arc<Service>,
        services: &BTreeMap<ServiceId, Arc<Service>>,
        unreadable: &BTreeSet<ServiceId>,
    ) -> Option<Arc<Service>> {
        if !dubbo::is_provider(&service.id.name) {
            return Some(service.clone());
        }
        let name = one_name(service);
        if unreadable.iter().any(|id| self.last_name(id) == name) {
            return None;
        }
        let providers = services.values().filter(|other| dubbo::is_provider(&other.id.name));
        let parts = providers.filter(|other| one_name(other) == name).cloned().collect();
        Some(self.whole(name, parts))
    }

    /// The service that the parts make; the same `Arc` while the parts are the same.
    fn whole(&mut self, name: ServiceId, parts: Vec<Arc<Service>>) -> Arc<Service> {
        if let [only] = &parts[..]
            && only.id == name
        {
            return only.clone();
        }
        for part in &parts {
            self.names.insert(part.id.clone(), name.clone());
        }
        if let Some((known, whole)) = self.wholes.get(&name)
            && known.len() == parts.len()
            && known.iter().zip(&parts).all(|(a, b)| Arc::ptr_eq(a, b))
        {
            return whole.clone();
        }
        let whole = Arc::new(put_together(name.clone(), &parts));
        self.wholes.insert(name, (parts, whole.clone()));
        whole
    }

    fn last_name(&self, id: &ServiceId) -> ServiceId {
        self.names.get(id).cloned().unwrap_or_else(|| named(id, Identity::of_name(&id.name, |_| None)))
    }
}

/// The one name of a service: its own, unless it is a provider of Dubbo.
fn one_name(service: &Service) -> ServiceId {
    named(&service.id, Identity::of_name(&service.id.name, dubbo::in_metadata(&service.labels)))
}

fn named(id: &ServiceId, identity: Option<Identity>) -> ServiceId {
    match identity {
        Some(identity) => {
            ServiceId::new(id.registry.clone(), id.namespace.clone(), id.group.clone(), identity.nacos_name())
        }
        None => id.clone(),
    }
}

fn put_together(id: ServiceId, parts: &[Arc<Service>]) -> Service {
    let mut endpoints: Vec<_> = parts.iter().flat_map(|part| &part.endpoints).cloned().collect();
    endpoints.sort();
    endpoints.dedup();
    let mut service = Service::new(id, endpoints);
    for part in parts.iter().rev() {
        service.labels.extend(part.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
        service.notes.extend(part.notes.iter().cloned());
    }
    service.notes.sort();
    service.protect_threshold = parts.iter().filter_map(|part| part.protect_threshold).max();
    service.protected = parts.iter().any(|part| part.protected);
    service
}
