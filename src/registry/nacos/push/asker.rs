//! Questions by gRPC whose answers are read: for servers that list services in no other way. A connection of its own, made
//! when it is first needed, kept, and made anew after it was lost.

use super::{Error, connection::Connection, wire, worker::sent_to};
use crate::{
    pb::nacos::Payload,
    registry::nacos::{client::Client, config::Config, sign::Subject},
};
use reqwest::Url;
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

/// Asks the servers of one registry.
#[derive(Debug)]
pub(in crate::registry::nacos) struct Asker {
    config: Config,
    // Held while connecting on purpose: it is what makes connections one at a time.
    open: Mutex<Option<Arc<Open>>>,
}

/// A connection that is good until its task ends.
#[derive(Debug)]
struct Open {
    connection: Connection,
    server: Url,
    /// Where the server has sent us to, if it did.
    sent: Arc<OnceLock<Option<wire::Place>>>,
    /// Answers what the server asks.
    task: AbortOnDropHandle<()>,
}

impl Asker {
    pub(in crate::registry::nacos) fn new(config: Config) -> Self {
        Asker { config, open: Mutex::default() }
    }

    /// The answer; `service` are a group and a name. After a lost connection it is asked once more on another.
    pub(in crate::registry::nacos) async fn ask(
        &self,
        client: &Client,
        kind: &'static str,
        service: Option<(&str, &str)>,
        body: &Value,
    ) -> Result<Payload, Error> {
        let subject = Subject::Services(service);
        let (open, is_new) = self.open(client, None).await?;
        match ask(client, &open.connection, &open.server, kind, subject, body).await {
            Err(error) if !error.is_refusal() && !is_new => {
                let (open, _) = self.open(client, Some(&open)).await?;
                ask(client, &open.connection, &open.server, kind, subject, body).await
            }
            outcome => outcome,
        }
    }

    /// A connection other than the one that failed, and whether it was made now.
    async fn open(&self, client: &Client, failed: Option<&Arc<Open>>) -> Result<(Arc<Open>, bool), Error> {
        let mut open = self.open.lock().await;
        if let Some(open) = &*open
            && !open.task.is_finished()
            && failed.is_none_or(|failed| !Arc::ptr_eq(failed, open))
        {
            return Ok((open.clone(), false));
        }
        if let Some(lost) = open.take()
            && let Some(to) = lost.sent.get()
            && let Some(server) = sent_to(&client.servers(), &lost.server, to.clone())
        {
            client.prefer(&server);
        }
        let mut last = Error::Closed;
        for server in client.servers() {
            match self.connect(&server).await {
                Ok(made) => {
                    client.prefer(&server);
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
        let (conversation, told) = (connection.converse(|_| Ok(())), sent.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Error::Reset { server } = conversation.await {
                told.get_or_init(|| server);
            }
        }));
        connection.until_known().await?;
        Ok(Open { connection, server: server.clone(), sent, task })
    }
}

/// Asks with our credentials, which may be for one subject; once more with a new token if ours is refused.
pub(super) async fn ask(
    client: &Client,
    connection: &Connection,
    server: &Url,
    kind: &'static str,
    subject: Subject<'_>,
    body: &Value,
) -> Result<Payload, Error> {
    let credentials = |error| Error::Credentials(Box::new(error));
    let session = client.session(server, None).await.map_err(credentials)?;
    let headers = |session: &Option<_>| client.identify(session.as_ref(), subject);
    match connection.ask_as(headers(&session), kind, body).await {
        Err(error) if error.is_denied() && session.is_some() => {
            let renewed = client.session(server, session.as_ref()).await.map_err(credentials)?;
            connection.ask_as(headers(&renewed), kind, body).await
        }
        outcome => outcome,
    }
}
