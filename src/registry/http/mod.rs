//! A list of services from a server by HTTP: a catalogue in Portolan's own form, Prometheus' HTTP service discovery, or
//! any JSON whose fields a few paths name. `registry::spawn` runs it.
//!
//! A round asks one address once, and the others in their order where it fails: they are replicas that give the same. The
//! registry is one scope, and is told whole or not at all; what is wrong with a single service costs that one only. Nothing
//! but GETs is sent, and no redirect is followed.

mod config;
mod error;
mod mapped;
mod prometheus;
mod reader;

#[cfg(test)]
mod tests;

pub use config::{Config, Form, Mapping, Path, source};

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
        "http"
    }

    fn conventions(&self) -> Conventions {
        let host = "{service}.{group}.{namespace}.http";
        Conventions { host, protocol: Protocol::Http, absent_lists: 1, local_addresses: true }
    }

    fn address(&self) -> String {
        self.urls.iter().map(|url| crate::util::redact::address(url.as_str())).collect::<Vec<_>>().join(" ")
    }

    fn identity(&self) -> String {
        // A query is a part of what is read, and may be a secret: of it there is a hash.
        let hashed = |url: &reqwest::Url| match url.query() {
            Some(query) => format!(
                "{}?{:x}",
                crate::util::redact::address(url.as_str()),
                xxhash_rust::xxh3::xxh3_64(query.as_bytes())
            ),
            None => url.to_string(),
        };
        let mut urls: Vec<String> = self.urls.iter().map(hashed).collect();
        urls.sort();
        format!("http {} {:?}", urls.join(" "), self.form)
    }

    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>> {
        Box::pin(run(self.clone(), feed))
    }
}

/// Reads the list until nobody receives its updates.
///
/// # Errors
/// If no HTTP client can be made of the settings.
async fn run(config: Config, feed: Feed) -> Result<(), Text> {
    let Feed { registry, updates: out, metrics, .. } = feed;
    let period = config.period;
    let mut reader = Reader::new(registry, config, Outbox::new(out), metrics).map_err(|error| chain(&error))?;
    rounds::run(&mut reader, Pace::new(period, FIRST_RETRY, period.max(FIRST_RETRY))).await;
    Ok(())
}
