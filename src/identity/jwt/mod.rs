//! Signed tokens (JWT, RFC 7519): who issued one, for whom, until when, and whom it names. Pure: a token, keys and a time.
//!
//! The signature decides first, by an algorithm that the configuration lists and a key of its kind; nothing of a token is
//! believed before. Checked by ring: a library would bring its own cryptography for two hundred lines.

mod keys;
#[cfg(test)]
mod tests;

pub use keys::{Algorithm, KeysError};

use crate::model::Text;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use keys::Key;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest token. One of Kubernetes has 1 KB.
const MOST: usize = 16 << 10;

/// The longest name of a client that a claim may give, in bytes.
const LONGEST_NAME: usize = 2048;

/// How far the clocks of issuers and ours may be apart.
const LEEWAY: Duration = Duration::from_secs(30);

/// Which tokens are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How they may be signed.
    pub algorithms: Vec<Algorithm>,
    /// What `iss` must be.
    pub issuer: Text,
    /// One of these must be in `aud`.
    pub audiences: Vec<Text>,
    /// The way to the claim with the name; a dot is no separator, as claims have dots in their names.
    pub name: Vec<Text>,
}

/// Decides on tokens, by rules and public keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verifier {
    pub(super) rules: Rules,
    keys: Vec<Key>,
}

/// What a token says that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) name: Text,
    /// When it ends, with what clocks may be apart.
    pub(super) until: SystemTime,
}

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is too long to be looked at.
    #[error("the token has more than {MOST} bytes")]
    Long,
    /// It is not three parts of base64url, with JSON in the first two.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// Its algorithm is not among those of the configuration.
    #[error("the token is signed by {0:?}, which is not among the `algorithms` of the listener")]
    Algorithm(String),
    /// Its header has `crit`: it asks for extensions that must be understood, and none is.
    #[error("the token has `crit`, of which nothing is understood here")]
    Critical,
    /// No key has its `kid`, or no key is for its algorithm.
    #[error("no key fits the token (kid {0:?}, alg {1})")]
    NoKey(Option<String>, &'static str),
    /// No key has signed it.
    #[error("the signature of the token is wrong")]
    Signature,
    /// A claim is missing, or of another type.
    #[error("the claim {0} is missing, or no {1}")]
    Claim(String, &'static str),
    /// Its `iss` is not the issuer of the rules.
    #[error("the token is of the issuer {0:?}, not of the listener's")]
    Issuer(String),
    /// None of the rules' audiences is in its `aud`.
    #[error("the token is for {0:?}, not for one of the listener's audiences")]
    Audience(Vec<String>),
    /// `exp` is over, with the leeway.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is still to come, with the leeway.
    #[error("the token is not valid yet")]
    NotYet,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl Verifier {
    /// `keys` is the text of a JWKS.
    pub(super) fn new(rules: Rules, keys: &str) -> Result<Self, KeysError> {
        Ok(Verifier { keys: keys::read(keys)?, rules })
    }

    /// The claims of a token, if it is believed at `now`.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<Claims, JwtError> {
        if token.len() > MOST {
            return Err(JwtError::Long);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed("it has no three parts"))?;
        let (header, claims) = message.split_once('.').ok_or(JwtError::Malformed("it has no three parts"))?;
        self.check_signature(header, message, signature)?;
        let claims = decoded(claims, "its second part is no base64url")?;
        let claims =
            serde_json::from_slice(&claims).map_err(|_| JwtError::Malformed("its claims are no JSON object"))?;
        self.check(&claims, now)
    }

    fn check_signature(&self, header: &str, message: &str, signature: &str) -> Result<(), JwtError> {
        let header = decoded(header, "its first part is no base64url")?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|_| JwtError::Malformed("its header is no JSON with `alg`"))?;
        if header.crit.is_some() {
            return Err(JwtError::Critical);
        }
        let algorithm = Algorithm::named(&header.alg).filter(|named| self.rules.algorithms.contains(named));
        let algorithm = algorithm.ok_or_else(|| JwtError::Algorithm(cut(&header.alg)))?;
        let signature = decoded(signature, "its third part is no base64url")?;
        let asked = |key: &&Key| header.kid.is_none() || key.id == header.kid;
        let mut fitting = self.keys.iter().filter(asked).filter(|key| key.is_for(algorithm)).peekable();
        if fitting.peek().is_none() {
            return Err(JwtError::NoKey(header.kid.as_deref().map(cut), algorithm.name()));
        }
        match fitting.any(|key| key.verifies(algorithm, message.as_bytes(), &signature)) {
            true => Ok(()),
            false => Err(JwtError::Signature),
        }
    }

    fn check(&self, claims: &Map<String, Value>, now: SystemTime) -> Result<Claims, JwtError> {
        let missing = |name: &str, what| JwtError::Claim(name.into(), what);
        let issuer = claims.get("iss").and_then(Value::as_str).ok_or_else(|| missing("iss", "text"))?;
        if *issuer != *self.rules.issuer {
            return Err(JwtError::Issuer(cut(issuer)));
        }
        let audiences = match claims.get("aud") {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => return Err(missing("aud", "text or list of texts")),
        };
        if !audiences.iter().any(|audience| self.rules.audiences.iter().any(|ours| **ours == **audience)) {
            return Err(JwtError::Audience(audiences.into_iter().take(8).map(cut).collect()));
        }
        let until = claims.get("exp").and_then(time).ok_or_else(|| missing("exp", "time"))?;
        let until = until + LEEWAY;
        if until <= now {
            return Err(JwtError::Expired);
        }
        if let Some(from) = claims.get("nbf") {
            let from = time(from).ok_or_else(|| missing("nbf", "time"))?;
            if now + LEEWAY < from {
                return Err(JwtError::NotYet);
            }
        }
        Ok(Claims { name: self.name(claims)?, until })
    }

    fn name(&self, claims: &Map<String, Value>) -> Result<Text, JwtError> {
        let (first, rest) = self.rules.name.split_first().map_or(("sub", &[][..]), |(first, rest)| (&**first, rest));
        let found = rest.iter().try_fold(claims.get(first), |value, key| Some(value?.get(&**key)));
        let name = found.flatten().and_then(Value::as_str).filter(|name| (1..=LONGEST_NAME).contains(&name.len()));
        let way = || self.rules.name.iter().map(|key| &**key).collect::<Vec<_>>().join("/");
        name.map(Text::from).ok_or_else(|| JwtError::Claim(way(), "text of 1 to 2048 bytes"))
    }
}

fn decoded(part: &str, otherwise: &'static str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed(otherwise))
}

/// Seconds since 1970, with or without a fraction; none before, and none after the year 9999.
fn time(value: &Value) -> Option<SystemTime> {
    let seconds = value.as_f64().filter(|seconds| (0.0..253_402_300_800.0).contains(seconds))?;
    Some(UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

/// The first 64 characters, as a text from outside must not fill the log.
fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}
