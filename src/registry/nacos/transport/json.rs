//! How an answer of Nacos is told from an error that came with status 200: by its envelope, or by its code.

use crate::registry::nacos::{error::Error, identity::Token};
use serde::Deserialize;

/// `{"code":0,"message":..,"data":..}` of v2 and v3, and of v1 where it lists namespaces (with code 200).
#[derive(Debug, Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Verdict {
    code: i64,
    #[serde(default)]
    message: Option<String>,
}

/// Reads an answer in an envelope, whose code must be one of success.
pub(crate) fn enveloped<'a, T: Deserialize<'a>>(url: &str, body: &'a [u8]) -> Result<T, Error> {
    if let Some(refused) = refusal(url, body) {
        return Err(refused);
    }
    decode::<Envelope<T>>(url, body).map(|envelope| envelope.data)
}

/// Reads an answer without an envelope; if it is none, it may be an error with a code.
pub(crate) fn bare<'a, T: Deserialize<'a>>(url: &str, body: &'a [u8]) -> Result<T, Error> {
    decode(url, body).map_err(|error| refusal(url, body).unwrap_or(error))
}

/// Reads what a login gives, with or without an envelope as servers of different age write it. An error quotes nothing of
/// it: a token may be there.
pub(super) fn token(url: &str, body: &[u8]) -> Result<Token, Error> {
    bare(url, body).or_else(|_| enveloped(url, body)).map_err(|error| match error {
        Error::Decode { url, .. } => Error::NoToken { url },
        other => other,
    })
}

fn refusal(url: &str, body: &[u8]) -> Option<Error> {
    let Verdict { code, message } = serde_json::from_slice(body).ok()?;
    (!matches!(code, 0 | 200)).then(|| Error::Refused { url: url.into(), code, message: message.unwrap_or_default() })
}

fn decode<'a, T: Deserialize<'a>>(url: &str, body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| {
        let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        Error::Decode { url: url.into(), start, source }
    })
}
