//! A receiver for several channels, which are read in turn.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};
use tokio::sync::mpsc::Receiver;

/// A set of channels. One that has many messages or none delays no other; one whose senders are all gone is left out.
#[derive(Debug)]
pub struct FanIn<K, T> {
    channels: Vec<(K, Receiver<T>)>,
    turn: usize,
}

impl<K, T> Default for FanIn<K, T> {
    fn default() -> Self {
        FanIn { channels: Vec::new(), turn: 0 }
    }
}

impl<K: Clone + PartialEq, T> FanIn<K, T> {
    /// Adds a channel; it takes the place of another of the same key.
    pub fn insert(&mut self, key: K, channel: Receiver<T>) {
        self.retain(|known| *known != key);
        self.channels.push((key, channel));
    }

    /// Leaves out the channels of all other keys. What they have is lost, and their senders see them closed.
    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.channels.retain(|(key, _)| keep(key));
    }

    /// The next message, and the key of its channel. Channels take turns. Safe to cancel: no message is lost.
    pub async fn next(&mut self) -> (K, T) {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<(K, T)> {
        let mut step = 0;
        while step < self.channels.len() {
            let place = (self.turn + step) % self.channels.len();
            let (key, channel) = &mut self.channels[place];
            match channel.poll_recv(context) {
                Poll::Ready(Some(message)) => {
                    self.turn = place + 1;
                    return Poll::Ready((key.clone(), message));
                }
                Poll::Ready(None) => {
                    self.channels.remove(place);
                }
                Poll::Pending => step += 1,
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn channels_are_read_in_turn_and_come_and_go() {
        let mut channels = FanIn::default();
        let mut senders = Vec::new();
        for key in ["a", "b", "c"] {
            let (sender, receiver) = mpsc::channel(8);
            channels.insert(key, receiver);
            senders.push(sender);
        }
        for number in 0..2 {
            senders.iter().for_each(|sender| sender.try_send(number).unwrap());
        }
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(channels.next().await);
        }
        assert_eq!(seen, [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("b", 1), ("c", 1)]);
        // One that is replaced is closed; one whose sender is gone is left out.
        let (sender, receiver) = mpsc::channel(8);
        channels.insert("b", receiver);
        assert!(senders[1].is_closed());
        drop(senders.remove(0));
        sender.try_send(7).unwrap();
        assert_eq!(channels.next().await, ("b", 7));
        channels.retain(|key| *key != "c");
        assert!(senders[1].is_closed());
        assert_eq!(channels.channels.len(), 1);
    }
}
