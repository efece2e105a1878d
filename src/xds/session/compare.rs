//! Compares what a stream was sent of a type with what is: the difference must be sent.

use super::{
    Session, State,
    refusal::answers::{Answer, Bodies},
    step::Step,
    subscription::{Resumed, Subscription, reports_missing},
};
use crate::{
    resource::{Generation, Kind, Name, Readiness, Resource, Variant, ViewGeneration},
    xds::response::Contents,
};
use imbl::OrdMap;
use std::{collections::BTreeSet, sync::Arc};
use tokio::time::Instant;

/// The difference, before it takes the form that variant and type want.
#[derive(Debug, Default)]
struct Difference {
    whole: bool,
    changed: Vec<Arc<Resource>>,
    removed: BTreeSet<Name>,
    /// Names that the client has asked for and the view does not have.
    missing: Vec<Name>,
    /// The client waits for an answer, even if there is nothing in it.
    expected: bool,
}

impl Session {
    /// Works out what must be sent of a type and notes it as sent. `None`: nothing, or not now. `keeps`: no cluster and no
    /// assignment is removed.
    pub(super) fn step(&mut self, kind: Kind, view: &ViewGeneration, keeps: bool, now: Instant) -> Option<Step> {
        let generation = view.get(kind);
        // What nothing makes is unknown, as what was not reported yet.
        let readiness = view.readiness_of(kind).unwrap_or(Readiness::Waiting);
        let complete = readiness == Readiness::Complete;
        let first = self.open(kind, readiness)?;
        let waits = self.waits_for_clusters(kind);
        let keeps = self.keeps(kind, keeps);
        let clusters = &self.subscriptions[Kind::Cluster as usize];
        let clusters_came_whole = clusters.state == State::Open && clusters.resumed.is_none();
        let subscription = &mut self.subscriptions[kind as usize];
        let report = complete && !subscription.unreported.is_empty();
        if !(first || report || subscription.whole || !subscription.resend.is_empty()) {
            if subscription.sent.ptr_eq(generation.versions()) {
                subscription.held_back = false;
                return None;
            }
            if waits || subscription.in_flight.is_some_and(|since| now < since + self.rules.ack_patience) {
                // What is kept is no reason to wait.
                subscription.held_back = !keeps || subscription.has_news(generation);
                return None;
            }
        }
        subscription.held_back = false;
        // Clusters that are new to a client which had none: whatever assignments it has, they wait for them.
        let all_new = first && kind == Kind::Endpoint && clusters_came_whole;
        subscription.whole |= all_new && subscription.resumed.is_some();
        let difference = match first {
            true => subscription.first_difference(kind, self.variant, generation, complete),
            false => Some(subscription.difference(generation)),
        };
        let only = subscription.only();
        let whole_state = self.variant == Variant::Sotw && kind.whole_state();
        let bodies = whole_state.then(|| Bodies { generation: generation.clone(), only: only.clone() });
        let Some(mut difference) = difference else {
            subscription.accepted = bodies;
            return None;
        };
        let keeps = keeps && !(first || whole_state || subscription.whole);
        let mut kept = if keeps { subscription.keep(&mut difference) } else { Vec::new() };
        let has = if first { subscription.sent.clone() } else { OrdMap::new() };
        let asked = subscription.resend.clone();
        subscription.add_asked(&mut difference, generation);
        if report {
            subscription.add_unreported(&mut difference, generation);
        }
        if let Some(refusal) = &subscription.refusal {
            difference.missing.retain(|name| !refusal.withheld.is_kept(name));
        }
        if matches!(kind, Kind::Route | Kind::Secret) {
            subscription.keep_routes(&mut difference, &has);
        }
        // What is asked for is told all the same.
        if !kept.is_empty() {
            let missing: BTreeSet<&Name> = difference.missing.iter().collect();
            kept.retain(|(name, _)| !missing.contains(name));
        }
        let (before, mut after) = (std::mem::take(&mut subscription.sent), generation.versions().clone());
        after.extend(kept);
        subscription.sent = after.clone();
        let whole = difference.whole;
        let answer = Answer { before, after, asked, whole, only, bodies, ..Answer::default() };
        if reports_missing(self.variant, kind) {
            match complete {
                true => difference.removed.extend(difference.missing.drain(..)),
                false => subscription.report_later(difference.missing.drain(..)),
            }
        } else {
            // What is absent from a whole answer is thereby reported as missing.
            difference.expected |= kind.whole_state() && !difference.missing.is_empty();
        }
        if kind == Kind::Cluster {
            self.warm(&difference, generation);
            if !first {
                let new = difference.changed.iter().filter(|cluster| !answer.before.contains_key(cluster.name()));
                self.note_newcomers(new, now);
            }
        }
        let subscription = &mut self.subscriptions[kind as usize];
        let step = difference.into_step(kind, self.variant, subscription, generation);
        if !step.is_empty() {
            subscription.answers.prepare(answer);
        }
        Some(step)
    }

    /// Whether this is a type's first answer; `None` if it must not be answered (yet).
    fn open(&mut self, kind: Kind, readiness: Readiness) -> Option<bool> {
        let subscription = &mut self.subscriptions[kind as usize];
        // Inside of a listener, or of a configuration of routes, absence is told: a host that is not known yet would be gone.
        let has_parts = matches!(kind, Kind::Listener | Kind::Route);
        let ready = match (readiness, self.variant) {
            (Readiness::Complete, _) => true,
            (Readiness::Partial, _) if has_parts => subscription.resumed.is_none(),
            (Readiness::Partial, Variant::Delta) => true,
            // A client that has something would remove what a whole answer lacks. Of other kinds absence removes nothing.
            (Readiness::Partial, Variant::Sotw) => subscription.resumed.is_none() || !kind.whole_state(),
            (Readiness::Waiting, _) => false,
        };
        match subscription.state {
            State::Open => Some(false),
            State::Held if ready => {
                subscription.state = State::Open;
                Some(true)
            }
            _ => None,
        }
    }

    /// What [`Warming`](super::warming::Warming) says goes out again, on a stream that follows assignments and no clusters.
    pub(super) fn warm_others(&mut self, view: &ViewGeneration, now: Instant) {
        let clusters = &self.subscriptions[Kind::Cluster as usize];
        let endpoints = &self.subscriptions[Kind::Endpoint as usize];
        if clusters.state != State::Unasked || endpoints.state != State::Open {
            return self.warming.forget();
        }
        self.warming.look(view.get(Kind::Cluster), |name| endpoints.wants(name), now);
        let due = self.warming.take_due(now);
        self.resend_assignments(due);
    }

    /// These go out again, where they are wanted.
    pub(super) fn resend_assignments(&mut self, names: impl IntoIterator<Item = Name>) {
        let endpoints = &mut self.subscriptions[Kind::Endpoint as usize];
        for name in names {
            if endpoints.wants(&name) {
                endpoints.resend.insert(name);
            }
        }
    }

    /// Envoy keeps a changed cluster warming until its assignment comes, and asks for one only when the cluster is new to
    /// it. So assignments that this stream subscribes to go out behind their cluster, changed or not (S14, D16).
    fn warm(&mut self, difference: &Difference, generation: &Generation) {
        let resumed = self.subscriptions[Kind::Cluster as usize].resumed.is_some();
        let endpoints = &mut self.subscriptions[Kind::Endpoint as usize];
        // A reconnecting client that is about to list the assignments that it has will need those of changed clusters again.
        let coming = endpoints.state != State::Open && resumed && self.variant == Variant::Delta;
        if endpoints.state != State::Open && !coming {
            return;
        }
        let mut add = |cluster: &Arc<Resource>| {
            if let Some(name) = cluster.refers_to().filter(|name| coming || endpoints.wants(name)) {
                endpoints.resend.insert(name.clone());
            }
        };
        match difference.whole {
            true => generation.iter().for_each(&mut add),
            false => difference.changed.iter().for_each(&mut add),
        }
    }
}

impl Subscription {
    /// The first answer; `None` if the client has all from before and expects none.
    fn first_difference(
        &mut self,
        kind: Kind,
        variant: Variant,
        generation: &Generation,
        complete: bool,
    ) -> Option<Difference> {
        let expected = self.everything;
        if variant == Variant::Sotw || self.resumed.is_none() {
            if variant == Variant::Sotw && self.everything && kind.whole_state() && self.is_current(generation) {
                self.sent = generation.versions().clone();
                return None; // S18
            }
            self.whole = true;
            return Some(Difference { expected, ..Difference::default() });
        }
        if self.is_current(generation) {
            self.sent = generation.versions().clone();
            let missing = self.missing(generation);
            return Some(Difference { expected, missing, ..Difference::default() });
        }
        self.sent = self.resumed.as_mut().map(Resumed::take).unwrap_or_default();
        if let Some(refusal) = &mut self.refusal {
            refusal.withheld.put_aside(|name| self.sent.remove(name));
        }
        let mut difference = Difference { expected, ..self.difference(generation) };
        difference.missing = self.missing(generation);
        if !complete {
            // Not a removal: what the client has may come yet.
            difference.missing.extend(std::mem::take(&mut difference.removed));
        }
        Some(difference)
    }

    /// The difference between what was sent and the generation, of what is wanted.
    fn difference(&self, generation: &Generation) -> Difference {
        let mut difference = Difference::default();
        for (name, resource) in generation.changes_since(&self.sent).filter(|(name, _)| self.wants(name)) {
            match resource {
                Some(resource) => difference.changed.push(resource.clone()),
                None => drop(difference.removed.insert(name.clone())),
            }
        }
        difference
    }

    /// Whether anything was added or changed. What is gone does not count.
    fn has_news(&self, generation: &Generation) -> bool {
        generation.changes_since(&self.sent).any(|(name, resource)| resource.is_some() && self.wants(name))
    }

    /// Takes out of the difference what would be removed, since the client keeps it for now. Returns it with the
    /// versions that the client has.
    fn keep(&self, difference: &mut Difference) -> Vec<(Name, u64)> {
        let kept = std::mem::take(&mut difference.removed).into_iter();
        kept.filter_map(|name| self.sent.get(&name).copied().map(|version| (name, version))).collect()
    }

    /// Adds what must be sent whatever the client has.
    fn add_asked(&mut self, difference: &mut Difference, generation: &Generation) {
        let mut resend = std::mem::take(&mut self.resend);
        if std::mem::take(&mut self.whole) {
            difference.whole = true;
            difference.changed.clear();
            difference.missing.extend(self.missing(generation));
            difference.removed.extend(self.left_and_gone(generation));
        } else {
            for resource in &difference.changed {
                resend.remove(resource.name());
            }
            for name in resend.into_iter().filter(|name| self.wants(name)) {
                match generation.get(&name) {
                    Some(resource) => difference.changed.push(resource.clone()),
                    None => difference.missing.push(name),
                }
            }
        }
    }

    /// Adds what was missing before absence was certain, and still is.
    fn add_unreported(&mut self, difference: &mut Difference, generation: &Generation) {
        let unreported = std::mem::take(&mut self.unreported);
        let gone = unreported.into_iter().filter(|name| self.wants(name) && generation.get(name).is_none());
        difference.missing.extend(gone);
    }

    /// Routes that are named are never reported as removed (D06): Envoy takes no notice, and where it waits for the first one
    /// (1.36, 1.40) it stops its timer as well, so that the listener never opens. One that was never there is answered
    /// empty. One that the client has stays as it is until its name is left: connections of a listener that is drained still use it.
    /// So do those of secrets.
    fn keep_routes(&mut self, difference: &mut Difference, has: &OrdMap<Name, u64>) {
        difference.missing.retain(|name| !has.contains_key(name) || !self.names().contains(name));
        let named: Vec<Name> = difference.removed.iter().filter(|name| self.names().contains(*name)).cloned().collect();
        for name in named {
            difference.removed.remove(&name);
            self.leave(&name);
        }
    }

    /// All that is wanted: shared blocks where that is all there is.
    fn contents(&self, generation: &Generation) -> Contents {
        match self.covers(generation) {
            true => Contents::Whole,
            false => Contents::Some(self.wanted(generation)),
        }
    }
}

impl Difference {
    fn into_step(self, kind: Kind, variant: Variant, subscription: &Subscription, generation: &Generation) -> Step {
        let Difference { whole, changed, removed, expected, .. } = self;
        if variant == Variant::Sotw && kind.whole_state() {
            // Removals show by absence: alone they can go last, together with additions they go with them.
            let now = whole || expected || !changed.is_empty();
            let contents = || Some(subscription.contents(generation));
            return match (now, removed.is_empty()) {
                (true, _) => Step { contents: contents(), ..Step::default() },
                (false, false) => Step { late: contents(), ..Step::default() },
                (false, true) => Step::default(),
            };
        }
        let removed = if reports_missing(variant, kind) { removed } else { BTreeSet::new() };
        let all = whole || (!changed.is_empty() && changed.len() == generation.len());
        let contents = if all { subscription.contents(generation) } else { Contents::Some(changed) };
        let wanted = !contents.is_empty(generation) || (expected && removed.is_empty());
        Step { contents: wanted.then_some(contents), late: None, removed }
    }
}
