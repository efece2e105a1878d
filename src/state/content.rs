//! What a file keeps: for each sort of memory its ending, its name for people, and how it becomes bytes and back.

use super::wire::{self, overrides::Laid};
use crate::{catalog, manifests, model::Text, pb::state as pb};
use prost::Message;

/// A memory of a registry that has a file of its own.
pub trait Content: Sized {
    /// The ending of its file.
    const ENDING: &'static str;
    /// What it is made of, in metrics and the log.
    const WORD: &'static str;

    /// How many of these it has.
    fn number(&self) -> usize;

    /// Equal memories give equal bytes.
    fn encode(&self) -> Vec<u8>;

    /// Reads what [`Content::encode`] gives.
    ///
    /// # Errors
    /// If something in it means nothing.
    fn decode(registry: &Text, body: &[u8]) -> Result<Self, Unreadable>;
}

/// Why bytes are no memory.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// They are no message.
    #[error("it is damaged: {0}")]
    Message(#[from] prost::DecodeError),
    /// A message says what cannot be.
    #[error("{0}")]
    Wire(#[from] wire::WireError),
}

impl Content for catalog::Memory {
    const ENDING: &'static str = "state";
    const WORD: &'static str = "services";

    fn number(&self) -> usize {
        self.services.len()
    }

    fn encode(&self) -> Vec<u8> {
        wire::encode(self).encode_to_vec()
    }

    fn decode(registry: &Text, body: &[u8]) -> Result<Self, Unreadable> {
        Ok(wire::decode(registry, pb::Registry::decode(body)?)?)
    }
}

impl Content for manifests::Memory {
    const ENDING: &'static str = "manifests";
    const WORD: &'static str = "manifests";

    fn number(&self) -> usize {
        self.len()
    }

    fn encode(&self) -> Vec<u8> {
        wire::manifests::encode(self).encode_to_vec()
    }

    fn decode(registry: &Text, body: &[u8]) -> Result<Self, Unreadable> {
        Ok(wire::manifests::decode(registry, pb::Manifests::decode(body)?)?)
    }
}

impl Content for Laid {
    const ENDING: &'static str = "overrides";
    const WORD: &'static str = "overrides";

    fn number(&self) -> usize {
        self.overrides.len()
    }

    fn encode(&self) -> Vec<u8> {
        wire::overrides::encode(self).encode_to_vec()
    }

    fn decode(_: &Text, body: &[u8]) -> Result<Self, Unreadable> {
        Ok(wire::overrides::decode(pb::Overrides::decode(body)?)?)
    }
}
