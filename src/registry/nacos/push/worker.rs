//! Keeps one connection, with everything wanted subscribed to: connects, subscribes, answers the server, notices when it
//! is gone, and begins anew with the next server.
//!
//! A session is loops that run together until one of them ends: what the server says, whether it is still there
//! ([`Connection::hold`]), which names there are, what is to be subscribed to.

use super::{Error, Wanted, asker, board::Board, connection::Connection, wire};
use crate::{
    model::{ServiceId, Text},
    pb::nacos::Payload,
    registry::{
        Metrics,
        backoff::Backoff,
        chain,
        nacos::{PUBLIC, client::Client, config::Config, convert::group_and_name, sign::Subject},
    },
};
use futures_util::{StreamExt, stream};
use reqwest::Url;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};
use tracing::{debug, info, warn};

/// Subscriptions on their way at the same time.
const IN_FLIGHT: usize = 64;
/// What a server has refused is asked for again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Keeps the connection.
pub(super) struct Worker {
    pub(super) registry: Text,
    pub(super) config: Config,
    pub(super) client: Arc<Client>,
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) board: Arc<Board>,
    pub(super) metrics: Metrics,
    /// The trouble that was last logged.
    pub(super) told: Option<Text>,
}

impl Worker {
    /// Never ends.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        let mut first = None;
        loop {
            let mut servers = self.client.servers();
            let at = servers.iter().position(|server| Some(server) == first.as_ref()).unwrap_or_default();
            servers.rotate_left(at);
            for server in &servers {
                let mut was_up = false;
                let error = self.session(server, &mut was_up).await;
                self.note_lost(server, was_up, &error);
                if was_up {
                    backoff.reset();
                }
                first = None;
                if let Error::Reset { server: to } = error {
                    first = sent_to(&servers, server, to);
                    break;
                }
            }
            sleep(backoff.next()).await;
        }
    }

    /// One connection, from its beginning to its end.
    async fn session(&mut self, server: &Url, was_up: &mut bool) -> Error {
        let connection = match Connection::open(server, &self.config).await {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        let (mut wanted, mut patterns) = (self.wanted.clone(), self.wanted.clone());
        let work = async {
            *was_up = true;
            self.note_connected(server);
            tokio::select! {
                error = self.watch(&connection, server, &mut patterns) => error,
                error = self.subscribe(&connection, server, &mut wanted) => error,
            }
        };
        connection.hold(|payload| self.heard(payload), work).await
    }

    /// One thing said.
    fn heard(&self, payload: &Payload) -> Result<(), Error> {
        let kind = wire::kind(payload);
        match kind {
            "NotifySubscriberRequest" => {
                let push: wire::Notify<'_> = wire::read(payload)?;
                let info = push.service_info;
                let (group, name) = group_and_name(&info.name, info.group_name.as_deref());
                let namespace = push.namespace.as_deref().map(|id| if id.is_empty() { PUBLIC } else { id });
                self.metrics.push(&self.registry);
                self.board.push(namespace, group, name);
            }
            "NamingFuzzyWatchChangeNotifyRequest" => self.heard_name(None, &wire::read(payload)?),
            "NamingFuzzyWatchSyncRequest" => {
                let names: wire::Names<'_> = wire::read(payload)?;
                let pattern = &*names.group_key_pattern;
                names.contexts.iter().flatten().for_each(|name| self.heard_name(Some(pattern), name));
                if names.is_last() {
                    self.board.complete(pattern);
                }
            }
            _ => debug!(registry = %self.registry, kind, "The server asks."),
        }
        Ok(())
    }

    fn heard_name(&self, pattern: Option<&str>, name: &wire::Name<'_>) {
        debug!(registry = %self.registry, pattern, ?name, "The server names a service.");
        if let Some(change) = name.change() {
            self.board.name(pattern, &name.service_key, change);
        }
    }

    /// Subscribes to what is wanted.
    async fn subscribe(&self, connection: &Connection, server: &Url, wanted: &mut watch::Receiver<Wanted>) -> Error {
        loop {
            let target = wanted.borrow_and_update().services.clone();
            let before = self.board.subscribed();
            let new = target.difference(&before).map(|id| (id, true));
            let gone: Vec<ServiceId> = before.difference(&target).cloned().collect();
            let questions: Vec<_> = new
                .chain(gone.iter().map(|id| (id, false)))
                .map(|(id, on)| async move { (id, on, self.set(connection, server, id, on).await) })
                .collect();
            let mut answers = stream::iter(questions).buffer_unordered(IN_FLIGHT);
            let (mut good, mut refused) = (Vec::new(), None);
            while let Some((id, on, outcome)) = answers.next().await {
                match outcome {
                    Ok(()) if on => good.push(id.clone()),
                    Ok(()) => {}
                    Err(error) if error.is_refusal() => refused = Some(format!("{id}: {}", chain(&error))),
                    Err(error) => return error,
                }
            }
            drop(answers);
            self.note_subscribed(target.len(), refused.as_deref());
            let all = refused.is_none();
            self.board.subscribe(good, &gone, refused.map(Text::from));
            let ask_again = async { if all { std::future::pending().await } else { sleep(ASK_AGAIN).await } };
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return Error::Closed },
                () = ask_again => {}
            }
        }
    }

    /// Subscribes to one service or ends that.
    async fn set(&self, connection: &Connection, server: &Url, id: &ServiceId, on: bool) -> Result<(), Error> {
        let body = json!({"namespace": &*id.namespace, "groupName": &*id.group, "serviceName": &*id.name,
            "subscribe": on, "clusters": "", "module": "naming"});
        self.ask(connection, server, "SubscribeServiceRequest", Some((&id.group, &id.name)), &body).await
    }

    /// Asks with our credentials, which may be for one service.
    pub(super) async fn ask(
        &self,
        connection: &Connection,
        server: &Url,
        kind: &'static str,
        service: Option<(&str, &str)>,
        body: &Value,
    ) -> Result<(), Error> {
        asker::ask(&self.client, connection, server, kind, Subject::Services(service), body).await.map(drop)
    }

    /// Logs and counts of a connection's life.
    fn note_connected(&self, server: &Url) {
        self.metrics.push_connected(&self.registry, true);
        // What one server pushes another may not know yet.
        self.client.prefer(server);
        info!(registry = %self.registry, %server, "Nacos pushes what changes.");
    }

    fn note_subscribed(&self, count: usize, refused: Option<&str>) {
        match refused {
            None => debug!(registry = %self.registry, count, "Subscribed to all services."),
            Some(why) => {
                warn!(registry = %self.registry, count, why, "Some services cannot be subscribed to; all are polled.");
            }
        }
    }

    /// Where no service could be read so far, that the server is not there is told by whoever reads.
    fn note_lost(&mut self, server: &Url, was_up: bool, error: &Error) {
        let why = chain(error);
        self.metrics.push_connected(&self.registry, false);
        self.board.lost(why.clone());
        let missed = !self.wanted.borrow().services.is_empty() && self.told.as_ref() != Some(&why);
        if was_up || missed {
            self.told = Some(why.clone());
            warn!(registry = %self.registry, %server, error = %why, "No push from Nacos; its services are polled.");
        }
    }
}

/// The server to go to from one that sends us away: that which it names if it is one of ours, else the next.
pub(super) fn sent_to(servers: &[Url], from: &Url, to: Option<wire::Place>) -> Option<Url> {
    let named = to.and_then(|(host, port)| {
        let fits = |url: &&Url| {
            url.host_str() == Some(&host) && port.is_none_or(|port| url.port_or_known_default() == Some(port))
        };
        servers.iter().find(fits)
    });
    let next = || {
        let at = servers.iter().position(|url| url == from)?;
        servers.get((at + 1) % servers.len())
    };
    named.or_else(next).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_sent_away_goes_to_a_server_of_ours() {
        let url = |text: &str| Url::parse(text).unwrap();
        let servers = [url("http://a:8848/nacos"), url("http://b:8848/nacos"), url("http://b:8948/nacos")];
        for (from, to, expected) in [
            (0, Some(("b", Some(8948))), 2),
            (0, Some(("b", None)), 1),
            (1, Some(("b", Some(8848))), 1),
            (1, Some(("c", Some(8848))), 2),
            (0, Some(("b", Some(1))), 1),
            (2, None, 0),
        ] {
            let to = to.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(sent_to(&servers, &servers[from], to.clone()), Some(servers[expected].clone()), "{from} {to:?}");
        }
    }
}
