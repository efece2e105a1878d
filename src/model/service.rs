//! One service, as its registry has it.

use super::{Endpoint, Fraction, Hostname, Labels, Locality, Port, Protocol, Text};
use std::{
    cmp::Ordering,
    collections::hash_map::RandomState,
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    ops::Deref,
    sync::{Arc, LazyLock},
};

/// What a registry calls a service. Orders by registry name first; ownership of hosts is decided elsewhere, by the
/// registry's place in the configuration. It is the key of a dozen maps: a clone is the same value, and its hash is reckoned once.
#[derive(Clone)]
pub struct ServiceId(Arc<Hashed>);

struct Hashed {
    hash: u64,
    parts: ServiceIdParts,
}

/// Random for each process, as in maps: who chooses names cannot choose hashes.
static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The parts of a [`ServiceId`], which can be read as its fields.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ServiceIdParts {
    /// The registry's name in the configuration.
    pub registry: Text,
    /// Namespace, datacentre or root; empty where the registry has none.
    pub namespace: Text,
    /// Group; empty where the registry has none.
    pub group: Text,
    /// The name in the registry, which need not be a possible host name.
    pub name: Text,
}

impl ServiceId {
    /// Its four parts, in the order in which they are shown; those that the registry does not have are empty.
    pub fn new(
        registry: impl Into<Text>,
        namespace: impl Into<Text>,
        group: impl Into<Text>,
        name: impl Into<Text>,
    ) -> Self {
        let (registry, namespace, group, name) = (registry.into(), namespace.into(), group.into(), name.into());
        let parts = ServiceIdParts { registry, namespace, group, name };
        ServiceId(Arc::new(Hashed { hash: HASHES.hash_one(&parts), parts }))
    }
}

impl PartialEq for ServiceId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.hash == other.0.hash && self.0.parts == other.0.parts)
    }
}

impl Eq for ServiceId {}

impl PartialOrd for ServiceId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ServiceId {
    fn cmp(&self, other: &Self) -> Ordering {
        // The first three are the same texts nearly always.
        let order = |a: &Text, b: &Text| if Arc::ptr_eq(a, b) { Ordering::Equal } else { a.cmp(b) };
        order(&self.registry, &other.registry)
            .then_with(|| order(&self.namespace, &other.namespace))
            .then_with(|| order(&self.group, &other.group))
            .then_with(|| order(&self.name, &other.name))
    }
}

impl Hash for ServiceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl Deref for ServiceId {
    type Target = ServiceIdParts;

    fn deref(&self) -> &ServiceIdParts {
        &self.0.parts
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.parts.fmt(f)
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServiceIdParts { registry, namespace, group, name } = &**self;
        f.write_str(registry)?;
        for part in [namespace, group, name].into_iter().filter(|p| !p.is_empty()) {
            write!(f, "/{part}")?;
        }
        Ok(())
    }
}

/// A port that a service is known by, where the registry itself tells (the catalogue file does).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeclaredPort {
    /// Its name; endpoints refer to it.
    pub name: Text,
    /// The number that clients ask for; instances may listen on others.
    pub number: Port,
    /// What its instances speak there.
    pub protocol: Protocol,
}

/// A service with all its instances, as its registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What its registry calls it.
    pub id: ServiceId,
    /// The host name, where the registry says it itself; else the naming template does.
    pub host: Option<Hostname>,
    /// The ports, where the registry says them itself; the first is the service's own.
    pub ports: Vec<DeclaredPort>,
    /// Metadata of the service itself; instances have their own.
    pub labels: Labels,
    /// The share of healthy instances at or below which all enabled ones count as healthy; `None`: no protection.
    /// (Nacos `protectThreshold`; its 0 still protects when nothing at all is healthy.)
    pub protect_threshold: Option<Fraction>,
    /// The registry has applied its protection already: the health in `endpoints` is not the true one.
    pub protected: bool,
    /// Every registered instance: disabled, unhealthy and weightless ones, too. Sorted, so that the same instances in
    /// any order make equal services.
    pub endpoints: Vec<Endpoint>,
    /// What was wrong in the registry's entry and was left out, for display.
    pub notes: Vec<super::Note>,
}

impl Service {
    /// A service of which only the name and the instances are known.
    pub fn new(id: ServiceId, mut endpoints: Vec<Endpoint>) -> Self {
        endpoints.sort();
        share_equals(&mut endpoints);
        Self::of_shared(id, endpoints)
    }

    /// As [`Service::new`], for instances that share equal labels and localities already.
    pub fn of_shared(id: ServiceId, mut endpoints: Vec<Endpoint>) -> Self {
        endpoints.sort();
        Service {
            id,
            host: None,
            ports: Vec::new(),
            labels: Labels::new(),
            protect_threshold: None,
            protected: false,
            endpoints,
            notes: Vec::new(),
        }
    }
}

/// Instances of a service differ in a handful of sets of labels, if at all.
const LABEL_SETS: usize = 8;

/// Keeps equal labels and localities once.
fn share_equals(endpoints: &mut [Endpoint]) {
    let (mut sets, mut last): (Vec<Labels>, Locality) = Default::default();
    for Endpoint { labels, locality, .. } in endpoints {
        locality.share(&last);
        last.clone_from(locality);
        let known = sets.iter().any(|set| labels.share(set));
        if !known && sets.len() < LABEL_SETS {
            sets.push(labels.clone());
        }
    }
}
