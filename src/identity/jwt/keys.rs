//! A set of public keys (JWKS, RFC 7517), and what each can verify.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;

/// The most keys in a set. A token without `kid` is tried with each that fits.
const MOST: usize = 100;

/// How a token is signed. What is not here is not accepted, least of all `none` and the ones with a shared key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 7518, section 3.1")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// Each once, in the order of their declaration.
    pub const ALL: [Algorithm; 9] = [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ];

    /// The word in tokens and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::RS256 => "RS256",
            Algorithm::RS384 => "RS384",
            Algorithm::RS512 => "RS512",
            Algorithm::PS256 => "PS256",
            Algorithm::PS384 => "PS384",
            Algorithm::PS512 => "PS512",
            Algorithm::ES256 => "ES256",
            Algorithm::ES384 => "ES384",
            Algorithm::EdDSA => "EdDSA",
        }
    }

    pub(super) fn named(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// Why a set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It is no JWKS.
    #[error("it is no JSON of the form {{\"keys\": [...]}}")]
    Format(#[source] serde_json::Error),
    /// It has too many keys.
    #[error("it has {0} keys; {MOST} are allowed")]
    Many(usize),
    /// A key that it should be possible to use cannot be.
    #[error("the key {0} cannot be read: {1} is missing or no base64url")]
    Key(String, &'static str),
    /// None of its keys can verify a signature.
    #[error("it has no key for signatures of RSA, of P-256 or P-384, or of Ed25519")]
    None,
}

/// A public key of a JWKS, with what it may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    /// The one algorithm that it is for, if it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// `x` and `y` behind `0x04`, as SEC 1 has them.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Written>,
}

/// A key as it is written. Other members are ignored.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a set with which signatures can be verified; those of other kinds are passed over.
pub(super) fn read(text: &str) -> Result<Vec<Key>, KeysError> {
    let Set { keys } = serde_json::from_str(text).map_err(KeysError::Format)?;
    if keys.len() > MOST {
        return Err(KeysError::Many(keys.len()));
    }
    let mut found = Vec::new();
    for (at, key) in keys.iter().enumerate() {
        if let Some(material) = material(key).map_err(|what| KeysError::Key(name(key, at), what))? {
            // A key for an algorithm that is not known here is of no use.
            let algorithm = key.alg.as_deref().map(Algorithm::named);
            if algorithm != Some(None) {
                found.push(Key { id: key.kid.clone(), algorithm: algorithm.flatten(), material });
            }
        }
    }
    if found.is_empty() { Err(KeysError::None) } else { Ok(found) }
}

fn name(key: &Written, at: usize) -> String {
    key.kid.as_ref().map_or_else(|| format!("number {}", at + 1), |id| format!("{id:?}"))
}

fn material(key: &Written) -> Result<Option<Material>, &'static str> {
    if key.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
        return Ok(None);
    }
    let bytes = |name: &'static str, value: &Option<String>| {
        value.as_deref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(name)
    };
    let point = |size: usize| {
        let (x, y) = (bytes("x", &key.x)?, bytes("y", &key.y)?);
        if (x.len(), y.len()) == (size, size) { Ok([&[4], &x[..], &y[..]].concat()) } else { Err("x or y") }
    };
    Ok(match (key.kty.as_str(), key.crv.as_deref()) {
        ("RSA", _) => Some(Material::Rsa { n: bytes("n", &key.n)?, e: bytes("e", &key.e)? }),
        ("EC", Some("P-256")) => Some(Material::P256(point(32)?)),
        ("EC", Some("P-384")) => Some(Material::P384(point(48)?)),
        ("OKP", Some("Ed25519")) => Some(Material::Ed25519(bytes("x", &key.x)?)),
        _ => None,
    })
}

impl Key {
    /// Whether it is of a kind for that algorithm, and not for another one.
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let fits = matches!(
            (&self.material, algorithm),
            (Material::Rsa { .. }, RS256 | RS384 | RS512 | PS256 | PS384 | PS512)
                | (Material::P256(_), ES256)
                | (Material::P384(_), ES384)
                | (Material::Ed25519(_), EdDSA)
        );
        fits && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Whether `signed` is a signature of the message by this key. `false` as well if the key is not for that
    /// algorithm.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signed: &[u8]) -> bool {
        if !self.is_for(algorithm) {
            return false;
        }
        let plain = |with: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(with, key).verify(message, signed).is_ok()
        };
        match &self.material {
            // RSA keys from 2048 bits on.
            Material::Rsa { n, e } => {
                let with = match algorithm {
                    Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
                    Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(with, message, signed).is_ok()
            }
            Material::P256(key) => plain(&signature::ECDSA_P256_SHA256_FIXED, key),
            Material::P384(key) => plain(&signature::ECDSA_P384_SHA384_FIXED, key),
            Material::Ed25519(key) => plain(&signature::ED25519, key),
        }
    }
}
