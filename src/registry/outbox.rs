//! The sending side of a registry: its scopes, and what became of each.
//!
//! The channel is bounded. While it is full the reading waits: its next round reads the newest state anyway.

use super::{ManifestUpdate, Scope, Update, chain};
use crate::model::Text;
use std::error::Error;
use tokio::sync::mpsc;

/// The receiver is gone: nothing can be sent any more, and the reading ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed;

/// What every kind of update can say.
pub(super) trait Message {
    /// The whole consists of these scopes.
    fn scopes(scopes: Vec<Scope>) -> Self;
    /// A scope could not be read; with `None` the whole.
    fn failed(scope: Option<Scope>, error: Text) -> Self;
}

/// Sends the updates of one reading, in order.
#[derive(Debug)]
pub(super) struct Outbox<M> {
    out: mpsc::Sender<M>,
    /// As they were sent last.
    scopes: Option<Vec<Scope>>,
}

impl<M: Message> Outbox<M> {
    pub(super) fn new(out: mpsc::Sender<M>) -> Self {
        Outbox { out, scopes: None }
    }

    pub(super) async fn send(&self, update: M) -> Result<(), Closed> {
        self.out.send(update).await.map_err(|_| Closed)
    }

    /// Sends the scopes, unless they are the same as before.
    pub(super) async fn scopes(&mut self, scopes: Vec<Scope>) -> Result<(), Closed> {
        if self.scopes.as_ref() == Some(&scopes) {
            return Ok(());
        }
        self.scopes = Some(scopes.clone());
        self.send(M::scopes(scopes)).await
    }

    /// Sends that a scope could not be read, or with `None` the whole. The catalog counts and logs it.
    pub(super) async fn failed(&self, scope: Option<Scope>, error: &(dyn Error + Sync)) -> Result<(), Closed> {
        self.send(M::failed(scope, chain(error))).await
    }

    /// Returns when the receiver is gone.
    pub(super) async fn closed(&self) {
        self.out.closed().await;
    }
}

impl Message for Update {
    fn scopes(scopes: Vec<Scope>) -> Self {
        Update::Scopes(scopes)
    }

    fn failed(scope: Option<Scope>, error: Text) -> Self {
        Update::Failed { scope, error }
    }
}

impl Message for ManifestUpdate {
    fn scopes(scopes: Vec<Scope>) -> Self {
        ManifestUpdate::Scopes(scopes)
    }

    fn failed(scope: Option<Scope>, error: Text) -> Self {
        ManifestUpdate::Failed(scope, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[tokio::test]
    async fn scopes_are_sent_when_they_change() {
        let (out, mut updates) = mpsc::channel(8);
        let mut outbox = Outbox::new(out);
        let scope = |name: &str| Scope(name.into());
        for scopes in [vec![scope("a")], vec![scope("a")], vec![scope("a"), scope("b")]] {
            outbox.scopes(scopes).await.unwrap();
        }
        outbox.failed(Some(scope("b")), &io::Error::other("no answer")).await.unwrap();
        drop(outbox);
        let mut sent = Vec::new();
        while let Some(update) = updates.recv().await {
            sent.push(match update {
                Update::Scopes(scopes) => scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(" "),
                Update::Failed { scope: Some(scope), error } => format!("{scope}: {error}"),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(sent, ["a", "a b", "b: no answer"]);
    }

    #[tokio::test]
    async fn an_outbox_that_nobody_reads_is_closed() {
        let (out, updates) = mpsc::channel::<Update>(1);
        let mut outbox = Outbox::new(out);
        drop(updates);
        assert_eq!(outbox.scopes(Vec::new()).await, Err(Closed));
        outbox.closed().await;
    }
}
