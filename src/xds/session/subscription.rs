//! What a stream wants of one type, and what it was sent.

use super::refusal::{
    Refusal,
    answers::{Answers, Bodies},
};
use crate::resource::{Generation, Kind, Name, Resource, Variant, name_hash, version_hash};
use crate::xds::{
    budget::Held,
    event::Event,
    names::{Names, Versions},
};
use imbl::{OrdMap, OrdSet};
use std::{collections::BTreeSet, sync::Arc};
use tokio::time::Instant;

/// Bytes that a name costs beside its own in a set that no other stream has, about.
const OWN_NAME: usize = 64;
/// A set of so many names is not looked through.
const FEW: usize = 64;
/// Bytes that a name costs in a further set, about.
const ENTRY: usize = 32;

/// How far a type has come on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// No request of the type has come.
    #[default]
    Unasked,
    /// Asked, but the view was not ready to answer. What was asked is remembered.
    Held,
    /// Answered, and followed since.
    Open,
}

/// What a reconnecting client has, by its own word.
#[derive(Debug)]
pub(super) struct Resumed {
    /// Digest of the set of resources that it has; `None` if that is none of ours.
    pub(super) digest: Option<u64>,
    /// Incremental: the resources that it has, until it is answered. Shared with all who have the same.
    pub(super) has: Option<Arc<Versions>>,
    /// Names that it has stopped wanting before its first answer, and may have dropped.
    left: BTreeSet<Name>,
}

impl Resumed {
    /// A client that says that it has a set of this digest.
    pub(super) fn of(digest: Option<u64>) -> Self {
        Resumed { digest, has: None, left: BTreeSet::new() }
    }

    /// A client that also says which resources these are.
    pub(super) fn with(digest: Option<u64>, has: Arc<Versions>) -> Self {
        Resumed { has: Some(has), ..Resumed::of(digest) }
    }

    /// A name is not wanted any more.
    pub(super) fn leave(&mut self, name: &str) {
        if let Some((name, _)) = self.has.as_ref().and_then(|has| has.map.get_key_value(name)) {
            self.left.insert(name.clone());
            self.digest = None;
        }
    }

    /// Not everything is wanted any more.
    pub(super) fn leave_all(&mut self) {
        *self = Resumed::of(None);
    }

    /// Takes out what the client has and did not leave since, to be compared with the view.
    pub(super) fn take(&mut self) -> OrdMap<Name, u64> {
        let mut has = self.has.take().map(|has| has.map.clone()).unwrap_or_default();
        for name in std::mem::take(&mut self.left) {
            has.remove(&name);
        }
        has
    }
}

/// What a stream wants of one type, and what it was sent.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    pub(super) state: State,
    /// Type URL as the request spelled it; answers repeat it.
    pub(super) type_url: Arc<str>,
    /// Everything is wanted, whatever its name.
    pub(super) everything: bool,
    /// Names were given once, so that an empty list no longer means everything (S13).
    pub(super) named: bool,
    names: OrdSet<Name>,
    names_digest: u64,
    /// Bytes of the names that are in no list.
    own_bytes: usize,
    /// The list as it came last. It also keeps the shared set alive for the next client.
    list: Option<Arc<Names>>,
    pub(super) resumed: Option<Resumed>,
    /// Version of each resource as the client has it, of those it wants.
    pub(super) sent: OrdMap<Name, u64>,
    /// What was sent and is not answered.
    pub(super) answers: Answers,
    /// The resources that the client accepted last, kept for types of which it removes what an answer lacks: there the
    /// former body is sent in the place of a refused one.
    pub(super) accepted: Option<Bodies>,
    /// What came of its refusals; `None` until the first.
    pub(super) refusal: Option<Box<Refusal>>,
    /// What the client stopped wanting while an answer was on its way: it may want everything again before it has read
    /// that answer.
    left: OrdMap<Name, u64>,
    /// All that is wanted must be sent, whatever the client has.
    pub(super) whole: bool,
    /// These must be sent, whatever the client has: they were asked for, or their cluster was sent.
    pub(super) resend: BTreeSet<Name>,
    /// Asked for and missing, but absence proves nothing yet.
    pub(super) unreported: BTreeSet<Name>,
    /// How many of these there are when those no longer wanted are dropped.
    prune_at: usize,
    /// An answer was sent at that time and is not acknowledged.
    pub(super) in_flight: Option<Instant>,
    /// Something may have changed that waits for the answer in flight.
    pub(super) held_back: bool,
    pub(super) acknowledged: bool,
    nonces: (u64, u64),
    version: u64,
}

impl Subscription {
    pub(super) fn list(&self) -> Option<&Arc<Names>> {
        self.list.as_ref()
    }

    pub(super) fn names(&self) -> &OrdSet<Name> {
        &self.names
    }

    /// The names alone that it wants; `None`: everything.
    pub(super) fn only(&self) -> Option<OrdSet<Name>> {
        (!self.everything).then(|| self.names.clone())
    }

    pub(super) fn wants(&self, name: &Name) -> bool {
        self.everything || self.names.contains(name)
    }

    /// Whether it wants all that the generation has.
    pub(super) fn covers(&self, generation: &Generation) -> bool {
        self.everything || (self.names.len() == generation.len() && self.names_digest == generation.names_digest())
    }

    /// Whether nothing is to be sent, at a glance: it was not asked, or the client has all that there is.
    pub(super) fn is_settled(&self, generation: &Generation) -> bool {
        let asks = self.whole || !self.resend.is_empty() || !self.unreported.is_empty();
        match self.state {
            State::Unasked => true,
            State::Held => false,
            State::Open => !asks && self.sent.ptr_eq(generation.versions()),
        }
    }

    /// The resources of the generation that the client wants.
    pub(super) fn wanted(&self, generation: &Generation) -> Vec<Arc<Resource>> {
        match self.everything {
            true => generation.iter().cloned().collect(),
            false => self.names.iter().filter_map(|name| generation.get(name)).cloned().collect(),
        }
    }

    /// The names that the client subscribes to and the generation does not have.
    pub(super) fn missing(&self, generation: &Generation) -> Vec<Name> {
        match self.names_digest == generation.names_digest() && self.names.len() == generation.len() {
            true => Vec::new(),
            false => self.names.iter().filter(|name| generation.get(name).is_none()).cloned().collect(),
        }
    }

    /// Takes a whole list; returns the one before.
    pub(super) fn replace_names(&mut self, list: Option<Arc<Names>>) -> OrdSet<Name> {
        let (set, digest) = list.as_ref().map(|l| (l.set.clone(), l.digest)).unwrap_or_default();
        self.names_digest = digest;
        self.own_bytes = 0;
        self.list = list;
        std::mem::replace(&mut self.names, set)
    }

    /// Notes that the client may have dropped what it accepted and does not want any more.
    pub(super) fn narrow_accepted(&mut self) {
        if let Some(accepted) = &mut self.accepted {
            accepted.narrow(&self.names);
        }
        self.answers.narrow(&self.names);
    }

    pub(super) fn add_names(&mut self, list: &Arc<Names>) {
        if self.names.is_empty() {
            self.replace_names(Some(list.clone()));
            return;
        }
        for name in &list.set {
            if self.names.insert(name.clone()).is_none() {
                self.names_digest = self.names_digest.wrapping_add(name_hash(name.as_bytes()));
                self.own_bytes += OWN_NAME + name.len();
            }
        }
    }

    /// Drops a name; returns whether it was there. `covered`: a wildcard wants it still, so what was to be told of it remains.
    pub(super) fn remove_name(&mut self, name: &str, covered: bool) -> bool {
        // Removing what is not there would copy the path to it.
        let found = self.names.contains(name) && self.names.remove(name).is_some();
        if found {
            self.names_digest = self.names_digest.wrapping_sub(name_hash(name.as_bytes()));
            self.own_bytes = self.own_bytes.saturating_sub(OWN_NAME + name.len());
            if !covered {
                self.unreported.remove(name);
            }
            self.resend.remove(name);
        }
        found
    }

    /// A name is not wanted any more.
    pub(super) fn leave(&mut self, name: &str) {
        if self.in_flight.is_some()
            && let Some((name, version)) = self.sent.get_key_value(name)
        {
            self.left.insert(name.clone(), *version);
        }
    }

    /// Not everything is wanted any more.
    pub(super) fn leave_all(&mut self) {
        if self.in_flight.is_some() {
            self.left = std::mem::take(&mut self.left).union(self.sent.clone());
        }
    }

    /// What the client stopped wanting and the generation does not have: a client that wants everything again must be
    /// told.
    pub(super) fn left_and_gone(&mut self, generation: &Generation) -> impl Iterator<Item = Name> {
        let left = std::mem::take(&mut self.left);
        left.into_iter().map(|(name, _)| name).filter(|name| generation.get(name).is_none())
    }

    /// The client has read all that was sent.
    pub(super) fn read(&mut self) {
        self.in_flight = None;
        self.left = OrdMap::new();
    }

    /// Keeps names that are missing until absence is certain. Names that are no longer wanted are dropped each time
    /// that the set has doubled, so that a client that goes from name to name neither fills the memory nor pays
    /// for all names with each.
    pub(super) fn report_later(&mut self, missing: impl Iterator<Item = Name>) {
        self.unreported.extend(missing);
        if self.unreported.len() > self.prune_at.max(FEW) {
            let known = std::mem::take(&mut self.unreported);
            self.unreported = known.into_iter().filter(|name| self.wants(name)).collect();
            self.prune_at = 2 * self.unreported.len();
        }
    }

    /// Memory that it holds, about.
    pub(super) fn held(&self) -> Held {
        let list = self.list.as_ref().map_or(Held::default(), |list| Held::shared(list, list.cost()));
        let has = self.resumed.as_ref().and_then(|resumed| resumed.has.as_ref());
        let has = has.map_or(Held::default(), |has| Held::shared(has, has.cost()));
        let withheld = self.refusal.as_ref().map_or(0, |refusal| refusal.withheld.len());
        let later = self.refusal.as_ref().map_or(0, |refusal| refusal.later.len());
        let left = self.left.len() + self.resumed.as_ref().map_or(0, |resumed| resumed.left.len());
        let entries = self.unreported.len() + self.resend.len() + left + later + self.answers.entries() + 4 * withheld;
        list + has + Held { own: self.own_bytes + ENTRY * entries, shared: 0 }
    }

    /// Starts it, at its first request. Returns false for all others.
    pub(super) fn begin(&mut self, kind: Kind, type_url: &str) -> bool {
        if self.state != State::Unasked {
            return false;
        }
        self.state = State::Held;
        self.type_url = if type_url.is_empty() { kind.type_url() } else { type_url }.into();
        true
    }

    /// Whether the client has, from before, exactly what it would be sent.
    pub(super) fn is_current(&self, generation: &Generation) -> bool {
        let same = self.resumed.as_ref().and_then(|r| r.digest) == Some(generation.digest());
        same && self.covers(generation)
    }

    /// The version of the set that it is sent. A client that named some of it and later comes back for everything with
    /// that version has not everything: then the names are part of the version.
    pub(super) fn set_version(&self, kind: Kind, variant: Variant, generation: &Generation) -> u64 {
        match variant == Variant::Sotw && kind.whole_state() && !self.covers(generation) {
            true => version_hash(&self.names_digest.to_le_bytes(), generation.digest()),
            false => generation.digest(),
        }
    }

    pub(super) fn sent_message(&mut self, version: u64, nonce: u64, now: Instant) {
        let follows = !self.acknowledged && self.version == version && self.nonces.1 + 1 == nonce;
        self.nonces = (if follows { self.nonces.0 } else { nonce }, nonce);
        self.answers.sent(nonce);
        self.version = version;
        self.acknowledged = false;
        self.in_flight = Some(now);
    }

    pub(super) fn last_nonce(&self) -> u64 {
        self.nonces.1
    }

    /// The version of the answer with that nonce, if it is the last one or a part of it.
    pub(super) fn version_of(&self, nonce: u64) -> Option<u64> {
        (nonce != 0 && (self.nonces.0..=self.nonces.1).contains(&nonce)).then_some(self.version)
    }

    pub(super) fn event(&self, kind: Kind) -> Event {
        Event::Subscribed {
            kind,
            type_url: self.type_url.clone(),
            wildcard: self.everything,
            names: self.names.clone(),
        }
    }
}

/// Whether names that are asked for and missing are reported to the client: incremental as removed, state of the
/// world as an assignment without endpoints, and a route in both as an empty one. Other types of state of the world have no
/// way for it but a whole answer, and a secret with nothing in it would be refused.
pub(super) fn reports_missing(variant: Variant, kind: Kind) -> bool {
    variant == Variant::Delta || !(kind.whole_state() || kind == Kind::Secret)
}
