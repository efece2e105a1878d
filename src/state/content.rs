//! What a file keeps: for each sort of memory its ending, its word in metrics and the log, and how it becomes bytes and
//! back.

use super::wire::{self, Unreadable, overrides::Laid};
use crate::{calls, catalog, manifests, model::Text, pb::state as pb};
use prost::Message;

/// A memory of a registry that has a file of its own.
pub trait Content: Sized {
    /// The ending of its file's name, without the dot, such as `state`.
    const ENDING: &'static str;
    /// What it is made of, in metrics and the log.
    const WORD: &'static str;

    /// How many of what [`Content::WORD`] says it has, for the log.
    fn number(&self) -> usize;

    /// Equal memories give equal bytes.
    fn encode(&self) -> Vec<u8>;

    /// Reads what [`Content::encode`] gives.
    ///
    /// # Errors
    /// If it is no message, or something in it is not possible.
    fn decode(registry: &Text, body: &[u8]) -> Result<Self, Unreadable>;
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
        wire::parts::decode(registry, body)
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

impl Content for calls::Model {
    const ENDING: &'static str = "calls";
    const WORD: &'static str = "calls";

    fn number(&self) -> usize {
        self.applications.len()
    }

    fn encode(&self) -> Vec<u8> {
        wire::calls::encode(self).encode_to_vec()
    }

    fn decode(_: &Text, body: &[u8]) -> Result<Self, Unreadable> {
        Ok(wire::calls::decode(pb::Calls::decode(body)?))
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
