//! The kinds of registries, in one table.
//!
//! A new kind is a folder whose `Config` implements [`Adapter`], a variant of [`Kind`] with its line in [`Kind::adapter`],
//! and a row in [`KINDS`]. Everything else (configuration, `check`, the start of its reading, its name in the log and in
//! metrics) follows from these.

use super::{Metrics, Update, eureka, file, nacos, zookeeper};
use crate::{
    model::{Protocol, Text},
    registry::ManifestUpdate,
    util::yaml::Section,
};
use futures_util::future::BoxFuture;
use std::{fmt, net::SocketAddr};
use tokio::sync::mpsc;

/// What a registry is, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Nacos servers.
    Nacos(nacos::Config),
    /// Eureka servers.
    Eureka(eureka::Config),
    /// ZooKeeper servers.
    Zookeeper(zookeeper::Config),
    /// Catalogue files, or the built-in example.
    File(file::Config),
}

/// Reads the section of a kind.
pub type ReadKind = fn(&mut Section<'_>) -> Option<Kind>;

/// Each key that says of which kind a registry is, with the reader of its section.
pub const KINDS: [(&str, ReadKind); 5] = [
    ("nacos", |section| nacos::Config::read(section).map(Kind::Nacos)),
    ("eureka", |section| eureka::Config::read(section).map(Kind::Eureka)),
    ("zookeeper", |section| zookeeper::Config::read(section).map(Kind::Zookeeper)),
    ("file", |section| file::Config::read(section).map(Kind::File)),
    ("example", |_| Some(Kind::File(file::Config::example()))),
];

/// What a kind of registry brings. Implemented by the `Config` of each folder.
pub trait Adapter: fmt::Debug {
    /// The word in configuration, logs, metrics and admin.
    fn name(&self) -> &'static str;

    /// What holds for its services where the configuration says nothing else.
    fn conventions(&self) -> Conventions;

    /// Where it reads, for people. Holds no secret.
    fn address(&self) -> String;

    /// Istio's namespace of manifests that name none, if this registry keeps manifests.
    fn manifest_namespace(&self) -> Option<Text> {
        None
    }

    /// Reads until `feed.updates` is closed.
    ///
    /// # Errors
    /// If reading cannot go on, such as for want of a TLS library. It is started again.
    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>>;
}

/// What a kind's users take for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conventions {
    /// The template of hosts. Empty parts vanish together with their dot.
    pub host: &'static str,
    /// What instances speak that do not say.
    pub protocol: Protocol,
    /// How many lists in a row must lack a service before it is gone: 1 where a list is whole or an error.
    pub absent_lists: u32,
    /// Whether loopback and link-local addresses are published: whoever writes a catalogue by hand knows what they mean.
    pub local_addresses: bool,
}

/// Where a reading sends what it reads.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The registry's name.
    pub registry: Text,
    /// For services. When it is full, the reading waits.
    pub updates: mpsc::Sender<Update>,
    /// For manifests, if somebody wants them.
    pub manifests: Option<mpsc::Sender<ManifestUpdate>>,
    /// Where requests and restarts are counted.
    pub metrics: Metrics,
}

impl Kind {
    /// What its kind brings.
    pub fn adapter(&self) -> &dyn Adapter {
        match self {
            Kind::Nacos(config) => config,
            Kind::Eureka(config) => config,
            Kind::Zookeeper(config) => config,
            Kind::File(config) => config,
        }
    }

    /// The word in configuration, logs, metrics and admin.
    pub fn name(&self) -> &'static str {
        self.adapter().name()
    }

    /// Whether it is the built-in example.
    pub fn is_example(&self) -> bool {
        matches!(self, Kind::File(file::Config { source: file::Source::Example(_), .. }))
    }

    /// The same with the address at which admin listens, which the built-in example serves as one of its instances.
    pub fn with_admin(self, admin: SocketAddr) -> Self {
        if self.is_example() { Kind::File(file::Config::new(file::Source::Example(admin))) } else { self }
    }
}
