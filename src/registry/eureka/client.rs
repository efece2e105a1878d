//! HTTP to one of several Eureka servers. Nothing but GETs.

use super::{
    config::{Config, Server},
    error::{Error, REMEDIES},
};
use crate::{
    model::{Cost, Text},
    registry::{
        Metrics,
        transport::{Answer, Http, Login},
    },
    util::{redact::Redactor, secret::Secret},
};
use reqwest::header::ACCEPT;
use std::{sync::Arc, time::Duration};

/// Sends the requests of one registry, with its login or token.
#[derive(Debug)]
pub(super) struct Client {
    http: Http,
    servers: Vec<Server>,
    login: Option<Login>,
    token: Option<Secret>,
}

impl Client {
    pub(super) fn new(registry: Text, config: &Config, metrics: Metrics) -> Result<Self, Error> {
        let logins = config.servers.iter().filter_map(|server| server.login.as_ref()).chain(&config.login);
        let secrets = logins.map(|login| &login.password).chain(&config.token);
        Ok(Client {
            http: Http::new(registry, &config.connection, REMEDIES, metrics)?.hiding(&config.connection, secrets),
            servers: config.servers.clone(),
            login: config.login.clone(),
            token: config.token.clone(),
        })
    }

    /// The answer of one server for `path` behind its own path; `None` if the hash of its body is `known`.
    pub(super) async fn get(&self, server: usize, path: &str, known: Option<u64>) -> Result<Option<Answer>, Error> {
        let Server { url, login } = &self.servers[server];
        let mut url = url.clone();
        url.set_path(&format!("{}{path}", url.path()));
        // Without it Eureka speaks XML.
        let mut request = self.http.get(&url).header(ACCEPT, "application/json");
        if let Some(Login { username, password }) = login.as_ref().or(self.login.as_ref()) {
            request = request.basic_auth(username, Some(password.expose()));
        } else if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        Ok(self.http.send_unless(known, request, &url).await?)
    }

    /// The redactor that knows passwords, the token and the secret headers.
    pub(super) fn redactor(&self) -> &Arc<Redactor> {
        self.http.redactor()
    }

    /// Requests and bytes since the last call, with `duration` as their time.
    pub(super) fn take_cost(&self, duration: Duration) -> Cost {
        self.http.take_cost(duration)
    }
}
