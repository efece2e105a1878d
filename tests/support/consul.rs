//! A Consul that is written to over HTTP, real or not; and a real one from `tests/servers`, on ports of its own. Its process
//! ends with the value, also when a test panics.

use super::{
    process::{self, Process},
    servers::{free_ports, prepared},
    until,
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio::process::Command;

/// How long a server may take to start, on a busy machine.
const START: Duration = Duration::from_secs(120);

/// Writes to the catalogue or the agent of a Consul.
#[derive(Clone)]
pub struct Writer {
    pub url: String,
    token: Option<String>,
    http: Client,
}

impl Writer {
    /// A writer without a token, to the server at that URL.
    pub fn new(url: String) -> Writer {
        Writer { url, token: None, http: super::http::client() }
    }

    /// The same writer, which sends this token as `X-Consul-Token`.
    pub fn with_token(&self, token: &str) -> Writer {
        Writer { token: Some(token.into()), ..self.clone() }
    }

    /// Registers a node, an instance and checks in the catalogue, as is done for external services.
    pub async fn register(&self, registration: Value) {
        self.put("/v1/catalog/register", registration).await;
    }

    /// Removes a node, an instance or a check from the catalogue.
    pub async fn deregister(&self, what: Value) {
        self.put("/v1/catalog/deregister", what).await;
    }

    /// Sends a PUT and returns the body. Panics unless the status is 200.
    pub async fn put(&self, path: &str, body: Value) -> String {
        match self.send(Method::PUT, path, body).await {
            Ok((200, text)) => text,
            other => panic!("{path}: {other:?}"),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Result<(u16, String), String> {
        let request = self.http.request(method, format!("{}{path}", self.url)).body(body.to_string());
        let request = match &self.token {
            Some(token) => request.header("x-consul-token", token),
            None => request,
        };
        let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
        Ok((answer.status().as_u16(), answer.text().await.map_err(|error| format!("{error:?}"))?))
    }
}

/// A real server; killed when dropped.
pub struct Consul {
    process: Process,
    settings: String,
    port: u16,
    pub writer: Writer,
}

impl Consul {
    /// Starts one, and waits until it has a leader. `None` if it is missing and not required
    /// ([`lacking`](super::servers::lacking)): the test then passes.
    pub async fn start() -> Option<Consul> {
        Self::start_with(json!({})).await
    }

    /// Like [`Consul::start`], with further settings of the agent's configuration.
    pub async fn start_with(settings: Value) -> Option<Consul> {
        if !prepared(&["consul"]).await {
            return None;
        }
        let port = free_ports(16_000..17_500, &[0]);
        let (folder, settings) = (tempfile::tempdir().unwrap(), settings.to_string());
        let command = command(port, folder.path(), &settings);
        let writer = Writer::new(format!("http://127.0.0.1:{port}"));
        let consul = Consul { process: Process::start(folder, command), settings, port, writer };
        consul.ready().await;
        Some(consul)
    }

    /// Address of its HTTP API.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Base URL of its HTTP API, as the key `servers` takes it.
    pub fn url(&self) -> String {
        self.writer.url.clone()
    }

    /// Address of its WAN gossip, where servers of other datacenters join it.
    pub fn wan(&self) -> String {
        format!("127.0.0.1:{}", self.port - 3000)
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Sends a signal: `STOP` halts the process, `CONT` lets it go on.
    pub async fn signal(&self, signal: &str) {
        self.process.signal(signal).await;
    }

    /// Starts it again, on its ports. It has forgotten everything.
    pub async fn restart(&mut self) {
        let command = command(self.port, self.process.folder(), &self.settings);
        self.process.restart(command).await;
        self.ready().await;
    }

    async fn ready(&self) {
        until("Consul to have a leader", START, || async {
            match self.writer.send(Method::GET, "/v1/status/leader", json!(null)).await {
                // It takes writes a moment later, when it knows itself.
                Ok((200, leader)) if leader.len() > 2 => Ok(()),
                other => Err(format!("{other:?}\n{}", self.process.tail())),
            }
        })
        .await;
    }
}

fn command(port: u16, folder: &Path, settings: &str) -> Command {
    let mut command = process::run("consul", port, folder);
    command.env("CONSUL_SETTINGS", settings);
    command
}
