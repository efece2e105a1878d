//! Names of DNS as services: SRV records, or addresses at a port that the configuration says. `registry::spawn` runs it.
//!
//! Each name is looked up when its answer has become old, within bounds. One that cannot be looked up keeps its last good
//! instances; an answer that there is no such name is an answer, and leaves it without any.

mod config;
mod lookup;
mod reader;

#[cfg(test)]
mod tests;

pub use config::{Asked, Config, Name};

use super::{
    Adapter, Conventions, Feed,
    outbox::Outbox,
    rounds::{self, Pace},
};
use crate::model::{Protocol, Text};
use futures_util::future::BoxFuture;
use reader::Reader;

impl Adapter for Config {
    fn name(&self) -> &'static str {
        "dns"
    }

    fn conventions(&self) -> Conventions {
        Conventions { host: "{service}.dns", protocol: Protocol::Http, absent_lists: 1, local_addresses: true }
    }

    fn address(&self) -> String {
        self.names.iter().map(|name| name.name.to_string()).collect::<Vec<_>>().join(" ")
    }

    fn identity(&self) -> String {
        let mut names: Vec<String> = self.names.iter().map(|name| format!("{name:?}")).collect();
        names.sort();
        let mut servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        servers.sort();
        format!("dns {} {}", names.join(" "), servers.join(" "))
    }

    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>> {
        let config = self.clone();
        Box::pin(async move {
            let Feed { registry, updates: out, metrics, .. } = feed;
            let pace = Pace::new(config.ttl.1, config.ttl.0, config.ttl.1);
            let mut reader = Reader::new(registry, config, Outbox::new(out), metrics)?;
            rounds::run(&mut reader, pace).await;
            Ok(())
        })
    }
}
