//! Istio's resources, decoded from the envelopes in which manifests keep them.

use crate::{
    model::Text,
    pb::{google::protobuf::Any, istio::mcp::v1alpha1::Resource as Envelope},
    resource::{Name, Resource},
};
use prost::Message;
use std::{cmp::Ordering, fmt};

/// Namespace and name of a resource. Ordered as Istio orders resources of the same age: by name, then by namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id {
    /// `metadata.namespace`; empty only in names that have no `/`.
    pub namespace: Text,
    /// Its `metadata.name`, without the namespace.
    pub name: Text,
}

impl Id {
    /// Takes both as they are; nothing is checked.
    pub fn new(namespace: &str, name: &str) -> Self {
        Id { namespace: namespace.into(), name: name.into() }
    }

    /// Reads `namespace/name`.
    pub(super) fn of(name: &str) -> Self {
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        Id::new(namespace, name)
    }

    pub(super) fn full(&self) -> Name {
        self.to_string().into()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.name, &self.namespace).cmp(&(&other.name, &other.namespace))
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One of Istio's resources; `T` is the message of its kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object<T> {
    pub(super) id: Id,
    /// `creationTimestamp`, in seconds since 1970. Of two resources the older goes first.
    pub(super) created: i64,
    pub(super) spec: T,
}

impl<T> Object<T> {
    /// The sort key by which Istio decides which of two resources goes first.
    pub(super) fn order(&self) -> (i64, &Id) {
        (self.created, &self.id)
    }

    pub(super) fn with<S>(&self, spec: S) -> Object<S> {
        Object { id: self.id.clone(), created: self.created, spec }
    }
}

impl<T: Message + Default> Object<T> {
    /// Reads the resource. `None`: it is no such message, which those who read manifests rule out.
    pub(super) fn read(resource: &Resource) -> Option<Self> {
        let envelope = Envelope::decode(resource.body()).ok()?;
        let Any { value, .. } = envelope.body?;
        let metadata = envelope.metadata?;
        let created = metadata.create_time.map_or(0, |time| time.seconds);
        Some(Object { id: Id::of(&metadata.name), created, spec: T::decode(value).ok()? })
    }
}
