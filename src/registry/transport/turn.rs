//! Which of several equal servers is asked first: the one that answered last.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The order in which several servers are asked.
#[derive(Debug)]
pub(in crate::registry) struct Turn {
    last: AtomicUsize,
    count: usize,
}

impl Turn {
    /// For `count` servers, of which the first is asked first.
    pub(in crate::registry) fn new(count: usize) -> Self {
        Turn { last: AtomicUsize::new(0), count }
    }

    /// Indexes of all servers, beginning with the one that answered last.
    pub(in crate::registry) fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = (self.last.load(Ordering::Relaxed), self.count);
        (0..count).map(move |turn| (first + turn) % count)
    }

    /// Notes that this server has answered, so that it is asked first from now on.
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
