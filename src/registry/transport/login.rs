//! Name and password for a registry.

use crate::{
    model::Text,
    util::{secret::Secret, yaml::Section},
};

/// Name and password by which Portolan authenticates itself to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The key `username` of the registry's section.
    pub username: Text,
    /// The key `password` of the registry's section; shown nowhere.
    pub password: Secret,
}

impl Login {
    /// Reads, from a registry's own section, `username` and `password`: both or neither. `Some(None)` is no login, and
    /// `None` a mistake that was reported.
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
