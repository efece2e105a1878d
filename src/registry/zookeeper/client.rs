//! One session with ZooKeeper: the only place that names the library. Counts every request; bounds every wait.
//!
//! The library joins a session again by itself after its connection was cut, but its recursive watches are dead then and
//! its one-shot watches may be sent again in a packet that no server takes. A reader has nothing that is bound to its
//! session, so a session whose connection is lost is given up: [`Client::lost`] ends, and the next one watches and reads
//! anew. The library ends what was given up in the background; it takes 1.4 times the session's timeout at most.

use super::{carrier::Carrier, config::Config, error::Error, tls::secure};
use crate::{
    model::{Cost, Text},
    registry::{Limits, Metrics},
    util::backoff::random,
};
use std::{
    future::Future,
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use zookeeper_client::{AddWatchMode, Error as Cause, MultiReadResult, SessionState};
pub(super) use zookeeper_client::{OneshotWatcher, PersistentWatcher};

/// A session. It is given up when its connection is lost.
#[derive(Debug)]
pub(super) struct Client {
    registry: Text,
    metrics: Metrics,
    servers: String,
    session: zookeeper_client::Client,
    /// Bounds the length of the server's packets.
    carrier: Carrier,
    max_packet_bytes: usize,
    /// The longest wait for one answer. It is longer than the library itself waits, which is the session's timeout and
    /// a bit.
    limit: Duration,
    /// The server is older than 3.6: it can neither watch a tree nor read many nodes in one request.
    old: bool,
    limits: Limits,
    requests: AtomicU64,
    bytes: AtomicU64,
    /// Bytes of the present reading, for its limit.
    reading: AtomicU64,
}

/// What is read of a node: the names of its children, or its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Children,
    Data,
}

/// What a node has. What was not asked for is empty.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) children: Vec<String>,
    pub(super) data: Vec<u8>,
}

/// What was read of one node; `None` if there is no such node.
pub(super) type Answer = Result<Option<Found>, Error>;

impl Found {
    fn children(children: Vec<String>) -> Self {
        Found { children, ..Found::default() }
    }

    fn data(data: Vec<u8>) -> Self {
        Found { data, ..Found::default() }
    }
}

impl Client {
    /// Begins a session with any of the servers. Nobody can ask if they are `old`: if that is not known yet, the first
    /// request that such a server does not know gives [`Error::Old`].
    pub(super) async fn connect(registry: Text, config: &Config, metrics: Metrics, old: bool) -> Result<Client, Error> {
        let servers = config.servers.join(",");
        let started = Instant::now();
        let (session, carrier) = match begin(config, &servers).await {
            Ok(session) => session,
            Err(error) => {
                metrics.request(&registry, "unreachable", started.elapsed());
                return Err(error);
            }
        };
        metrics.request(&registry, "ok", started.elapsed());
        let limit = session.session_timeout().max(config.session_timeout) * 2;
        Ok(Client {
            registry,
            metrics,
            servers,
            session,
            carrier,
            max_packet_bytes: config.max_packet_bytes,
            limit,
            old,
            limits: config.limits.clone(),
            requests: AtomicU64::new(1),
            bytes: AtomicU64::new(0),
            reading: AtomicU64::new(0),
        })
    }

    /// Waits until the connection is lost, and returns why.
    pub(super) async fn lost(&self) -> Error {
        let mut watcher = self.session.state_watcher();
        let mut state = watcher.state();
        while state == SessionState::SyncConnected {
            state = watcher.changed().await;
        }
        self.cut().unwrap_or_else(|| Error::Lost { servers: self.servers.clone() })
    }

    /// The error if the connection has ended because a packet was too long.
    fn cut(&self) -> Option<Error> {
        let length = self.carrier.too_long()?;
        Some(Error::TooLong { servers: self.servers.clone(), length, limit: self.max_packet_bytes })
    }

    /// Makes the server catch up with its leader, so that no list is older than one that another server gave before.
    pub(super) async fn sync(&self, path: &str) -> Result<(), Error> {
        self.ask(path, self.session.sync(path)).await
    }

    /// Watches a node and all below it, even if there is no such node yet. `None` if the server cannot.
    pub(super) async fn watch_tree(&self, path: &str) -> Result<Option<PersistentWatcher>, Error> {
        if self.old {
            return Ok(None);
        }
        self.ask(path, self.session.watch(path, AddWatchMode::PersistentRecursive)).await.map(Some)
    }

    pub(super) async fn read(&self, what: What, path: &str) -> Answer {
        let answer = match what {
            What::Children => self.ask(path, self.session.list_children(path)).await.map(Found::children),
            What::Data => self.ask(path, self.session.get_data(path)).await.map(|(data, _)| Found::data(data)),
        };
        self.count(path, present(answer))
    }

    /// Begins a reading: its bytes are counted from 0 for the limit.
    pub(super) fn begin(&self) {
        self.reading.store(0, Ordering::Relaxed);
    }

    /// Reads one node, and watches it: for a change of what was read, or for its creation if there is no such node.
    pub(super) async fn read_and_watch(
        &self,
        what: What,
        path: &str,
    ) -> Result<(Option<Found>, OneshotWatcher), Error> {
        loop {
            let answer = match what {
                What::Children => {
                    let read = self.ask(path, self.session.list_and_watch_children(path)).await;
                    read.map(|(children, watcher)| (Found::children(children), watcher))
                }
                What::Data => {
                    let read = self.ask(path, self.session.get_and_watch_data(path)).await;
                    read.map(|(data, _, watcher)| (Found::data(data), watcher))
                }
            };
            if let Some((answer, watcher)) = present(answer)? {
                return Ok((self.count(path, Ok(Some(answer)))?, watcher));
            }
            let (stat, watcher) = self.ask(path, self.session.check_and_watch_stat(path)).await?;
            // It may have come in between.
            if stat.is_none() {
                return Ok((None, watcher));
            }
        }
    }

    /// Reads many nodes, in one request if the server can. There is an answer for each, in the same order; an error
    /// only if the session is lost.
    pub(super) async fn read_many(&self, what: What, paths: &[String]) -> Result<Vec<Answer>, Error> {
        if paths.len() > 1 && !self.old {
            match self.read_at_once(what, paths).await {
                // One node that cannot be decoded spoils the answer of all: each is asked for by itself.
                Err(error) if !error.is_lost() => {}
                whole => return whole,
            }
        }
        let mut answers = Vec::with_capacity(paths.len());
        for path in paths {
            let answer = self.read(what, path).await;
            match answer {
                Err(error) if error.is_lost() => return Err(error),
                answer => answers.push(answer),
            }
        }
        Ok(answers)
    }

    async fn read_at_once(&self, what: What, paths: &[String]) -> Result<Vec<Answer>, Error> {
        let mut reader = self.session.new_multi_reader();
        for path in paths {
            match what {
                What::Children => reader.add_get_children(path),
                What::Data => reader.add_get_data(path),
            }
            .map_err(|source| error(path, source))?;
        }
        let results = self.ask(&paths[0], reader.commit()).await?;
        if results.len() != paths.len() {
            let odd = format!("{} answers to {} questions", results.len(), paths.len());
            return Err(error(&paths[0], Cause::UnexpectedError(odd)));
        }
        let answer = |(path, result): (&String, MultiReadResult)| {
            let found = match result {
                MultiReadResult::Children { children } => Ok(Found::children(children)),
                MultiReadResult::Data { data, .. } => Ok(Found::data(data)),
                MultiReadResult::Error { err } => Err(error(path, err)),
                other => Err(error(path, Cause::UnexpectedError(format!("the answer {other:?}")))),
            };
            self.count(path, present(found))
        };
        Ok(paths.iter().zip(results).map(answer).collect())
    }

    /// Requests and bytes since the last call, with `duration` as their time.
    pub(super) fn take_cost(&self, duration: Duration) -> Cost {
        let requests = self.requests.swap(0, Ordering::Relaxed);
        Cost { requests, bytes: self.bytes.swap(0, Ordering::Relaxed), duration }
    }

    /// Sends one request: it is counted, and waits for an answer until `limit` at most.
    async fn ask<T>(&self, path: &str, request: impl Future<Output = Result<T, Cause>>) -> Result<T, Error> {
        let started = Instant::now();
        let answer = match timeout(self.limit, request).await {
            Ok(answer) => answer.map_err(|source| self.cut().unwrap_or_else(|| error(path, source))),
            Err(_) => Err(Error::NoAnswer { path: path.into(), limit: self.limit }),
        };
        self.requests.fetch_add(1, Ordering::Relaxed);
        let outcome = match &answer {
            Err(Error::Read { source: Cause::NoNode, .. }) | Ok(_) => "ok",
            Err(error) => error.outcome(),
        };
        self.metrics.request(&self.registry, outcome, started.elapsed());
        answer
    }

    /// Counts the bytes of names and data, and checks their limit. The library does not report the bytes on the wire,
    /// which are a little more.
    fn count(&self, path: &str, answer: Answer) -> Answer {
        if let Ok(Some(found)) = &answer {
            let names: usize = found.children.iter().map(|name| name.len() + 4).sum();
            let bytes = (names + found.data.len()) as u64;
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            let reading = self.reading.fetch_add(bytes, Ordering::Relaxed) + bytes;
            let exceeded = |limit| Error::Exceeded { path: path.into(), limit };
            self.limits.check_bytes(reading).map_err(exceeded)?;
        }
        answer
    }
}

/// The answer, or `None` if there is no such node.
fn present<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Read { source: Cause::NoNode, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn error(path: &str, source: Cause) -> Error {
    match source {
        Cause::NoAuth => Error::Denied { path: path.into() },
        Cause::Unimplemented => Error::Old,
        source => Error::Read { path: path.into(), source },
    }
}

fn connector(config: &Config) -> zookeeper_client::Connector {
    let connector =
        zookeeper_client::Client::connector().with_session_timeout(config.session_timeout).with_fail_eagerly();
    let Some(login) = &config.login else { return connector };
    connector.with_auth("digest", format!("{}:{}", login.username, login.password.expose()).as_bytes())
}

/// Begins a session with one of the servers, tried in turn from a random one on. The error is that of the last one.
async fn begin(config: &Config, servers: &str) -> Result<(zookeeper_client::Client, Carrier), Error> {
    let first = (random() * config.servers.len() as f64) as usize;
    let mut outcome = None;
    for server in config.servers.iter().cycle().skip(first).take(config.servers.len()) {
        match carried(config, server, servers).await {
            Ok(begun) => return Ok(begun),
            Err(error) => outcome = Some(error),
        }
    }
    Err(outcome.unwrap_or_else(|| Error::Lost { servers: servers.into() }))
}

async fn carried(config: &Config, server: &str, servers: &str) -> Result<(zookeeper_client::Client, Carrier), Error> {
    let unreachable = |source: io::Error| Error::Unreachable { server: servers.into(), source };
    let connecting = timeout(config.session_timeout, TcpStream::connect(server)).await;
    let connection = connecting.unwrap_or_else(|late| Err(late.into())).map_err(unreachable)?;
    connection.set_nodelay(true).map_err(unreachable)?;
    let (limit, lingers) = (config.max_packet_bytes, config.session_timeout * 2);
    let carrier = match &config.tls {
        None => Carrier::new(connection, limit, lingers).await,
        Some(tls) => {
            let securing = timeout(config.session_timeout, secure(tls, server, connection)).await;
            Carrier::new(securing.map_err(|late| unreachable(late.into()))??, limit, lingers).await
        }
    };
    let carrier = carrier.map_err(unreachable)?;
    let cluster = format!("{}{}", carrier.address(), config.chroot);
    match connector(config).connect(&cluster).await {
        Ok(session) => Ok((session, carrier)),
        Err(cause) => Err(Error::Connect { servers: servers.into(), cause }),
    }
}
