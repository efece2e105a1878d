//! ZooKeeper, watched or polled: the registry of Dubbo's interfaces, and of Spring Cloud through Curator.
//! `registry::spawn` runs it.
//!
//! A registry has one layout (`dubbo` or `spring`) and any number of roots; each root is a scope. All ways of noticing a
//! change lead to one way of reading (`read`), so that all have the same result; `tree` turns what was read into changes.
//! Nothing is ever written, and a session is never joined again once its connection is lost (`client`, and why in
//! `docs/adr/0007-zookeeper-is-read-again-after-every-loss.md`).

mod client;
mod config;
mod error;
mod layout;
mod read;
mod reader;
#[cfg(feature = "zk-tls")]
mod tls;
mod tree;
mod watch;

#[cfg(test)]
mod tests;

pub use config::{Config, Login, Mode};
pub use layout::Layout;

use super::{
    Adapter, Conventions, Feed,
    outbox::Outbox,
    rounds::{self, Pace},
};
use crate::model::{Protocol, Text};
use futures_util::future::BoxFuture;
use reader::Reader;
use std::time::Duration;

/// From the loss of a session that lasted to the next one; and, of one that failed early, to the first retry.
const RETRY: Duration = Duration::from_millis(200);
/// From one session that failed early to the next, at most.
const LAST_RETRY: Duration = Duration::from_secs(5);

impl Adapter for Config {
    fn name(&self) -> &'static str {
        "zookeeper"
    }

    /// ZooKeeper gives each list whole.
    fn conventions(&self) -> Conventions {
        let (host, protocol) = match self.layout {
            Layout::Dubbo => ("{label:interface}.{label:group}.{label:version}.dubbo", Protocol::Dubbo),
            Layout::Spring => ("{service}.zookeeper", Protocol::Http),
        };
        Conventions { host, protocol, absent_lists: 1 }
    }

    fn address(&self) -> String {
        format!("{}{}", self.servers.join(","), self.chroot)
    }

    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>> {
        let Feed { registry, updates, metrics, .. } = feed;
        let mut reader = Reader::new(registry, self.clone(), Outbox::new(updates), metrics);
        Box::pin(async move {
            rounds::run(&mut reader, Pace::new(RETRY, RETRY, LAST_RETRY)).await;
            Ok(())
        })
    }
}
