//! Reads who calls whom: the consumers that register themselves beside the providers of each interface, and tells what they
//! need.
//!
//! They are no services and nobody waits for them, so nothing of this holds services up: what cannot be read is told as a
//! failure of the call model alone, which stays as it was.

use super::{
    client::{Answer, Client, What},
    config::Config,
    error::{End, Error},
    layout::{Layout, callers_of, consumers},
};
use crate::{
    model::{CallUpdate, Needs, Text},
    registry::{Limits, callers::Callers, chain},
};
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;
use tracing::debug;

/// The most lists of names in one request.
const AT_ONCE: usize = 32;

#[derive(Debug)]
pub(super) struct Consumers {
    root: Text,
    concurrency: usize,
    limits: Limits,
    out: mpsc::Sender<CallUpdate>,
    /// What was last told; each place is the node of an interface.
    callers: Callers,
    /// The last reading of all of them met a limit.
    exceeded: bool,
}

impl Consumers {
    /// `None` if consumers are not configured, or nobody wants them.
    pub(super) fn of(config: &Config, out: Option<mpsc::Sender<CallUpdate>>) -> Option<Self> {
        let root = config.roots.first().filter(|_| config.consumers)?;
        let (concurrency, limits) = (config.concurrency, config.limits.clone());
        Some(Consumers {
            root: root.clone(),
            concurrency,
            limits,
            out: out?,
            callers: Callers::default(),
            exceeded: false,
        })
    }

    /// True if something could not be read and is to be read again. What is too much waits for the next reading of everything.
    pub(super) fn is_lacking(&self) -> bool {
        self.callers.are_lacking() && !self.exceeded
    }

    /// Reads all consumers, and sends them as a list. The only error is the loss of the session.
    pub(super) async fn read_all(&mut self, client: &Client) -> Result<(), End> {
        client.begin();
        self.exceeded = false;
        let read = self.limits.in_time(self.list(client)).await;
        let exceeded = |limit| Error::Exceeded { path: self.root.to_string(), limit };
        let read = read.map_err(exceeded).flatten();
        let Some(read) = self.judge(read).await? else { return Ok(()) };
        let (mut places, mut unread) = (BTreeMap::new(), BTreeSet::new());
        for (node, answer) in read {
            match said(&node, answer) {
                Some(said) => drop(places.insert(node.clone(), self.callers.same(&node, said))),
                None => drop(unread.insert(node)),
            }
        }
        let update = self.callers.list(places, unread);
        self.tell(update).await;
        Ok(())
    }

    /// What was read; `None` if that has failed, and the call model was told so. A limit ends no session here: the services
    /// may be within theirs.
    async fn judge<T>(&mut self, read: Result<T, Error>) -> Result<Option<T>, End> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.is_lost() && !matches!(error, Error::Exceeded { .. }) => Err(End::Lost(error)),
            Err(error) => {
                self.exceeded = matches!(error, Error::Exceeded { .. });
                let update = self.callers.fail(chain(&error));
                self.tell(Some(update)).await;
                Ok(None)
            }
        }
    }

    /// Reads the consumers of some interfaces, and sends what has changed.
    pub(super) async fn read_some(&mut self, client: &Client, nodes: BTreeSet<String>) -> Result<(), End> {
        // Until all were read once, the list says it.
        if !self.callers.are_listed() || nodes.is_empty() {
            return Ok(());
        }
        client.begin();
        let nodes: Vec<Text> = nodes.into_iter().map(Text::from).collect();
        let read = self.ask(client, nodes).await;
        for (node, answer) in self.judge(read).await?.unwrap_or_default() {
            let said = said(&node, answer);
            let update = self.callers.change(node, said);
            self.tell(update).await;
        }
        Ok(())
    }

    async fn list(&self, client: &Client) -> Result<Vec<(Text, Answer)>, Error> {
        let found = client.read(What::Children, &self.root).await?;
        let mut nodes = found.map(|found| found.children).unwrap_or_default();
        nodes.retain(|node| Layout::Dubbo.is_service(node));
        let check = self.limits.check_services(nodes.len());
        check.map_err(|limit| Error::Exceeded { path: self.root.to_string(), limit })?;
        self.ask(client, nodes.into_iter().map(Text::from).collect()).await
    }

    async fn ask(&self, client: &Client, nodes: Vec<Text>) -> Result<Vec<(Text, Answer)>, Error> {
        let batches: Vec<_> = nodes.chunks(AT_ONCE).map(|nodes| self.batch(client, nodes.to_vec())).collect();
        let mut answers = stream::iter(batches).buffer_unordered(self.concurrency);
        let mut read = Vec::with_capacity(nodes.len());
        while let Some(batch) = answers.next().await {
            read.extend(batch?);
        }
        Ok(read)
    }

    async fn batch(&self, client: &Client, nodes: Vec<Text>) -> Result<Vec<(Text, Answer)>, Error> {
        let paths: Vec<String> = nodes.iter().map(|node| consumers(&self.root, node)).collect();
        let answers = client.read_many(What::Children, &paths).await?;
        Ok(nodes.into_iter().zip(answers).collect())
    }

    /// Sends an update. If a newer reading has taken this one's place, nobody receives it, which is no error.
    async fn tell(&self, update: Option<CallUpdate>) {
        if let Some(update) = update {
            let _ = self.out.send(update).await;
        }
    }
}

/// The needs that the consumers of an interface state; `None` if they cannot be read.
fn said(node: &Text, answer: Answer) -> Option<Needs> {
    match answer {
        Ok(found) => Some(callers_of(node, &found.map(|found| found.children).unwrap_or_default())),
        Err(error) => {
            debug!(%node, %error, "Cannot read the consumers of an interface; they stay as they were.");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_limit_fails_the_call_model_and_not_the_session() {
        let config = Config { consumers: true, ..Config::new(vec!["zk:2181".into()], Layout::Dubbo) };
        let (out, mut told) = mpsc::channel(4);
        let mut consumers = Consumers::of(&config, Some(out)).unwrap();
        consumers.callers.list(BTreeMap::new(), BTreeSet::new());
        let limits = Limits { time: Duration::from_secs(7), ..Limits::default() };
        let slow = || Error::Exceeded { path: "/dubbo".into(), limit: limits.too_slow() };
        let judged = consumers.judge::<()>(Err(slow())).await;
        assert!(matches!(judged, Ok(None)) && !consumers.is_lacking(), "it is not read each period");
        let Some(CallUpdate::Failed(why)) = told.recv().await else { panic!("the call model is told") };
        assert!(why.contains("not read within 7s"), "{why}");
        let lost = consumers.judge::<()>(Err(Error::Lost { servers: "zk:2181".into() })).await;
        assert!(matches!(lost, Err(End::Lost(Error::Lost { .. }))));
        assert!(told.try_recv().is_err());
    }
}
