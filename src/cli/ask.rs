//! Requests to the admin API of a running Portolan.

use crate::util::{
    redact,
    tls::{self, TlsError},
};
use clap::Args;
use reqwest::{Method, RequestBuilder, StatusCode, Url, header};
use serde_json::Value;
use std::{
    env, fs,
    future::Future,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long an answer may take; a reload may have to wait for others.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The status of a refused reload, whose answer has the reasons.
const REFUSED: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

#[derive(Debug, Args)]
pub(super) struct Address {
    /// The admin address of a running Portolan: a URL, or a host with a port
    // Read later: the errors and the help of arguments would show a password in it.
    #[arg(
        long,
        env = "PORTOLAN_ADMIN",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8081",
        value_name = "URL"
    )]
    admin: String,
    /// A file with the token of that admin, where it wants one; without it, the variable PORTOLAN_ADMIN_TOKEN
    // No argument: every user of the machine sees those.
    #[arg(long, env = "PORTOLAN_ADMIN_TOKEN_FILE", value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// An authority for an admin with TLS, in PEM, besides those of this machine
    #[arg(long, env = "PORTOLAN_ADMIN_CA", value_name = "FILE")]
    admin_ca: Option<PathBuf>,
}

/// The variable with the token, if no file is named.
const TOKEN: &str = "PORTOLAN_ADMIN_TOKEN";

/// Why a request has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The argument is no URL of HTTP.
    #[error("{0:?} is no address of an admin; write it as http://127.0.0.1:8081")]
    Address(String),
    /// The connection failed before the answer was complete.
    #[error("no Portolan answers on {url}; start one, or name the admin address of another with --admin")]
    Ask {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// The answer has not come within [`TIMEOUT`].
    #[error("{url} does not answer within {seconds} s; it may be overloaded, or no Portolan: check the address")]
    Late { url: String, seconds: u64 },
    /// The answer is an error of the admin API, with its text.
    #[error("{url} answers {status}: {text}")]
    Refused { url: String, status: u16, text: String },
    /// The answer is not JSON, or not of the expected form.
    #[error("{url} does not answer as Portolan does; check the address")]
    Format {
        url: String,
        #[source]
        source: serde_json::Error,
    },
    /// A file that is named cannot be read.
    #[error("cannot read {}; check the path and the permissions", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file of `--admin-ca` has no certificate.
    #[error("{} holds no certificate of an authority in PEM", .path.display())]
    Authority {
        path: PathBuf,
        #[source]
        source: TlsError,
    },
    /// The token has characters that a header cannot have.
    #[error("the token of the admin has characters that no header can carry")]
    Token,
    /// The runtime cannot be started.
    #[error("cannot start")]
    Start(#[source] io::Error),
}

/// A client of the admin API of a running Portolan.
#[derive(Debug)]
pub(super) struct Admin {
    client: reqwest::Client,
    base: Url,
}

impl Address {
    /// Makes the client, with its token and authorities.
    ///
    /// # Errors
    /// If it is no address of HTTP, or a file cannot be used.
    pub(super) fn client(&self) -> Result<Admin, Error> {
        let text = if self.admin.contains("://") { self.admin.clone() } else { format!("http://{}", self.admin) };
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let base = url.ok_or_else(|| Error::Address(redact::address(&text)))?;
        // Admin is near; a proxy that is meant for the world outside would look elsewhere.
        let mut client = tls::http_client().timeout(TIMEOUT);
        if let Some(path) = &self.admin_ca {
            let mut roots = tls::system_roots();
            tls::trust(&mut roots, &read(path)?).map_err(|source| Error::Authority { path: path.clone(), source })?;
            let config = tls::client(roots, None).map_err(|source| Error::Authority { path: path.clone(), source })?;
            client = client.tls_backend_preconfigured(config);
        }
        if let Some(token) = self.token()? {
            let mut value = header::HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Error::Token)?;
            value.set_sensitive(true);
            client = client.default_headers([(header::AUTHORIZATION, value)].into_iter().collect());
        }
        Ok(Admin { client: client.build().map_err(|source| failed(&base, source))?, base })
    }

    /// The token from the file or the variable. `None`: there is none, or it is empty.
    fn token(&self) -> Result<Option<String>, Error> {
        let text = match &self.admin_token_file {
            Some(path) => Some(read(path)?),
            None => env::var(TOKEN).ok(),
        };
        Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
    }
}

impl Admin {
    /// The URL of a path of the admin API, such as `api/v1/services`.
    pub(super) fn page(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        url
    }

    /// The address as it may be shown: without user, query and fragment.
    pub(super) fn name(&self) -> String {
        shown(&self.base)
    }

    pub(super) async fn get(&self, url: &Url) -> Result<Value, Error> {
        send(self.client.get(url.clone()), url).await
    }

    /// Sends a POST request. The reasons of a refused reload are an answer and no error.
    pub(super) async fn post(&self, url: &Url) -> Result<Value, Error> {
        send(self.client.post(url.clone()).header(header::CONTENT_TYPE, "application/json"), url).await
    }
}

impl Admin {
    /// Sends a request with another method and this body.
    pub(super) async fn change(
        &self,
        method: Method,
        url: &Url,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Value, Error> {
        let mut request = self.client.request(method, url.clone());
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        send(request.header(header::CONTENT_TYPE, "application/json").body(body), url).await
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.into(), source })
}

/// Runs requests on this thread.
///
/// # Errors
/// The error of the requests, or that the runtime cannot be started.
pub(super) fn block_on<T, E: From<Error>>(asking: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::Start)?.block_on(asking)
}

/// The error for an answer that is JSON but not of the expected form.
pub(super) fn other(url: &Url, source: serde_json::Error) -> Error {
    Error::Format { url: shown(url), source }
}

async fn send(request: RequestBuilder, url: &Url) -> Result<Value, Error> {
    let answer = request.send().await.map_err(|source| failed(url, source))?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(|source| failed(url, source))?;
    let value: Result<Value, _> = serde_json::from_slice(&body);
    let text = match (&value, status) {
        (Ok(value), _) if value["error"].is_string() => value["error"].as_str().map(str::to_owned),
        (Ok(_), REFUSED) => return Ok(value.unwrap_or_default()),
        _ => None,
    };
    if status.is_success() {
        return value.map_err(|source| other(url, source));
    }
    let text = text.unwrap_or_else(|| "that is no answer of Portolan's; check the address".into());
    Err(Error::Refused { url: shown(url), status: status.as_u16(), text })
}

fn failed(url: &Url, source: reqwest::Error) -> Error {
    match source.is_timeout() && !source.is_connect() {
        true => Error::Late { url: shown(url), seconds: TIMEOUT.as_secs() },
        false => Error::Ask { url: shown(url), source: source.without_url() },
    }
}

/// The address as it may be shown: without user, query and fragment.
fn shown(url: &Url) -> String {
    redact::address(url.as_str())
}
