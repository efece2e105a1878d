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
    granted: RwLock<Granted>,
    changed: watch::Sender<u64>,
}

/// The rules in force, and the selection of each scope: the same value as long as the scope is.
#[derive(Debug, Default)]
struct Granted {
    scopes: Scopes,
    selections: Vec<(Arc<Scope>, Selection)>,
}

impl Granted {
    fn new(rules: Rules, before: &Granted) -> Granted {
        let scopes = Scopes::new(rules, &before.scopes);
        let selection = |scope: &Arc<Scope>| {
            let same = before.selections.iter().find(|(known, _)| Arc::ptr_eq(known, scope));
            same.map_or_else(|| Selection::by(scope.clone()), |(_, selection)| selection.clone())
        };
        let selections = scopes.all().map(|scope| (scope.clone(), selection(scope))).collect();
        Granted { scopes, selections }
    }

    /// What a scope of that name selects.
    fn selection(&self, name: &str) -> Option<&Selection> {
        self.selections.iter().find(|(scope, _)| *scope.name == *name).map(|(_, selection)| selection)
    }
}

impl Access {
    pub(super) fn new(views: Set, rules: Rules) -> Access {
        let granted = RwLock::new(Granted::new(rules, &Granted::default()));
        Access { views, granted, changed: watch::Sender::new(0) }
    }

    /// From now on these rules hold, also for streams that are open.
    pub(super) fn configure(&self, rules: Rules) {
        let mut granted = self.granted.write().unwrap_or_else(PoisonError::into_inner);
        if *granted.scopes.rules() == rules {
            return;
        }
        *granted = Granted::new(rules, &granted);
        self.views.select(|key| granted.selection(key.scope.as_deref()?).cloned());
        drop(granted);
        self.changed.send_modify(|number| *number += 1);
    }
}

impl xds::Views for Access {
    fn subscribe(&self, client: &xds::Subscriber<'_>) -> Result<xds::Subscription, xds::Refused> {
        let granted = self.granted.read().unwrap_or_else(PoisonError::into_inner);
        let xds::Subscriber { node, peer, dialect, .. } = *client;
        let grant = granted.scopes.grant(&Client { node, address: peer.ip().to_canonical(), dialect });
        let Grant { scope, why } = grant.map_err(|unknown| xds::Refused::NotAllowed(unknown.to_string()))?;
        let key = ViewKey { dialect, scope: scope.as_ref().map(|scope| (&*scope.name).into()) };
        let selection = scope.and_then(|scope| granted.selection(&scope.name)).cloned().unwrap_or_default();
        let generations = self.views.subscribe(&key, &selection);
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
