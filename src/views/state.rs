//! A view as a value: what its producers have, in generations.

use super::{
    Selection, ViewKey,
    handles::Changes,
    look::Look,
    order::producers,
    parts::Parts,
    producer::Step,
    producers::{Part, Producers},
};
use crate::{
    resource::{Kind, KindReadiness, Name, ViewGeneration},
    translate::{Rejected, traffic::Finding},
};
use std::{collections::BTreeSet, sync::Arc};

/// One view. What it serves follows from the last sources alone, whatever came before.
#[derive(Debug)]
pub(super) struct ViewState {
    producers: Producers,
    selection: Selection,
    /// The parts of it that clients get.
    parts: Parts,
    generation: Arc<ViewGeneration>,
    report: Arc<Report>,
}

/// What of a view's sources is not served, shown by the admin API. Immutable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What cannot be sent, by host.
    pub rejected: Vec<Rejected>,
    /// Resources of a later producer that are not served, because an earlier one has the name: in Istiods' views
    /// manifests' entries with the name of a service's entry.
    pub conflicts: BTreeSet<(Kind, Name)>,
    /// What of Istio's rules has no effect, or another one than is written.
    pub findings: Vec<Finding>,
}

/// What a step changed in a view.
#[derive(Debug, Default)]
pub struct Stepped {
    /// The next generation, if it differs.
    pub generation: Option<Arc<ViewGeneration>>,
    /// What is not served, if that differs.
    pub report: Option<Arc<Report>>,
    /// The next generation of each part that differs, by its number.
    pub parts: Vec<(u64, Arc<ViewGeneration>)>,
}

impl ViewState {
    /// A view that has seen no sources yet.
    pub(super) fn new(key: &ViewKey, selection: &Selection, unbuilt: Arc<ViewGeneration>) -> Self {
        let part = |producer| Part { producer, rejected: Vec::new(), findings: Vec::new() };
        let parts = producers(key, selection).into_iter().map(part);
        let producers = Producers(parts.collect());
        let (selection, parts) = (selection.clone(), Parts::default());
        ViewState { producers, selection, parts, generation: unbuilt, report: Arc::default() }
    }

    /// What is served now.
    pub(super) fn generation(&self) -> &Arc<ViewGeneration> {
        &self.generation
    }

    /// Goes on to the next sources. The first step always makes a generation.
    pub(super) fn step(&mut self, mut step: Step<'_>) -> Stepped {
        step.affected = (!self.parts.is_empty()).then(Default::default);
        for part in &mut self.producers.0 {
            part.producer.update(&mut step);
        }
        let readiness = |so_far, part: &Part| part.producer.readiness(step.sources, so_far);
        let readiness = self.producers.0.iter().fold(KindReadiness::default(), readiness);
        let report = self.report(&step.touched);
        let changes = step.touched.iter().map(|(kind, name)| {
            let resource = self.producers.having(*kind, name).next().cloned();
            (*kind, name.clone(), resource)
        });
        let next = self.generation.next_shared(readiness, changes);
        let next = next.or_else(|| (self.generation.number() == 0).then(|| self.generation.built()));
        let generation = next.map(Arc::new);
        let whole = generation.as_ref().unwrap_or(&self.generation);
        let Step { dialect, sources, translations, touched, affected, .. } = step;
        let (selection, producers) = (&self.selection, &self.producers);
        let mut look = Look { dialect, sources, selection, producers, whole, translations };
        let parts = self.parts.step(&self.generation, &affected.unwrap_or_default(), &touched, &mut look);
        if let Some(generation) = &generation {
            self.generation = generation.clone();
        }
        Stepped { generation, report, parts }
    }

    /// Adds and removes parts, from the next step on.
    pub(super) fn divide(&mut self, Changes { added, gone }: Changes) {
        gone.into_iter().for_each(|number| self.parts.remove(number));
        added.into_iter().for_each(|(number, part)| self.parts.add(number, part));
    }

    /// How many parts it has.
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Replaces the selection, from the next step on.
    pub(super) fn select(&mut self, selection: &Selection) {
        self.selection = selection.clone();
        self.producers.0.iter_mut().for_each(|part| part.producer.select(selection));
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.producers.0.iter().map(|part| part.producer.held()).sum()
    }

    /// What is not served, if that differs.
    fn report(&mut self, touched: &BTreeSet<(Kind, Name)>) -> Option<Arc<Report>> {
        let mut differs = false;
        for part in &mut self.producers.0 {
            if let Some(rejected) = part.producer.take_rejected() {
                (part.rejected, differs) = (rejected, true);
            }
            if let Some(findings) = part.producer.take_findings() {
                (part.findings, differs) = (findings, true);
            }
        }
        let contested = |(kind, name): &(Kind, Name)| self.producers.having(*kind, name).nth(1).is_some();
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
        let rejected = self.producers.0.iter().flat_map(|part| &part.rejected).cloned().collect();
        let findings = self.producers.0.iter().flat_map(|part| &part.findings).cloned().collect();
        let report = Report { rejected, conflicts, findings };
        if report == *self.report {
            return None;
        }
        self.report = Arc::new(report);
        Some(self.report.clone())
    }
}
