//! Nacos 1.x, 2.x and 3.x: its services, and the manifests in its configuration. `registry::spawn` runs it.
//!
//! The rooms, from the bottom up; each uses only those above it in this list:
//!
//! | room | what it is |
//! |---|---|
//! | `config`, `name`, `error` | settings; how Nacos names things; the one error type |
//! | `identity` | whom we ask, as whom: servers, login, signature |
//! | `transport` | requests and answers by HTTP and gRPC |
//! | `api` | the interfaces: paths, pages, JSON forms, namespaces |
//! | `subscribe` | what the server pushes about services |
//! | `services` | reads services, by lists and when they are pushed |
//! | `manifests` | reads the configuration's texts |
//! | `consumers` | reads who calls whom |
//!
//! Nothing is sent but questions: GETs, a login's POST, the POST of waiting for a change of configuration, and gRPC.

mod api;
mod config;
mod consumers;
mod error;
mod identity;
mod manifests;
mod name;
mod services;
mod subscribe;
mod transport;

#[cfg(test)]
mod tests;

pub use super::transport::Login;
pub use config::{AccessKey, AddressError, Config, Manifests, Mode, Namespaces};

use super::{Adapter, Conventions, Feed};
use crate::{
    model::{ManifestUpdate, Protocol, Text},
    util::error::chain,
};
use futures_util::future::BoxFuture;
use manifests::Meant;
use std::sync::Arc;
use tokio::sync::mpsc;
use transport::Client;

impl Adapter for Config {
    fn name(&self) -> &'static str {
        "nacos"
    }

    fn conventions(&self) -> Conventions {
        Conventions {
            host: "{service}.{group}.{namespace}.nacos",
            protocol: Protocol::Http,
            absent_lists: 2,
            local_addresses: false,
        }
    }

    fn address(&self) -> String {
        let named = self.servers.iter().chain(&self.address_server).map(ToString::to_string);
        named.collect::<Vec<_>>().join(" ")
    }

    fn identity(&self) -> String {
        let mut servers: Vec<String> =
            self.servers.iter().chain(&self.address_server).map(ToString::to_string).collect();
        servers.sort();
        let namespaces = match &self.namespaces {
            Namespaces::All => "*".to_owned(),
            Namespaces::Named(names) => format!("{names:?}"),
        };
        format!("nacos {} namespaces {namespaces} groups {:?}", servers.join(" "), self.groups)
    }

    fn manifest_namespace(&self) -> Option<Text> {
        self.manifests.as_ref().map(|manifests| manifests.namespace.clone())
    }

    fn reads_consumers(&self) -> bool {
        self.consumers
    }

    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>> {
        Box::pin(run(self.clone(), feed))
    }
}

/// The most updates about rules that wait for the reading of services.
const RULES: usize = 16;

/// Reads the registry until nobody receives updates: its services, and its manifests and Dubbo's rules where they are asked
/// for. Only at the start services wait for rules.
///
/// # Errors
/// If no client can be made of the settings.
async fn run(config: Config, feed: Feed) -> Result<(), Text> {
    let Feed { registry, updates: out, manifests, calls, metrics, .. } = feed;
    let client = Client::new(registry.clone(), &config, metrics.clone()).map_err(|error| chain(&error))?;
    let client = Arc::new(client);
    let consumers = {
        let (registry, config, client) = (registry.clone(), config.clone(), client.clone());
        async move {
            if let (true, Some(calls)) = (config.consumers, calls) {
                consumers::run(registry, config, client, calls).await;
            }
            std::future::pending::<()>().await
        }
    };
    let texts = |meant: Option<Meant>, out: Option<mpsc::Sender<ManifestUpdate>>| {
        let (registry, config, client, metrics) = (registry.clone(), config.clone(), client.clone(), metrics.clone());
        async move {
            if let (Some(meant), Some(out)) = (meant, out) {
                manifests::run(registry, config, meant, client, out, metrics).await;
            }
            std::future::pending::<()>().await
        }
    };
    let (to_services, rules) = config.reads_rules().then(|| mpsc::channel(RULES)).unzip();
    let rules_read = texts(Some(Meant::rules()), to_services);
    let manifests_read = texts(config.manifests.as_ref().map(Meant::manifests), manifests);
    let services = services::run(registry.clone(), config.clone(), client.clone(), out, rules, metrics.clone());
    tokio::select! {
        () = services => Ok(()),
        () = manifests_read => Ok(()),
        () = rules_read => Ok(()),
        () = consumers => Ok(()),
    }
}
