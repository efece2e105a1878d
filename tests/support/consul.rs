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

/// A server on a busy machine.
const START: Duration = Duration::from_secs(120);

/// Writes to a catalogue, and to an agent.
#[derive(Clone)]
pub struct Writer {
    pub url: String,
    token: Option<String>,
    http: Client,
}

impl Writer {
    /// To the server at that address.
    pub fn new(url: String) -> Writer {
        Writer { url, token: None, http: super::http::client() }
    }

    /// The same with a token.
    pub fn with_token(&self, token: &str) -> Writer {
        Writer { token: Some(token.into()), ..self.clone() }
    }

    /// Registers a node, an instance and checks, as external ones are.
    pub async fn register(&self, registration: Value) {
        self.put("/v1/catalog/register", registration).await;
    }

    /// Takes out a node, an instance or a check.
    pub async fn deregister(&self, what: Value) {
        self.put("/v1/catalog/deregister", what).await;
    }

    /// Puts something that is to succeed.
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
    /// Starts one, and waits until it has a leader. `None` where it cannot be had and need not be: the test prints that and
    /// passes.
    pub async fn start() -> Option<Consul> {
        Self::start_with(json!({})).await
    }

    /// The same with further settings.
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Its address as configuration has it.
    pub fn url(&self) -> String {
        self.writer.url.clone()
    }

    /// Where servers of other datacenters join it.
    pub fn wan(&self) -> String {
        format!("127.0.0.1:{}", self.port - 3000)
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Lets it sleep (`STOP`), or wakes it (`CONT`).
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
