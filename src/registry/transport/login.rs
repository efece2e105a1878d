//! Who we say we are, by name and password.

use crate::{
    model::Text,
    util::{secret::Secret, yaml::Section},
};

/// A user of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub username: Text,
    /// The password of that user; shown nowhere.
    pub password: Secret,
}

impl Login {
    /// Reads, from a registry's own section, `username` and `password`: both or neither.
    pub fn read(section: &mut Section<'_>) -> Option<Option<Self>> {
        let (username, password) = (section.take("username"), section.take("password"));
        let (username, password) = match (username, password) {
            (Some(username), Some(password)) => (username.string(), password.secret()),
            (None, None) => return Some(None),
            (Some(alone), None) | (None, Some(alone)) => {
                return alone.problem("`username` and `password` go together");
            }
        };
        Some(Some(Login { username: username?.into(), password: password? }))
    }
}
