//! What a group of clients sees at one moment: a generation of each kind, changed together.

use super::{Family, Generation, KINDS, Kind, Name, Readiness, Resource};
use std::sync::Arc;

/// How far the sources of each kind have reported. Who makes the resources of a kind decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KindReadiness([Option<Readiness>; KINDS]);

impl KindReadiness {
    /// The same readiness for these kinds; nothing makes the others.
    pub fn of(kinds: impl IntoIterator<Item = Kind>, readiness: Readiness) -> Self {
        kinds.into_iter().fold(Self::default(), |all, kind| all.and(kind, readiness))
    }

    /// The same with one source more for that kind: a kind is as ready as the least ready of its sources.
    #[must_use]
    pub fn and(mut self, kind: Kind, readiness: Readiness) -> Self {
        let of_kind = &mut self.0[kind as usize];
        *of_kind = Some(of_kind.map_or(readiness, |before| before.min(readiness)));
        self
    }

    /// How far the sources of that kind have reported; `None`: nothing makes it, and nothing ever will.
    pub fn get(&self, kind: Kind) -> Option<Readiness> {
        self.0[kind as usize]
    }

    /// The same kinds, all waiting.
    #[must_use]
    pub fn waiting(self) -> Self {
        KindReadiness(self.0.map(|of_kind| of_kind.map(|_| Readiness::Waiting)))
    }

    /// The least readiness of a family's kinds that something makes; complete where nothing makes any.
    pub fn least(&self, family: Family) -> Readiness {
        Kind::of_family(family).filter_map(|kind| self.get(kind)).min().unwrap_or(Readiness::Complete)
    }
}

/// A generation of each kind, and how far their sources have reported. Immutable.
#[derive(Debug, Clone)]
pub struct ViewGeneration {
    number: u64,
    readiness: KindReadiness,
    kinds: [Arc<Generation>; KINDS],
}

impl ViewGeneration {
    /// A generation without resources, of which nothing makes any kind.
    pub fn empty() -> Self {
        ViewGeneration::unbuilt(KindReadiness::default())
    }

    /// A generation of which nothing is known yet; the kinds in `readiness` will be made.
    pub fn unbuilt(readiness: KindReadiness) -> Self {
        ViewGeneration { number: 0, readiness, kinds: Default::default() }
    }

    /// The next one, or `None` if nothing changes.
    pub fn next(
        &self,
        readiness: KindReadiness,
        changes: impl IntoIterator<Item = (Kind, Name, Option<Resource>)>,
    ) -> Option<ViewGeneration> {
        self.next_shared(readiness, changes.into_iter().map(|(kind, name, change)| (kind, name, change.map(Arc::new))))
    }

    /// As [`ViewGeneration::next`], with resources that others hold, too.
    pub fn next_shared(
        &self,
        readiness: KindReadiness,
        changes: impl IntoIterator<Item = (Kind, Name, Option<Arc<Resource>>)>,
    ) -> Option<ViewGeneration> {
        let mut by_kind: [Vec<(Name, Option<Arc<Resource>>)>; KINDS] = Default::default();
        for (kind, name, change) in changes {
            by_kind[kind as usize].push((name, change));
        }
        let mut next = ViewGeneration { number: self.number + 1, readiness, kinds: self.kinds.clone() };
        let mut changed = readiness != self.readiness;
        for (generation, changes) in next.kinds.iter_mut().zip(by_kind) {
            if let Some(new) = generation.next_shared(changes) {
                *generation = Arc::new(new);
                changed = true;
            }
        }
        changed.then_some(next)
    }

    /// The next one of a part of another: of these kinds it has its own with these changes, of all others what `whole` has.
    /// `None` if nothing changes.
    pub fn next_of(
        &self,
        whole: &ViewGeneration,
        own: &[Kind],
        changes: impl IntoIterator<Item = (Kind, Name, Option<Arc<Resource>>)>,
    ) -> Option<ViewGeneration> {
        let mut by_kind: [Vec<(Name, Option<Arc<Resource>>)>; KINDS] = Default::default();
        for (kind, name, change) in changes {
            by_kind[kind as usize].push((name, change));
        }
        let mut next =
            ViewGeneration { number: self.number + 1, readiness: whole.readiness, kinds: whole.kinds.clone() };
        for kind in own {
            let (before, changes) = (&self.kinds[*kind as usize], std::mem::take(&mut by_kind[*kind as usize]));
            let of_kind = before.next_shared(changes).map_or_else(|| before.clone(), Arc::new);
            next.kinds[*kind as usize] = of_kind;
        }
        let same = next.kinds.iter().zip(&self.kinds).all(|(next, before)| Arc::ptr_eq(next, before));
        (!same || next.readiness != self.readiness).then_some(next)
    }

    /// The next one of a part that is all of another and one resource more. `None` if nothing changes.
    pub fn next_beside(&self, whole: &ViewGeneration, kind: Kind, more: &Arc<Resource>) -> Option<ViewGeneration> {
        let mut next =
            ViewGeneration { number: self.number + 1, readiness: whole.readiness, kinds: whole.kinds.clone() };
        let of_kind = &mut next.kinds[kind as usize];
        if let Some(with) = of_kind.next_shared([(more.name().clone(), Some(more.clone()))]) {
            *of_kind = Arc::new(with);
        }
        let same = next.kinds.iter().zip(&self.kinds).all(|(next, before)| {
            Arc::ptr_eq(next, before) || (next.digest(), next.len()) == (before.digest(), before.len())
        });
        (!same || next.readiness != self.readiness).then_some(next)
    }

    /// A part of a view of which nothing is known yet. Of the kinds in `own` it will have its own resources.
    pub fn unbuilt_part(readiness: KindReadiness, own: &[Kind]) -> Self {
        let mut unbuilt = ViewGeneration::unbuilt(readiness);
        own.iter().for_each(|kind| unbuilt.kinds[*kind as usize] = Arc::new(Generation::loose()));
        unbuilt
    }

    /// The same content under the next number, for a view that was built and has nothing in it.
    #[must_use]
    pub fn built(&self) -> ViewGeneration {
        ViewGeneration { number: self.number + 1, ..self.clone() }
    }

    /// The same with another generation of a kind, for a reader who is served something else.
    #[must_use]
    pub fn with(mut self, kind: Kind, generation: Arc<Generation>) -> ViewGeneration {
        self.kinds[kind as usize] = generation;
        self
    }

    /// Counts up with each change; 0: it was not built yet. Otherwise only for display: two views of equal content
    /// may have different numbers.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How far the sources of each kind have reported.
    pub fn readiness(&self) -> KindReadiness {
        self.readiness
    }

    /// How far the sources of that kind have reported; `None`: nothing makes it, and nothing ever will.
    pub fn readiness_of(&self, kind: Kind) -> Option<Readiness> {
        self.readiness.get(kind)
    }

    /// The resources of a kind; none where nothing makes the kind.
    pub fn get(&self, kind: Kind) -> &Arc<Generation> {
        &self.kinds[kind as usize]
    }
}
