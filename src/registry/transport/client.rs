//! One HTTP client for each registry: timeouts, headers, TLS, bounded answers, counting.
//!
//! Compression is undone here and not by the client below: so the bytes that are counted are those of the wire, a body
//! that is known already is not even decompressed, and what it grows to is bounded.

use super::{Connection, Error, Remedies};
use crate::{
    model::{Cost, Text},
    registry::Metrics,
    util::{
        redact::{self, Redactor},
        secret::Secret,
        tls,
    },
};
use flate2::read::MultiGzDecoder;
use reqwest::{
    RequestBuilder, Response, StatusCode, Url,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect,
};
use std::{
    fmt,
    io::Read,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// The longest pause that a server may ask for; a longer one is cut to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Sends the requests of one registry, and counts them.
#[derive(Debug)]
pub(in crate::registry) struct Http {
    client: reqwest::Client,
    registry: Text,
    timeout: Duration,
    max_body_bytes: usize,
    remedies: Remedies,
    /// The secrets that no quoted answer may show.
    redactor: Arc<Redactor>,
    metrics: Metrics,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// The most characters of an answer that a message quotes.
const QUOTED: usize = 60;

/// Where an answer came from, for messages: mostly a URL without secrets.
#[derive(Debug, Clone, Default)]
pub(in crate::registry) struct Origin {
    name: Text,
    redactor: Arc<Redactor>,
}

/// An answer with its body, decompressed, and where it came from.
#[derive(Debug)]
pub(in crate::registry) struct Answer {
    pub(in crate::registry) origin: Origin,
    pub(in crate::registry) body: Vec<u8>,
    pub(in crate::registry) headers: HeaderMap,
    /// Hash of the body as it came, before decompression: an equal one need not be read again.
    pub(in crate::registry) hash: u64,
}

/// An answer as it came, not yet decompressed.
#[derive(Debug)]
struct Received {
    bytes: Vec<u8>,
    headers: HeaderMap,
}

impl Http {
    pub(in crate::registry) fn new(
        registry: Text,
        connection: &Connection,
        remedies: Remedies,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        Http::over(None, registry, connection, remedies, metrics)
    }

    /// Like [`Http::new`], over a unix socket if one is named.
    pub(in crate::registry) fn over(
        socket: Option<&Path>,
        registry: Text,
        connection: &Connection,
        remedies: Remedies,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .default_headers(headers(connection)?)
            .redirect(redirect::Policy::none())
            // A proxy that stands in the environment for other programs is not the way to a registry.
            .no_proxy()
            .connect_timeout(connection.timeout)
            .timeout(connection.timeout);
        if let Some(path) = socket {
            builder = builder.unix_socket(path);
        }
        let tls = connection.tls.client(tls::system_roots()).map_err(Error::Tls)?;
        let client = builder.tls_backend_preconfigured(tls).build().map_err(Error::Client)?;
        Ok(Http {
            client,
            registry,
            timeout: connection.timeout,
            max_body_bytes: connection.max_body_bytes,
            remedies,
            redactor: Arc::new(Redactor::new(connection.headers.iter().map(|(_, value)| value))),
            metrics,
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    /// The same client, which also blanks these secrets where it quotes an answer.
    pub(in crate::registry) fn hiding<'a>(
        self,
        connection: &'a Connection,
        secrets: impl IntoIterator<Item = &'a Secret>,
    ) -> Self {
        let headers = connection.headers.iter().map(|(_, value)| value);
        Http { redactor: Arc::new(Redactor::new(headers.chain(secrets))), ..self }
    }

    /// The redactor for quoted answers of this registry. Tokens can be added to it later.
    pub(in crate::registry) fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }

    /// A GET of this URL, to be completed and given to [`Http::send`].
    pub(in crate::registry) fn get(&self, url: &Url) -> RequestBuilder {
        self.client.get(url.clone())
    }

    /// A POST to this URL, to be completed and given to [`Http::send`].
    pub(in crate::registry) fn post(&self, url: &Url) -> RequestBuilder {
        self.client.post(url.clone())
    }

    /// Sends a request, and reads its answer. Any status but 200 is an error. `url` is for messages.
    pub(in crate::registry) async fn send(&self, request: RequestBuilder, url: &Url) -> Result<Answer, Error> {
        self.send_held(request, url, Duration::ZERO).await
    }

    /// Like [`Http::send`], but the server may hold the answer back for `held` besides the timeout.
    pub(in crate::registry) async fn send_held(
        &self,
        request: RequestBuilder,
        url: &Url,
        held: Duration,
    ) -> Result<Answer, Error> {
        self.counted(async { self.decoded(url, self.receive(request, url, held).await?) }).await
    }

    /// Like [`Http::send`]; `None` if the hash of the answer is `known`.
    pub(in crate::registry) async fn send_unless(
        &self,
        known: Option<u64>,
        request: RequestBuilder,
        url: &Url,
    ) -> Result<Option<Answer>, Error> {
        self.counted(async {
            let received = self.receive(request, url, Duration::ZERO).await?;
            if known == Some(xxh3_64(&received.bytes)) {
                return Ok(None);
            }
            self.decoded(url, received).map(Some)
        })
        .await
    }

    /// Requests and bytes since the last call, with `duration` as their time.
    pub(in crate::registry) fn take_cost(&self, duration: Duration) -> Cost {
        let taken = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Cost { requests: taken(&self.requests), bytes: taken(&self.bytes), duration }
    }

    /// Counts a request that was not sent by HTTP, such as one by gRPC.
    pub(in crate::registry) fn asked(&self, outcome: &'static str, bytes: usize, took: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.metrics.request(&self.registry, outcome, took);
    }

    async fn counted<T>(&self, asking: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let started = Instant::now();
        let outcome = asking.await;
        let word = outcome.as_ref().map_or_else(Error::outcome, |_| "ok");
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.metrics.request(&self.registry, word, started.elapsed());
        outcome
    }

    async fn receive(&self, request: RequestBuilder, url: &Url, held: Duration) -> Result<Received, Error> {
        let response = match request.timeout(self.timeout + held).send().await {
            Ok(response) => response,
            Err(source) => return Err(Error::Connect { url: shown(url), source: source.without_url() }),
        };
        let status = response.status();
        if status == StatusCode::OK {
            return self.body(response, url).await;
        }
        let retry_after = retry_after(response.headers());
        let body = self.body(response, url).await.and_then(|received| self.decoded(url, received));
        Err(Error::Status {
            url: shown(url),
            status,
            message: body.map(|answer| self.message(&answer.body)).unwrap_or_default(),
            remedy: (self.remedies.status)(status),
            retry_after,
        })
    }

    async fn body(&self, mut response: Response, url: &Url) -> Result<Received, Error> {
        let announced = response.content_length().map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
        if announced > self.max_body_bytes {
            return Err(self.too_large(url));
        }
        let mut bytes = Vec::with_capacity(announced);
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    let headers = std::mem::take(response.headers_mut());
                    return Ok(Received { bytes, headers });
                }
                Err(source) => return Err(Error::Body { url: shown(url), source: source.without_url() }),
            };
            self.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if bytes.len() + chunk.len() > self.max_body_bytes {
                return Err(self.too_large(url));
            }
            bytes.extend_from_slice(&chunk);
        }
    }

    /// Decompresses an answer. It is refused if its body is then longer than the limit.
    fn decoded(&self, url: &Url, received: Received) -> Result<Answer, Error> {
        let Received { bytes, headers } = received;
        let hash = xxh3_64(&bytes);
        if headers.get(CONTENT_ENCODING).is_none_or(|encoding| encoding != "gzip") {
            return Ok(Answer { origin: self.origin(url), body: bytes, headers, hash });
        }
        let mut body = Vec::new();
        let mut bounded = MultiGzDecoder::new(&bytes[..]).take(self.max_body_bytes as u64 + 1);
        match bounded.read_to_end(&mut body) {
            Ok(_) if body.len() > self.max_body_bytes => Err(self.too_large(url)),
            Ok(_) => Ok(Answer { origin: self.origin(url), body, headers, hash }),
            Err(source) => Err(Error::Gzip { url: shown(url), source }),
        }
    }

    fn origin(&self, url: &Url) -> Origin {
        Origin::new(shown(url), self.redactor.clone())
    }

    /// What a refusal says, in one short line: its JSON field `message`, or the start of its body.
    fn message(&self, body: &[u8]) -> String {
        let json = serde_json::from_slice::<serde_json::Value>(body).ok();
        let message = json.as_ref().and_then(|json| json.get("message")).and_then(|m| m.as_str());
        let line = self.redactor.quote(message.map_or(body, str::as_bytes), 200);
        if line.is_empty() { line } else { format!(" ({line})") }
    }

    fn too_large(&self, url: &Url) -> Error {
        Error::TooLarge { url: shown(url), limit: self.max_body_bytes, remedy: self.remedies.too_large }
    }
}

impl Origin {
    /// An answer of `name`, such as an address, which may hold the secrets that the redactor knows.
    pub(in crate::registry) fn new(name: impl Into<Text>, redactor: Arc<Redactor>) -> Self {
        Origin { name: name.into(), redactor }
    }

    /// The start of an answer, or of a part of it, with secrets blanked.
    pub(in crate::registry) fn quote(&self, body: &[u8]) -> String {
        self.redactor.quote(body, QUOTED)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A URL as messages name it: without its query, which may hold a secret and is long.
fn shown(url: &Url) -> String {
    redact::address(url.as_str())
}

fn headers(connection: &Connection) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in &connection.headers {
        let refused = || Error::Header(name.to_string());
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| refused())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("gzip"));
    Ok(headers)
}

/// The header `Retry-After` in seconds, cut to [`MAX_RETRY_AFTER`]. The form with a date is ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
