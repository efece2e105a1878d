//! What of one type waits for another, so that nothing names what the client has not got: clusters are made before routes
//! that name them, and broken after.
//!
//! - Listeners and routes that change wait for a change of clusters or assignments that waits itself, and for what is new: a
//!   cluster is none for Envoy until its assignment came, and Envoy asks for that only when it has the cluster. So the routes go out
//!   behind the assignments that it asks for then, at the latest after the patience.
//! - Clusters that are gone, and their assignments, are removed once all listeners and routes that change were sent. An answer
//!   of state of the world that has new clusters in it has the gone ones, too: what it lacks would be removed.
//!
//! A client that follows neither listeners nor routes waits for nothing. What is asked for goes out at once.

use super::{Session, State, subscription::Subscription};
use crate::resource::{Kind, Name, Resource, Variant, ViewGeneration};
use std::sync::Arc;
use tokio::time::Instant;

/// The kinds whose resources name clusters.
const REFERRERS: [Kind; 2] = [Kind::Listener, Kind::Route];

impl Session {
    /// Forgets newcomers that have come, are gone, or took too long.
    pub(super) fn welcome(&mut self, now: Instant) {
        let clusters = &self.subscriptions[Kind::Cluster as usize];
        let endpoints = &self.subscriptions[Kind::Endpoint as usize];
        self.newcomers.welcome(|name| clusters.sent.contains_key(name), |name| endpoints.wants(name), now);
    }

    /// Notes clusters that are sent now and were not before.
    pub(super) fn note_newcomers<'a>(&mut self, new: impl Iterator<Item = &'a Arc<Resource>>, now: Instant) {
        let endpoints = &self.subscriptions[Kind::Endpoint as usize];
        if endpoints.state != State::Open || !REFERRERS.into_iter().any(|kind| self.has_asked(kind)) {
            return;
        }
        let named = new.filter_map(|cluster| Some((cluster.name().clone(), cluster.refers_to()?.clone())));
        self.newcomers
            .note(named.filter(|(_, assignment)| !endpoints.wants(assignment)), now + self.rules.ack_patience);
    }

    /// When what waits for newcomers alone goes out.
    pub(super) fn newcomers_due(&self) -> Option<Instant> {
        let waits = REFERRERS.into_iter().any(|kind| self.subscriptions[kind as usize].held_back);
        self.newcomers.until().filter(|_| waits)
    }

    /// Whether changes of that type wait for clusters.
    pub(super) fn waits_for_clusters(&self, kind: Kind) -> bool {
        let wait = || [Kind::Cluster, Kind::Endpoint].into_iter().any(|of| self.subscriptions[of as usize].held_back);
        REFERRERS.contains(&kind) && (self.newcomers.until().is_some() || wait())
    }

    /// Whether nothing of that type is removed now. `keeps`: no cluster is.
    pub(super) fn keeps(&self, kind: Kind, keeps: bool) -> bool {
        match kind {
            Kind::Cluster => keeps,
            Kind::Endpoint => keeps || self.subscriptions[Kind::Cluster as usize].held_back,
            _ => false,
        }
    }

    /// Whether the client has listeners or routes that are not what they will be.
    pub(super) fn is_referred_to(&self, view: &ViewGeneration) -> bool {
        REFERRERS.into_iter().any(|kind| {
            let subscription = &self.subscriptions[kind as usize];
            subscription.state == State::Open && !subscription.sent.ptr_eq(view.get(kind).versions())
        })
    }

    /// The view with the clusters that it has no more and the client still has, where an answer that lacks them would remove
    /// them.
    pub(super) fn keep_clusters(&self, view: &ViewGeneration) -> Option<ViewGeneration> {
        let clusters = &self.subscriptions[Kind::Cluster as usize];
        if self.variant != Variant::Sotw || clusters.state != State::Open {
            return None;
        }
        let generation = view.get(Kind::Cluster);
        let changes = generation.changes_since(&clusters.sent);
        let gone = changes.filter(|(name, now)| now.is_none() && clusters.wants(name)).map(|(name, _)| name);
        let body = |name: &Name| clusters.body(name, *clusters.sent.get(name)?);
        let bodies = gone.filter_map(|name| Some((name.clone(), Some(body(name)?))));
        let kept: Vec<(Name, Option<Arc<Resource>>)> = bodies.collect();
        (!kept.is_empty()).then(|| view.clone().with(Kind::Cluster, Arc::new(generation.with(kept))))
    }
}

impl Subscription {
    /// The body of a name at the version that the client has, out of the answers that are kept; `None`: none has it.
    fn body(&self, name: &str, version: u64) -> Option<Arc<Resource>> {
        let all = self.answers.bodies().chain(&self.accepted);
        all.filter_map(|bodies| bodies.get(name)).find(|body| body.version() == version).cloned()
    }
}
