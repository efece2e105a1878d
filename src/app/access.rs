//! Who sees which view: the rules of scopes, and what tells proxies apart, between the protocol and the views.

use super::presence::Presence;
use crate::{
    model::{Locality, Text},
    resource::{Dialect, Readiness},
    scope::{self, Client, Grant, Rules, Scope, Scopes},
    views::{Class, Part, Selection, Set, ViewKey, Wanted},
    xds,
};
use std::{
    any::Any,
    sync::{Arc, PoisonError, RwLock},
};
use tokio::sync::watch;

/// Gives each client the view that the rules in force give it.
#[derive(Debug)]
pub(super) struct Access {
    views: Set,
    /// Locked while somebody subscribes, so that nobody is given a view by rules that others have replaced.
    scopes: RwLock<Scopes>,
    /// Who is connected, where somebody asks for that.
    pub(super) presence: Presence,
}

impl Access {
    pub(super) fn new(views: Set, rules: Rules) -> Access {
        let scopes = RwLock::new(Scopes::new(rules, &Scopes::default()));
        Access { views, scopes, presence: Presence::default() }
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
        self.views.access_changed();
    }

    /// Counts a client among the callers of its cluster, for as long as what this returns lives. One without an id is each
    /// time another.
    fn enter(&self, cluster: Text, client: &xds::Subscriber<'_>) -> Arc<dyn Any + Send + Sync> {
        let id = match client.node.id.as_str() {
            "" => client.peer.to_string().into(),
            id => Text::from(id),
        };
        Arc::new(self.presence.enter(cluster, locality(client.node), id))
    }
}

impl xds::Views for Access {
    fn subscribe(&self, client: &xds::Subscriber<'_>) -> Result<xds::Subscription, xds::Refused> {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        let xds::Subscriber { node, peer, listener, identity, dialect } = *client;
        let asking = Client { node, address: peer.ip(), listener, identity, dialect };
        let grant = scopes.grant(&asking);
        let Grant { scope, mut why } = grant.map_err(|unknown| xds::Refused::NotAllowed(unknown.to_string()))?;
        let part = part(scope.as_deref(), scopes.rules(), client)?;
        if let Some(wanted) = &part.wanted {
            why.push_str(&declares(wanted));
        }
        let held = part.wanted.as_ref().map_or(0, |wanted| wanted.cost());
        let name = scope.as_ref().map(|scope| (&*scope.name).into());
        let class = Class { proxy: scope::class(&asking, &self.views.classes()).map(Arc::new) };
        let key = ViewKey { dialect, scope: name, class };
        let generations = self.views.subscribe(&key, &scope.as_ref().map(selection).unwrap_or_default(), &part);
        let generations = generations.map_err(|full| xds::Refused::NoRoom(full.to_string()))?;
        let held = xds::Held { own: held, shared: 0 };
        let kept = part.own.map(|cluster| self.enter(cluster, client));
        Ok(xds::Subscription { view: key.to_string().into(), why: why.into(), generations, held, kept })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.views.access()
    }

    fn readiness(&self) -> watch::Receiver<Readiness> {
        self.views.readiness(Dialect::Envoy)
    }
}

/// What a client gets of what its scope has.
fn part(scope: Option<&Scope>, rules: &Rules, client: &xds::Subscriber<'_>) -> Result<Part, xds::Refused> {
    let node = client.node;
    let wanted = match scope.and_then(|scope| scope.declared.as_ref()) {
        Some(declared) => declared.read(&node.metadata).map_err(|wrong| xds::Refused::Malformed(wrong.to_string()))?,
        None => None,
    };
    let locality = Some(locality(node)).filter(|locality| rules.near && !locality.is_empty());
    let named = rules.own_cluster && !node.cluster.is_empty() && !node.cut;
    Ok(Part {
        wanted: wanted.map(Arc::new),
        locality: locality.filter(|_| client.dialect != Dialect::Istio),
        own: (named && client.dialect == Dialect::Envoy).then(|| node.cluster.as_str().into()),
    })
}

/// Where a client says that it runs.
fn locality(node: &xds::Node) -> Locality {
    let [region, zone, sub_zone] = node.locality.each_ref().map(|part| Text::from(part.as_str()));
    Locality::new(region, zone, sub_zone)
}

/// Of that, what people see beside the rule.
fn declares(wanted: &Wanted) -> String {
    let all = if wanted.has_all() { " and all others" } else { "" };
    format!("; declares {} services{all}", wanted.len())
}

/// The same selection as long as the scope is the same value.
fn selection(scope: &Arc<Scope>) -> Selection {
    Selection::by(scope.clone())
}
