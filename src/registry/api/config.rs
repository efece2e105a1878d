//! What a registry may hold that is written by API.

use crate::{registry::Limits, util::yaml::Section};

/// Everything about one registry of kind `api`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Of these, `services` counts: what a request may bring is bounded by admin.
    pub limits: Limits,
}

impl Config {
    /// Reads the section `api`.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        Some(Config { limits: Limits::read(section) })
    }
}
