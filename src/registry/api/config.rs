//! Limits of a registry whose services are written through the API.

use crate::{registry::Limits, util::yaml::Section};

/// Everything about one registry of kind `api`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Only `services` counts here; admin bounds the size of a request.
    pub limits: Limits,
}

impl Config {
    /// Reads the section `api`: `limits`.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        Some(Config { limits: Limits::read(section) })
    }
}
