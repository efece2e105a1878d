//! A view as a value: what its producers have, in generations.

use super::{
    Selection,
    order::producers,
    producer::{Producer, Step},
};
use crate::{
    resource::{Dialect, Kind, KindReadiness, Name, Resource, ViewGeneration},
    translate::Rejected,
};
use std::{collections::BTreeSet, sync::Arc};

/// A view. What it serves follows from the last sources alone, whatever came before.
#[derive(Debug)]
pub(super) struct ViewState {
    /// In the order in which names are theirs.
    parts: Vec<Part>,
    generation: Arc<ViewGeneration>,
    report: Arc<Report>,
}

#[derive(Debug)]
struct Part {
    producer: Box<dyn Producer>,
    /// What the producer cannot send.
    rejected: Vec<Rejected>,
}

/// What of a view's sources is not served, for people. Immutable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What cannot be sent, by host.
    pub rejected: Vec<Rejected>,
    /// What a later producer has, too, and does not get served: of Istiods' views the names of manifests' entries that
    /// services' have.
    pub conflicts: BTreeSet<(Kind, Name)>,
}

/// What a step changed in a view.
#[derive(Debug, Default)]
pub struct Stepped {
    /// The next generation, if it differs.
    pub generation: Option<Arc<ViewGeneration>>,
    /// What is not served, if that differs.
    pub report: Option<Arc<Report>>,
}

impl ViewState {
    /// Nothing was seen.
    pub(super) fn new(dialect: Dialect, selection: &Selection, unbuilt: Arc<ViewGeneration>) -> Self {
        let parts = producers(dialect, selection).into_iter().map(|producer| Part { producer, rejected: Vec::new() });
        ViewState { parts: parts.collect(), generation: unbuilt, report: Arc::default() }
    }

    /// What is served now.
    pub(super) fn generation(&self) -> &Arc<ViewGeneration> {
        &self.generation
    }

    /// Goes on to the next sources. The first step always makes a generation.
    pub(super) fn step(&mut self, mut step: Step<'_>) -> Stepped {
        for part in &mut self.parts {
            part.producer.update(&mut step);
        }
        let readiness = |so_far, part: &Part| part.producer.readiness(step.sources, so_far);
        let readiness = self.parts.iter().fold(KindReadiness::default(), readiness);
        let report = self.report(&step.touched);
        let changes = step.touched.into_iter().map(|(kind, name)| {
            let resource = self.having(kind, &name).next().cloned();
            (kind, name, resource)
        });
        let next = self.generation.next_shared(readiness, changes);
        let next = next.or_else(|| (self.generation.number() == 0).then(|| self.generation.built()));
        let generation = next.map(Arc::new);
        if let Some(generation) = &generation {
            self.generation = generation.clone();
        }
        Stepped { generation, report }
    }

    /// From the next step on it has what that selects.
    pub(super) fn select(&mut self, selection: &Selection) {
        self.parts.iter_mut().for_each(|part| part.producer.select(selection));
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.parts.iter().map(|part| part.producer.held()).sum()
    }

    /// The resources of that kind and name: the first is served, the others give way.
    fn having(&self, kind: Kind, name: &Name) -> impl Iterator<Item = &Arc<Resource>> {
        self.parts.iter().filter_map(move |part| part.producer.get(kind, name))
    }

    /// What is not served, if that differs.
    fn report(&mut self, touched: &BTreeSet<(Kind, Name)>) -> Option<Arc<Report>> {
        let mut differs = false;
        for part in &mut self.parts {
            if let Some(rejected) = part.producer.take_rejected() {
                (part.rejected, differs) = (rejected, true);
            }
        }
        let contested = |(kind, name): &(Kind, Name)| self.having(*kind, name).nth(1).is_some();
        let turned = touched.iter().filter(|key| contested(key) != self.report.conflicts.contains(*key));
        let turned: Vec<_> = turned.cloned().collect();
        if !differs && turned.is_empty() {
            return None;
        }
        let mut conflicts = self.report.conflicts.clone();
        for key in turned {
            if !conflicts.remove(&key) {
                conflicts.insert(key);
            }
        }
        let rejected = self.parts.iter().flat_map(|part| &part.rejected).cloned().collect();
        self.report = Arc::new(Report { rejected, conflicts });
        Some(self.report.clone())
    }
}
