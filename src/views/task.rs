//! The task that keeps the views of one dialect up with the catalog and with manifests.
//!
//! A reader that is slow misses generations in between, never the last one.

use super::{
    Metrics, Report, ViewKey,
    handles::Changes,
    order::readiness,
    shared::{Entry, Shared, is_ready},
    stage::{Place, Stage},
    state::Stepped,
    translation::Translation,
};
use crate::{
    resource::ViewGeneration,
    translate::{Rejected, Why, traffic::Finding},
    util::{lock::lock, time::until},
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Makes the views of one dialect.
#[derive(Debug)]
pub struct Task {
    shared: Arc<Shared>,
    /// `None`: there are no views of these settings.
    translation: watch::Receiver<Option<Translation>>,
    /// The settings by which views are made now; `None`: there are none.
    current: Option<Translation>,
    /// The views; `None` while there is none.
    stage: Option<Stage>,
    metrics: Metrics,
}

impl Task {
    pub(super) fn new(
        shared: Arc<Shared>,
        translation: watch::Receiver<Option<Translation>>,
        metrics: Metrics,
    ) -> Self {
        let current = translation.borrow().clone();
        metrics.rejected(shared.dialect, &[]);
        metrics.stands(shared.dialect, false, 0);
        Task { shared, translation, current, stage: None, metrics }
    }

    /// The dialect whose views it makes, as a word.
    pub fn name(&self) -> &'static str {
        self.shared.dialect.name()
    }

    /// Whether it keeps nothing.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.stage.is_none()
    }

    /// Makes views until `shutdown`, or until the catalog has no writer any more.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let shared = self.shared.clone();
        let mut catalog = shared.catalog.changed();
        let mut manifests = shared.manifests.subscribe();
        let mut callers = shared.callers.clone();
        // Of its own: what wakes the task otherwise does not put it off.
        let mut sweep = Instant::now() + shared.period();
        loop {
            // Before they are read: what changes in between is signalled again.
            catalog.mark_unchanged();
            manifests.mark_unchanged();
            callers.mark_unchanged();
            self.step(Instant::now());
            let check = self.stage.as_ref().map(|_| sweep);
            // Each may be dropped at any moment: none holds anything.
            tokio::select! {
                () = shutdown.cancelled() => return,
                signal = catalog.changed() => if signal.is_err() { return },
                signal = manifests.changed() => if signal.is_err() { return },
                Ok(()) = callers.changed() => {}
                Ok(()) = self.translation.changed() => {}
                () = shared.wanted.notified() => {}
                () = until(check) => {
                    shared.sweep_parts();
                    sweep = Instant::now() + shared.period();
                }
            }
        }
    }

    /// Goes on to the newest of all that views are made of.
    pub(super) fn step(&mut self, now: Instant) {
        if self.rests() {
            return;
        }
        let start = std::time::Instant::now();
        let shared = self.shared.clone();
        let mut sources = shared.sources();
        // Looked at after the catalog, and given before it: so it is of the same configuration, or of a later one whose catalog
        // comes in a moment. Both are taken in one step.
        let Some(wanted) = self.translation.borrow_and_update().clone() else { return };
        if wanted.revision != sources.catalog.revision {
            return;
        }
        let revision = wanted.revision;
        shared.read_rules(&mut sources, &wanted);
        let selections = shared.selections();
        let views = shared.current(now);
        self.drop_views(&views);
        let differs = self.current.as_ref().is_none_or(|current| !current.same(&wanted, shared.dialect));
        let current = self.current.insert(wanted);
        if !views.is_empty() {
            let translator = || current.translator(shared.dialect, &self.metrics);
            let renewed = (differs && self.stage.is_some()).then(translator);
            let mut stage = self.stage.take().unwrap_or_else(|| Stage::new(shared.dialect, translator()));
            for (view, entry) in &views {
                if stage.contains(view) {
                    stage.select(view, &entry.selection);
                } else {
                    debug!(view = %view.0, "Makes a view.");
                    stage.add(view.clone(), &entry.selection, entry.generations.borrow().clone());
                }
                let Changes { added, gone } = lock(&entry.parts).take_changes();
                stage.divide(view, added, gone);
            }
            let translated = stage.translations();
            stage.step(&sources, renewed, |view, before, stepped| {
                let entry = &views[view];
                self.report(&view.0, entry, &stepped);
                self.publish_parts(entry, &stepped);
                self.publish(&view.0, entry, before, stepped, start);
            });
            self.metrics.translated(shared.dialect, stage.translations() - translated);
            self.metrics.divided(shared.dialect, stage.parts());
            self.stage = Some(stage);
        } else {
            self.metrics.divided(shared.dialect, 0);
        }
        let readiness = readiness(shared.dialect, &sources).least(shared.dialect.family());
        self.metrics.stands(shared.dialect, is_ready(shared.dialect, readiness), views.len());
        shared.readiness.send_if_modified(|before| std::mem::replace(before, readiness) != readiness);
        shared.made.send_if_modified(|made| std::mem::replace(made, revision) != revision);
        shared.selected.send_if_modified(|selected| std::mem::replace(selected, selections) != selections);
    }

    /// Drops everything while it has no settings. Returns true if that is so.
    fn rests(&mut self) -> bool {
        // Held meanwhile: so nothing is forgotten of settings that begin now.
        let translation = self.translation.borrow_and_update();
        let rests = translation.is_none();
        if rests {
            self.shared.clear();
            (self.stage, self.current) = (None, None);
        }
        rests
    }

    /// Forgets views that nobody has seen for long, and with the last one all that was kept.
    fn drop_views(&mut self, views: &BTreeMap<Place, Entry>) {
        let Some(stage) = &mut self.stage else { return };
        for key in stage.retain(|view| views.contains_key(view)) {
            info!(view = %key, "Dropped a view: nobody has seen it for some time.");
            self.metrics.dropped(&key);
        }
        if stage.is_empty() {
            self.stage = None;
        }
    }

    fn publish_parts(&self, entry: &Entry, stepped: &Stepped) {
        if !stepped.parts.is_empty() {
            self.metrics.made_parts(self.shared.dialect, stepped.parts.len());
            let handles = lock(&entry.parts);
            stepped.parts.iter().for_each(|(number, generation)| handles.publish(*number, generation.clone()));
        }
    }

    fn publish(
        &self,
        key: &ViewKey,
        entry: &Entry,
        before: &ViewGeneration,
        stepped: Stepped,
        start: std::time::Instant,
    ) {
        let Some(next) = stepped.generation else { return };
        debug!(view = %key, generation = next.number(), "Made a generation.");
        self.metrics.made(key, before, &next, start.elapsed());
        entry.generations.send_replace(next);
    }

    /// Logs each thing that is not served once: when it appears. Labels cost nothing but themselves, and there may be
    /// thousands; what is no matter of a scope is logged for the view that has everything.
    fn report(&self, key: &ViewKey, entry: &Entry, stepped: &Stepped) {
        let Some(report) = &stepped.report else { return };
        let before = entry.report.swap(report.clone());
        if key.is_whole() {
            log(key, &before, report);
            self.metrics.rejected(key.dialect, &report.rejected);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // Nobody waits for what is not made any more.
        self.shared.made.send_replace(u64::MAX);
        self.shared.selected.send_replace(u64::MAX);
    }
}

fn log(view: &ViewKey, before: &Report, now: &Report) {
    let known: HashSet<&Rejected> = before.rejected.iter().collect();
    for Rejected { host, subject, why } in now.rejected.iter().filter(|rejected| !known.contains(rejected)) {
        match why {
            Why::LabelRefused => debug!(%view, %host, %subject, reason = why.code(), "Left a label out."),
            _ => warn!(%view, %host, %subject, reason = why.code(), %why, "Left a part of a service out."),
        }
    }
    let known: HashSet<&Finding> = before.findings.iter().collect();
    for finding in now.findings.iter().filter(|finding| !known.contains(finding)) {
        let Finding { code, kind, name, place, text } = finding;
        warn!(%view, code = code.name(), kind = kind.name(), %name, %place, %text, "A rule has no effect as it stands.");
    }
    for (kind, name) in now.conflicts.difference(&before.conflicts) {
        warn!(%view, kind = kind.name(), %name, "Left a resource of a manifest out: a service's has its name.");
    }
}
