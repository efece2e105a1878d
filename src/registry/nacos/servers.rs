//! The servers of one cluster, and which of them answered last.

use reqwest::Url;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// In the order in which they were given. Shared by all requests of one registry.
#[derive(Debug)]
pub(super) struct Servers {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    list: Vec<Url>,
    good: usize,
}

impl Servers {
    pub(super) fn new(list: Vec<Url>) -> Self {
        Servers { state: Mutex::new(State { list, good: 0 }) }
    }

    /// All of them: the one that answered last, then those after it.
    pub(super) fn in_turn(&self) -> Vec<Url> {
        let state = self.state();
        let (before, after) = state.list.split_at(state.good.min(state.list.len()));
        after.iter().chain(before).cloned().collect()
    }

    /// There are others now.
    pub(super) fn replace(&self, list: Vec<Url>) {
        let mut state = self.state();
        let good = state.list.get(state.good).and_then(|good| list.iter().position(|url| url == good));
        *state = State { good: good.unwrap_or_default(), list };
    }

    /// This one has answered.
    pub(super) fn answered(&self, server: &Url) {
        let mut state = self.state();
        if let Some(at) = state.list.iter().position(|url| url == server) {
            state.good = at;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that runs with the lock held can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
