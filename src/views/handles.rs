//! The parts of a view that somebody has, as those who subscribe and the task see them.

use super::part::Part;
use crate::resource::ViewGeneration;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio::sync::watch;

/// So many new parts may come before those are looked for that nobody has any more.
const FEW: usize = 64;

/// The parts that somebody has. A part is dropped soon after its last reader.
#[derive(Debug, Default)]
pub(super) struct Handles {
    by_part: HashMap<Part, u64>,
    by_number: BTreeMap<u64, Handle>,
    /// Counts up with each part.
    next: u64,
    changes: Changes,
    /// How many parts there are when the unused ones are looked for.
    sweep_at: usize,
}

#[derive(Debug)]
struct Handle {
    part: Part,
    generations: watch::Sender<Arc<ViewGeneration>>,
}

/// The parts that came and went since the task looked last.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) added: Vec<(u64, Part)>,
    pub(super) gone: Vec<u64>,
}

impl Handles {
    /// Subscribes to a part. Returns its generations, and whether the part is new.
    pub(super) fn subscribe(
        &mut self,
        part: &Part,
        unbuilt: impl FnOnce() -> ViewGeneration,
    ) -> (watch::Receiver<Arc<ViewGeneration>>, bool) {
        if let Some(handle) = self.by_part.get(part).and_then(|number| self.by_number.get(number)) {
            return (handle.generations.subscribe(), false);
        }
        if self.by_number.len() >= self.sweep_at {
            self.sweep();
        }
        let (generations, receiver) = watch::channel(Arc::new(unbuilt()));
        let number = self.next;
        self.next += 1;
        self.by_part.insert(part.clone(), number);
        self.by_number.insert(number, Handle { part: part.clone(), generations });
        self.changes.added.push((number, part.clone()));
        (receiver, true)
    }

    /// Drops the parts that nobody has any more.
    pub(super) fn sweep(&mut self) {
        let unused = self.by_number.iter().filter(|(_, handle)| handle.generations.receiver_count() == 0);
        for number in unused.map(|(number, _)| *number).collect::<Vec<_>>() {
            if let Some(handle) = self.by_number.remove(&number) {
                self.by_part.remove(&handle.part);
            }
            self.changes.added.retain(|(added, _)| *added != number);
            self.changes.gone.push(number);
        }
        self.sweep_at = FEW.max(2 * self.by_number.len());
    }

    /// What came and went since the last call.
    pub(super) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Gives the readers of a part its next generation.
    pub(super) fn publish(&self, number: u64, generation: Arc<ViewGeneration>) {
        if let Some(handle) = self.by_number.get(&number) {
            handle.generations.send_replace(generation);
        }
    }

    /// How many readers all parts have now.
    pub(super) fn readers(&self) -> usize {
        self.by_number.values().map(|handle| handle.generations.receiver_count()).sum()
    }

    /// How many parts there are.
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }
}
