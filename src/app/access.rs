//! Who sees which view: the rules of scopes between the protocol and the views.

use crate::{
    resource::{Dialect, Readiness},
    scope::{Client, Grant, Rules, Scope, Scopes},
    views::{Selection, Set, ViewKey},
    xds,
};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// Gives each client the view that the rules in force give it.
#[derive(Debug)]
pub(super) struct Access {
    views: Set,
    /// Locked while somebody subscribes, so that nobody is given a view by rules that others have replaced.
    scopes: RwLock<Scopes>,
    changed: watch::Sender<u64>,
}

impl Access {
    pub(super) fn new(views: Set, rules: Rules) -> Access {
        let scopes = RwLock::new(Scopes::new(rules, &Scopes::default()));
        Access { views, scopes, changed: watch::Sender::new(0) }
    }

    /// From now on these rules hold, also for streams that are open.
    pub(super) fn configure(&self, rules: Rules) {
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        if *scopes.rules() == rules {
            return;
        }
        *scopes = Scopes::new(rules, &scopes);
        self.views.select(|key| {
            let name = key.scope.as_deref()?;
            scopes.all().find(|scope| *scope.name == *name).map(selection)
        });
        drop(scopes);
        self.changed.send_modify(|number| *number += 1);
    }
}

impl xds::Views for Access {
    fn subscribe(&self, client: &xds::Subscriber<'_>) -> Result<xds::Subscription, xds::Refused> {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        let xds::Subscriber { node, peer, dialect, .. } = *client;
        let grant = scopes.grant(&Client { node, address: peer.ip().to_canonical(), dialect });
        let Grant { scope, why } = grant.map_err(|unknown| xds::Refused::NotAllowed(unknown.to_string()))?;
        let name = scope.as_ref().map(|scope| (&*scope.name).into());
        let key = ViewKey { scope: name, ..ViewKey::whole(dialect) };
        let generations = self.views.subscribe(&key, &scope.as_ref().map(selection).unwrap_or_default());
        let generations = generations.map_err(|full| xds::Refused::NoRoom(full.to_string()))?;
        Ok(xds::Subscription { view: key.to_string().into(), why: why.into(), generations })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn readiness(&self) -> watch::Receiver<Readiness> {
        self.views.readiness(Dialect::Envoy)
    }
}

/// The same selection as long as the scope is the same value.
fn selection(scope: &Arc<Scope>) -> Selection {
    Selection::by(scope.clone())
}
