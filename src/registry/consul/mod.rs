//! Consul, read over its HTTP API by blocking queries. `registry::spawn` runs it.
//!
//! Each datacenter is a scope, read by a `Reader` of its own: one that is not reached fails alone. Nothing but GETs is sent.

mod changes;
mod client;
mod config;
mod convert;
mod error;
mod index;
mod look;
mod reader;
mod services;
mod watch;
mod wire;

#[cfg(test)]
mod tests;

pub use config::{AddressOf, Config, Consistency, Rules, Server, Serves, server};

use super::{
    Adapter, Conventions, Feed, chain,
    outbox::Outbox,
    rounds::{self, Pace},
};
use crate::model::{Protocol, Text};
use client::{Client, Place};
use futures_util::future::{BoxFuture, select_all};
use reader::Reader;
use std::sync::Arc;
use watch::{FIRST_RETRY, LAST_RETRY};

impl Adapter for Config {
    fn name(&self) -> &'static str {
        "consul"
    }

    /// Without configured datacenters the namespace is empty, so the host of `web` is `web.consul`.
    fn conventions(&self) -> Conventions {
        let host = "{service}.{group}.{namespace}.consul";
        Conventions { host, protocol: Protocol::Http, absent_lists: 1, local_addresses: false }
    }

    fn address(&self) -> String {
        self.servers.iter().map(|server| server.to_string()).collect::<Vec<_>>().join(" ")
    }

    fn identity(&self) -> String {
        let mut servers: Vec<String> = self.servers.iter().map(|server| server.to_string()).collect();
        servers.sort();
        let Config { datacenters, namespace, partition, peer, rules, .. } = self;
        format!("consul {} {datacenters:?} {namespace:?} {partition:?} {peer:?} {rules:?}", servers.join(" "))
    }

    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>> {
        Box::pin(run(self.clone(), feed))
    }
}

impl Config {
    fn places(&self) -> Vec<Place> {
        let Config { namespace, partition, peer, .. } = self.clone();
        let place = |datacenter| Place {
            datacenter,
            namespace: namespace.clone(),
            partition: partition.clone(),
            peer: peer.clone(),
        };
        match self.datacenters.is_empty() {
            true => vec![place(None)],
            false => self.datacenters.iter().cloned().map(Some).map(place).collect(),
        }
    }
}

/// Reads the registry until nobody receives its updates.
///
/// # Errors
/// If no HTTP client can be made of the settings.
async fn run(config: Config, feed: Feed) -> Result<(), Text> {
    let Feed { registry, updates: out, metrics, .. } = feed;
    let client = Client::new(registry.clone(), &config, metrics.clone()).map_err(|error| chain(&error))?;
    let (client, places) = (Arc::new(client), config.places());
    let mut outbox = Outbox::new(out.clone());
    if outbox.scopes(places.iter().map(Place::scope).collect()).await.is_err() {
        return Ok(());
    }
    let readings = places.into_iter().map(|place| {
        let outbox = Outbox::new(out.clone()).hiding(client.redactor());
        let mut reader = Reader::new(registry.clone(), &config, place, client.clone(), outbox, metrics.clone());
        let pace = Pace::new(config.resync, FIRST_RETRY, LAST_RETRY);
        Box::pin(async move { rounds::run(&mut reader, pace).await })
    });
    select_all(readings).await;
    Ok(())
}
