//! Eureka, by Spring Cloud or Netflix, read over HTTP. `registry::spawn` runs it.
//!
//! A round asks one server once: for what has changed, or for everything. One that fails is followed by the next; those of
//! the own zone go first. The registry is one scope: it is sent whole or not at all. Nothing but GETs is sent.
//!
//! **Whom to believe.** A server's answer is made anew every 30 s (stock), and lists instances until their lease is over or,
//! in self-preservation, for as long as too many are silent: that judgement is the server's, and is followed. What it no
//! longer lists is judged by the catalog; what it says in a delta to be deleted is gone.

mod apps;
mod client;
mod config;
mod convert;
mod error;
mod reader;
mod trust;
mod wire;

#[cfg(test)]
mod tests;

pub use super::transport::Login;
pub use config::{AddressError, AddressOf, Config, Server};

use super::{
    Adapter, Conventions, Feed, chain,
    outbox::Outbox,
    rounds::{self, Pace},
};
use crate::model::{Protocol, Text};
use futures_util::future::BoxFuture;
use reader::Reader;
use std::time::Duration;

/// The first retry of a round that failed comes after this time at most.
const FIRST_RETRY: Duration = Duration::from_millis(500);

impl Adapter for Config {
    fn name(&self) -> &'static str {
        "eureka"
    }

    fn conventions(&self) -> Conventions {
        Conventions { host: "{service}.eureka", protocol: Protocol::Http, absent_lists: 2, local_addresses: false }
    }

    fn address(&self) -> String {
        self.servers.iter().map(|server| server.url.to_string()).collect::<Vec<_>>().join(" ")
    }

    fn identity(&self) -> String {
        let mut servers: Vec<String> = self.servers.iter().map(|server| server.url.to_string()).collect();
        servers.sort();
        format!("eureka {}", servers.join(" "))
    }

    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>> {
        Box::pin(run(self.clone(), feed))
    }
}

/// Reads the registry until nobody receives its updates.
///
/// # Errors
/// If no HTTP client can be made of the settings.
async fn run(config: Config, feed: Feed) -> Result<(), Text> {
    let Feed { registry, updates: out, metrics, .. } = feed;
    let period = config.period.max(Config::MIN_PERIOD);
    let mut reader = Reader::new(registry, config, Outbox::new(out), metrics).map_err(|error| chain(&error))?;
    rounds::run(&mut reader, Pace::new(period, FIRST_RETRY, period)).await;
    Ok(())
}
