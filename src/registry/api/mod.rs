//! Services that people and programs write by Portolan's own API: for what no registry has. `registry::spawn` runs it.
//!
//! A [`Store`] holds what was written; admin writes to it, and the reading tells what it has. Stores outlive their readings, so
//! that another configuration forgets nothing, and are found by the name of their registry in [`super::Written`]. What was kept on
//! disk of such a registry is what was written before: there is nobody else who has it.

mod config;

#[cfg(test)]
mod tests;

pub use config::Config;

use super::{
    Adapter, Conventions, Feed, Store,
    outbox::{Closed, Outbox},
};
use crate::{
    model::{Protocol, Scope, Service, ServiceId, Text, Update},
    util::time::until,
};
use futures_util::future::BoxFuture;
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::Instant;

/// More changes than this are told as a list.
const MOST_CHANGES: usize = 64;

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

    /// Its own name is all that it is known by.
    fn identity(&self) -> String {
        "api".into()
    }

    fn is_written(&self) -> bool {
        true
    }

    fn read(&self, feed: Feed) -> BoxFuture<'static, Result<(), Text>> {
        let (store, limit) = (feed.written.open(&feed.registry), self.limits.services);
        Box::pin(async move {
            store.set_limit(limit);
            drop(tell(&store, Outbox::new(feed.updates)).await);
            Ok(())
        })
    }
}

/// Tells what the store has, from now on.
async fn tell(store: &Store, mut outbox: Outbox<Update>) -> Result<(), Closed> {
    let mut changed = store.changed();
    outbox.scopes(vec![scope()]).await?;
    let mut told: Option<BTreeMap<ServiceId, Arc<Service>>> = None;
    loop {
        changed.mark_unchanged();
        let (now, next) = store.services(Instant::now());
        match &told {
            None => list(&outbox, &now).await?,
            Some(before) => differences(&outbox, before, &now).await?,
        }
        told = Some(now);
        tokio::select! {
            changed = changed.changed() => changed.map_err(|_| Closed)?,
            () = until(next) => {}
            () = outbox.closed() => return Err(Closed),
        }
    }
}

async fn list(outbox: &Outbox<Update>, now: &BTreeMap<ServiceId, Arc<Service>>) -> Result<(), Closed> {
    let services = now.values().cloned().collect();
    outbox.send(Update::Listed { scope: scope(), services, unreadable: Vec::new() }).await
}

async fn differences(
    outbox: &Outbox<Update>,
    before: &BTreeMap<ServiceId, Arc<Service>>,
    now: &BTreeMap<ServiceId, Arc<Service>>,
) -> Result<(), Closed> {
    let is_new = |id: &ServiceId, service: &Arc<Service>| before.get(id).is_none_or(|old| !Arc::ptr_eq(old, service));
    let applied: Vec<&Arc<Service>> = now.iter().filter(|(id, new)| is_new(id, new)).map(|(_, new)| new).collect();
    let removed: Vec<&ServiceId> = before.keys().filter(|id| !now.contains_key(*id)).collect();
    if applied.len() + removed.len() > MOST_CHANGES {
        return list(outbox, now).await;
    }
    for service in applied {
        outbox.send(Update::Applied(scope(), service.clone())).await?;
    }
    for id in removed {
        outbox.send(Update::Removed(scope(), id.clone())).await?;
    }
    Ok(())
}

/// Such a registry is one whole.
fn scope() -> Scope {
    Scope(Text::default())
}
