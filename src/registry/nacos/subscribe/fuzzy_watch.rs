//! Keeps the watches of names (`NamingFuzzyWatchRequest`, Nacos 3) as they are wanted, as long as the connection is.
//!
//! Nacos 2 does not know the question, and a server that has enough of patterns or names says so. Then new services come
//! with the list of names, as everywhere, and the log has one line about it.

use super::{
    names::Answer,
    pending::{PushState, Wanted},
    wire,
};
use crate::{
    model::Text,
    registry::nacos::{error::Error, identity::Subject, transport::grpc::Link},
    util::time::until,
};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::watch, time::Instant};
use tracing::{debug, info};

/// The pause after the first new name, so that several names lead to one question about room for more.
const GATHER: Duration = Duration::from_secs(2);
/// The time after which a watch that was refused, or whose names are too many, is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(300);

const KIND: &str = "NamingFuzzyWatchRequest";

/// Keeps the watches of names on one connection.
pub(super) struct FuzzyWatch<'a> {
    pub(super) registry: &'a Text,
    pub(super) link: Link<'a>,
    pub(super) state: &'a PushState,
}

impl FuzzyWatch<'_> {
    /// Keeps the watches as they are wanted until the connection ends, and returns why.
    pub(super) async fn run(&self, wanted: &mut watch::Receiver<Wanted>) -> Error {
        let mut again = BTreeMap::new();
        loop {
            wanted.borrow_and_update();
            if let Err(error) = self.set_watches(&mut again).await {
                return error;
            }
            let due = again.values().min().copied();
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return Error::GrpcClosed },
                () = self.state.grown() => tokio::time::sleep(GATHER).await,
                () = until(due) => {}
            }
        }
    }

    /// Cancels watches that are not wanted any more, and asks for those that are: once, and again if names were added
    /// or the time in `again` has come.
    async fn set_watches(&self, again: &mut BTreeMap<Text, Instant>) -> Result<(), Error> {
        for pattern in self.state.unwanted() {
            self.state.unwatched(&pattern);
            again.remove(&pattern);
            match self.ask(&question(&pattern, "CANCEL_WATCH", &[], false)).await {
                Err(error) if !error.is_grpc_refusal() => return Err(error),
                _ => {}
            }
        }
        let now = Instant::now();
        let mut due = self.state.to_be_watched();
        due.extend(again.iter().filter(|(_, at)| **at <= now).map(|(pattern, _)| pattern.clone()));
        again.retain(|_, at| *at > now);
        for pattern in due {
            let answer = self.set_watch(&pattern).await?;
            if answer != Answer::Taken {
                again.insert(pattern, Instant::now() + ASK_AGAIN);
            }
        }
        Ok(())
    }

    async fn set_watch(&self, pattern: &Text) -> Result<Answer, Error> {
        let known = self.state.watch(pattern);
        let question = question(pattern, "WATCH", &known, known.is_empty());
        let (answer, why) = match self.ask(&question).await {
            Ok(()) => (Answer::Taken, Text::default()),
            Err(error) if !error.is_grpc_refusal() => return Err(error),
            Err(error @ Error::GrpcRefused { code: wire::TOO_MANY_NAMES | wire::TOO_MANY_PATTERNS, .. }) => {
                (Answer::Full, self.link.http.shown(&error))
            }
            Err(error) => (Answer::Refused, self.link.http.shown(&error)),
        };
        let (registry, news) = (self.registry, self.state.watched(pattern, answer));
        match answer {
            Answer::Taken if news => debug!(%registry, %pattern, "Nacos says which services come and go."),
            Answer::Full if news => {
                info!(%registry, %pattern, %why, "Nacos tells of no more names; new services come with their list.");
            }
            Answer::Refused if news => debug!(%registry, %pattern, %why, "New services come with the list of names."),
            _ => {}
        }
        Ok(answer)
    }

    async fn ask(&self, question: &serde_json::Value) -> Result<(), Error> {
        self.link.ask(KIND, Subject::Services(None), question).await.map(drop)
    }
}

/// The body of a request. `received` are the names that the server need not send again.
fn question(pattern: &Text, watch: &str, received: &[Text], initializing: bool) -> serde_json::Value {
    let namespace = pattern.split(">>").next().unwrap_or_default();
    let received: Vec<&str> = received.iter().map(|key| &**key).collect();
    json!({"namespace": namespace, "groupKeyPattern": &**pattern, "watchType": watch, "receivedGroupKeys": received,
        "initializing": initializing, "module": "naming"})
}
