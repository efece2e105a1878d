//! Several channels, read in turn.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};
use tokio::sync::mpsc::Receiver;

/// Channels of which one that floods, hangs or dies delays no other. The reader keeps a sender of each, so that none ends.
#[derive(Debug)]
pub struct Inboxes<T> {
    inboxes: Vec<Receiver<T>>,
    turn: usize,
}

impl<T> Inboxes<T> {
    /// These, by their places.
    pub fn new(inboxes: Vec<Receiver<T>>) -> Self {
        Inboxes { inboxes, turn: 0 }
    }

    /// The next message, of the place that has waited longest for its turn. Nothing is lost if it is dropped.
    pub async fn next(&mut self) -> (usize, T) {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<(usize, T)> {
        let number = self.inboxes.len();
        for step in 0..number {
            let place = (self.turn + step) % number;
            if let Poll::Ready(Some(message)) = self.inboxes[place].poll_recv(context) {
                self.turn = (place + 1) % number;
                return Poll::Ready((place, message));
            }
        }
        Poll::Pending
    }
}
