//! HTTP to a cluster of Nacos servers: failover, and the token. Only GETs, a login's POST aside.

use super::{
    auth::{Auth, Session},
    config::Config,
    error::{Error, REMEDIES},
    servers::Servers,
    wire::{self, Token},
};
use crate::{
    model::{ServiceId, Text},
    registry::{
        Cost, Metrics,
        http::{Answer, Http},
    },
};
use reqwest::{StatusCode, Url, header::HeaderValue};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Where to log in: 3.x, then 2.x and 1.x.
const LOGINS: [&str; 2] = ["/v3/auth/user/login", "/v1/auth/login"];

/// A cluster of servers. Shared by all requests of one registry.
#[derive(Debug)]
pub(super) struct Client {
    http: Http,
    servers: Servers,
    auth: Option<Auth>,
}

impl Client {
    pub(super) fn new(registry: Text, config: &Config, metrics: Metrics) -> Result<Self, Error> {
        Ok(Client {
            http: Http::new(registry, &config.connection, REMEDIES, metrics)?,
            servers: Servers::new(config.servers.clone()),
            auth: config.login.clone().map(Auth::new),
        })
    }

    /// Asks the server that answered last, then the others in turn while servers fail.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Error> {
        let mut lost = None;
        for (turn, server) in self.servers.in_turn().iter().enumerate() {
            let outcome = self.get_from(server, path, query).await;
            if outcome.as_ref().is_err_and(Error::is_server_lost) {
                lost = outcome.err();
                continue;
            }
            if turn > 0 {
                self.servers.answered(server);
            }
            return outcome;
        }
        Err(lost.expect("there is a server, and it was asked"))
    }

    /// The servers, that which answered last first.
    pub(super) fn servers(&self) -> Vec<Url> {
        self.servers.in_turn()
    }

    /// What has been asked and received since the last call.
    pub(super) fn take_cost(&self, duration: Duration) -> Cost {
        self.http.take_cost(duration)
    }

    /// The token for a server, where there is a login; another than `refused`, if that can be had.
    pub(super) async fn session(&self, server: &Url, refused: Option<&Session>) -> Result<Option<Session>, Error> {
        let Some(auth) = &self.auth else { return Ok(None) };
        auth.session(refused, || self.log_in(auth, server)).await.map(Some)
    }

    /// What says who we are, for gRPC.
    pub(super) fn identify(&self, session: Option<&Session>, _: &ServiceId) -> BTreeMap<String, String> {
        session.map(|session| ("accessToken".to_owned(), session.token.expose().to_owned())).into_iter().collect()
    }

    /// One server, and once more with a new token if it refuses ours.
    async fn get_from(&self, server: &Url, path: &str, query: &[(&str, &str)]) -> Result<Answer, Error> {
        let url = url(server, path, query);
        let session = self.session(server, None).await?;
        let Some(session) = session else { return Ok(self.http.send(self.http.get(&url), &url).await?) };
        match self.send_as(&session, &url).await {
            Err(error) if error.is_denied() => match self.session(server, Some(&session)).await? {
                Some(renewed) if !Arc::ptr_eq(&renewed.token, &session.token) => self.send_as(&renewed, &url).await,
                _ => Err(error),
            },
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

    async fn log_in(&self, Auth { login, .. }: &Auth, server: &Url) -> Result<Token, Error> {
        let form = [("username", &*login.username), ("password", login.password.expose())];
        let mut last = None;
        for path in LOGINS {
            let url = url(server, path, &[]);
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
}

fn url(server: &Url, path: &str, query: &[(&str, &str)]) -> Url {
    let mut url = server.clone();
    url.set_path(&format!("{}{path}", url.path()));
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}
