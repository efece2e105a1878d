//! What follows from a refusal: who is meant is withheld from this stream, and the rest goes on.
//!
//! Who is meant the client's words say, or a search by halves ([`super::refusal`]). What was in the refused answer beside it
//! goes out again, at the next turn if none is left: of such an answer some clients take the good part, others nothing. Of a
//! client's type only that is withheld which it refuses at just that version: another version, or a release, ends it.

use super::{
    Session, State,
    refusal::{
        Refusal,
        answers::Answer,
        blame,
        later::Later,
        search::{Finding, Suspect},
        withheld::Entry,
    },
    subscription::Subscription,
};
use crate::{
    resource::{Generation, Kind, Name, Resource, Variant, ViewGeneration},
    xds::{
        event::Event,
        request::error_text,
        unwanted::{Filter, Found, Item, Unwanted},
    },
};
use std::sync::Arc;
use tokio::time::Instant;

/// Bytes of a refusal's words that are read. Envoy's may name many.
const READ: usize = 16 << 10;
/// In place of a version: the client may have something of that name. No content has this hash, as far as anybody knows.
const UNSURE: u64 = 0;

impl Session {
    /// Whether anything is withheld.
    pub fn withholds(&self) -> bool {
        self.withholds
    }

    /// From now on these are not sent to the client, unless it has them.
    pub fn withhold(&mut self, unwanted: Arc<[Unwanted]>) {
        self.unwanted = unwanted;
    }

    /// The client is sent again what it has refused.
    pub fn release(&mut self, filter: &Filter) {
        for kind in Kind::ENVOY {
            let subscription = &mut self.subscriptions[kind as usize];
            let Some(refusal) = &mut subscription.refusal else { continue };
            let meant = refusal.withheld.iter().filter(|(name, _)| filter.fits(kind, name));
            let meant: Vec<Name> = meant.map(|(name, _)| name.clone()).collect();
            let finding = refusal.search.forget(|(name, _)| !meant.iter().any(|of| of == name), self.last_nonce + 1);
            for name in meant {
                subscription.let_go(kind, &name, false, &mut self.events);
            }
            self.follow(kind, finding);
        }
    }

    /// The client has acknowledged an answer.
    pub(super) fn on_taken(&mut self, kind: Kind, nonce: u64) {
        let subscription = &mut self.subscriptions[kind as usize];
        let Some(answer) = subscription.answers.accept(nonce, self.variant) else { return };
        let began = answer.first_nonce();
        subscription.accepted = answer.bodies.or(subscription.accepted.take());
        if let Some(refusal) = &mut subscription.refusal {
            refusal.paid = false;
            if self.variant == Variant::Sotw && kind.whole_state() {
                refusal.later = Later::default(); // it was in this answer
            }
            let finding = refusal.search.accepted(began, self.last_nonce + 1);
            self.follow(kind, finding);
        }
    }

    /// The client refuses an answer, for that reason.
    pub(super) fn on_refused(&mut self, kind: Kind, nonce: u64, error: &[u8], view: &ViewGeneration, now: Instant) {
        let (next, whole) = (self.last_nonce + 1, self.variant == Variant::Sotw && kind.whole_state());
        let subscription = &mut self.subscriptions[kind as usize];
        let Some(answer) = subscription.answers.refuse(nonce, self.variant) else { return };
        if whole && subscription.accepted.is_none() && subscription.resumed.is_some() {
            return; // What it has from before is not known: to leave something out would remove it.
        }
        let (suspects, moved) = subscription.suspects(&answer, whole, view.get(kind));
        // What is withheld or not served any more may be why it was refused. Then the rest is tried once more before it is suspected.
        let explained = subscription.is_explained(&answer, whole);
        let others_meant = explained || moved;
        let Refusal { search, turns, paid, .. } = &mut **subscription.refusal.get_or_insert_default();
        let is_suspect = |name: &str| suspects.binary_search_by(|(of, _)| (**of).cmp(name)).is_ok();
        let words = error_text(error, READ);
        let named = blame::named(&words, is_suspect);
        let is_named = |(name, _): &Suspect| named.iter().any(|of| **of == **name);
        let (meant, mut rest): (Vec<Suspect>, Vec<Suspect>) = suspects.into_iter().partition(is_named);
        let again = std::mem::take(paid) || turns.take(now);
        let finding = match (meant.is_empty(), others_meant) {
            (false, _) => search.forget(|suspect| !is_named(suspect), next),
            (true, true) => Finding::default(),
            (true, false) if again || rest.len() == 1 => search.refused(rest.clone(), next),
            (true, false) => Finding::default(),
        };
        // Where a later answer has everything in it, the client will have that.
        let superseded = whole && explained && !subscription.answers.is_empty();
        if again && !superseded {
            search.try_again(next);
        }
        let given_up = if again { Vec::new() } else { search.give_up() };
        for suspect in meant {
            self.keep_back(kind, suspect, Some(&answer), Some(Found::Named));
        }
        for suspect in &finding.hold {
            self.keep_back(kind, suspect.clone(), None, None);
        }
        let guilty = finding.guilty.iter().filter(|suspect| rest.contains(suspect)).cloned().collect::<Vec<_>>();
        for suspect in guilty {
            self.keep_back(kind, suspect, Some(&answer), Some(Found::Searched));
        }
        self.follow(kind, Finding { guilty: [finding.guilty, given_up].concat(), ..finding });
        if superseded {
            return;
        }
        let subscription = &mut self.subscriptions[kind as usize];
        // Who is withheld by now waits for nothing.
        rest.retain(|(name, version)| subscription.sent.get(name) == Some(version));
        let removed = if whole { subscription.removed_by(&answer) } else { Vec::new() };
        subscription.refusal.get_or_insert_default().later.add(rest, removed);
        match again {
            true => subscription.make_unsure(),
            false => self.wait_for_turn(kind),
        }
    }

    /// What waits goes out again when there is a turn.
    fn wait_for_turn(&mut self, kind: Kind) {
        let refusal = self.subscriptions[kind as usize].refusal.as_ref().filter(|refusal| !refusal.later.is_empty());
        let next = refusal.and_then(|refusal| refusal.turns.next());
        self.again_at = self.again_at.into_iter().chain(next).min();
    }

    /// Sends again what has waited, of each type that has a turn by now.
    fn take_turns(&mut self, now: Instant) {
        self.again_at = None;
        for kind in Kind::ENVOY {
            let subscription = &mut self.subscriptions[kind as usize];
            let Some(refusal) = subscription.refusal.as_mut().filter(|refusal| !refusal.later.is_empty()) else {
                continue;
            };
            refusal.paid = refusal.turns.take(now);
            match refusal.paid {
                true => subscription.make_unsure(),
                false => self.wait_for_turn(kind),
            }
        }
    }

    /// Follows a finding of the search: who is guilty stays withheld, and what is to be sent is let go.
    fn follow(&mut self, kind: Kind, finding: Finding) {
        let subscription = &mut self.subscriptions[kind as usize];
        for (name, version) in finding.guilty {
            let Some(refusal) = &mut subscription.refusal else { continue };
            let withheld = &mut refusal.withheld;
            if !withheld.is_held(&name, version) {
                continue;
            }
            if withheld.has_room() && withheld.convict(&name, version, Found::Searched) {
                let instead = withheld.instead(&name);
                let item = Item { kind, name, version };
                self.events.push(Event::Withheld { item, found: Found::Searched, instead });
            } else {
                subscription.let_go(kind, &name, false, &mut self.events);
            }
        }
        for (name, version) in finding.send {
            let held = subscription.refusal.as_ref().is_some_and(|refusal| refusal.withheld.is_held(&name, version));
            if held {
                subscription.let_go(kind, &name, false, &mut self.events);
            }
        }
    }

    /// Withholds something. `refused`: in that answer the client has refused it, so that it has what it had before; else it
    /// may have it. `found`: `None` while a search lasts.
    fn keep_back(&mut self, kind: Kind, (name, version): Suspect, refused: Option<&Answer>, found: Option<Found>) {
        let whole = self.variant == Variant::Sotw && kind.whole_state();
        let subscription = &mut self.subscriptions[kind as usize];
        let instead = if whole { subscription.instead_of(&name, version) } else { None };
        let before = match refused {
            None => Some(UNSURE),
            Some(answer) => answer.before.get(&name).map(|before| if *before == version { UNSURE } else { *before }),
        };
        let refusal = subscription.refusal.get_or_insert_default();
        if found.is_some() && !refusal.withheld.has_room() {
            return;
        }
        let has = if whole { None } else { before };
        let entry = Entry { version, has, instead: instead.clone(), found };
        refusal.withheld.insert(name.clone(), entry);
        // What the client has, of what will be compared.
        let compared = match (whole, refused, &instead) {
            (false, ..) | (true, Some(_), None) => None,
            (true, Some(_), Some(body)) => Some(body.version()),
            (true, None, _) => Some(UNSURE),
        };
        match compared {
            Some(version) => drop(subscription.sent.insert(name.clone(), version)),
            None => drop(subscription.sent.remove(&name)),
        }
        self.withholds = true;
        if let Some(found) = found {
            self.events.push(Event::Withheld { item: Item { kind, name, version }, found, instead });
        }
    }

    /// The view as this stream is served it; `None`: as it is. Nearly always nothing is looked at.
    pub(super) fn lay(&mut self, view: &ViewGeneration, now: Instant) -> Option<ViewGeneration> {
        if self.again_at.is_some_and(|at| at <= now) {
            self.take_turns(now);
        }
        if !self.withholds && self.unwanted.is_empty() {
            return None;
        }
        self.keep_back_unwanted(view);
        let mut laid = None;
        self.withholds = false;
        for kind in Kind::ENVOY {
            self.look_through(kind, view);
            let subscription = &mut self.subscriptions[kind as usize];
            let Some(refusal) = subscription.refusal.as_mut().filter(|refusal| !refusal.withheld.is_empty()) else {
                continue;
            };
            self.withholds = true;
            let generation = refusal.withheld.lay(view.get(kind));
            laid = Some(laid.unwrap_or_else(|| view.clone()).with(kind, generation));
        }
        laid
    }

    /// Lets go what the view has no more at that version.
    fn look_through(&mut self, kind: Kind, view: &ViewGeneration) {
        let (generation, next) = (view.get(kind), self.last_nonce + 1);
        let whole = self.variant == Variant::Sotw && kind.whole_state();
        let subscription = &mut self.subscriptions[kind as usize];
        let (names, everything) = (subscription.names().clone(), subscription.everything);
        let Some(refusal) = subscription.refusal.as_mut().filter(|refusal| !refusal.withheld.is_empty()) else {
            return;
        };
        let wants = |name: &Name| everything || names.contains(name);
        refusal.withheld.drop_unwanted(wants);
        let mut gone = refusal.withheld.gone(generation);
        // Who wants it no more will not say whether it is meant.
        gone.extend(refusal.withheld.held().filter(|name| !wants(name)).cloned());
        let is_left = |(name, version): &Suspect| wants(name) && generation.versions().get(name) == Some(version);
        let finding = refusal.search.forget(is_left, next);
        for name in gone {
            let kept = subscription.refusal.as_ref().is_some_and(|refusal| refusal.withheld.is_kept(&name));
            subscription.let_go(kind, &name, true, &mut self.events);
            // Who asked for it and has nothing of it is told what it is now, also that it is not there.
            if !whole && !kept && subscription.names().contains(&name) {
                subscription.resend.insert(name);
            }
        }
        self.follow(kind, finding);
    }

    /// Withholds what others refuse, where this client has not got it.
    fn keep_back_unwanted(&mut self, view: &ViewGeneration) {
        let all = self.unwanted.clone();
        for Unwanted { item, instead } in all.iter() {
            let Item { kind, name, version } = item;
            let whole = self.variant == Variant::Sotw && kind.whole_state();
            let subscription = &mut self.subscriptions[*kind as usize];
            let is_served = view.get(*kind).versions().get(name) == Some(version);
            let has_it = subscription.sent.get(name) == Some(version);
            let known = subscription.refusal.as_ref().is_some_and(|refusal| refusal.withheld.has(name, *version));
            if subscription.state == State::Unasked || !is_served || has_it || known {
                continue;
            }
            let has = subscription.sent.get(name).copied();
            let newest = subscription.accepted.as_ref().and_then(|accepted| accepted.get(name));
            let instead = newest.or(instead.as_ref()).filter(|body| whole && body.version() != *version).cloned();
            // To leave out what the client may have would remove it.
            if whole && instead.is_none() && (has.is_some() || subscription.resumed.is_some()) {
                continue;
            }
            let refusal = subscription.refusal.get_or_insert_default();
            if !refusal.withheld.has_room() {
                continue;
            }
            let found = Found::Shared;
            let entry =
                Entry { version: *version, has: has.filter(|_| !whole), instead: instead.clone(), found: Some(found) };
            refusal.withheld.insert(name.clone(), entry);
            if !whole {
                subscription.sent.remove(name);
            }
            self.withholds = true;
            self.events.push(Event::Withheld { item: item.clone(), found, instead });
        }
    }
}

impl Subscription {
    /// The resources of an answer that may be what was refused, sorted by name: those that the view still has and the
    /// client had not accepted before. Also true if there were others, which are not served any more.
    fn suspects(&self, answer: &Answer, whole: bool, generation: &Generation) -> (Vec<Suspect>, bool) {
        let accepted = self.accepted.as_ref().filter(|_| whole);
        let mut items = if whole { answer.all() } else { answer.items() };
        items.retain(|(name, version)| {
            let known = accepted.and_then(|accepted| accepted.get(name)).is_some_and(|of| of.version() == *version);
            let is_withheld = self.refusal.as_ref().is_some_and(|refusal| refusal.withheld.has(name, *version));
            !known && !is_withheld
        });
        let all = items.len();
        items.retain(|(name, version)| self.wants(name) && generation.versions().get(name) == Some(version));
        items.sort();
        let moved = items.len() < all;
        (items, moved)
    }

    /// The body that the client will have of a name in the place of that version: that of a later answer, which is on
    /// its way, or the one that it accepted last.
    fn instead_of(&self, name: &str, version: u64) -> Option<Arc<Resource>> {
        let another = |body: &&Arc<Resource>| body.version() != version;
        let accepted = || self.accepted.as_ref().and_then(|accepted| accepted.get(name)).filter(another);
        let Some(later) = self.answers.bodies().next() else { return accepted().cloned() };
        // One that has the same version in it will be refused, too.
        let of_later = later.get(name)?;
        if another(&of_later) { Some(of_later.clone()) } else { accepted().cloned() }
    }

    /// Whether something was in an answer that is withheld by now: then that is why it was refused.
    fn is_explained(&self, answer: &Answer, whole: bool) -> bool {
        let Some(refusal) = &self.refusal else { return false };
        let is_in = |name: &Name, version| {
            let was_sent = answer.has(name) || (whole && answer.is_for(name));
            answer.after.get(name) == Some(&version) && was_sent
        };
        refusal.withheld.iter().any(|(name, entry)| is_in(name, entry.version))
    }

    /// What waits to go out again the client may have, or what was before: it is sent, unless it has changed since.
    fn make_unsure(&mut self) {
        let Some(refusal) = &mut self.refusal else { return };
        let Later { sent, removed } = std::mem::take(&mut refusal.later);
        for (name, version) in sent {
            if self.sent.get(&name) == Some(&version) {
                self.sent.insert(name, UNSURE);
            }
        }
        for name in removed {
            if self.sent.get(&name).is_none() {
                self.sent.insert(name, UNSURE);
            }
        }
    }

    /// What the client has accepted and the answer did not have in it: that was to be removed.
    fn removed_by(&self, answer: &Answer) -> Vec<Name> {
        let Some(accepted) = &self.accepted else { return Vec::new() };
        let names = accepted.generation.versions().keys();
        let removed = names.filter(|name| accepted.get(name).is_some() && answer.after.get(*name).is_none());
        removed.cloned().collect()
    }

    /// Something is withheld no longer: it is compared again.
    fn let_go(&mut self, kind: Kind, name: &Name, outdated: bool, events: &mut Vec<Event>) {
        let Some(refusal) = &mut self.refusal else { return };
        let Some(Entry { version, has, found, .. }) = refusal.withheld.remove(name) else { return };
        if let Some(has) = has {
            self.sent.insert(name.clone(), has);
        }
        if found.is_some() {
            events.push(Event::Released { item: Item { kind, name: name.clone(), version }, outdated });
        }
    }
}
