//! Whom to ask first of several that give the same: the one that answered last.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The order in which several servers are asked.
#[derive(Debug)]
pub(in crate::registry) struct Turn {
    last: AtomicUsize,
    count: usize,
}

impl Turn {
    /// So many servers, of which the first is asked first.
    pub(in crate::registry) fn new(count: usize) -> Self {
        Turn { last: AtomicUsize::new(0), count }
    }

    /// The servers from that on which answered last.
    pub(in crate::registry) fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = (self.last.load(Ordering::Relaxed), self.count);
        (0..count).map(move |turn| (first + turn) % count)
    }

    /// This one has answered.
    pub(in crate::registry) fn answered(&self, server: usize) {
        self.last.store(server, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answered_last_is_asked_first_and_everybody_once() {
        let turn = Turn::new(3);
        let order = |turn: &Turn| turn.order().collect::<Vec<_>>();
        assert_eq!(order(&turn), [0, 1, 2]);
        turn.answered(2);
        assert_eq!(order(&turn), [2, 0, 1]);
    }
}
