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
//!
//! Nothing is sent but questions: GETs, a login's POST, the POST of waiting for a change of configuration, and gRPC.

mod api;
mod config;
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
    model::{Protocol, Text},
    util::error::chain,
};
use futures_util::future::BoxFuture;
use std::sync::Arc;
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

    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>> {
        Box::pin(run(self.clone(), feed))
    }
}

/// Reads the registry until nobody receives updates: its services, and its manifests where they are asked for. Neither
/// waits for the other.
///
/// # Errors
/// If no client can be made of the settings.
async fn run(config: Config, feed: Feed) -> Result<(), Text> {
    let Feed { registry, updates: out, manifests, metrics, .. } = feed;
    let client = Client::new(registry.clone(), &config, metrics.clone()).map_err(|error| chain(&error))?;
    let client = Arc::new(client);
    let services = services::run(registry.clone(), config.clone(), client.clone(), out, metrics.clone());
    let manifests = async move {
        if let (Some(meant), Some(out)) = (config.manifests.clone(), manifests) {
            manifests::run(registry, config, meant, client, out, metrics).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        () = services => Ok(()),
        () = manifests => Ok(()),
    }
}
