//! ZooKeeper, watched or polled: the registry of Dubbo's interfaces, and of Spring Cloud through Curator.
//! `registry::spawn` runs it.
//!
//! A registry has one layout (`dubbo` or `spring`) and any number of roots; each root is a scope. All ways of noticing a
//! change lead to one way of reading (`read`), so that all have the same result; `tree` turns what was read into changes.
//! Where Dubbo's applications are read beside its interfaces, `levels` puts both together; `consumers` reads who calls whom.
//! Nothing is ever written, and a session is never joined again once its connection is lost (`client`, and why in
//! `docs/adr/0007-zookeeper-is-read-again-after-every-loss.md`).
//!
//! Without the feature `zookeeper` its section is still read, and the error says what the build lacks.

#[cfg(feature = "zookeeper")]
mod carrier;
#[cfg(feature = "zookeeper")]
mod client;
mod config;
#[cfg(feature = "zookeeper")]
mod consumers;
#[cfg(feature = "zookeeper")]
mod error;
#[cfg_attr(not(feature = "zookeeper"), expect(dead_code, reason = "nobody reads what it would convert"))]
mod layout;
#[cfg(feature = "zookeeper")]
mod levels;
#[cfg(feature = "zookeeper")]
mod read;
#[cfg(feature = "zookeeper")]
mod reader;
#[cfg(feature = "zookeeper")]
mod rules;
#[cfg(feature = "zookeeper")]
mod tls;
#[cfg(feature = "zookeeper")]
mod tree;
#[cfg(feature = "zookeeper")]
mod watch;

#[cfg(all(test, feature = "zookeeper"))]
mod tests;

pub use config::{Applications, Config, Login, Mode};
pub use layout::Layout;

use super::{Adapter, Conventions, Feed};
use crate::model::{Protocol, Text};
use futures_util::future::BoxFuture;

impl Adapter for Config {
    fn name(&self) -> &'static str {
        "zookeeper"
    }

    /// A list of children is whole or an error in ZooKeeper, so one list that lacks a service is enough.
    fn conventions(&self) -> Conventions {
        let (host, protocol) = match self.layout {
            // An application has no label of an interface.
            Layout::Dubbo if self.publishes_applications() => {
                ("{label:interface|{service}}.{label:group}.{label:version}.dubbo", Protocol::Dubbo)
            }
            Layout::Dubbo => ("{label:interface}.{label:group}.{label:version}.dubbo", Protocol::Dubbo),
            Layout::Spring | Layout::Applications => ("{service}.zookeeper", Protocol::Http),
        };
        Conventions { host, protocol, absent_lists: 1, local_addresses: false }
    }

    fn address(&self) -> String {
        format!("{}{}", self.servers.join(","), self.chroot)
    }

    fn identity(&self) -> String {
        let mut servers = self.servers.clone();
        servers.sort();
        let applications = self.applications.as_ref().map(|a| format!(" {}", a.root)).unwrap_or_default();
        let (layout, roots) = (self.layout.name(), &self.roots);
        format!("zookeeper {}{} {layout} {roots:?}{applications}", servers.join(","), self.chroot)
    }

    fn reads_consumers(&self) -> bool {
        self.consumers
    }

    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>> {
        #[cfg(feature = "zookeeper")]
        return Box::pin(reader::run(self.clone(), feed));
        // A configuration with it is refused; this is for a `Config` that comes from elsewhere.
        #[cfg(not(feature = "zookeeper"))]
        return Box::pin(async move {
            drop(feed);
            Err(config::LACKING.into())
        });
    }
}
