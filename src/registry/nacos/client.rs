//! HTTP to a cluster of Nacos servers: failover, and the token. Only GETs, a login's POST aside.

use super::{
    auth::{Auth, Session},
    config::Config,
    error::{Error, REMEDIES},
    wire::{self, Token},
};
use crate::{
    model::Text,
    registry::{
        Cost, Metrics,
        http::{Answer, Http},
    },
};
use reqwest::{StatusCode, Url, header::HeaderValue};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// Where to log in: 3.x, then 2.x and 1.x.
const LOGINS: [&str; 2] = ["/v3/auth/user/login", "/v1/auth/login"];

/// A cluster of servers. Shared by all requests of one registry.
#[derive(Debug)]
pub(super) struct Client {
    http: Http,
    servers: Vec<Url>,
    /// The one that answered last.
    good: AtomicUsize,
    auth: Option<Auth>,
}

impl Client {
    pub(super) fn new(registry: Text, config: &Config, metrics: Metrics) -> Result<Self, Error> {
        Ok(Client {
            http: Http::new(registry, &config.connection, REMEDIES, metrics)?,
            servers: config.servers.clone(),
            good: AtomicUsize::new(0),
            auth: config.login.clone().map(Auth::new),
        })
    }

    /// Asks the server that answered last, then the others in turn while servers fail.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Error> {
        let first = self.good.load(Ordering::Relaxed);
        let mut outcome = self.get_from(first, path, query).await;
        for turn in 1..self.servers.len() {
            if !outcome.as_ref().is_err_and(Error::is_server_lost) {
                break;
            }
            let next = (first + turn) % self.servers.len();
            let other = self.get_from(next, path, query).await;
            if !other.as_ref().is_err_and(Error::is_server_lost) {
                self.good.store(next, Ordering::Relaxed);
            }
            outcome = other;
        }
        outcome
    }

    /// What has been asked and received since the last call.
    pub(super) fn take_cost(&self, duration: Duration) -> Cost {
        self.http.take_cost(duration)
    }

    /// One server, and once more with a new token if it refuses ours.
    async fn get_from(&self, server: usize, path: &str, query: &[(&str, &str)]) -> Result<Answer, Error> {
        let url = self.url(server, path, query);
        let Some(auth) = &self.auth else { return Ok(self.http.send(self.http.get(&url), &url).await?) };
        let session = auth.session(None, || self.log_in(server)).await?;
        match self.send_as(&session, &url).await {
            Err(error) if error.is_denied() => {
                let renewed = auth.session(Some(&session), || self.log_in(server)).await?;
                if std::sync::Arc::ptr_eq(&renewed.token, &session.token) {
                    return Err(error);
                }
                self.send_as(&renewed, &url).await
            }
            outcome => outcome,
        }
    }

    async fn send_as(&self, session: &Session, url: &Url) -> Result<Answer, Error> {
        // In a header and not in the query, because addresses stand in logs: ours, theirs and every proxy's.
        let Ok(mut token) = HeaderValue::from_str(session.token.expose()) else {
            return Err(Error::NoToken { url: url.to_string() });
        };
        token.set_sensitive(true);
        Ok(self.http.send(self.http.get(url).header("accessToken", token), url).await?)
    }

    async fn log_in(&self, server: usize) -> Result<Token, Error> {
        let Some(Auth { login, .. }) = &self.auth else { unreachable!("only asked for where there is a login") };
        let form = [("username", &*login.username), ("password", login.password.expose())];
        let mut last = None;
        for path in LOGINS {
            let url = self.url(server, path, &[]);
            match self.http.send(self.http.post(&url).form(&form), &url).await {
                Ok(answer) => return wire::token(&answer.url, &answer.body),
                // 3.x without its old API answers 500 where the old login was.
                Err(error) if matches!(error.status(), Some(StatusCode::NOT_FOUND | StatusCode::GONE)) => {
                    last = last.or(Some(error));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(last.expect("a login that gave no answer gave an error").into())
    }

    fn url(&self, server: usize, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.servers[server].clone();
        url.set_path(&format!("{}{path}", url.path()));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}
