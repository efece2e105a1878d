//! Nacos 1.x, 2.x and 3.x, read by HTTP, or where that lists nothing by gRPC (`grpc`): by polling, or where the server pushes
//! (`push`), when it says that something has changed. `registry::spawn` runs it.
//!
//! A round: the namespaces, the interface (`api`; asked for at first, after the server was lost, and from time to time
//! lest a better one be missed), then each scope by itself:
//! a namespace where the server has a bulk list, a namespace's group where it has none. A scope that fails says so and
//! touches no other; nothing is ever sent for it but a whole list. Nothing but GETs is sent, a login's POST aside.
//!
//! **Health and protection, measured** on 2.3.2 and 3.1.0 with a threshold reached: the bulk lists (`v1/ns/catalog/services`,
//! `v3/admin/ns/service/list`) show the true health, and threshold 0.0 whatever is set, so it is read apart (`threshold`)
//! and the rule is the catalog's to apply. v1's and v2's `instance/list` show every instance healthy and say
//! `reachProtectionThreshold`; they leave out disabled instances.

mod api;
mod auth;
mod bulk;
mod client;
mod config;
mod convert;
mod each;
mod error;
mod grpc;
mod manifests;
mod namespaces;
mod paged;
mod push;
mod reader;
mod servers;
mod sign;
mod single;
mod threshold;
mod wire;

#[cfg(test)]
mod tests;

pub use super::transport::Login;
pub use config::{AccessKey, AddressError, Config, Manifests, Mode, Namespaces};

use super::{
    Adapter, Conventions, Feed,
    backoff::{Backoff, jittered},
    chain,
};
use crate::model::{Protocol, Text};
use futures_util::future::BoxFuture;
use reader::{Closed, Reader};
use std::time::Duration;

/// The id of the namespace that every server has.
const PUBLIC: &str = "public";
/// The group of services that name none.
const DEFAULT_GROUP: &str = "DEFAULT_GROUP";

impl Adapter for Config {
    fn name(&self) -> &'static str {
        "nacos"
    }

    fn conventions(&self) -> Conventions {
        Conventions { host: "{service}.{group}.{namespace}.nacos", protocol: Protocol::Http, absent_lists: 2 }
    }

    fn address(&self) -> String {
        let named = self.servers.iter().chain(&self.address_server).map(ToString::to_string);
        named.collect::<Vec<_>>().join(" ")
    }

    fn manifest_namespace(&self) -> Option<Text> {
        self.manifests.as_ref().map(|manifests| manifests.namespace.clone())
    }

    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>> {
        Box::pin(run(self.clone(), feed))
    }
}

/// Reads the registry until nobody listens: its services, and its manifests where they are asked for. Neither waits for
/// the other.
async fn run(config: Config, feed: Feed) -> Result<(), Text> {
    let Feed { registry, updates: out, manifests, metrics } = feed;
    let services =
        Reader::new(registry.clone(), config.clone(), out, metrics.clone()).map_err(|error| chain(&error))?;
    let client = services.client();
    let period = config.period.max(Config::MIN_PERIOD);
    let manifests = async move {
        if let (Some(meant), Some(out)) = (config.manifests.clone(), manifests) {
            manifests::run(registry, config, meant, client, out, metrics).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        () = read_services(services, period) => Ok(()),
        () = manifests => Ok(()),
    }
}

async fn read_services(mut reader: Reader, period: Duration) {
    let mut backoff = Backoff::new(Duration::from_millis(500), period);
    loop {
        let Ok(round) = reader.round().await else { return };
        let wait = if round.good {
            backoff.reset();
            jittered(period)
        } else {
            backoff.next()
        };
        if let Err(Closed) = reader.follow(&round, wait.max(round.asked_to_wait)).await {
            return;
        }
    }
}
