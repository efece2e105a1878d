//! All views of one dialect as a value: what they share, and each of them.
//!
//! A catalog's change is looked for once; each view then asks its selection of the services that changed and of no others.
//! While there is no view nothing is kept: neither translations nor virtual addresses nor the catalog itself.

use super::{
    Selection, ViewKey,
    handles::Changes,
    part::Part,
    producer::{Sources, Step},
    state::{Stepped, ViewState},
    translations::{Translations, Translator},
};
use crate::{
    model::Hostname,
    resource::{Dialect, ViewGeneration},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A view's key, and a number that counts up with each view that is made: one that was dropped and made again under its key
/// is another one.
pub type Place = (ViewKey, u64);

/// All views of a dialect. A [`Task`](super::Task) drives it; tests and benches do the same.
#[derive(Debug)]
pub struct Stage {
    dialect: Dialect,
    translations: Translations,
    views: BTreeMap<Place, View>,
}

#[derive(Debug)]
struct View {
    state: ViewState,
    selection: Selection,
    /// It has seen no sources yet, or its selection has changed since.
    new: bool,
}

impl Stage {
    /// Without any view yet. `translator` makes the resources of services.
    pub fn new(dialect: Dialect, translator: Box<dyn Translator>) -> Self {
        Stage { dialect, translations: Translations::new(translator), views: BTreeMap::new() }
    }

    /// How often a service was translated since the stage was made.
    pub fn translations(&self) -> u64 {
        self.translations.count()
    }

    /// Whether the view is in it, under that number: a view that was made again has another one.
    pub fn contains(&self, view: &Place) -> bool {
        self.views.contains_key(view)
    }

    /// Adds a view that has seen nothing.
    pub fn add(&mut self, view: Place, selection: &Selection, unbuilt: Arc<ViewGeneration>) {
        let state = ViewState::new(&view.0, selection, unbuilt);
        self.views.insert(view, View { state, selection: selection.clone(), new: true });
    }

    /// Replaces the selection of a view from the next step on.
    pub fn select(&mut self, view: &Place, selection: &Selection) {
        if let Some(view) = self.views.get_mut(view).filter(|view| !view.selection.is(selection)) {
            view.state.select(selection);
            (view.selection, view.new) = (selection.clone(), true);
        }
    }

    /// Adds parts to a view, by their numbers, and removes those of the numbers in `gone`, from the next step on.
    pub fn divide(&mut self, view: &Place, added: Vec<(u64, Part)>, gone: Vec<u64>) {
        if let Some(view) = self.views.get_mut(view) {
            view.state.divide(Changes { added, gone });
        }
    }

    /// How many parts all views have.
    pub fn parts(&self) -> usize {
        self.views.values().map(|view| view.state.parts()).sum()
    }

    /// Drops all views but these; returns the keys of those that are gone.
    pub fn retain(&mut self, kept: impl Fn(&Place) -> bool) -> Vec<ViewKey> {
        let gone = self.views.keys().filter(|view| !kept(view)).map(|(key, _)| key.clone()).collect();
        self.views.retain(|view, _| kept(view));
        gone
    }

    /// Whether there is no view.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// How many services a view keeps something of.
    #[cfg(test)]
    pub(super) fn held(&self, view: &Place) -> usize {
        self.views[view].state.held()
    }

    /// Goes on to these sources, and from now on translates by `renewed`, if there is one. Says of each view what
    /// changed; what it served before is the second.
    pub fn step(
        &mut self,
        sources: &Sources,
        renewed: Option<Box<dyn Translator>>,
        mut changed: impl FnMut(&Place, &ViewGeneration, Stepped),
    ) {
        let services = sources.services(self.dialect);
        let hosts = self.translations.advance(services, renewed);
        let all: BTreeSet<Hostname> = match self.views.values().any(|view| view.new) {
            true => services.keys().cloned().collect(),
            false => BTreeSet::new(),
        };
        for (key, view) in &mut self.views {
            let before = view.state.generation().clone();
            let hosts = if std::mem::take(&mut view.new) { &all } else { &hosts };
            let (translations, touched) = (&mut self.translations, BTreeSet::new());
            let (dialect, affected) = (self.dialect, None);
            let stepped = view.state.step(Step { dialect, sources, changed: hosts, translations, touched, affected });
            changed(key, &before, stepped);
        }
    }
}
