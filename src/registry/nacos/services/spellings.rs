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

    /// For each changed service the one under its one name to which it belongs, in the same order; none for those of
    /// which a part is unreadable. `services` has all services under Nacos' names, `changed` among them.
    pub(super) fn changed(
        &mut self,
        changed: &[Arc<Service>],
        services: &BTreeMap<ServiceId, Arc<Service>>,
        unreadable: &BTreeSet<ServiceId>,
    ) -> Vec<Arc<Service>> {
        if !changed.iter().any(is_provider) {
            return changed.to_vec();
        }
        let unread: BTreeSet<ServiceId> = unreadable.iter().map(|id| self.last_name(id)).collect();
        let names: Vec<Option<ServiceId>> =
            changed.iter().map(|service| is_provider(service).then(|| one_name(service))).collect();
        // One walk over all services, however many of them have changed.
        let mut parts: BTreeMap<&ServiceId, Vec<Arc<Service>>> =
            names.iter().flatten().filter(|name| !unread.contains(*name)).map(|name| (name, Vec::new())).collect();
        for service in services.values().filter(|service| is_provider(service)) {
            if let Some(parts) = parts.get_mut(&one_name(service)) {
                parts.push(service.clone());
            }
        }
        let mut wholes = Vec::new();
        for (service, name) in changed.iter().zip(&names) {
            match name {
                None => wholes.push(service.clone()),
                Some(name) => wholes.extend(parts.get(name).map(|parts| self.whole(name.clone(), parts.clone()))),
            }
        }
        wholes
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

fn is_provider(service: &Arc<Service>) -> bool {
    dubbo::is_provider(&service.id.name)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, Endpoint, Port};
    use proptest::prelude::*;

    /// Names in Nacos, some of which mean the same service.
    const NAMES: [&str; 7] = [
        "orders",
        "providers:a.B:1.0.0",
        "providers:a.B:1.0.0:",
        "providers:a.B::",
        "providers:a.B:0.0.0:",
        "providers:a.C::blue",
        "providers:a.C",
    ];

    fn id(name: usize) -> ServiceId {
        ServiceId::new("r", "public", "g", NAMES[name])
    }

    fn service(name: usize, port: u16) -> Arc<Service> {
        let endpoint = Endpoint::new(Address::parse("10.0.0.1").unwrap(), Port::new(port.into()).unwrap());
        Arc::new(Service::new(id(name), vec![endpoint]))
    }

    proptest! {
        /// Changes that come together are the same as if each came by itself.
        #[test]
        fn many_changes_are_as_each_by_itself(
            listed in prop::collection::btree_map(0..NAMES.len(), 1..4_u16, 0..7),
            pushed in prop::collection::vec((0..NAMES.len(), 1..4_u16), 0..10),
            lost in prop::collection::btree_set(0..NAMES.len(), 0..2),
        ) {
            let mut services: BTreeMap<_, _> =
                listed.iter().map(|(name, port)| (id(*name), service(*name, *port))).collect();
            let (mut together, mut alone) = (Spellings::default(), Spellings::default());
            for spellings in [&mut together, &mut alone] {
                spellings.merge((services.values().cloned().collect(), Vec::new()));
            }
            // As in a list in which some could not be read.
            let unreadable: BTreeSet<ServiceId> = lost.iter().map(|name| id(*name)).collect();
            services.retain(|id, _| !unreadable.contains(id));
            let changed: Vec<_> = pushed.iter().map(|(name, port)| service(*name, *port)).collect();
            let changed: Vec<_> = changed.into_iter().filter(|service| !unreadable.contains(&service.id)).collect();
            services.extend(changed.iter().map(|service| (service.id.clone(), service.clone())));
            let one_by_one: Vec<_> = changed
                .iter()
                .flat_map(|service| alone.changed(std::slice::from_ref(service), &services, &unreadable))
                .collect();
            prop_assert_eq!(together.changed(&changed, &services, &unreadable), one_by_one);
        }
    }

    #[test]
    fn a_change_of_one_spelling_is_one_of_the_whole() {
        let parts = [service(1, 80), service(2, 81), service(5, 82)];
        let services: BTreeMap<_, _> = parts.iter().map(|part| (part.id.clone(), part.clone())).collect();
        let mut spellings = Spellings::default();
        let of = |wholes: Vec<Arc<Service>>| {
            let shown = |whole: &Arc<Service>| format!("{} {}", whole.id.name, whole.endpoints.len());
            wholes.iter().map(shown).collect::<Vec<_>>()
        };
        let none = BTreeSet::new();
        let expected = ["providers:a.B:1.0.0: 2", "providers:a.C::blue 1", "providers:a.B:1.0.0: 2"];
        let changed = [parts[1].clone(), parts[2].clone(), parts[0].clone()];
        assert_eq!(of(spellings.changed(&changed, &services, &none)), expected);
        // A part that cannot be read holds its whole back, and no other.
        let services = services.into_iter().filter(|(known, _)| *known != id(1)).collect();
        let wholes = spellings.changed(&[parts[1].clone(), parts[2].clone()], &services, &[id(1)].into());
        assert_eq!(of(wholes), ["providers:a.C::blue 1"]);
    }
}
