//! One request to admin, and its answer.

use super::error::Error;
use crate::util::{redact, tls};
use reqwest::Url;
use serde_json::Value;
use std::time::Duration;

/// For one page.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The admin of a running Portolan.
#[derive(Debug)]
pub(super) struct Admin {
    client: reqwest::Client,
}

impl Admin {
    pub(super) fn new(admin: &Url) -> Result<Self, Error> {
        let client = tls::http_client().timeout(TIMEOUT).build();
        Ok(Admin { client: client.map_err(|source| failed(admin, source))? })
    }

    pub(super) async fn ask(&self, url: &Url) -> Result<Value, Error> {
        let answer = self.client.get(url.clone()).send().await.map_err(|source| failed(url, source))?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|source| failed(url, source))?;
        let value: Result<Value, _> = serde_json::from_slice(&body);
        if status.is_success() {
            return value.map_err(|source| Error::Format { url: shown(url), source });
        }
        let text = value.ok().and_then(|value| value["error"].as_str().map(str::to_owned));
        let text = text.unwrap_or_else(|| "that is no answer of Portolan's; check the address".into());
        Err(Error::Refused { url: shown(url), status: status.as_u16(), text })
    }
}

fn failed(url: &Url, source: reqwest::Error) -> Error {
    match source.is_timeout() && !source.is_connect() {
        true => Error::Late { url: shown(url), seconds: TIMEOUT.as_secs() },
        false => Error::Ask { url: shown(url), source: source.without_url() },
    }
}

/// The address without what may be secret in it.
fn shown(url: &Url) -> String {
    redact::address(url.as_str())
}
