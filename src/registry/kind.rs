//! The kinds of registries, in one table.
//!
//! A new kind is a folder whose `Config` implements [`Adapter`], a variant of [`Kind`] with its line in [`Kind::adapter`],
//! and a row in [`KINDS`]. Its section of the configuration, `check`, the start of its reading, its name in the log and in
//! metrics follow from these; what presets make of it stands in `config/preset.rs`.

use super::{Adapter, api, consul, dns, eureka, file, http, nacos, zookeeper};
use crate::util::yaml::Section;
use std::net::SocketAddr;

/// What a registry is, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Nacos 1, 2 or 3, by HTTP and gRPC.
    Nacos(nacos::Config),
    /// Eureka, or another server with its v2 interface.
    Eureka(eureka::Config),
    /// Consul's catalogue, by blocking queries.
    Consul(consul::Config),
    /// ZooKeeper, with what Dubbo or Spring Cloud writes there.
    Zookeeper(zookeeper::Config),
    /// Any server that gives a list of services by HTTP.
    Http(http::Config),
    /// No server: clients write the services through Portolan's own API.
    Api(api::Config),
    /// DNS: each configured name is a service, whose records are its instances.
    Dns(dns::Config),
    /// Catalogue files, or the built-in example.
    File(file::Config),
}

/// Reads the section of one kind; `None` after it has reported what is wrong with it.
pub type ReadKind = fn(&mut Section<'_>) -> Option<Kind>;

/// Each key that says of which kind a registry is, with the reader of its section.
pub const KINDS: [(&str, ReadKind); 9] = [
    ("nacos", |section| nacos::Config::read(section).map(Kind::Nacos)),
    ("eureka", |section| eureka::Config::read(section).map(Kind::Eureka)),
    ("consul", |section| consul::Config::read(section).map(Kind::Consul)),
    ("zookeeper", |section| zookeeper::Config::read(section).map(Kind::Zookeeper)),
    ("http", |section| http::Config::read(section).map(Kind::Http)),
    ("api", |section| api::Config::read(section).map(Kind::Api)),
    ("dns", |section| dns::Config::read(section).map(Kind::Dns)),
    ("file", |section| file::Config::read(section).map(Kind::File)),
    ("example", |_| Some(Kind::File(file::Config::example()))),
];

impl Kind {
    /// The configuration of this kind as an [`Adapter`], by which it is started and described.
    pub fn adapter(&self) -> &dyn Adapter {
        match self {
            Kind::Nacos(config) => config,
            Kind::Eureka(config) => config,
            Kind::Consul(config) => config,
            Kind::Zookeeper(config) => config,
            Kind::Http(config) => config,
            Kind::Api(config) => config,
            Kind::Dns(config) => config,
            Kind::File(config) => config,
        }
    }

    /// The key of the kind in the configuration, such as `nacos`; also in logs, metrics and the admin API.
    pub fn name(&self) -> &'static str {
        self.adapter().name()
    }

    /// True for the built-in example, whatever address of admin it has.
    pub fn is_example(&self) -> bool {
        matches!(self, Kind::File(file::Config { source: file::Source::Example(_), .. }))
    }

    /// For the built-in example, the same with the address at which admin listens: the example serves it as one of its
    /// instances. Any other kind stays as it is.
    pub fn with_admin(self, admin: SocketAddr) -> Self {
        if self.is_example() { Kind::File(file::Config::new(file::Source::Example(admin))) } else { self }
    }
}
