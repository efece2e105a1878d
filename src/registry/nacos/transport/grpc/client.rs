//! Questions by gRPC whose answers are read: for servers that list services in no other way. A connection of its own, made
//! when it is first needed, kept, and made anew after it was lost.

use super::connection::Connection;
use crate::{
    pb::nacos::Payload,
    registry::nacos::{
        config::Config,
        error::{Destination, Error},
        identity::{Subject, redirected},
        transport::http::HttpClient,
    },
};
use reqwest::Url;
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

/// A connection, and the client whose credentials its requests carry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link<'a> {
    /// The client that has the token and signs.
    pub(crate) http: &'a HttpClient,
    pub(crate) connection: &'a Connection,
    /// The server to which the connection leads.
    pub(crate) server: &'a Url,
}

/// Asks the servers of one registry by gRPC.
#[derive(Debug)]
pub(crate) struct GrpcClient {
    config: Config,
    // Held while connecting on purpose: it is what makes connections one at a time.
    open: Mutex<Option<Arc<Open>>>,
}

/// A connection that is good until its task ends.
#[derive(Debug)]
struct Open {
    connection: Connection,
    server: Url,
    /// The server to which this one has sent its clients; empty if it has not.
    sent: Arc<OnceLock<Destination>>,
    /// Answers the server's requests. It ends when the connection is lost.
    task: AbortOnDropHandle<()>,
}

impl Link<'_> {
    /// Sends a request with our credentials, which may be for one subject; once more with a new token if ours is
    /// refused.
    pub(crate) async fn ask(&self, kind: &'static str, subject: Subject<'_>, body: &Value) -> Result<Payload, Error> {
        let Link { http, connection, server } = self;
        let session = http.session(server, None).await?;
        let headers = |session: &Option<_>| http.identify(session.as_ref(), subject);
        match connection.ask_as(headers(&session), kind, body).await {
            Err(error) if error.is_denied() && session.is_some() => {
                let renewed = http.session(server, session.as_ref()).await?;
                connection.ask_as(headers(&renewed), kind, body).await
            }
            outcome => outcome,
        }
    }
}

impl GrpcClient {
    pub(crate) fn new(config: Config) -> Self {
        GrpcClient { config, open: Mutex::default() }
    }

    /// Sends a request and returns the answer; `service` is a group and a name. If the connection is lost, it is sent
    /// once more on another one.
    pub(crate) async fn ask(
        &self,
        http: &HttpClient,
        kind: &'static str,
        service: Option<(&str, &str)>,
        body: &Value,
    ) -> Result<Payload, Error> {
        let subject = Subject::Services(service);
        let (open, is_new) = self.open(http, None).await?;
        match open.link(http).ask(kind, subject, body).await {
            Err(error) if !error.is_grpc_refusal() && !is_new => {
                let (open, _) = self.open(http, Some(&open)).await?;
                open.link(http).ask(kind, subject, body).await
            }
            outcome => outcome,
        }
    }

    /// A connection other than `failed`, and `true` if it was made now.
    async fn open(&self, http: &HttpClient, failed: Option<&Arc<Open>>) -> Result<(Arc<Open>, bool), Error> {
        let mut open = self.open.lock().await;
        if let Some(open) = &*open
            && !open.task.is_finished()
            && failed.is_none_or(|failed| !Arc::ptr_eq(failed, open))
        {
            return Ok((open.clone(), false));
        }
        if let Some(lost) = open.take()
            && let Some(to) = lost.sent.get()
            && let Some(server) = redirected(&http.servers(), &lost.server, to)
        {
            http.prefer(&server);
        }
        let mut last = Error::NoServers;
        for server in http.servers() {
            match self.connect(&server).await {
                Ok(made) => {
                    http.prefer(&server);
                    let made = Arc::new(made);
                    *open = Some(made.clone());
                    return Ok((made, true));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect(&self, server: &Url) -> Result<Open, Error> {
        let connection = Connection::open(server, &self.config).await?;
        let sent = Arc::<OnceLock<_>>::default();
        let (conversation, redirect) = (connection.converse(|_| Ok(())), sent.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Error::GrpcReset { to } = conversation.await {
                redirect.get_or_init(|| to);
            }
        }));
        connection.until_known().await?;
        Ok(Open { connection, server: server.clone(), sent, task })
    }
}

impl Open {
    fn link<'a>(&'a self, http: &'a HttpClient) -> Link<'a> {
        Link { http, connection: &self.connection, server: &self.server }
    }
}
