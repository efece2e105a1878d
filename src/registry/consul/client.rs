//! HTTP to one of several agents of a Consul. Nothing but GETs.
//!
//! The agent that answered last is asked; one that fails is followed by the next. Indexes are those of the datacenter's
//! servers, and therefore the same through every agent.

use super::{
    config::{Config, Consistency, Server},
    error::{Error, REMEDIES},
};
use crate::{
    model::{Cost, Scope, Text},
    registry::{
        Metrics, of_all,
        transport::{self, Answer, Http, Turn},
    },
    util::{redact::Redactor, secret::Secret},
};
use reqwest::{Url, header::HeaderMap};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Shared by all requests of one registry.
#[derive(Debug)]
pub(super) struct Client {
    servers: Vec<(Server, Http)>,
    redactor: Arc<Redactor>,
    turn: Turn,
    token: Option<Secret>,
    consistency: Consistency,
    /// The longest time for which a server may hold a blocking query back (`wait=`).
    pub(super) wait: Duration,
    /// Permits for requests that are no blocking queries (`concurrency`).
    slots: Semaphore,
}

/// What of a Consul is read as one whole: the parameters `dc`, `ns`, `partition` and `peer` of each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) datacenter: Option<Text>,
    pub(super) namespace: Option<Text>,
    pub(super) partition: Option<Text>,
    pub(super) peer: Option<Text>,
}

impl Place {
    /// The datacenter as a scope; the whole registry if none is named.
    pub(super) fn scope(&self) -> Scope {
        Scope(self.datacenter.clone().unwrap_or_default())
    }
}

impl Client {
    pub(super) fn new(registry: Text, config: &Config, metrics: Metrics) -> Result<Self, Error> {
        let connection = &config.connection;
        let http = |server: &Server| {
            let socket = server.socket.as_deref();
            let http = Http::over(socket, registry.clone(), connection, REMEDIES, metrics.clone())?;
            Ok((server.clone(), http.hiding(connection, &config.token)))
        };
        let secrets = connection.headers.iter().map(|(_, value)| value).chain(&config.token);
        Ok(Client {
            redactor: Arc::new(Redactor::new(secrets)),
            servers: config.servers.iter().map(http).collect::<Result<_, Error>>()?,
            turn: Turn::new(config.servers.len()),
            token: config.token.clone(),
            consistency: config.consistency,
            wait: config.wait,
            slots: Semaphore::new(config.concurrency),
        })
    }

    /// A list, as soon as its index is greater than `index` or the time is over. With index 0 it is answered at once.
    pub(super) async fn watch(&self, place: &Place, path: &[&str], index: u64) -> Result<Answer, Error> {
        let mut failures = Vec::new();
        for at in self.turn.order() {
            let url = self.url(at, place, path, index);
            // Servers add up to a sixteenth, so that not all clients come back at once.
            let held = if index > 0 { self.wait + self.wait / 16 } else { Duration::ZERO };
            let answer = self.servers[at].1.send_held(self.request(at, &url), &url, held).await;
            if let Some(outcome) = self.judge(at, answer, &mut failures) {
                return outcome;
            }
        }
        Err(lost(failures))
    }

    /// The present answer; `None` if the hash of its body is `known`.
    pub(super) async fn get(&self, place: &Place, path: &[&str], known: Option<u64>) -> Result<Option<Answer>, Error> {
        let _slot = self.slots.acquire().await.expect("the semaphore is never closed");
        let mut failures = Vec::new();
        for at in self.turn.order() {
            let url = self.url(at, place, path, 0);
            let answer = self.servers[at].1.send_unless(known, self.request(at, &url), &url).await;
            if let Some(outcome) = self.judge(at, answer, &mut failures) {
                return outcome;
            }
        }
        Err(lost(failures))
    }

    /// The outcome of a request to one server; `None` if that server failed and the next one is to be asked.
    fn judge<T>(
        &self,
        at: usize,
        answer: Result<T, transport::Error>,
        failures: &mut Vec<Error>,
    ) -> Option<Result<T, Error>> {
        match answer {
            Err(error) if error.is_server_lost() => {
                failures.push(error.into());
                None
            }
            outcome => {
                self.turn.answered(at);
                Some(outcome.map_err(Error::from))
            }
        }
    }

    fn request(&self, at: usize, url: &Url) -> reqwest::RequestBuilder {
        let request = self.servers[at].1.get(url);
        match &self.token {
            Some(token) => request.header("x-consul-token", token.expose()),
            None => request,
        }
    }

    fn url(&self, at: usize, place: &Place, path: &[&str], index: u64) -> Url {
        let mut url = self.servers[at].0.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        {
            let mut query = url.query_pairs_mut();
            let named = [("dc", &place.datacenter), ("ns", &place.namespace), ("partition", &place.partition)];
            for (key, value) in named.into_iter().chain([("peer", &place.peer)]) {
                if let Some(value) = value {
                    query.append_pair(key, value);
                }
            }
            if index > 0 {
                query.append_pair("index", &index.to_string());
                query.append_pair("wait", &format!("{}ms", self.wait.as_millis()));
            }
            match self.consistency {
                Consistency::Default => {}
                Consistency::Stale => drop(query.append_key_only("stale")),
                Consistency::Consistent => drop(query.append_key_only("consistent")),
            }
        }
        if url.query() == Some("") {
            url.set_query(None);
        }
        url
    }

    /// The redactor that knows the token and the secret headers.
    pub(super) fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }

    /// Requests and bytes since the last call, with `duration` as their time.
    pub(super) fn take_cost(&self, duration: Duration) -> Cost {
        let costs = self.servers.iter().map(|(_, http)| http.take_cost(duration));
        costs.fold(Cost { duration, ..Cost::default() }, |all, one| Cost {
            requests: all.requests + one.requests,
            bytes: all.bytes + one.bytes,
            duration,
        })
    }
}

/// The error after every server has failed.
fn lost(failures: Vec<Error>) -> Error {
    let is_general = failures.iter().all(Error::is_general);
    of_all(failures, Error::retry_after, |count, tried, retry_after| Error::EveryServer {
        count,
        tried,
        retry_after,
        is_general,
    })
}

/// The header `X-Consul-Index`; `None` if it is absent or no number.
pub(super) fn index(headers: &HeaderMap) -> Option<u64> {
    headers.get("x-consul-index")?.to_str().ok()?.trim().parse().ok()
}

/// True if the answer lacks something because the token may not see it. Consul 1.11 and later say so in a header.
pub(super) fn is_filtered(headers: &HeaderMap) -> bool {
    let said = headers.get("x-consul-results-filtered-by-acls").and_then(|value| value.to_str().ok());
    said.is_some_and(|said| said.trim().eq_ignore_ascii_case("true"))
}
