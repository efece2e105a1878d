//! HTTP to a cluster of Nacos servers: failover, the token, limits, counting. Only GETs, a login's POST aside.

use super::{
    auth::{Auth, Session},
    config::Config,
    error::Error,
    wire::{self, Token},
};
use crate::{
    model::Text,
    registry::{Cost, Metrics},
};
use reqwest::{
    RequestBuilder, Response, StatusCode, Url,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect,
};
use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// A server may not keep us away for longer, whatever it says.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Where to log in: 3.x, then 2.x and 1.x.
const LOGINS: [&str; 2] = ["/v3/auth/user/login", "/v1/auth/login"];

/// A cluster of servers. Shared by all requests of one registry.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    registry: Text,
    servers: Vec<Url>,
    timeout: Duration,
    max_body_bytes: usize,
    /// The one that answered last.
    good: AtomicUsize,
    auth: Option<Auth>,
    metrics: Metrics,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// A body, with the address that errors about it name.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) url: String,
    pub(super) body: Vec<u8>,
}

impl Client {
    pub(super) fn new(registry: Text, config: &Config, metrics: Metrics) -> Result<Self, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let refused = || Error::Header(name.to_string());
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| refused())?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            // A proxy that stands in the environment for other programs is not the way to a registry.
            .no_proxy()
            .connect_timeout(config.timeout)
            .timeout(config.timeout)
            .build()
            .map_err(Error::Client)?;
        Ok(Client {
            http,
            registry,
            servers: config.servers.clone(),
            timeout: config.timeout,
            max_body_bytes: config.max_body_bytes,
            good: AtomicUsize::new(0),
            auth: config.login.clone().map(Auth::new),
            metrics,
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
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
        let taken = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Cost { requests: taken(&self.requests), bytes: taken(&self.bytes), duration }
    }

    /// One server, and once more with a new token if it refuses ours.
    async fn get_from(&self, server: usize, path: &str, query: &[(&str, &str)]) -> Result<Answer, Error> {
        let url = self.url(server, path, query);
        let Some(auth) = &self.auth else { return self.send(self.http.get(url.clone()), url).await };
        let session = auth.session(None, || self.log_in(server)).await?;
        match self.send_as(&session, url.clone()).await {
            Err(error) if error.is_denied() => {
                let renewed = auth.session(Some(&session), || self.log_in(server)).await?;
                if std::sync::Arc::ptr_eq(&renewed.token, &session.token) {
                    return Err(error);
                }
                self.send_as(&renewed, url).await
            }
            outcome => outcome,
        }
    }

    async fn send_as(&self, session: &Session, url: Url) -> Result<Answer, Error> {
        // In a header and not in the query, because addresses stand in logs: ours, theirs and every proxy's.
        let Ok(mut token) = HeaderValue::from_str(session.token.expose()) else {
            return Err(Error::NoToken { url: url.into() });
        };
        token.set_sensitive(true);
        self.send(self.http.get(url.clone()).header("accessToken", token), url).await
    }

    async fn log_in(&self, server: usize) -> Result<Token, Error> {
        let Some(Auth { login, .. }) = &self.auth else { unreachable!("only asked for where there is a login") };
        let form = [("username", &*login.username), ("password", login.password.expose())];
        let mut last = None;
        for path in LOGINS {
            let url = self.url(server, path, &[]);
            match self.send(self.http.post(url.clone()).form(&form), url).await {
                Ok(answer) => return wire::token(&answer.url, &answer.body),
                // 3.x without its old API answers 500 where the old login was.
                Err(error @ Error::Status { status: StatusCode::NOT_FOUND | StatusCode::GONE, .. }) => {
                    last = last.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.expect("a login that gave no answer gave an error"))
    }

    async fn send(&self, request: RequestBuilder, url: Url) -> Result<Answer, Error> {
        let started = Instant::now();
        let outcome = self.receive(request, url.to_string()).await;
        let word = outcome.as_ref().map_or_else(Error::outcome, |_| "ok");
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.metrics.request(&self.registry, word, started.elapsed());
        outcome
    }

    async fn receive(&self, request: RequestBuilder, url: String) -> Result<Answer, Error> {
        let response = match request.timeout(self.timeout).send().await {
            Ok(response) => response,
            Err(source) => return Err(Error::Connect { url, source: source.without_url() }),
        };
        let status = response.status();
        if status != StatusCode::OK {
            let retry_after = retry_after(response.headers());
            let body = self.body(response, url.clone()).await.unwrap_or_default();
            return Err(Error::Status { url, status, message: message(&body), retry_after });
        }
        let body = self.body(response, url.clone()).await?;
        Ok(Answer { url, body })
    }

    /// At most so many bytes, counted as they come out of decompression.
    async fn body(&self, mut response: Response, url: String) -> Result<Vec<u8>, Error> {
        let limit = self.max_body_bytes;
        let announced = response.content_length().map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
        if announced > limit {
            return Err(Error::TooLarge { url, limit });
        }
        let mut body = Vec::with_capacity(announced);
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(body),
                Err(source) => return Err(Error::Body { url, source: source.without_url() }),
            };
            self.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if body.len() + chunk.len() > limit {
                return Err(Error::TooLarge { url, limit });
            }
            body.extend_from_slice(&chunk);
        }
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

/// In seconds; the form with a date is as good as none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// What a refusal says, short and in one line.
fn message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let said = serde_json::from_str::<serde_json::Value>(&text).ok();
    let said = said.as_ref().and_then(|json| json.get("message")).and_then(|m| m.as_str()).unwrap_or(&text);
    let line: String = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect();
    if line.is_empty() { line } else { format!(" ({line})") }
}
