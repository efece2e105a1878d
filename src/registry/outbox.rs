//! The sending side of a registry: its scopes, and what became of each.
//!
//! Errors hold what servers have said: known secrets are blanked here, once for all of them.
//!
//! The channel is bounded. While it is full the reading waits: its next round reads the newest state anyway.

use super::chain;
use crate::{
    model::{ManifestUpdate, Scope, Service, ServiceId, Text, Update},
    util::redact::Redactor,
};
use std::{collections::BTreeMap, error::Error, sync::Arc};
use tokio::sync::mpsc;

/// More changes than this are told as a list.
const MOST_CHANGES: usize = 64;

/// The receiver is gone: nothing can be sent any more, and the reading ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed;

/// What an [`Outbox`] must be able to make of every kind of update: a list of scopes, and a failure.
pub(super) trait Message {
    /// The report that the registry consists of these scopes and no others.
    fn scopes(scopes: Vec<Scope>) -> Self;
    /// The report that a scope could not be read; with `None` nothing could be read.
    fn failed(scope: Option<Scope>, error: Text) -> Self;
    /// The texts in it that quote servers, so that [`Outbox::send`] blanks secrets in them. Empty if it has none.
    fn reasons(&mut self) -> &mut [(ServiceId, Text)] {
        &mut []
    }
}

/// What has changed of a scope since it was last told.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) applied: Vec<Arc<Service>>,
    pub(super) removed: Vec<ServiceId>,
}

/// Sends the updates of one reading, in order.
#[derive(Debug)]
pub(super) struct Outbox<M> {
    out: mpsc::Sender<M>,
    /// The scopes that were sent last; `None` before the first.
    scopes: Option<Vec<Scope>>,
    redactor: Arc<Redactor>,
}

impl<M: Message> Outbox<M> {
    pub(super) fn new(out: mpsc::Sender<M>) -> Self {
        Outbox { out, scopes: None, redactor: Arc::default() }
    }

    /// The same outbox, which blanks the secrets that `redactor` knows in every error.
    pub(super) fn hiding(self, redactor: &Arc<Redactor>) -> Self {
        Outbox { redactor: redactor.clone(), ..self }
    }

    /// Sends one update, with secrets blanked. Waits while the channel is full.
    pub(super) async fn send(&self, mut update: M) -> Result<(), Closed> {
        for (_, reason) in update.reasons() {
            *reason = self.redactor.redact(reason).into();
        }
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
        self.send(M::failed(scope, self.redactor.redact(&chain(error)).into())).await
    }

    /// Returns when the receiver has taken all that was sent.
    pub(super) async fn taken(&self) -> Result<(), Closed> {
        self.out.reserve_many(self.out.max_capacity()).await.map(drop).map_err(|_| Closed)
    }

    /// Returns when the receiver is gone.
    pub(super) async fn closed(&self) {
        self.out.closed().await;
    }
}

impl Outbox<Update> {
    /// Sends single changes of a scope, or where they are many, the list that they have led to.
    pub(super) async fn changes(
        &self,
        scope: &Scope,
        changes: Changes,
        list: impl FnOnce() -> Update,
    ) -> Result<(), Closed> {
        let Changes { applied, removed } = changes;
        if applied.len() + removed.len() > MOST_CHANGES {
            return self.send(list()).await;
        }
        for service in applied {
            self.send(Update::Applied(scope.clone(), service)).await?;
        }
        for id in removed {
            self.send(Update::Removed(scope.clone(), id)).await?;
        }
        Ok(())
    }
}

impl Changes {
    /// The changes that lead from one state to another. Services are compared by pointer: an equal copy counts as
    /// changed.
    pub(super) fn between(
        before: &BTreeMap<ServiceId, Arc<Service>>,
        after: &BTreeMap<ServiceId, Arc<Service>>,
    ) -> Changes {
        let is_new = |(id, new): &(&ServiceId, &Arc<Service>)| before.get(*id).is_none_or(|old| !Arc::ptr_eq(old, new));
        Changes {
            applied: after.iter().filter(is_new).map(|(_, service)| service.clone()).collect(),
            removed: before.keys().filter(|id| !after.contains_key(*id)).cloned().collect(),
        }
    }
}

impl Message for Update {
    fn scopes(scopes: Vec<Scope>) -> Self {
        Update::Scopes(scopes)
    }

    fn failed(scope: Option<Scope>, error: Text) -> Self {
        Update::Failed { scope, error }
    }

    fn reasons(&mut self) -> &mut [(ServiceId, Text)] {
        match self {
            Update::Listed { unreadable, .. } => unreadable,
            _ => &mut [],
        }
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
    use crate::util::secret::Secret;
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
    async fn secrets_are_blanked_in_every_error() {
        let (out, mut updates) = mpsc::channel(8);
        let redactor = Arc::new(Redactor::new([&Secret::new("p4ssw0rd")]));
        let outbox = Outbox::new(out).hiding(&redactor);
        redactor.learn(&Secret::new("t0ken"));
        outbox.failed(None, &io::Error::other("code 403: reader:p4ssw0rd is unknown")).await.unwrap();
        let id = ServiceId::new("r", "", "", "s");
        let unreadable = vec![(id, "cDRzc3cwcmQ= has no right to it with t0ken".into())];
        outbox.send(Update::Listed { scope: Scope("a".into()), services: vec![], unreadable }).await.unwrap();
        let Some(Update::Failed { error, .. }) = updates.recv().await else { panic!() };
        assert_eq!(&*error, "code 403: reader:*** is unknown");
        let Some(Update::Listed { unreadable, .. }) = updates.recv().await else { panic!() };
        assert_eq!(&*unreadable[0].1, "***= has no right to it with ***");
    }

    #[tokio::test]
    async fn few_changes_are_told_one_by_one_and_many_as_a_list() {
        let (out, mut updates) = mpsc::channel(100);
        let outbox = Outbox::new(out);
        let state = |count: usize| {
            let service = |n: usize| Arc::new(Service::new(ServiceId::new("r", "", "", format!("s{n}")), Vec::new()));
            (0..count).map(service).map(|service| (service.id.clone(), service)).collect::<BTreeMap<_, _>>()
        };
        let (none, many) = (BTreeMap::new(), state(MOST_CHANGES + 1));
        let mut few = many.clone();
        few.pop_last();
        for (before, after) in [(&many, &many), (&none, &few), (&many, &few), (&none, &many), (&many, &none)] {
            let list = || Update::Listed { scope: Scope::whole(), services: Vec::new(), unreadable: Vec::new() };
            outbox.changes(&Scope::whole(), Changes::between(before, after), list).await.unwrap();
        }
        drop(outbox);
        let (mut applied, mut removed, mut listed) = (0, 0, 0);
        while let Some(update) = updates.recv().await {
            match update {
                Update::Applied(..) => applied += 1,
                Update::Removed(..) => removed += 1,
                Update::Listed { .. } => listed += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((applied, removed, listed), (MOST_CHANGES, 1, 2));
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
