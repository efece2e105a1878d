//! Services that people and programs write by Portolan's own API: for what no registry has. `registry::spawn` runs it.
//!
//! A [`Store`] holds what was written; admin writes to it, and the reading tells what it has. Stores outlive their readings, so
//! that another configuration forgets nothing, not even one that lacks the registry until the catalog has forgotten it; they are
//! found by the name of their registry in [`super::Written`]. What was kept on disk of such a registry is what was written before:
//! there is nobody else who has it.

mod config;

#[cfg(test)]
mod tests;

pub use config::Config;

use super::{
    Adapter, Conventions, Feed, Store,
    outbox::{Changes, Closed, Outbox},
};
use crate::{
    model::{Protocol, Scope, Service, ServiceId, Text, Update},
    util::time::until,
};
use futures_util::future::BoxFuture;
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::Instant;

impl Adapter for Config {
    fn name(&self) -> &'static str {
        "api"
    }

    fn conventions(&self) -> Conventions {
        let host = "{service}.{group}.{namespace}.api";
        Conventions { host, protocol: Protocol::Http, absent_lists: 1, local_addresses: true }
    }

    fn address(&self) -> String {
        "/api/v1/services".into()
    }

    /// The same for every registry of this kind: what was kept belongs to the registry's name alone.
    fn identity(&self) -> String {
        "api".into()
    }

    fn is_written(&self) -> bool {
        true
    }

    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>> {
        let (store, limit) = (feed.written.of_reading(&feed.registry), self.limits.services);
        Box::pin(async move {
            store.set_limit(limit);
            drop(tell(&store, Outbox::new(feed.updates)).await);
            Ok(())
        })
    }
}

/// Sends the services of the store as a list, then each change, until nobody receives them any more.
async fn tell(store: &Store, mut outbox: Outbox<Update>) -> Result<(), Closed> {
    let mut changed = store.changed();
    outbox.scopes(vec![Scope::whole()]).await?;
    let mut told: Option<BTreeMap<ServiceId, Arc<Service>>> = None;
    loop {
        let number = *changed.borrow_and_update();
        let (now, next) = store.services(Instant::now());
        match &told {
            None => outbox.send(list(&now)).await?,
            Some(before) => outbox.changes(&Scope::whole(), Changes::between(before, &now), || list(&now)).await?,
        }
        told = Some(now);
        outbox.taken().await?;
        store.note_told(number);
        tokio::select! {
            changed = changed.changed() => changed.map_err(|_| Closed)?,
            () = until(next) => {}
            () = outbox.closed() => return Err(Closed),
        }
    }
}

fn list(now: &BTreeMap<ServiceId, Arc<Service>>) -> Update {
    Update::Listed { scope: Scope::whole(), services: now.values().cloned().collect(), unreadable: Vec::new() }
}
