//! The view that has everything, made by the caller instead of a task.

use portolan::{
    catalog::Catalog,
    resource::{Dialect, ViewGeneration},
    views::{Selection, Sources, Stage, Translator, ViewKey},
};
use std::sync::Arc;

/// The view of a dialect that has everything.
pub struct Views {
    stage: Stage,
    generation: Arc<ViewGeneration>,
}

impl Views {
    pub fn new(dialect: Dialect, translator: Box<dyn Translator>) -> Self {
        let (mut stage, generation) = (Stage::new(dialect, translator), Arc::new(ViewGeneration::empty()));
        stage.add((ViewKey::whole(dialect), 0), &Selection::default(), generation.clone());
        Views { stage, generation }
    }

    /// Translates a catalog. Returns the view's generation, which is the former one if nothing differs.
    pub fn step(&mut self, catalog: &Arc<Catalog>) -> Arc<ViewGeneration> {
        let sources = Sources::plain(catalog.clone(), Arc::default());
        let next = &mut self.generation;
        self.stage.step(&sources, None, |_, _, stepped| {
            if let Some(generation) = stepped.generation {
                *next = generation;
            }
        });
        self.generation.clone()
    }
}
