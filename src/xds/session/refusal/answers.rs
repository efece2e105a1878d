//! The answers of a type that the client has not answered yet: what a refusal may be about.
//!
//! An answer is kept as the versions before it and after it, two persistent maps that share nearly everything with what the
//! stream has anyway: noting one costs nothing per resource.

use crate::resource::{Generation, Name, Resource, Variant};
use imbl::{OrdMap, OrdSet, ordmap::DiffItem};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

/// So many answers are remembered. A client that is further behind refuses without effect.
const REMEMBERED: usize = 8;

/// The resources that a client had: all of a generation, or some.
#[derive(Debug)]
pub(in super::super) struct Bodies {
    pub(in super::super) generation: Arc<Generation>,
    /// The names that it had; `None`: all of the generation.
    pub(in super::super) only: Option<OrdSet<Name>>,
}

impl Bodies {
    pub(in super::super) fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.generation.get(name).filter(|_| self.only.as_ref().is_none_or(|only| only.contains(name)))
    }

    /// The client wants only these any more, and may drop the others.
    pub(in super::super) fn narrow(&mut self, names: &OrdSet<Name>) {
        self.only = Some(self.only.take().map_or_else(|| names.clone(), |only| only.intersection(names.clone())));
    }
}

/// One answer of a type: what one step has sent, in one or several messages.
#[derive(Debug, Default)]
pub(in super::super) struct Answer {
    /// Nonces of the first and the last of its messages.
    pub(in super::super) nonces: (u64, u64),
    /// The versions that the client had before, of all names, wanted or not.
    pub(in super::super) before: OrdMap<Name, u64>,
    /// The versions that the client has once it has taken the answer.
    pub(in super::super) after: OrdMap<Name, u64>,
    /// Names that were sent although their version did not change.
    pub(in super::super) asked: BTreeSet<Name>,
    /// Everything that is wanted was sent.
    pub(in super::super) whole: bool,
    /// What was wanted then; `None`: everything.
    pub(in super::super) only: Option<OrdSet<Name>>,
    /// The resources that it was made of; only for types of which a client removes what an answer lacks.
    pub(in super::super) bodies: Option<Bodies>,
}

impl Answer {
    pub(in super::super) fn first_nonce(&self) -> u64 {
        self.nonces.0
    }

    /// Whether that name was wanted.
    pub(in super::super) fn is_for(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(name))
    }

    /// Whether a resource of that name was sent in it.
    pub(in super::super) fn has(&self, name: &str) -> bool {
        let after = self.after.get(name);
        self.is_for(name)
            && after.is_some()
            && (self.whole || self.before.get(name) != after || self.asked.contains(name))
    }

    /// All that was wanted, with its versions.
    pub(in super::super) fn all(&self) -> Vec<(Name, u64)> {
        match &self.only {
            Some(only) => only.iter().filter_map(|name| self.with_version(name)).collect(),
            None => self.after.iter().map(|(name, version)| (name.clone(), *version)).collect(),
        }
    }

    fn with_version(&self, name: &Name) -> Option<(Name, u64)> {
        self.after.get(name).map(|version| (name.clone(), *version))
    }

    /// What was sent in it, with versions. Where each answer holds everything, changed or not, that is [`Answer::all`].
    pub(in super::super) fn items(&self) -> Vec<(Name, u64)> {
        if self.whole {
            return self.all();
        }
        let changed = self.before.diff(&self.after).filter_map(|item| match item {
            DiffItem::Add(name, version) | DiffItem::Update { new: (name, version), .. } => {
                Some((name.clone(), *version))
            }
            DiffItem::Remove(..) => None,
        });
        let mut all: Vec<_> = changed.collect();
        let more = self.asked.iter().filter(|name| self.before.get(*name) == self.after.get(*name));
        all.extend(more.filter_map(|name| self.with_version(name)));
        all.retain(|(name, _)| self.is_for(name));
        all
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(in super::super) struct Answers {
    /// The answer whose first message goes out next.
    prepared: Option<Answer>,
    open: VecDeque<Answer>,
}

impl Answers {
    /// The messages that go out from now on are this answer.
    pub(in super::super) fn prepare(&mut self, answer: Answer) {
        self.prepared = Some(answer);
    }

    /// The client wants only these any more: of an answer that is on its way, too, it may drop the others.
    pub(in super::super) fn narrow(&mut self, names: &OrdSet<Name>) {
        let all = self.open.iter_mut().chain(&mut self.prepared);
        all.filter_map(|answer| answer.bodies.as_mut()).for_each(|bodies| bodies.narrow(names));
    }

    /// Notes the nonce of a message that goes out, of the answer that was prepared last.
    pub(in super::super) fn sent(&mut self, nonce: u64) {
        match self.prepared.take() {
            Some(answer) => {
                if self.open.len() == REMEMBERED {
                    self.open.pop_front();
                }
                self.open.push_back(Answer { nonces: (nonce, nonce), ..answer });
            }
            None => {
                if let Some(last) = self.open.back_mut() {
                    last.nonces.1 = nonce;
                }
            }
        }
    }

    /// The client has taken an answer whole.
    pub(in super::super) fn accept(&mut self, nonce: u64, variant: Variant) -> Option<Answer> {
        let place = self.open.iter().position(|answer| answer.nonces.1 == nonce)?;
        self.take(place, variant)
    }

    /// The client has refused an answer, or a part of it. Once only.
    pub(in super::super) fn refuse(&mut self, nonce: u64, variant: Variant) -> Option<Answer> {
        let place = self.open.iter().position(|answer| (answer.nonces.0..=answer.nonces.1).contains(&nonce))?;
        self.take(place, variant)
    }

    /// Takes out the answer at a place. In state of the world those before it go, too: a client may answer the newest
    /// alone.
    fn take(&mut self, place: usize, variant: Variant) -> Option<Answer> {
        match variant {
            Variant::Sotw => self.open.drain(..=place).next_back(),
            Variant::Delta => self.open.remove(place),
        }
    }

    /// The resources of the answers that are on their way, the newest first.
    pub(in super::super) fn bodies(&self) -> impl Iterator<Item = &Bodies> {
        self.open.iter().rev().filter_map(|answer| answer.bodies.as_ref())
    }

    /// Whether none is on its way.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Entries of its sets, for the stream's account.
    pub(in super::super) fn entries(&self) -> usize {
        self.open.iter().map(|answer| answer.asked.len()).sum()
    }
}
