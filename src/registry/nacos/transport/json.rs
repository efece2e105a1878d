//! How an answer of Nacos is told from an error that came with status 200: by its envelope, or by its code.

use crate::registry::{
    nacos::{error::Error, identity::Token},
    transport::Origin,
};
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
pub(crate) fn enveloped<'a, T: Deserialize<'a>>(origin: &Origin, body: &'a [u8]) -> Result<T, Error> {
    if let Some(refused) = refusal(origin, body) {
        return Err(refused);
    }
    decode::<Envelope<T>>(origin, body).map(|envelope| envelope.data)
}

/// Reads an answer without an envelope; if that fails, it may be an error with a code.
pub(crate) fn bare<'a, T: Deserialize<'a>>(origin: &Origin, body: &'a [u8]) -> Result<T, Error> {
    decode(origin, body).map_err(|error| refusal(origin, body).unwrap_or(error))
}

/// Reads what a login gives, with or without an envelope as servers of different age write it. An error quotes nothing of
/// it: a token may be there.
pub(super) fn token(origin: &Origin, body: &[u8]) -> Result<Token, Error> {
    bare(origin, body).or_else(|_| enveloped(origin, body)).map_err(|error| match error {
        Error::Decode { url, .. } => Error::NoToken { url },
        other => other,
    })
}

fn refusal(origin: &Origin, body: &[u8]) -> Option<Error> {
    let Verdict { code, message } = serde_json::from_slice(body).ok()?;
    (!matches!(code, 0 | 200)).then(|| Error::Refused {
        url: origin.to_string(),
        code,
        message: message.unwrap_or_default(),
    })
}

fn decode<'a, T: Deserialize<'a>>(origin: &Origin, body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| {
        // Blanked before it is cut: half of a secret is one, too.
        Error::Decode { url: origin.to_string(), start: origin.quote(body), source }
    })
}
