//! Tokens that are words: each stands for a name.

use crate::{model::Text, util::secret::Secret};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use std::{collections::HashMap, fmt};
use subtle::ConstantTimeEq;

/// The least length of a token, in bytes. A shorter word can be guessed.
pub const SHORTEST: usize = 16;

/// A digest of a token, which shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; SHA256_OUTPUT_LEN]);

impl Digest {
    /// The SHA-256 of a token, or of other secret bytes.
    pub fn of(token: &[u8]) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, token).as_ref());
        Digest(bytes)
    }

    /// Whether two are equal, in a time that does not depend on where they differ.
    pub fn is(&self, other: &Digest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Tokens by their digests. How long a look takes depends on digests, which whoever guesses cannot choose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tokens(HashMap<Digest, Text>);

impl Tokens {
    pub(super) fn new(tokens: &[(Text, Secret)]) -> Self {
        Tokens(tokens.iter().map(|(name, token)| (Digest::of(token.expose().as_bytes()), name.clone())).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name that the token with this digest stands for; `None` if it is none of these tokens.
    pub(super) fn name(&self, token: &Digest) -> Option<&Text> {
        self.0.get(token)
    }
}
