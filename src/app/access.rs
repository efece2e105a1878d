//! Gives each xDS client its view: by the rules of scopes, its class of proxies, and the rollout.

use super::{presence::Presence, rollout::Refusals};
use crate::{
    calls,
    model::{Locality, Text},
    resource::{Dialect, Kind, Readiness},
    scope::{self, Called, Client, Grant, Rules, Scope, Scopes, Share},
    views::{Class, Part, Selection, Set, ViewKey, Wanted},
    xds,
};
use std::{
    any::Any,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

/// The shortest time between two changes of the call model that clients follow.
const SETTLE: Duration = Duration::from_secs(1);

/// Gives each client the view that the rules in force allow.
#[derive(Debug)]
pub(super) struct Access {
    views: Set,
    calls: calls::Handle,
    /// Read-locked during a subscription, so that no client gets a view by rules that were replaced meanwhile.
    in_force: RwLock<InForce>,
    /// The nodes that refuse resources made with the settings that are rolled out.
    pub(super) refusals: Refusals,
    /// The callers that are connected, for views with an own cluster.
    pub(super) presence: Presence,
}

/// The rules by which clients get views.
#[derive(Debug)]
struct InForce {
    scopes: Scopes,
    /// The share of nodes that see views with the next output settings of a rollout.
    share: Share,
}

impl Access {
    pub(super) fn new(views: Set, calls: calls::Handle, rules: Rules) -> Access {
        let scopes = Scopes::new(rules, &Scopes::default());
        let in_force = RwLock::new(InForce { scopes, share: Share::NONE });
        Access { views, calls, in_force, refusals: Refusals::default(), presence: Presence::default() }
    }

    /// Sets the share of nodes that see views with the next settings, also on open streams.
    pub(super) fn share(&self, share: Share) {
        let before = std::mem::replace(&mut self.write().share, share);
        if before != share {
            self.views.access_changed();
        }
    }

    /// Whether any node may see views with the next settings.
    pub(super) fn is_shared(&self) -> bool {
        self.read().share != Share::NONE
    }

    /// Lowers the share of nodes that see views with the next settings, if it is larger.
    pub(super) fn share_at_most(&self, share: Share) {
        let now = self.read().share;
        self.share(now.min(share));
    }

    fn read(&self) -> RwLockReadGuard<'_, InForce> {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, InForce> {
        self.in_force.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the rules of scopes, also for open streams.
    pub(super) fn configure(&self, rules: Rules) {
        let mut in_force = self.write();
        if *in_force.scopes.rules() == rules {
            return;
        }
        in_force.scopes = Scopes::new(rules, &in_force.scopes);
        self.views.select(|key| {
            let name = key.scope.as_deref()?;
            in_force.scopes.all().find(|scope| *scope.name == *name).map(selection)
        });
        drop(in_force);
        self.views.access_changed();
    }

    /// When the call model changes, clients whose scopes use it get their views anew: at once, and then each second at
    /// most.
    pub(super) async fn follow_calls(self: Arc<Self>, stop: CancellationToken) {
        let mut models = self.calls.subscribe();
        let mut known = self.calls.load();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = models.changed() => if changed.is_err() { return stop.cancelled().await },
            }
            let model = models.borrow_and_update().clone();
            if !known.is_needed_as(&model) && self.goes_by_calls() {
                self.views.access_changed();
            }
            known = model;
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(SETTLE) => {}
            }
        }
    }

    fn goes_by_calls(&self) -> bool {
        self.read().scopes.all().any(|scope| scope.calls.is_some())
    }

    /// Counts a client among the callers of its cluster until the result is dropped. A client without `node.id` is
    /// known by its address, so each connection counts.
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
        let in_force = self.read();
        let InForce { scopes, share } = &*in_force;
        let xds::Subscriber { node, peer, listener, identity, dialect } = *client;
        let asking = Client { node, address: peer.ip(), listener, identity, dialect };
        let grant = scopes.grant(&asking);
        let Grant { scope, mut why } = grant.map_err(|unknown| xds::Refused::NotAllowed(unknown.to_string()))?;
        let mut part = part(scope.as_deref(), scopes.rules(), client)?;
        if let Some(wanted) = &part.wanted {
            why.push_str(&declares(wanted));
        }
        if let Some(called) = self.called(scope.as_deref(), node)? {
            why.push_str(&format!("; {}", called.why));
            part.wanted = called.wanted.map(Arc::new);
        }
        let held = part.wanted.as_ref().map_or(0, |wanted| wanted.cost());
        let name = scope.as_ref().map(|scope| (&*scope.name).into());
        let next = share.has(node.id.as_str());
        if next {
            why.push_str(&format!("; one of {share} of nodes that have the settings which are rolled out"));
        }
        let class = Class { proxy: scope::class(&asking, &self.views.classes(next)).map(Arc::new), next };
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

    fn refused(&self, view: &str, node: &str, kind: Kind, message: &str) {
        if is_next(view) {
            self.refusals.add(node, kind, message);
        }
    }

    fn readiness(&self) -> watch::Receiver<Readiness> {
        self.views.readiness(Dialect::Envoy)
    }
}

/// Whether this is the key of a view with the next settings of a rollout.
pub(super) fn is_next(view: &str) -> bool {
    view.parse::<ViewKey>().is_ok_and(|key| key.class.next)
}

impl Access {
    /// The services that a client's application needs, from the call model. `None`: its scope does not use that.
    fn called(&self, scope: Option<&Scope>, node: &xds::Node) -> Result<Option<Called>, xds::Refused> {
        let Some(callers) = scope.and_then(|scope| scope.calls.as_ref()) else { return Ok(None) };
        let model = self.calls.load();
        // Too much for a moment rather than too little: a client that knew Portolan before it was restarted keeps what it has.
        if !model.is_complete() {
            return Ok(Some(Called { wanted: None, why: "the call model is not read yet".into() }));
        }
        let called = callers.of(node, |application| model.names(application));
        called.map(Some).map_err(|unknown| xds::Refused::NotAllowed(unknown.to_string()))
    }
}

/// The part of its scope that a client gets: by declared services, its locality and its own cluster.
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

/// The locality that a client sends in its node.
fn locality(node: &xds::Node) -> Locality {
    let [region, zone, sub_zone] = node.locality.each_ref().map(|part| Text::from(part.as_str()));
    Locality::new(region, zone, sub_zone)
}

/// The end of the text that says why a client has its view.
fn declares(wanted: &Wanted) -> String {
    let all = if wanted.has_all() { " and all others" } else { "" };
    format!("; declares {} services{all}", wanted.len())
}

/// The selection of a scope; equal as long as the scope is the same `Arc`.
fn selection(scope: &Arc<Scope>) -> Selection {
    Selection::by(scope.clone())
}
